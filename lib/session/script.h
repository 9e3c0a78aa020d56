/* Scripts: EVALSHA finds its script on any node, also on one that joined later or was restarted.
 *
 * What the application loads (SCRIPT LOAD) or runs (EVAL) is remembered with the cluster. A node
 * that answers NOSCRIPT is sent EVAL with the text in its place. Nothing must overtake that: an
 * EVALSHA is waited for when this session says it for the first time on a link. Inside MULTI
 * there is nothing to repair any more when NOSCRIPT comes, so there the text is sent at once,
 * until the script has been seen to be there. */
#ifndef REDISROUTE_SESSION_SCRIPT_H
#define REDISROUTE_SESSION_SCRIPT_H

#include "session/request.h"

/* For rows with COMMAND_SCRIPT; the words are in s->argv. */

/* A script is remembered, or all are forgotten. */
void script_note(struct session *, const struct command *);
/* The answer has to be waited for. */
bool script_waits(struct session *, const struct command *);
/* EVALSHA as EVAL. False: it is to be sent as it is. */
bool script_expand(struct session *, const struct command *, struct buffer *out);

/* The server answered NOSCRIPT: the part becomes an EVAL. False: the script is not known here. */
bool script_repair(struct session *, struct part *);
/* What its server knows is not known any more. */
void script_link_lost(struct session *, const struct link *);
void script_destroy(struct session *);

#endif
