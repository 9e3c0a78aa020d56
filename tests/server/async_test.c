/* Asynchronous contexts on five event loops: callbacks come in the order of issue, each exactly
 * once, with the statuses of hiredis, and nothing blocks the loop. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/loop.h"
#include "../support/port.h"
#include "../support/server.h"
#include "../support/silent_host.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { KEYS = 300, MEGABYTE = 1 << 20 };

/* Generous for a loaded machine, and far below any wait for a connection or a time limit. */
enum { LOOP_STALLED_MS = 1000 };

/* The number of a loop test names a kind of loop and a target. */
static struct loop *loop_of(int number)
{
    return loop_create(number / target_count());
}

static int target_of(int number)
{
    return number % target_count();
}

static void open_target(struct async_client *client, int number)
{
    async_open(client, loop_of(number), target_port(target_of(number)));
}

static void expect_sets_and_gets(struct async_client *client, int count)
{
    char value[16];
    for (int i = 0; i < count; i++) {
        snprintf(value, sizeof value, "%d", i);
        async_expect(client, "OK", "SET async:%d %d", i, i);
        async_expect(client, value, "GET async:%d", i);
    }
}

/* --- connecting and disconnecting --- */

START_TEST(test_connect_and_disconnect_callbacks)
{
    struct async_client client = {0};
    open_target(&client, _i);
    LOOP_UNTIL(client.loop, client.connects);
    ck_assert_int_eq(client.connect_status, REDIS_OK);
    ck_assert_int_eq(client.disconnects, 0);
    async_expect(&client, "OK", "SET async:key v");
    async_finish(&client);
    async_close(&client);
    ck_assert_int_eq(client.connects, 1);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_connected_without_any_command)
{
    struct async_client client = {0};
    open_target(&client, _i);
    LOOP_UNTIL(client.loop, client.connects);
    ck_assert_int_eq(client.connect_status, REDIS_OK);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_commands_before_the_connection_is_up)
{
    struct async_client client = {0};
    open_target(&client, _i);
    expect_sets_and_gets(&client, KEYS);
    ck_assert_int_eq(client.connects, 0);
    async_finish(&client);
    ck_assert_int_eq(client.connects, 1);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

static void send_first_commands(struct async_client *client)
{
    expect_sets_and_gets(client, KEYS);
}

START_TEST(test_first_command_from_the_connect_callback)
{
    struct async_client client = {.on_connect = send_first_commands};
    open_target(&client, _i);
    LOOP_UNTIL(client.loop, client.issued);
    async_finish(&client);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_commands_long_after_the_connection)
{
    struct async_client client = {0};
    open_target(&client, _i);
    LOOP_UNTIL(client.loop, client.connects);
    for (int round = 0; round < 5; round++) {
        loop_turn_for(client.loop, 60);
        expect_sets_and_gets(&client, 20);
        async_finish(&client);
    }
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* coturn: no callbacks at all, and every reply is dropped. */
START_TEST(test_no_callbacks)
{
    int target = target_of(_i);
    struct loop *loop = loop_of(_i);
    target_flush(target);
    redisAsyncContext *ac = redisAsyncConnect("127.0.0.1", target_port(target));
    ck_assert_int_eq(loop_attach(loop, ac), REDIS_OK);
    for (int i = 0; i < KEYS; i++)
        redisAsyncCommand(ac, NULL, NULL, "INCR async:none-%d", i % 10);
    char *seen = NULL;
    LOOP_UNTIL(loop, (free(seen), seen = target_look(target, "async:none-9", "GET async:none-9"),
                      !strcmp(seen, "30")));
    free(seen);
    LOOP_UNTIL(loop, ac->replies.tail == NULL);
    redisAsyncFree(ac);
    loop_destroy(loop);
}
END_TEST

START_TEST(test_disconnect_drains_what_is_pending)
{
    struct async_client client = {0};
    open_target(&client, _i);
    expect_sets_and_gets(&client, KEYS);
    redisAsyncDisconnect(client.ac);
    LOOP_UNTIL(client.loop, client.disconnects);
    ck_assert_int_eq(client.replies, 2 * KEYS);
    ck_assert_int_eq(client.nulls, 0);
    ck_assert_int_eq(client.disconnect_status, REDIS_OK);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_no_commands_after_disconnect)
{
    struct async_client client = {0};
    open_target(&client, _i);
    expect_sets_and_gets(&client, 10);
    redisAsyncDisconnect(client.ac);
    ck_assert_int_eq(redisAsyncCommand(client.ac, NULL, NULL, "PING"), REDIS_ERR);
    LOOP_UNTIL(client.loop, client.disconnects);
    ck_assert_int_eq(client.replies, 20);
    loop_destroy(client.loop);
}
END_TEST

/* hiredis' adapter for libuv drops the event of a refused connection, so that with hiredis alone
 * the callback never comes. */
static bool can_be_refused(const struct loop *loop)
{
    return target_count() > TARGET_CLUSTER || strcmp(loop_name(loop), "libuv");
}

START_TEST(test_refused)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    if (!can_be_refused(loop))
        return;
    async_open(&client, loop, port_free());
    async_expect(&client, "never", "GET async:key");
    async_expect(&client, "never", "GET async:key");
    LOOP_UNTIL(client.loop, client.connects);
    LOOP_UNTIL(client.loop, client.nulls == 2);
    ck_assert_int_eq(client.connects, 1);
    ck_assert_int_eq(client.connect_status, REDIS_ERR);
    ck_assert_str_eq(client.errstr, "Connection refused");
    ck_assert_int_eq(client.disconnects, 0);
    ck_assert_int_eq(client.replies, 0);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_refused_without_a_command)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    if (!can_be_refused(loop))
        return;
    async_open(&client, loop, port_free());
    LOOP_UNTIL(client.loop, client.connects);
    ck_assert_int_eq(client.connect_status, REDIS_ERR);
    ck_assert_str_eq(client.errstr, "Connection refused");
    ck_assert_int_eq(client.disconnects, 0);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_a_silent_host_does_not_stop_the_loop)
{
    struct async_client client = {0}, other = {0};
    struct silent_host host;
    silent_host_start(&host);
    struct loop *loop = loop_of(_i);
    async_open(&client, loop, host.port);
    async_expect(&client, "never", "GET async:key");
    async_open(&other, loop, target_port(target_of(_i)));
    expect_sets_and_gets(&other, 50);
    async_finish(&other);
    loop_turn_for(loop, 300);
    ck_assert_int_eq(client.connects, 0);
    ck_assert_int_lt(loop_longest_turn_ms(loop), LOOP_STALLED_MS);
    redisAsyncFree(client.ac);
    ck_assert_int_eq(client.nulls, 1);
    async_close(&other);
    loop_destroy(loop);
    silent_host_stop(&host);
}
END_TEST

/* It accepts, and then says nothing: not to the question what it is either. */
START_TEST(test_a_silent_server_does_not_stop_the_loop)
{
    struct async_client client = {0}, other = {0};
    struct fake_node *node = fake_node_start();
    fake_node_on(node, "CLUSTER SLOTS", (struct fake_rule){.action = FAKE_SILENCE});
    fake_node_on(node, "*", (struct fake_rule){.action = FAKE_SILENCE});
    struct loop *loop = loop_of(_i);
    async_open(&client, loop, fake_node_port(node));
    async_expect(&client, "never", "GET async:key");
    async_open(&other, loop, target_port(target_of(_i)));
    expect_sets_and_gets(&other, 50);
    async_finish(&other);
    loop_turn_for(loop, 300);
    ck_assert_int_lt(loop_longest_turn_ms(loop), LOOP_STALLED_MS);
    ck_assert_int_eq(client.replies + client.nulls, 0);
    redisAsyncFree(client.ac);
    ck_assert_int_eq(client.nulls, 1);
    async_close(&other);
    loop_destroy(loop);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_a_plain_server_that_hangs_up)
{
    struct async_client client = {0};
    async_open(&client, loop_create(_i), target_port(TARGET_PLAIN));
    expect_sets_and_gets(&client, 5);
    async_finish(&client);
    free(target_look(TARGET_PLAIN, "", "CLIENT KILL TYPE normal SKIPME yes"));
    LOOP_UNTIL(client.loop, client.disconnects);
    ck_assert_int_eq(client.disconnect_status, REDIS_ERR);
    ck_assert_str_eq(client.errstr, "Server closed the connection");
    loop_destroy(client.loop);
}
END_TEST

/* --- the order and number of callbacks --- */

START_TEST(test_callbacks_in_the_order_of_issue)
{
    struct async_client client = {0};
    char expected[32];
    open_target(&client, _i);
    target_flush(target_of(_i));
    for (int i = 0; i < 20 * KEYS; i++) {
        snprintf(expected, sizeof expected, "%d", i / KEYS + 1);
        async_expect(&client, expected, "INCR async:order-%d", i % KEYS);
        if (i % 1000 == 999)
            loop_turn(client.loop);
    }
    async_finish(&client);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

static void send_next(redisAsyncContext *ac, void *reply, void *arg)
{
    struct async_client *client = ac->data;
    ck_assert_ptr_nonnull(reply);
    EXPECT_REPLY(reply, "OK");
    client->replies++;
    if (client->replies < KEYS)
        redisAsyncCommand(ac, send_next, arg, "SET async:chain-%d v", client->replies);
}

START_TEST(test_commands_from_inside_callbacks)
{
    struct async_client client = {0};
    open_target(&client, _i);
    redisAsyncCommand(client.ac, send_next, NULL, "SET async:chain v");
    LOOP_UNTIL(client.loop, client.replies == KEYS);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_split_commands)
{
    struct async_client client = {0};
    open_target(&client, _i);
    target_flush(target_of(_i));
    for (int i = 0; i < 100; i++) {
        async_expect(&client, "OK", "MSET async:a %d async:b x async:c y", 100 + i);
        async_expect(&client, "y\n(nil)\nx", "MGET async:c async:none async:b");
        async_expect(&client, "3", "DEL async:a async:b async:c async:none");
    }
    async_finish(&client);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_error_replies_reach_their_callback)
{
    struct async_client client = {0};
    open_target(&client, _i);
    async_expect(&client, "OK", "SET async:text v");
    async_expect(&client, "-WRONGTYPE Operation against a key holding the wrong kind of value",
                 "LPUSH async:text x");
    async_expect(&client, "v", "GET async:text");
    async_finish(&client);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

static void count_megabytes(redisAsyncContext *ac, void *arg, void *value)
{
    struct async_client *client = ac->data;
    redisReply *reply = arg;
    ck_assert_ptr_nonnull(reply);
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    ck_assert_int_eq((int)reply->len, MEGABYTE);
    ck_assert(!memcmp(reply->str, value, MEGABYTE));
    client->replies++;
}

/* hiredis reads 16 KiB a time: what is left has to wake the loop again and again. */
START_TEST(test_large_values_both_ways)
{
    enum { VALUES = 32 };
    struct async_client client = {0};
    char *value = malloc(MEGABYTE);
    MUST(value);
    memset(value, 'v', MEGABYTE);
    open_target(&client, _i);
    for (int i = 0; i < VALUES; i++) {
        redisAsyncCommand(client.ac, NULL, NULL, "SET async:big-%d %b", i, value, (size_t)MEGABYTE);
        redisAsyncCommand(client.ac, count_megabytes, value, "GET async:big-%d", i);
    }
    LOOP_UNTIL(client.loop, client.replies == VALUES);
    async_close(&client);
    loop_destroy(client.loop);
    free(value);
    target_flush(target_of(_i));
}
END_TEST

START_TEST(test_many_contexts_on_one_loop)
{
    enum { CONTEXTS = 40 };
    static struct async_client clients[CONTEXTS];
    struct loop *loop = loop_of(_i);
    for (int i = 0; i < CONTEXTS; i++)
        async_open(&clients[i], loop, target_port(target_of(_i)));
    for (int i = 0; i < CONTEXTS; i++)
        for (int j = 0; j < 30; j++)
            async_expect(&clients[i], "OK", "SET async:many-%d-%d v", i, j);
    for (int i = 0; i < CONTEXTS; i++)
        async_finish(&clients[i]);
    for (int i = 0; i < CONTEXTS; i++)
        async_close(&clients[i]);
    loop_destroy(loop);
}
END_TEST

/* Redis::Fast looks at these to know whether an answer is outstanding. */
START_TEST(test_hiredis_own_lists_stay_true)
{
    struct async_client client = {0};
    open_target(&client, _i);
    ck_assert_ptr_null(client.ac->replies.tail);
    async_expect(&client, "OK", "SET async:key v");
    ck_assert_ptr_nonnull(client.ac->replies.tail);
    async_finish(&client);
    ck_assert_ptr_null(client.ac->replies.tail);
    ck_assert_int_eq(client.ac->err, 0);
    ck_assert(client.ac->c.flags & REDIS_CONNECTED);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* --- ending it from inside --- */

static void free_at_ten(redisAsyncContext *ac, void *reply, void *arg)
{
    struct async_client *client = ac->data;
    (void)arg;
    if (!reply) {
        ck_assert(ac->c.flags & REDIS_FREEING);
        client->nulls++;
    } else if (++client->replies == 10) {
        redisAsyncFree(ac);
    }
}

START_TEST(test_free_inside_a_callback)
{
    struct async_client client = {0};
    open_target(&client, _i);
    for (int i = 0; i < KEYS; i++)
        redisAsyncCommand(client.ac, free_at_ten, NULL, "SET async:%d v", i);
    LOOP_UNTIL(client.loop, client.disconnects);
    ck_assert_int_eq(client.replies, 10);
    ck_assert_int_eq(client.nulls, KEYS - 10);
    ck_assert_int_eq(client.disconnects, 1);
    ck_assert_int_eq(client.disconnect_status, REDIS_OK);
    loop_turn_for(client.loop, 50);
    ck_assert_int_eq(client.replies + client.nulls, KEYS);
    loop_destroy(client.loop);
}
END_TEST

static void disconnect_at_ten(redisAsyncContext *ac, void *reply, void *arg)
{
    struct async_client *client = ac->data;
    (void)arg;
    ck_assert_ptr_nonnull(reply);
    if (++client->replies == 10)
        redisAsyncDisconnect(ac);
}

START_TEST(test_disconnect_inside_a_callback)
{
    struct async_client client = {0};
    open_target(&client, _i);
    for (int i = 0; i < KEYS; i++)
        redisAsyncCommand(client.ac, disconnect_at_ten, NULL, "SET async:%d v", i);
    LOOP_UNTIL(client.loop, client.disconnects);
    ck_assert_int_eq(client.replies, KEYS);
    ck_assert_int_eq(client.disconnect_status, REDIS_OK);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_free_with_commands_pending)
{
    struct async_client client = {0};
    open_target(&client, _i);
    expect_sets_and_gets(&client, KEYS);
    LOOP_UNTIL(client.loop, client.replies > 0);
    redisAsyncFree(client.ac);
    ck_assert_int_eq(client.disconnects, 1);
    ck_assert_int_eq(client.disconnect_status, REDIS_OK);
    ck_assert_int_eq(client.replies + client.nulls, client.issued);
    loop_turn_for(client.loop, 50);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_free_before_the_connection_is_up)
{
    struct async_client client = {0};
    open_target(&client, _i);
    expect_sets_and_gets(&client, 10);
    redisAsyncFree(client.ac);
    ck_assert_int_eq(client.nulls, 20);
    ck_assert_int_eq(client.connects, 0);
    ck_assert_int_eq(client.disconnects, 0);
    loop_turn_for(client.loop, 50);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_open_and_close_many_times)
{
    struct loop *loop = loop_of(_i);
    int first_fd = dup(0), last_fd;
    close(first_fd);
    for (int round = 0; round < 50; round++) {
        struct async_client client = {0};
        async_open(&client, loop, target_port(target_of(_i)));
        expect_sets_and_gets(&client, 5);
        async_finish(&client);
        async_close(&client);
    }
    last_fd = dup(0);
    close(last_fd);
    ck_assert_int_lt(last_fd - first_fd, 40);
    loop_destroy(loop);
}
END_TEST

/* --- a plain server keeps what it can do --- */

static void on_message(redisAsyncContext *ac, void *arg, void *data)
{
    struct async_client *client = ac->data;
    redisReply *reply = arg;
    (void)data;
    if (reply && reply->elements == 3 && !strcmp(reply->element[0]->str, "message"))
        client->replies++;
    if (reply && reply->elements == 3 && !strcmp(reply->element[0]->str, "subscribe"))
        client->connects += 100;
}

START_TEST(test_subscribe_on_a_plain_server)
{
    struct async_client client = {0};
    async_open(&client, loop_create(_i), target_port(TARGET_PLAIN));
    redisAsyncCommand(client.ac, on_message, NULL, "SUBSCRIBE async-news");
    LOOP_UNTIL(client.loop, client.connects > 100);
    for (int i = 0; i < 20; i++)
        free(target_look(TARGET_PLAIN, "", "PUBLISH async-news %d", i));
    LOOP_UNTIL(client.loop, client.replies == 20);
    redisAsyncFree(client.ac);
    loop_destroy(client.loop);
}
END_TEST

static void add_connecting(Suite *suite, int all)
{
    TCase *tc = suite_case(suite, "connecting", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_connect_and_disconnect_callbacks, 0, all);
    tcase_add_loop_test(tc, test_connected_without_any_command, 0, all);
    tcase_add_loop_test(tc, test_commands_before_the_connection_is_up, 0, all);
    tcase_add_loop_test(tc, test_first_command_from_the_connect_callback, 0, all);
    tcase_add_loop_test(tc, test_commands_long_after_the_connection, 0, all);
    tcase_add_loop_test(tc, test_no_callbacks, 0, all);
    tcase_add_loop_test(tc, test_disconnect_drains_what_is_pending, 0, all);
    tcase_add_loop_test(tc, test_no_commands_after_disconnect, 0, all);
    tcase_add_loop_test(tc, test_refused, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_refused_without_a_command, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_a_silent_host_does_not_stop_the_loop, 0, all);
    tcase_add_loop_test(tc, test_a_silent_server_does_not_stop_the_loop, 0, all);
    tcase_add_loop_test(tc, test_a_plain_server_that_hangs_up, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_subscribe_on_a_plain_server, 0, LOOP_KINDS);
}

static void add_callbacks(Suite *suite, int all)
{
    TCase *tc = suite_case(suite, "callbacks", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_callbacks_in_the_order_of_issue, 0, all);
    tcase_add_loop_test(tc, test_commands_from_inside_callbacks, 0, all);
    tcase_add_loop_test(tc, test_split_commands, 0, all);
    tcase_add_loop_test(tc, test_error_replies_reach_their_callback, 0, all);
    tcase_add_loop_test(tc, test_large_values_both_ways, 0, all);
    tcase_add_loop_test(tc, test_many_contexts_on_one_loop, 0, all);
    tcase_add_loop_test(tc, test_hiredis_own_lists_stay_true, 0, all);
    tcase_add_loop_test(tc, test_free_inside_a_callback, 0, all);
    tcase_add_loop_test(tc, test_disconnect_inside_a_callback, 0, all);
    tcase_add_loop_test(tc, test_free_with_commands_pending, 0, all);
    tcase_add_loop_test(tc, test_free_before_the_connection_is_up, 0, all);
    tcase_add_loop_test(tc, test_open_and_close_many_times, 0, all);
}

int main(void)
{
    Suite *suite = suite_create("async");
    add_connecting(suite, LOOP_KINDS * target_count());
    add_callbacks(suite, LOOP_KINDS * target_count());
    return suite_run(suite);
}
