#include "keeper/survey.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "keeper/dial.h"
#include "keeper/keeper.h"
#include "link/resolver.h"
#include "link/wire.h"

enum {
    PERIOD_MS = 1000,
    PERIOD_PER_NODE_MS = 5, /* so that a large cluster is not asked more by more clients */
    ANSWER_WITHIN_MS = 2000,
    EVENTS_MOST = 32,
    ANSWERS = 3,
};

/* Servers older than 7.0 take one section only; any server answers this while it loads. */
static const char questions[] = "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"
                                "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"
                                "*2\r\n$4\r\nINFO\r\n$11\r\npersistence\r\n";

/* One node. Its connection stays, as long as it answers. */
struct checkup {
    struct checkup *next;
    struct survey *survey;
    struct link *link; /* NULL: none */
    uint16_t shard;    /* of the latest snapshot */
    bool listed;       /* … in which it is */
    bool master;       /* … as one */
    bool answered;     /* at all, up to now */
    bool lost;         /* and does not answer any more */
    bool unheard;      /* it does not say that it hears a master */
    bool heard;        /* its connection has answered */
    int to_skip;       /* the answer to the credentials */
    int awaited;
    int64_t asked_ms;
    int64_t renewed_ms; /* when its connection was last lost, and opened anew at once */
    struct node_state state;
    uint16_t port;
    char host[];
};

struct survey {
    struct survey *next;
    struct cluster *cluster;
    struct checkup *checkups;
    int64_t due_ms;
    bool names_pending; /* a node was not asked, since its name is still being looked up */
};

static struct survey *surveys;
static int poller_of_survey = -1;
static int poller_of_keeper = -1;

static void hang_up(struct checkup *c)
{
    if (c->link == NULL)
        return;
    wire_close(c->link);
    link_destroy(c->link);
    c->link = NULL;
    c->awaited = 0;
    c->heard = false;
}

/* --- asking --- */

static bool connect_to(struct checkup *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    size_t length;
    char *credentials;
    bool ok;

    c->link = link_create(c->host, c->port);
    if (c->link == NULL)
        return false;
    credentials = cluster_credentials(c->survey->cluster, c->host, c->port, &length);
    ok = credentials == NULL || link_send_raw(c->link, credentials, length);
    c->to_skip = credentials != NULL;
    free(credentials);
    return ok && dial_open(c->link, c->survey->cluster) != WIRE_LOST &&
           epoll_ctl(poller_of_survey, EPOLL_CTL_ADD, c->link->fd, &event) == 0;
}

static bool flush(struct checkup *c)
{
    enum wire_result r = wire_connected(c->link);

    return r == WIRE_AGAIN || (r != WIRE_LOST && wire_flush(c->link) != WIRE_LOST);
}

static void fail(struct checkup *c)
{
    if (c->link != NULL)
        wire_doubt(c->link);
    hang_up(c);
    c->lost = true;
}

/* That a name is still being looked up says nothing of the node. */
static bool is_being_looked_up(const struct checkup *c)
{
    struct sockaddr_storage address;
    socklen_t length;

    return c->link == NULL && resolver_look_up(c->host, c->port, AF_UNSPEC, false, &address,
                                               &length) == RESOLVER_PENDING;
}

static bool put_questions(struct checkup *c, int64_t now_ms)
{
    if ((c->link == NULL && !connect_to(c)) ||
        !link_send_raw(c->link, questions, sizeof questions - 1) || !flush(c))
        return false;
    c->awaited = ANSWERS;
    c->asked_ms = now_ms;
    return true;
}

/* That a connection ended says nothing of a node that had answered on it: somebody may have killed
 * it (CLIENT KILL). Whether the node is there, the next connection shows. */
static void renew(struct checkup *c, int64_t now_ms)
{
    bool again = c->heard && now_ms - c->renewed_ms >= PERIOD_MS;

    hang_up(c);
    if (again)
        c->renewed_ms = now_ms;
    if (again && is_being_looked_up(c))
        return; /* it is asked with the next round */
    if (!again || !put_questions(c, now_ms))
        fail(c);
}

static void ask(struct checkup *c, int64_t now_ms)
{
    if (is_being_looked_up(c)) {
        c->survey->names_pending = true;
        return;
    }
    if (c->awaited > 0 && now_ms - c->asked_ms < ANSWER_WITHIN_MS)
        return;
    if (c->awaited > 0)
        fail(c);
    if (!put_questions(c, now_ms))
        renew(c, now_ms);
}

/* --- answers --- */

/* The value of "\nname:value\r" in the text of INFO. */
static bool field(struct bytes text, const char *name, struct bytes *value)
{
    size_t length = strlen(name);
    const char *at = text.data, *end = text.data + text.length, *stop;

    while (at != NULL && (size_t)(end - at) > length + 1) {
        if (memcmp(at, name, length) == 0 && at[length] == ':') {
            value->data = at + length + 1;
            stop = memchr(value->data, '\r', (size_t)(end - value->data));
            value->length = (size_t)((stop != NULL ? stop : end) - value->data);
            return true;
        }
        at = memchr(at, '\n', (size_t)(end - at));
        at = at != NULL ? at + 1 : NULL;
    }
    return false;
}

static bool says(struct bytes text, const char *name, const char *expected)
{
    struct bytes value;

    return field(text, name, &value) && value.length == strlen(expected) &&
           memcmp(value.data, expected, value.length) == 0;
}

static void take_info(struct checkup *c, struct bytes text)
{
    struct bytes zone, loading, role;

    if (field(text, "redis_version", &zone)) {
        memset(c->state.zone, 0, sizeof c->state.zone);
        if (field(text, "availability_zone", &zone) && zone.length < sizeof c->state.zone)
            memcpy(c->state.zone, zone.data, zone.length);
    }
    if (field(text, "role", &role))
        c->unheard = !says(text, "master_link_status", "up");
    if (field(text, "loading", &loading))
        c->state.loading = says(text, "loading", "1");
}

/* False: it is of no use to listen any longer. */
static bool take_reply(struct checkup *c, const char *reply, size_t length)
{
    if (c->to_skip > 0) {
        c->to_skip--;
        return true;
    }
    if (reply[0] == '$')
        take_info(c, (struct bytes){reply, length});
    if (c->awaited == 0)
        return false;
    if (--c->awaited == 0) {
        c->answered = c->heard = true;
        c->lost = false;
        link_forget_flushed(c->link);
    }
    return true;
}

static bool take_replies(struct checkup *c)
{
    struct link *link = c->link;

    for (;;) {
        size_t there = buffer_length(&link->in), length;

        if (there == 0)
            return true;
        switch (frame_scan(&link->frame, buffer_bytes(&link->in), there, &length)) {
        case FRAME_PARTIAL:
            return true;
        case FRAME_BROKEN:
            return false;
        case FRAME_WHOLE:
            frame_reset(&link->frame);
            if (!take_reply(c, buffer_bytes(&link->in), length))
                return false;
            buffer_consume(&link->in, length);
        }
    }
}

static bool move_bytes(struct checkup *c)
{
    enum wire_result r = wire_connected(c->link);

    if (r == WIRE_AGAIN)
        return true;
    if (r == WIRE_LOST || wire_flush(c->link) == WIRE_LOST)
        return false;
    do
        r = wire_fill(c->link, false);
    while (r == WIRE_DONE || r == WIRE_INTERRUPTED);
    return take_replies(c) && r == WIRE_AGAIN;
}

/* --- what follows from them --- */

static bool master_is_there(const struct survey *v, uint16_t shard)
{
    for (const struct checkup *c = v->checkups; c != NULL; c = c->next)
        if (c->listed && c->master && c->shard == shard)
            return c->answered && !c->lost;
    return false;
}

/* Nobody waits for a name: it is known the next time. */
static bool leads_to(const char *name, const struct checkup *c)
{
    struct resolver_address list[RESOLVER_ADDRESSES_MOST];
    char number[INET6_ADDRSTRLEN];
    size_t count;

    if (resolver_list(name, c->port, AF_UNSPEC, false, list, &count) != RESOLVER_FOUND)
        return false;
    for (size_t i = 0; i < count; i++)
        if (getnameinfo((const struct sockaddr *)&list[i].address, list[i].length, number,
                        sizeof number, NULL, 0, NI_NUMERICHOST) == 0 &&
            strcmp(number, c->host) == 0)
            return true;
    return false;
}

static bool is_at(const struct checkup *c, const struct config_address *address)
{
    return address->port == c->port &&
           (strcmp(address->host, c->host) == 0 ||
            (resolver_is_name(address->host) && leads_to(address->host, c)));
}

/* What the configuration says of its zone is for those that say nothing, and counts before what
 * they say. */
static void apply_zone(const struct checkup *c, struct node_state *state)
{
    const struct config_cluster *configured = cluster_seeds(c->survey->cluster);
    const struct config_zone *z = configured != NULL ? configured->zones : NULL;

    while (z != NULL && !is_at(c, &z->address))
        z = z->next;
    if (z != NULL)
        snprintf(state->zone, sizeof state->zone, "%s", z->zone);
}

/* While its master is gone no replica hears it: what it has is the newest there is, and it may
 * be the next master. */
static void conclude(const struct survey *v)
{
    for (struct checkup *c = v->checkups; c != NULL; c = c->next) {
        struct node_state state;

        if (!c->listed || (!c->answered && !c->lost))
            continue;
        c->state.unreachable = c->lost;
        c->state.cut_off = c->unheard && !c->master && master_is_there(v, c->shard);
        state = c->state;
        apply_zone(c, &state);
        cluster_set_node_state(v->cluster, c->host, c->port, &state);
    }
}

/* --- who is asked --- */

static struct checkup *checkup_of(struct survey *v, const struct node *node)
{
    struct checkup *c;

    for (c = v->checkups; c != NULL; c = c->next)
        if (c->port == node->port && strcmp(c->host, node->host) == 0)
            return c;
    c = calloc(1, sizeof *c + strlen(node->host) + 1);
    if (c == NULL)
        return NULL;
    c->survey = v;
    c->port = node->port;
    strcpy(c->host, node->host);
    c->next = v->checkups;
    v->checkups = c;
    return c;
}

static void forget_unlisted(struct survey *v)
{
    struct checkup **at = &v->checkups;

    while (*at != NULL) {
        struct checkup *c = *at;

        if (c->listed) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        hang_up(c);
        free(c);
    }
}

static void list(struct survey *v, const struct topology *t)
{
    for (struct checkup *c = v->checkups; c != NULL; c = c->next)
        c->listed = false;
    for (uint16_t i = 0; i < t->node_count; i++) {
        struct checkup *c = checkup_of(v, &t->nodes[i]);

        if (c == NULL)
            continue;
        c->listed = true;
        c->shard = t->nodes[i].shard;
        c->master = t->nodes[i].master;
    }
    forget_unlisted(v);
}

static void advance(struct survey *v, int64_t now_ms)
{
    uint64_t version;
    struct topology *t;

    if (now_ms < v->due_ms)
        return;
    t = cluster_topology(v->cluster, &version);
    list(v, t);
    conclude(v);
    v->names_pending = false;
    for (struct checkup *c = v->checkups; c != NULL; c = c->next)
        ask(c, now_ms);
    v->due_ms = now_ms + clock_jitter_ms(PERIOD_MS + PERIOD_PER_NODE_MS * t->node_count);
    if (v->names_pending)
        v->due_ms = now_ms + RESOLVER_AGAIN_MS;
    topology_unref(t);
}

static struct survey *survey_of(struct cluster *cluster)
{
    struct survey *v;

    for (v = surveys; v != NULL; v = v->next)
        if (v->cluster == cluster)
            return v;
    v = calloc(1, sizeof *v);
    if (v == NULL)
        return NULL;
    v->cluster = cluster;
    v->next = surveys;
    surveys = v;
    return v;
}

static bool open_poller(int poller)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = KEEPER_SURVEY_DATA};

    if (poller_of_survey != -1 && poller_of_keeper == poller)
        return true;
    poller_of_survey = wire_move_high(epoll_create1(EPOLL_CLOEXEC));
    poller_of_keeper = poller;
    return poller_of_survey != -1 &&
           epoll_ctl(poller, EPOLL_CTL_ADD, poller_of_survey, &event) == 0;
}

static void collect(int64_t now_ms)
{
    struct epoll_event events[EVENTS_MOST];
    int count;

    do {
        count = epoll_wait(poller_of_survey, events, EVENTS_MOST, 0);
        for (int i = 0; i < count; i++) {
            struct checkup *c = events[i].data.ptr;

            if (c->link == NULL || move_bytes(c)) {
                if (c->awaited == 0)
                    conclude(c->survey);
            } else {
                renew(c, now_ms);
            }
        }
    } while (count == EVENTS_MOST);
}

int64_t survey_advance(int poller, int64_t now_ms)
{
    int64_t due = -1;

    for (struct cluster *c = cluster_first(); c != NULL; c = c->next) {
        struct survey *v = cluster_is_surveyed(c) && open_poller(poller) ? survey_of(c) : NULL;

        if (v == NULL)
            continue;
        collect(now_ms);
        advance(v, now_ms);
        due = clock_earlier(due, v->due_ms);
    }
    return due;
}

void survey_forget_all(void)
{
    for (struct survey *v = surveys; v != NULL; v = v->next) {
        for (struct checkup *c = v->checkups; c != NULL; c = c->next)
            hang_up(c);
        v->due_ms = 0;
    }
    if (poller_of_survey != -1)
        close(poller_of_survey);
    poller_of_survey = -1;
}
