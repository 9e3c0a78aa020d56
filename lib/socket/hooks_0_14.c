/* What hiredis 0.14 has of its own: async.o opens its connections by three functions of hiredis.o. */
#pragma GCC visibility push(default)
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/sds.h>
#pragma GCC visibility pop

#include "socket/hooks.h"

/* NOLINTBEGIN: the linker's names */
redisContext *__real_redisConnectNonBlock(const char *ip, int port);
redisContext *__wrap_redisConnectNonBlock(const char *ip, int port);
redisContext *__real_redisConnectBindNonBlock(const char *ip, int port, const char *source);
redisContext *__wrap_redisConnectBindNonBlock(const char *ip, int port, const char *source);
redisContext *__real_redisConnectBindNonBlockWithReuse(const char *ip, int port,
                                                       const char *source);
redisContext *__wrap_redisConnectBindNonBlockWithReuse(const char *ip, int port,
                                                       const char *source);
/* NOLINTEND */

size_t hooks_unsent(const redisContext *c)
{
    return sdslen(c->obuf);
}

redisContext *__wrap_redisConnectNonBlock(const char *ip, int port)
{
    redisContext *c;

    hooks_set_connecting_async(true);
    c = __real_redisConnectNonBlock(ip, port);
    hooks_set_connecting_async(false);
    return c;
}

redisContext *__wrap_redisConnectBindNonBlock(const char *ip, int port, const char *source)
{
    redisContext *c;

    hooks_set_connecting_async(true);
    c = __real_redisConnectBindNonBlock(ip, port, source);
    hooks_set_connecting_async(false);
    return c;
}

redisContext *__wrap_redisConnectBindNonBlockWithReuse(const char *ip, int port,
                                                       const char *source)
{
    redisContext *c;

    hooks_set_connecting_async(true);
    c = __real_redisConnectBindNonBlockWithReuse(ip, port, source);
    hooks_set_connecting_async(false);
    return c;
}
