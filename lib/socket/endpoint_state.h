/* What the files of an endpoint know of it, and nobody else: endpoint.c (its life),
 * endpoint_session.c (its session), endpoint_exchange.c (reading, writing and waiting),
 * endpoint_option.c, endpoint_move.c, face.c (the descriptor that the program sees). */
#ifndef REDISROUTE_SOCKET_ENDPOINT_STATE_H
#define REDISROUTE_SOCKET_ENDPOINT_STATE_H

#include <errno.h>
#include <sys/time.h>

#include "base/clock.h"
#include "keeper/keeper.h"
#include "socket/endpoint.h"
#include "socket/seed.h"

static inline bool endpoint_is_blocking(const struct endpoint *ep)
{
    return ep->kind == ENDPOINT_BLOCKING;
}

/* The program's number is the epoll descriptor of the poller itself. */
static inline bool endpoint_is_poller(const struct endpoint *ep)
{
    return ep->kind == ENDPOINT_ASYNC && ep->poller != NULL && !ep->paired;
}

/* The link under which the program's own connection is. NULL: it is gone. */
struct link *endpoint_home(const struct endpoint *);
/* What becomes of that connection is not known yet. */
bool endpoint_is_connecting(const struct endpoint *);

/* The program's thread waits for its sockets, and is the only one: it looks names up, too. */
static inline bool endpoint_may_look_up(const struct endpoint *ep)
{
    return endpoint_is_blocking(ep) && !keeper_is_running();
}

/* There is a session, and no fork since it was last used. */
static inline bool endpoint_is_as_it_was(const struct endpoint *ep)
{
    return ep->session != NULL &&
           ep->generation == atomic_load_explicit(&keeper_generation, memory_order_relaxed);
}

/* Its session is made at the first use, and what is the parent's made anew after a fork. False, and
 * errno: there is none. */
bool endpoint_make_ready(struct endpoint *);
static inline bool endpoint_ready(struct endpoint *ep)
{
    return endpoint_is_as_it_was(ep) || endpoint_make_ready(ep);
}

/* Nothing of ours is left between the program and a server that is no cluster: the endpoint is
 * gone. */
bool endpoint_may_step_aside(const struct endpoint *);
void endpoint_step_aside(struct endpoint *);

void endpoint_close_links(struct endpoint *);

/* Keys of connections to this address have several clusters. */
bool endpoint_has_routes(const struct sockaddr *dialled);

/* A session for the dialled address, to be reached by the seed. NULL: out of memory, or there is no
 * room for the routes. */
struct session *endpoint_create_session(const struct endpoint *, bool is_seen);
/* One with these settings, whatever it is for, to be reached by that seed. NULL: out of memory, or
 * it is no address. */
struct session *endpoint_create_reached(const struct endpoint *, const struct seed *,
                                        struct session_settings *);
/* The first of these: it is the endpoint's. False: there is none. */
bool endpoint_make_session(struct endpoint *);
/* A socket of the program's becomes the link to the dialled node: connected, or `connecting`. With
 * TLS that takes a handshake. */
void endpoint_adopt_home(struct endpoint *, int fd, bool connecting);
/* When the handshake of a session's home has to be over. */
int64_t endpoint_handshake_by_ms(const struct endpoint *, const struct session *);

static inline ssize_t endpoint_fail(int error)
{
    errno = error;
    return -1;
}

/* When a time limit of the program's ends that begins now; -1: there is none. */
static inline int64_t endpoint_deadline(struct timeval limit)
{
    if (limit.tv_sec == 0 && limit.tv_usec == 0)
        return -1;
    return clock_now_ms() + (int64_t)limit.tv_sec * 1000 + (limit.tv_usec + 999) / 1000;
}

#endif
