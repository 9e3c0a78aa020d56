/* Copies of commands for the mirror; see route/mirror.h. */
#ifndef REDISROUTE_SESSION_COPY_H
#define REDISROUTE_SESSION_COPY_H

#include "session/session.h"

/* A command is issued, whose words are in s->argv unless it is of a known shape. To be called while
 * mirror_is_on(), before it is planned. */
void copy_command(struct session *, const struct command *, const char *bytes, size_t length);
/* EXEC, or DISCARD, has its reply. */
void copy_transaction_ended(struct session *, const char *reply);
void copy_destroy(struct session *);

#endif
