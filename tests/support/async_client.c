#define _GNU_SOURCE
#include "async_client.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "expect.h"
#include "loop.h"

struct expectation {
    struct async_client *client;
    int number;
    char expected[]; /* text */
};

static void remember_error(struct async_client *client, const redisAsyncContext *ac)
{
    snprintf(client->errstr, sizeof client->errstr, "%s", ac->errstr ? ac->errstr : "");
}

static void on_connect(const redisAsyncContext *ac, int status)
{
    struct async_client *client = ac->data;
    client->connects++;
    client->connect_status = status;
    remember_error(client, ac);
    if (status != REDIS_OK)
        client->ac = NULL;
    else if (client->on_connect)
        client->on_connect(client);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
    struct async_client *client = ac->data;
    client->disconnects++;
    client->disconnect_status = status;
    remember_error(client, ac);
    client->ac = NULL;
}

void async_open(struct async_client *client, struct loop *loop, int port)
{
    async_open_host(client, loop, "127.0.0.1", port);
}

void async_open_host(struct async_client *client, struct loop *loop, const char *host, int port)
{
    client->port = port;
    async_attach(client, loop, redisAsyncConnect(host, port));
}

void async_attach(struct async_client *client, struct loop *loop, redisAsyncContext *ac)
{
    client->loop = loop;
    client->ac = ac;
    ck_assert_ptr_nonnull(client->ac);
    ck_assert_msg(!client->ac->err, "redisAsyncConnect: %s", client->ac->errstr);
    client->ac->data = client;
    ck_assert_int_eq(loop_attach(loop, client->ac), REDIS_OK);
    ck_assert_int_eq(redisAsyncSetConnectCallback(client->ac, on_connect), REDIS_OK);
    ck_assert_int_eq(redisAsyncSetDisconnectCallback(client->ac, on_disconnect), REDIS_OK);
}

void async_close(struct async_client *client)
{
    redisAsyncDisconnect(client->ac);
    LOOP_UNTIL(client->loop, client->disconnects);
    ck_assert_int_eq(client->disconnects, 1);
    ck_assert_int_eq(client->disconnect_status, REDIS_OK);
}

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
    struct expectation *expectation = arg;
    struct async_client *client = expectation->client;
    (void)ac;
    if (!reply)
        client->nulls++;
    else
        EXPECT_REPLY(reply, expectation->expected);
    ck_assert_int_eq(expectation->number, client->replies + client->nulls - (reply ? 0 : 1));
    client->replies += reply != NULL;
    free(expectation);
}

void async_expect(struct async_client *client, const char *expected, const char *format, ...)
{
    struct expectation *expectation = malloc(sizeof *expectation + strlen(expected) + 1);
    MUST(expectation);
    expectation->client = client;
    expectation->number = client->issued++;
    strcpy(expectation->expected, expected);
    va_list args;
    va_start(args, format);
    ck_assert_int_eq(redisvAsyncCommand(client->ac, on_reply, expectation, format, args), REDIS_OK);
    va_end(args);
}

void async_finish(struct async_client *client)
{
    LOOP_UNTIL(client->loop, client->replies + client->nulls == client->issued);
    ck_assert_int_eq(client->nulls, 0);
}
