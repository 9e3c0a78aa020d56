#define _GNU_SOURCE
#include "loop.h"

#include <stdlib.h>

static const struct loop_kind *const kinds[LOOP_KINDS] = {
    &loop_libevent, &loop_libev, &loop_libuv, &loop_poll, &loop_epoll,
};

struct loop {
    const struct loop_kind *kind;
    void *base;
    int longest_turn_ms;
};

struct loop *loop_create(int kind)
{
    struct loop *loop = calloc(1, sizeof *loop);
    MUST(loop && kind < LOOP_KINDS);
    loop->kind = kinds[kind];
    loop->base = loop->kind->create();
    MUST(loop->base);
    return loop;
}

void loop_destroy(struct loop *loop)
{
    loop->kind->destroy(loop->base);
    free(loop);
}

const char *loop_name(const struct loop *loop)
{
    return loop->kind->name;
}

int loop_attach(struct loop *loop, redisAsyncContext *ac)
{
    return loop->kind->attach(loop->base, ac);
}

void loop_turn(struct loop *loop)
{
    int64_t start = now_ms();
    loop->kind->turn(loop->base);
    int took = (int)(now_ms() - start);
    if (took > loop->longest_turn_ms)
        loop->longest_turn_ms = took;
}

int loop_longest_turn_ms(const struct loop *loop)
{
    return loop->longest_turn_ms;
}

void loop_turn_for(struct loop *loop, int ms)
{
    int64_t end = now_ms() + ms;
    while (now_ms() < end)
        loop_turn(loop);
}
