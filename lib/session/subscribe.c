/* (P|S)SUBSCRIBE and their opposites: what the session is subscribed to, and where. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/resp.h"
#include "route/redirect.h"
#include "session/feed.h"
#include "session/front.h"
#include "session/plan.h"

/* Until a server that refused is asked again. */
enum { SUBSCRIBE_RETRY_MS = 50 };

/* Of a channel in an event. */
enum { GAP_NAME_MAX = 256 };

static const struct words {
    const char *subscribe; /* as the server names them in its answers */
    const char *unsubscribe;
} words_of[] = {
    [TOPIC_CHANNEL] = {"subscribe", "unsubscribe"},
    [TOPIC_PATTERN] = {"psubscribe", "punsubscribe"},
    [TOPIC_SHARD_CHANNEL] = {"ssubscribe", "sunsubscribe"},
};

static struct bytes text(const char *s)
{
    return (struct bytes){s, strlen(s)};
}

static bool same(struct bytes a, const char *b)
{
    return a.length == strlen(b) && memcmp(a.data, b, a.length) == 0;
}

static struct bytes name_of(const struct topic *topic)
{
    return (struct bytes){topic->name, topic->length};
}

static enum topic_kind kind_of(const struct command *c)
{
    int kind = TOPIC_CHANNEL;

    while (strcmp(c->name, words_of[kind].subscribe) != 0 &&
           strcmp(c->name, words_of[kind].unsubscribe) != 0)
        kind++;
    return (enum topic_kind)kind;
}

/* --- answers to the application --- */

/* What a server counts in its answers: channels and patterns together, shard channels apart. */
static long long count_for(const struct topics *t, enum topic_kind kind)
{
    if (kind == TOPIC_SHARD_CHANNEL)
        return t->count[TOPIC_SHARD_CHANNEL];
    return (long long)t->count[TOPIC_CHANNEL] + t->count[TOPIC_PATTERN];
}

/* `name` NULL: there was nothing to unsubscribe from. */
static bool append_answer(struct session *s, struct buffer *out, const char *word,
                          enum topic_kind kind, const struct bytes *name)
{
    bool resp3 = greet_protocol(s) == 3;

    return resp_append_header(out, resp3 ? '>' : '*', 3) && resp_append_bulk(out, text(word)) &&
           (name != NULL ? resp_append_bulk(out, *name)
                         : buffer_append_text(out, resp3 ? "_\r\n" : "$-1\r\n")) &&
           resp_append_header(out, ':', count_for(&s->feeds->topics, kind));
}

void subscribe_guard(struct session *s)
{
    if (topics_count(&s->feeds->topics) > 0 && greet_protocol(s) == 2)
        s->guards |= GUARD_SUBSCRIBED;
    else
        s->guards &= (uint8_t)~GUARD_SUBSCRIBED;
}

/* --- which feed for which topic --- */

static bool wants_primary(const struct topics *t)
{
    return t->count[TOPIC_CHANNEL] + t->count[TOPIC_PATTERN] > 0;
}

/* A front publishes to one of its clusters, and only that one hears it. */
static bool hears_all(const struct session *s, uint16_t node)
{
    return s->front == NULL ? node_is_masters(s, node) : node == front_upstreams(s)->own;
}

/* The dialled node's when that is well, else the first that is. */
static struct feed *choose_primary(struct session *s)
{
    uint16_t nodes = s->topology->node_count;
    uint16_t first = s->home->node != NODE_NONE ? s->home->node : 0;
    struct feed *down = NULL;

    for (uint16_t i = 0; i < nodes; i++) {
        uint16_t node = (uint16_t)((first + i) % nodes);
        struct feed *f;

        if (!hears_all(s, node))
            continue;
        f = feed_of_node(s, FEED_MESSAGES, node);
        if (f == NULL || !feed_is_down(s, f))
            return f;
        if (down == NULL || f->link->retry_at_ms < down->link->retry_at_ms)
            down = f;
    }
    return down;
}

static void open_primary(struct session *s)
{
    struct feeds *fs = s->feeds;

    if (fs->primary == NULL || fs->primary->link->node == NODE_NONE ||
        feed_is_down(s, fs->primary) ||
        (s->front != NULL && !hears_all(s, fs->primary->link->node)))
        fs->primary = choose_primary(s);
    if (fs->primary != NULL)
        feed_open(s, fs->primary);
    else
        fs->restless = true;
}

static void open_notifying(struct session *s)
{
    for (uint16_t node = 0; node < s->topology->node_count; node++)
        if (node_is_masters(s, node)) {
            struct feed *f = feed_of_node(s, FEED_MESSAGES, node);

            if (f == NULL)
                return;
            feed_open(s, f);
        }
}

static bool belongs(const struct session *s, const struct topic *topic, const struct feed *f)
{
    return topic->kind != TOPIC_SHARD_CHANNEL &&
           (f == s->feeds->primary || (topic->everywhere && feed_is_masters(s, f)));
}

/* --- giving places to topics --- */

/* Topics to be looked at: those that are new, or all. */
struct batch {
    struct topic **topics;
    size_t count;
    struct bytes *names; /* room for as many */
};

static bool batch_init(struct session *s, struct batch *b)
{
    struct feeds *fs = s->feeds;
    struct topic *topic = NULL;
    size_t room = fs->unsettled ? topics_count(&fs->topics) : fs->fresh_count;

    *b = (struct batch){.topics = calloc(room + 1, sizeof(struct topic *)),
                        .names = calloc(room + 1, sizeof(struct bytes))};
    if (b->topics == NULL || b->names == NULL)
        return false;
    if (!fs->unsettled) {
        memcpy(b->topics, fs->fresh, room * sizeof(struct topic *));
        b->count = room;
    } else {
        while ((topic = topics_next(&fs->topics, topic)) != NULL)
            b->topics[b->count++] = topic;
    }
    return true;
}

static void batch_deinit(struct batch *b)
{
    free(b->topics);
    free(b->names);
}

/* What belongs to the feed and has no place there: one command. */
static void ask_missing(struct session *s, struct feed *f, enum topic_kind kind, struct batch *b)
{
    size_t missing = 0;

    for (size_t i = 0; i < b->count; i++) {
        struct topic *topic = b->topics[i];

        if (topic->kind != kind || !belongs(s, topic, f) || topic_place(topic, f) != NULL)
            continue;
        b->names[missing++] = name_of(topic);
        if (!topic_put(topic, f, f->asked + missing)) {
            session_end(s, ENOMEM);
            return;
        }
    }
    if (missing > 0)
        feed_ask(s, f, words_of[kind].subscribe, b->names, missing);
}

static void ask_shard(struct session *s, struct topic *topic)
{
    uint16_t owner = s->topology->owner[topic->slot];
    struct bytes name = name_of(topic);
    struct feed *f = owner != NODE_NONE ? feed_of_node(s, FEED_MESSAGES, owner) : NULL;

    if (f != NULL)
        feed_open(s, f);
    if (f == NULL || !feed_is_up(f)) {
        s->feeds->restless = true;
        return;
    }
    if (!topic_put(topic, f, f->asked + 1))
        session_end(s, ENOMEM);
    else
        feed_ask(s, f, words_of[TOPIC_SHARD_CHANNEL].subscribe, &name, 1);
}

static void place(struct session *s, struct batch *b)
{
    for (struct feed *f = s->feeds->list; f != NULL; f = f->next)
        if (f->kind == FEED_MESSAGES && feed_is_up(f)) {
            ask_missing(s, f, TOPIC_CHANNEL, b);
            ask_missing(s, f, TOPIC_PATTERN, b);
        }
    for (size_t i = 0; i < b->count && s->state != SESSION_ENDED; i++)
        if (b->topics[i]->kind == TOPIC_SHARD_CHANNEL && b->topics[i]->place_count == 0)
            ask_shard(s, b->topics[i]);
}

/* --- is everything in force? --- */

static bool is_in_force(const struct topic *topic, const struct feed *f)
{
    const struct place *p = topic_place(topic, f);

    return p != NULL && p->number <= f->answered;
}

/* A master that cannot be reached has nothing to tell: it is subscribed to when it is back. */
static bool is_missing_at_masters(const struct session *s, const struct topic *topic)
{
    for (uint16_t node = 0; node < s->topology->node_count; node++) {
        const struct feed *f;

        if (!node_is_masters(s, node))
            continue;
        f = feed_find(s, FEED_MESSAGES, node);
        if (f == NULL || (!feed_is_down(s, f) && !is_in_force(topic, f)))
            return true;
    }
    return false;
}

static bool is_served(const struct session *s, const struct topic *topic)
{
    if (topic->kind == TOPIC_SHARD_CHANNEL)
        return topic->place_count > 0 && is_in_force(topic, topic->places[0].feed);
    return s->feeds->primary != NULL && is_in_force(topic, s->feeds->primary) &&
           !(topic->everywhere && is_missing_at_masters(s, topic));
}

static void look_at_asked(struct session *s)
{
    struct feeds *fs = s->feeds;

    if (fs->asked == NULL || fs->fresh_count == 0)
        return;
    for (size_t i = 0; i < fs->fresh_count; i++)
        if (!is_served(s, fs->fresh[i]))
            return;
    feeds_complete(s);
}

static bool lacks_feed(const struct session *s)
{
    const struct feeds *fs = s->feeds;

    if (wants_primary(&fs->topics) && (fs->primary == NULL || !feed_is_up(fs->primary)))
        return true;
    if (fs->topics.everywhere == 0)
        return false;
    for (uint16_t node = 0; node < s->topology->node_count; node++)
        if (node_is_masters(s, node)) {
            const struct feed *f = feed_find(s, FEED_MESSAGES, node);

            if (f == NULL || !feed_is_up(f))
                return true;
        }
    return false;
}

void subscribe_settle(struct session *s)
{
    struct feeds *fs = s->feeds;
    struct batch b;

    if (topics_count(&fs->topics) == 0 || (!fs->unsettled && fs->fresh_count == 0))
        return;
    if (wants_primary(&fs->topics))
        open_primary(s);
    if (fs->topics.everywhere > 0)
        open_notifying(s);
    if (s->state == SESSION_ENDED)
        return;
    if (batch_init(s, &b))
        place(s, &b);
    else
        session_end(s, ENOMEM);
    batch_deinit(&b);
    fs->unsettled = false;
    fs->restless |= lacks_feed(s);
    look_at_asked(s);
}

bool subscribe_is_in_force(const struct session *s)
{
    const struct topic *topic = NULL;

    while ((topic = topics_next(&s->feeds->topics, topic)) != NULL)
        if (!is_served(s, topic))
            return false;
    return true;
}

static void raise_gap(const struct session *s, const struct topic *topic, const struct feed *f,
                      const char *why)
{
    static const char *const names[] = {"channel", "pattern", "shard channel"};

    session_raise(s, EVENT_GAP, "%s '%.*s' is interrupted at %s: %s", names[topic->kind],
                  (int)(topic->length < GAP_NAME_MAX ? topic->length : GAP_NAME_MAX), topic->name,
                  f->link->name, why);
}

void subscribe_lost(struct session *s, struct feed *f, const char *why)
{
    struct topic *topic = NULL;

    while ((topic = topics_next(&s->feeds->topics, topic)) != NULL) {
        if (topic_place(topic, f) != NULL && !topic->fresh)
            raise_gap(s, topic, f, why);
        topic_leave(topic, f);
    }
}

/* --- what a feed says --- */

enum { SAID_MAX = 4 };

/* The first words of an array; how many. An integer or a null is an empty word. */
static int read_said(const char *reply, size_t length, struct bytes said[SAID_MAX])
{
    struct resp_item item;
    long long count;
    size_t at, used;
    char type;
    int n = 0;

    if (!frame_array_header(reply, length, &type, &count, &at))
        return 0;
    for (; n < count && n < SAID_MAX; n++) {
        if (resp_read(reply + at, length - at, &item, &used) != RESP_WHOLE || item.values > 0)
            break;
        said[n] = item.text;
        at += used;
    }
    return n;
}

static void deliver(struct session *s, struct feed *f, const struct topic *topic,
                    struct bytes channel, size_t length, uint64_t position)
{
    bool wanted = topic != NULL && is_in_force(topic, f);

    if (wanted && topic->kind != TOPIC_SHARD_CHANNEL)
        wanted = topic_is_notification(channel) ? feed_is_masters(s, f) : f == s->feeds->primary;
    if (wanted)
        order_push(s, f->link, position, length);
}

/* The server ends the subscription by itself when the slot moves. True: it did. */
static bool is_evicted(struct session *s, struct feed *f, const struct bytes said[SAID_MAX])
{
    struct topic *topic = topics_find(&s->feeds->topics, TOPIC_SHARD_CHANNEL, said[1]);

    if (topic == NULL || !is_in_force(topic, f))
        return false;
    log_write(LOG_WARNING, "the slot of shard channel '%.*s' moved away from %s", (int)said[1].length,
              said[1].data, f->link->name);
    raise_gap(s, topic, f, "its slot has moved");
    topic_leave(topic, f);
    cluster_suspect(s->cluster);
    if (s->feeds->gap_ms == 0)
        s->feeds->gap_ms = session_now(s);
    s->feeds->unsettled = true;
    feeds_settle(s);
    return true;
}

static void on_answer(struct session *s, struct feed *f)
{
    feed_answered(f, false);
    if (f->answered == f->asked) {
        look_at_asked(s);
        feeds_look_at_gap(s);
    }
}

/* True: the server did not mean the subscription, but where it was asked for it. */
static bool is_redirected(struct session *s, const struct feed *f, const char *reply, size_t length)
{
    struct redirect what;
    struct bytes host;

    redirect_parse(reply + 1, length - 3, &what);
    if (what.action == REDIRECT_NONE)
        return false;
    if (what.action == REDIRECT_MOVED) {
        host = what.host.length > 0 ? what.host : text(f->link->host);
        if (!link_is(f->link, host.data, host.length, what.port))
            cluster_moved(s->cluster, what.slot, host, what.port);
    }
    cluster_suspect(s->cluster);
    return true;
}

static void on_refusal(struct session *s, struct feed *f, const char *reply, size_t length)
{
    uint64_t first = f->answered + 1, last = f->answered + feed_answered(f, true);
    bool redirected = is_redirected(s, f, reply, length), fresh = false;
    struct topic *topic = NULL;
    const struct place *p;

    while ((topic = topics_next(&s->feeds->topics, topic)) != NULL) {
        p = topic_place(topic, f);
        if (p == NULL || p->number < first || p->number > last)
            continue;
        topic_leave(topic, f);
        fresh |= topic->fresh;
    }
    s->feeds->unsettled = true;
    if (redirected)
        session_adopt(s);
    else if (fresh)
        feeds_fail(s, reply, length);
    else
        log_write(LOG_WARNING, "%s refuses a subscription: %.*s", f->link->name, (int)length - 3,
                  reply + 1);
    /* Again at the next look, and not at once: the server has just said no. */
    s->feeds->tick_ms = clock_earlier(s->feeds->tick_ms, session_now(s) + SUBSCRIBE_RETRY_MS);
}

void subscribe_received(struct session *s, struct feed *f, const char *reply, size_t length,
                        uint64_t position)
{
    const struct topics *t = &s->feeds->topics;
    struct bytes said[SAID_MAX];
    int n;

    if (reply[0] == '-') {
        on_refusal(s, f, reply, length);
        return;
    }
    n = read_said(reply, length, said);
    if (n == 3 && same(said[0], "message"))
        deliver(s, f, topics_find(t, TOPIC_CHANNEL, said[1]), said[1], length, position);
    else if (n == 4 && same(said[0], "pmessage"))
        deliver(s, f, topics_find(t, TOPIC_PATTERN, said[1]), said[2], length, position);
    else if (n == 3 && same(said[0], "smessage"))
        deliver(s, f, topics_find(t, TOPIC_SHARD_CHANNEL, said[1]), said[1], length, position);
    else if (n == 3 && !(same(said[0], "sunsubscribe") && is_evicted(s, f, said)))
        on_answer(s, f);
}

/* --- planning --- */

static bool in_one_slot(const struct session *s)
{
    const struct bytes *names = s->argv.words + 1;

    for (int i = 1; i < s->argv.count - 1; i++)
        if (slot_of_key(names[i].data, names[i].length) !=
            slot_of_key(names[0].data, names[0].length))
            return false;
    return true;
}

static bool make_fresh(struct session *s, enum topic_kind kind, struct bytes name)
{
    struct feeds *fs = s->feeds;
    struct topic *topic = topics_add(&fs->topics, kind, name);

    if (topic == NULL)
        return false;
    topic->fresh = true;
    if (s->front != NULL && kind == TOPIC_SHARD_CHANNEL)
        topic->slot = front_upstreams(s)->own;
    fs->fresh[fs->fresh_count++] = topic;
    return true;
}

/* Puts the names that are new among the topics, and prepares the answer. False: out of memory. */
static bool add_topics(struct session *s, enum topic_kind kind)
{
    struct feeds *fs = s->feeds;
    struct topic **fresh =
        realloc(fs->fresh, (size_t)s->argv.count * sizeof(struct topic *));

    if (fresh == NULL)
        return false;
    fs->fresh = fresh;
    for (int i = 1; i < s->argv.count; i++) {
        const struct bytes *name = &s->argv.words[i];

        if (topics_find(&fs->topics, kind, *name) == NULL && !make_fresh(s, kind, *name))
            return false;
        if (!append_answer(s, &fs->asked_reply, words_of[kind].subscribe, kind, name))
            return false;
    }
    return true;
}

void plan_subscribe(struct session *s, const struct line *line)
{
    struct feeds *fs = feeds_of(s);
    enum topic_kind kind = kind_of(line->command);

    if (fs == NULL)
        return;
    if (s->argv.count < 2) {
        plan_whole(s, line, SLOT_NONE); /* the server says what is wrong with it */
        return;
    }
    if (kind == TOPIC_SHARD_CHANNEL && !in_one_slot(s)) {
        plan_answer(s, line, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
        return;
    }
    fs->asked = order_issue(s, line->command);
    if (fs->asked == NULL)
        return;
    fs->asked_ms = session_now(s);
    if (!add_topics(s, kind)) {
        session_end(s, ENOMEM);
        return;
    }
    subscribe_guard(s);
    if (fs->fresh_count == 0)
        feeds_complete(s);
    else
        feeds_settle(s);
}

static bool unsubscribe(struct session *s, struct topic *topic, struct buffer *reply)
{
    enum topic_kind kind = topic->kind;
    struct bytes name = name_of(topic);
    char *copy = malloc(name.length + 1); /* the topic's goes with it */
    bool ok = copy != NULL;

    for (uint32_t i = 0; ok && i < topic->place_count; i++)
        ok = feed_ask(s, topic->places[i].feed, words_of[kind].unsubscribe, &name, 1);
    if (ok) {
        memcpy(copy, name.data, name.length);
        name.data = copy;
        topics_remove(&s->feeds->topics, topic);
        ok = append_answer(s, reply, words_of[kind].unsubscribe, kind, &name);
    }
    free(copy);
    return ok;
}

static struct topic *any_of_kind(const struct topics *t, enum topic_kind kind)
{
    struct topic *topic = NULL;

    while ((topic = topics_next(t, topic)) != NULL && topic->kind != kind)
        ;
    return topic;
}

static bool unsubscribe_all(struct session *s, enum topic_kind kind, struct buffer *reply)
{
    struct topic *topic = any_of_kind(&s->feeds->topics, kind), *next;

    if (topic == NULL)
        return append_answer(s, reply, words_of[kind].unsubscribe, kind, NULL);
    for (; topic != NULL; topic = next) {
        next = topic;
        while ((next = topics_next(&s->feeds->topics, next)) != NULL && next->kind != kind)
            ;
        if (!unsubscribe(s, topic, reply))
            return false;
    }
    return true;
}

static bool unsubscribe_named(struct session *s, enum topic_kind kind, struct buffer *reply)
{
    for (int i = 1; i < s->argv.count; i++) {
        const struct bytes *name = &s->argv.words[i];
        struct topic *topic = topics_find(&s->feeds->topics, kind, *name);
        bool ok = topic != NULL
                      ? unsubscribe(s, topic, reply)
                      : append_answer(s, reply, words_of[kind].unsubscribe, kind, name);

        if (!ok)
            return false;
    }
    return true;
}

/* The session's word is enough: what a server still says of the topic finds nobody. */
void plan_unsubscribe(struct session *s, const struct line *line)
{
    enum topic_kind kind = kind_of(line->command);
    struct buffer reply = {0};
    struct request *r = feeds_of(s) ? order_issue(s, line->command) : NULL;
    bool ok;

    if (r == NULL)
        return;
    ok = s->argv.count > 1 ? unsubscribe_named(s, kind, &reply) : unsubscribe_all(s, kind, &reply);
    if (!ok) {
        buffer_deinit(&reply);
        session_end(s, ENOMEM);
        return;
    }
    subscribe_guard(s);
    order_complete_with(s, r, reply.data, buffer_length(&reply));
}
