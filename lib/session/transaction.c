#include "session/transaction.h"

#include <errno.h>
#include <stdlib.h>

#include "route/redirect.h"
#include "route/slot.h"
#include "session/copy.h"
#include "session/front.h"
#include "session/lookup.h"
#include "session/reads.h"
#include "session/script.h"

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n";
static const char exec[] = "*1\r\n$4\r\nEXEC\r\n";
static const char discard[] = "*1\r\n$7\r\nDISCARD\r\n";
static const char unwatch[] = "*1\r\n$7\r\nUNWATCH\r\n";

/* The server's own words. */
static const char ok[] = "+OK\r\n";
static const char queued[] = "+QUEUED\r\n";
static const char aborted[] = "-EXECABORT Transaction discarded because of previous errors.\r\n";
static const char malformed[] = "-EXECABORT Transaction discarded because of: "
                                "wrong number of arguments for 'exec' command\r\n";
static const char crossslot[] = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
static const char nested[] = "-ERR MULTI calls can not be nested\r\n";
static const char watch_inside[] = "-ERR WATCH inside MULTI is not allowed\r\n";
static const char exec_without[] = "-ERR EXEC without MULTI\r\n";
static const char discard_without[] = "-ERR DISCARD without MULTI\r\n";

/* What WATCH left at a server. */
struct guard {
    bool set;
    bool lost;         /* changes could not be seen for a while: EXEC is a nil */
    bool asking;       /* the keys were behind an ASK */
    uint16_t slot;
    struct link *link; /* NULL: its connection is gone */
};

struct transaction {
    struct guard guard;

    struct link *link; /* where it is open; NULL: nowhere, or that is not known yet */
    uint16_t slot;     /* of its keys; SLOT_NONE: no command had one yet */
    bool doomed;       /* the application was told an error: EXEC is an EXECABORT */
    bool malformed;    /* EXEC had arguments, which ends a transaction too */
    bool only_reads;
    uint8_t caching;   /* enum part_caching: what was said before MULTI is about all of it */
    bool proven;       /* a server of this cluster took a MULTI: what follows need not wait for it */
    struct buffer log; /* the commands that a server has queued, one behind the other */
    uint32_t logged;

    struct part_queue pending; /* not answered and on no link, in the order of issue */
    uint32_t in_flight;        /* on `link`, besides the opening */

    bool is_opening;
    uint32_t opening_replies; /* still to come */
    bool over;         /* EXEC or DISCARD was said: the server knows of no MULTI behind it */
    bool spared;       /* … and it was a DISCARD that was said for EXEC */
    bool unknown;      /* EXEC was lost, and may have run */

    char *refusal; /* the error that a server refused all of it with; NULL: none did */
    size_t refusal_length;
    struct link *refused_by;
    bool final; /* it is no redirect */

    bool is_leaving;
    struct request opening;
    struct request leaving;
};

static struct transaction *transaction_of(struct session *s)
{
    if (s->transaction == NULL) {
        s->transaction = calloc(1, sizeof *s->transaction);
        if (s->transaction == NULL)
            session_end(s, ENOMEM);
        else
            s->transaction->slot = SLOT_NONE;
    }
    return s->transaction;
}

void transaction_destroy(struct session *s)
{
    struct transaction *t = s->transaction;

    if (t == NULL)
        return;
    buffer_deinit(&t->log);
    free(t->refusal);
    free(t->opening.part.bytes);
    free(t->leaving.part.bytes);
    free(t);
    s->transaction = NULL;
}

bool session_holds(const struct session *s, const struct link *link)
{
    const struct transaction *t = s->transaction;

    return t != NULL && (t->link == link || t->guard.link == link);
}

bool transaction_is_guarded(const struct session *s)
{
    return s->transaction != NULL && s->transaction->guard.set;
}

bool session_transaction_waits(const struct session *s)
{
    return s->transaction != NULL && s->transaction->pending.head != NULL;
}

/* In the order of issue: what comes back stands before what was issued meanwhile. */
static void hold(struct transaction *t, struct part *part)
{
    struct part **at = &t->pending.head;

    if (*at == NULL || t->pending.tail->sequence < part->sequence) {
        part_push(&t->pending, part);
        return;
    }
    while ((*at)->sequence < part->sequence)
        at = &(*at)->next;
    part->next = *at;
    *at = part;
}

/* --- replies that are made here --- */

static void complete(struct session *s, struct request *r, const char *reply, size_t length)
{
    r->part.state = PART_ANSWERED;
    order_complete(s, r, reply, length);
}

static void complete_text(struct session *s, struct request *r, const char *reply)
{
    complete(s, r, reply, strlen(reply));
}

static void answer_here(struct session *s, const struct command *c, const char *reply)
{
    struct request *r = order_issue(s, c);

    if (r != NULL)
        complete_text(s, r, reply);
}

/* What EXEC is answered whatever a server would say; NULL: what the server says. */
static const char *verdict(const struct session *s)
{
    const struct transaction *t = s->transaction;

    if (t->malformed)
        return malformed;
    if (t->doomed)
        return aborted;
    if (t->guard.set && t->guard.lost)
        return greet_protocol(s) == 3 ? "_\r\n" : "*-1\r\n";
    return NULL;
}

/* --- the end --- */

/* Said at a server that is left, which knows nothing else of this transaction. */
static void leave(struct session *s, struct link *link, const char *bytes)
{
    struct transaction *t = s->transaction;

    if (link == NULL || link->state != LINK_UP)
        return;
    session_touch(s, link);
    if (t->is_leaving) {
        link->must_close = true; /* which says the same, at the price of a connection */
        return;
    }
    free(t->leaving.part.bytes);
    t->leaving = (struct request){.kind = REQUEST_LEAVING,
                                  .part = {.request = &t->leaving, .slot = SLOT_NONE,
                                           .sequence = s->sequence++, .repeatable = true}};
    t->is_leaving = true;
    if (!link_send(link, &t->leaving.part, bytes, strlen(bytes)))
        session_end(s, ENOMEM);
}

static void forget_refusal(struct transaction *t)
{
    free(t->refusal);
    t->refusal = NULL;
    t->refused_by = NULL;
    t->final = false;
}

static void forget_guard(struct transaction *t)
{
    t->guard = (struct guard){.slot = SLOT_NONE};
}

static void progressed(struct transaction *t)
{
    t->opening.part.wait_since = 0;
    t->opening.part.redirects = 0;
}

/* EXEC or DISCARD was answered; by the server on `link`, unless that is NULL. */
static void finish(struct session *s, const struct link *link)
{
    struct transaction *t = s->transaction;

    for (struct part *part; (part = part_pop(&t->pending)) != NULL;)
        complete_text(s, part->request,
                      "-UNREACHABLE redisroute: refused by a server that ran the transaction\r\n");
    if (t->guard.link != link)
        leave(s, t->guard.link, unwatch);
    copy_transaction_ended(s, NULL);
    forget_guard(t);
    forget_refusal(t);
    progressed(t);
    buffer_deinit(&t->log);
    t->logged = 0;
    if (s->reads != NULL && !t->only_reads && link != NULL)
        reads_wrote(s, NULL, t->slot);
    t->link = NULL;
    t->slot = SLOT_NONE;
    t->doomed = t->malformed = t->over = t->spared = t->unknown = false;
    t->caching = PART_AS_TRACKED;
    if (s->state == SESSION_TRANSACTING)
        s->state = SESSION_ROUTING;
}

/* Nothing can open it: what waits is answered with that error, the rest will be aborted. */
static void fail_pending(struct session *s, const char *reply, size_t length)
{
    struct transaction *t = s->transaction;
    bool told = t->doomed, over = false;
    struct part *part;

    t->link = NULL;
    t->doomed = true;
    progressed(t);
    forget_refusal(t);
    while ((part = part_pop(&t->pending)) != NULL && s->state != SESSION_ENDED) {
        over = part->request->kind != REQUEST_QUEUED;
        if (part->request->kind == REQUEST_DISCARD)
            complete_text(s, part->request, ok);
        else if (over && told)
            complete_text(s, part->request, aborted);
        else
            complete(s, part->request, reply, length);
        told = true;
    }
    if (over)
        finish(s, NULL);
}

/* --- opening --- */

static void advance(struct session *s);

static struct part *prepare_opening(struct session *s)
{
    struct transaction *t = s->transaction;
    struct part *part = &t->opening.part;
    int64_t wait_since = part->wait_since;
    uint8_t redirects = part->redirects;
    size_t length = sizeof multi - 1 + buffer_length(&t->log);
    char *bytes = malloc(length);

    if (bytes == NULL) {
        session_end(s, ENOMEM);
        return NULL;
    }
    memcpy(bytes, multi, sizeof multi - 1);
    if (t->logged > 0)
        memcpy(bytes + sizeof multi - 1, buffer_bytes(&t->log), buffer_length(&t->log));
    free(part->bytes);
    t->opening.kind = REQUEST_OPENING;
    *part = (struct part){.request = &t->opening, .bytes = bytes, .length = length,
                          .sequence = s->sequence++, .slot = t->slot, .repeatable = true,
                          .caching = t->caching, .wait_since = wait_since, .redirects = redirects};
    t->opening_replies = 1 + t->logged;
    t->is_opening = true;
    t->over = t->spared = false;
    return part;
}

/* The opening is on its way. What follows may follow at once, as no server has refused MULTI. */
static void follow_opening(struct session *s)
{
    struct transaction *t = s->transaction;

    if (t->is_opening && t->proven && t->link == NULL && t->opening.part.state == PART_SENT)
        t->link = t->opening.part.link;
}

static void open(struct session *s)
{
    struct transaction *t = s->transaction;
    struct part *part = prepare_opening(s);

    if (part == NULL)
        return;
    if (t->guard.set && !t->guard.lost) {
        part->target = t->guard.link;
        part->asking = t->guard.asking;
    }
    dispatch_part(s, part, part->bytes, part->length);
    follow_opening(s);
}

static void refuse(struct session *s, struct link *link, const char *reply, size_t length)
{
    struct transaction *t = s->transaction;

    if (t->refusal != NULL)
        return;
    t->refusal = malloc(length);
    if (t->refusal == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    memcpy(t->refusal, reply, length);
    t->refusal_length = length;
    t->refused_by = link;
}

static bool is_redirect(const struct session *s, const char *reply, size_t length)
{
    struct redirect what;

    redirect_parse(reply + 1, length - 3, &what);
    return what.action != REDIRECT_NONE && s->front == NULL;
}

/* All that was under way has come back: it is said again, from MULTI on, where the refusal says. */
static void restart(struct session *s)
{
    struct transaction *t = s->transaction;
    struct link *by = t->refused_by;
    char *refusal = t->refusal;
    struct part *opening;

    if (!t->over)
        leave(s, by, discard);
    t->link = NULL;
    if (t->guard.set) {
        /* DISCARD, EXEC and an aborted EXEC all end WATCH. */
        t->guard.lost = true;
        if (t->guard.link == by)
            t->guard.link = NULL;
    }
    opening = prepare_opening(s);
    if (opening == NULL)
        return;
    t->refusal = NULL;
    t->refused_by = NULL;
    if (t->final || !answer_redirect(s, by, opening, refusal, t->refusal_length)) {
        t->is_opening = false;
        fail_pending(s, refusal, t->refusal_length);
    } else {
        follow_opening(s);
    }
    t->final = false;
    free(refusal);
}

static void opening_answered(struct session *s, struct link *link)
{
    struct transaction *t = s->transaction;
    struct part *part = &t->opening.part;

    link_answered(link);
    part->state = PART_ANSWERED;
    t->is_opening = false;
    t->link = link;
    if (part->troubled)
        trouble_answered(s, part);
    if (t->guard.set && t->guard.link != link)
        t->guard.lost = true;
    advance(s);
}

static void opening_reply(struct session *s, struct link *link, const char *reply, size_t length)
{
    struct transaction *t = s->transaction;
    bool is_multi = t->opening_replies == 1 + t->logged;

    if (reply[0] != '-') {
        t->proven = true;
    } else if (is_multi || is_redirect(s, reply, length)) {
        if (t->refusal == NULL)
            t->final = !is_redirect(s, reply, length);
        t->over = t->over || is_multi;
        refuse(s, link, reply, length);
    } else {
        t->doomed = true; /* what was queued once is refused now: EXEC says so */
    }
    if (--t->opening_replies == 0)
        opening_answered(s, link);
}

/* --- sending --- */

static void put_on_link(struct session *s, struct part *part, const char *bytes, size_t length)
{
    struct transaction *t = s->transaction;

    t->in_flight++;
    if (!link_send(t->link, part, bytes, length))
        session_end(s, ENOMEM);
    else
        session_touch(s, t->link);
}

static void send_pending(struct session *s, struct part *part)
{
    struct transaction *t = s->transaction;

    part->repeatable = true;
    part->out_of_order = true;
    switch (part->request->kind) {
    case REQUEST_EXEC:
        t->over = true;
        t->spared = verdict(s) != NULL;
        part->repeatable = t->spared || (t->only_reads && !t->guard.set);
        if (t->spared)
            put_on_link(s, part, discard, sizeof discard - 1);
        else
            put_on_link(s, part, exec, sizeof exec - 1);
        break;
    case REQUEST_DISCARD:
        t->over = true;
        put_on_link(s, part, discard, sizeof discard - 1);
        break;
    case REQUEST_QUEUED:
    case REQUEST_OPENING:
    case REQUEST_LEAVING:
    case REQUEST_WATCH:
    case REQUEST_QUIT:
    case REQUEST_STATE:
    case REQUEST_ORDINARY:
        put_on_link(s, part, part->bytes, part->length);
        break;
    }
}

/* With nothing open, EXEC needs a server only if there is something to run or to check. */
static const char *answer_without_server(const struct session *s, const struct part *part)
{
    const struct transaction *t = s->transaction;
    const char *reply;

    if (part->request->kind == REQUEST_DISCARD)
        return ok;
    if (part->request->kind != REQUEST_EXEC)
        return NULL;
    reply = verdict(s);
    if (reply == NULL && t->logged == 0 && !t->guard.set)
        return "*0\r\n";
    return reply;
}

static bool ended_without_server(struct session *s)
{
    struct transaction *t = s->transaction;
    struct part *part = t->pending.head;
    const char *reply = answer_without_server(s, part);

    if (reply == NULL)
        return false;
    part_pop(&t->pending);
    complete_text(s, part->request, reply);
    finish(s, NULL);
    return true;
}

/* Whatever can be done next is done. */
static void advance(struct session *s)
{
    struct transaction *t = s->transaction;

    if (s->state == SESSION_ENDED || (t->refusal != NULL && (t->in_flight > 0 || t->is_opening)))
        return;
    if (t->refusal != NULL) {
        restart(s);
        if (t->link != NULL)
            advance(s);
        return;
    }
    if (t->pending.head == NULL)
        return;
    if (t->link == NULL && !t->is_opening && !ended_without_server(s))
        open(s);
    while (t->link != NULL && t->refusal == NULL && t->pending.head != NULL &&
           s->state != SESSION_ENDED)
        send_pending(s, part_pop(&t->pending));
}

/* --- replies --- */

/* A server that does not let go keeps its connection to itself. */
static void must_have_left(struct session *s, struct link *link, const char *reply)
{
    if (reply[0] == '+')
        return;
    link->must_close = true;
    link->error = EPROTO;
    session_touch(s, link);
}

static void leaving_answered(struct session *s, struct link *link, const char *reply)
{
    link_answered(link);
    s->transaction->is_leaving = false;
    must_have_left(s, link, reply);
}

static bool log_command(struct session *s, const struct link *link, const struct part *part)
{
    struct transaction *t = s->transaction;

    t->logged++;
    return buffer_append(&t->log, link_command(link, part), part->length);
}

static void take_back(struct session *s, struct link *link, struct part *part)
{
    struct transaction *t = s->transaction;

    if (!link_detach(link, part)) {
        session_end(s, ENOMEM);
        return;
    }
    link_answered(link);
    t->in_flight--;
    hold(t, part);
}

static void deliver(struct session *s, struct link *link, struct part *part, const char *reply,
                    size_t length, uint64_t position)
{
    struct request *r = part->request;

    link_answered(link);
    s->transaction->in_flight--;
    part->state = PART_ANSWERED;
    if (part->out_of_order)
        order_complete(s, r, reply, length);
    else
        order_complete_in_place(s, r, link, position, length);
}

/* To a MULTI or WATCH in a transaction Redis says no, and goes on: EXEC runs the rest. */
static bool is_forgiven(const char *reply, size_t length)
{
    return length == sizeof nested - 1 && memcmp(reply, nested, length) == 0;
}

static void deliver_forgiven(struct session *s, struct link *link, struct part *part)
{
    bool is_watch = strcmp(part->request->command->name, "watch") == 0;

    link_answered(link);
    s->transaction->in_flight--;
    complete_text(s, part->request, is_watch ? watch_inside : nested);
}

static void queued_reply(struct session *s, struct link *link, struct part *part,
                         const char *reply, size_t length, uint64_t position)
{
    struct transaction *t = s->transaction;

    progressed(t);
    if (is_forgiven(reply, length)) {
        deliver_forgiven(s, link, part);
        return;
    }
    if (reply[0] == '-')
        t->doomed = true;
    else if (!log_command(s, link, part))
        session_end(s, ENOMEM);
    deliver(s, link, part, reply, length, position);
}

static void end_reply(struct session *s, struct link *link, struct part *part, const char *reply,
                      size_t length, uint64_t position)
{
    struct transaction *t = s->transaction;
    bool is_exec = part->request->kind == REQUEST_EXEC;

    if (is_exec && t->spared) {
        const char *said = verdict(s);

        link_answered(link);
        must_have_left(s, link, reply);
        t->in_flight--;
        complete_text(s, part->request, said != NULL ? said : aborted);
        finish(s, link);
        return;
    }
    if (is_exec)
        copy_transaction_ended(s, reply);
    deliver(s, link, part, reply, length, position);
    if (is_exec || reply[0] != '-')
        finish(s, link);
    else
        t->over = false; /* DISCARD itself was refused */
}

void transaction_reply(struct session *s, struct link *link, const char *reply, size_t length,
                       uint64_t position)
{
    struct transaction *t = s->transaction;
    struct part *part = link->sent.head;
    enum request_kind kind = part->request->kind;

    if (kind == REQUEST_LEAVING) {
        leaving_answered(s, link, reply);
        return;
    }
    if (kind == REQUEST_OPENING) {
        opening_reply(s, link, reply, length);
        return;
    }
    if (reply[0] == '-' && is_redirect(s, reply, length))
        refuse(s, link, reply, length);
    if (s->state == SESSION_ENDED)
        return;
    if (t->refusal != NULL && (kind != REQUEST_EXEC || t->spared || reply[0] == '-'))
        take_back(s, link, part);
    else if (kind == REQUEST_QUEUED)
        queued_reply(s, link, part, reply, length, position);
    else
        end_reply(s, link, part, reply, length, position);
    advance(s);
}

void transaction_complete(struct session *s, struct part *part, const char *reply, size_t length)
{
    struct transaction *t = s->transaction;
    struct request *r = part->request;

    part->state = PART_ANSWERED;
    if (r->kind == REQUEST_LEAVING) {
        t->is_leaving = false;
        return;
    }
    if (r->kind == REQUEST_OPENING) {
        t->is_opening = false;
        if (part->troubled)
            trouble_answered(s, part);
        fail_pending(s, reply, length);
        return;
    }
    t->in_flight--;
    t->doomed = true;
    complete(s, r, reply, length);
    if (r->kind != REQUEST_QUEUED)
        finish(s, NULL);
}

/* --- what is lost --- */

void transaction_part_lost(struct session *s, struct part *part)
{
    struct transaction *t = s->transaction;

    switch (part->request->kind) {
    case REQUEST_LEAVING:
        t->is_leaving = false;
        break;
    case REQUEST_OPENING:
        trouble_left(s, part);
        t->is_opening = false;
        break;
    case REQUEST_EXEC:
        t->unknown = t->unknown || part->bytes == NULL;
        t->in_flight--;
        hold(t, part);
        break;
    case REQUEST_QUEUED:
    case REQUEST_DISCARD:
    case REQUEST_WATCH:
    case REQUEST_QUIT:
    case REQUEST_STATE:
    case REQUEST_ORDINARY:
        t->in_flight--;
        hold(t, part);
        break;
    }
}

/* EXEC may have run: nobody will know. What it ran may not have been queued whole either. */
static void fail_unknown(struct session *s, const struct link *link, const char *why)
{
    struct transaction *t = s->transaction;
    struct part *part;

    while ((part = part_pop(&t->pending)) != NULL && s->state != SESSION_ENDED) {
        part->state = PART_ANSWERED;
        order_complete_error(s, part->request,
                             "-UNREACHABLE redisroute: connection to %s was lost (%s); whether the "
                             "transaction was executed is unknown",
                             link->name, why);
    }
    finish(s, NULL);
}

void transaction_link_lost(struct session *s, struct link *link, const char *why)
{
    struct transaction *t = s->transaction;

    if (t->guard.link == link) {
        t->guard.lost = true;
        t->guard.link = NULL;
    }
    if (t->link == link)
        t->link = NULL;
    if (t->refused_by == link)
        t->over = true; /* nobody has to be told */
    if (t->unknown)
        fail_unknown(s, link, why);
    else
        advance(s);
}

/* --- what the application says --- */

static bool has_arity(const struct session *s, const struct command *c)
{
    return c->arity >= 0 ? s->argv.count == c->arity : s->argv.count >= -c->arity;
}

static bool slot_that_was_asked(const struct session *s, uint16_t *slot)
{
    uint16_t found;
    bool one;

    if (s->single)
        return true;
    one = lookup_slot(s, &found);
    if (found == SLOT_NONE)
        return true;
    if (!one || (*slot != SLOT_NONE && *slot != found))
        return false;
    *slot = found;
    return true;
}

/* SLOT_NONE: it has no key. False: its keys are in several slots, or in another one than `slot`. */
static bool slot_of_line(const struct session *s, const struct command *c, uint16_t *slot)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    int count = c != NULL ? command_keys(c, s->argv.words, s->argv.count, ranges) : 0;

    if (s->front != NULL)
        return front_slot_of_line(s, slot);
    if (c != NULL && (c->flags & COMMAND_ASK_KEYS) != 0)
        return slot_that_was_asked(s, slot);

    for (int i = 0; i < count && s->single; i++)
        *slot = 0;
    for (int i = 0; i < count && !s->single; i++)
        for (int at = ranges[i].first; at <= ranges[i].last; at += ranges[i].step) {
            uint16_t key = slot_of_key(s->argv.words[at].data, s->argv.words[at].length);

            if (*slot != SLOT_NONE && *slot != key)
                return false;
            *slot = key;
        }
    return true;
}

static void begin(struct session *s, const struct command *c)
{
    struct transaction *t = transaction_of(s);

    if (t == NULL)
        return;
    t->slot = t->guard.set ? t->guard.slot : SLOT_NONE;
    t->only_reads = true;
    s->state = SESSION_TRANSACTING;
    answer_here(s, c, ok);
    if (s->order_tail != NULL)
        t->caching = s->order_tail->part.caching;
}

static void watch(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    struct transaction *t = transaction_of(s);
    uint16_t slot = t != NULL && t->guard.set ? t->guard.slot : SLOT_NONE;
    struct request *r;

    if (t == NULL)
        return;
    if (!slot_of_line(s, c, &slot)) {
        answer_here(s, c, crossslot);
        return;
    }
    r = order_issue(s, c);
    if (r == NULL)
        return;
    r->kind = REQUEST_WATCH;
    r->part.slot = slot;
    r->part.repeatable = true;
    dispatch_part(s, &r->part, bytes, length);
}

void transaction_watched(struct session *s, const struct part *part, struct link *link)
{
    struct transaction *t = s->transaction;
    struct guard now = {.set = true, .link = link, .slot = part->slot,
                        .asking = part->target != NULL};

    if (t->guard.set && (t->guard.lost || t->guard.link != link)) {
        if (t->guard.link != link)
            leave(s, t->guard.link, unwatch);
        now.lost = true;
    }
    t->guard = now;
}

static void answer_unwatch(struct session *s, const struct command *c, const char *bytes,
                           size_t length)
{
    struct transaction *t = s->transaction;
    struct request *r;

    if (t == NULL || t->guard.link == NULL) {
        if (t != NULL)
            forget_guard(t);
        answer_here(s, c, ok);
        return;
    }
    r = order_issue(s, c);
    if (r == NULL)
        return;
    r->part.target = t->guard.link;
    r->part.repeatable = true;
    forget_guard(t);
    dispatch_part(s, &r->part, bytes, length);
}

static void send_any(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    struct request *r = order_issue(s, c);

    if (r != NULL)
        dispatch_part(s, &r->part, bytes, length);
}

enum verb { VERB_MULTI, VERB_EXEC, VERB_DISCARD, VERB_WATCH, VERB_UNWATCH, VERB_OTHER };

/* EXEC with arguments ends the transaction all the same. */
static bool is_malformed_end(const struct session *s, int verb)
{
    return s->state == SESSION_TRANSACTING && verb == VERB_EXEC;
}

static enum verb verb_of(const struct session *s, const struct command *c)
{
    static const char *const names[] = {"multi", "exec", "discard", "watch", "unwatch"};

    if (c == NULL || c->klass != COMMAND_TRANSACTION)
        return VERB_OTHER;
    for (int i = 0; i < VERB_OTHER; i++)
        if (strcmp(c->name, names[i]) == 0 && (has_arity(s, c) || is_malformed_end(s, i)))
            return (enum verb)i;
    return VERB_OTHER;
}

static void outside(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    switch (verb_of(s, c)) {
    case VERB_MULTI:
        begin(s, c);
        break;
    case VERB_EXEC:
        answer_here(s, c, exec_without);
        break;
    case VERB_DISCARD:
        answer_here(s, c, discard_without);
        break;
    case VERB_WATCH:
        watch(s, c, bytes, length);
        break;
    case VERB_UNWATCH:
        answer_unwatch(s, c, bytes, length);
        break;
    case VERB_OTHER:
        send_any(s, c, bytes, length);
        break;
    }
}

/* What runs on one server as it would on the only one. */
static bool is_allowed(const struct command *c)
{
    static const bool allowed[] = {
        [COMMAND_KEYED] = true,    [COMMAND_SPLIT] = true,       [COMMAND_ANY_NODE] = true,
        [COMMAND_MASTER] = true,   [COMMAND_TRANSACTION] = true, [COMMAND_CACHING] = true,
        [COMMAND_UNSUPPORTED] = false,
    };

    return c == NULL || (c->klass < sizeof allowed && allowed[c->klass]);
}

static void refuse_command(struct session *s, const struct command *c, const char *reply)
{
    struct request *r = order_issue(s, c);

    s->transaction->doomed = true;
    if (r == NULL)
        return;
    if (reply != NULL)
        complete_text(s, r, reply);
    else
        order_complete_error(s, r,
                             "-UNSUPPORTED redisroute: '%s' cannot be used in a transaction on a "
                             "cluster, which runs on one node",
                             c->name);
}

/* It was opened, for a command that has no key and an answer of its own, where such commands go. */
static bool opened_elsewhere(const struct session *s, uint16_t slot)
{
    const struct transaction *t = s->transaction;

    return s->front != NULL && t->slot == SLOT_NONE && slot != SLOT_NONE &&
           slot != front_upstreams(s)->own &&
           (t->link != NULL || t->is_opening || t->pending.head != NULL);
}

/* To which cluster a front's transaction goes is not known before there is a key: what has none is
 * said there with the opening. */
static bool queue_here(struct session *s, const struct command *c, const char *bytes, size_t length,
                       uint16_t slot)
{
    struct transaction *t = s->transaction;

    if (s->front == NULL || slot != SLOT_NONE || t->link != NULL || t->is_opening ||
        t->pending.head != NULL)
        return false;
    t->logged++;
    if (buffer_append(&t->log, bytes, length))
        answer_here(s, c, queued);
    else
        session_end(s, ENOMEM);
    return true;
}

/* A copy is needed only if it cannot be sent at once. */
static void queue_part(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    struct transaction *t = s->transaction;
    struct request *r = order_issue(s, c);

    if (r == NULL)
        return;
    r->kind = REQUEST_QUEUED;
    r->part.repeatable = true;
    if (t->link != NULL && t->refusal == NULL && t->pending.head == NULL) {
        put_on_link(s, &r->part, bytes, length);
        return;
    }
    r->part.bytes = malloc(length);
    if (r->part.bytes == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    memcpy(r->part.bytes, bytes, length);
    r->part.length = length;
    part_push(&t->pending, &r->part);
    advance(s);
}

static void queue_bytes(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    struct transaction *t = s->transaction;
    bool whole = c == NULL || has_arity(s, c);
    uint16_t slot = t->slot;

    if (whole && !s->single && !is_allowed(c)) {
        refuse_command(s, c, NULL);
        return;
    }
    if (whole && !slot_of_line(s, c, &slot)) {
        refuse_command(s, c, crossslot);
        return;
    }
    if (opened_elsewhere(s, slot)) {
        refuse_command(s, c, crossslot);
        return;
    }
    t->slot = slot;
    if (queue_here(s, c, bytes, length, slot))
        return;
    t->only_reads = t->only_reads && c != NULL && command_repeatable(c);
    queue_part(s, c, bytes, length);
}

static void queue(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    struct buffer eval;

    buffer_init(&eval);
    if (c != NULL && (c->flags & COMMAND_SCRIPT) != 0 && s->front == NULL &&
        script_expand(s, c, &eval))
        queue_bytes(s, c, buffer_bytes(&eval), buffer_length(&eval));
    else
        queue_bytes(s, c, bytes, length);
    buffer_deinit(&eval);
}

/* Nothing behind it is planned before it is answered. */
static void end(struct session *s, const struct command *c, enum request_kind kind)
{
    struct request *r = order_issue(s, c);

    if (r == NULL)
        return;
    r->kind = kind;
    s->barrier = r;
    part_push(&s->transaction->pending, &r->part);
    advance(s);
}

static void inside(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    switch (verb_of(s, c)) {
    case VERB_MULTI:
    case VERB_WATCH:
        /* Whether this ends in an EXECABORT is the server's choice. MULTI has no key, and is said
         * for both. */
        queue_part(s, c, multi, sizeof multi - 1);
        break;
    case VERB_EXEC:
        s->transaction->malformed = !has_arity(s, c);
        end(s, c, REQUEST_EXEC);
        break;
    case VERB_DISCARD:
        end(s, c, REQUEST_DISCARD);
        break;
    case VERB_UNWATCH:
    case VERB_OTHER:
        queue(s, c, bytes, length);
        break;
    }
}

void transaction_command(struct session *s, const struct command *c, const char *bytes,
                         size_t length)
{
    if (s->state == SESSION_TRANSACTING)
        inside(s, c, bytes, length);
    else
        outside(s, c, bytes, length);
}

void transaction_doom(struct session *s)
{
    s->transaction->doomed = true;
}

void transaction_reset(struct session *s)
{
    struct transaction *t = s->transaction;

    if (t == NULL)
        return;
    if (t->link != NULL)
        leave(s, t->link, discard);
    finish(s, t->link);
}
