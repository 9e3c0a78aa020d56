/* What the dialled address is. Asked at the first command, on a connection of our
 * own: some proxies hang up on a command that they do not know. */
#include "route/mirror.h"
#include "session/request.h"

#include <errno.h>

/* Whoever may not ask that may ask this: AUTH and HELLO are nobody's to forbid. */
static const char question_of_mode[] = "*1\r\n$5\r\nHELLO\r\n";
static const char question_of_members[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n";
static const char question[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";

/* … clients: says nothing about what the server is. */
static const char too_many[] = "-ERR max number";

enum { PATIENCE_MS = 1000 }; /* as long as the keeper waits for nodes that it asks */

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
    s->probe_by_ms = 0;
}

static struct link *open_probe(struct session *s, const char *host, uint16_t port)
{
    struct link *link = link_create(host, port);

    if (link == NULL) {
        session_end(s, ENOMEM);
        return NULL;
    }
    link->probe = true;
    link->node = NODE_NONE;
    link->state = LINK_WANTED;
    link->next = s->links;
    s->links = link;
    s->probe = link;
    session_touch(s, link);
    return link;
}

static void ask_home(struct session *s)
{
    struct link *link = open_probe(s, s->settings.host, s->settings.port);

    if (link == NULL)
        return;
    link->address = s->home->address;
    link->address_length = s->home->address_length;
}

/* --- an endpoint that is there but says nothing, and others that may know better --- */

static const struct config_address *next_seed(const struct session *s)
{
    const struct config_cluster *seeds = s->settings.seeds;

    return seeds != NULL && s->seeds_asked < seeds->endpoint_count
               ? &seeds->endpoints[s->seeds_asked]
               : NULL;
}

static bool is_home(const struct session *s, const struct config_address *seed)
{
    return seed->port == s->settings.port && strcmp(seed->host, s->settings.host) == 0;
}

/* False: there is none that was not asked. */
static bool ask_next_seed(struct session *s)
{
    const struct config_address *seed;

    while ((seed = next_seed(s)) != NULL) {
        s->seeds_asked++;
        if (is_home(s, seed))
            continue;
        open_probe(s, seed->host, seed->port);
        return true;
    }
    return false;
}

static int64_t patience_ms(const struct session *s)
{
    int64_t said = s->settings.refresh.timeout_ms;

    return said > 0 ? said : PATIENCE_MS;
}

int64_t discover_due(const struct session *s)
{
    return s->probe != NULL && s->probe_by_ms > 0 ? s->probe_by_ms : -1;
}

void discover_advance(struct session *s, int64_t now_ms)
{
    int64_t due = discover_due(s);

    if (due < 0 || now_ms < due)
        return;
    s->probe_by_ms = 0;
    s->probe->must_close = true;
    s->probe->error = ETIME;
    session_touch(s, s->probe);
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
    s->seeds_asked = 0;
    s->unheard = false;
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
        ask_home(s);
}

/* The probe is connected. */
void discover_ask(struct session *s, struct link *link)
{
    s->asks_mode = false;
    topology_unref(s->learnt);
    s->learnt = NULL;
    s->probe_by_ms = next_seed(s) != NULL ? session_now(s) + patience_ms(s) : 0;
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
    struct topology *topology =
        topology_parse(reply, length, s->probe->host, s->probe->port, why, sizeof why);

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

static void learn_members(struct session *s, const struct link *probe, struct bytes text)
{
    struct topology *t = topology_with_members(s->learnt, text, probe->host);

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
    const struct link *probe = s->probe;
    bool refused = probe->state == LINK_REFUSED;
    int64_t until_ms = refused ? s->probe->retry_at_ms : 0;

    if (!refused && starts(reply, length, "-NOPERM") && !s->asks_mode) {
        s->asks_mode = true;
        ask(s, question_of_mode, sizeof question_of_mode - 1);
        return;
    }
    if (!refused && !s->asks_mode && s->learnt == NULL && reply[0] == '*' && learn(s, reply, length))
        return;
    close_probe(s);
    if (!refused && starts(reply, length, too_many) && ask_next_seed(s))
        return;
    if (refused) {
        lock(s, until_ms);
    } else if (s->asks_mode) {
        s->asks_mode = false;
        learn_by_mode(s, reply, length);
    } else if (s->learnt != NULL) {
        learn_members(s, probe, (struct bytes){reply, length});
    } else if (reply[0] == '*') {
        ; /* done */
    } else if (starts(reply, length, "-NOAUTH")) {
        lock(s, 0);
    } else {
        /* Too many clients says nothing about what the server is. */
        find_plain(s, !starts(reply, length, too_many));
    }
    plan_input(s);
}

/* Silence does not say what a server is: it is asked again with the next command. */
static void remain_ignorant(struct session *s)
{
    lock(s, session_now(s));
    s->unheard = true;
}

static void conclude_from_loss(struct session *s, const struct link *probe)
{
    if (s->learnt != NULL)
        learn_members(s, probe, (struct bytes){0});
    else if (s->unheard)
        remain_ignorant(s);
    else if (s->settings.is_mirror || s->settings.is_inner || s->settings.is_seen)
        session_end(s, ECONNREFUSED); /* it may be a cluster when it is there */
    else
        find_plain(s, true);
}

/* Refused, hung up on, or silent for too long. Asked once more unless it is silent, since a node
 * may just be restarting; then others are, if the configuration names any. Where TLS fails, nothing
 * is known, and nothing is said without it. */
void discover_lost(struct session *s)
{
    struct link *probe = s->probe;
    bool is_silent = probe->error == ETIME;
    bool again = probe->failures == 0 && !is_silent;

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
    s->probe_by_ms = 0;
    s->unheard = s->unheard || is_silent;
    if (s->learnt == NULL && ask_next_seed(s))
        return;
    conclude_from_loss(s, probe);
    plan_input(s);
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
