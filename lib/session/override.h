/* Overrides: another read policy, from a position of the application's stream on, or for one
 * command there. They lie in session->overrides, in order, until the stream comes to them. */
#ifndef REDISROUTE_SESSION_OVERRIDE_H
#define REDISROUTE_SESSION_OVERRIDE_H

#include "session/session.h"

/* The configuration says so, from the next command on. */
void override_always(struct session *, enum read_policy);

/* Puts the policy in force that was asked for at this position of the stream. False: it cannot
 * be yet. */
bool override_begin_command(struct session *, uint64_t position);
void override_end_command(struct session *);

void override_destroy(struct session *);

#endif
