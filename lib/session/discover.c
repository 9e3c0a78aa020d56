/* What the dialled address is. Asked at the first command, on a connection of our
 * own: some proxies hang up on a command that they do not know. */
#include "route/mirror.h"
#include "session/request.h"

#include <errno.h>

/* Whoever may not ask that may ask this: AUTH and HELLO are nobody's to forbid. */
static const char question_of_mode[] = "*1\r\n$5\r\nHELLO\r\n";
static const char question_of_members[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n";
static const char question[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";

static bool is_secure(const struct session *s)
{
    return s->settings.tls != NULL;
}

static void become_plain(struct session *s)
{
    s->state = SESSION_PLAIN;
    s->stalled = false;
    if (s->home->greetings == 0 && s->home->state != LINK_UP && greet_is_due(s, s->home) &&
        !greet_link(s, s->home)) {
        session_end(s, ENOMEM);
        return;
    }
    if (s->home->state == LINK_REFUSED)
        s->home->state = LINK_GREETING;
    if (buffer_length(&s->in) > 0 &&
        !link_send_raw(s->home, buffer_bytes(&s->in), buffer_length(&s->in))) {
        session_end(s, ENOMEM);
        return;
    }
    buffer_deinit(&s->in);
    session_touch(s, s->home);
}

static void become_routing(struct session *s, struct cluster *cluster)
{
    s->cluster = cluster;
    s->single = atomic_load(&cluster->single);
    s->state = SESSION_ROUTING;
    s->stalled = false;
    if (s->settings.configure != NULL || s->settings.seeds != NULL)
        cluster_configure(cluster, &s->settings.refresh, s->settings.seeds);
    if (s->settings.name != NULL)
        cluster_set_dialled(cluster, s->settings.name, s->settings.port);
    session_adopt(s);
    greet_credentials(s);
}

/* A server that was dialled by its name is known by it: its connection is renewed where the name
 * leads then. */
static bool go_by_name(struct session *s)
{
    if (s->settings.name != NULL && !link_rename(s->home, s->settings.name))
        return false;
    s->home->named = s->settings.name != NULL;
    s->settings.host = s->home->host;
    return true;
}

/* Not a cluster, and yet to be seen command by command: a topology of one node. */
static void become_single(struct session *s)
{
    struct topology *t = go_by_name(s) ? topology_single(s->settings.host, s->settings.port) : NULL;
    struct cluster *cluster = t ? cluster_learn(s->settings.host, s->settings.port, is_secure(s), t)
                                : NULL;

    if (cluster == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    atomic_store(&cluster->single, true);
    become_routing(s, cluster);
}

static bool is_to_be_seen(const struct session *s)
{
    return s->settings.is_mirror || s->settings.is_inner || s->settings.is_seen ||
           s->settings.op_timeout_ms > 0 || mirror_is_on();
}

static void find_plain(struct session *s, bool remember)
{
    if (is_to_be_seen(s)) {
        become_single(s);
        return;
    }
    if (remember)
        cluster_learn_plain(s->settings.host, s->settings.port, is_secure(s), session_now(s));
    become_plain(s);
}

static void close_probe(struct session *s)
{
    s->probe->must_close = true;
    session_touch(s, s->probe);
    s->probe = NULL;
}

static void open_probe(struct session *s)
{
    struct link *link = link_create(s->settings.host, s->settings.port);

    if (link == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    link->probe = true;
    link->node = NODE_NONE;
    link->state = LINK_WANTED;
    link->address = s->home->address;
    link->address_length = s->home->address_length;
    link->next = s->links;
    s->links = link;
    s->probe = link;
    session_touch(s, link);
}

/* A single server is known by its name, where it has one. */
static struct cluster *find_known(const struct session *s)
{
    struct cluster *known = cluster_find(s->settings.host, s->settings.port, is_secure(s));

    if (known == NULL && s->settings.name != NULL)
        known = cluster_find(s->settings.name, s->settings.port, is_secure(s));
    return known;
}

void discover_begin(struct session *s)
{
    struct cluster *known = find_known(s);

    s->state = SESSION_DISCOVERING;
    s->stalled = true;
    s->locked_until_ms = 0;
    if (s->homeless)
        return;
    if (known != NULL && atomic_load(&known->single))
        become_single(s);
    else if (known != NULL)
        become_routing(s, known);
    else if (!is_to_be_seen(s) && !greet_is_login(s, s->home) &&
             cluster_is_plain(s->settings.host, s->settings.port, is_secure(s), session_now(s)))
        become_plain(s);
    else
        open_probe(s);
}

/* The probe is connected. */
void discover_ask(struct session *s, struct link *link)
{
    s->asks_mode = false;
    topology_unref(s->learnt);
    s->learnt = NULL;
    if (!greet_link(s, link) || !link_send_raw(link, question, sizeof question - 1))
        session_end(s, ENOMEM);
}

static void ask(struct session *s, const char *bytes, size_t length)
{
    if (link_send_raw(s->probe, bytes, length))
        session_touch(s, s->probe);
    else
        session_end(s, ENOMEM);
}

/* Takes over the reference. */
static void learn_topology(struct session *s, struct topology *t)
{
    struct cluster *cluster = NULL;

    if (t != NULL)
        cluster = cluster_learn(s->settings.host, s->settings.port, is_secure(s), t);
    if (cluster == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    if (is_secure(s))
        cluster_set_tls(cluster, s->settings.tls, s->settings.tls_dialled);
    become_routing(s, cluster);
}

/* True: the probe has another question. */
static bool learn(struct session *s, const char *reply, size_t length)
{
    char why[128];
    struct topology *topology = topology_parse(reply, length, s->settings.host, s->settings.port,
                                               why, sizeof why);

    if (topology == NULL) {
        find_plain(s, false);
    } else if (s->settings.read_policy != READ_MASTER && topology_lacks_replicas(topology)) {
        s->learnt = topology;
        ask(s, question_of_members, sizeof question_of_members - 1);
        return true;
    } else {
        learn_topology(s, topology);
    }
    return false;
}

static void learn_members(struct session *s, struct bytes text)
{
    struct topology *t = topology_with_members(s->learnt, text, s->settings.host);

    topology_unref(s->learnt);
    s->learnt = NULL;
    learn_topology(s, t);
}

/* The slots are learnt from redirections: until then, the dialled node has them all. */
static void learn_by_mode(struct session *s, const char *reply, size_t length)
{
    static const char mode[] = "$4\r\nmode\r\n$7\r\ncluster\r\n";

    if (memmem(reply, length, mode, sizeof mode - 1) == NULL) {
        find_plain(s, false);
        return;
    }
    learn_topology(s, topology_single(s->settings.host, s->settings.port));
}

static bool starts(const char *reply, size_t length, const char *with)
{
    return length >= strlen(with) && memcmp(reply, with, strlen(with)) == 0;
}

static void lock(struct session *s, int64_t until_ms)
{
    s->state = SESSION_LOCKED;
    s->stalled = false;
    s->locked_until_ms = until_ms;
}

void discover_reply(struct session *s, const char *reply, size_t length)
{
    bool refused = s->probe->state == LINK_REFUSED;
    int64_t until_ms = refused ? s->probe->retry_at_ms : 0;

    if (!refused && starts(reply, length, "-NOPERM") && !s->asks_mode) {
        s->asks_mode = true;
        ask(s, question_of_mode, sizeof question_of_mode - 1);
        return;
    }
    if (!refused && !s->asks_mode && s->learnt == NULL && reply[0] == '*' && learn(s, reply, length))
        return;
    close_probe(s);
    if (refused) {
        lock(s, until_ms);
    } else if (s->asks_mode) {
        s->asks_mode = false;
        learn_by_mode(s, reply, length);
    } else if (s->learnt != NULL) {
        learn_members(s, (struct bytes){reply, length});
    } else if (reply[0] == '*') {
        ; /* done */
    } else if (starts(reply, length, "-NOAUTH")) {
        lock(s, 0);
    } else {
        /* Too many clients says nothing about what the server is. */
        find_plain(s, !starts(reply, length, "-ERR max number"));
    }
    plan_input(s);
}

/* Refused, or hung up on. Asked once more, since a node may just be restarting. Where TLS fails,
 * nothing is known, and nothing is said without it. */
void discover_lost(struct session *s)
{
    bool again = s->probe->failures == 0;
    struct link *probe = s->probe;

    if (probe->trouble != NULL) {
        s->probe = NULL;
        recover_end(s, probe, probe->error);
        return;
    }
    if (again) {
        link_cut(probe);
        probe->failures = 1;
        probe->state = LINK_WANTED;
        session_touch(s, probe);
        return;
    }
    s->probe = NULL;
    if (s->learnt != NULL)
        learn_members(s, (struct bytes){0});
    else if (s->settings.is_mirror || s->settings.is_inner || s->settings.is_seen)
        session_end(s, ECONNREFUSED); /* it may be a cluster when it is there */
    else
        find_plain(s, true);
}

size_t discover_take_plain(struct session *s, char *to, size_t size)
{
    struct link *home = s->home;
    size_t n = buffer_length(&home->in) < size ? buffer_length(&home->in) : size;

    if (n == 0 || home->greetings > 0)
        return 0;
    memcpy(to, buffer_bytes(&home->in), n);
    link_release(home, home->in_base + n);
    return n;
}
