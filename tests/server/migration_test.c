/* Slots move back and forth under a pipelined load: not one reply is lost, doubled, crossed or out
 * of order, every acknowledged INCR ran once, and no key is ever seen missing. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/migrator.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

/* Two travelling slots of each of three masters, and two that stay at home. */
enum { TRAVELLING = 6, SLOTS = 8, KEYS_OF_SLOT = 8, KEYS = SLOTS * KEYS_OF_SLOT, MOVES = 18 };
enum { REPEATS = 5 };

static const int slot_numbers[SLOTS] = {100, 9000, 16000, 200, 9100, 16100, 300, 9200};
static char keys[KEYS][24];

static struct cluster *cluster;

static void setup(void)
{
    cluster = cluster_start(NULL);
    for (int s = 0; s < SLOTS; s++) {
        char *tag = cluster_key_in_slot(slot_numbers[s], 0);
        for (int i = 0; i < KEYS_OF_SLOT; i++)
            snprintf(keys[s * KEYS_OF_SLOT + i], sizeof *keys, "{%s}:%d", tag, i);
        free(tag);
    }
}

static void teardown(void)
{
    cluster_stop(cluster);
}

static void flush_all(void)
{
    for (int i = 0; i < cluster_masters(cluster); i++)
        free(cluster_command(cluster, i, "FLUSHALL"));
}

static redisContext *connect_any(int node)
{
    return connect_port(cluster_port(cluster, node % cluster_masters(cluster)));
}

static struct migrator *start_moving(void)
{
    return migrator_start(cluster, &(struct migrator_options){
                                       .slots = slot_numbers, .count = TRAVELLING, .moves = MOVES});
}

/* For commands with several keys, which can only wait while those are on two nodes. */
static struct migrator *start_moving_briskly(void)
{
    return migrator_start(cluster, &(struct migrator_options){.slots = slot_numbers,
                                                              .count = TRAVELLING,
                                                              .moves = MOVES,
                                                              .patience_ms = 20});
}

/* What the cluster itself says about a key, asked beside the library. */
static char *look(const char *key, const char *command)
{
    int owner = cluster_owner_of_slot(cluster, 0, cluster_slot(key));
    return cluster_command(cluster, owner, command, key);
}

static void expect_counters(long count)
{
    char expected[24];
    snprintf(expected, sizeof expected, "%ld", count);
    for (int k = 0; k < KEYS; k++) {
        char *seen = look(keys[k], "GET %s");
        ck_assert_msg(!strcmp(seen, expected), "%s is %s instead of %s", keys[k], seen, expected);
        free(seen);
    }
}

/* The value each INCR answers says whether it ran once, and after the one before it. */
START_TEST(test_every_acknowledged_incr_ran_once_and_in_order)
{
    char expected[24];
    long count = 0;
    flush_all();
    redisContext *c = connect_any(_i);
    struct migrator *migrator = start_moving();
    do {
        for (int r = 0; r < REPEATS; r++)
            for (int k = 0; k < KEYS; k++)
                redisAppendCommand(c, "INCR %s", keys[k]);
        for (int r = 0; r < REPEATS; r++) {
            snprintf(expected, sizeof expected, "%ld", ++count);
            for (int k = 0; k < KEYS; k++)
                EXPECT_NEXT(c, expected);
        }
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    expect_counters(count);
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
}
END_TEST

START_TEST(test_one_command_at_a_time)
{
    char expected[24];
    long count = 0;
    flush_all();
    redisContext *c = connect_any(_i);
    struct migrator *migrator = start_moving();
    do {
        snprintf(expected, sizeof expected, "%ld", ++count);
        for (int k = 0; k < KEYS; k++)
            EXPECT(c, expected, "INCR %s", keys[k]);
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    expect_counters(count);
    redisFree(c);
}
END_TEST

/* A list remembers in which order its elements came. */
START_TEST(test_lists_grow_in_the_order_of_issue)
{
    int pushed = 0;
    char expected[24];
    flush_all();
    redisContext *c = connect_any(_i);
    struct migrator *migrator = start_moving();
    do {
        for (int r = 0; r < REPEATS; r++)
            for (int k = 0; k < KEYS; k++)
                redisAppendCommand(c, "RPUSH %s %d", keys[k], pushed + r);
        for (int r = 0; r < REPEATS; r++) {
            snprintf(expected, sizeof expected, "%d", ++pushed);
            for (int k = 0; k < KEYS; k++)
                EXPECT_NEXT(c, expected);
        }
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    for (int k = 0; k < KEYS; k++) {
        char *list = look(keys[k], "LRANGE %s 0 -1");
        char *at = list;
        for (int i = 0; i < pushed; i++)
            ck_assert_int_eq(strtol(at, &at, 10), i);
        ck_assert_str_eq(at, "");
        free(list);
    }
    redisFree(c);
}
END_TEST

/* Keys that come and go: in a migrating slot a missing key is asked for at the new owner. */
START_TEST(test_keys_that_are_deleted_and_made_again)
{
    char value[16];
    int round = 0;
    flush_all();
    redisContext *c = connect_any(_i);
    for (int k = 0; k < KEYS; k++)
        EXPECT(c, "OK", "SET %s start", keys[k]);
    struct migrator *migrator = start_moving();
    do {
        snprintf(value, sizeof value, "%d", ++round);
        for (int k = 0; k < KEYS; k++) {
            redisAppendCommand(c, "DEL %s", keys[k]);
            redisAppendCommand(c, "SETNX %s %d", keys[k], round);
            redisAppendCommand(c, "GET %s", keys[k]);
        }
        for (int k = 0; k < KEYS; k++) {
            EXPECT_NEXT(c, "1");
            EXPECT_NEXT(c, "1");
            EXPECT_NEXT(c, value);
        }
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    redisFree(c);
}
END_TEST

static void append_all_keys(redisContext *c, const char *name, const char *value)
{
    const char *argv[1 + 2 * KEYS] = {name};
    int argc = 1;
    for (int k = 0; k < KEYS; k++) {
        argv[argc++] = keys[k];
        if (value)
            argv[argc++] = value;
    }
    redisAppendCommandArgv(c, argc, argv, NULL);
}

/* Several keys of a slot that is half here, half there: the server says TRYAGAIN. */
START_TEST(test_split_commands_see_whole_values)
{
    char value[16];
    int round = 0;
    redisContext *c = connect_any(_i);
    flush_all();
    struct migrator *migrator = start_moving_briskly();
    do {
        snprintf(value, sizeof value, "%d", ++round);
        append_all_keys(c, "MSET", value);
        append_all_keys(c, "MGET", NULL);
        append_all_keys(c, "EXISTS", NULL);
        EXPECT_NEXT(c, "OK");
        redisReply *reply = NULL;
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        ck_assert_msg(reply->type == REDIS_REPLY_ARRAY, "%s", reply->str);
        ck_assert_uint_eq(reply->elements, KEYS);
        for (int k = 0; k < KEYS; k++)
            EXPECT_REPLY(reply->element[k], value);
        freeReplyObject(reply);
        EXPECT_NEXT(c, "64");
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    redisFree(c);
}
END_TEST

/* Commands of one slot over several of its keys, which no split can help. */
START_TEST(test_scripts_over_several_keys_of_a_slot)
{
    static const char script[] = "redis.call('INCR',KEYS[1]) redis.call('INCR',KEYS[2]) "
                                 "return redis.call('GET',KEYS[1])==redis.call('GET',KEYS[2])";
    flush_all();
    redisContext *c = connect_any(_i);
    struct migrator *migrator = start_moving_briskly();
    do {
        for (int s = 0; s < SLOTS; s++)
            redisAppendCommand(c, "EVAL %s 2 %s %s", script, keys[s * KEYS_OF_SLOT],
                               keys[s * KEYS_OF_SLOT + 1]);
        for (int s = 0; s < SLOTS; s++)
            EXPECT_NEXT(c, "1");
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    redisFree(c);
}
END_TEST

START_TEST(test_asynchronous_contexts)
{
    struct async_client client = {0};
    char expected[24];
    long count = 0;
    flush_all();
    async_open(&client, loop_create(_i), cluster_port(cluster, 0));
    struct migrator *migrator = start_moving();
    do {
        for (int r = 0; r < REPEATS; r++) {
            snprintf(expected, sizeof expected, "%ld", ++count);
            for (int k = 0; k < KEYS; k++)
                async_expect(&client, expected, "INCR %s", keys[k]);
        }
        async_finish(&client);
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    expect_counters(count);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* A batch that is longer than a whole move: no step is kept with the migrator, so commands of a key
 * may overtake each other where rule 2 allows it; but each runs once, and each has its own reply.
 */
START_TEST(test_moves_in_the_middle_of_a_deep_pipeline)
{
    enum { DEPTH = 400 };
    static bool is_seen[KEYS][DEPTH + 1];
    flush_all();
    redisContext *c = connect_any(0);
    for (int round = 0; round < 6; round++) {
        struct migrator *migrator = migrator_start(
            cluster,
            &(struct migrator_options){.slots = slot_numbers + round, .count = 1, .moves = 1});
        for (int i = 0; i < 100; i++)
            migrator_tick(migrator); /* it does not wait for us, or hardly */
        for (int r = 0; r < DEPTH; r++)
            for (int k = 0; k < KEYS; k++)
                redisAppendCommand(c, "INCR %s", keys[k]);
        memset(is_seen, 0, sizeof is_seen);
        for (int r = 0; r < DEPTH; r++)
            for (int k = 0; k < KEYS; k++) {
                redisReply *reply = NULL;
                ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
                ck_assert_msg(reply->type == REDIS_REPLY_INTEGER, "%s", reply->str);
                long value = (long)reply->integer - (long)round * DEPTH;
                ck_assert_msg(value >= 1 && value <= DEPTH && !is_seen[k][value],
                              "INCR %s answered %lld", keys[k], reply->integer);
                is_seen[k][value] = true;
                freeReplyObject(reply);
                if (k == 0)
                    migrator_tick(migrator);
            }
        while (migrator_tick(migrator))
            pause_ms(1);
        migrator_stop(migrator);
        expect_counters((long)(round + 1) * DEPTH);
    }
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("migration");
    TCase *tc = suite_case(suite, "moving slots", setup, teardown);
    tcase_add_loop_test(tc, test_every_acknowledged_incr_ran_once_and_in_order, 0, 3);
    tcase_add_loop_test(tc, test_one_command_at_a_time, 0, 1);
    tcase_add_loop_test(tc, test_lists_grow_in_the_order_of_issue, 0, 2);
    tcase_add_loop_test(tc, test_keys_that_are_deleted_and_made_again, 0, 2);
    tcase_add_loop_test(tc, test_split_commands_see_whole_values, 0, 2);
    tcase_add_loop_test(tc, test_scripts_over_several_keys_of_a_slot, 0, 2);
    tcase_add_loop_test(tc, test_asynchronous_contexts, 0, LOOP_KINDS);
    tcase_add_test(tc, test_moves_in_the_middle_of_a_deep_pipeline);
    return suite_run(suite);
}
