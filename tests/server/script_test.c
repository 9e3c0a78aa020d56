/* Scripts are found on every node, as on one server: also on one that does not know them, because
 * it joined later or was restarted. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

static const char text[] = "return redis.call('INCR',KEYS[1])";
static const char no_script[] = "-NOSCRIPT No matching script.*";
enum { KEYS = 12 };

static void load(redisContext *c, const char *script, char sha[41])
{
    redisReply *reply = redisCommand(c, "SCRIPT LOAD %s", script);
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    ck_assert_int_eq((int)reply->len, 40);
    memcpy(sha, reply->str, 41);
    freeReplyObject(reply);
}

/* As if all had been restarted. */
static void make_nodes_forget(void)
{
    for (int node = 0; node < cluster_size(target_cluster()); node++)
        ck_assert(cluster_says(target_cluster(), node, "OK", "SCRIPT FLUSH"));
}

START_TEST(test_a_script_that_was_run_is_known)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "OK", "SCRIPT FLUSH");
    EXPECT(c, no_script, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0");
    EXPECT(c, no_script, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 a");
    EXPECT(c, "1", "EVAL %s 1 a", "return 1");
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "1", "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 k:%d", i);
    EXPECT(c, "1", "EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0");
    EXPECT(c, "1", "EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 b");
    EXPECT(c, "OK", "SCRIPT FLUSH");
    EXPECT(c, no_script, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 a");
    EXPECT(c, "-ERR wrong number of arguments for 'evalsha' command", "EVALSHA x");
    redisFree(c);
}
END_TEST

START_TEST(test_nodes_that_forgot)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    char sha[41], expected[16];
    target_flush(TARGET_CLUSTER);
    load(c, text, sha);
    for (int round = 1; round <= 3; round++) {
        make_nodes_forget();
        snprintf(expected, sizeof expected, "%d", round);
        for (int i = 0; i < KEYS; i++)
            EXPECT(c, expected, "EVALSHA %s 1 k:%d", sha, i);
    }
    redisFree(c);
}
END_TEST

/* The script is told again and nothing overtakes it. */
START_TEST(test_nodes_that_forgot_in_a_pipeline)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    char sha[41];
    target_flush(TARGET_CLUSTER);
    load(c, text, sha);
    redisFree(c);
    make_nodes_forget();
    c = connect_target(TARGET_CLUSTER);
    for (int i = 0; i < KEYS; i++) {
        redisAppendCommand(c, "SET k:%d 5", i);
        redisAppendCommand(c, "EVALSHA %s 1 k:%d", sha, i);
        redisAppendCommand(c, "GET k:%d", i);
        redisAppendCommand(c, "EVALSHA %s 1 k:%d", sha, i);
    }
    for (int i = 0; i < KEYS; i++) {
        EXPECT_NEXT(c, "OK");
        EXPECT_NEXT(c, "6");
        EXPECT_NEXT(c, "6");
        EXPECT_NEXT(c, "7");
    }
    redisFree(c);
}
END_TEST

START_TEST(test_nodes_that_forgot_in_a_transaction)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    char sha[41];
    target_flush(TARGET_CLUSTER);
    load(c, text, sha);
    make_nodes_forget();
    for (int i = 0; i < KEYS; i++) {
        EXPECT(c, "OK", "MULTI");
        EXPECT(c, "QUEUED", "EVALSHA %s 1 k:%d", sha, i);
        EXPECT(c, "QUEUED", "EVALSHA %s 1 k:%d", sha, i);
        EXPECT(c, "1\n2", "EXEC");
    }
    redisFree(c);
}
END_TEST

START_TEST(test_nodes_that_forgot_asynchronously)
{
    struct async_client client = {0};
    redisContext *c = connect_target(TARGET_CLUSTER);
    char sha[41];
    target_flush(TARGET_CLUSTER);
    load(c, text, sha);
    redisFree(c);
    make_nodes_forget();
    async_open(&client, loop_create(_i), target_port(TARGET_CLUSTER));
    for (int i = 0; i < KEYS; i++) {
        async_expect(&client, "1", "EVALSHA %s 1 k:%d", sha, i);
        async_expect(&client, "1", "GET k:%d", i);
        async_expect(&client, "2", "EVALSHA %s 1 k:%d", sha, i);
    }
    async_finish(&client);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* A script that says so itself has run: it must not run again. */
START_TEST(test_a_script_that_says_noscript)
{
    redisContext *c = connect_target(_i);
    char sha[41];
    target_flush(_i);
    load(c, "redis.call('INCR',KEYS[1]) return redis.error_reply('NOSCRIPT of my own')", sha);
    EXPECT_ERROR(c, "NOSCRIPT of my own", "EVALSHA %s 1 a", sha);
    EXPECT(c, "1", "GET a");
    redisFree(c);
}
END_TEST

START_TEST(test_functions)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "lib", "FUNCTION LOAD REPLACE %s",
           "#!lua name=lib\nredis.register_function('up',function(keys,args) return "
           "redis.call('INCRBY',keys[1],args[1]) end)\nredis.register_function('one',function() "
           "return 1 end)");
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "3", "FCALL up 1 k:%d 3", i);
    EXPECT(c, "1", "FCALL one 0");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "FCALL up 1 k:0 3");
    EXPECT(c, "6", "EXEC");
    EXPECT(c, "OK", "FUNCTION FLUSH");
    redisFree(c);
}
END_TEST

/* --- what runs without end --- */

static void flush_out(redisContext *c)
{
    int done = 0;
    while (!done)
        ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
}

/* Until the script runs nobody is busy; then one node is, and the others say that they are not. */
static void kill_it(redisContext *c, const char *command)
{
    redisReply *reply = NULL;
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; !reply || reply->type == REDIS_REPLY_ERROR;) {
        ck_assert_msg(now_ms() < limit, "%s: %s", command, reply ? reply->str : "no reply");
        if (reply)
            ck_assert_msg(!strncmp(reply->str, "NOTBUSY", 7), "%s: %s", command, reply->str);
        freeReplyObject(reply);
        reply = redisCommand(c, command);
    }
    EXPECT_REPLY(reply, "OK");
    freeReplyObject(reply);
}

START_TEST(test_script_kill)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    EXPECT(c, "OK", "CONFIG SET busy-reply-threshold 50");
    EXPECT_ERROR(other, "NOTBUSY", "SCRIPT KILL");
    redisAppendCommand(c, "EVAL %s 1 k", "while true do end");
    redisAppendCommand(c, "PING");
    flush_out(c);
    kill_it(other, "SCRIPT KILL");
    redisReply *reply = NULL;
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
    ck_assert_msg(strstr(reply->str, "killed by user") != NULL, "%s", reply->str);
    freeReplyObject(reply);
    EXPECT_NEXT(c, "PONG");
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_function_kill)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    EXPECT(c, "OK", "CONFIG SET busy-reply-threshold 50");
    EXPECT(c, "endless", "FUNCTION LOAD REPLACE %s",
           "#!lua name=endless\nredis.register_function('run',function() while true do end end)");
    EXPECT_ERROR(other, "NOTBUSY", "FUNCTION KILL");
    redisAppendCommand(c, "FCALL run 1 k");
    flush_out(c);
    kill_it(other, "FUNCTION KILL");
    redisReply *reply = NULL;
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    EXPECT(c, "OK", "FUNCTION DELETE endless");
    EXPECT_ERROR(c, "Library not found", "FUNCTION DELETE endless");
    redisFree(other);
    redisFree(c);
}
END_TEST

/* What one node dumps, all nodes have again. */
START_TEST(test_functions_are_restored_everywhere)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "dumped", "FUNCTION LOAD REPLACE %s",
           "#!lua name=dumped\nredis.register_function('up',function(keys) return "
           "redis.call('INCR',keys[1]) end)");
    redisReply *dump = redisCommand(c, "FUNCTION DUMP");
    ck_assert_int_eq(dump->type, REDIS_REPLY_STRING);
    EXPECT(c, "OK", "FUNCTION FLUSH");
    EXPECT_ERROR(c, "Function not found", "FCALL up 1 k:0");
    EXPECT(c, "OK", "FUNCTION RESTORE %b", dump->str, (size_t)dump->len);
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "1", "FCALL up 1 k:%d", i);
    EXPECT(c, "OK", "FUNCTION FLUSH");
    freeReplyObject(dump);
    redisFree(c);
}
END_TEST

/* A node that was restarted has lost its scripts. */
START_TEST(test_a_node_that_was_restarted)
{
    char sha[64];
    struct cluster *cluster = target_cluster();
    redisContext *c = connect_target(TARGET_CLUSTER);
    load(c, "return {KEYS[1],ARGV[1]}", sha);
    char *key = cluster_key_for(cluster, 1, 0), expected[64];
    snprintf(expected, sizeof expected, "%s\nx", key);
    EXPECT(c, expected, "EVALSHA %s 1 %s x", sha, key);
    cluster_signal(cluster, 1, SIGKILL);
    cluster_restart(cluster, 1);
    EXPECT(c, expected, "EVALSHA %s 1 %s x", sha, key);
    free(key);
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("script");
    TCase *tc = suite_case(suite, "everywhere", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_a_script_that_was_run_is_known, 0, target_count());
    tcase_add_loop_test(tc, test_a_script_that_says_noscript, 0, target_count());
    tcase_add_loop_test(tc, test_functions, 0, target_count());
    tcase_add_loop_test(tc, test_script_kill, 0, target_count());
    tcase_add_loop_test(tc, test_function_kill, 0, target_count());
    tcase_add_loop_test(tc, test_functions_are_restored_everywhere, 0, target_count());
    if (target_count() > TARGET_CLUSTER) {
        tc = suite_case(suite, "cluster", target_setup, target_teardown);
        tcase_add_test(tc, test_nodes_that_forgot);
        tcase_add_test(tc, test_nodes_that_forgot_in_a_pipeline);
        tcase_add_test(tc, test_nodes_that_forgot_in_a_transaction);
        tcase_add_loop_test(tc, test_nodes_that_forgot_asynchronously, 0, LOOP_KINDS);
        tcase_add_test(tc, test_a_node_that_was_restarted);
    }
    return suite_run(suite);
}
