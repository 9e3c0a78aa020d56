/* Subscriptions at servers that say odd things: refusals, half a message, garbage, redirections, and
 * what nobody asked for. Whatever comes, the subscription comes back, and messages arrive whole. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
#define UNSUBSCRIBED "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n"
#define MESSAGE "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n"
#define SHARD_SUBSCRIBED "*3\r\n$10\r\nssubscribe\r\n$4\r\nnews\r\n:1\r\n"
#define SHARD_MESSAGE "*3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n"

static struct fake_node *node;

static void setup(void)
{
    node = fake_node_start();
    fake_node_answer(node, "GET", "$1\r\n1\r\n");
    fake_node_answer(node, "UNSUBSCRIBE", UNSUBSCRIBED);
}

static void teardown(void)
{
    fake_node_stop(node);
}

static void then_answer(const char *command, const char *reply)
{
    fake_node_on(node, command, (struct fake_rule){.action = FAKE_ANSWER, .reply = reply});
}

/* The message is the next thing that the program hears, and the context is well afterwards. */
static void must_hear_and_go_on(redisContext *c)
{
    EXPECT_NEXT(c, "message\nnews\nhello");
    EXPECT(c, "unsubscribe\nnews\n0", "UNSUBSCRIBE news");
    EXPECT(c, "1", "GET a");
    redisFree(c);
}

/* --- refused --- */

/* Where waiting helps there is no error: hiredis' asynchronous layer would disconnect at one. */
static const char *const not_yet[] = {
    "-LOADING Redis is loading the dataset in memory\r\n",
    "-CLUSTERDOWN The cluster is down\r\n",
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
};

START_TEST(test_not_yet)
{
    fake_node_on(node, "SUBSCRIBE",
                 (struct fake_rule){.action = FAKE_ANSWER, .reply = not_yet[_i], .times = 3});
    then_answer("SUBSCRIBE", SUBSCRIBED MESSAGE);
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "1", "GET a");
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    must_hear_and_go_on(c);
    ck_assert_int_eq(fake_node_seen(node, "SUBSCRIBE"), 4);
}
END_TEST

static int heard, errors;

static void on_message(redisAsyncContext *ac, void *r, void *arg)
{
    redisReply *reply = r;
    (void)ac, (void)arg;
    if (reply == NULL)
        return;
    errors += reply->type == REDIS_REPLY_ERROR;
    heard += reply->type == REDIS_REPLY_ARRAY && !strcmp(reply->element[0]->str, "message");
}

START_TEST(test_not_yet_asynchronously)
{
    struct async_client client = {0};
    fake_node_on(node, "SUBSCRIBE",
                 (struct fake_rule){.action = FAKE_ANSWER, .reply = not_yet[_i], .times = 3});
    then_answer("SUBSCRIBE", SUBSCRIBED MESSAGE);
    async_open(&client, loop_create(0), fake_node_port(node));
    redisAsyncCommand(client.ac, on_message, NULL, "SUBSCRIBE news");
    LOOP_UNTIL(client.loop, heard == 1);
    ck_assert_int_eq(errors, 0);
    ck_assert_int_eq(client.disconnects, 0);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_refused_for_good)
{
    then_answer("SUBSCRIBE", "-NOPERM this user has no permissions to access 'news'\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT_ERROR(c, "NOPERM", "SUBSCRIBE news");
    EXPECT(c, "1", "GET a");
    EXPECT_ERROR(c, "NOPERM", "SUBSCRIBE news");
    EXPECT(c, "1", "GET a");
    redisFree(c);
}
END_TEST

/* --- broken off --- */

static const struct {
    enum fake_action action;
    const char *reply;
} broken[] = {
    {FAKE_CLOSE, ""},
    {FAKE_RESET, ""},
    {FAKE_CLOSE, "*3\r\n$9\r\nsubscr"},
    {FAKE_CLOSE, SUBSCRIBED},
    {FAKE_RESET, SUBSCRIBED},
    {FAKE_CLOSE, SUBSCRIBED "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhal"},
    {FAKE_RESET, SUBSCRIBED "*3\r\n$7\r\nmessage\r\n$4\r\nne"},
    {FAKE_ANSWER, "\001\002 what\r\n"},
    {FAKE_ANSWER, SUBSCRIBED "\001\002 what\r\n"},
    {FAKE_ANSWER, SUBSCRIBED "*3\r\n$7\r\nmessage\r\n$x\r\n"},
    {FAKE_ANSWER, SUBSCRIBED "*99999999999999999999\r\n"},
};

START_TEST(test_broken_off)
{
    fake_node_on(node, "SUBSCRIBE", (struct fake_rule){.action = broken[_i].action,
                                                       .reply = broken[_i].reply, .times = 1});
    then_answer("SUBSCRIBE", SUBSCRIBED MESSAGE);
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "1", "GET a");
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    must_hear_and_go_on(c);
    ck_assert_int_eq(fake_node_seen(node, "SUBSCRIBE"), 2);
}
END_TEST

/* In pieces, each of them late. */
START_TEST(test_byte_by_byte)
{
    fake_node_on(node, "SUBSCRIBE",
                 (struct fake_rule){.action = FAKE_ANSWER_BYTES, .reply = SUBSCRIBED MESSAGE MESSAGE});
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    EXPECT_NEXT(c, "message\nnews\nhello");
    must_hear_and_go_on(c);
}
END_TEST

/* --- what nobody asked for --- */

static const char *const unasked[] = {
    "+OK\r\n",
    ":1\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*1\r\n$7\r\nmessage\r\n",
    "*3\r\n:1\r\n:2\r\n:3\r\n",
    "*3\r\n*1\r\n:1\r\n*0\r\n$-1\r\n",
    "*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$5\r\nhello\r\n",
    "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$4\r\nnews\r\n$5\r\nhello\r\n",
    "*3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n",
    "*3\r\n$12\r\nsunsubscribe\r\n$4\r\nnews\r\n:0\r\n",
    "*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n",
    SUBSCRIBED,
    "-ERR something went wrong\r\n",
};

START_TEST(test_unasked)
{
    char reply[1024];
    snprintf(reply, sizeof reply, "%s%s%s", SUBSCRIBED, unasked[_i], MESSAGE);
    then_answer("SUBSCRIBE", reply);
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    must_hear_and_go_on(c);
}
END_TEST

/* --- shard channels --- */

/* A shard channel's node says that the slot is another's. */
START_TEST(test_a_shard_channel_is_elsewhere)
{
    struct fake_node *other = fake_node_start();
    char moved[80];
    struct fake_range before = {0, 16383, fake_node_port(node), 0};
    struct fake_range after = {0, 16383, fake_node_port(other), 0};
    char *slots_before = fake_slots_reply(&before, 1), *slots_after = fake_slots_reply(&after, 1);
    fake_node_slots(node, slots_before);
    fake_node_slots(other, slots_after);
    snprintf(moved, sizeof moved, "-MOVED %d 127.0.0.1:%d\r\n", cluster_slot("news"),
             fake_node_port(other));
    then_answer("SSUBSCRIBE", moved);
    fake_node_answer(other, "SSUBSCRIBE", SHARD_SUBSCRIBED SHARD_MESSAGE);
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "1", "GET a");
    EXPECT(c, "ssubscribe\nnews\n1", "SSUBSCRIBE news");
    EXPECT_NEXT(c, "smessage\nnews\nhello");
    ck_assert_int_eq(fake_node_seen(other, "SSUBSCRIBE"), 1);
    redisFree(c);
    fake_node_stop(other);
    free(slots_before);
    free(slots_after);
}
END_TEST

/* The server ends the subscription by itself, as it does when the slot moves away; it is asked again. */
START_TEST(test_a_shard_channel_is_ended_by_its_server)
{
    fake_node_on(node, "SSUBSCRIBE",
                 (struct fake_rule){.action = FAKE_ANSWER, .times = 1,
                                    .reply = SHARD_SUBSCRIBED "*3\r\n$12\r\nsunsubscribe\r\n$4\r\nnews"
                                             "\r\n:0\r\n"});
    then_answer("SSUBSCRIBE", SHARD_SUBSCRIBED SHARD_MESSAGE);
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "ssubscribe\nnews\n1", "SSUBSCRIBE news");
    EXPECT_NEXT(c, "smessage\nnews\nhello");
    ck_assert_int_eq(fake_node_seen(node, "SSUBSCRIBE"), 2);
    redisFree(c);
}
END_TEST

/* --- MONITOR --- */

START_TEST(test_monitor_is_broken_off)
{
    fake_node_on(node, "MONITOR", (struct fake_rule){.action = FAKE_CLOSE, .times = 1,
                                                     .reply = "+OK\r\n+1.0 [0 x] \"half"});
    then_answer("MONITOR", "+OK\r\n+1.0 [0 x] \"get\" \"a\"\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "OK", "MONITOR");
    EXPECT_NEXT(c, "1.0 [0 x] \"get\" \"a\"");
    redisFree(c);
}
END_TEST

START_TEST(test_monitor_is_refused)
{
    then_answer("MONITOR", "-NOPERM this user has no permissions\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT_ERROR(c, "NOPERM", "MONITOR");
    EXPECT(c, "1", "GET a");
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("feed");
    TCase *tc = suite_case(suite, "feed", NULL, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_not_yet, 0, (int)(sizeof not_yet / sizeof *not_yet));
    tcase_add_loop_test(tc, test_not_yet_asynchronously, 0,
                        (int)(sizeof not_yet / sizeof *not_yet));
    tcase_add_test(tc, test_refused_for_good);
    tcase_add_loop_test(tc, test_broken_off, 0, (int)(sizeof broken / sizeof *broken));
    tcase_add_test(tc, test_byte_by_byte);
    tcase_add_loop_test(tc, test_unasked, 0, (int)(sizeof unasked / sizeof *unasked));
    tcase_add_test(tc, test_a_shard_channel_is_elsewhere);
    tcase_add_test(tc, test_a_shard_channel_is_ended_by_its_server);
    tcase_add_test(tc, test_monitor_is_broken_off);
    tcase_add_test(tc, test_monitor_is_refused);
    return suite_run(suite);
}
