/* Transactions: MULTI … EXEC / DISCARD, and the WATCH before it.
 *
 *   MULTI ──> +OK       the first command that needs a server opens it there:
 *   SET a ──> pending ──(opening: [ASKING] MULTI and what was queued already)──> sent ──> +QUEUED
 *   EXEC  ──> pending ────────────────────────────────────────────────────────> sent ──> replies
 *
 * All of it is on one link, and while it lasts nothing else of the session is: MULTI waits until
 * all before it is answered, nothing behind EXEC is planned before EXEC is answered.
 *
 * A server that redirects any command of it refuses it whole, and a lost connection forgets it
 * whole. Either way the commands that were queued already are said again on the new link, their
 * replies are swallowed, and what was not answered yet follows. Only EXEC that may have been
 * received is never said again. What WATCH guarded is lost with its link: EXEC is then a nil,
 * as after a conflict, and DISCARD is what the server hears. */
#ifndef REDISROUTE_SESSION_TRANSACTION_H
#define REDISROUTE_SESSION_TRANSACTION_H

#include "session/request.h"

/* A command of class TRANSACTION, or any while SESSION_TRANSACTING; its words are in s->argv. */
void transaction_command(struct session *, const struct command *, const char *bytes,
                         size_t length);

/* The application was told an error between MULTI and EXEC: nothing of it will run. */
void transaction_doom(struct session *);

/* The rest is about parts whose request is of kind REQUEST_OPENING or behind. */

/* A reply from a link, for its oldest part. */
void transaction_reply(struct session *, struct link *, const char *reply, size_t length,
                       uint64_t position);
/* It was answered otherwise, with an error that is not to be redirected. */
void transaction_complete(struct session *, struct part *, const char *reply, size_t length);
/* Its connection was lost. Without bytes: it may have run, and must not run twice. */
void transaction_part_lost(struct session *, struct part *);

/* A server watches keys for the next transaction. */
bool transaction_is_guarded(const struct session *);

/* The server took a WATCH. */
void transaction_watched(struct session *, const struct part *, struct link *);
/* The connection was lost, and its parts were given back. */
void transaction_link_lost(struct session *, struct link *, const char *why);

/* Nothing is left of MULTI and of WATCH, as after RESET: what a server still keeps is undone. */
void transaction_reset(struct session *);
/* What was watched was watched elsewhere: EXEC will be a nil. False: out of memory, the session has
 * ended. */
bool transaction_lose_guard(struct session *);
void transaction_destroy(struct session *);

#endif
