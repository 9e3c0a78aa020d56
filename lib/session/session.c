#include "session/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "link/resolver.h"
#include "session/copy.h"
#include "session/feed.h"
#include "session/front.h"
#include "session/lookup.h"
#include "session/move.h"
#include "session/override.h"
#include "session/reads.h"
#include "session/script.h"
#include "session/transaction.h"
#include "session/volley.h"

int64_t session_now(const struct session *s)
{
    return s->settings.clock();
}

_Static_assert(offsetof(struct session, guards) + sizeof(uint8_t) -
                       offsetof(struct session, careful) ==
                   sizeof(uint32_t),
               "the obstacles are as many bytes as are looked at as one");

struct session *session_create(const struct session_settings *settings)
{
    struct session *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->settings = *settings;
    s->fd = -1;
    s->stats = &stats_none;
    s->policy = settings->read_policy;
    s->home = link_create(settings->host, settings->port);
    if (s->home == NULL) {
        free(s);
        return NULL;
    }
    s->home->node = NODE_NONE;
    s->links = s->home;
    s->settings.host = s->home->host;
    tls_profile_ref(s->settings.tls);
    s->settings.tls_dialled = NULL;
    if (settings->tls != NULL && settings->tls_dialled != NULL)
        s->settings.tls_dialled = strdup(settings->tls_dialled);
    if (settings->configure != NULL) {
        s->configured = config_get()->version;
        lead_note_dialled(s->settings.dialled_host, s->settings.dialled_port);
    }
    s->awaits_lead = move_is_wanted(s);
    return s;
}

static void take_settings(struct session *s)
{
    enum read_policy before = s->settings.read_policy;
    const struct config_login *logins = s->settings.logins;
    struct tls_profile *tls = s->settings.tls, *now;

    s->settings.configure(&s->settings);
    now = s->settings.tls;
    s->settings.tls = tls;
    /* A session stays with or without TLS, as it began: its nodes are known by other ports else. */
    if (!s->settings.tls_is_own && tls != NULL && now != NULL && now != tls)
        session_set_tls(s, now);
    if (s->cluster != NULL)
        cluster_configure(s->cluster, &s->settings.refresh, s->settings.seeds);
    if (s->settings.logins != logins)
        greet_changed(s, logins);
    move_look(s);
    if (s->leaving)
        return;
    if (s->front != NULL)
        front_configure(s);
    reads_configure(s);
    if (s->front == NULL && s->settings.read_policy != before && !s->policy_is_own)
        override_always(s, s->settings.read_policy);
}

void session_configure(struct session *s)
{
    uint64_t version = config_get()->version;

    s->guards &= (uint8_t)~GUARD_CONFIG;
    if (s->settings.configure == NULL)
        return;
    if (s->configured != version) {
        s->configured = version;
        take_settings(s);
    } else if (s->awaits_lead) {
        move_look(s);
    }
}

void session_set_tls(struct session *s, struct tls_profile *tls)
{
    tls_profile_ref(tls);
    tls_profile_unref(s->settings.tls);
    s->settings.tls = tls;
    if (s->cluster != NULL)
        cluster_set_tls(s->cluster, tls, s->settings.tls_dialled);
}

void session_destroy(struct session *s)
{
    if (s == NULL)
        return;
    order_destroy(s);
    trouble_destroy(s);
    greet_destroy(s);
    transaction_destroy(s);
    copy_destroy(s);
    feeds_destroy(s);
    script_destroy(s);
    lookup_destroy(s);
    override_destroy(s);
    reads_destroy(s);
    front_destroy(s);
    volley_destroy(&s->volley);
    while (s->links != NULL) {
        struct link *next = s->links->next;

        link_destroy(s->links);
        s->links = next;
    }
    topology_unref(s->topology);
    topology_unref(s->learnt);
    tls_profile_unref(s->settings.tls);
    free(s->end_text);
    free((char *)s->settings.tls_dialled);
    free(s->link_of_node);
    argv_deinit(&s->argv);
    buffer_deinit(&s->in);
    free(s);
}

void session_end(struct session *s, int why)
{
    if (s->state == SESSION_ENDED)
        return;
    if (s->state == SESSION_PLAIN)
        s->ended_plain = true;
    s->state = SESSION_ENDED;
    s->end_error = why;
}

static void end_if_over(struct session *s)
{
    if (s->ending && s->unanswered == 0)
        session_end(s, 0);
}

/* What the dialled address is, is not known yet, or could not be found out. */
static void look_around(struct session *s)
{
    bool again = s->locked_until_ms != 0 && session_now(s) >= s->locked_until_ms &&
                 s->unanswered == 0; /* the program's own login may be on its way */
    bool begins = s->state == SESSION_DISCOVERING ? s->probe == NULL : again;

    if (begins)
        session_configure(s); /* there is no cluster yet whose version would say so */
    else if (s->state == SESSION_LOCKED && s->unanswered == 0)
        move_peek(s);
    if (begins && !s->leaving)
        discover_begin(s);
}

static bool accept_plain(struct session *s, const char *bytes, size_t length)
{
    if (!link_send_raw(s->home, bytes, length)) {
        session_end(s, ENOMEM);
        return false;
    }
    session_touch(s, s->home);
    return true;
}

bool session_accept(struct session *s, const char *bytes, size_t length)
{
    size_t planned = 0;

    if (s->state <= SESSION_LOCKED)
        look_around(s);
    if (s->state == SESSION_PLAIN)
        return accept_plain(s, bytes, length);
    if (s->cluster != NULL && cluster_version(s->cluster) != s->version)
        session_adopt(s);
    if ((s->guards & GUARD_CONFIG) != 0)
        session_configure(s);
    if (buffer_length(&s->in) == 0)
        planned = plan_bytes(s, bytes, length);
    if (planned < length) {
        if (!buffer_append(&s->in, bytes + planned, length - planned)) {
            session_end(s, ENOMEM);
            return false;
        }
        if (planned == 0)
            plan_input(s);
    }
    end_if_over(s);
    return s->state != SESSION_ENDED || s->end_error == 0;
}

struct link *session_next_dirty(struct session *s)
{
    struct link *link = s->dirty;

    if (link != NULL) {
        s->dirty = link->dirty_next;
        link->dirty = false;
    }
    return link;
}

static void link_ready(struct session *s, struct link *link)
{
    link->state = LINK_UP;
    if (link->feed != NULL)
        feeds_opened(s, link);
    else
        dispatch_waiting(s, link);
}

static void probe_opened(struct session *s, struct link *link)
{
    if (lookup_is_asking(s))
        lookup_opened(s, link);
    else
        discover_ask(s, link);
}

static void probe_replied(struct session *s, struct link *link, const char *reply, size_t length)
{
    if (lookup_is_asking(s))
        lookup_reply(s, link, reply, length);
    else
        discover_reply(s, reply, length);
}

/* Nothing goes out before what has to be said first. */
static void greet(struct session *s, struct link *link)
{
    link->state = LINK_GREETING;
    if (link->greetings == 0 && !greet_link(s, link))
        session_end(s, ENOMEM);
}

void session_await_home(struct session *s)
{
    s->homeless = true;
    s->settings.led_by = s->settings.seeds;
    s->awaits_lead = false;
}

void session_open_home(struct session *s)
{
    s->home->state = LINK_WANTED;
    session_touch(s, s->home);
}

static bool set_dialled(struct session *s, const char *said)
{
    s->settings.name = resolver_is_name(said) ? said : NULL;
    if (s->settings.tls == NULL)
        return true;
    free((char *)s->settings.tls_dialled);
    s->settings.tls_dialled = strdup(said);
    return s->settings.tls_dialled != NULL;
}

bool session_found_home(struct session *s, const struct sockaddr_storage *address, socklen_t length,
                        const struct config_cluster *led_by, const char *said)
{
    char number[INET6_ADDRSTRLEN];

    s->home->address = *address;
    s->home->address_length = length;
    /* At the same place in both kinds. */
    s->settings.port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    s->home->port = s->settings.port;
    if (!link_number(s->home, number) || !link_rename(s->home, number) || !set_dialled(s, said))
        return false;
    s->settings.host = s->home->host;
    s->settings.led_by = led_by;
    s->awaits_lead = move_is_wanted(s);
    s->homeless = false;
    if (s->stalled)
        discover_begin(s);
    return true;
}

void session_home_connected(struct session *s)
{
    s->home->state = LINK_UP;
    if (s->front_of != NULL)
        s->front_of->front->connected = true;
    if (greet_is_due(s, s->home))
        greet(s, s->home);
}

int session_connect_error(const struct session *s)
{
    if (s->front != NULL)
        return s->front->connect_error;
    return s->state == SESSION_ENDED && s->topology == NULL ? s->end_error : 0;
}

void session_link_opened(struct session *s, struct link *link)
{
    if (s->front == NULL)
        stats_add(STATS_LINKS_OPENED, 1);
    if (s->front_of != NULL)
        s->front_of->front->connected = true;
    if (s->settings.tls != NULL && s->cluster != NULL)
        cluster_set_tls(s->cluster, s->settings.tls, s->settings.tls_dialled);
    if (link->probe) {
        link->state = LINK_UP;
        probe_opened(s, link);
    } else if (greet_is_due(s, link)) {
        greet(s, link);
    } else {
        link_ready(s, link);
    }
}

/* The server does not take the state of the connection: what waits for this link
 * hears the server's own words. */
static void greeting_refused(struct session *s, struct link *link, const char *reply, size_t length)
{
    struct part *chain, *next;

    if (link->feed == NULL && greet_is_login(s, link)) {
        greet_refused(s, link, reply, length);
        return;
    }
    chain = part_take_all(&link->waiting);
    for (; chain != NULL; chain = next) {
        next = chain->next;
        chain->out_of_order = true;
        answer_complete(s, chain, link, reply, length, 0);
    }
    if (link->feed != NULL)
        feeds_refused(s, reply, length);
    link->must_close = true;
    session_touch(s, link);
}

/* The AUTH that waits may be what the server wants to hear. */
static bool knocks(const struct link *link)
{
    const struct part *part = link->waiting.head;

    return link->feed == NULL && part != NULL && part->request->kind == REQUEST_STATE &&
           greet_says_who(part->request->command);
}

static void greeting_answered(struct session *s, struct link *link, const char *reply,
                              size_t length)
{
    link->greetings--;
    if (greet_is_outdated(link, reply))
        reply = "+";
    if (reply[0] == '-' && greet_needs_no_login(s, link, reply, length))
        reply = "+";
    if (link->state == LINK_REFUSED)
        return; /* what was said behind a login that was refused */
    if (link->probe) {
        if (reply[0] == '-' && greet_is_login(s, link))
            greet_refused(s, link, reply, length);
        return;
    }
    if (reply[0] == '-' && !greet_is_login(s, link) && knocks(link))
        link->knocked = true;
    if (link->knocked)
        reply = "+";
    if (link->reader && !reads_take_greeting(s, link, reply, length))
        return;
    /* Who may not look at a replica may read it all the same. */
    if (link->reader && length > 7 && memcmp(reply, "-NOPERM", 7) == 0)
        reply = "+";
    if (reply[0] == '-')
        greeting_refused(s, link, reply, length);
    else if (link->greetings == 0 && !greet_goes_on(s, link))
        link_ready(s, link);
}

/* A reply that nothing asked for: what a server says before it hangs up ("max
 * number of clients"). */
static void unexpected(struct session *s, struct link *link)
{
    link->must_close = true;
    link->error = EPROTO;
    session_touch(s, link);
}

static void one_reply(struct session *s, struct link *link, size_t length)
{
    uint64_t position = link->in_scanned;
    const char *reply = link_reply(link, position);

    link->in_scanned += length;
    if (reply[0] == '>' && link->feed == NULL)
        order_push_behind(s, link, reply, length);
    else if (link_is_greeted_next(link) && reply[0] != '>')
        greeting_answered(s, link, reply, length);
    else if (link->feed != NULL)
        feeds_received(s, link, reply, length, position);
    else if (link == s->probe)
        probe_replied(s, link, reply, length);
    else if (link->sent.head != NULL)
        answer_reply(s, link, reply, length, position);
    else
        unexpected(s, link);
}

/* A pipe, once what was said before it is answered. */
static bool is_raw(const struct session *s, const struct link *link)
{
    return s->state == SESSION_PLAIN && !link->probe && link->greetings == 0;
}

void session_link_received(struct session *s, struct link *link)
{
    int64_t length = 0;

    if (is_raw(s, link)) {
        link->in_scanned = link->in_base + buffer_length(&link->in);
        return;
    }
    if (link->greetings == 0 && !link->must_close && s->state != SESSION_ENDED)
        answer_run(s, link);
    while (s->state != SESSION_ENDED && !link->must_close && !is_raw(s, link) &&
           (length = link_next_reply(link)) > 0)
        one_reply(s, link, (size_t)length);
    if (s->state == SESSION_ENDED)
        return;
    if (link->in_place == 0)
        link_release(link, link->in_scanned);
    if (is_raw(s, link)) {
        link->in_scanned = link->in_base + buffer_length(&link->in);
        return;
    }
    if (length < 0) {
        link->must_close = true;
        link->error = EPROTO;
        session_touch(s, link);
    }
    if (s->order_head != NULL && s->order_head->mute)
        order_purge(s);
    plan_input(s);
    end_if_over(s);
}

static bool feeds_are_in_use(const struct session *s)
{
    return s->feeds != NULL && feeds_due(s) >= 0;
}

bool session_is_streaming(const struct session *s)
{
    return s->tracking != 0 || feeds_are_in_use(s);
}

bool session_link_is_idle(const struct session *s, const struct link *link)
{
    return link->feed == NULL ? s->tracking == 0 : !feeds_are_in_use(s);
}

bool session_is_blocked(const struct session *s)
{
    return s->barrier != NULL && s->barrier->command != NULL &&
           (s->barrier->command->flags & COMMAND_BLOCKING) != 0;
}
