/* MONITOR: what all masters execute, as one stream. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { COMMANDS = 60, MASTERS = 3, NODE_TIMEOUT_MS = 1500 };

static struct cluster *cluster;

static void setup(void)
{
    cluster = cluster_start(&(struct cluster_options){
        .masters = MASTERS, .replicas = 1, .node_timeout_ms = NODE_TIMEOUT_MS});
}

static void teardown(void)
{
    cluster_stop(cluster);
}

/* The next line that holds `part`, among what others do meanwhile. */
static void expect_line(redisContext *c, const char *part)
{
    redisReply *reply = NULL;

    for (bool found = false; !found;) {
        ck_assert_msg(redisGetReply(c, (void **)&reply) == REDIS_OK, "%s: %s", part, c->errstr);
        ck_assert_int_eq(reply->type, REDIS_REPLY_STATUS);
        found = strstr(reply->str, part) != NULL;
        freeReplyObject(reply);
    }
}

START_TEST(test_every_command_once)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    char part[64];
    int seen = 0;

    EXPECT(c, "OK", "MONITOR");
    for (int i = 0; i < COMMANDS; i++) {
        EXPECT(other, "OK", "SET monitored:%d v", i);
        snprintf(part, sizeof part, "\"SET\" \"monitored:%d\" \"v\"", i);
        expect_line(c, part);
    }
    /* A second look at all of it: none comes twice. */
    EXPECT(other, "OK", "SET last:1 v");
    for (bool done = false; !done;) {
        redisReply *reply = NULL;
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        seen += strstr(reply->str, "monitored:") != NULL;
        done = strstr(reply->str, "last:1") != NULL;
        freeReplyObject(reply);
    }
    ck_assert_int_eq(seen, 0);
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_what_is_allowed_and_reset)
{
    redisContext *c = connect_target(_i);

    EXPECT(c, "OK", "SET k v");
    EXPECT(c, "OK", "MONITOR");
    redisAppendCommand(c, "GET k");
    for (redisReply *reply = NULL;;) {
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        bool is_answer = reply->type == REDIS_REPLY_ERROR;
        if (is_answer)
            ck_assert_str_eq(reply->str, "ERR Replica can't interact with the keyspace");
        freeReplyObject(reply);
        if (is_answer)
            break;
    }
    redisAppendCommand(c, "RESET");
    expect_line(c, "RESET");
    EXPECT(c, "v", "GET k");
    redisFree(c);
}
END_TEST

START_TEST(test_readable_for_a_line)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    struct pollfd set = {.fd = -1, .events = POLLIN};

    EXPECT(c, "OK", "MONITOR");
    set.fd = c->fd;
    EXPECT(other, "OK", "SET polled v");
    ck_assert_int_eq(poll(&set, 1, UNTIL_LIMIT_MS), 1);
    expect_line(c, "polled");
    redisFree(other);
    redisFree(c);
}
END_TEST

struct lines {
    int oks, found, others, nulls;
    const char *part;
};

static void on_line(redisAsyncContext *ac, void *reply, void *data)
{
    struct lines *lines = data;
    redisReply *r = reply;

    (void)ac;
    if (r == NULL)
        lines->nulls++;
    else if (!strcmp(r->str, "OK"))
        lines->oks++;
    else if (strstr(r->str, lines->part))
        lines->found++;
    else
        lines->others++;
}

START_TEST(test_async)
{
    int target = _i % target_count();
    struct async_client client = {0};
    struct lines lines = {.part = "\"async-monitored:"};
    struct loop *loop = loop_create(_i / target_count());
    redisContext *other = connect_target(target);

    async_open(&client, loop, target_port(target));
    redisAsyncCommand(client.ac, on_line, &lines, "MONITOR");
    LOOP_UNTIL(loop, lines.oks == 1);
    for (int i = 0; i < COMMANDS; i++)
        EXPECT(other, "OK", "SET async-monitored:%d v", i);
    LOOP_UNTIL(loop, lines.found == COMMANDS);
    ck_assert_int_eq(lines.oks, 1);
    redisAsyncFree(client.ac);
    redisFree(other);
    loop_destroy(loop);
}
END_TEST

/* A master dies: the others go on, and its successor joins. */
START_TEST(test_failover)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    redisContext *other = connect_port(cluster_port(cluster, 1));
    char *dead = cluster_key_for(cluster, 2, 0), *living = cluster_key_for(cluster, 0, 0), part[64];
    bool is_back = false;

    EXPECT(c, "OK", "MONITOR");
    cluster_signal(cluster, 2, SIGKILL);
    EXPECT(other, "OK", "SET %s v", living);
    snprintf(part, sizeof part, "\"SET\" \"%s\"", living);
    expect_line(c, part);
    cluster_await_failover(cluster, 2);
    redisSetTimeout(c, (struct timeval){.tv_usec = 50000});
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; !is_back;) {
        redisReply *reply;

        ck_assert_msg(now_ms() < limit, "the new master's commands never came");
        EXPECT(other, "OK", "SET %s v", dead);
        while (!is_back && redisGetReply(c, (void **)&reply) == REDIS_OK) {
            snprintf(part, sizeof part, "\"SET\" \"%s\"", dead);
            is_back = strstr(reply->str, part) != NULL;
            freeReplyObject(reply);
        }
        c->err = 0;
    }
    free(dead);
    free(living);
    redisFree(other);
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("monitor");
    TCase *tc = suite_case(suite, "as one server", target_setup, target_teardown);

    tcase_add_loop_test(tc, test_every_command_once, 0, target_count());
    tcase_add_loop_test(tc, test_what_is_allowed_and_reset, 0, target_count());
    tcase_add_loop_test(tc, test_readable_for_a_line, 0, target_count());
    tcase_add_loop_test(tc, test_async, 0, LOOP_KINDS * target_count());
    tc = suite_case(suite, "failover", setup, teardown);
    tcase_add_test(tc, test_failover);
    return suite_run(suite);
}
