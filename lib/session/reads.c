#include "session/reads.h"

#include <errno.h>
#include <stdlib.h>

#include "route/policy.h"
#include "route/redirect.h"
#include "session/flights.h"
#include "session/transaction.h"

enum {
    SHARD_NODES_MAX = 256, /* more replicas of one shard than this are not read from */
    SHUN_MS = 1000,        /* a node that refuses to read is asked again after this */
    REDIRECTS_BY_POLICY = 1, /* then the master answers */
    REDIRECTS_MAX = 16,
};

struct reads {
    struct flights flights;
    struct link **link_of_node; /* readers, by node of the snapshot */
    uint8_t *traits;            /* by node */
    uint32_t *turns;            /* by shard */
    uint32_t *turn;             /* the latest that was taken */
    int64_t master_until_ms;    /* for all slots */
    bool late;                  /* what was in flight at the beginning is not enlisted */
};

static struct flight *find(const struct reads *reads, uint16_t slot)
{
    return flights_find(&reads->flights, slot);
}

/* NULL: out of memory, the session has ended. */
static struct flight *make(struct session *s, uint16_t slot)
{
    struct flight *f = flights_take(&s->reads->flights, slot, session_now(s));

    if (f == NULL)
        session_end(s, ENOMEM);
    return f;
}

/* --- what a part is --- */

static bool is_of_keys(const struct command *c)
{
    return c->klass == COMMAND_KEYED || c->klass == COMMAND_SPLIT;
}

static bool only_reads(const struct command *c)
{
    return c != NULL && (c->flags & COMMAND_READONLY) != 0 && is_of_keys(c);
}

/* The words of the command are in s->argv, unless it is of a known shape: those do not block. */
static bool may_go_away(const struct session *s, const struct command *c)
{
    return !s->topology->masters_only && only_reads(c) && !transaction_is_guarded(s) &&
           ((c->flags & COMMAND_BLOCKING) == 0 || !command_blocks(c, s->argv.words, s->argv.count));
}

static bool may_write(const struct command *c)
{
    if (c == NULL)
        return true;
    return is_of_keys(c) ? !only_reads(c) : (c->flags & COMMAND_WRITE) != 0;
}

/* False: out of memory. */
static bool enlist(struct session *s, struct part *part)
{
    const struct command *c = part->request->command;
    struct flight *f;

    part->enlisted = true;
    if (may_write(c)) {
        if ((f = make(s, part->slot)) == NULL)
            return false;
        f->writes++;
        part->writes = true;
    } else if (s->policy != READ_MASTER && may_go_away(s, c)) {
        part->policy = (uint8_t)s->policy;
    }
    return true;
}

/* --- which node --- */

static bool link_is_fit(const struct session *s, const struct link *link)
{
    if (link == NULL)
        return true;
    if (atomic_load_explicit(&link->silent, memory_order_relaxed))
        return false;
    if (link->shun_until_ms != 0 && link->shun_until_ms > session_now(s))
        return false;
    switch (link->state) {
    case LINK_BACKOFF: /* one read finds out whether it is back */
        return link->waiting.head == NULL && link->retry_at_ms <= session_now(s);
    case LINK_WANTED:
    case LINK_CONNECTING:
    case LINK_GREETING:
        return link->failures == 0;
    case LINK_REFUSED:
        return link->retry_at_ms <= session_now(s);
    case LINK_IDLE:
    case LINK_UP:
        return true;
    }
    return true;
}

static uint8_t traits_of(const struct session *s, uint16_t node, uint16_t owner)
{
    uint8_t traits = s->reads->traits[node];
    const struct link *link =
        node == owner ? s->link_of_node[node] : s->reads->link_of_node[node];

    if ((traits & POLICY_FIT) != 0 && !link_is_fit(s, link))
        traits &= (uint8_t)~POLICY_FIT;
    return node == owner ? traits | POLICY_MASTER : traits;
}

/* NODE_NONE: none can. */
static uint16_t choose(struct session *s, uint16_t slot, enum read_policy policy)
{
    uint16_t owner = s->topology->owner[slot], number = s->topology->nodes[owner].shard, count;
    const struct shard *shard = &s->topology->shards[number];
    uint8_t traits[SHARD_NODES_MAX];
    int chosen;

    count = shard->count < SHARD_NODES_MAX ? shard->count : SHARD_NODES_MAX;
    for (uint16_t i = 0; i < count; i++)
        traits[i] = traits_of(s, shard->nodes[i], owner);
    s->reads->turn = &s->reads->turns[number];
    chosen = policy_choose(policy, traits, count, (*s->reads->turn)++);
    return chosen < 0 ? NODE_NONE : shard->nodes[chosen];
}

static struct link *reader_of(struct session *s, uint16_t node)
{
    struct link *link = s->reads->link_of_node[node];
    const struct node *n = &s->topology->nodes[node];

    if (link != NULL)
        return link;
    link = link_create(n->host, n->port);
    if (link == NULL)
        return NULL;
    link->reader = true;
    link->node = node;
    link->next = s->links;
    s->links = link;
    s->reads->link_of_node[node] = link;
    return link;
}

static bool stays_with_master(struct session *s, uint16_t slot)
{
    const struct flight *f = find(s->reads, slot);
    int64_t until = s->reads->master_until_ms;

    if (f != NULL && f->writes > 0)
        return true;
    if (f != NULL && f->master_until_ms > until)
        until = f->master_until_ms;
    return until != 0 && until > session_now(s);
}

/* --- the way --- */

static void no_replica(struct session *s, struct part *part)
{
    const struct node *owner = &s->topology->nodes[s->topology->owner[part->slot]];
    int replicas = s->topology->shards[owner->shard].count - 1;

    cluster_suspect(s->cluster); /* servers do not name one that has yet to begin */
    if (replicas == 0)
        answer_fail(s, part, "UNREACHABLE redisroute: no replica can be read: %s:%u has none, and the read policy is REPLICA",
                    owner->host, (unsigned)owner->port);
    else
        answer_fail(s, part, "UNREACHABLE redisroute: no replica can be read: %s:%u has %d, none of which is reachable, loaded and connected to it, and the read policy is REPLICA",
                    owner->host, (unsigned)owner->port, replicas);
}

static void send_away(struct session *s, struct part *part, uint16_t node, const char *bytes,
                      size_t length)
{
    struct link *link = reader_of(s, node);
    struct flight *f = link != NULL ? make(s, part->slot) : NULL;

    if (f == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    f->away++;
    part->away = true;
    dispatch_to(s, link, part, bytes, length);
}

static bool in_trouble(const struct session *s, uint16_t slot)
{
    return trouble_find(s, slot) != NULL || topology_is_migrating(s->topology, slot);
}

bool reads_dispatch(struct session *s, struct part *part, const char *bytes, size_t length)
{
    uint16_t node;

    /* A transaction has nothing beside it. */
    if (s->topology == NULL || part->slot == SLOT_NONE || part->target != NULL ||
        part->request->kind >= REQUEST_OPENING)
        return false;
    if (!part->enlisted && !enlist(s, part))
        return true;
    if (in_trouble(s, part->slot))
        return false;
    if (reads_block(s, part)) {
        dispatch_hold(s, part, bytes, length);
        return true;
    }
    if (part->policy == READ_MASTER || s->topology->owner[part->slot] == NODE_NONE ||
        stays_with_master(s, part->slot))
        return false;
    node = choose(s, part->slot, (enum read_policy)part->policy);
    if (node == s->topology->owner[part->slot])
        return false;
    if (node == NODE_NONE)
        no_replica(s, part);
    else
        send_away(s, part, node, bytes, length);
    return true;
}

bool reads_block(const struct session *s, const struct part *part)
{
    const struct flight *f = part->writes ? find(s->reads, part->slot) : NULL;

    return f != NULL && f->away > 0;
}

void reads_left(struct session *s, struct part *part)
{
    if (!part->away)
        return;
    part->away = false;
    find(s->reads, part->slot)->away--;
}

static void note_write(struct session *s, const struct command *c, struct flight *f)
{
    int64_t until;

    if (s->settings.read_your_writes_ms == 0)
        return;
    until = session_now(s) + s->settings.read_your_writes_ms;
    if (c != NULL && !is_of_keys(c))
        s->reads->master_until_ms = until;
    else if (f != NULL)
        f->master_until_ms = until;
}

void reads_answered(struct session *s, struct part *part)
{
    struct flight *f = find(s->reads, part->slot);
    struct trouble *t;

    if (part->writes) {
        part->writes = false;
        f->writes--;
        note_write(s, part->request->command, f);
        return;
    }
    part->away = false;
    if (--f->away == 0 && (t = trouble_find(s, part->slot)) != NULL)
        trouble_release(s, t);
}

bool reads_again(struct session *s, struct part *part)
{
    const struct flight *f;

    if (s->reads == NULL || part->policy == READ_MASTER || part->slot == SLOT_NONE ||
        part->target != NULL || part->redirects > REDIRECTS_BY_POLICY || part->troubled ||
        s->topology == NULL || in_trouble(s, part->slot))
        return false;
    f = find(s->reads, part->slot);
    if (f != NULL && f->writes > 0)
        return false;
    reads_left(s, part);
    part->out_of_order = true;
    part->skip = 0;
    dispatch_part(s, part, part->bytes, part->length);
    return true;
}

/* In its place in the slot's queue, which goes to the master. */
static void to_master(struct session *s, struct part *part)
{
    part->policy = READ_MASTER;
    recover_requeue(s, part);
}

static bool knows_already(const struct session *s, const struct redirect *what)
{
    uint16_t node = topology_find(s->topology, what->host, what->port);

    return node != NODE_NONE && s->topology->owner[what->slot] == node;
}

/* The slot has another owner, or this node does not serve it as the owner's replica. */
static void moved(struct session *s, struct part *part, const struct redirect *what)
{
    bool known = what->host.length == 0 || knows_already(s, what);

    cluster_suspect(s->cluster);
    if (!known) {
        cluster_moved(s->cluster, what->slot, what->host, what->port);
        session_adopt(s);
    }
    if (s->state != SESSION_ENDED && (known || !reads_again(s, part)))
        to_master(s, part);
}

bool reads_refused(struct session *s, struct part *part, struct link *link,
                   const struct redirect *what)
{
    if (++part->redirects > REDIRECTS_MAX)
        return false;
    switch (what->action) {
    case REDIRECT_NONE:
        return false;
    case REDIRECT_MOVED:
        moved(s, part, what);
        return true;
    case REDIRECT_LOADING:
    case REDIRECT_MASTERDOWN:
    case REDIRECT_CLUSTERDOWN:
    case REDIRECT_UNBOUND:
        link->shun_until_ms = session_now(s) + SHUN_MS;
        part->redirects--;
        recover_requeue(s, part);
        return true;
    case REDIRECT_ASK:
    case REDIRECT_TRYAGAIN:
    case REDIRECT_READONLY:
    case REDIRECT_UNBLOCKED:
    case REDIRECT_NOSCRIPT: /* it is cached where it was run first */
        to_master(s, part);
        return true;
    }
    return false;
}

static bool mentions(const char *reply, size_t length, const char *text)
{
    return memmem(reply, length, text, strlen(text)) != NULL;
}

static bool master_is_there(const struct session *s, uint16_t replica)
{
    uint16_t master = s->topology->shards[s->topology->nodes[replica].shard].nodes[0];

    return (s->reads->traits[master] & POLICY_FIT) != 0 &&
           link_is_fit(s, s->link_of_node[master]);
}

/* INFO is what a replica tells of itself: one that was just started may have nothing yet, and
 * calls itself a master until it has found its own. Later the survey of the keeper knows. While the master is gone, what a replica has is the newest. */
bool reads_take_greeting(struct session *s, struct link *link, const char *reply, size_t length)
{
    bool is_info = reply[0] == '$' || reply[0] == '=';

    /* A node that the snapshot has dropped may come back into it. */
    if (!is_info || mentions(reply, length, "master_link_status:up") ||
        (link->node != NODE_NONE &&
         (s->topology->nodes[link->node].master || !master_is_there(s, link->node))))
        return true;
    cluster_suspect(s->cluster); /* it may have become a master */
    link->must_close = true;
    link->error = ECONNREFUSED;
    session_touch(s, link);
    return false;
}

bool reads_may_stay(const struct session *s, const struct part *part, const struct link *link)
{
    uint16_t owner = s->topology->owner[part->slot];

    return link->node != NODE_NONE && owner != NODE_NONE && link->node != owner &&
           s->topology->nodes[owner].shard == s->topology->nodes[link->node].shard;
}

bool reads_is_barrier(const struct session *s, const struct command *c)
{
    struct key_range ranges[COMMAND_RANGES_MAX];

    if (s->reads == NULL || c == NULL)
        return false;
    if (!is_of_keys(c))
        return (c->flags & COMMAND_WRITE) != 0;
    return (c->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) != 0 &&
           (c->flags & COMMAND_MOVABLE_KEYS) != 0 &&
           command_keys(c, s->argv.words, s->argv.count, ranges) == 0;
}

/* --- the short way --- */

struct link *reads_express(struct session *s, const struct command *c, uint16_t slot)
{
    uint16_t owner = s->topology->owner[slot], node = owner;

    s->reads->turn = NULL;
    if (owner == NODE_NONE)
        return NULL;
    if (s->policy != READ_MASTER && !s->topology->masters_only && only_reads(c) &&
        !transaction_is_guarded(s) && !stays_with_master(s, slot))
        node = choose(s, slot, s->policy);
    if (node == NODE_NONE)
        return NULL;
    return node == owner ? s->link_of_node[node] : s->reads->link_of_node[node];
}

void reads_express_undo(struct session *s)
{
    if (s->reads->turn != NULL)
        --*s->reads->turn;
}

void reads_wrote(struct session *s, const struct command *c, uint16_t slot)
{
    if (slot != SLOT_NONE && s->settings.read_your_writes_ms > 0 && (c == NULL || !only_reads(c)))
        note_write(s, c, make(s, slot));
}

void reads_resume(struct session *s, struct part *part, const struct link *link)
{
    struct flight *f;

    if (!enlist(s, part) || !link->reader || (f = make(s, part->slot)) == NULL)
        return;
    f->away++;
    part->away = true;
}

/* --- snapshots --- */

static struct reads *create(void)
{
    return calloc(1, sizeof(struct reads));
}

static void free_maps(struct reads *reads)
{
    free(reads->link_of_node);
    free(reads->traits);
    free(reads->turns);
}

static bool make_maps(struct session *s, struct reads *maps)
{
    size_t nodes = (size_t)s->topology->node_count + 1;

    maps->link_of_node = calloc(nodes, sizeof(struct link *));
    maps->traits = calloc(nodes, 1);
    maps->turns = calloc((size_t)s->topology->shard_count + 1, sizeof *maps->turns);
    return maps->link_of_node != NULL && maps->traits != NULL && maps->turns != NULL;
}

static void look_at_traits(const struct session *s, uint8_t *traits)
{
    cluster_traits(s->cluster, s->topology, s->settings.zone != NULL ? s->settings.zone : "",
                   traits);
}

void reads_configure(struct session *s)
{
    if (s->reads != NULL && s->reads->traits != NULL)
        look_at_traits(s, s->reads->traits);
}

bool reads_adopt(struct session *s)
{
    struct reads maps = {.turn = NULL};

    if (s->front != NULL || (s->reads == NULL && s->policy == READ_MASTER && s->overrides == NULL))
        return true; /* a front's inner sessions are told */
    if (s->reads == NULL && (s->reads = create()) == NULL)
        return false;
    if (!make_maps(s, &maps)) {
        free_maps(&maps);
        return false;
    }
    for (struct link *link = s->links; link != NULL; link = link->next)
        if (link->reader && link->node != NODE_NONE)
            maps.link_of_node[link->node] = link;
    cluster_survey(s->cluster);
    if (topology_lacks_replicas(s->topology))
        cluster_suspect(s->cluster); /* they may just not be known yet */
    look_at_traits(s, maps.traits);
    /* Many short sessions are to spread as one long one does. */
    for (uint16_t shard = 0; shard < s->topology->shard_count; shard++)
        maps.turns[shard] = (uint32_t)clock_jitter_ms(1 << 16);
    free_maps(s->reads);
    s->reads->link_of_node = maps.link_of_node;
    s->reads->traits = maps.traits;
    s->reads->turns = maps.turns;
    return true;
}

void reads_destroy(struct session *s)
{
    if (s->reads == NULL)
        return;
    free_maps(s->reads);
    flights_deinit(&s->reads->flights);
    free(s->reads);
}

bool reads_begin_late(struct session *s)
{
    if (s->reads != NULL || s->topology == NULL || s->front != NULL)
        return true;
    if (!reads_adopt(s)) {
        session_end(s, ENOMEM);
        return false;
    }
    s->reads->late = s->unanswered > 0;
    return true;
}

bool reads_have_begun(struct session *s)
{
    if (s->reads == NULL || !s->reads->late)
        return true;
    s->reads->late = s->unanswered > 0;
    return !s->reads->late;
}
