#include "session/deadline.h"

#include <errno.h>

/* A command that blocks may take as long as it likes. */
static bool is_exempt(const struct session *s, const struct part *part)
{
    return part->request == s->barrier && session_is_blocked(s);
}

static bool owes(const struct session *s, const struct link *link)
{
    if (link->feed != NULL || link->must_close || !link_is_open(link))
        return false;
    if (link->sent.head != NULL)
        return !is_exempt(s, link->sent.head);
    return link->greetings > 0 || link == s->probe;
}

/* Grows with every answer. */
static uint64_t progress(const struct link *link)
{
    return link->in_scanned + atomic_load_explicit(&link->replied, memory_order_relaxed);
}

static void look_at(const struct session *s, struct link *link)
{
    if (!owes(s, link)) {
        link->owing_since_ms = 0;
    } else if (link->owing_since_ms == 0 || link->owing_at != progress(link)) {
        link->owing_since_ms = session_now(s);
        link->owing_at = progress(link);
    }
}

static bool has_waited_since(const struct part *part, int64_t since_ms)
{
    return part->wait_since != 0 && part->wait_since <= since_ms;
}

static int64_t late_at(const struct session *s, const struct link *link)
{
    const struct part *part = link->sent.head;
    int64_t since_ms = link->owing_since_ms;

    if (part != NULL && has_waited_since(part, since_ms))
        since_ms = part->wait_since;
    return since_ms + s->settings.op_timeout_ms;
}

int64_t deadline_due(const struct session *s)
{
    int64_t due = -1;

    for (struct link *link = s->front == NULL ? s->links : NULL; link != NULL; link = link->next) {
        look_at(s, link);
        if (link->owing_since_ms != 0)
            due = clock_earlier(due, late_at(s, link));
    }
    return due;
}

/* The oldest, and what has waited as long: else each of them would cost a connection. */
static void mark_late(const struct session *s, struct link *link, int64_t now_ms)
{
    for (struct part *part = link->sent.head; part != NULL; part = part->next)
        part->late =
            part == link->sent.head || has_waited_since(part, now_ms - s->settings.op_timeout_ms);
    for (struct part *part = link->waiting.head; part != NULL; part = part->next)
        if (part->wait_since == 0)
            part->wait_since = link->owing_since_ms;
}

void deadline_advance(struct session *s, int64_t now_ms)
{
    for (struct link *link = s->front == NULL ? s->links : NULL; link != NULL; link = link->next) {
        look_at(s, link);
        if (link->owing_since_ms == 0 || now_ms < late_at(s, link))
            continue;
        mark_late(s, link, now_ms);
        link->owing_since_ms = 0;
        link->error = ETIME;
        link->must_close = true;
        session_touch(s, link);
    }
}

void session_waited(struct session *s, struct link *link, int64_t waited_ms)
{
    look_at(s, link);
    if (link->owing_since_ms != 0 && link->owing_at == progress(link))
        link->owing_since_ms = clock_earlier(link->owing_since_ms, session_now(s) - waited_ms);
}
