/* A slot in trouble: some command of it was redirected, waits for a retry, or is
 * in flight to a node that no longer owns it.
 *
 *   dispatch ──> held (by sequence) ──> sent, counted ──> answered
 *                  ▲                        │
 *                  └────── redirected ──────┘
 *
 * Invariant: a held part is sent only when nothing of its slot is in flight, or
 * when everything in flight is on the link it would go to, the slot is not
 * migrating, and what is in flight is not tried again after a pause. That is what keeps the commands of a key in order through redirects,
 * retries and reconnects: a part that comes back finds its place by sequence in
 * front of all that was issued behind it.
 *
 * A slot without a record has all its parts in flight on one link, its owner's. */
#include "session/reads.h"

#include <errno.h>
#include <stdlib.h>

enum { TROUBLE_BUCKETS = 64, DELAY_FIRST_MS = 10, DELAY_MOST_MS = 250 };

struct trouble {
    struct trouble *next;
    struct part *held;
    struct part *held_tail;
    struct link *on; /* where the latest part was sent */
    uint32_t in_flight;
    uint32_t in_flight_on;
    uint32_t delays;
    int64_t retry_at_ms; /* 0: at once */
    uint16_t slot;
    bool releasing;
};

static struct trouble **bucket(const struct session *s, uint16_t slot)
{
    return &s->trouble_of[slot % TROUBLE_BUCKETS];
}

struct trouble *trouble_find(const struct session *s, uint16_t slot)
{
    struct trouble *t = s->troubles ? *bucket(s, slot) : NULL;

    while (t != NULL && t->slot != slot)
        t = t->next;
    return t;
}

static void look_before_sending(struct session *s)
{
    s->careful = s->troubles > 0 || (s->topology != NULL && s->topology->migrating_count > 0);
}

struct trouble *trouble_open(struct session *s, uint16_t slot)
{
    struct trouble *t = trouble_find(s, slot);

    if (t != NULL)
        return t;
    if (s->trouble_of == NULL)
        s->trouble_of = calloc(TROUBLE_BUCKETS, sizeof *s->trouble_of);
    t = s->trouble_of ? calloc(1, sizeof *t) : NULL;
    if (t == NULL)
        return NULL;
    t->slot = slot;
    t->next = *bucket(s, slot);
    *bucket(s, slot) = t;
    s->troubles++;
    look_before_sending(s);
    return t;
}

static void trouble_close(struct session *s, struct trouble *t)
{
    struct trouble **at = bucket(s, t->slot);

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    free(t);
    s->troubles--;
    look_before_sending(s);
}

static void close_if_over(struct session *s, struct trouble *t)
{
    if (t->held == NULL && t->in_flight == 0 && !t->releasing)
        trouble_close(s, t);
}

void trouble_count(struct trouble *t, struct part *part)
{
    if (part->troubled)
        return;
    part->troubled = true;
    t->in_flight++;
    if (t->on != part->link) {
        t->on = part->link;
        t->in_flight_on = 0;
    }
    t->in_flight_on++;
}

static void uncount(struct trouble *t, struct part *part)
{
    part->troubled = false;
    t->in_flight--;
    if (part->link == t->on)
        t->in_flight_on--;
}

void trouble_hold(struct session *s, struct trouble *t, struct part *part)
{
    struct part **at = &t->held;

    /* One that waits behind another waits as well: else each would begin when the one before
     * gives up. */
    if (part->wait_since == 0)
        part->wait_since = session_now(s);
    part->state = PART_HELD;
    part->link = NULL;
    part->out_of_order = true;
    if (t->held != NULL && t->held_tail->sequence < part->sequence)
        at = &t->held_tail->next;
    while (*at != NULL && (*at)->sequence < part->sequence)
        at = &(*at)->next;
    part->next = *at;
    *at = part;
    if (part->next == NULL)
        t->held_tail = part;
}

static struct part *unhold_head(struct trouble *t)
{
    struct part *part = t->held;

    t->held = part->next;
    part->next = NULL;
    if (t->held == NULL)
        t->held_tail = NULL;
    return part;
}

struct part *trouble_take_reads(struct session *s, uint16_t slot, uint64_t before)
{
    struct trouble *t = trouble_find(s, slot);
    struct part_queue taken = {0}, kept = {0};

    while (t != NULL && t->held != NULL) {
        struct part *part = unhold_head(t);
        bool reads = part->repeatable && part->request->kind < REQUEST_OPENING;

        part_push(reads && part->sequence < before ? &taken : &kept, part);
    }
    if (t != NULL) {
        t->held = kept.head;
        t->held_tail = kept.tail;
    }
    return taken.head;
}

static bool may_send(const struct session *s, const struct trouble *t, const struct link *link)
{
    if (s->reads != NULL && reads_block(s, t->held))
        return false;
    if (t->in_flight == 0)
        return true;
    /* A server that refuses for a while (LOADING) may stop to do so between two commands. */
    return !topology_is_migrating(s->topology, t->slot) && t->delays == 0 && t->on == link &&
           t->in_flight == t->in_flight_on;
}

/* A server said ASK, and by now the slot has settled: its owner knows better. */
static void forget_old_ask(const struct session *s, struct part *part)
{
    if (!part->asking || topology_is_migrating(s->topology, part->slot))
        return;
    part->asking = false;
    part->target = NULL;
}

void trouble_release(struct session *s, struct trouble *t)
{
    if (t->releasing)
        return;
    t->releasing = true;
    while (t->held != NULL && t->retry_at_ms == 0) {
        struct link *link;
        struct part *part;

        forget_old_ask(s, t->held);
        link = dispatch_route(s, t->held);
        if (link == NULL)
            session_end(s, ENOMEM);
        if (link == NULL || !may_send(s, t, link))
            break;
        part = unhold_head(t);
        part->link = link;
        trouble_count(t, part);
        dispatch_to(s, link, part, part->bytes, part->length);
    }
    t->releasing = false;
    close_if_over(s, t);
}

void trouble_answered(struct session *s, struct part *part)
{
    struct trouble *t = trouble_find(s, part->slot);

    uncount(t, part);
    t->delays = 0;
    trouble_release(s, t);
}

void trouble_left(struct session *s, struct part *part)
{
    reads_left(s, part);
    if (part->troubled)
        uncount(trouble_find(s, part->slot), part);
}

void trouble_delay(struct session *s, struct trouble *t)
{
    int64_t delay = (int64_t)DELAY_FIRST_MS << (t->delays < 5 ? t->delays : 5);

    t->delays++;
    if (delay > DELAY_MOST_MS)
        delay = DELAY_MOST_MS;
    t->retry_at_ms = session_now(s) + clock_jitter_ms(delay);
}

/* Calls fn for every record; fn may close the one it is given. */
static void each(struct session *s, void (*fn)(struct session *, struct trouble *))
{
    for (int i = 0; s->troubles > 0 && i < TROUBLE_BUCKETS; i++)
        for (struct trouble *t = s->trouble_of[i], *next; t != NULL; t = next) {
            next = t->next;
            fn(s, t);
        }
}

void trouble_release_all(struct session *s)
{
    each(s, trouble_release);
}

int64_t trouble_due(const struct session *s)
{
    int64_t due = -1;

    for (int i = 0; s->troubles > 0 && i < TROUBLE_BUCKETS; i++)
        for (const struct trouble *t = s->trouble_of[i]; t != NULL; t = t->next)
            if (t->retry_at_ms != 0)
                due = clock_earlier(due, t->retry_at_ms);
    return due;
}

static void retry_if_due(struct session *s, struct trouble *t)
{
    if (t->retry_at_ms == 0 || t->retry_at_ms > session_now(s))
        return;
    t->retry_at_ms = 0;
    trouble_release(s, t);
}

void trouble_advance(struct session *s)
{
    each(s, retry_if_due);
}

void trouble_destroy(struct session *s)
{
    for (int i = 0; s->trouble_of != NULL && i < TROUBLE_BUCKETS; i++)
        while (s->trouble_of[i] != NULL) {
            struct trouble *next = s->trouble_of[i]->next;

            free(s->trouble_of[i]);
            s->trouble_of[i] = next;
        }
    free(s->trouble_of);
    s->trouble_of = NULL;
    s->troubles = 0;
}
