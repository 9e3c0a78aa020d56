/* Event loops behind one face, so that every test of asynchronous contexts runs on all of them:
 * hiredis' own adapters for libevent, libev and libuv, and two adapters as programs write them for
 * themselves, over poll() and over epoll. */
#ifndef SUPPORT_LOOP_H
#define SUPPORT_LOOP_H

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "until.h"

struct loop;

struct loop_kind {
    const char *name;
    void *(*create)(void);
    void (*destroy)(void *base);
    int (*attach)(void *base, redisAsyncContext *ac);
    /* Waits for events up to LOOP_TURN_MS and handles them. */
    void (*turn)(void *base);
};

enum { LOOP_LIBUV = 2, LOOP_KINDS = 5, LOOP_TURN_MS = 20 };

extern const struct loop_kind loop_libevent, loop_libev, loop_libuv, loop_poll, loop_epoll;

struct loop *loop_create(int kind);
void loop_destroy(struct loop *loop);
const char *loop_name(const struct loop *loop);

/* hiredis' own status: REDIS_OK or REDIS_ERR. */
int loop_attach(struct loop *loop, redisAsyncContext *ac);
void loop_turn(struct loop *loop);

/* The longest that one turn took so far. */
int loop_longest_turn_ms(const struct loop *loop);

/* Turns until the condition holds; dies when that takes too long. */
#define LOOP_UNTIL(loop, condition)                                                                \
    do {                                                                                           \
        int64_t loop_limit_ = now_ms() + UNTIL_LIMIT_MS;                                           \
        while (!(condition)) {                                                                     \
            if (now_ms() > loop_limit_)                                                            \
                die("%s:%d: %s loop: never came true: %s", __FILE__, __LINE__, loop_name(loop),    \
                    #condition);                                                                   \
            loop_turn(loop);                                                                       \
        }                                                                                          \
    } while (0)

/* Turns for that long. */
void loop_turn_for(struct loop *loop, int ms);

#endif
