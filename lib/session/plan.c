/* What a command becomes: one part, one a slot or shard, or an answer from here.
 * The class of the command decides, by the table at the end. */
#include "session/plan.h"
#include "route/mirror.h"
#include "session/copy.h"
#include "session/front.h"
#include "session/lookup.h"
#include "session/override.h"
#include "session/reads.h"
#include "session/scan.h"
#include "session/script.h"
#include "session/transaction.h"

#include <errno.h>
#include <stdlib.h>

enum { SLOT_DIGITS = 5 };

void plan_whole(struct session *s, const struct line *line, uint16_t slot)
{
    struct request *r = order_issue(s, line->command);

    if (r == NULL)
        return;
    r->part.slot = slot;
    r->part.repeatable = line->command != NULL && command_repeatable(line->command);
    dispatch_part(s, &r->part, line->bytes, line->length);
}

static void plan_any(struct session *s, const struct line *line)
{
    plan_whole(s, line, SLOT_NONE);
}

/* Keys in several slots go to the first key's node, whose CROSSSLOT is the answer. */
static void plan_keyed(struct session *s, const struct line *line)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    const struct bytes *key;
    uint16_t slot;

    if ((line->command->flags & COMMAND_ASK_KEYS) != 0) {
        lookup_slot(s, &slot);
        plan_whole(s, line, slot);
        return;
    }
    if (command_keys(line->command, s->argv.words, s->argv.count, ranges) == 0) {
        plan_any(s, line);
        return;
    }
    key = &s->argv.words[ranges[0].first];
    plan_whole(s, line, slot_of_key(key->data, key->length));
}

static const enum merge_kind merge_of[] = {
    [RESPONSE_DEFAULT_KEYLESS] = MERGE_CONCATENATE,
    [RESPONSE_DEFAULT_KEYED] = MERGE_POSITIONS,
    [RESPONSE_ONE_SUCCEEDED] = MERGE_ONE_SUCCEEDED,
    [RESPONSE_ALL_SUCCEEDED] = MERGE_ALL_SUCCEEDED,
    [RESPONSE_AND] = MERGE_AND,
    [RESPONSE_OR] = MERGE_OR,
    [RESPONSE_MIN] = MERGE_MIN,
    [RESPONSE_MAX] = MERGE_MAX,
    [RESPONSE_SUM] = MERGE_SUM,
    [RESPONSE_ANY] = MERGE_ANY,
    [RESPONSE_UNION] = MERGE_UNION,
    [RESPONSE_SUM_OF_NAMED] = MERGE_SUM_OF_NAMED,
    [RESPONSE_TEXT] = MERGE_TEXT,
    [RESPONSE_INFO] = MERGE_INFO,
    [RESPONSE_SPECIAL] = MERGE_ALL_SUCCEEDED,
};

/* Room for the parts of one request, none of which is sent yet. */
struct request *plan_fanout(struct session *s, const struct line *line, size_t count)
{
    struct fanout *f = calloc(1, sizeof *f + count * sizeof f->parts[0]);
    struct request *r = f ? order_issue(s, line->command) : NULL;

    if (r == NULL) {
        free(f);
        session_end(s, ENOMEM);
        return NULL;
    }
    r->fanout = f;
    f->count = f->pending = (uint32_t)count;
    f->merge = merge_of[line->command->response];
    for (size_t i = 0; i < count; i++) {
        f->parts[i].part = r->part;
        f->parts[i].part.repeatable = command_repeatable(line->command);
    }
    return r;
}

void plan_send_groups(struct session *s, struct request *r, const struct key_range *keys)
{
    struct fanout *f = r->fanout;
    struct buffer command;

    buffer_init(&command);
    for (uint32_t i = 0; i < f->count && s->state != SESSION_ENDED; i++) {
        command.head = command.tail = 0;
        if (!split_command(&f->split, i, s->argv.words, keys->first, keys->step, &command)) {
            session_end(s, ENOMEM);
            break;
        }
        f->parts[i].part.slot = f->split.groups[i].slot;
        dispatch_part(s, &f->parts[i].part, buffer_bytes(&command), buffer_length(&command));
    }
    buffer_deinit(&command);
}

/* A key without its value. A node would see keys of several slots first; with the
 * first key alone it says what one server says. */
static void plan_odd(struct session *s, const struct line *line, int first)
{
    struct argv argv = {.words = s->argv.words, .count = first + 1};
    struct line short_line = *line;
    struct buffer command;

    buffer_init(&command);
    if (argv_format(&argv, &command)) {
        short_line.bytes = buffer_bytes(&command);
        short_line.length = buffer_length(&command);
        plan_any(s, &short_line);
    } else {
        session_end(s, ENOMEM);
    }
    buffer_deinit(&command);
}

static void plan_split(struct session *s, const struct line *line)
{
    struct key_range keys[COMMAND_RANGES_MAX];
    struct split split;
    struct request *r;

    if (command_keys(line->command, s->argv.words, s->argv.count, keys) != 1) {
        plan_any(s, line); /* the server says what is wrong with it */
        return;
    }
    if ((s->argv.count - keys[0].first) % keys[0].step != 0) {
        plan_odd(s, line, keys[0].first);
        return;
    }
    if (!split_by_slot(&split, s->argv.words, keys[0].first, keys[0].last, keys[0].step)) {
        session_end(s, ENOMEM);
        return;
    }
    if (split.count == 1) {
        plan_whole(s, line, split.groups[0].slot);
        split_deinit(&split);
        return;
    }
    r = plan_fanout(s, line, split.count);
    if (r == NULL) {
        split_deinit(&split);
        return;
    }
    r->fanout->split = split;
    plan_send_groups(s, r, &keys[0]);
}

/* A shard is named by a slot of its master, so that its part follows a failover; a
 * node by its link, and a dead one is reported at once. */
static void aim(struct session *s, struct part *part, uint16_t node, bool shards)
{
    if (shards) {
        part->slot = s->topology->nodes[node].first_slot;
        return;
    }
    part->target = dispatch_link_of_node(s, node);
    part->impatient = true;
}

static bool takes_part(const struct session *s, uint16_t node, bool shards)
{
    if (s->front != NULL)
        return front_asks(s, node, shards);
    return !shards || s->topology->nodes[node].first_slot != SLOT_NONE;
}

/* A part for each shard, or for each node. */
void plan_nodes(struct session *s, const struct line *line, bool shards,
                const enum merge_kind *merge)
{
    uint16_t nodes = s->topology->node_count;
    struct request *r;
    uint32_t count = 0;

    for (uint16_t node = 0; node < nodes; node++)
        count += takes_part(s, node, shards);
    if (count == 0) {
        plan_any(s, line);
        return;
    }
    r = plan_fanout(s, line, count);
    if (r == NULL)
        return;
    if (merge != NULL)
        r->fanout->merge = *merge;
    count = 0;
    for (uint16_t node = 0; node < nodes; node++)
        if (takes_part(s, node, shards))
            aim(s, &r->fanout->parts[count++].part, node, shards);
    for (uint32_t i = 0; i < count && s->state != SESSION_ENDED; i++)
        dispatch_part(s, &r->fanout->parts[i].part, line->bytes, line->length);
}

static void plan_all_shards(struct session *s, const struct line *line)
{
    plan_nodes(s, line, true, NULL);
}

static void plan_all_nodes(struct session *s, const struct line *line)
{
    plan_nodes(s, line, false, NULL);
}

/* What is no slot is any node's to refuse. */
static void plan_slot(struct session *s, const struct line *line)
{
    struct bytes number = s->argv.count > 2 ? s->argv.words[2] : (struct bytes){"", 0};
    unsigned slot = number.length > 0 && number.length <= SLOT_DIGITS ? 0 : SLOT_NONE;

    for (size_t i = 0; slot < SLOT_COUNT && i < number.length; i++)
        slot = number.data[i] >= '0' && number.data[i] <= '9'
                   ? slot * 10 + (unsigned)(number.data[i] - '0')
                   : SLOT_NONE;
    plan_whole(s, line, slot < SLOT_COUNT ? (uint16_t)slot : SLOT_NONE);
}

/* The dialled node's shard answers for the cluster, as long as it has a slot. */
static void plan_master(struct session *s, const struct line *line)
{
    uint16_t slot = SLOT_NONE;

    if (s->home->node != NODE_NONE)
        slot = s->topology->nodes[s->home->node].first_slot;
    if (slot == SLOT_NONE && s->topology->owned > 0)
        slot = dispatch_any_slot(s);
    plan_whole(s, line, slot);
}

void plan_connection(struct session *s, const struct line *line)
{
    struct request *r = order_issue(s, line->command);

    if (r == NULL)
        return;
    r->part.target = s->home;
    r->part.repeatable = command_repeatable(line->command);
    dispatch_part(s, &r->part, line->bytes, line->length);
}

void plan_state(struct session *s, const struct line *line)
{
    struct request *r = order_issue(s, line->command);

    if (r == NULL)
        return;
    r->kind = REQUEST_STATE;
    s->barrier = r;
    r->part.repeatable = true;
    dispatch_part(s, &r->part, line->bytes, line->length);
}

void plan_answer(struct session *s, const struct line *line, const char *reply)
{
    struct request *r = order_issue(s, line->command);

    if (r != NULL)
        order_complete(s, r, reply, strlen(reply));
}

static void plan_read_mode(struct session *s, const struct line *line)
{
    plan_answer(s, line, "+OK\r\n");
}

static void plan_quit(struct session *s, const struct line *line)
{
    plan_answer(s, line, "+OK\r\n");
    s->ending = true;
}

static void plan_unsupported(struct session *s, const struct line *line)
{
    struct request *r = order_issue(s, line->command);

    if (r != NULL)
        order_complete_error(s, r, "-UNSUPPORTED redisroute: '%s' cannot be used on a cluster yet",
                             line->command->name);
}

static void plan_transaction(struct session *s, const struct line *line)
{
    if (s->front != NULL) {
        front_transaction(s, line);
        return;
    }
    transaction_command(s, line->command, line->bytes, line->length);
}

typedef void planner(struct session *, const struct line *);

static planner *const planner_of[] = {
    [COMMAND_KEYED] = plan_keyed,           [COMMAND_SPLIT] = plan_split,
    [COMMAND_ALL_SHARDS] = plan_all_shards, [COMMAND_ALL_NODES] = plan_all_nodes,
    [COMMAND_ANY_NODE] = plan_any,          [COMMAND_MASTER] = plan_master,
    [COMMAND_SLOT] = plan_slot,
    [COMMAND_STATE] = plan_state,           [COMMAND_READ_MODE] = plan_read_mode,
    [COMMAND_CONNECTION] = plan_connection, [COMMAND_QUIT] = plan_quit,
    [COMMAND_TRANSACTION] = plan_transaction, [COMMAND_SCAN] = plan_scan,
    [COMMAND_RESET] = plan_reset,           [COMMAND_SUBSCRIBE] = plan_subscribe,
    [COMMAND_UNSUBSCRIBE] = plan_unsubscribe, [COMMAND_MONITOR] = plan_monitor,
    [COMMAND_REPLY_MODE] = plan_reply_mode, [COMMAND_TRACKING] = plan_tracking,
    [COMMAND_CACHING] = plan_caching,
    [COMMAND_KILL] = plan_kill,             [COMMAND_UNSUPPORTED] = plan_unsupported,
};

static const bool class_is_barrier[COMMAND_UNSUPPORTED + 1] = {
    [COMMAND_STATE] = true,     [COMMAND_QUIT] = true,    [COMMAND_RESET] = true,
    [COMMAND_TRANSACTION] = true,
    [COMMAND_SUBSCRIBE] = true, [COMMAND_MONITOR] = true, [COMMAND_TRACKING] = true,
};

/* Besides EXEC and DISCARD. */
static bool ends_transaction(const struct command *c)
{
    return c != NULL && (c->klass == COMMAND_QUIT || c->klass == COMMAND_RESET);
}

/* To a front scripts are commands like others: inner sessions know them. */
static bool is_script(const struct session *s, const struct command *c)
{
    return c != NULL && (c->flags & COMMAND_SCRIPT) != 0 && s->front == NULL;
}

static bool is_script_barrier(struct session *s, const struct command *c)
{
    return is_script(s, c) && s->state == SESSION_ROUTING && script_waits(s, c);
}

/* A barrier is sent when all before it is answered, and nothing is planned before
 * it is answered itself: commands that block, that change the connection, and
 * those whose keys nobody knows. */
static bool is_barrier(struct session *s, const struct command *c)
{
    if (s->state == SESSION_TRANSACTING)
        return ends_transaction(c);
    return c == NULL || class_is_barrier[c->klass] || is_script_barrier(s, c) ||
           ((c->flags & COMMAND_BLOCKING) != 0 && command_blocks(c, s->argv.words, s->argv.count)) ||
           reads_is_barrier(s, c);
}

/* Nobody has said what the dialled server is: nothing is sent. */
static void answer_unheard(struct session *s, const struct line *line)
{
    struct request *r = order_issue(s, line->command);

    if (r != NULL)
        order_complete_error(s, r,
                             "-TIMEOUT redisroute: %.128s:%u did not say in time what it is; "
                             "the command was not sent",
                             s->settings.host, (unsigned)s->settings.port);
}

/* Before the server lets us in, it hears everything as the application says it. */
static void plan_locked(struct session *s, const struct line *line)
{
    if (s->unheard)
        answer_unheard(s, line);
    else if (line->command != NULL && line->command->klass == COMMAND_STATE)
        plan_state(s, line);
    else
        plan_any(s, line);
}

/* A single server that is no cluster hears what is about data as the application says it. */
static bool is_for_single(const struct command *c)
{
    static const bool for_single[COMMAND_UNSUPPORTED + 1] = {
        [COMMAND_KEYED] = true,    [COMMAND_SPLIT] = true,     [COMMAND_ALL_SHARDS] = true,
        [COMMAND_ALL_NODES] = true, [COMMAND_ANY_NODE] = true, [COMMAND_MASTER] = true,
        [COMMAND_READ_MODE] = true, [COMMAND_KILL] = true,     [COMMAND_UNSUPPORTED] = true,
        [COMMAND_SCAN] = true,     [COMMAND_SLOT] = true,
    };

    return c != NULL && for_single[c->klass];
}

static void plan_line(struct session *s, const struct line *line, bool barrier)
{
    uint8_t once = s->guards & (GUARD_SKIP | GUARD_CACHING);

    if (is_script(s, line->command) && session_routes(s))
        script_note(s, line->command);
    if (s->state == SESSION_LOCKED)
        plan_locked(s, line);
    else if (s->state == SESSION_TRANSACTING && !ends_transaction(line->command))
        plan_transaction(s, line);
    else if (s->guards != 0 && plan_guarded(s, line))
        ;
    else if (s->single && is_for_single(line->command))
        plan_any(s, line);
    else if (line->command != NULL)
        planner_of[line->command->klass](s, line);
    else
        plan_any(s, line);
    if (once != 0 && (line->command == NULL || line->command->klass != COMMAND_CACHING))
        s->guards &= (uint8_t)~once;
    if (barrier && s->unanswered > 0) {
        s->barrier = s->order_tail;
        if (session_is_blocked(s))
            s->blocked_since_ms = session_now(s);
    }
}

/* An inline command goes on as an array. */
static void plan_inline(struct session *s, struct line *line, bool barrier)
{
    struct buffer array;

    buffer_init(&array);
    if (argv_format(&s->argv, &array)) {
        line->bytes = buffer_bytes(&array);
        line->length = buffer_length(&array);
        plan_line(s, line, barrier);
    } else {
        session_end(s, ENOMEM);
    }
    buffer_deinit(&array);
}

/* What may be sent as it is at once, by the slot of its only key. */
static bool is_quick(const struct session *s, const struct command *c, const char *bytes)
{
    return c != NULL && c->only_key != 0 && c->only_key < s->argv.count &&
           c->klass == COMMAND_KEYED && (c->flags & COMMAND_BLOCKING) == 0 && bytes[0] == '*' &&
           s->state == SESSION_ROUTING && s->guards == 0;
}

/* False: it has to wait for what was issued before it. */
static bool plan_command(struct session *s, const char *bytes, size_t length)
{
    struct line line = {command_lookup(s->argv.words, s->argv.count), bytes, length};
    bool asked = lookup_is_needed(s, line.command), barrier;

    if (asked && !lookup_command(s, &line.command))
        return false;
    if (is_quick(s, line.command, bytes)) {
        const struct bytes *key = &s->argv.words[line.command->only_key];

        if (asked)
            lookup_settle(s);
        if (mirror_is_on())
            copy_command(s, line.command, bytes, length);
        plan_whole(s, &line, slot_of_key(key->data, key->length));
        shape_learn(&s->shapes, line.command, bytes, s->argv.words, s->argv.count);
        return true;
    }
    barrier = is_barrier(s, line.command);
    if (barrier && s->unanswered > 0)
        return false;
    if (asked)
        lookup_settle(s);
    if (mirror_is_on())
        copy_command(s, line.command, bytes, length);
    if (bytes[0] == '*')
        plan_line(s, &line, barrier);
    else
        plan_inline(s, &line, barrier);
    return true;
}

static void send_known(struct session *s, const struct line *line, uint16_t slot)
{
    struct link *link = dispatch_quick(s, slot);
    struct request *r;

    if (link == NULL) {
        plan_whole(s, line, slot);
        return;
    }
    r = order_issue(s, line->command);
    if (r == NULL)
        return;
    r->part.slot = slot;
    r->part.repeatable = command_repeatable(line->command);
    if (link_send(link, &r->part, line->bytes, line->length))
        session_touch(s, link);
    else
        session_end(s, ENOMEM);
}

/* How many bytes were commands of known shapes, one behind the other. */
static size_t plan_known(struct session *s, const char *bytes, size_t length)
{
    size_t done = 0;
    struct line line;
    struct bytes key;

    while (s->state == SESSION_ROUTING && s->guards == 0 &&
           (line.length = shape_read(&s->shapes, bytes + done, length - done, &line.command, &key)) > 0) {
        line.bytes = bytes + done;
        if (mirror_is_on())
            copy_command(s, line.command, line.bytes, line.length);
        send_known(s, &line, slot_of_key(key.data, key.length));
        done += line.length;
    }
    return done;
}

static void protocol_error(struct session *s, const char *why)
{
    struct request *r = order_issue(s, NULL);

    if (r != NULL)
        order_complete_error(s, r, "-ERR %s", why);
    s->ending = true;
}

static bool may_plan(const struct session *s)
{
    return !s->stalled && !s->ending && s->barrier == NULL &&
           (session_routes(s) || s->state == SESSION_LOCKED);
}

static size_t plan_some(struct session *s, const char *bytes, size_t length)
{
    size_t done = 0, used = 0;
    const char *why = NULL;

    s->in_needed = 0;
    while (done < length && may_plan(s)) {
        if (s->overrides == NULL)
            done += plan_known(s, bytes + done, length - done);
        else if (!override_begin_command(s, s->planned + done))
            break;
        if (done == length || !may_plan(s))
            break;
        switch (parse_command(&s->argv, bytes + done, length - done, &used, &why)) {
        case PARSE_WHOLE:
            if (!plan_command(s, bytes + done, used))
                return done;
            override_end_command(s);
            done += used;
            break;
        case PARSE_EMPTY:
            done += used;
            break;
        case PARSE_PARTIAL:
            s->in_needed = used;
            return done;
        case PARSE_BROKEN:
            protocol_error(s, why);
            return length;
        case PARSE_NO_MEMORY:
            session_end(s, ENOMEM);
            return length;
        }
    }
    return done;
}

size_t plan_bytes(struct session *s, const char *bytes, size_t length)
{
    size_t done = plan_some(s, bytes, length);

    s->planned += done;
    return done;
}

void plan_input(struct session *s)
{
    if (buffer_length(&s->in) == 0 || buffer_length(&s->in) < s->in_needed || !may_plan(s))
        return;
    buffer_consume(&s->in, plan_bytes(s, buffer_bytes(&s->in), buffer_length(&s->in)));
    buffer_relax(&s->in, 0);
}
