#include "session/front.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "session/scan.h"
#include "session/transaction.h"

enum { TAKE_BYTES = 16384, SCAN_NODE_BITS = 36 };

/* The server's own words. */
static const char crossslot[] = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
static const char invalid_cursor[] = "-ERR invalid cursor\r\n";

/* --- a life --- */

bool front_begin(struct session *s, struct cluster *upstreams)
{
    s->front = calloc(1, sizeof *s->front);
    if (s->front == NULL)
        return false;
    s->cluster = upstreams;
    s->guards |= GUARD_ROUTES;
    s->policy = s->policy_before = FRONT_POLICY_UNSAID;
    s->awaits_lead = false;
    s->state = SESSION_ROUTING;
    session_adopt(s);
    return s->state == SESSION_ROUTING;
}

void front_destroy(struct session *s)
{
    if (s->front == NULL)
        return;
    while (s->next != NULL) {
        struct session *inner = s->next;

        s->next = inner->next;
        session_destroy(inner);
    }
    free(s->front);
    s->front = NULL;
}

void front_configure(struct session *s)
{
    (void)upstreams_cluster(s->settings.dialled_host, s->settings.dialled_port);
    session_adopt(s);
}

/* --- inner sessions --- */

void front_attach(struct session *s, struct link *link, struct session *inner)
{
    link->inner = inner;
    free(link->trouble);
    link->trouble = NULL;
    inner->front_of = s;
    inner->next = s->next;
    s->next = inner;
}

/* Nothing of what is still in the session's hands was sent to any server. */
struct session *front_detach(struct session *s, struct link *link, int *why)
{
    struct session *inner = link->inner, **at = &s->next;
    bool ended = inner->state == SESSION_ENDED;

    while (*at != inner)
        at = &(*at)->next;
    *at = inner->next;
    link->inner = NULL;
    link->out_received = link->out_flushed;
    if (ended)
        link->out_received -= buffer_length(&inner->in);
    *why = ended ? inner->end_error : link->error;
    link->must_close = false;
    if (inner->end_text != NULL) {
        free(link->trouble);
        link->trouble = strdup(inner->end_text);
    }
    if (ended && !s->front->connected) {
        s->front->connect_error = *why;
        recover_end(s, link, *why);
    }
    return inner;
}

static bool give(struct link *link)
{
    size_t flushed = (size_t)(link->out_flushed - link->out_base);
    size_t length = buffer_length(&link->out) - flushed;

    if (length == 0 || (link->state != LINK_UP && link->state != LINK_GREETING))
        return false;
    link->out_flushed += length;
    (void)session_accept(link->inner, buffer_bytes(&link->out) + flushed, length);
    return true;
}

/* False: out of memory. */
static bool take(struct link *link, bool *any)
{
    while (session_deliverable(link->inner)) {
        char *room = buffer_reserve(&link->in, TAKE_BYTES);

        if (room == NULL)
            return false;
        link->in.tail += session_take(link->inner, room, TAKE_BYTES);
        *any = true;
    }
    return true;
}

static bool exchange(struct session *s, struct link *link)
{
    bool gave = give(link), took = false;

    if (!take(link, &took)) {
        session_end(s, ENOMEM);
        return false;
    }
    if (took)
        session_link_received(s, link);
    if (link->inner->state == SESSION_ENDED && !link->must_close) {
        link->must_close = true;
        session_touch(s, link);
    }
    return gave || took;
}

bool front_exchange(struct session *s)
{
    bool moved = false;

    for (struct link *link = s->links; link != NULL && s->state != SESSION_ENDED; link = link->next)
        if (link->inner != NULL)
            moved |= exchange(s, link);
    return moved;
}

int64_t front_due(const struct session *s, int64_t (*due_of)(const struct session *))
{
    int64_t due = -1;

    for (const struct session *inner = s->next; inner != NULL; inner = inner->next)
        due = clock_earlier(due, due_of(inner));
    return due;
}

void front_advance(struct session *s)
{
    int64_t now = session_now(s);

    for (struct session *inner = s->next; inner != NULL; inner = inner->next) {
        int64_t due = session_due(inner);

        if (due >= 0 && due <= now)
            session_advance(inner);
    }
}

void front_pass_policy(struct session *s, struct link *link, const struct part *part)
{
    size_t ahead = (size_t)(link->out_base + buffer_length(&link->out) - link->out_flushed);

    if (part->policy >= READ_POLICIES || link->inner == NULL)
        return;
    if (!session_set_read_policy(link->inner, (enum read_policy)part->policy, ahead, false))
        session_end(s, ENOMEM);
}

/* --- keys --- */

bool front_asks(const struct session *s, uint16_t node, bool shards)
{
    const struct upstream *u = &front_upstreams(s)->list[node];

    return shards ? u->stores : u->asked;
}

/* Channels are no keys, though a cluster has a slot for some. */
static bool has_keys(const struct command *c)
{
    return c != NULL && (c->flags & COMMAND_PUBSUB) == 0;
}

static bool only_reads(const struct session *s, const struct command *c)
{
    return (c->flags & COMMAND_READONLY) != 0 && s->state != SESSION_TRANSACTING &&
           !transaction_is_guarded(s);
}

/* What the keys of a line, taken one by one, come to. */
struct found {
    bool reads;
    uint16_t slot; /* SLOT_NONE: no key yet */
    bool crosses;
    bool removed; /* some word is shorter than it was */
};

/* The slot of a key, whose prefix is taken off if it is not to be sent. SLOT_NONE: no route. */
static uint16_t route_key(const struct session *s, struct bytes *key, struct found *found)
{
    const struct prefix *p = prefixes_find(front_upstreams(s)->prefixes, *key);
    uint16_t slot;

    if (p == NULL)
        return SLOT_NONE;
    slot = found->reads ? p->reads : p->to;
    found->crosses |= found->slot != SLOT_NONE && found->slot != slot;
    if (found->slot == SLOT_NONE)
        found->slot = slot;
    if (p->remove) {
        key->data += p->text.length;
        key->length -= p->text.length;
        found->removed = true;
    }
    return slot;
}

/* Where the key without a route is among the words; -1: there is none. */
static int route_keys(struct session *s, const struct command *c, struct found *found)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    int count = has_keys(c) ? command_keys(c, s->argv.words, s->argv.count, ranges) : 0;

    *found = (struct found){.reads = c != NULL && only_reads(s, c), .slot = SLOT_NONE};
    for (int i = 0; i < count; i++)
        for (int at = ranges[i].first; at <= ranges[i].last; at += ranges[i].step)
            if (route_key(s, &s->argv.words[at], found) == SLOT_NONE)
                return at;
    return -1;
}

static void refuse_unrouted(struct session *s, const struct line *line, int at)
{
    const struct bytes *key = &s->argv.words[at];
    int shown = key->length < 100 ? (int)key->length : 100;
    struct request *r;

    if (s->state == SESSION_TRANSACTING)
        transaction_doom(s);
    r = order_issue(s, line->command);
    if (r == NULL)
        return;
    for (int i = 0; i < shown; i++)
        if (key->data[i] < ' ')
            shown = i; /* an error is one line */
    order_complete_error(s, r,
                         "-NOROUTE redisroute: no route is for the key '%.*s', and there is no "
                         "catch_all_route",
                         shown, key->data);
}

/* Where its keys stand only a server can tell, and which server to ask depends on the keys. */
static bool refuse_unreadable(struct session *s, const struct line *line)
{
    struct request *r;

    if (line->command == NULL || (line->command->flags & COMMAND_ASK_KEYS) == 0)
        return false;
    if (s->state == SESSION_TRANSACTING)
        transaction_doom(s);
    r = order_issue(s, line->command);
    if (r != NULL)
        order_complete_error(
            s, r,
            "-UNSUPPORTED redisroute: where the keys of '%.100s' are only a server "
            "can tell, and there are routes by prefix",
            line->command->name);
    return true;
}

typedef void with_line(struct session *, const struct line *, uint16_t slot);

/* Goes on with the line, whose keys are now as they are to be sent. */
static void go_on(struct session *s, const struct line *line, const struct found *found,
                  with_line *then)
{
    struct line rewritten = *line;
    struct buffer bytes;

    if (!found->removed) {
        then(s, line, found->slot);
        return;
    }
    buffer_init(&bytes);
    if (argv_format(&s->argv, &bytes)) {
        rewritten.bytes = buffer_bytes(&bytes);
        rewritten.length = buffer_length(&bytes);
        then(s, &rewritten, found->slot);
    } else {
        session_end(s, ENOMEM);
    }
    buffer_deinit(&bytes);
}

static bool plan_keyed(struct session *s, const struct line *line)
{
    struct found found;
    int unrouted = route_keys(s, line->command, &found);

    if (unrouted >= 0)
        refuse_unrouted(s, line, unrouted);
    else if (found.crosses)
        plan_answer(s, line, crossslot);
    else
        go_on(s, line, &found, plan_whole);
    return true;
}

/* --- splitting --- */

static void plan_groups(struct session *s, const struct line *line, const struct key_range *keys,
                        const uint16_t *slots, size_t count)
{
    struct split split;
    struct request *r;

    if (!split_by_slots(&split, slots, count)) {
        session_end(s, ENOMEM);
        return;
    }
    r = plan_fanout(s, line, split.count);
    if (r == NULL) {
        split_deinit(&split);
        return;
    }
    r->fanout->split = split;
    plan_send_groups(s, r, keys);
}

static bool plan_split(struct session *s, const struct line *line)
{
    struct found found = {.reads = only_reads(s, line->command), .slot = SLOT_NONE};
    struct key_range keys[COMMAND_RANGES_MAX];
    uint16_t *slots;
    size_t count = 0;
    int at;

    if (command_keys(line->command, s->argv.words, s->argv.count, keys) != 1 ||
        (s->argv.count - keys[0].first) % keys[0].step != 0)
        return false; /* what is wrong with it is said as ever */
    slots = malloc((size_t)s->argv.count * sizeof *slots);
    if (slots == NULL) {
        session_end(s, ENOMEM);
        return true;
    }
    for (at = keys[0].first; at <= keys[0].last; at += keys[0].step)
        if ((slots[count++] = route_key(s, &s->argv.words[at], &found)) == SLOT_NONE)
            break;
    if (at <= keys[0].last)
        refuse_unrouted(s, line, at);
    else if (found.crosses)
        plan_groups(s, line, &keys[0], slots, count);
    else
        go_on(s, line, &found, plan_whole);
    free(slots);
    return true;
}

/* --- transactions --- */

static void transact(struct session *s, const struct line *line, uint16_t slot)
{
    s->front->slot = slot;
    transaction_command(s, line->command, line->bytes, line->length);
}

void front_transaction(struct session *s, const struct line *line)
{
    struct found found;
    int unrouted = route_keys(s, line->command, &found);

    s->front->crosses = found.crosses;
    if (refuse_unreadable(s, line))
        return;
    if (unrouted >= 0)
        refuse_unrouted(s, line, unrouted);
    else
        go_on(s, line, &found, transact);
}

bool front_slot_of_line(const struct session *s, uint16_t *slot)
{
    uint16_t line = s->front->slot;

    if (s->front->crosses || (line != SLOT_NONE && *slot != SLOT_NONE && line != *slot))
        return false;
    if (line != SLOT_NONE)
        *slot = line;
    return true;
}

static bool plan_transaction(struct session *s, const struct line *line)
{
    front_transaction(s, line);
    return true;
}

/* --- SCAN ---
 *
 * Cluster after cluster, in the order of the file. Which one is under way is written into the upper
 * bits of what a cursor has for a node's own: see scan_cursor.h. A cluster's session needs no more
 * than that to go on, and the cursor 0 begins and ends it. */

/* The lowest of the bits that hold the number of the cluster. */
static unsigned scan_shift(uint16_t clusters)
{
    unsigned shift = SCAN_NODE_BITS;

    while (UINT32_C(1) << (SCAN_NODE_BITS - shift) < clusters)
        shift--;
    return shift;
}

static uint64_t scan_mask(unsigned shift)
{
    return (UINT64_C(1) << SCAN_NODE_BITS) - (UINT64_C(1) << shift);
}

static void send_scan(struct session *s, const struct line *line, uint16_t cluster, uint64_t cursor)
{
    uint16_t clusters = front_upstreams(s)->stores_count;
    struct buffer scan;
    struct request *r;

    buffer_init(&scan);
    r = scan_write_line(s, cursor, &scan) ? plan_fanout(s, line, 1) : NULL;
    if (r != NULL) {
        r->fanout->merge = MERGE_SCAN;
        r->fanout->scan = (struct scan_cursor){
            .slot = (uint16_t)scan_shift(clusters), .pass = clusters, .node = cluster};
        r->fanout->parts[0].part.slot = front_upstreams(s)->stores[cluster];
        dispatch_part(s, &r->fanout->parts[0].part, buffer_bytes(&scan), buffer_length(&scan));
    } else {
        session_end(s, ENOMEM);
    }
    buffer_deinit(&scan);
}

static bool plan_scan_over_all(struct session *s, const struct line *line)
{
    uint16_t clusters = front_upstreams(s)->stores_count;
    unsigned shift = scan_shift(clusters);
    uint64_t cursor, cluster;

    if (s->argv.count < 2) {
        plan_whole(s, line, SLOT_NONE);
        return true;
    }
    if (!scan_number(s->argv.words[1], &cursor) ||
        (cluster = (cursor & scan_mask(shift)) >> shift) >= clusters)
        plan_answer(s, line, invalid_cursor);
    else
        send_scan(s, line, (uint16_t)cluster, cursor & ~scan_mask(shift));
    return true;
}

void front_scan_answered(struct session *s, struct request *r)
{
    struct fanout *f = r->fanout;
    struct bytes reply = {f->parts[0].reply, f->parts[0].reply_length}, keys;
    unsigned shift = f->scan.slot;
    uint64_t cursor, cluster = f->scan.node;

    if (!scan_read(reply, &cursor, &keys)) {
        order_complete(s, r, reply.data, reply.length); /* an error */
        return;
    }
    if ((cursor & scan_mask(shift)) != 0) {
        order_complete_error(s, r, "-ERR redisroute: the cursor %" PRIu64 " of %s is too long",
                             cursor, f->parts[0].server ? f->parts[0].server : "a cluster");
        return;
    }
    if (cursor == 0)
        cluster = (cluster + 1) % f->scan.pass;
    scan_complete(s, r, cursor | cluster << shift, keys);
}

/* --- classes --- */

typedef bool front_planner(struct session *, const struct line *);

static front_planner *const planner_of[COMMAND_UNSUPPORTED + 1] = {
    [COMMAND_KEYED] = plan_keyed,
    [COMMAND_SPLIT] = plan_split,
    [COMMAND_TRANSACTION] = plan_transaction,
    [COMMAND_SCAN] = plan_scan_over_all,
};

bool front_plan(struct session *s, const struct line *line)
{
    return refuse_unreadable(s, line) ||
           (line->command != NULL && planner_of[line->command->klass] != NULL &&
            planner_of[line->command->klass](s, line));
}
