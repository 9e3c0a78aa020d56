/* What transaction.c and transaction_link.c share: the state of a transaction. */
#ifndef REDISROUTE_SESSION_TRANSACTION_STATE_H
#define REDISROUTE_SESSION_TRANSACTION_STATE_H

#include <string.h>

#include "session/transaction.h"

static const char transaction_multi[] = "*1\r\n$5\r\nMULTI\r\n";
static const char transaction_discard[] = "*1\r\n$7\r\nDISCARD\r\n";
static const char transaction_ok[] = "+OK\r\n";
static const char transaction_aborted[] = "-EXECABORT Transaction discarded because of previous errors.\r\n";

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
    bool late;         /* a server did not answer in time */

    char *refusal; /* the error that a server refused all of it with; NULL: none did */
    size_t refusal_length;
    struct link *refused_by;
    bool final; /* it is no redirect */

    bool is_leaving;
    struct request opening;
    struct request leaving;
};

/* --- transaction.c --- */

void transaction_answer(struct session *, struct request *, const char *reply, size_t length);
void transaction_answer_text(struct session *, struct request *, const char *reply);
/* What EXEC is answered whatever a server would say; NULL: what the server says. */
const char *transaction_verdict(const struct session *);

/* Said at a server that is left, which knows nothing else of this transaction. */
void transaction_leave(struct session *, struct link *, const char *bytes);
/* EXEC or DISCARD was answered; by the server on `link`, unless that is NULL. */
void transaction_finish(struct session *, const struct link *);
/* Nothing can open it: what waits is answered with that error, the rest will be aborted. */
void transaction_fail_pending(struct session *, const char *reply, size_t length);

static inline void transaction_progressed(struct transaction *t)
{
    t->opening.part.wait_since = 0;
    t->opening.part.redirects = 0;
}

/* --- transaction_link.c --- */

/* Whatever can be done next is done. */
void transaction_advance(struct session *);
/* It is open, or being opened, where a front sends what has no key, and its keys are elsewhere: all
 * of it is said again there, by t->slot, when what is under way has come back. */
void transaction_move(struct session *);
/* On the link that it is open on. */
void transaction_send(struct session *, struct part *, const char *bytes, size_t length);

#endif
