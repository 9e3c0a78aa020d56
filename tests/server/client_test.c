/* CLIENT, RESET: one connection to the program, several to the cluster. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
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

enum { MASTERS = 3, KEYS = 300 };

static int spread(redisContext *c)
{
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET client:%d %d", i, i);
    return KEYS;
}

static char *text_of(redisContext *c, const char *command)
{
    redisReply *reply = redisCommand(c, command);
    char *text;

    ck_assert_msg(reply != NULL, "%s: %s", command, c->errstr);
    ck_assert_msg(reply->type != REDIS_REPLY_ERROR, "%s: %s", command, reply->str);
    text = reply_text(reply);
    freeReplyObject(reply);
    return text;
}

static int count_of(const char *text, const char *part)
{
    int count = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

START_TEST(test_list_is_of_all_nodes)
{
    redisContext *c = connect_target(_i);
    char *list;

    EXPECT(c, "OK", "CLIENT SETNAME lister");
    spread(c);
    list = text_of(c, "CLIENT LIST");
    ck_assert_int_eq(count_of(list, "name=lister"), _i == TARGET_CLUSTER ? MASTERS : 1);
    free(list);
    EXPECT(c, "lister", "CLIENT GETNAME");
    redisFree(c);
}
END_TEST

START_TEST(test_kill)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    char address[64] = "", *list, *at;

    spread(other);
    EXPECT(other, "OK", "CLIENT SETNAME victim");
    spread(c);
    list = text_of(c, "CLIENT LIST");
    at = strstr(list, "name=victim");
    ck_assert_ptr_nonnull(at);
    while (at > list && at[-1] != '\n')
        at--;
    sscanf(strstr(at, "addr=") + 5, "%63s", address);
    free(list);
    EXPECT(c, "OK", "CLIENT KILL %s", address);
    EXPECT_ERROR(c, "ERR No such client", "CLIENT KILL %s", address);
    EXPECT(c, "0", "CLIENT KILL ADDR %s", address);
    EXPECT(c, "0", "CLIENT KILL ID 999999999");
    EXPECT_ERROR(c, "ERR", "CLIENT KILL TYPE nonsense");
    if (_i == TARGET_CLUSTER) /* one of its connections is gone: it does not notice */
        spread(other);
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_id_is_the_same_each_time)
{
    redisContext *c = connect_target(_i);
    char *id = text_of(c, "CLIENT ID"), *info, part[64];

    spread(c);
    EXPECT(c, id, "CLIENT ID");
    info = text_of(c, "CLIENT INFO");
    snprintf(part, sizeof part, "id=%s ", id);
    ck_assert_int_eq(strncmp(info, part, strlen(part)), 0);
    EXPECT(c, "0", "CLIENT UNBLOCK %s", id);
    EXPECT(c, "-1", "CLIENT GETREDIR");
    free(info);
    free(id);
    redisFree(c);
}
END_TEST

START_TEST(test_pause)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    int64_t before;

    spread(other);
    EXPECT(c, "OK", "CLIENT PAUSE 300 WRITE");
    before = now_ms();
    EXPECT(other, "1", "GET client:1");
    for (int i = 0; i < 6; i++)
        redisAppendCommand(other, "SET client:%d x", i);
    for (int i = 0; i < 6; i++)
        EXPECT_NEXT(other, "OK");
    ck_assert_int_ge(now_ms() - before, 150);
    EXPECT(c, "OK", "CLIENT PAUSE 100000 WRITE");
    EXPECT(c, "OK", "CLIENT UNPAUSE");
    spread(other);
    EXPECT_ERROR(c, "ERR", "CLIENT PAUSE nonsense");
    redisFree(other);
    redisFree(c);
}
END_TEST

static void send_only(redisContext *c, const char *format, int value)
{
    int done = 0;

    redisAppendCommand(c, format, value, value);
    while (!done)
        ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
}

START_TEST(test_reply_off)
{
    redisContext *c = connect_target(_i);

    target_flush(_i);
    send_only(c, "CLIENT REPLY OFF", 0);
    for (int i = 0; i < 100 * KEYS; i++)
        send_only(c, "INCR off:%d", i % KEYS);
    send_only(c, "MGET off:1 off:2 off:3", 0);
    send_only(c, "nonsense", 0);
    send_only(c, "BLPOP none 0.01", 0);
    send_only(c, "CLIENT REPLY SKIP", 0);
    EXPECT(c, "OK", "CLIENT REPLY ON");
    for (int i = 0; i < KEYS; i++) {
        EXPECT(c, "100", "GET off:%d", i);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_reply_skip)
{
    redisContext *c = connect_target(_i);

    for (int i = 0; i < KEYS; i++) {
        redisAppendCommand(c, "SET skip:%d 1", i);
        redisAppendCommand(c, "CLIENT REPLY SKIP");
        redisAppendCommand(c, "INCR skip:%d", i);
        redisAppendCommand(c, "GET skip:%d", i);
        EXPECT_NEXT(c, "OK");
        EXPECT_NEXT(c, "2");
    }
    EXPECT_ERROR(c, "ERR syntax error", "CLIENT REPLY nonsense");
    redisFree(c);
}
END_TEST

/* What was written and not read is executed all the same when the context is freed. */
START_TEST(test_reply_off_and_free)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);

    target_flush(_i);
    send_only(c, "CLIENT REPLY OFF", 0);
    for (int i = 0; i < 1000; i++)
        send_only(c, "INCR freed:%d", i % 10);
    redisFree(c);
    for (int i = 0; i < 10; i++) {
        char *value = NULL;
        UNTIL((free(value), value = target_look(_i, i == 0   ? "freed:0"
                                                    : i == 9 ? "freed:9"
                                                             : "freed:5",
                                                "GET freed:%d", i == 0 ? 0 : i == 9 ? 9 : 5)) &&
              !strcmp(value, "100"));
        free(value);
    }
    redisFree(other);
}
END_TEST

START_TEST(test_reset)
{
    redisContext *c = connect_target(_i);

    EXPECT(c, "OK", "CLIENT SETNAME before");
    spread(c);
    EXPECT(c, "RESET", "RESET");
    EXPECT(c, "(nil)", "CLIENT GETNAME");
    spread(c);
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET client:1 in-transaction");
    EXPECT(c, "RESET", "RESET");
    EXPECT(c, "1", "GET client:1");
    EXPECT_ERROR(c, "ERR EXEC without MULTI", "EXEC");
    EXPECT_ERROR(c, "ERR wrong number of arguments for 'reset' command", "RESET now");
    redisFree(c);
}
END_TEST

START_TEST(test_tracking)
{
    redisContext *c = connect_target(_i);

    EXPECT(c, "OK", "CLIENT TRACKING OFF");
    if (_i == TARGET_CLUSTER) {
        EXPECT_ERROR(c, "UNSUPPORTED redisroute: CLIENT TRACKING with REDIRECT",
                     "CLIENT TRACKING ON REDIRECT 1");
    }
    EXPECT_ERROR(c, "ERR", "CLIENT TRACKING nonsense");
    EXPECT(c, "flags\noff\nredirect\n-1\nprefixes\n", "CLIENT TRACKINGINFO");
    redisFree(c);
}
END_TEST

START_TEST(test_async_reset)
{
    int target = _i % target_count();
    struct async_client client = {0};
    struct loop *loop = loop_create(_i / target_count());

    async_open(&client, loop, target_port(target));
    async_expect(&client, "OK", "CLIENT SETNAME before");
    async_expect(&client, "OK", "SET client:1 1");
    async_expect(&client, "RESET", "RESET");
    async_expect(&client, "(nil)", "CLIENT GETNAME");
    async_expect(&client, "1", "GET client:1");
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tc = suite_case(suite, "as one server", target_setup, target_teardown);

    tcase_add_loop_test(tc, test_list_is_of_all_nodes, 0, target_count());
    tcase_add_loop_test(tc, test_kill, 0, target_count());
    tcase_add_loop_test(tc, test_id_is_the_same_each_time, 0, target_count());
    tcase_add_loop_test(tc, test_pause, 0, target_count());
    tcase_add_loop_test(tc, test_reply_off, 0, target_count());
    tcase_add_loop_test(tc, test_reply_skip, 0, target_count());
    tcase_add_loop_test(tc, test_reply_off_and_free, 0, target_count());
    tcase_add_loop_test(tc, test_reset, 0, target_count());
    tcase_add_loop_test(tc, test_tracking, 0, target_count());
    tcase_add_loop_test(tc, test_async_reset, 0, LOOP_KINDS * target_count());
    return suite_run(suite);
}
