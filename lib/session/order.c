/* The order of issue: requests are appended at the tail and delivered from the head. */
#include "session/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLAB_REQUESTS = 16 };

struct slab {
    struct slab *next;
    struct request requests[SLAB_REQUESTS];
};

static bool add_slab(struct session *s)
{
    struct slab *slab = malloc(sizeof *slab);

    if (slab == NULL)
        return false;
    slab->next = s->slabs;
    s->slabs = slab;
    for (int i = 0; i < SLAB_REQUESTS; i++) {
        slab->requests[i].next = s->spare;
        s->spare = &slab->requests[i];
    }
    return true;
}

/* By a few stores of two words each. What compilers make of an assignment is a string instruction,
 * which takes its time to begin, or a call. */
static inline void clear(struct request *r)
{
    typedef uint64_t pair __attribute__((vector_size(16), aligned(8), may_alias));
    enum { PAIRS = sizeof *r / sizeof(pair), REST = sizeof *r % sizeof(pair) };
    pair *at = (pair *)(void *)r;

#pragma GCC unroll 16
    for (size_t i = 0; i < PAIRS; i++)
        at[i] = (pair){0};
    memset(at + PAIRS, 0, REST);
}

static void apply_guards(const struct session *s, struct request *r)
{
    r->mute = (s->guards & (GUARD_SILENT | GUARD_SKIP)) != 0;
    if ((s->guards & GUARD_CACHING) != 0)
        r->part.caching = s->caches ? PART_CACHED : PART_UNCACHED;
}

static inline struct request *take_spare(struct session *s, const struct command *command)
{
    struct request *r = s->spare;

    if (r == NULL) {
        if (!add_slab(s)) {
            session_end(s, ENOMEM);
            return NULL;
        }
        r = s->spare;
    }
    s->spare = r->next;
    clear(r);
    r->command = command;
    r->issued = stats_issue();
    r->part.request = r;
    r->part.sequence = s->sequence++;
    r->part.slot = SLOT_NONE;
    if (s->guards != 0)
        apply_guards(s, r);
    s->unanswered++;
    return r;
}

static void append(struct session *s, struct request *r)
{
    if (s->order_head == NULL)
        s->order_head = r;
    else
        s->order_tail->next = r;
    s->order_tail = r;
}

struct request *order_issue(struct session *s, const struct command *command)
{
    struct request *r = take_spare(s, command);

    if (r != NULL)
        append(s, r);
    return r;
}

static bool heard_from(const struct request *r, const struct link *link)
{
    if (r->fanout == NULL)
        return r->part.state == PART_ANSWERED && r->part.link == link;
    for (uint32_t i = 0; i < r->fanout->count; i++) {
        const struct part *part = &r->fanout->parts[i].part;

        if (part->state == PART_ANSWERED && part->link == link)
            return true;
    }
    return false;
}

/* Behind all requests at the head that are done, and all that were answered over `link`. */
static struct request **place_behind(struct session *s, const struct link *link)
{
    struct request **place = &s->order_head;

    while (*place != NULL && (*place)->done)
        place = &(*place)->next;
    for (struct request **at = place; link != NULL && *at != NULL; at = &(*at)->next)
        if (heard_from(*at, link))
            place = &(*at)->next;
    return place;
}

/* A request that is not the application's. `link` NULL: behind what is done. */
static struct request *insert(struct session *s, const struct link *link)
{
    bool all_done = s->unanswered == 0;
    struct request *r = take_spare(s, NULL), **at;

    if (r == NULL)
        return NULL;
    r->mute = false;
    r->issued = 0;
    at = all_done ? NULL : place_behind(s, link);
    if (at == NULL || *at == NULL) {
        append(s, r);
    } else {
        r->next = *at;
        *at = r;
    }
    return r;
}

static const char *reply_bytes(const struct request *r)
{
    return r->in_link != NULL ? link_reply(r->in_link, r->in_position) : r->reply;
}

/* The first time for this command; and every time where reading the clock takes a call. */
__attribute__((noinline)) void order_count_slowly(struct session *s, const struct command *c,
                                                  uint64_t issued, uint64_t how_many, bool success)
{
    struct stats_upstream *upstream = s->cluster != NULL ? cluster_stats(s->cluster) : NULL;
    unsigned row = c != NULL ? c->number : 0;
    struct stats_command *stats;

    if (upstream == NULL)
        return;
    if (ticks_counted)
        s->stats = upstream;
    stats = stats_command(upstream, row, row != 0 ? c->name : "unknown");
    if (stats != NULL)
        stats_answered(stats, issued, ticks_now(), how_many, success);
}

static __attribute__((noinline)) void count_answered(struct session *s, const struct request *r)
{
    char first = reply_bytes(r)[0];
    bool success = first != '-' && first != '!';

    if (s->front != NULL || r->kind == REQUEST_OPENING || r->kind == REQUEST_LEAVING)
        return;
    if (r->command == NULL)
        order_count_slowly(s, NULL, r->issued, 1, success);
    else
        order_count(s, r->command, r->issued, 1, success);
}

static void answered(struct session *s, struct request *r)
{
    if (__builtin_expect(r->issued != 0, 0))
        count_answered(s, r);
    r->done = true;
    s->unanswered--;
    if (r == s->barrier)
        s->barrier = NULL;
}

void order_complete_with(struct session *s, struct request *r, char *reply, size_t length)
{
    r->reply = reply;
    r->reply_length = length;
    answered(s, r);
}

void order_complete(struct session *s, struct request *r, const char *reply, size_t length)
{
    char *copy = malloc(length + 1);

    if (copy == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    memcpy(copy, reply, length);
    order_complete_with(s, r, copy, length);
}

void order_complete_in_place(struct session *s, struct request *r, struct link *link,
                             uint64_t position, size_t length)
{
    r->in_link = link;
    r->in_position = position;
    r->reply_length = length;
    link->in_place++;
    answered(s, r);
}

void order_push(struct session *s, struct link *link, uint64_t position, size_t length)
{
    struct request *r = insert(s, NULL);

    if (r != NULL)
        order_complete_in_place(s, r, link, position, length);
}

void order_push_behind(struct session *s, const struct link *link, const char *bytes, size_t length)
{
    struct request *r = insert(s, link);

    if (r == NULL)
        return;
    r->part.state = PART_ANSWERED; /* the next one comes behind this one */
    r->part.link = (struct link *)(uintptr_t)link;
    order_complete(s, r, bytes, length);
}

void order_complete_error(struct session *s, struct request *r, const char *format, ...)
{
    char text[512];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof text - 2, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof text - 3)
        length = (int)sizeof text - 3;
    memcpy(text + length, "\r\n", 2);
    order_complete(s, r, text, (size_t)length + 2);
}

static void free_fanout(struct fanout *f)
{
    if (f == NULL)
        return;
    for (uint32_t i = 0; i < f->count; i++) {
        free(f->parts[i].reply);
        free(f->parts[i].part.bytes);
    }
    split_deinit(&f->split);
    free(f);
}

static void release(struct session *s, struct request *r)
{
    free(r->reply);
    free(r->part.bytes);
    free_fanout(r->fanout);
    r->next = s->spare;
    s->spare = r;
}

/* With nothing issued all requests are spare: all slabs but one go. */
static void drained(struct session *s)
{
    struct slab *slab = s->slabs->next;

    if (slab == NULL)
        return;
    s->slabs->next = NULL;
    while (slab != NULL) {
        struct slab *next = slab->next;

        free(slab);
        slab = next;
    }
    s->spare = NULL;
    for (int i = 0; i < SLAB_REQUESTS; i++) {
        s->slabs->requests[i].next = s->spare;
        s->spare = &s->slabs->requests[i];
    }
}

static void deliver_head(struct session *s)
{
    struct request *r = s->order_head;

    if (r->in_link != NULL) {
        r->in_link->in_place--;
        link_release(r->in_link, r->in_link->in_place ? r->in_position + r->reply_length
                                                      : r->in_link->in_scanned);
    }
    s->order_head = r->next;
    s->delivered = 0;
    release(s, r);
    if (s->order_head == NULL)
        drained(s);
}

bool order_leave(struct session *s)
{
    for (struct request *r = s->order_head; r != NULL; r = r->next) {
        r->part.link = NULL;
        if (r->in_link == NULL)
            continue;
        r->reply = malloc(r->reply_length);
        if (r->reply == NULL)
            return false;
        memcpy(r->reply, reply_bytes(r), r->reply_length);
        r->in_link->in_place--;
        r->in_link = NULL;
    }
    return true;
}

void order_purge(struct session *s)
{
    while (s->order_head != NULL && s->order_head->mute && s->order_head->done)
        deliver_head(s);
}

/* Replies to what was said before the pipe was one (AUTH) come first. */
static bool is_pipe(const struct session *s)
{
    return (s->state == SESSION_PLAIN || s->ended_plain) && s->order_head == NULL;
}

size_t session_take(struct session *s, char *to, size_t size)
{
    size_t taken = 0, n;

    if (is_pipe(s))
        return discover_take_plain(s, to, size);
    while (taken < size && s->order_head != NULL && s->order_head->done) {
        struct request *r = s->order_head;
        size_t left;

        if (r->mute) {
            deliver_head(s);
            continue;
        }
        left = r->reply_length - s->delivered;
        n = size - taken < left ? size - taken : left;

        memcpy(to + taken, reply_bytes(r) + s->delivered, n);
        taken += n;
        s->delivered += n;
        if (n < left)
            break;
        deliver_head(s);
    }
    return taken;
}

bool session_deliverable(const struct session *s)
{
    const struct request *r;

    if (is_pipe(s))
        return buffer_length(&s->home->in) > 0 && s->home->greetings == 0;
    for (r = s->order_head; r != NULL && r->done && r->mute;)
        r = r->next;
    return r != NULL && r->done;
}

struct link *session_next_answer(const struct session *s)
{
    const struct request *r = s->order_head;

    return r != NULL && !r->done && r->fanout == NULL && r->part.state == PART_SENT ? r->part.link
                                                                                    : NULL;
}

void order_destroy(struct session *s)
{
    while (s->order_head != NULL) {
        struct request *r = s->order_head;

        s->order_head = r->next;
        release(s, r);
    }
    while (s->slabs != NULL) {
        struct slab *next = s->slabs->next;

        free(s->slabs);
        s->slabs = next;
    }
}
