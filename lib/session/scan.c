#include "session/scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/resp.h"
#include "session/front.h"

static const char ask_census[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nNODES\r\n";
static const char invalid[] = "-ERR invalid cursor\r\n";

/* The lowest slot of the next master at or above that slot; SLOT_COUNT: there is none. */
static uint16_t master_from(const struct topology *t, uint32_t slot)
{
    uint16_t best = SLOT_COUNT;

    for (uint16_t i = 0; i < t->node_count; i++) {
        uint16_t first = t->nodes[i].first_slot;

        if (first != SLOT_NONE && first >= slot && first < best)
            best = first;
    }
    return best;
}

bool scan_write_line(struct session *s, uint64_t node_cursor, struct buffer *out)
{
    char text[SCAN_TEXT_SIZE];
    struct bytes given = s->argv.words[1];
    bool ok;

    s->argv.words[1] =
        (struct bytes){text, (size_t)snprintf(text, sizeof text, "%" PRIu64, node_cursor)};
    ok = argv_format(&s->argv, out);
    s->argv.words[1] = given;
    return ok;
}

static uint32_t count_masters(const struct topology *t)
{
    uint32_t count = 0;

    for (uint16_t i = 0; i < t->node_count; i++)
        count += t->nodes[i].first_slot != SLOT_NONE;
    return count;
}

/* The census before the scan: on the first master's link it is asked first, too. */
static void send_parts(struct session *s, struct fanout *f, const struct buffer *scan)
{
    uint32_t done = 0;

    if (f->scan_asks_all)
        for (uint16_t i = 0; i < s->topology->node_count && s->state != SESSION_ENDED; i++)
            if (s->topology->nodes[i].first_slot != SLOT_NONE) {
                f->parts[done].part.slot = s->topology->nodes[i].first_slot;
                dispatch_part(s, &f->parts[done++].part, ask_census, sizeof ask_census - 1);
            }
    if (done < f->count && s->state != SESSION_ENDED) {
        f->parts[done].part.slot = f->scan.slot;
        dispatch_part(s, &f->parts[done].part, buffer_bytes(scan), buffer_length(scan));
    }
}

/* Another session began the pass, or this one has learned something since: which master comes next
 * is known by this session's snapshot, and that has to be the pass's. What is not settled is walked
 * over again anyway. */
static bool is_confirmed(const struct session *s, const struct scan_cursor *at)
{
    return at->pass == SCAN_PASS_UNSETTLED ||
           (at->pass == s->scan_pass && s->version == s->scan_version);
}

static void send_scan(struct session *s, const struct line *line, const struct scan_cursor *at)
{
    bool asks_all = at->pass == 0 || at->slot == SLOT_COUNT || !is_confirmed(s, at);
    uint32_t count = asks_all ? count_masters(s->topology) : 0;
    struct buffer scan;
    struct request *r;

    buffer_init(&scan);
    if (at->slot < SLOT_COUNT) {
        count++;
        if (!scan_write_line(s, at->node, &scan)) {
            session_end(s, ENOMEM);
            return;
        }
    }
    r = plan_fanout(s, line, count);
    if (r != NULL) {
        r->fanout->merge = MERGE_SCAN;
        r->fanout->scan = *at;
        r->fanout->scan_asks_all = asks_all;
        r->fanout->scan_version = s->version;
        send_parts(s, r->fanout, &scan);
    }
    buffer_deinit(&scan);
}

void plan_scan(struct session *s, const struct line *line)
{
    struct scan_cursor at = {0};
    uint16_t slot;
    uint64_t number;

    if (s->argv.count < 2 || s->topology->owned == 0) {
        plan_whole(s, line, SLOT_NONE); /* the server's own error */
        return;
    }
    if (!scan_number(s->argv.words[1], &number) ||
        (number != 0 && !scan_cursor_read(number, &at))) {
        plan_answer(s, line, invalid);
        return;
    }
    slot = master_from(s->topology, at.slot);
    if (slot != at.slot) /* another master begins there now; that something moved will be found */
        at.node = 0;
    at.slot = slot;
    send_scan(s, line, &at);
}

/* --- the answer --- */

static void complete_text(struct session *s, struct request *r, const char *cursor,
                          struct bytes keys)
{
    struct buffer out;
    bool ok;

    buffer_init(&out);
    ok = resp_append_header(&out, '*', 2) &&
         resp_append_bulk(&out, (struct bytes){cursor, strlen(cursor)}) &&
         (keys.length > 0 ? buffer_append(&out, keys.data, keys.length)
                          : resp_append_header(&out, '*', 0));
    if (ok)
        order_complete_with(s, r, out.data, buffer_length(&out));
    else
        session_end(s, ENOMEM);
}

void scan_complete(struct session *s, struct request *r, uint64_t cursor, struct bytes keys)
{
    char text[SCAN_TEXT_SIZE];

    snprintf(text, sizeof text, "%" PRIu64, cursor);
    complete_text(s, r, text, keys);
}

static void complete(struct session *s, struct request *r, const struct scan_cursor *next,
                     struct bytes keys)
{
    char text[SCAN_TEXT_SIZE] = "0";

    if (next != NULL && !scan_cursor_write(next, text))
        order_complete_error(s, r, "-ERR redisroute: the cursor %" PRIu64 " of a node is too long",
                             next->node);
    else
        complete_text(s, r, text, keys);
}

static struct bytes reply_of(const struct fanout *f, uint32_t i)
{
    return (struct bytes){f->parts[i].reply, f->parts[i].reply_length};
}

/* The parts are in the order of the snapshot's masters. */
static uint16_t pass_of(struct session *s, const struct fanout *f)
{
    struct scan_census census = {0};
    const struct topology *t = s->topology;
    struct resp_item item;
    uint32_t part = 0;
    uint16_t pass;
    size_t used;

    if (s->version != f->scan_version)
        return SCAN_PASS_UNSETTLED;
    for (uint16_t i = 0; i < t->node_count; i++) {
        struct bytes reply;

        if (t->nodes[i].first_slot == SLOT_NONE)
            continue;
        reply = reply_of(f, part++);
        if (resp_read_value(reply.data, reply.length, &item, &used))
            scan_census_add(&census, item.text, t->owner, i);
        else
            census.moving = true;
    }
    pass = scan_census_pass(&census, t->owned);
    if (pass == SCAN_PASS_UNSETTLED)
        cluster_suspect(s->cluster);
    s->scan_pass = pass;
    s->scan_version = s->version;
    return pass;
}

/* All masters are done. Whoever is asked to go on is told the end, or begins once more. */
static void check_pass(struct session *s, struct request *r, uint16_t pass)
{
    struct scan_cursor again = {.slot = master_from(s->topology, 0), .pass = pass};

    if (pass == r->fanout->scan.pass && pass != SCAN_PASS_UNSETTLED) {
        complete(s, r, NULL, (struct bytes){0});
        return;
    }
    complete(s, r, &again, (struct bytes){0});
}

bool scan_read(struct bytes reply, uint64_t *cursor, struct bytes *keys)
{
    struct resp_item item;
    size_t used;

    if (!resp_read_value(reply.data, reply.length, &item, &used) || item.type != '*' ||
        item.number != 2)
        return false;
    reply.data += used;
    reply.length -= used;
    if (!resp_read_value(reply.data, reply.length, &item, &used) ||
        !scan_number(item.text, cursor))
        return false;
    *keys = (struct bytes){reply.data + used, reply.length - used};
    return true;
}

void scan_answered(struct session *s, struct request *r)
{
    struct fanout *f = r->fanout;
    bool checks = f->scan.slot == SLOT_COUNT;
    uint32_t masters = f->count - !checks;
    struct scan_cursor next = f->scan;
    struct bytes keys;

    if (s->front != NULL) {
        front_scan_answered(s, r);
        return;
    }
    for (uint32_t i = f->count; i-- > 0;)
        if (f->parts[i].reply[0] == '-') {
            order_complete(s, r, f->parts[i].reply, f->parts[i].reply_length);
            return;
        }
    if (checks) {
        check_pass(s, r, pass_of(s, f));
        return;
    }
    if (f->scan_asks_all)
        next.pass = pass_of(s, f);
    if (!scan_read(reply_of(f, masters), &next.node, &keys)) {
        order_complete_error(s, r, "-ERR redisroute: %s gave no SCAN reply",
                             f->parts[masters].server ? f->parts[masters].server : "a node");
        return;
    }
    if (f->scan.pass != 0 && next.pass != f->scan.pass)
        next = (struct scan_cursor){.slot = master_from(s->topology, 0), .pass = next.pass};
    else if (next.node == 0)
        next.slot = master_from(s->topology, (uint32_t)f->scan.slot + 1);
    complete(s, r, &next, keys);
}
