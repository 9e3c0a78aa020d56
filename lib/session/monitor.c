/* MONITOR: the streams of all masters as one, in the order of arrival. */
#include <errno.h>

#include "session/feed.h"
#include "session/plan.h"

static bool is_answered(const struct session *s)
{
    bool any = false;

    for (uint16_t node = 0; node < s->topology->node_count; node++) {
        const struct feed *f;

        if (!node_is_masters(s, node))
            continue;
        f = feed_find(s, FEED_MONITOR, node);
        if (f == NULL || (!f->monitors && !feed_is_down(s, f)))
            return false;
        any |= f->monitors;
    }
    return any;
}

void monitor_settle(struct session *s)
{
    struct feeds *fs = s->feeds;

    if (!fs->monitoring)
        return;
    for (uint16_t node = 0; node < s->topology->node_count; node++) {
        struct feed *f;

        if (!node_is_masters(s, node))
            continue;
        f = feed_of_node(s, FEED_MONITOR, node);
        if (f == NULL)
            return;
        feed_open(s, f);
        if (feed_is_up(f) && f->asked == 0 && !feed_ask(s, f, "MONITOR", NULL, 0))
            return;
        f->asked = feed_is_up(f);
        fs->restless |= !f->monitors;
    }
    if (fs->asked != NULL && fs->fresh_count == 0 && is_answered(s))
        feeds_complete(s);
}

void monitor_received(struct session *s, struct feed *f, const char *reply, size_t length,
                      uint64_t position)
{
    if (f->monitors) {
        order_push(s, f->link, position, length);
    } else if (reply[0] == '-') {
        feeds_fail(s, reply, length);
        feed_close(s, f);
    } else {
        f->monitors = true;
        monitor_settle(s);
    }
}

void plan_monitor(struct session *s, const struct line *line)
{
    struct feeds *fs = feeds_of(s);

    if (s->argv.count != 1) {
        plan_whole(s, line, SLOT_NONE); /* the server says what is wrong with it */
        return;
    }
    if (fs == NULL || fs->monitoring)
        return; /* a server does not answer the second one either */
    if (!buffer_append_text(&fs->asked_reply, "+OK\r\n")) {
        session_end(s, ENOMEM);
        return;
    }
    fs->asked = order_issue(s, line->command);
    if (fs->asked == NULL)
        return;
    fs->asked_ms = session_now(s);
    fs->monitoring = true;
    s->guards |= GUARD_MONITOR;
    feeds_settle(s);
}
