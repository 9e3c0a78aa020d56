/* Events: what a program that asked for it is told while it happens. Of the whole process.
 *
 * The function is called where the event is found, inside of a session's work, by the thread that
 * does it. It must not come back to a session. */
#ifndef REDISROUTE_BASE_EVENT_H
#define REDISROUTE_BASE_EVENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* The numbers are those of redisroute.h. */
enum event_kind {
    EVENT_GAP = 1,
    EVENT_RESUMED = 2,
    EVENT_LINK_LOST = 3,
    EVENT_REDIRECTED = 4,
    EVENT_FAILOVER = 5,
    EVENT_TOPOLOGY = 6,
};

typedef void event_fn(void *data, int kind, int fd, const char *text);

struct event_listener {
    event_fn *function;
    void *data;
    struct event_listener *before; /* kept: another thread may be in it */
};

extern struct event_listener *_Atomic event_listener;

/* NULL: nobody is told any more. False: out of memory, and nothing has changed. */
bool event_listen(event_fn *, void *data);

static inline bool event_is_on(void)
{
    return __builtin_expect(atomic_load_explicit(&event_listener, memory_order_acquire) != NULL, 0);
}

/* One line, without its end. errno stays. */
void event_raise(enum event_kind, int fd, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
