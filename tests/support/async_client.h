/* An asynchronous context with everything that was called back about it. */
#ifndef SUPPORT_ASYNC_CLIENT_H
#define SUPPORT_ASYNC_CLIENT_H

#include <hiredis/async.h>
#include <stdbool.h>

struct loop;

struct async_client {
    struct loop *loop;
    redisAsyncContext *ac; /* null once hiredis has freed it: after a failed connection, and after
                              the disconnect callback */
    int port;
    int connects, connect_status;
    int disconnects, disconnect_status;
    char errstr[128]; /* as it was in the last of those callbacks */

    int issued;  /* by async_expect */
    int replies; /* those that came, in order, as expected */
    int nulls;   /* callbacks with a null reply */

    void (*on_connect)(struct async_client *client); /* the test's own, may be null */
    void *data;
};

/* redisAsyncConnect to a loopback port, attached to the loop, with both callbacks set. Fails the
 * test when redisAsyncConnect itself fails. */
void async_open(struct async_client *client, struct loop *loop, int port);
void async_open_host(struct async_client *client, struct loop *loop, const char *host, int port);
/* … with a context that is connecting already. */
void async_attach(struct async_client *client, struct loop *loop, redisAsyncContext *ac);

/* redisAsyncDisconnect, and turns until the disconnect callback has come, with REDIS_OK. */
void async_close(struct async_client *client);

/* Issues a command whose reply has to be `expected` (in the text form of expect.h), and has to come
 * after the replies of all that were issued before. */
void async_expect(struct async_client *client, const char *expected, const char *format, ...);

/* Turns until everything issued was answered as expected. */
void async_finish(struct async_client *client);

#endif
