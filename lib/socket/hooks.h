/* The few facts that never pass through a system call. One implementation per
 * version of hiredis. */
#ifndef REDISROUTE_SOCKET_HOOKS_H
#define REDISROUTE_SOCKET_HOOKS_H

#include <stdbool.h>

/* The connect() under way is the asynchronous layer's. */
bool hooks_connecting_async(void);

#endif
