#define _GNU_SOURCE
#include "loop.h"

#include <hiredis/adapters/libuv.h>
#include <stdlib.h>
#include <uv.h>

struct base {
    uv_loop_t loop;
    uv_timer_t timer; /* does nothing but wake the loop, so that a turn ends */
};

static void tick(uv_timer_t *timer)
{
    (void)timer;
}

static void *create(void)
{
    struct base *base = calloc(1, sizeof *base);
    MUST(base);
    uv_loop_init(&base->loop);
    uv_timer_init(&base->loop, &base->timer);
    return base;
}

static void destroy(void *arg)
{
    struct base *base = arg;
    uv_close((uv_handle_t *)&base->timer, NULL);
    /* The adapter closes its handle when a context goes; that too needs turns. */
    uv_run(&base->loop, UV_RUN_DEFAULT);
    uv_loop_close(&base->loop);
    free(base);
}

static int attach(void *arg, redisAsyncContext *ac)
{
    struct base *base = arg;
    return redisLibuvAttach(ac, &base->loop);
}

static void turn(void *arg)
{
    struct base *base = arg;
    uv_timer_start(&base->timer, tick, LOOP_TURN_MS, 0);
    uv_run(&base->loop, UV_RUN_ONCE);
    uv_timer_stop(&base->timer);
}

const struct loop_kind loop_libuv = {"libuv", create, destroy, attach, turn};
