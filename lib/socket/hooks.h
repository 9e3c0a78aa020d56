/* The few facts that never pass through a system call. */
#ifndef REDISROUTE_SOCKET_HOOKS_H
#define REDISROUTE_SOCKET_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redisAsyncContext;

/* The connect() under way in this thread is the asynchronous layer's. */
bool hooks_connecting_async(void);
void hooks_set_connecting_async(bool async);
/* Its time limit, of whichever layer it is; 0: none. */
int64_t hooks_connect_timeout_ms(void);
/* hiredis has just asked the program's loop for a write event. */
void hooks_write_event_wanted(struct redisAsyncContext *);

/* Bytes of commands that hiredis has formatted and not written yet. */
struct redisContext;
size_t hooks_unsent(const struct redisContext *);

#endif
