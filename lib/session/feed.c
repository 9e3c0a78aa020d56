#include "session/feed.h"
#include "session/front.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/resp.h"

/* How often a settled session looks whether the cluster has changed, whether the configuration has,
 * where there are files that may change, and how often one that lacks something tries again. */
enum { TICK_MS = 1000, TICK_OF_FILES_MS = 300, TICK_RESTLESS_MS = 50 };

struct feeds *feeds_of(struct session *s)
{
    if (s->feeds == NULL) {
        s->feeds = calloc(1, sizeof *s->feeds);
        if (s->feeds == NULL)
            session_end(s, ENOMEM);
        else
            s->feeds->tick_ms = session_now(s) + TICK_MS;
    }
    return s->feeds;
}

void feeds_destroy(struct session *s)
{
    struct feeds *fs = s->feeds;

    if (fs == NULL)
        return;
    while (fs->list != NULL) {
        struct feed *next = fs->list->next;

        buffer_deinit(&fs->list->commands);
        free(fs->list);
        fs->list = next;
    }
    topics_deinit(&fs->topics);
    buffer_deinit(&fs->asked_reply);
    free(fs->fresh);
    free(fs);
    s->feeds = NULL;
}

/* --- one feed --- */

struct feed *feed_find(const struct session *s, enum feed_kind kind, uint16_t node)
{
    struct feed *f = s->feeds->list;

    while (f != NULL && (f->kind != kind || f->link->node != node))
        f = f->next;
    return f;
}

static struct feed *create(struct session *s, enum feed_kind kind, const struct node *node)
{
    struct feed *f = calloc(1, sizeof *f);
    struct link *link = f ? link_create(node->host, node->port) : NULL;

    if (link == NULL) {
        free(f);
        session_end(s, ENOMEM);
        return NULL;
    }
    f->kind = kind;
    f->link = link;
    f->next = s->feeds->list;
    s->feeds->list = f;
    link->feed = f;
    link->node = (uint16_t)(node - s->topology->nodes);
    link->next = s->links;
    s->links = link;
    return f;
}

struct feed *feed_of_node(struct session *s, enum feed_kind kind, uint16_t node)
{
    struct feed *f = feed_find(s, kind, node);

    return f != NULL ? f : create(s, kind, &s->topology->nodes[node]);
}

void feed_open(struct session *s, struct feed *f)
{
    struct link *link = f->link;

    if (link->state == LINK_IDLE ||
        (link->state == LINK_BACKOFF && link->retry_at_ms <= session_now(s))) {
        link->state = LINK_WANTED;
        session_touch(s, link);
    }
}

void feed_close(struct session *s, struct feed *f)
{
    if (f->link->state == LINK_IDLE || f->link->state == LINK_BACKOFF)
        return;
    f->link->must_close = true;
    f->link->error = 0;
    session_touch(s, f->link);
}

bool feed_is_up(const struct feed *f)
{
    return f->link->state == LINK_UP && !f->link->must_close;
}

bool feed_is_down(const struct session *s, const struct feed *f)
{
    return f->link->state == LINK_BACKOFF && f->link->retry_at_ms > session_now(s);
}

bool node_is_masters(const struct session *s, uint16_t node)
{
    return node != NODE_NONE && s->topology->nodes[node].master &&
           s->topology->nodes[node].first_slot != SLOT_NONE &&
           (s->front == NULL || front_asks(s, node, true));
}

bool feed_is_masters(const struct session *s, const struct feed *f)
{
    return node_is_masters(s, f->link->node);
}

static void count(_Atomic uint32_t *counter, uint32_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

bool feed_ask(struct session *s, struct feed *f, const char *word, const struct bytes *names,
              size_t n)
{
    struct buffer *out = &f->link->out;
    uint32_t number = (uint32_t)n;
    bool ok;

    link_forget_flushed(f->link);
    ok = resp_append_header(out, '*', (long long)n + 1) &&
         resp_append_bulk(out, (struct bytes){word, strlen(word)});
    for (size_t i = 0; ok && i < n; i++)
        ok = resp_append_bulk(out, names[i]);
    if (!ok || !buffer_append(&f->commands, &number, sizeof number)) {
        session_end(s, ENOMEM);
        return false;
    }
    f->asked += n;
    count(&f->link->asked, number);
    session_touch(s, f->link);
    return true;
}

uint32_t feed_answered(struct feed *f, bool whole)
{
    uint32_t left, n;

    if (buffer_length(&f->commands) == 0)
        return 0;
    memcpy(&left, buffer_bytes(&f->commands), sizeof left);
    n = whole ? left : 1;
    left -= n;
    f->answered += n;
    count(&f->link->replied, n);
    if (left == 0)
        buffer_consume(&f->commands, sizeof left);
    else
        memcpy(f->commands.data + f->commands.head, &left, sizeof left);
    return n;
}

/* --- the request that waits --- */

static void forget_asked(struct feeds *fs)
{
    for (size_t i = 0; i < fs->fresh_count; i++)
        fs->fresh[i]->fresh = false;
    fs->fresh_count = 0;
    fs->asked = NULL;
}

void feeds_complete(struct session *s)
{
    struct feeds *fs = s->feeds;
    struct request *r = fs->asked;
    struct buffer reply = fs->asked_reply;

    fs->asked_reply = (struct buffer){0};
    forget_asked(fs);
    order_complete_with(s, r, reply.data, buffer_length(&reply));
}

void feeds_fail(struct session *s, const char *reply, size_t length)
{
    struct feeds *fs = s->feeds;
    struct request *r = fs->asked;

    if (r == NULL)
        return;
    if (fs->fresh_count == 0) {
        fs->monitoring = false;
        s->guards &= (uint8_t)~GUARD_MONITOR;
    }
    while (fs->fresh_count > 0)
        topics_remove(&fs->topics, fs->fresh[--fs->fresh_count]);
    forget_asked(fs);
    buffer_deinit(&fs->asked_reply);
    order_complete(s, r, reply, length);
    subscribe_guard(s);
}

static void expire_asked(struct session *s)
{
    char text[160];
    int length;

    if (s->feeds->asked == NULL ||
        session_now(s) - s->feeds->asked_ms < s->settings.failover_timeout_ms)
        return;
    length = snprintf(text, sizeof text,
                      "-UNREACHABLE redisroute: no node could be reached for this for %lld ms\r\n",
                      (long long)s->settings.failover_timeout_ms);
    feeds_fail(s, text, (size_t)length);
}

/* --- what happens --- */

static bool in_use(const struct feeds *fs)
{
    return topics_count(&fs->topics) > 0 || fs->monitoring || fs->asked != NULL;
}

void feeds_look_at_gap(struct session *s)
{
    struct feeds *fs = s->feeds;
    long long gap_ms;

    if (fs->gap_ms == 0 || fs->restless || fs->unsettled || !subscribe_is_in_force(s))
        return;
    gap_ms = session_now(s) - fs->gap_ms;
    fs->gap_ms = 0;
    log_write(LOG_WARNING, "subscriptions are in force again; what was published in the last %lld ms "
              "may be missing", gap_ms);
    session_raise(s, EVENT_RESUMED, "subscriptions are in force again; what was published in the last "
                  "%lld ms may be missing", gap_ms);
}

void feeds_settle(struct session *s)
{
    struct feeds *fs = s->feeds;

    if (!session_routes(s))
        return;
    fs->restless = false;
    subscribe_settle(s);
    monitor_settle(s);
    if (fs->restless)
        fs->tick_ms = clock_earlier(fs->tick_ms, session_now(s) + TICK_RESTLESS_MS);
    feeds_look_at_gap(s);
}

void feeds_opened(struct session *s, struct link *link)
{
    (void)link;
    s->feeds->unsettled = true;
    feeds_settle(s);
}

void feeds_lost(struct session *s, struct link *link, int why)
{
    struct feeds *fs = s->feeds;
    struct feed *f = link->feed;

    buffer_deinit(&f->commands);
    f->asked = f->answered = 0;
    f->monitors = false;
    subscribe_lost(s, f, why == 0 ? "the server closed the connection" : strerror(why));
    if (f->kind == FEED_MONITOR && fs->monitoring)
        session_raise(s, EVENT_GAP, "MONITOR of %s is interrupted: %s", link->name,
                      why == 0 ? "the server closed the connection" : strerror(why));
    if (in_use(fs) && fs->gap_ms == 0 && why != EHOSTDOWN) {
        fs->gap_ms = session_now(s);
        log_write(LOG_WARNING, "connection to %s, which %s came over, was lost: %s", link->name,
                  f->kind == FEED_MONITOR ? "MONITOR" : "subscriptions",
                  why == 0 ? "the server closed it" : strerror(why));
    }
    if (fs->primary == f)
        fs->primary = NULL;
    fs->unsettled = true;
    feeds_settle(s);
}

void feeds_refused(struct session *s, const char *reply, size_t length)
{
    feeds_fail(s, reply, length);
}

void feeds_received(struct session *s, struct link *link, const char *reply, size_t length,
                    uint64_t position)
{
    if (link->feed->kind == FEED_MONITOR)
        monitor_received(s, link->feed, reply, length, position);
    else
        subscribe_received(s, link->feed, reply, length, position);
}

/* Nothing is expected any more of a node that is no master. */
static void close_deposed(struct session *s)
{
    struct topic *topic = NULL;
    struct feed *f;

    for (f = s->feeds->list; f != NULL; f = f->next) {
        bool needed = feed_is_masters(s, f) || f == s->feeds->primary;

        while (!needed && (topic = topics_next(&s->feeds->topics, topic)) != NULL)
            needed = topic->kind == TOPIC_SHARD_CHANNEL && topic_place(topic, f) != NULL;
        if (!needed)
            feed_close(s, f);
        topic = NULL;
    }
}

void feeds_adopted(struct session *s)
{
    if (!session_routes(s) || !in_use(s->feeds))
        return;
    close_deposed(s);
    s->feeds->unsettled = true;
    feeds_settle(s);
}

int64_t feeds_due(const struct session *s)
{
    return in_use(s->feeds) ? s->feeds->tick_ms : -1;
}

void feeds_advance(struct session *s)
{
    struct feeds *fs = s->feeds;
    int64_t now = session_now(s);

    if (!in_use(fs) || fs->tick_ms > now)
        return;
    fs->tick_ms = now + (session_has_files(s) ? TICK_OF_FILES_MS : TICK_MS);
    if (!fs->restless && fs->settled_ms != 0 && now - fs->settled_ms < TICK_MS)
        return; /* the session has looked at the configuration */
    fs->settled_ms = now;
    fs->unsettled = true;
    feeds_settle(s);
    expire_asked(s);
}

void feeds_leave(struct session *s)
{
    struct feeds *fs = s->feeds;

    while (fs->list != NULL) {
        struct feed *f = fs->list;

        subscribe_lost(s, f, "its cluster is another one now");
        if (f->kind == FEED_MONITOR && fs->monitoring)
            session_raise(s, EVENT_GAP, "MONITOR of %s is interrupted: its cluster is another one now",
                          f->link->name);
        f->link->feed = NULL;
        buffer_deinit(&f->commands);
        fs->list = f->next;
        free(f);
    }
    fs->primary = NULL;
    if (in_use(fs) && fs->gap_ms == 0)
        fs->gap_ms = session_now(s);
}

/* A shard channel's slot is what a slot is to this session. */
void feeds_arrived(struct session *s)
{
    struct topic *topic = NULL;

    while ((topic = topics_next(&s->feeds->topics, topic)) != NULL)
        if (topic->kind == TOPIC_SHARD_CHANNEL)
            topic->slot = s->front != NULL ? front_upstreams(s)->own
                                           : slot_of_key(topic->name, topic->length);
    s->feeds->tick_ms = session_now(s);
}

void feeds_reset(struct session *s)
{
    struct feeds *fs = s->feeds;

    topics_deinit(&fs->topics);
    fs->monitoring = false;
    s->guards &= (uint8_t)~GUARD_MONITOR;
    fs->gap_ms = 0;
    for (struct feed *f = fs->list; f != NULL; f = f->next)
        feed_close(s, f);
    subscribe_guard(s);
}
