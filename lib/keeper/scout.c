#include "keeper/scout.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/log.h"
#include "link/resolver.h"
#include "link/wire.h"
#include "route/lead.h"

enum {
    ASKED_MOST = 4, /* endpoints at a time: the first that answers is believed */
    ANSWER_WITHIN_MS = 1000,
    PAUSE_FIRST_MS = 100, /* before those that did not answer are asked again */
    PAUSE_MOST_MS = 2000,
};

static const char question[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";

struct inquiry {
    struct link *link; /* NULL: over */
    const char *name;  /* of the endpoint */
    bool to_skip;      /* the answer to a login */
};

struct scout {
    struct scout *next;
    struct lead *lead;
    int64_t due_ms; /* when it asks, or gives up */
    int64_t pause_ms;
    unsigned turn; /* which endpoint is asked next */
    bool asking;
    bool complained;
    struct inquiry inquiries[ASKED_MOST];
};

static struct scout *scouts;

static void hang_up(struct inquiry *q)
{
    if (q->link == NULL)
        return;
    wire_close(q->link);
    link_destroy(q->link);
    q->link = NULL;
}

static void stop(struct scout *s)
{
    for (int i = 0; i < ASKED_MOST; i++)
        hang_up(&s->inquiries[i]);
    s->asking = false;
}

static bool is_asking_any(const struct scout *s)
{
    for (int i = 0; i < ASKED_MOST; i++)
        if (s->inquiries[i].link != NULL)
            return true;
    return false;
}

/* --- asking --- */

static bool speak(const struct scout *s, struct inquiry *q)
{
    const struct config_login *login =
        login_find(lead_logins(s->lead), q->link->host, q->link->port);

    q->to_skip = login != NULL;
    return (login == NULL || link_send_raw(q->link, login->auth, login->length)) &&
           link_send_raw(q->link, question, sizeof question - 1);
}

static void ask(struct scout *s, struct inquiry *q, int poller, uint64_t data)
{
    int number = (int)(s->turn % (unsigned)lead_endpoint_count(s->lead));
    const struct config_address endpoint = lead_endpoint(s->lead, number);
    const struct wire_settings wire = {.tls = lead_tls(s->lead), .tls_dialled = endpoint.host};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = data};
    char host[INET6_ADDRSTRLEN];

    if (resolver_number(endpoint.host, endpoint.port, host) != RESOLVER_FOUND) {
        s->turn++;
        return;
    }
    q->name = endpoint.host;
    q->link = link_create(host, endpoint.port);
    s->turn++;
    if (q->link == NULL)
        return;
    if (!speak(s, q) || wire_open(q->link, &wire) == WIRE_LOST ||
        epoll_ctl(poller, EPOLL_CTL_ADD, q->link->fd, &event) == -1)
        hang_up(q);
}

static void begin(struct scout *s, int poller, uint64_t data, int64_t now_ms)
{
    int count = lead_endpoint_count(s->lead);

    for (int i = 0; i < count && i < ASKED_MOST; i++)
        ask(s, &s->inquiries[i], poller, data);
    s->asking = true;
    s->due_ms = now_ms + ANSWER_WITHIN_MS;
}

static void rest(struct scout *s, int64_t now_ms)
{
    struct config_address endpoint = lead_endpoint(s->lead, 0);

    stop(s);
    s->due_ms = now_ms + s->pause_ms;
    s->pause_ms = s->pause_ms * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : s->pause_ms * 2;
    if (!s->complained && s->pause_ms == PAUSE_MOST_MS) {
        log_write(LOG_WARNING,
                  "%s:%u, where connections are to go now, does not answer; they stay where they "
                  "are until it does",
                  endpoint.host, endpoint.port);
        s->complained = true;
    }
}

/* --- answers --- */

static bool begins(const char *reply, size_t length, const char *with)
{
    return length >= strlen(with) && memcmp(reply, with, strlen(with)) == 0;
}

/* It may be another one when it is asked again. */
static bool is_passing(const char *reply, size_t length)
{
    static const char *const words[] = {"-LOADING", "-MASTERDOWN", "-CLUSTERDOWN",
                                        "-ERR max number"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (begins(reply, length, words[i]))
            return true;
    return false;
}

/* NULL: it is none, or does not say. False: it knows too little to be believed. */
static bool cluster_of(const struct scout *s, const struct inquiry *q, const char *reply,
                       size_t length, struct cluster **cluster)
{
    const struct link *link = q->link;
    bool secure = lead_tls(s->lead) != NULL;
    struct topology *t = NULL;
    char why[128];

    *cluster = cluster_find(link->host, link->port, secure);
    if (reply[0] == '*')
        t = topology_parse(reply, length, link->host, link->port, why, sizeof why);
    if (t == NULL)
        return !is_passing(reply, length);
    if (t->owned == 0) {
        topology_unref(t);
        return false;
    }
    *cluster = cluster_learn(link->host, link->port, secure, t);
    return *cluster != NULL;
}

static void put_in_force(struct scout *s, const struct inquiry *q, struct cluster *cluster)
{
    struct lead_end end = {.cluster = cluster,
                           .address = q->link->address,
                           .length = q->link->address_length,
                           .name = q->name};

    if (cluster != NULL && lead_tls(s->lead) != NULL)
        cluster_set_tls(cluster, lead_tls(s->lead), q->name);
    if (cluster != NULL)
        cluster_set_logins(cluster, lead_logins(s->lead));
    lead_found(s->lead, &end);
    for (struct cluster *c = cluster_first(); c != NULL; c = c->next)
        cluster_config_changed(c);
}

/* The next whole reply. False: there is none, or it is garbage. */
static bool next_reply(struct inquiry *q, size_t *length)
{
    struct link *link = q->link;
    size_t there = buffer_length(&link->in);

    if (there == 0)
        return false;
    switch (frame_scan(&link->frame, buffer_bytes(&link->in), there, length)) {
    case FRAME_PARTIAL:
        return false;
    case FRAME_BROKEN:
        hang_up(q);
        return false;
    case FRAME_WHOLE:
        frame_reset(&link->frame);
        return true;
    }
    return false;
}

/* True: it says who it is. */
static bool take(struct scout *s, struct inquiry *q)
{
    struct cluster *cluster;
    size_t length;

    if (q->to_skip && next_reply(q, &length)) {
        buffer_consume(&q->link->in, length);
        q->to_skip = false;
    }
    if (q->link == NULL || q->to_skip || !next_reply(q, &length))
        return false;
    if (cluster_of(s, q, buffer_bytes(&q->link->in), length, &cluster)) {
        put_in_force(s, q, cluster);
        return true;
    }
    hang_up(q);
    return false;
}

static bool move_bytes(struct link *link)
{
    enum wire_result r = wire_connected(link);

    if (r == WIRE_AGAIN)
        return true;
    if (r == WIRE_LOST || wire_flush(link) == WIRE_LOST)
        return false;
    do
        r = wire_fill(link, false);
    while (r == WIRE_DONE || r == WIRE_INTERRUPTED);
    return r == WIRE_AGAIN || buffer_length(&link->in) > 0;
}

/* True: it is found. */
static bool listen_to(struct scout *s)
{
    for (int i = 0; i < ASKED_MOST; i++) {
        struct inquiry *q = &s->inquiries[i];

        if (q->link == NULL)
            continue;
        if (!move_bytes(q->link))
            hang_up(q);
        else if (take(s, q))
            return true;
    }
    return false;
}

/* --- when --- */

static bool has_scout(const struct lead *lead)
{
    for (const struct scout *s = scouts; s != NULL; s = s->next)
        if (s->lead == lead)
            return true;
    return false;
}

static bool is_wanted(const struct lead *lead)
{
    struct lead *l = NULL;

    while ((l = lead_next_wanted(l)) != NULL)
        if (l == lead)
            return true;
    return false;
}

static void send_out(int64_t now_ms)
{
    struct lead *lead = NULL;

    while ((lead = lead_next_wanted(lead)) != NULL) {
        struct scout *s = has_scout(lead) ? NULL : calloc(1, sizeof *s);

        if (s == NULL)
            continue;
        *s = (struct scout){
            .next = scouts, .lead = lead, .due_ms = now_ms, .pause_ms = PAUSE_FIRST_MS};
        scouts = s;
    }
}

/* The scout is over. */
static bool advance(struct scout *s, int poller, uint64_t data, int64_t now_ms)
{
    if (!is_wanted(s->lead) || listen_to(s)) {
        stop(s);
        return true;
    }
    if (s->asking && (now_ms >= s->due_ms || !is_asking_any(s)))
        rest(s, now_ms);
    if (!s->asking && now_ms >= s->due_ms)
        begin(s, poller, data, now_ms);
    return false;
}

int64_t scout_advance(int poller, uint64_t data, int64_t now_ms)
{
    struct scout **at = &scouts;
    int64_t due = -1;

    send_out(now_ms);
    while (*at != NULL) {
        struct scout *s = *at;

        if (advance(s, poller, data, now_ms)) {
            *at = s->next;
            free(s);
        } else {
            due = clock_earlier(due, s->due_ms);
            at = &s->next;
        }
    }
    return due;
}

static void want_of(const struct config_named_cluster *named)
{
    if (named->cluster != NULL)
        lead_want(named->cluster, "", 0);
}

static void want_mirrors(const struct config_mirror *mirror)
{
    for (; mirror != NULL; mirror = mirror->next)
        if (mirror->cluster != NULL)
            lead_want(mirror->cluster, "", 0);
}

static void want_route(const struct config_route *route)
{
    if (route == NULL)
        return;
    want_of(&route->all);
    want_of(&route->reads);
    want_mirrors(route->mirrors);
}

/* An address that has no cluster any more leads to what is there. */
static bool had_cluster(const struct config *config, const struct lead_dialled *d)
{
    return config != NULL && config_listener(config, d->host, d->port)->cluster != NULL;
}

static void want_listener(const struct config_listener *l, const struct config *before,
                          const struct lead_dialled *dialled)
{
    if (l->cluster != NULL || had_cluster(before, dialled))
        lead_want(l->cluster, dialled->host, dialled->port);
    want_route(l->catch_all);
    for (const struct config_route *route = l->routes; route != NULL; route = route->next)
        want_route(route);
    want_mirrors(l->mirrors);
}

void scout_configure(const struct config *config)
{
    const struct lead_dialled *d = NULL;

    while ((d = lead_next_dialled(d)) != NULL)
        want_listener(config_listener(config, d->host, d->port), config->before, d);
}

void scout_forget_all(void)
{
    while (scouts != NULL) {
        struct scout *s = scouts;

        stop(s);
        scouts = s->next;
        free(s);
    }
}
