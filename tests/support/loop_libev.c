#include "loop.h"

#include <ev.h>
#include <hiredis/adapters/libev.h>

/* A timer that does nothing wakes the loop, so that a turn ends. */
static void tick(struct ev_loop *base, ev_timer *timer, int events)
{
    (void)base, (void)timer, (void)events;
}

static void *create(void)
{
    return ev_loop_new(EVFLAG_AUTO);
}

static void destroy(void *base)
{
    ev_loop_destroy(base);
}

static int attach(void *base, redisAsyncContext *ac)
{
    return redisLibevAttach(base, ac);
}

static void turn(void *base)
{
    ev_timer timer;
    ev_timer_init(&timer, tick, LOOP_TURN_MS / 1000.0, 0);
    ev_timer_start(base, &timer);
    ev_run(base, EVRUN_ONCE);
    ev_timer_stop(base, &timer);
}

const struct loop_kind loop_libev = {"libev", create, destroy, attach, turn};
