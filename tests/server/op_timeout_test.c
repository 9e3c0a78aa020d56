/* op_timeout: how long a command may take, on a server that answers late or not at all. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/config_file.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { LIMIT_MS = 300, SLOW_MS = 10000 /* of a loaded machine */ };

static const char read_is_late[] = "-TIMEOUT redisroute: *";
static const char unknown[] = "whether the command was executed is unknown";

static void begin(const char *limit)
{
    setenv("REDISROUTE_OP_TIMEOUT", limit, 1);
}

static void silence(struct fake_node *node, const char *command, int times)
{
    fake_node_on(node, command, (struct fake_rule){.action = FAKE_SILENCE, .times = times});
}

static redisContext *connect_fake(struct fake_node *node)
{
    redisContext *c = connect_port(fake_node_port(node));

    EXPECT(c, "PONG", "PING"); /* the cluster is known by now */
    return c;
}

/* Also as the first one, before which the library has to ask what the server is. */
START_TEST(test_one_command)
{
    bool first = _i == 1;
    struct fake_node *node = fake_node_start();
    begin("300ms");
    silence(node, "GET", 1);
    fake_node_on(node, "GET", (struct fake_rule){.action = FAKE_ANSWER, .reply = "+fresh\r\n"});
    redisContext *c = first ? connect_port(fake_node_port(node)) : connect_fake(node);
    int64_t from = now_ms();
    EXPECT(c, read_is_late, "GET k");
    ck_assert_int_ge(now_ms() - from, LIMIT_MS - 20);
    ck_assert_int_lt(now_ms() - from, SLOW_MS);
    int accepted = fake_node_accepted(node);
    EXPECT(c, "fresh", "GET k");
    EXPECT(c, "PONG", "PING");
    ck_assert_int_eq(fake_node_accepted(node), accepted + 1);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

/* Silence is no reason to take a cluster for a single server: the next command asks again. */
START_TEST(test_a_server_that_does_not_say_what_it_is)
{
    struct fake_node *node = fake_node_start();
    begin("300ms");
    silence(node, "CLUSTER SLOTS", 1);
    fake_node_answer(node, "MGET", "*1\r\n$5\r\nfresh\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    for (int i = 0; i < 3; i++)
        redisAppendCommand(c, "SET k v");
    for (int i = 0; i < 3; i++)
        EXPECT_NEXT(c, "-TIMEOUT redisroute: *");
    ck_assert_int_eq(fake_node_seen(node, "SET"), 0);
    EXPECT(c, "fresh\nfresh", "MGET a b"); /* of two slots */
    ck_assert_int_eq(fake_node_seen(node, "MGET"), 2);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_the_fate_of_a_write_is_unknown)
{
    struct fake_node *node = fake_node_start();
    begin("300ms");
    silence(node, "SET", 1);
    redisContext *c = connect_fake(node);
    EXPECT_ERROR(c, unknown, "SET k v");
    ck_assert_int_eq(fake_node_seen(node, "SET"), 1);
    EXPECT(c, "PONG", "PING");
    ck_assert_int_eq(fake_node_seen(node, "SET"), 1);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

/* The late answer must reach no later command. */
START_TEST(test_a_late_answer_is_nobodys)
{
    struct fake_node *node = fake_node_start();
    begin("300ms");
    fake_node_on(
        node, "GET",
        (struct fake_rule){.action = FAKE_RELEASE_LATER, .reply = "+late\r\n", .times = 1});
    fake_node_on(node, "GET", (struct fake_rule){.action = FAKE_ANSWER, .reply = "+fresh\r\n"});
    redisContext *c = connect_fake(node);
    EXPECT(c, read_is_late, "GET k");
    fake_node_release(node);
    for (int i = 0; i < 5; i++)
        EXPECT(c, "fresh", "GET k");
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

/* What is behind it on the connection goes by the rules of a lost one: reads are said again, writes
 * that may have run are not. */
START_TEST(test_a_pipeline)
{
    struct fake_node *node = fake_node_start();
    begin("300ms");
    silence(node, "GET", 2); /* what is behind one that is silent is not answered either */
    silence(node, "SET", 1);
    fake_node_on(node, "GET", (struct fake_rule){.action = FAKE_ANSWER, .reply = "+fresh\r\n"});
    redisContext *c = connect_fake(node);
    silence(node, "PING", 1);
    redisAppendCommand(c, "GET a");
    redisAppendCommand(c, "GET b");
    redisAppendCommand(c, "SET c v");
    redisAppendCommand(c, "PING");
    redisReply *reply = NULL;
    EXPECT_NEXT(c, read_is_late);
    EXPECT_NEXT(c, "fresh");
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    ck_assert_msg(strstr(reply->str, "it did not answer in time") && strstr(reply->str, unknown),
                  "%s", reply->str);
    freeReplyObject(reply);
    EXPECT_NEXT(c, "PONG");
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_in_an_event_loop)
{
    struct fake_node *node = fake_node_start();
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    begin("300ms");
    silence(node, "GET", 1);
    fake_node_on(node, "GET", (struct fake_rule){.action = FAKE_ANSWER, .reply = "+fresh\r\n"});
    async_open(&client, loop, fake_node_port(node));
    async_expect(&client, "PONG", "PING");
    async_finish(&client);
    int64_t from = now_ms();
    async_expect(&client, read_is_late, "GET k");
    async_finish(&client);
    ck_assert_int_ge(now_ms() - from, LIMIT_MS - 20);
    ck_assert_int_lt(now_ms() - from, SLOW_MS);
    for (int i = 0; i < 20; i++)
        async_expect(&client, "fresh", "GET k");
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
    fake_node_stop(node);
}
END_TEST

/* Longer than the second after which somebody is called who looks after silent servers. */
START_TEST(test_more_than_a_second)
{
    struct fake_node *node = fake_node_start();
    begin("2500ms");
    silence(node, "GET", 1);
    redisContext *c = connect_fake(node);
    int64_t from = now_ms();
    EXPECT(c, read_is_late, "GET k");
    ck_assert_int_ge(now_ms() - from, 2400);
    ck_assert_int_lt(now_ms() - from, 2500 + SLOW_MS);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_the_programs_own_time_limit)
{
    struct fake_node *node = fake_node_start();
    begin("30s");
    silence(node, "GET", 1);
    redisContext *c = connect_fake(node);
    redisSetTimeout(c, (struct timeval){.tv_usec = 200000});
    ck_assert_ptr_null(redisCommand(c, "GET k"));
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_a_longer_limit_of_the_program)
{
    struct fake_node *node = fake_node_start();
    begin("300ms");
    silence(node, "GET", 1);
    redisContext *c = connect_fake(node);
    redisSetTimeout(c, (struct timeval){.tv_sec = 30});
    EXPECT(c, read_is_late, "GET k");
    EXPECT(c, "PONG", "PING");
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_transactions)
{
    struct fake_node *node = fake_node_start();
    const char *command = _i == 0 ? "SET" : _i == 1 ? "MULTI" : "EXEC";
    begin("300ms");
    silence(node, command, 1);
    fake_node_on(node, "SET", (struct fake_rule){.action = FAKE_ANSWER, .reply = "+QUEUED\r\n"});
    fake_node_on(node, "MULTI", (struct fake_rule){.action = FAKE_ANSWER, .reply = "+OK\r\n"});
    redisContext *c = connect_fake(node);
    EXPECT(c, "OK", "MULTI");
    if (_i < 2) {
        EXPECT(c, read_is_late, "SET k v");
        EXPECT(c, "-EXECABORT *", "EXEC");
    } else {
        EXPECT(c, "QUEUED", "SET k v");
        EXPECT_ERROR(c, "TIMEOUT redisroute: ", "EXEC");
    }
    EXPECT(c, "PONG", "PING");
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

/* --- on real servers --- */

START_TEST(test_commands_that_block_are_exempt)
{
    begin("200ms");
    redisContext *c = connect_target(_i);
    EXPECT(c, "(nil)", "BLPOP nothing 1");
    EXPECT(c, "PONG", "PING");
    redisFree(c);
}
END_TEST

/* Scripts count: in them the clock of TIME stands still on newer servers, and older have no other. A tenth
 * of a second, and three. */

/* Each answer gives the next one its time. (Of what a server reads at once it sends all answers at
 * once.) */
START_TEST(test_slow_is_not_late)
{
    static const char script[] = "for i = 1, 1e7 do end return 1";
    begin("1s");
    redisContext *c = connect_target(_i);
    for (int i = 0; i < 15; i++) {
        EXPECT(c, "1", "EVAL %s 1 {k}", script);
        redisAppendCommand(c, "SET {k} %d", i);
        redisAppendCommand(c, "EVAL %s 1 {k}", script);
        EXPECT_NEXT(c, "OK");
        EXPECT_NEXT(c, "1");
    }
    redisFree(c);
}
END_TEST

START_TEST(test_a_late_server)
{
    begin("300ms");
    redisContext *c = connect_target(_i), *sleeper = connect_target(_i);
    EXPECT(c, "OK", "SET k v");
    EXPECT(sleeper, "OK", "SET k v");
    redisAppendCommand(sleeper, "EVAL %s 1 k",
                       "for i = 1, 3e8 do end return 1");
    int done = 0;
    while (!done)
        ck_assert_int_eq(redisBufferWrite(sleeper, &done), REDIS_OK);
    pause_ms(50);
    EXPECT(c, read_is_late, "GET k");
    for (int64_t until = now_ms() + UNTIL_LIMIT_MS;;) {
        redisReply *reply = redisCommand(c, "GET k");
        ck_assert_msg(reply, "%s", c->errstr);
        bool ok = reply->type == REDIS_REPLY_STRING;
        ck_assert_msg(ok || strncmp(reply->str, "TIMEOUT redisroute: ", 20) == 0 ||
                          strncmp(reply->str, "UNREACHABLE redisroute: ", 24) == 0,
                      "%s", reply->str);
        freeReplyObject(reply);
        if (ok)
            break;
        ck_assert(now_ms() < until);
    }
    redisFree(sleeper);
    redisFree(c);
}
END_TEST

/* In the form of Envoy, and changed under a running program. */
START_TEST(test_a_listeners_own)
{
    struct fake_node *node = fake_node_start();
    static const char text[] =
        "listeners: [{address: '127.0.0.9:6379', redis_proxy: {settings: "
        "{op_timeout: %s}, prefix_routes: {catch_all_route: {cluster: a}}}}]\n"
        "clusters: [{name: a, endpoints: ['127.0.0.1:%d']}]\n";
    config_begin();
    config_write(text, "60s", fake_node_port(node));
    redisContext *c = redisConnect("127.0.0.9", 6379);
    ck_assert_msg(c && c->err == 0, "cannot connect");
    EXPECT(c, "PONG", "PING");
    config_write(text, "0.3s", fake_node_port(node));
    UNTIL(config_log_says("version 2"));
    silence(node, "GET", 1);
    EXPECT(c, "PONG", "PING"); /* takes it */
    int64_t from = now_ms();
    EXPECT(c, read_is_late, "GET k");
    ck_assert_int_lt(now_ms() - from, SLOW_MS);
    EXPECT(c, "PONG", "PING");
    redisFree(c);
    fake_node_stop(node);
    config_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("op_timeout");
    TCase *tc = suite_case(suite, "fake", NULL, NULL);

    tcase_add_loop_test(tc, test_one_command, 0, 2);
    tcase_add_test(tc, test_a_server_that_does_not_say_what_it_is);
    tcase_add_test(tc, test_the_fate_of_a_write_is_unknown);
    tcase_add_test(tc, test_a_late_answer_is_nobodys);
    tcase_add_test(tc, test_a_pipeline);
    tcase_add_loop_test(tc, test_in_an_event_loop, 0, LOOP_KINDS);
    tcase_add_test(tc, test_more_than_a_second);
    tcase_add_test(tc, test_the_programs_own_time_limit);
    tcase_add_test(tc, test_a_longer_limit_of_the_program);
    tcase_add_loop_test(tc, test_transactions, 0, 3);
    tcase_add_test(tc, test_a_listeners_own);
    tc = suite_case(suite, "real", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_commands_that_block_are_exempt, 0, target_count());
    tcase_add_loop_test(tc, test_slow_is_not_late, 0, target_count());
    tcase_add_loop_test(tc, test_a_late_server, 0, target_count());
    return suite_run(suite);
}
