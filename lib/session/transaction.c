#include "session/transaction_state.h"

#include <errno.h>
#include <stdlib.h>

#include "route/slot.h"
#include "session/copy.h"
#include "session/front.h"
#include "session/lookup.h"
#include "session/reads.h"
#include "session/script.h"

static const char unwatch[] = "*1\r\n$7\r\nUNWATCH\r\n";

/* The server's own words. */
static const char malformed[] = "-EXECABORT Transaction discarded because of: "
                                "wrong number of arguments for 'exec' command\r\n";
static const char crossslot[] = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
static const char exec_without[] = "-ERR EXEC without MULTI\r\n";
static const char discard_without[] = "-ERR DISCARD without MULTI\r\n";

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

/* --- replies that are made here --- */

void transaction_answer(struct session *s, struct request *r, const char *reply, size_t length)
{
    r->part.state = PART_ANSWERED;
    order_complete(s, r, reply, length);
}

void transaction_answer_text(struct session *s, struct request *r, const char *reply)
{
    transaction_answer(s, r, reply, strlen(reply));
}

static void answer_here(struct session *s, const struct command *c, const char *reply)
{
    struct request *r = order_issue(s, c);

    if (r != NULL)
        transaction_answer_text(s, r, reply);
}

/* What EXEC is answered whatever a server would say; NULL: what the server says. */
const char *transaction_verdict(const struct session *s)
{
    const struct transaction *t = s->transaction;

    if (t->malformed)
        return malformed;
    if (t->doomed)
        return transaction_aborted;
    if (t->guard.set && t->guard.lost)
        return greet_protocol(s) == 3 ? "_\r\n" : "*-1\r\n";
    return NULL;
}

/* --- the end --- */

/* Said at a server that is left, which knows nothing else of this transaction. */
void transaction_leave(struct session *s, struct link *link, const char *bytes)
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

/* EXEC or DISCARD was answered; by the server on `link`, unless that is NULL. */
void transaction_finish(struct session *s, const struct link *link)
{
    struct transaction *t = s->transaction;

    for (struct part *part; (part = part_pop(&t->pending)) != NULL;)
        transaction_answer_text(s, part->request,
                      "-UNREACHABLE redisroute: refused by a server that ran the transaction\r\n");
    if (t->guard.link != link)
        transaction_leave(s, t->guard.link, unwatch);
    copy_transaction_ended(s, NULL);
    forget_guard(t);
    forget_refusal(t);
    transaction_progressed(t);
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
    if (s->leaving)
        session_unstall(s);
}

/* Nothing can open it: what waits is answered with that error, the rest will be aborted. */
void transaction_fail_pending(struct session *s, const char *reply, size_t length)
{
    struct transaction *t = s->transaction;
    bool told = t->doomed, over = false;
    struct part *part;

    t->link = NULL;
    t->doomed = true;
    transaction_progressed(t);
    forget_refusal(t);
    while ((part = part_pop(&t->pending)) != NULL && s->state != SESSION_ENDED) {
        over = part->request->kind != REQUEST_QUEUED;
        if (part->request->kind == REQUEST_DISCARD)
            transaction_answer_text(s, part->request, transaction_ok);
        else if (over && told)
            transaction_answer_text(s, part->request, transaction_aborted);
        else
            transaction_answer(s, part->request, reply, length);
        told = true;
    }
    if (over)
        transaction_finish(s, NULL);
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
    answer_here(s, c, transaction_ok);
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
            transaction_leave(s, t->guard.link, unwatch);
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
        answer_here(s, c, transaction_ok);
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
        transaction_answer_text(s, r, reply);
    else
        order_complete_error(s, r,
                             "-UNSUPPORTED redisroute: '%s' cannot be used in a transaction on a "
                             "cluster, which runs on one node",
                             c->name);
}

/* A front opened it where commands without keys go, and now there is a key of another cluster. */
static bool opened_elsewhere(const struct session *s, uint16_t slot)
{
    const struct transaction *t = s->transaction;

    return s->front != NULL && t->slot == SLOT_NONE && slot != SLOT_NONE &&
           slot != front_upstreams(s)->own && t->refusal == NULL &&
           (t->link != NULL || t->is_opening);
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
        transaction_send(s, &r->part, bytes, length);
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
    transaction_advance(s);
}

static void queue_bytes(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    struct transaction *t = s->transaction;
    bool whole = c == NULL || has_arity(s, c);
    uint16_t slot = t->slot;

    if (whole && !s->single && s->front == NULL && !is_allowed(c)) {
        refuse_command(s, c, NULL);
        return;
    }
    if (whole && !slot_of_line(s, c, &slot)) {
        refuse_command(s, c, crossslot);
        return;
    }
    if (opened_elsewhere(s, slot))
        transaction_move(s);
    t->slot = slot;
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
    transaction_advance(s);
}

static void inside(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    switch (verb_of(s, c)) {
    case VERB_MULTI:
    case VERB_WATCH:
        /* Whether this ends in an EXECABORT is the server's choice. MULTI has no key, and is said
         * for both. */
        queue_part(s, c, transaction_multi, sizeof transaction_multi - 1);
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

bool transaction_lose_guard(struct session *s)
{
    struct transaction *t = transaction_of(s);

    if (t != NULL)
        t->guard = (struct guard){.set = true, .lost = true, .slot = SLOT_NONE};
    return t != NULL;
}

void transaction_reset(struct session *s)
{
    struct transaction *t = s->transaction;

    if (t == NULL)
        return;
    if (t->link != NULL)
        transaction_leave(s, t->link, transaction_discard);
    transaction_finish(s, t->link);
}
