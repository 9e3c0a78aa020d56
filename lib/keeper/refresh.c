/* Evidence (a MOVED, a lost link, CLUSTERDOWN, a silent node) brings a refresh at
 * once, and more often than that only with growing pauses; without evidence one node
 * is asked from time to time, and others only when it says something new.
 *
 * Each node asked answers two questions: CLUSTER SLOTS for the topology, and CLUSTER
 * NODES for what that does not show: who is dead for the majority, and which slots
 * are still migrating. */
#include "keeper/refresh.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "keeper/dial.h"
#include "keeper/keeper.h"
#include "keeper/watch.h"
#include "link/resolver.h"
#include "link/wire.h"
#include "route/members.h"

enum {
    ASKED_MOST = 5,          /* nodes in one refresh: a majority of them is a view */
    SEEDS_MOST = 3,          /* … of which so many endpoints, when no node answers */
    PERIOD_MS = 5000,        /* Envoy's cluster_refresh_rate */
    PERIOD_PER_NODE_MS = 50, /* so that a large cluster is not asked more by more clients */
    PAUSE_FIRST_MS = 50,
    PAUSE_MOST_MS = 1000,
    UNSETTLED_FOR_MS =
        3000,           /* since a node did not answer, or was suspected, or a slot migrating */
    UNSETTLED_MS = 250, /* a replica waits 500 ms and more after the FAIL before it takes over */
    ANSWER_WITHIN_MS = 1000,
    STRAGGLERS_WITHIN_MS = 150, /* once a majority has answered */
};

static const char questions[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"
                                "*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n";

struct inquiry {
    struct refresh *refresh;
    struct link *link; /* NULL: over */
    char *credentials; /* that it was asked with, or NULL */
    int to_skip;       /* the answer to the credentials */
    const char *seed;  /* the name of an endpoint by which it was found; NULL: it is a node */
    struct topology *view;
    size_t credentials_length;
    char *nodes; /* the text of CLUSTER NODES */
    size_t nodes_length;
};

struct refresh {
    struct refresh *next;
    struct cluster *cluster;
    uint32_t evidence_seen;
    int64_t due_ms;
    int64_t pause_ms;
    int64_t unsettled_until_ms;
    unsigned turn; /* which node is first in line */
    unsigned seed_turn;
    bool wide;     /* there is evidence: several nodes are to be asked */
    bool lost;     /* nobody has answered the last time */
    /* While under way: */
    bool asking;
    bool names_pending; /* a node was not asked, since its name is still being looked up */
    uint64_t begun;
    struct topology *before; /* the snapshot when it began */
    int64_t give_up_ms;
    int count;
    int open;
    struct inquiry inquiries[ASKED_MOST];
};

static struct refresh *refreshes;
static int poller_of_keeper = -1;

/* What the configuration does not say is ours to choose. */
static int64_t period_ms(const struct refresh *r, int nodes)
{
    int64_t said = cluster_refresh(r->cluster).rate_ms;

    return said > 0 ? said : PERIOD_MS + PERIOD_PER_NODE_MS * nodes;
}

static int64_t answer_within_ms(const struct refresh *r)
{
    int64_t said = cluster_refresh(r->cluster).timeout_ms;

    return said > 0 ? said : ANSWER_WITHIN_MS;
}

/* It has answered nothing: another may be behind its name by now. */
static void doubt(const struct inquiry *q)
{
    if (q->seed != NULL)
        resolver_doubt(q->seed, &q->link->address);
    else
        wire_doubt(q->link);
}

static void finish_inquiry(struct inquiry *q)
{
    if (q->link == NULL)
        return;
    if (q->view == NULL)
        doubt(q);
    wire_close(q->link);
    link_destroy(q->link);
    q->link = NULL;
    q->refresh->open--;
}

static void clear(struct refresh *r)
{
    for (int i = 0; i < r->count; i++) {
        struct inquiry *q = &r->inquiries[i];

        finish_inquiry(q);
        topology_unref(q->view);
        free(q->nodes);
        free(q->credentials);
        *q = (struct inquiry){.refresh = r};
    }
    topology_unref(r->before);
    r->before = NULL;
    r->count = 0;
    r->asking = false;
}

/* --- asking --- */

static bool write_questions(struct inquiry *q)
{
    bool ok;

    q->credentials = cluster_credentials(q->refresh->cluster, q->link->host, q->link->port,
                                         &q->credentials_length);
    ok = q->credentials == NULL || link_send_raw(q->link, q->credentials, q->credentials_length);
    q->to_skip = q->credentials != NULL;
    return ok && link_send_raw(q->link, questions, sizeof questions - 1);
}

static void ask(struct refresh *r, const char *host, uint16_t port, const char *seed)
{
    static const struct wire_settings names;
    struct inquiry *q = &r->inquiries[r->count];
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = q};

    *q = (struct inquiry){.refresh = r, .seed = seed};
    q->link = link_create(host, port);
    if (q->link == NULL)
        return;
    r->count++;
    r->open++;
    if (wire_look_up(q->link, &names) == RESOLVER_PENDING) {
        r->names_pending = true;
        finish_inquiry(q);
        return;
    }
    if (!write_questions(q) || dial_open(q->link, r->cluster) == WIRE_LOST ||
        epoll_ctl(poller_of_keeper, EPOLL_CTL_ADD, q->link->fd, &event) == -1)
        finish_inquiry(q);
}

/* The owners of migrating slots alone know when a migration is over. */
static void ask_migrating(struct refresh *r, const struct topology *t, bool *asked)
{
    for (uint32_t slot = 0; t->migrating_count > 0 && slot < SLOT_COUNT; slot++) {
        uint16_t owner = t->owner[slot];

        if (!topology_is_migrating(t, (uint16_t)slot) || owner == NODE_NONE || asked[owner] ||
            r->count >= ASKED_MOST - 1)
            continue;
        asked[owner] = true;
        ask(r, t->nodes[owner].host, t->nodes[owner].port, NULL);
    }
}

/* No node that is known answers: the cluster may be where the configuration says now, or where its
 * names lead now. They leave room for nodes, which may come back. */
static void ask_seeds(struct refresh *r)
{
    const struct config_cluster *seeds = cluster_seeds(r->cluster);

    for (int i = 0; seeds != NULL && i < seeds->endpoint_count && r->count < SEEDS_MOST; i++) {
        const struct config_address *seed =
            &seeds->endpoints[r->seed_turn % (unsigned)seeds->endpoint_count];
        char host[INET6_ADDRSTRLEN];

        switch (resolver_number(seed->host, seed->port, host)) {
        case RESOLVER_PENDING:
            return; /* it is asked again, in a while */
        case RESOLVER_FOUND:
            ask(r, host, seed->port, seed->host);
            break;
        case RESOLVER_UNKNOWN:
            break;
        }
        r->seed_turn++;
    }
}

static void begin(struct refresh *r, int most, int64_t now_ms)
{
    uint64_t version;
    struct topology *t = cluster_topology(r->cluster, &version);
    bool *asked = calloc((size_t)t->node_count + 1, sizeof *asked);

    r->asking = true;
    r->names_pending = false;
    r->give_up_ms = now_ms + answer_within_ms(r);
    r->begun = cluster_refresh_begin(r->cluster);
    if (r->lost)
        ask_seeds(r);
    if (asked != NULL) {
        ask_migrating(r, t, asked);
        for (uint16_t i = 0; i < t->node_count && r->count < most; i++) {
            uint16_t node = (uint16_t)((r->turn + i) % t->node_count);

            if (!asked[node])
                ask(r, t->nodes[node].host, t->nodes[node].port, NULL);
        }
        r->turn += (unsigned)r->count;
    }
    free(asked);
    r->before = t;
}

/* --- concluding --- */

static void put_in_force(struct refresh *r)
{
    struct topology *views[ASKED_MOST];
    size_t count = 0, best;

    for (int i = 0; i < r->count; i++)
        if (r->inquiries[i].view != NULL)
            views[count++] = r->inquiries[i].view;
    r->lost = count == 0;
    best = count ? topology_choose(views, count) : 0;
    stats_add(count ? STATS_REFRESHES : STATS_REFRESHES_FAILED, 1);
    cluster_refresh_end(r->cluster, r->begun, count ? topology_ref(views[best]) : NULL);
}

static bool is_node(const struct member *m, const struct node *node)
{
    return m->port == node->port && m->host.length == strlen(node->host) &&
           memcmp(m->host.data, node->host, m->host.length) == 0;
}

static int votes_against(const struct refresh *r, const struct node *node, int *voters)
{
    int votes = 0;

    *voters = 0;
    for (int i = 0; i < r->count; i++) {
        struct bytes text = {r->inquiries[i].nodes, r->inquiries[i].nodes_length};
        struct member m;

        *voters += text.data != NULL;
        while (text.data != NULL && members_next(&text, &m))
            votes += m.failed && is_node(&m, node);
    }
    return votes;
}

/* Whoever waits for a node that is dead for the majority must wake. A dead node may
 * have left the newest snapshot already. Returns whether there is any. */
static bool cut_the_dead(const struct refresh *r)
{
    bool any = false;

    for (uint16_t i = 0; i < r->before->node_count; i++) {
        const struct node *node = &r->before->nodes[i];
        int voters, votes = votes_against(r, node, &voters);

        if (voters == 0)
            continue;
        cluster_mark_dead(r->cluster, node->host, node->port, votes > voters / 2);
        if (votes > voters / 2)
            watch_cut(r->cluster, node->host, node->port);
        any |= votes > voters / 2;
    }
    return any;
}

static bool any_suspected(const struct refresh *r)
{
    for (int i = 0; i < r->count; i++) {
        struct bytes text = {r->inquiries[i].nodes, r->inquiries[i].nodes_length};
        struct member m;

        while (text.data != NULL && members_next(&text, &m))
            if (m.suspected)
                return true;
    }
    return false;
}

/* Only what was known to be migrating when the node was asked can be settled by its answer. */
static void settle_migrations(struct refresh *r, struct inquiry *q, const struct topology *t)
{
    struct bytes text = {q->nodes, q->nodes_length};
    uint8_t still[SLOT_COUNT / 8] = {0};
    uint16_t self = NODE_NONE, slot;
    struct member m;

    while (text.data != NULL && members_next(&text, &m))
        if (m.myself) {
            self = topology_find(t, m.host, m.port);
            while (members_next_migrating(&m, &slot))
                still[slot / 8] |= (uint8_t)(1u << (slot % 8));
        }
    if (self == NODE_NONE)
        return;
    for (uint32_t i = 0; i < SLOT_COUNT; i++)
        if (topology_is_migrating(r->before, (uint16_t)i) && t->owner[i] == self &&
            (still[i / 8] >> (i % 8) & 1) == 0)
            cluster_migrating(r->cluster, (uint16_t)i, false);
}

static void conclude(struct refresh *r, int64_t now_ms)
{
    uint64_t version, before = cluster_version(r->cluster);
    struct topology *t;
    bool unsettled = r->open > 0 || any_suspected(r);

    put_in_force(r);
    t = cluster_topology(r->cluster, &version);
    unsettled |= cut_the_dead(r) || t->migrating_count > 0;
    watch_cut_deposed(r->cluster, t);
    for (int i = 0; t->migrating_count > 0 && i < r->count; i++)
        settle_migrations(r, &r->inquiries[i], t);
    /* What was new to one node has to be confirmed by others. */
    if (cluster_version(r->cluster) != before && r->count == 1)
        atomic_fetch_add(&r->cluster->evidence, 1);
    r->due_ms = now_ms + clock_jitter_ms(period_ms(r, t->node_count));
    if (unsettled)
        r->unsettled_until_ms = now_ms + UNSETTLED_FOR_MS;
    if (now_ms < r->unsettled_until_ms) {
        r->due_ms = now_ms + UNSETTLED_MS;
        r->wide = true;
    }
    if (r->lost && cluster_seeds(r->cluster) != NULL) {
        r->due_ms = now_ms + clock_jitter_ms(r->pause_ms);
        r->pause_ms = r->pause_ms * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : r->pause_ms * 2;
        r->wide = true;
    }
    if (r->names_pending) {
        r->due_ms = now_ms + RESOLVER_AGAIN_MS;
        r->wide = true;
    }
    topology_unref(t);
    clear(r);
}

static bool over(const struct refresh *r, int64_t now_ms)
{
    return r->open == 0 || now_ms >= r->give_up_ms;
}

/* --- answers --- */

static void take_view(struct inquiry *q, const char *reply, size_t length)
{
    char why[128];

    q->view = topology_parse(reply, length, q->link->host, q->link->port, why, sizeof why);
    /* A node that knows no slot at all, as one that was reset, has no view. */
    if (q->view != NULL && q->view->owned == 0) {
        topology_unref(q->view);
        q->view = NULL;
    }
}

static void add_replicas(struct inquiry *q)
{
    struct topology *whole = NULL;

    if (q->view != NULL)
        whole = topology_with_members(q->view, (struct bytes){q->nodes, q->nodes_length},
                                      q->link->host);
    if (whole == NULL)
        return;
    topology_unref(q->view);
    q->view = whole;
}

static void take_nodes(struct inquiry *q, const char *reply, size_t length)
{
    q->nodes = malloc(length);
    if (q->nodes == NULL)
        return;
    memcpy(q->nodes, reply, length);
    q->nodes_length = length;
    add_replicas(q);
}

/* The header of a bulk string is no member's line, and is passed over as such. */
static bool take_reply(struct inquiry *q, const char *reply, size_t length)
{
    if (reply[0] == '-' && q->credentials != NULL)
        cluster_doubt_credentials(q->refresh->cluster,
                                  (struct bytes){q->credentials, q->credentials_length});
    if (q->to_skip > 0) {
        q->to_skip--;
        return true;
    }
    if (q->view == NULL && reply[0] == '*') {
        take_view(q, reply, length);
        return true;
    }
    if (reply[0] == '$')
        take_nodes(q, reply, length);
    return reply[0] != '-' && q->nodes == NULL;
}

/* False: the inquiry is over. */
static bool take_replies(struct inquiry *q)
{
    struct link *link = q->link;

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
            if (!take_reply(q, buffer_bytes(&link->in), length))
                return false;
            buffer_consume(&link->in, length);
        }
    }
}

static bool move_bytes(struct inquiry *q)
{
    enum wire_result r = wire_connected(q->link);

    if (r == WIRE_AGAIN)
        return true;
    if (r == WIRE_LOST || wire_flush(q->link) == WIRE_LOST)
        return false;
    do
        r = wire_fill(q->link, false);
    while (r == WIRE_DONE || r == WIRE_INTERRUPTED);
    return take_replies(q) && r == WIRE_AGAIN;
}

void refresh_event(void *inquiry, int64_t now_ms)
{
    struct inquiry *q = inquiry;
    struct refresh *r = q->refresh;

    if (q->link == NULL || move_bytes(q))
        return;
    finish_inquiry(q);
    if (r->open * 2 < r->count && r->give_up_ms > now_ms + STRAGGLERS_WITHIN_MS)
        r->give_up_ms = now_ms + STRAGGLERS_WITHIN_MS;
}

/* --- when --- */

static struct refresh *refresh_of(struct cluster *c, int64_t now_ms)
{
    struct refresh *r;

    for (r = refreshes; r != NULL; r = r->next)
        if (r->cluster == c)
            return r;
    r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->cluster = c;
    r->pause_ms = PAUSE_FIRST_MS;
    r->due_ms = now_ms + clock_jitter_ms(PERIOD_MS);
    r->turn = (unsigned)clock_jitter_ms(1 << 16);
    r->next = refreshes;
    refreshes = r;
    return r;
}

static void advance_one(struct refresh *r, int64_t now_ms)
{
    uint32_t evidence = atomic_load_explicit(&r->cluster->evidence, memory_order_relaxed);

    if (r->asking && over(r, now_ms))
        conclude(r, now_ms);
    if (r->asking)
        return;
    if (evidence != r->evidence_seen) {
        int64_t at = r->due_ms < now_ms + r->pause_ms ? r->due_ms : now_ms + r->pause_ms;

        r->evidence_seen = evidence;
        r->due_ms = at;
        r->pause_ms = r->pause_ms * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : r->pause_ms * 2;
        r->wide = true;
    }
    if (now_ms < r->due_ms)
        return;
    if (!r->wide)
        r->pause_ms = PAUSE_FIRST_MS;
    begin(r, r->wide ? ASKED_MOST : 1, now_ms);
    r->wide = false;
}

int64_t refresh_advance(int poller, int64_t now_ms)
{
    int64_t due = -1;

    poller_of_keeper = poller;
    for (struct cluster *c = cluster_first(); c != NULL; c = c->next) {
        struct refresh *r = atomic_load(&c->single) ? NULL : refresh_of(c, now_ms);

        if (r == NULL)
            continue;
        advance_one(r, now_ms);
        due = clock_earlier(due, r->asking ? r->give_up_ms : r->due_ms);
    }
    return due;
}

void refresh_forget_all(void)
{
    for (struct refresh *r = refreshes; r != NULL; r = r->next) {
        bool under_way = r->asking;

        clear(r);
        if (under_way)
            cluster_refresh_end(r->cluster, r->begun, NULL);
        r->due_ms = 0;
    }
}
