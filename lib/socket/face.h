/* The face of an endpoint: the descriptor that the program sees. endpoint.h says which that is. */
#ifndef REDISROUTE_SOCKET_FACE_H
#define REDISROUTE_SOCKET_FACE_H

#include "socket/endpoint.h"

/* Puts one end of a socket pair under the program's number, and moves the socket there to another:
 * once. */
void face_pair_up(struct endpoint *);
/* Another pair, whatever is there. In a child its epoll sets are the parent's too, and stay as they
 * are. False: that failed. */
bool face_put_pair(struct endpoint *, bool in_child);
/* The program's end of the pair is not writable until the connection is decided. */
void face_stuff(struct endpoint *);
/* The poller watches all links that are open. */
void face_want_all(struct endpoint *);
/* From here on the keeper makes the descriptor readable when there is something to do. */
void face_forward(struct endpoint *);
/* The descriptor is readable exactly while there is something for the program to fetch. */
void face_settle(struct endpoint *);
/* The same, but one that is readable stays so: an event loop that has seen it is going to look. */
void face_settle_unread(struct endpoint *);

#endif
