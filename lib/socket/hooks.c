/* Hooks into hiredis, of all its versions. Two kinds, made by the linker: references between its
 * objects (__wrap_X is called, __real_X is hiredis'), and entry points that applications call
 * (hiredis' own is renamed hiredis_X; here is X). What only some versions have is in hooks_*.c. */
#pragma GCC visibility push(default)
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#pragma GCC visibility pop

#include <errno.h>

#include "config/config.h"
#include "socket/endpoint.h"
#include "socket/hooks.h"

/* NOLINTBEGIN: the linker's names */
int __real___redisAppendCommand(redisContext *c, const char *command, size_t length);
int __wrap___redisAppendCommand(redisContext *c, const char *command, size_t length);
int __real_redisContextConnectTcp(redisContext *c, const char *addr, int port,
                                  const struct timeval *timeout);
int __wrap_redisContextConnectTcp(redisContext *c, const char *addr, int port,
                                  const struct timeval *timeout);
int __real_redisContextConnectBindTcp(redisContext *c, const char *addr, int port,
                                      const struct timeval *timeout, const char *source);
int __wrap_redisContextConnectBindTcp(redisContext *c, const char *addr, int port,
                                      const struct timeval *timeout, const char *source);
int hiredis_redisFreeKeepFd(redisContext *c);
redisContext *hiredis_redisConnectFd(int fd);
int hiredis_redisBufferWrite(redisContext *c, int *done);
void hiredis_redisAsyncHandleRead(redisAsyncContext *ac);
void hiredis_redisAsyncHandleWrite(redisAsyncContext *ac);
int hiredis_redisAsyncSetConnectCallback(redisAsyncContext *ac, redisConnectCallback *fn);
/* NOLINTEND */

static _Thread_local bool connecting_async;
static _Thread_local int64_t connect_timeout_ms;

bool hooks_connecting_async(void)
{
    return connecting_async;
}

void hooks_set_connecting_async(bool async)
{
    connecting_async = async;
}

int64_t hooks_connect_timeout_ms(void)
{
    return connect_timeout_ms;
}

/* hiredis enforces it on the first connection with a poll of its own. */
static void set_connect_timeout(const struct timeval *timeout)
{
    connect_timeout_ms = 0;
    if (timeout != NULL && timeout->tv_sec >= 0 && timeout->tv_usec >= 0)
        connect_timeout_ms = (int64_t)timeout->tv_sec * 1000 + (timeout->tv_usec + 999) / 1000;
}

int __wrap_redisContextConnectTcp(redisContext *c, const char *addr, int port,
                                  const struct timeval *timeout)
{
    int result;

    set_connect_timeout(timeout);
    result = __real_redisContextConnectTcp(c, addr, port, timeout);
    connect_timeout_ms = 0;
    return result;
}

int __wrap_redisContextConnectBindTcp(redisContext *c, const char *addr, int port,
                                      const struct timeval *timeout, const char *source)
{
    int result;

    set_connect_timeout(timeout);
    result = __real_redisContextConnectBindTcp(c, addr, port, timeout, source);
    connect_timeout_ms = 0;
    return result;
}

/* The descriptor that the program's loop watches never becomes writable, or not before the
 * connection is decided. Where hiredis asks the loop for a write event, some adapters watch for
 * nothing else until it has come: they are to watch for reading as well. */
static void watch_for_reading(redisAsyncContext *ac)
{
    if (ac->ev.addRead != NULL)
        ac->ev.addRead(ac->ev.data);
}

void hooks_write_event_wanted(struct redisAsyncContext *ac)
{
    const struct endpoint *ep = descriptor_find(ac->c.fd);

    if (ep != NULL && ep->kind == ENDPOINT_ASYNC)
        watch_for_reading(ac);
}

int redisAsyncSetConnectCallback(redisAsyncContext *ac, redisConnectCallback *fn)
{
    int result = hiredis_redisAsyncSetConnectCallback(ac, fn);

    if (result == REDIS_OK)
        hooks_write_event_wanted(ac);
    return result;
}

/* A command of the asynchronous layer: the session takes it here and now. hiredis'
 * output buffer stays empty, which is what it looks like after a complete write. */
int __wrap___redisAppendCommand(redisContext *c, const char *command, size_t length)
{
    struct endpoint *ep = c->err ? NULL : descriptor_find(c->fd);

    if (ep == NULL || ep->kind != ENDPOINT_ASYNC)
        return __real___redisAppendCommand(c, command, length);
    /* A session that has ended says so at the next read. */
    endpoint_write(ep, command, length);
    watch_for_reading((redisAsyncContext *)(void *)c); /* its first member is the context */
    return REDIS_OK;
}

/* With TLS there is a handshake before the connection is decided, and something to be read for it.
 * hiredis 0.14 takes "not decided yet" for an error if it looks. */
static bool is_undecided(redisAsyncContext *ac)
{
    struct endpoint *ep =
        (ac->c.flags & REDIS_CONNECTED) == 0 ? descriptor_find(ac->c.fd) : NULL;

    return ep != NULL && ep->kind == ENDPOINT_ASYNC && endpoint_connect_error(ep) == EINPROGRESS;
}

/* A pair is writable from the first event on, which need not be that the connection is up. */
void redisAsyncHandleWrite(redisAsyncContext *ac)
{
    if (!is_undecided(ac)) {
        hiredis_redisAsyncHandleWrite(ac);
        return;
    }
    endpoint_is_not_writable(descriptor_find(ac->c.fd));
    watch_for_reading(ac);
}

/* While it monitors, hiredis takes every read event for a line: after one without it forgets its
 * callback. Our descriptor is readable for other things too; that the connection is up is told as
 * a write event, as under hiredis. */
void redisAsyncHandleRead(redisAsyncContext *ac)
{
    bool monitors = (ac->c.flags & REDIS_MONITORING) != 0;
    struct endpoint *ep = monitors ? descriptor_find(ac->c.fd) : NULL;

    if (is_undecided(ac))
        watch_for_reading(ac);
    else if (ep == NULL || ep->kind != ENDPOINT_ASYNC || endpoint_has_news(ep))
        hiredis_redisAsyncHandleRead(ac);
    else if ((ac->c.flags & REDIS_CONNECTED) == 0)
        redisAsyncHandleWrite(ac);
    else
        watch_for_reading(ac);
}

int redisFreeKeepFd(redisContext *c)
{
    struct endpoint *ep = descriptor_find(c->fd);

    if (ep != NULL)
        endpoint_let_go(ep);
    return hiredis_redisFreeKeepFd(c);
}

redisContext *redisConnectFd(int fd)
{
    struct endpoint *stale = descriptor_find(fd);

    if (stale != NULL)
        endpoint_forget(stale);
    if (config_audits(config_get()))
        (void)endpoint_create_tapped(fd, NULL, 0);
    return hiredis_redisConnectFd(fd);
}

/* hiredis calls its own under another name: here is a program that flushes by itself,
 * and will wait for the answer with a poll of its own. */
int redisBufferWrite(redisContext *c, int *done)
{
    int result = hiredis_redisBufferWrite(c, done);
    struct endpoint *ep = descriptor_find(c->fd);

    if (ep != NULL && ep->kind == ENDPOINT_BLOCKING)
        endpoint_expect_poll(ep);
    return result;
}
