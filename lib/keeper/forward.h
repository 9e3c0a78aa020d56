/* Forwards: descriptors that the keeper makes readable. For the keeper's thread. */
#ifndef REDISROUTE_KEEPER_FORWARD_H
#define REDISROUTE_KEEPER_FORWARD_H

#include <stdint.h>

/* The keeper's epoll descriptor, into which armed forwards go; -1: no thread. */
void forward_set_poller(int poller);
/* A forward of this id became readable. */
void forward_event(uint64_t id);
/* Once a second: whoever follows a cluster hears that it has changed. */
void forward_tick(void);

void forward_lock_all(void);
void forward_unlock_all(void);
void forward_forget_all(void);

#endif
