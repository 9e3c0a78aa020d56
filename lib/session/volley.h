/* Pipelines that take a short way: see volley.c. */
#ifndef REDISROUTE_SESSION_VOLLEY_H
#define REDISROUTE_SESSION_VOLLEY_H

#include "session/request.h"

/* What is under way becomes ordinary requests. Does nothing when nothing is. */
void volley_break(struct session *);
void volley_destroy(struct volley *);

#endif
