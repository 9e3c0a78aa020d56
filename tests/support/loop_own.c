/* Adapters as programs write them for themselves: Redis::Fast polls, others use epoll. They look at
 * ac->c.fd once, when they attach, and trust that it stays. */
#define _GNU_SOURCE
#include "loop.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MAX_WATCHES = 256 };

struct watch {
    struct base *base;
    redisAsyncContext *ac;
    int fd;
    bool wants_read, wants_write;
};

struct base {
    int epoll; /* -1: poll() */
    struct watch *watches[MAX_WATCHES];
    int count;
};

static void tell_epoll(struct watch *watch, int operation)
{
    struct epoll_event event = {.events = (watch->wants_read ? EPOLLIN : 0u) |
                                          (watch->wants_write ? EPOLLOUT : 0u),
                                .data.ptr = watch};
    if (watch->base->epoll >= 0)
        MUST(epoll_ctl(watch->base->epoll, operation, watch->fd, &event) == 0);
}

static void set(struct watch *watch, bool *wants, bool value)
{
    if (*wants == value)
        return;
    *wants = value;
    tell_epoll(watch, EPOLL_CTL_MOD);
}

static void add_read(void *arg)
{
    struct watch *watch = arg;
    set(watch, &watch->wants_read, true);
}

static void del_read(void *arg)
{
    struct watch *watch = arg;
    set(watch, &watch->wants_read, false);
}

static void add_write(void *arg)
{
    struct watch *watch = arg;
    set(watch, &watch->wants_write, true);
}

static void del_write(void *arg)
{
    struct watch *watch = arg;
    set(watch, &watch->wants_write, false);
}

static void cleanup(void *arg)
{
    struct watch *watch = arg;
    struct base *base = watch->base;
    if (base->epoll >= 0)
        MUST(epoll_ctl(base->epoll, EPOLL_CTL_DEL, watch->fd, NULL) == 0);
    for (int i = 0; i < base->count; i++)
        if (base->watches[i] == watch)
            base->watches[i] = base->watches[--base->count];
    watch->ac->ev.data = NULL;
    free(watch);
}

static int attach(void *arg, redisAsyncContext *ac)
{
    struct base *base = arg;
    if (ac->ev.data)
        return REDIS_ERR;
    struct watch *watch = calloc(1, sizeof *watch);
    MUST(watch && base->count < MAX_WATCHES);
    *watch = (struct watch){.base = base, .ac = ac, .fd = ac->c.fd};
    base->watches[base->count++] = watch;
    ac->ev.data = watch;
    ac->ev.addRead = add_read;
    ac->ev.delRead = del_read;
    ac->ev.addWrite = add_write;
    ac->ev.delWrite = del_write;
    ac->ev.cleanup = cleanup;
    tell_epoll(watch, EPOLL_CTL_ADD);
    return REDIS_OK;
}

/* A handler may free its context and others: look whether the watch is still there. */
static bool is_watched(const struct base *base, const struct watch *watch)
{
    for (int i = 0; i < base->count; i++)
        if (base->watches[i] == watch)
            return true;
    return false;
}

static void handle(struct base *base, struct watch *watch, bool can_read, bool can_write)
{
    if (can_read && is_watched(base, watch) && watch->wants_read)
        redisAsyncHandleRead(watch->ac);
    if (can_write && is_watched(base, watch) && watch->wants_write)
        redisAsyncHandleWrite(watch->ac);
}

static void turn_poll(void *arg)
{
    struct base *base = arg;
    struct pollfd set[MAX_WATCHES];
    struct watch *watches[MAX_WATCHES];
    int count = base->count;
    for (int i = 0; i < count; i++) {
        watches[i] = base->watches[i];
        set[i] = (struct pollfd){.fd = watches[i]->fd,
                                 .events = (short)((watches[i]->wants_read ? POLLIN : 0) |
                                                   (watches[i]->wants_write ? POLLOUT : 0))};
    }
    poll(set, (nfds_t)count, LOOP_TURN_MS);
    for (int i = 0; i < count; i++)
        handle(base, watches[i], set[i].revents & (POLLIN | POLLHUP | POLLERR),
               set[i].revents & (POLLOUT | POLLERR));
}

static void turn_epoll(void *arg)
{
    struct base *base = arg;
    struct epoll_event events[MAX_WATCHES];
    int count = epoll_wait(base->epoll, events, MAX_WATCHES, LOOP_TURN_MS);
    for (int i = 0; i < count; i++)
        handle(base, events[i].data.ptr, events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR),
               events[i].events & (EPOLLOUT | EPOLLERR));
}

static void *create_poll(void)
{
    struct base *base = calloc(1, sizeof *base);
    MUST(base);
    base->epoll = -1;
    return base;
}

static void *create_epoll(void)
{
    struct base *base = create_poll();
    base->epoll = epoll_create1(EPOLL_CLOEXEC);
    MUST(base->epoll >= 0);
    return base;
}

static void destroy(void *arg)
{
    struct base *base = arg;
    if (base->epoll >= 0)
        close(base->epoll);
    free(base);
}

const struct loop_kind loop_poll = {"own poll", create_poll, destroy, attach, turn_poll};
const struct loop_kind loop_epoll = {"own epoll", create_epoll, destroy, attach, turn_epoll};
