/* What becomes of parts when the ground moves: a connection is lost, or a newer
 * snapshot gives slots to other nodes. */
#include "link/bucket.h"
#include "session/deadline.h"
#include "session/feed.h"
#include "session/front.h"
#include "session/lookup.h"
#include "session/reads.h"
#include "session/script.h"
#include "session/transaction.h"

#include <errno.h>
#include <stdlib.h>

enum { BACKOFF_FIRST_MS = 25, BACKOFF_MOST_MS = 1000 };

static const char *reason(const struct link *link, int why)
{
    if (why == ETIME)
        return "it did not answer in time";
    if (link->trouble != NULL)
        return link->trouble;
    return why == 0 ? "the server closed the connection" : strerror(why);
}

/* Into the queue of its slot, to be released. NULL: it needs none. */
static struct trouble *requeue(struct session *s, struct part *part)
{
    struct trouble *t;

    stats_add(STATS_RETRIES, 1);
    if (reads_again(s, part))
        return NULL;
    trouble_left(s, part);
    part->target = NULL;
    part->asking = false;
    part->skip = 0;
    part->out_of_order = true;
    if (part->slot == SLOT_NONE || s->topology == NULL) {
        dispatch_part(s, part, part->bytes, part->length);
        return NULL;
    }
    t = trouble_open(s, part->slot);
    if (t == NULL)
        session_end(s, ENOMEM);
    else
        trouble_hold(s, t, part);
    return t;
}

void recover_requeue(struct session *s, struct part *part)
{
    struct trouble *t = requeue(s, part);

    if (t != NULL)
        trouble_release(s, t);
}

static struct part *reversed(struct part *chain)
{
    struct part *result = NULL;

    while (chain != NULL) {
        struct part *next = chain->next;

        chain->next = result;
        result = chain;
        chain = next;
    }
    return result;
}

/* Takes the longest run in the order of issue off the chain. */
static struct part *take_run(struct part **chain)
{
    struct part *run = *chain, *last = run;

    while (last->next != NULL && last->next->sequence >= last->sequence)
        last = last->next;
    *chain = last->next;
    last->next = NULL;
    return run;
}

static struct part *merged(struct part *a, struct part *b)
{
    struct part *result = NULL, **at = &result;

    while (a != NULL && b != NULL) {
        struct part **first = a->sequence <= b->sequence ? &a : &b;

        *at = *first;
        at = &(*at)->next;
        *first = *at;
    }
    *at = a != NULL ? a : b;
    return result;
}

/* In the order of issue: what was retried stands in the stream behind what came later.
 * That is seldom so, and then there are few runs. */
static struct part *by_sequence(struct part *chain)
{
    struct part *result = NULL;

    while (chain != NULL)
        result = merged(result, take_run(&chain));
    return result;
}

/* The server has received the whole command, for all we know. */
static bool may_have_run(const struct link *link, const struct part *part)
{
    return part->at + part->length <= link->out_received;
}

/* A read is repeated, unless a write to its slot that was issued behind it may have
 * run: the repetition would answer with the later value. (It may be on its way for the second
 * time, and so stand behind that write.) Marks what is lost by giving it no bytes; the chain is
 * in order of issue. */
static struct part *detach_sent(struct session *s, struct link *link)
{
    static const uint8_t bit[] = {1, 2, 4, 8, 16, 32, 64, 128};
    uint8_t written[SLOT_COUNT / 8] = {0};
    struct part *chain = reversed(by_sequence(part_take_all(&link->sent)));

    for (struct part *part = chain; part != NULL; part = part->next) {
        bool run = may_have_run(link, part), has_slot = part->slot != SLOT_NONE;
        bool lost =
            part->late ||
            (part->repeatable ? has_slot && (written[part->slot / 8] & bit[part->slot % 8]) : run);

        if (run && !part->repeatable && has_slot)
            written[part->slot / 8] |= bit[part->slot % 8];
        if (lost) {
            free(part->bytes);
            part->bytes = NULL;
        } else if (!link_detach(link, part)) {
            session_end(s, ENOMEM);
        }
    }
    return reversed(chain);
}

static bool waited_too_long(const struct session *s, const struct part *part, int64_t now)
{
    return part->wait_since != 0 && now - part->wait_since >= s->settings.failover_timeout_ms;
}

static void fail_after_waiting(struct session *s, const struct link *link, struct part *part)
{
    answer_fail(s, part, "UNREACHABLE redisroute: %s could not be reached for %lld ms (%s)",
                link->name, (long long)s->settings.failover_timeout_ms, reason(link, link->error));
}

static void fail_late(struct session *s, const struct link *link, struct part *part)
{
    answer_fail(s, part, "TIMEOUT redisroute: %s did not answer within %lld ms%s", link->name,
                (long long)s->settings.op_timeout_ms,
                part->repeatable ? "" : "; whether the command was executed is unknown");
}

/* Answers what is given up, or tells its transaction. What is answered may release the queue of its
 * slot: by now everything that is sent again has its place there. */
static void give_up_sent(struct session *s, const struct link *link, struct part *chain, int why)
{
    struct part *next;

    for (; chain != NULL && s->state != SESSION_ENDED; chain = next) {
        next = chain->next;
        if (chain->request->kind >= REQUEST_OPENING)
            transaction_part_lost(s, chain);
        else if (chain->late)
            fail_late(s, link, chain);
        else if (chain->bytes != NULL)
            fail_after_waiting(s, link, chain);
        else
            answer_fail(s, chain,
                        "UNREACHABLE redisroute: connection to %s was lost (%s); whether the "
                        "command was executed is unknown",
                        link->name, reason(link, why));
    }
}

/* Nobody knows whether this write ran: the reads issued before it, which were refused and wait in
 * the queue of the slot, would perhaps see it. */
static void give_up_reads_before(struct session *s, const struct part *write,
                                 struct part_queue *given_up)
{
    struct part *reads = trouble_take_reads(s, write->slot, write->sequence), *next;

    for (; reads != NULL; reads = next) {
        next = reads->next;
        free(reads->bytes);
        reads->bytes = NULL;
        part_push(given_up, reads);
    }
}

static void settle_sent(struct session *s, const struct link *link, struct part *chain, int why)
{
    struct part_queue given_up = {0};
    int64_t now = session_now(s);
    struct part *next;

    for (; chain != NULL && s->state != SESSION_ENDED; chain = next) {
        next = chain->next;
        if (chain->wait_since == 0)
            chain->wait_since = now;
        if (chain->request->kind >= REQUEST_OPENING || chain->bytes == NULL ||
            waited_too_long(s, chain, now)) {
            if (chain->bytes == NULL && !chain->repeatable && chain->slot != SLOT_NONE)
                give_up_reads_before(s, chain, &given_up);
            part_push(&given_up, chain);
        } else {
            requeue(s, chain);
        }
    }
    give_up_sent(s, link, given_up.head, why);
    trouble_release_all(s);
}

/* What stays is in its place before an answer to another releases what is behind it. */
static void fail_impatient(struct session *s, struct link *link, int why)
{
    struct part *chain = part_take_all(&link->waiting), *next;
    struct part_queue failed = {0}, moved = {0};
    int64_t now = session_now(s);

    for (; chain != NULL; chain = next) {
        next = chain->next;
        if (chain->wait_since == 0)
            chain->wait_since = now;
        if (chain->impatient)
            part_push(&failed, chain);
        else if ((chain->slot == SLOT_NONE && s->topology != NULL) || chain->away)
            part_push(&moved, chain);
        else if (!reads_again(s, chain)) /* time does not heal TLS */
            part_push(link->trouble != NULL ? &failed : &link->waiting, chain);
    }
    while ((chain = part_pop(&moved)) != NULL && s->state != SESSION_ENDED)
        recover_requeue(s, chain);
    while ((chain = part_pop(&failed)) != NULL && s->state != SESSION_ENDED)
        answer_fail(s, chain, "UNREACHABLE redisroute: %s cannot be reached (%s)", link->name,
                    reason(link, why));
}

void recover_end(struct session *s, const struct link *link, int why)
{
    if (link->trouble != NULL && s->end_text == NULL)
        s->end_text = strdup(link->trouble);
    session_end(s, why);
}

/* A connection that had answered is replaced at once; one that was refused, or lost before it said
 * anything, later and later. One that owed answers broke because its server is ending, as a rule: for
 * a moment the kernel still takes connections for it, and what is said there has an unknown fate. */
static void back_off(struct session *s, struct link *link, bool was_up, bool owed)
{
    int64_t delay = (int64_t)BACKOFF_FIRST_MS << (link->failures < 6 ? link->failures : 6);

    link->failures = was_up ? 0 : link->failures + 1;
    if (delay > BACKOFF_MOST_MS)
        delay = BACKOFF_MOST_MS;
    link->retry_at_ms = session_now(s) + (was_up && !owed ? 0 : clock_jitter_ms(delay));
    link->state = LINK_BACKOFF;
    link->must_close = false;
}

/* A probe that has answered is closed for that. */
static void count_lost(const struct session *s, const struct link *link)
{
    bool was_open = link_is_open(link);

    if (s->front == NULL && (!link->probe || link == s->probe))
        stats_add(was_open ? STATS_LINKS_LOST : STATS_LINKS_FAILED, 1);
}

/* It may have answered, and was closed for that. */
static void probe_lost(struct session *s, struct link *link)
{
    link->state = LINK_IDLE;
    link->must_close = false;
    if (link != s->probe)
        link_cut(link);
    else if (lookup_is_asking(s))
        lookup_lost(s);
    else
        discover_lost(s);
}

void session_link_lost(struct session *s, struct link *link, int why)
{
    bool was_up = link->state == LINK_UP && atomic_load(&link->replied) > 0;
    struct part *chain;

    count_lost(s, link);
    link->lost = why != 0 || !link->must_close;
    if (!link->probe && link->lost)
        session_raise(s, EVENT_LINK_LOST, "connection to %s was lost: %s", link->name, reason(link, why));
    link->error = why;
    if (s->state == SESSION_ENDED)
        return;
    if (link->probe) {
        probe_lost(s, link);
        return;
    }
    if (s->topology == NULL) {
        link->state = LINK_IDLE;
        recover_end(s, link, why); /* plain or locked: the one connection there is */
        return;
    }
    chain = detach_sent(s, link);
    link_cut(link);
    script_link_lost(s, link);
    if (link->feed == NULL)
        client_forget(s, link);
    if (link->feed != NULL) {
        cluster_suspect(s->cluster);
        back_off(s, link, was_up, false);
        feeds_lost(s, link, why);
        plan_input(s);
        return;
    }
    if (chain != NULL || link->waiting.head != NULL || !was_up)
        cluster_suspect(s->cluster);
    back_off(s, link, was_up, chain != NULL);
    fail_impatient(s, link, why);
    settle_sent(s, link, chain, why);
    if (s->transaction != NULL && s->state != SESSION_ENDED)
        transaction_link_lost(s, link, reason(link, why));
    plan_input(s);
}

/* It is not on the list of those that want something, or its turn would be now. */
static bool is_delayed(const struct link *link)
{
    return link->state == LINK_WANTED && !link->dirty;
}

void session_link_delayed(struct session *s, struct link *link, int64_t ms)
{
    int64_t now = session_now(s);

    link->retry_at_ms = now + ms;
    for (struct part *part = link->waiting.head; part != NULL; part = part->next)
        if (part->wait_since == 0)
            part->wait_since = now;
}

/* A token that was taken stays the link's, until it is lost once more. */
bool session_link_may_open(struct session *s, struct link *link)
{
    int64_t wait_ms = 0;

    if (link->lost)
        wait_ms = bucket_take(link->host, link->port, &s->settings.reconnect, session_now(s));
    link->lost = false;
    if (wait_ms == 0)
        return true;
    stats_add(STATS_LINKS_DELAYED, 1);
    session_link_delayed(s, link, wait_ms);
    return false;
}

static bool is_needed(const struct session *s, const struct link *link)
{
    return link->waiting.head != NULL || client_listens(s, link);
}

static void retry_link(struct session *s, struct link *link, int64_t now)
{
    bool again = is_delayed(link) || (link->state == LINK_BACKOFF && is_needed(s, link));

    if (!again || link->retry_at_ms > now)
        return;
    link->state = LINK_WANTED;
    session_touch(s, link);
}

static void expire_waiting(struct session *s, struct link *link, int64_t now)
{
    struct part_queue expired = {0};
    struct part *chain, *next;

    if (link->waiting.head == NULL || !waited_too_long(s, link->waiting.head, now))
        return;
    chain = part_take_all(&link->waiting);
    for (; chain != NULL; chain = next) {
        next = chain->next;
        part_push(waited_too_long(s, chain, now) ? &expired : &link->waiting, chain);
    }
    while ((chain = part_pop(&expired)) != NULL && s->state != SESSION_ENDED)
        fail_after_waiting(s, link, chain);
}

int64_t session_due(const struct session *s)
{
    int64_t due = session_due_aside(s);

    if (s->settings.op_timeout_ms == 0)
        return due;
    if (s->front != NULL)
        due = clock_earlier(due, front_due(s, session_due));
    return clock_earlier(due, deadline_due(s));
}

int64_t session_due_aside(const struct session *s)
{
    int64_t due = clock_earlier(session_due_in_need(s), client_due(s));

    if (s->front != NULL)
        due = clock_earlier(due, front_due(s, session_due_aside));
    return s->feeds != NULL ? clock_earlier(due, feeds_due(s)) : due;
}

int64_t session_due_in_need(const struct session *s)
{
    int64_t due = clock_earlier(clock_earlier(trouble_due(s), lookup_due(s)), discover_due(s));

    if (s->feeds != NULL && s->feeds->restless)
        due = clock_earlier(due, feeds_due(s));
    if (s->front != NULL)
        due = clock_earlier(due, front_due(s, session_due_in_need));

    for (const struct link *link = s->links; link != NULL; link = link->next) {
        if (link->state == LINK_CONNECTING)
            due = clock_earlier(due, link->connect_by_ms);
        if (is_delayed(link) || (link->state == LINK_BACKOFF && is_needed(s, link)))
            due = clock_earlier(due, link->retry_at_ms);
        if (link->waiting.head != NULL && link->waiting.head->wait_since != 0)
            due = clock_earlier(due, link->waiting.head->wait_since +
                                         s->settings.failover_timeout_ms);
    }
    return due;
}

void session_advance(struct session *s)
{
    int64_t now = session_now(s);

    if (s->state == SESSION_ENDED)
        return;
    session_adopt(s);
    if ((s->guards & GUARD_CONFIG) != 0)
        session_configure(s);
    if (s->settings.op_timeout_ms > 0)
        deadline_advance(s, now);
    trouble_advance(s);
    lookup_advance(s);
    discover_advance(s, now);
    if (s->feeds != NULL)
        feeds_advance(s);
    client_advance(s);
    if (s->front != NULL)
        front_advance(s);
    for (struct link *link = s->links; link != NULL && s->state != SESSION_ENDED;
         link = link->next) {
        if (link->state == LINK_CONNECTING && link->connect_by_ms >= 0 && link->connect_by_ms <= now) {
            link->must_close = true;
            link->error = ETIMEDOUT;
            session_touch(s, link);
        }
        retry_link(s, link, now);
        expire_waiting(s, link, now);
    }
    plan_input(s);
}

static bool belongs(struct session *s, struct part *part, const struct link *link)
{
    if (part->slot == SLOT_NONE || part->target != NULL || part->troubled || part->away)
        return true;
    return !topology_is_migrating(s->topology, part->slot) && dispatch_route(s, part) == link;
}

/* Sent to a node that does not own the slot any more: it will say MOVED, and
 * until it does nothing of the slot may overtake it. */
static void count_strays(struct session *s, struct link *link)
{
    for (struct part *part = link->sent.head; part != NULL; part = part->next)
        if (!belongs(s, part, link)) {
            struct trouble *t = trouble_open(s, part->slot);

            if (t == NULL) {
                session_end(s, ENOMEM);
                return;
            }
            trouble_count(t, part);
        }
}

/* Nothing is released before all that has to move is in its queue. */
static void move_waiting(struct session *s, struct link *link)
{
    struct part *chain = part_take_all(&link->waiting), *next;

    for (; chain != NULL && s->state != SESSION_ENDED; chain = next) {
        bool stays = chain->target != NULL ||
                     (chain->away ? reads_may_stay(s, chain, link)
                                  : chain->slot != SLOT_NONE && dispatch_route(s, chain) == link);

        next = chain->next;
        if (stays)
            part_push(&link->waiting, chain);
        else
            requeue(s, chain);
    }
}

static bool map_links(struct session *s)
{
    struct link **map = calloc((size_t)s->topology->node_count + 1, sizeof(struct link *));

    if (map == NULL)
        return false;
    for (struct link *link = s->links; link != NULL; link = link->next) {
        struct bytes host = {link->host, strlen(link->host)};

        link->node = link->probe ? NODE_NONE : topology_find(s->topology, host, link->port);
        if (link->node != NODE_NONE && !link->reader && link->feed == NULL)
            map[link->node] = link;
    }
    free(s->link_of_node);
    s->link_of_node = map;
    return true;
}

/* Masters that were replicas. */
static void raise_failovers(const struct session *s, const struct topology *old)
{
    for (uint16_t i = 0; i < s->topology->node_count; i++) {
        const struct node *n = &s->topology->nodes[i];
        uint16_t was = topology_find(old, (struct bytes){n->host, strlen(n->host)}, n->port);

        if (n->master && was != NODE_NONE && !old->nodes[was].master)
            session_raise(s, EVENT_FAILOVER, "%s:%u, which was a replica, is a master", n->host,
                          n->port);
    }
}

static void raise_changes(const struct session *s, const struct topology *old)
{
    unsigned masters = 0;

    if (!event_is_on() || old == NULL || topology_same(s->topology, old))
        return;
    for (uint16_t i = 0; i < s->topology->node_count; i++)
        masters += s->topology->nodes[i].master;
    session_raise(s, EVENT_TOPOLOGY,
                  "the cluster has changed: %u masters, %u replicas, %u slots with an owner", masters,
                  s->topology->node_count - masters, (unsigned)s->topology->owned);
    raise_failovers(s, old);
}

void session_adopt(struct session *s)
{
    struct topology *old = s->topology;
    bool mapped;

    if (s->cluster == NULL || s->state == SESSION_ENDED ||
        cluster_version(s->cluster) == s->version)
        return;
    s->topology = cluster_topology(s->cluster, &s->version);
    mapped = map_links(s) && reads_adopt(s);
    raise_changes(s, old);
    topology_unref(old);
    if (!mapped) {
        session_end(s, ENOMEM);
        return;
    }
    s->careful = s->troubles > 0 || s->topology->migrating_count > 0;
    for (struct link *link = s->links; link != NULL; link = link->next)
        count_strays(s, link);
    for (struct link *link = s->links; link != NULL && s->state != SESSION_ENDED; link = link->next)
        move_waiting(s, link);
    trouble_release_all(s);
    if (s->feeds != NULL)
        feeds_adopted(s);
    client_listen(s);
    if (s->settings.configure != NULL &&
        (config_get()->version != s->configured || s->awaits_lead))
        s->guards |= GUARD_CONFIG;
}
