/* The link that a transaction is open on: how it gets there, what is said on it, what its server
 * answers, and how all of it goes to another when that server refuses, or is lost. */
#include "session/transaction_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "route/redirect.h"
#include "session/copy.h"

static const char exec[] = "*1\r\n$4\r\nEXEC\r\n";

/* The server's own words. */
static const char nested[] = "-ERR MULTI calls can not be nested\r\n";
static const char watch_inside[] = "-ERR WATCH inside MULTI is not allowed\r\n";

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

/* --- opening --- */

static struct part *prepare_opening(struct session *s)
{
    struct transaction *t = s->transaction;
    struct part *part = &t->opening.part;
    int64_t wait_since = part->wait_since;
    uint8_t redirects = part->redirects;
    size_t length = sizeof transaction_multi - 1 + buffer_length(&t->log);
    char *bytes = malloc(length);

    if (bytes == NULL) {
        session_end(s, ENOMEM);
        return NULL;
    }
    memcpy(bytes, transaction_multi, sizeof transaction_multi - 1);
    if (t->logged > 0)
        memcpy(bytes + sizeof transaction_multi - 1, buffer_bytes(&t->log), buffer_length(&t->log));
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

void transaction_move(struct session *s)
{
    static const char moved[] = "-MOVED\r\n";
    struct transaction *t = s->transaction;

    refuse(s, t->link != NULL ? t->link : t->opening.part.link, moved, sizeof moved - 1);
    t->final = false;
}

/* All that was under way has come back: it is said again, from MULTI on, where the refusal says. */
static void restart(struct session *s)
{
    struct transaction *t = s->transaction;
    struct link *by = t->refused_by;
    char *refusal = t->refusal;
    struct part *opening;

    if (!t->over)
        transaction_leave(s, by, transaction_discard);
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
    if (s->front != NULL && !t->final) {
        dispatch_part(s, opening, opening->bytes, opening->length);
        follow_opening(s);
    } else if (t->final || !answer_redirect(s, by, opening, refusal, t->refusal_length)) {
        t->is_opening = false;
        transaction_fail_pending(s, refusal, t->refusal_length);
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
    if (t->refusal != NULL && t->refused_by == NULL)
        t->refused_by = link;
    if (part->troubled)
        trouble_answered(s, part);
    if (t->guard.set && t->guard.link != link)
        t->guard.lost = true;
    transaction_advance(s);
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

void transaction_send(struct session *s, struct part *part, const char *bytes, size_t length)
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
        t->spared = transaction_verdict(s) != NULL;
        part->repeatable = t->spared || (t->only_reads && !t->guard.set);
        if (t->spared)
            transaction_send(s, part, transaction_discard, sizeof transaction_discard - 1);
        else
            transaction_send(s, part, exec, sizeof exec - 1);
        break;
    case REQUEST_DISCARD:
        t->over = true;
        transaction_send(s, part, transaction_discard, sizeof transaction_discard - 1);
        break;
    case REQUEST_QUEUED:
    case REQUEST_OPENING:
    case REQUEST_LEAVING:
    case REQUEST_WATCH:
    case REQUEST_QUIT:
    case REQUEST_STATE:
    case REQUEST_ORDINARY:
        transaction_send(s, part, part->bytes, part->length);
        break;
    }
}

/* With nothing open, EXEC needs a server only if there is something to run or to check. */
static const char *answer_without_server(const struct session *s, const struct part *part)
{
    const struct transaction *t = s->transaction;
    const char *reply;

    if (part->request->kind == REQUEST_DISCARD)
        return transaction_ok;
    if (part->request->kind != REQUEST_EXEC)
        return NULL;
    reply = transaction_verdict(s);
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
    transaction_answer_text(s, part->request, reply);
    transaction_finish(s, NULL);
    return true;
}

/* Whatever can be done next is done. */
void transaction_advance(struct session *s)
{
    struct transaction *t = s->transaction;

    if (s->state == SESSION_ENDED || (t->refusal != NULL && (t->in_flight > 0 || t->is_opening)))
        return;
    if (t->refusal != NULL) {
        restart(s);
        if (t->link != NULL)
            transaction_advance(s);
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
    transaction_answer_text(s, part->request, is_watch ? watch_inside : nested);
}

static void queued_reply(struct session *s, struct link *link, struct part *part,
                         const char *reply, size_t length, uint64_t position)
{
    struct transaction *t = s->transaction;

    transaction_progressed(t);
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
        const char *said = transaction_verdict(s);

        link_answered(link);
        must_have_left(s, link, reply);
        t->in_flight--;
        transaction_answer_text(s, part->request, said != NULL ? said : transaction_aborted);
        transaction_finish(s, link);
        return;
    }
    if (is_exec)
        copy_transaction_ended(s, reply);
    deliver(s, link, part, reply, length, position);
    if (is_exec || reply[0] != '-')
        transaction_finish(s, link);
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
    transaction_advance(s);
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
        transaction_fail_pending(s, reply, length);
        return;
    }
    t->in_flight--;
    t->doomed = true;
    transaction_answer(s, r, reply, length);
    if (r->kind != REQUEST_QUEUED)
        transaction_finish(s, NULL);
}

/* --- what is lost --- */

void transaction_part_lost(struct session *s, struct part *part)
{
    struct transaction *t = s->transaction;

    t->late |= part->late;
    part->late = false;
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
    const char *code = t->late ? "TIMEOUT" : "UNREACHABLE";
    struct part *part;

    t->late = false;
    while ((part = part_pop(&t->pending)) != NULL && s->state != SESSION_ENDED) {
        part->state = PART_ANSWERED;
        order_complete_error(s, part->request,
                             "-%s redisroute: connection to %s was lost (%s); whether the "
                             "transaction was executed is unknown",
                             code, link->name, why);
    }
    transaction_finish(s, NULL);
}

static void fail_late(struct session *s, const struct link *link)
{
    char text[256];
    int length =
        snprintf(text, sizeof text, "-TIMEOUT redisroute: %.128s did not answer within %lld ms\r\n",
                 link->name, (long long)s->settings.op_timeout_ms);

    s->transaction->late = false;
    transaction_fail_pending(s, text, (size_t)length);
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
    else if (t->late)
        fail_late(s, link);
    else
        transaction_advance(s);
}
