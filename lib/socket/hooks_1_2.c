/* What hiredis 1.2 has of its own: all connections are opened by redisConnectWithOptions. */
#pragma GCC visibility push(default)
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/sds.h>
#pragma GCC visibility pop

#include "socket/endpoint.h"
#include "socket/hooks.h"

/* NOLINTBEGIN: the linker's names */
redisContext *hiredis_redisConnectWithOptions(const redisOptions *options);
redisContext *__real_hiredis_redisConnectWithOptions(const redisOptions *options);
redisContext *__wrap_hiredis_redisConnectWithOptions(const redisOptions *options);
int hiredis_redisAsyncSetConnectCallbackNC(redisAsyncContext *ac, redisConnectCallbackNC *fn);
/* NOLINTEND */

/* A descriptor that the program brings may have the number of one that it closed behind our back. */
static void forget_stale(const redisOptions *options)
{
    struct endpoint *stale =
        options->type == REDIS_CONN_USERFD ? descriptor_find(options->endpoint.fd) : NULL;

    if (stale != NULL)
        endpoint_forget(stale);
}

redisContext *__wrap_hiredis_redisConnectWithOptions(const redisOptions *options)
{
    redisContext *c;

    forget_stale(options);
    hooks_set_connecting_async(true);
    c = __real_hiredis_redisConnectWithOptions(options);
    hooks_set_connecting_async(false);
    return c;
}

redisContext *redisConnectWithOptions(const redisOptions *options)
{
    forget_stale(options);
    return __real_hiredis_redisConnectWithOptions(options);
}

int redisAsyncSetConnectCallbackNC(redisAsyncContext *ac, redisConnectCallbackNC *fn)
{
    int result = hiredis_redisAsyncSetConnectCallbackNC(ac, fn);

    if (result == REDIS_OK)
        hooks_write_event_wanted(ac);
    return result;
}

size_t hooks_unsent(const redisContext *c)
{
    return sdslen(c->obuf);
}
