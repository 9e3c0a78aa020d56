#include "loop.h"

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <stdlib.h>

struct base {
    struct event_base *loop;
    struct event *timer; /* does nothing but wake the loop, so that a turn ends */
};

static void tick(evutil_socket_t fd, short events, void *arg)
{
    (void)fd, (void)events, (void)arg;
}

static void *create(void)
{
    struct base *base = calloc(1, sizeof *base);
    MUST(base);
    base->loop = event_base_new();
    base->timer = event_new(base->loop, -1, EV_TIMEOUT, tick, NULL);
    MUST(base->loop && base->timer);
    return base;
}

static void destroy(void *arg)
{
    struct base *base = arg;
    event_free(base->timer);
    event_base_free(base->loop);
    free(base);
}

static int attach(void *arg, redisAsyncContext *ac)
{
    struct base *base = arg;
    return redisLibeventAttach(ac, base->loop);
}

static void turn(void *arg)
{
    struct base *base = arg;
    struct timeval limit = {.tv_usec = LOOP_TURN_MS * 1000};
    event_add(base->timer, &limit);
    event_base_loop(base->loop, EVLOOP_ONCE);
    event_del(base->timer);
}

const struct loop_kind loop_libevent = {"libevent", create, destroy, attach, turn};
