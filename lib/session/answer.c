/* A reply that arrived: whose it is, whether it redirects, and what becomes of it. */
#include "session/reads.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/resp.h"
#include "route/redirect.h"
#include "session/blocked.h"
#include "session/scan.h"
#include "session/script.h"
#include "session/transaction.h"

/* Every client bounds this; two nodes that disagree during a failover settle well before. */
enum { REDIRECTS_MAX = 16, REDIRECTS_WITHOUT_PAUSE = 5 };

static struct fanout_part *fanout_part_of(struct fanout *f, struct part *part)
{
    for (uint32_t i = 0; i < f->count; i++)
        if (&f->parts[i].part == part)
            return &f->parts[i];
    return NULL;
}

static void merge(struct session *s, struct request *r)
{
    struct fanout *f = r->fanout;
    struct merge_part *parts;
    struct buffer out;
    bool ok;

    if (f->merge == MERGE_SCAN) {
        scan_answered(s, r);
        return;
    }
    parts = calloc(f->count, sizeof *parts);
    ok = parts != NULL;

    buffer_init(&out);
    for (uint32_t i = 0; ok && i < f->count; i++) {
        parts[i].reply = (struct bytes){f->parts[i].reply, f->parts[i].reply_length};
        parts[i].server = f->parts[i].server;
        if (f->split.count > 0) {
            parts[i].count = f->split.groups[i].count;
            parts[i].positions = f->split.groups[i].positions;
        }
    }
    ok = ok && merge_replies(f->merge, parts, f->count, &out);
    free(parts);
    if (ok)
        order_complete_with(s, r, out.data, buffer_length(&out));
    else
        session_end(s, ENOMEM);
}

static void complete_fanout_part(struct session *s, struct part *part, const struct link *link,
                                 const char *reply, size_t length)
{
    struct request *r = part->request;
    struct fanout_part *p = fanout_part_of(r->fanout, part);

    p->reply = malloc(length);
    if (p->reply == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    memcpy(p->reply, reply, length);
    p->reply_length = length;
    p->server = link != NULL ? link->name : NULL;
    if (--r->fanout->pending == 0)
        merge(s, r);
}

/* What the session itself learns from a reply that is on its way to the application. */
static void take_note(struct session *s, const struct part *part, struct link *link,
                      const char *reply)
{
    const struct request *r = part->request;

    if (r->fanout != NULL)
        reply = r->done ? r->reply : "-";
    if (r->kind == REQUEST_STATE && reply[0] != '-')
        greet_remember(s, part->request, part->bytes, part->length);
    if (link != NULL && link->knocked) {
        /* It let us in with what was just said, and knows nothing else of us. */
        link->must_close = true;
        link->error = 0;
        session_touch(s, link);
    }
    if (part->request->kind == REQUEST_WATCH && reply[0] == '+')
        transaction_watched(s, part, link);
}

void answer_complete(struct session *s, struct part *part, struct link *link, const char *reply,
                     size_t length, uint64_t position)
{
    struct request *r = part->request;

    if (r->kind >= REQUEST_OPENING) {
        transaction_complete(s, part, reply, length);
        return;
    }
    part->state = PART_ANSWERED;
    if (part->writes | part->away)
        reads_answered(s, part);
    if (part->troubled)
        trouble_answered(s, part);
    if (r->fanout != NULL)
        complete_fanout_part(s, part, link, reply, length);
    else if (link == NULL || part->out_of_order)
        order_complete(s, r, reply, length);
    else
        order_complete_in_place(s, r, link, position, length);
    if (r->kind != REQUEST_ORDINARY && s->state != SESSION_ENDED)
        take_note(s, part, link, reply);
    if (part->untracked)
        client_forget(s, link);
}

void answer_fail(struct session *s, struct part *part, const char *format, ...)
{
    char text[512] = "-";
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text + 1, sizeof text - 3, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof text - 4)
        length = (int)sizeof text - 4;
    if (s->settings.cluster_name != NULL && length < (int)sizeof text / 2)
        length += snprintf(text + 1 + length, sizeof text / 2, " (cluster %.100s)",
                           s->settings.cluster_name);
    memcpy(text + 1 + length, "\r\n", 2);
    answer_complete(s, part, NULL, text, (size_t)length + 3, 0);
}

/* What a redirect handler is given. */
struct redirected {
    struct link *link;
    struct part *part;
    struct redirect what;
    const char *reply;
    size_t length;
};

/* Back into the queue of its slot. A part without a slot just goes to another node. */
static void again(struct session *s, struct part *part, bool pause)
{
    struct trouble *t;

    stats_add(STATS_RETRIES, 1);
    if (pause)
        stats_add(STATS_WAITS, 1);
    trouble_left(s, part);
    if (part->request == s->barrier && session_is_blocked(s))
        blocked_shorten(s, part);
    if (part->slot == SLOT_NONE && !pause) {
        part->out_of_order = true;
        dispatch_part(s, part, part->bytes, part->length);
        return;
    }
    if (part->slot == SLOT_NONE)
        part->slot = dispatch_any_slot(s);
    t = trouble_open(s, part->slot);
    if (t == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    if (pause)
        trouble_delay(s, t);
    trouble_hold(s, t, part);
    trouble_release(s, t);
}

static bool on_moved(struct session *s, struct redirected *r)
{
    struct bytes host = r->what.host;
    bool same;

    if (host.length == 0)
        host = (struct bytes){r->link->host, strlen(r->link->host)};
    same = link_is(r->link, host.data, host.length, r->what.port);
    session_raise(s, EVENT_REDIRECTED, "slot %u: %s says MOVED to %.*s:%u", r->what.slot,
                  r->link->name, (int)host.length, host.data, r->what.port);
    r->part->target = NULL;
    r->part->slot = r->what.slot;
    cluster_redirected(s->cluster, session_now(s));
    if (same) {
        /* The node behind this address is another than the one that the cluster means. */
        r->link->must_close = r->link->sent.head == NULL;
        session_touch(s, r->link);
    } else {
        cluster_moved(s->cluster, r->what.slot, host, r->what.port);
        session_adopt(s);
    }
    again(s, r->part, same || r->part->redirects > REDIRECTS_WITHOUT_PAUSE);
    return true;
}

static bool on_ask(struct session *s, struct redirected *r)
{
    struct bytes host = r->what.host;

    if (host.length == 0)
        host = (struct bytes){r->link->host, strlen(r->link->host)};
    session_raise(s, EVENT_REDIRECTED, "slot %u: %s says ASK %.*s:%u", r->what.slot, r->link->name,
                  (int)host.length, host.data, r->what.port);
    r->part->slot = r->what.slot;
    r->part->target = dispatch_link_to(s, host.data, host.length, r->what.port);
    r->part->asking = true;
    cluster_migrating(s->cluster, r->what.slot, true);
    session_adopt(s);
    if (r->part->target == NULL)
        session_end(s, ENOMEM);
    else
        again(s, r->part, r->part->redirects > REDIRECTS_WITHOUT_PAUSE);
    return true;
}

/* Waits with a growing pause, as long as a failover may take; then the server's
 * own error is the answer. */
static bool on_wait(struct session *s, struct redirected *r)
{
    int64_t now = session_now(s);

    if (r->part->wait_since == 0)
        r->part->wait_since = now;
    if (now - r->part->wait_since >= s->settings.failover_timeout_ms)
        return false;
    cluster_suspect(s->cluster);
    r->part->target = NULL;
    r->part->asking = false;
    r->part->redirects = 0;
    again(s, r->part, true);
    return true;
}

static bool on_tryagain(struct session *s, struct redirected *r)
{
    if (r->part->slot != SLOT_NONE) {
        cluster_migrating(s->cluster, r->part->slot, true);
        session_adopt(s);
    }
    return on_wait(s, r);
}

/* No node owns the slot. When the snapshot knows that already it is the truth and
 * the answer; when not, the snapshot is old: a node is asked again after a refresh. */
static bool on_unbound(struct session *s, struct redirected *r)
{
    cluster_suspect(s->cluster);
    if (r->part->slot == SLOT_NONE || s->topology->owner[r->part->slot] == NODE_NONE)
        return false;
    return on_wait(s, r);
}

static bool on_noscript(struct session *s, struct redirected *r)
{
    if (!script_repair(s, r->part))
        return false;
    r->part->asking = r->part->target != NULL;
    again(s, r->part, false);
    return true;
}

_Static_assert((int)STATS_NOSCRIPT - (int)STATS_MOVED ==
                   (int)REDIRECT_NOSCRIPT - (int)REDIRECT_MOVED,
               "every redirection has a counter");

typedef bool redirect_handler(struct session *, struct redirected *);

/* False: the reply is the answer after all. */
static redirect_handler *const handler_of[] = {
    [REDIRECT_NONE] = NULL,         [REDIRECT_MOVED] = on_moved,
    [REDIRECT_ASK] = on_ask,        [REDIRECT_TRYAGAIN] = on_tryagain,
    [REDIRECT_CLUSTERDOWN] = on_wait, [REDIRECT_UNBOUND] = on_unbound,
    [REDIRECT_LOADING] = on_wait,   [REDIRECT_MASTERDOWN] = on_wait,
    [REDIRECT_READONLY] = on_wait,  [REDIRECT_UNBLOCKED] = on_wait,
    [REDIRECT_NOSCRIPT] = on_noscript,
};

/* Until the part is in its place in the queue of its slot, what is held there stays: the handler
 * may take a newer snapshot first, and that releases. */
static void keep_place(struct session *s, const struct redirected *r)
{
    struct trouble *t = r->part->slot == r->what.slot || r->what.slot == SLOT_NONE
                            ? trouble_find(s, r->part->slot)
                            : NULL;

    if (t != NULL)
        trouble_count(t, r->part);
}

/* The part has its own bytes and is off the link. True: it is on its way again. */
static bool redirected(struct session *s, struct redirected *r)
{
    if (s->front != NULL)
        return false; /* what an inner session answers is the answer */
    if (r->what.action != REDIRECT_NONE)
        stats_add(STATS_MOVED + (r->what.action - REDIRECT_MOVED), 1);
    if (s->settings.no_redirection &&
        (r->what.action == REDIRECT_MOVED || r->what.action == REDIRECT_ASK)) {
        cluster_suspect(s->cluster);
        return false;
    }
    if (r->part->away && reads_refused(s, r->part, r->link, &r->what))
        return true;
    if (handler_of[r->what.action] == NULL || s->topology == NULL)
        return false;
    if (r->part->impatient)
        return false;
    if (++r->part->redirects > REDIRECTS_MAX) {
        answer_fail(s, r->part, "CLUSTERDOWN redisroute: more than %d redirections, the last: %.*s",
                    REDIRECTS_MAX, (int)(r->length - 3), r->reply + 1);
        return true;
    }
    keep_place(s, r);
    return handler_of[r->what.action](s, r);
}

bool answer_redirect(struct session *s, struct link *link, struct part *part, const char *reply,
                     size_t length)
{
    struct redirected r = {.link = link, .part = part, .reply = reply, .length = length};

    redirect_parse(reply + 1, length - 3, &r.what);
    return redirected(s, &r);
}

static void on_error(struct session *s, struct link *link, struct bytes text, const char *reply,
                     size_t length, uint64_t position)
{
    struct redirected r = {.link = link, .part = link->sent.head, .reply = reply, .length = length};

    redirect_parse(text.data, text.length, &r.what);
    if (!link_detach(link, r.part)) {
        session_end(s, ENOMEM);
        return;
    }
    link_answered(link);
    if (!redirected(s, &r))
        answer_complete(s, r.part, link, reply, length, position);
}

/* RESP3 has errors of any length, and attributes before a reply. */
static bool is_error(const char *reply, size_t length, struct bytes *text)
{
    struct resp_item item;
    size_t used;

    if (reply[0] == '-')
        *text = (struct bytes){reply + 1, length - 3};
    else if ((reply[0] == '!' || reply[0] == '|') && resp_read_value(reply, length, &item, &used) &&
             resp_is_error(&item))
        *text = item.text;
    else
        return false;
    return true;
}

/* The server answers a command that it cannot have read, as when it turns a client away
 * or a request down whose length it does not like. Its error is the answer; but what it
 * says from here on is nobody's. */
static void answered_unheard(struct session *s, struct link *link, const char *reply, size_t length)
{
    struct part *part = link->sent.head;

    link->must_close = true;
    link->error = EPROTO;
    session_touch(s, link);
    if (reply[0] != '-')
        return;
    if (!link_detach(link, part)) {
        session_end(s, ENOMEM);
        return;
    }
    link_answered(link);
    part->out_of_order = true;
    answer_complete(s, part, link, reply, length, 0);
}

/* All of its request, never in trouble, and nothing is learned from its reply. */
static inline bool is_simple(const struct session *s, const struct part *part)
{
    const struct request *r = part->request;

    return part->skip == 0 && !part->troubled && !part->out_of_order && r->fanout == NULL &&
           r->kind == REQUEST_ORDINARY && (s->reads == NULL || !(part->writes || part->away));
}

void answer_run(struct session *s, struct link *link)
{
    uint64_t end = link->in_base + buffer_length(&link->in), answered = 0;
    uint32_t count = 0;
    struct part *part;
    size_t length;

    if (link->frame.needed != 0)
        return;
    while ((part = link->sent.head) != NULL && is_simple(s, part) &&
           part->at + part->length <= link->out_flushed &&
           (length = frame_quick(link_reply(link, link->in_scanned),
                                 (size_t)(end - link->in_scanned))) > 0) {
        link->sent.head = part->next;
        part->state = PART_ANSWERED;
        answered = part->at + part->length;
        count++;
        order_complete_in_place(s, part->request, link, link->in_scanned, length);
        link->in_scanned += length;
    }
    if (count > 0)
        link_answered_up_to(link, answered, count);
}

void answer_reply(struct session *s, struct link *link, const char *reply, size_t length,
                  uint64_t position)
{
    struct part *part = link->sent.head;
    struct bytes text;

    if (part->skip > 0) {
        part->skip--;
        part->untracked |= reply[0] == '-' && part->caching == PART_CACHED;
        return;
    }
    if (part->at + part->length > link->out_flushed) {
        answered_unheard(s, link, reply, length);
        return;
    }
    if (part->request->kind >= REQUEST_OPENING) {
        transaction_reply(s, link, reply, length, position);
        return;
    }
    if (is_error(reply, length, &text)) {
        on_error(s, link, text, reply, length, position);
        return;
    }
    if (part->request->kind != REQUEST_ORDINARY && !link_detach(link, part)) {
        session_end(s, ENOMEM);
        return;
    }
    link_answered(link);
    answer_complete(s, part, link, reply, length, position);
}
