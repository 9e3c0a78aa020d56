/* Reads that another node than the master may answer: which node, and when.
 *
 * A session whose policy is, and always was, READ_MASTER has none of this; session->reads is
 * NULL. From the first other policy on every part with a slot is enlisted, so that the order of
 * a key's commands holds over several nodes:
 *
 *   - a read of a slot that has an unanswered write follows it to the master: it must see it;
 *   - a write to a slot of which another node is answering a read waits for that answer: the
 *     replica may hear of the write before it gets to the read, which must not see it;
 *   - reads among themselves have no order.
 *
 * Reads that a replica may answer have links of their own, which have said READONLY. The other
 * links never do: a master that was demoted has to refuse what is sent to it as to a master. */
#ifndef REDISROUTE_SESSION_READS_H
#define REDISROUTE_SESSION_READS_H

#include "config/read_policy.h"
#include "route/redirect.h"
#include "session/request.h"

/* Takes a snapshot's nodes over, and begins with it if the policy demands it. False: out of memory. */
bool reads_adopt(struct session *);
/* Where we are may be another zone now. */
void reads_configure(struct session *);
/* A policy was asked for, and the snapshot is there: begins with it, if it has not. False: out of
 * memory; the session has ended. */
bool reads_begin_late(struct session *);
/* The first policy is in force when what was not enlisted is answered. */
bool reads_have_begun(struct session *);
void reads_destroy(struct session *);

/* A part on its way to where it belongs. True: it was sent, or held, or answered here. */
bool reads_dispatch(struct session *, struct part *, const char *bytes, size_t length);
/* A part of a slot in trouble has to wait for reads elsewhere. */
bool reads_block(const struct session *, const struct part *);
void reads_answered(struct session *, struct part *);
/* The part is not in flight any more, and was not answered either. */
void reads_left(struct session *, struct part *);
/* A read whose node failed goes to another, when nothing of its slot stands in the way. It has
 * its own bytes. True: it is on its way. */
bool reads_again(struct session *, struct part *);
/* The error of a node that was chosen by policy. True: the part is on its way again. */
bool reads_refused(struct session *, struct part *, struct link *, const struct redirect *);
/* A reply to the greeting of a reader. False: it is not to be read from now; the link closes. */
bool reads_take_greeting(struct session *, struct link *, const char *reply, size_t length);
/* A part in flight, or waiting, where reads have their place. */
bool reads_may_stay(const struct session *, const struct part *, const struct link *);

/* A command without a slot that changes keys has nothing beside it. */
bool reads_is_barrier(const struct session *, const struct command *);

/* The short way: the link, which may not be ready. */
struct link *reads_express(struct session *, const struct command *, uint16_t slot);
/* It was not ready: the choice does not count. */
void reads_express_undo(struct session *);
/* A write was answered that was not enlisted; of a transaction, when there is no command. */
void reads_wrote(struct session *, const struct command *, uint16_t slot);
void reads_resume(struct session *, struct part *, const struct link *);

#endif
