/* Looking up what the table lacks, before a command is planned: what a command is (COMMAND INFO),
 * and where its keys stand, when only a server can tell (COMMAND GETKEYS).
 *
 * The question goes over a link of its own, as in discover.h: it is part of no transaction, and
 * nothing of the application's waits behind it. The input is stalled meanwhile: the command stays
 * at the head of session.in, and is planned when the answer is there. What cannot be found out,
 * because no server answers, or none knows the command, is planned as a command that nobody knows.
 */
#ifndef REDISROUTE_SESSION_LOOKUP_H
#define REDISROUTE_SESSION_LOOKUP_H

#include "session/session.h"

/* Whether the table's row, or NULL, is all there is to know of a command. */
static inline bool lookup_is_needed(const struct session *s, const struct command *c)
{
    return (c == NULL || c->subcommand_count > 0) && session_routes(s) &&
           (s->guards & (GUARD_SUBSCRIBED | GUARD_MONITOR)) == 0;
}

/* The words are those in s->argv. False: it is being asked, the command has to wait. */
bool lookup_command(struct session *, const struct command **);
/* The command is about to be planned: what was found out of it, lookup_slot apart, is forgotten. */
void lookup_settle(struct session *);
/* The slot of the keys of a command with COMMAND_ASK_KEYS that is being planned; SLOT_NONE: it has
 * none. False: they are in several slots; it is that of the first then. */
bool lookup_slot(const struct session *, uint16_t *slot);

/* What became of the link with the question, session.probe. */
bool lookup_is_asking(const struct session *);
void lookup_opened(struct session *, struct link *);
void lookup_reply(struct session *, struct link *, const char *reply, size_t length);
void lookup_lost(struct session *);

/* When a server that does not answer is given up; -1: none was asked. */
int64_t lookup_due(const struct session *);
void lookup_advance(struct session *);
void lookup_destroy(struct session *);

#endif
