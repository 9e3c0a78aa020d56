/* A poller: one epoll descriptor over the links of a session, a timer, and an
 * eventfd by which the session's own thread makes it readable.
 *
 * Links are watched level-triggered: the descriptor is readable exactly while a
 * link has bytes, the timer has passed, or poller_raise was called since the last
 * poller_collect. */
#ifndef REDISROUTE_SOCKET_POLLER_H
#define REDISROUTE_SOCKET_POLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "link/link.h"

struct poller;

/* NULL: no descriptors or memory left. */
struct poller *poller_create(void);
void poller_destroy(struct poller *);
int poller_descriptor(const struct poller *);
/* The poller goes on under another number; the old is closed. */
void poller_set_descriptor(struct poller *, int fd);
/* The same, but the old number is not ours to close. */
void poller_set_descriptor_quietly(struct poller *, int fd);

enum { POLLER_READABLE = EPOLLIN, POLLER_WRITABLE = EPOLLOUT };

/* What the link is to be watched for. Costs nothing when that is as it was. */
void poller_want(struct poller *, struct link *, uint32_t events);
/* Before the link's descriptor is closed. */
void poller_drop(struct poller *, struct link *);

void poller_raise(struct poller *);
void poller_lower(struct poller *);
bool poller_is_raised(const struct poller *);
/* poller_raise by any thread, while the poller is not destroyed. */
void poller_interrupt(const struct poller *);
void poller_set_timer(struct poller *, int64_t at_ms);
/* The timer has to pass at `at_ms` (-1: need not), and by `late_ms`: one that is set to pass before
 * that already may stay. A limit that moves with every answer costs a system call now and then
 * only.
 */
void poller_set_timer_lazily(struct poller *, int64_t at_ms, int64_t late_ms);
/* It is set so, and passes in time for every limit of the same length that begins now. */
bool poller_is_lazy(const struct poller *);

/* The links that are ready, at most `size`. Waits up to timeout_ms (0: not at all, -1: without
 * limit) for anything to happen. -1: EINTR. */
int poller_collect(struct poller *, struct link **ready, int size, int timeout_ms);

#endif
