/* SCAN over the whole cluster: every key that was there throughout is returned, by whatever session
 * goes on with the cursor, also when slots move or masters change in the middle. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"

enum { KEYS = 600, MOVED_SLOTS = 12 };

static int seen[KEYS]; /* how often a scan returned the key */

static void fill(redisContext *c, const char *name)
{
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "SET %s:%d %d", name, i, i);
    for (int i = 0; i < KEYS; i++)
        EXPECT_NEXT(c, "OK");
    memset(seen, 0, sizeof seen);
}

/* One step. The next cursor is freed by the caller. */
static char *scan_some(redisContext *c, const char *cursor, const char *options)
{
    char line[256];
    snprintf(line, sizeof line, "SCAN %s %s", cursor, options);
    redisReply *reply = redisCommand(c, line);
    ck_assert_msg(reply != NULL, "%s: %s", line, c->errstr);
    ck_assert_msg(reply->type == REDIS_REPLY_ARRAY, "%s: %s", line, reply->str);
    ck_assert_uint_eq(reply->elements, 2);
    char *next = strdup(reply->element[0]->str);
    const redisReply *keys = reply->element[1];
    for (size_t i = 0; i < keys->elements; i++) {
        int number;
        if (sscanf(keys->element[i]->str, "scan:%d", &number) == 1)
            seen[number]++;
    }
    ck_assert_uint_eq(strspn(next, "0123456789"), strlen(next));
    ck_assert_uint_lt(strlen(next), 20);
    freeReplyObject(reply);
    return next;
}

/* Returns how many steps it took. `half` is called once, in the middle. */
static int scan_all(redisContext *c, const char *options, void (*half)(void))
{
    char *cursor = strdup("0");
    int steps = 0;
    do {
        char *next = scan_some(c, cursor, options);
        free(cursor);
        cursor = next;
        if (++steps == 4 && half)
            half();
        ck_assert_int_lt(steps, 100000);
    } while (strcmp(cursor, "0"));
    free(cursor);
    return steps;
}

static int count_seen(int at_least)
{
    int count = 0;
    for (int i = 0; i < KEYS; i++)
        count += seen[i] >= at_least;
    return count;
}

/* --- on both kinds of server --- */

START_TEST(test_every_key_once)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    scan_all(c, "", NULL);
    fill(c, "scan");
    ck_assert_int_gt(scan_all(c, "COUNT 20", NULL), KEYS / 100);
    ck_assert_int_eq(count_seen(1), KEYS);
    redisFree(c);
}
END_TEST

START_TEST(test_options)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    fill(c, "scan");
    EXPECT(c, "1", "LPUSH scan-list x");
    scan_all(c, "MATCH scan:1?? COUNT 50", NULL);
    ck_assert_int_eq(count_seen(1), 100);
    ck_assert_int_eq(seen[100] > 0 && seen[199] > 0 && !seen[99] && !seen[200], 1);
    memset(seen, 0, sizeof seen);
    scan_all(c, "TYPE list COUNT 100", NULL);
    ck_assert_int_eq(count_seen(1), 0);
    scan_all(c, "TYPE string COUNT 1000", NULL);
    ck_assert_int_eq(count_seen(1), KEYS);
    EXPECT(c, "-ERR syntax error", "SCAN 0 NONSENSE 1");
    EXPECT(c, "-ERR invalid cursor", "SCAN x");
    EXPECT(c, "-ERR wrong number of arguments for 'scan' command", "SCAN");
    EXPECT(c, "PONG", "PING");
    redisFree(c);
}
END_TEST

START_TEST(test_any_session_goes_on_with_a_cursor)
{
    redisContext *c[2] = {connect_target(_i), connect_target(_i)};
    target_flush(_i);
    fill(c[0], "scan");
    char *cursor = strdup("0");
    for (int steps = 0; !steps || strcmp(cursor, "0"); steps++) {
        char *next = scan_some(c[steps % 2], cursor, "COUNT 30");
        free(cursor);
        cursor = next;
    }
    free(cursor);
    ck_assert_int_eq(count_seen(1), KEYS);
    redisFree(c[0]);
    redisFree(c[1]);
}
END_TEST

START_TEST(test_in_a_pipeline_and_asynchronously)
{
    struct async_client client = {0};
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "OK", "SET only v");
    redisAppendCommand(c, "SET other v");
    redisAppendCommand(c, "SCAN 0");
    redisAppendCommand(c, "GET only");
    EXPECT_NEXT(c, "OK");
    redisReply *reply = NULL;
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
    freeReplyObject(reply);
    EXPECT_NEXT(c, "v");
    target_flush(_i);
    async_open(&client, loop_create(0), target_port(_i));
    async_expect(&client, "-ERR invalid cursor", "SCAN 77x");
    async_expect(&client, "PONG", "PING");
    async_finish(&client);
    async_close(&client);
    loop_destroy(client.loop);
    redisFree(c);
}
END_TEST

START_TEST(test_randomkey)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "(nil)", "RANDOMKEY");
    EXPECT(c, "OK", "SET scan:1 v");
    for (int i = 0; i < 10; i++)
        EXPECT(c, "scan:1", "RANDOMKEY");
    for (int i = 0; i < 6; i++)
        EXPECT(c, "OK", "SET scan:%d v", i);
    memset(seen, 0, sizeof seen);
    for (int i = 0, number; i < 2000 && count_seen(1) < 6; i++) {
        redisReply *reply = redisCommand(c, "RANDOMKEY");
        ck_assert_int_eq(sscanf(reply->str, "scan:%d", &number), 1);
        seen[number]++;
        freeReplyObject(reply);
    }
    ck_assert_int_eq(count_seen(1), 6);
    redisFree(c);
}
END_TEST

/* --- on a cluster that changes --- */

START_TEST(test_numbers_that_are_no_cursors)
{
    static const char *const made_up[] = {
        "1", "17", "123456789", "18446744073709551615", "9223372036854775807",
        "99999999999999999999999", "9223372036854775808",
    };
    redisContext *c = connect_target(TARGET_CLUSTER);
    for (size_t i = 0; i < sizeof made_up / sizeof *made_up; i++)
        EXPECT(c, "-ERR invalid cursor", "SCAN %s", made_up[i]);
    /* It has the form of one: the scan goes on somewhere, and comes to an end that is true. */
    target_flush(TARGET_CLUSTER);
    fill(c, "scan");
    char *cursor = scan_some(c, "3940786489720832000", "COUNT 100");
    for (int steps = 0; strcmp(cursor, "0"); steps++) {
        char *next = scan_some(c, cursor, "COUNT 100");
        free(cursor);
        cursor = next;
        ck_assert_int_lt(steps, 1000);
    }
    free(cursor);
    ck_assert_int_eq(count_seen(1), KEYS);
    redisFree(c);
}
END_TEST

static struct cluster *own;

static void setup_own(void)
{
    own = cluster_start(&(struct cluster_options){.masters = 3, .replicas = 1});
}

static void teardown_own(void)
{
    cluster_stop(own);
}

/* From the last master to the first, which was scanned already. */
static void move_slots(void)
{
    for (int i = 0; i < MOVED_SLOTS; i++)
        cluster_migrate(own, 16383 - i * 400, 2, 0);
}

static void fail_over(void)
{
    cluster_failover(own, 4);
}

static void expect_scan_through(void (*change)(void))
{
    redisContext *c = connect_port(cluster_port(own, 0));
    fill(c, "scan");
    scan_all(c, "COUNT 25", change);
    ck_assert_int_eq(count_seen(1), KEYS);
    /* What is settled again is walked over once. */
    memset(seen, 0, sizeof seen);
    scan_all(c, "COUNT 25", NULL);
    ck_assert_int_eq(count_seen(1), KEYS);
    redisFree(c);
}

START_TEST(test_slots_that_move_to_where_the_scan_was_already)
{
    expect_scan_through(move_slots);
}
END_TEST

START_TEST(test_a_master_that_changes_in_the_middle)
{
    expect_scan_through(fail_over);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scan");
    TCase *tc = suite_case(suite, "everywhere", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_every_key_once, 0, target_count());
    tcase_add_loop_test(tc, test_options, 0, target_count());
    tcase_add_loop_test(tc, test_any_session_goes_on_with_a_cursor, 0, target_count());
    tcase_add_loop_test(tc, test_in_a_pipeline_and_asynchronously, 0, target_count());
    tcase_add_loop_test(tc, test_randomkey, 0, target_count());
    tcase_add_test(tc, test_numbers_that_are_no_cursors);
    tc = suite_case(suite, "changes", NULL, NULL);
    tcase_add_checked_fixture(tc, setup_own, teardown_own);
    tcase_add_test(tc, test_slots_that_move_to_where_the_scan_was_already);
    tcase_add_test(tc, test_a_master_that_changes_in_the_middle);
    return suite_run(suite);
}
