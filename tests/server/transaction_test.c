/* Transactions: as from one server when their keys are in one slot, the server's own errors when
 * they are not, and all or nothing while slots move and connections break. */
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
#include "../support/migrator.h"
#include "../support/suite.h"
#include "../support/target.h"

#define ABORTED "-EXECABORT Transaction discarded because of previous errors."
#define MALFORMED                                                                                  \
    "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
#define CROSSSLOT "-CROSSSLOT Keys in request don't hash to the same slot"

static void append(redisContext *c, const char *const *lines, int count)
{
    for (int i = 0; i < count; i++)
        redisAppendCommand(c, lines[i]);
}

/* Commands and the replies to them, one at a time and then all at once. */
struct said {
    const char *command;
    const char *reply;
};

static void expect_each(redisContext *c, const struct said *said, int count)
{
    for (int i = 0; i < count; i++)
        EXPECT(c, said[i].reply, said[i].command);
}

static void expect_pipeline(redisContext *c, const struct said *said, int count)
{
    for (int i = 0; i < count; i++)
        redisAppendCommand(c, said[i].command);
    for (int i = 0; i < count; i++)
        EXPECT_NEXT(c, said[i].reply);
}

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

#define EXPECT_BOTH_WAYS(target, said)                                                             \
    do {                                                                                           \
        redisContext *both = connect_target(target);                                               \
        target_flush(target);                                                                      \
        expect_each(both, said, COUNT(said));                                                      \
        target_flush(target);                                                                      \
        expect_pipeline(both, said, COUNT(said));                                                  \
        EXPECT(both, "PONG", "PING");                                                              \
        redisFree(both);                                                                           \
    } while (0)

START_TEST(test_a_transaction)
{
    static const struct said said[] = {
        {"SET {t}a 0", "OK"},
        {"MULTI", "OK"},
        {"INCR {t}a", "QUEUED"},
        {"SET {t}b x", "QUEUED"},
        {"MGET {t}a {t}b {t}c", "QUEUED"},
        {"EXEC", "1\nOK\n1\nx\n(nil)"},
        {"GET {t}a", "1"},
        {"SET other y", "OK"},
        {"MULTI", "OK"},
        {"GET other", "QUEUED"},
        {"EXEC", "y"},
        {"MGET {t}a other", "1\ny"},
    };
    EXPECT_BOTH_WAYS(_i, said);
}
END_TEST

START_TEST(test_discard)
{
    static const struct said said[] = {
        {"MULTI", "OK"},    {"SET a 1", "QUEUED"}, {"DISCARD", "OK"},
        {"GET a", "(nil)"}, {"MULTI", "OK"},       {"DISCARD", "OK"},
        {"SET a 2", "OK"},  {"GET a", "2"},        {"DISCARD", "-ERR DISCARD without MULTI"},
    };
    EXPECT_BOTH_WAYS(_i, said);
}
END_TEST

START_TEST(test_an_empty_transaction)
{
    static const struct said said[] = {
        {"MULTI", "OK"},   {"EXEC", ""},      {"WATCH a", "OK"}, {"MULTI", "OK"},   {"EXEC", ""},
        {"WATCH a", "OK"}, {"SET a 1", "OK"}, {"MULTI", "OK"},   {"EXEC", "(nil)"},
    };
    EXPECT_BOTH_WAYS(_i, said);
}
END_TEST

START_TEST(test_words_out_of_place)
{
    static const struct said said[] = {
        {"EXEC", "-ERR EXEC without MULTI"},
        {"MULTI", "OK"},
        {"SET a 1", "QUEUED"},
        {"EXEC", "OK"},
        {"EXEC now", MALFORMED},
        {"MULTI", "OK"},
        {"SET a 2", "QUEUED"},
        {"EXEC now", MALFORMED},
        {"EXEC", "-ERR EXEC without MULTI"},
        {"WATCH", "-ERR wrong number of arguments for 'watch' command"},
        {"UNWATCH", "OK"},
        {"GET a", "1"},
    };
    EXPECT_BOTH_WAYS(_i, said);
}
END_TEST

/* Redis goes on behind it, Valkey aborts: the plain server says how it is. */
START_TEST(test_multi_and_watch_inside)
{
    static const char *const lines[] = {
        "MULTI", "MULTI",   "SET a 1", "EXEC",    "GET a",   "MULTI", "SET a 2", "WATCH b",
        "GET a", "EXEC",    "GET a",   "MULTI",   "WATCH b", "EXEC",  "MULTI",   "MULTI",
        "MULTI", "DISCARD", "MULTI",   "SET a 3", "EXEC",    "GET a",
    };
    redisContext *plain = connect_target(TARGET_PLAIN), *c;
    char *said[COUNT(lines)];

    target_flush(TARGET_PLAIN);
    for (int i = 0; i < COUNT(lines); i++) {
        redisReply *reply = redisCommand(plain, lines[i]);
        ck_assert_ptr_nonnull(reply);
        said[i] = reply_text(reply);
        freeReplyObject(reply);
    }
    redisFree(plain);
    ck_assert_int_eq(strncmp(said[1], "-ERR", 4), 0);
    target_flush(_i);
    c = connect_target(_i);
    for (int i = 0; i < COUNT(lines); i++)
        EXPECT(c, said[i], lines[i]);
    target_flush(_i);
    append(c, lines, COUNT(lines));
    for (int i = 0; i < COUNT(lines); i++)
        EXPECT_NEXT(c, said[i]);
    redisFree(c);
    for (int i = 0; i < COUNT(lines); i++)
        free(said[i]);
}
END_TEST

START_TEST(test_errors_while_queueing_abort)
{
    static const struct said said[] = {
        {"MULTI", "OK"},
        {"SET a 1", "QUEUED"},
        {"GET", "-ERR wrong number of arguments for 'get' command"},
        {"GET a", "QUEUED"},
        {"EXEC", ABORTED},
        {"GET a", "(nil)"},
        {"MULTI", "OK"},
        {"NOSUCH thing", "-ERR unknown command 'NOSUCH', with args beginning with: 'thing' "},
        {"EXEC", ABORTED},
        {"MULTI", "OK"},
        {"MULTI now", "-ERR wrong number of arguments for 'multi' command"},
        {"EXEC", ABORTED},
        {"MULTI", "OK"},
        {"SET a 1", "QUEUED"},
        {"LPUSH a 1", "QUEUED"},
        {"EXEC", "OK\n-WRONGTYPE Operation against a key holding the wrong kind of value"},
        {"GET a", "1"},
    };
    EXPECT_BOTH_WAYS(_i, said);
}
END_TEST

START_TEST(test_commands_without_keys)
{
    static const struct said said[] = {
        {"MULTI", "OK"},          {"ECHO 1", "QUEUED"},      {"PING", "QUEUED"},
        {"SET a 1", "QUEUED"},    {"ECHO 2", "QUEUED"},      {"EXEC", "1\nPONG\nOK\n2"},
        {"MULTI", "OK"},          {"ECHO 3", "QUEUED"},      {"EXEC", "3"},
        {"MULTI", "OK"},          {"ECHO 4", "QUEUED"},      {"SET b 1", "QUEUED"},
        {"EXEC", "4\nOK"},        {"MULTI", "OK"},           {"ECHO 5", "QUEUED"},
        {"SET c 1", "QUEUED"},    {"GET c", "QUEUED"},       {"UNWATCH", "QUEUED"},
        {"EXEC", "5\nOK\n1\nOK"}, {"MGET a b c", "1\n1\n1"},
    };
    EXPECT_BOTH_WAYS(_i, said);
}
END_TEST

START_TEST(test_blocking_commands_do_not_block)
{
    static const struct said said[] = {
        {"MULTI", "OK"},
        {"BLPOP list 0", "QUEUED"},
        {"RPUSH list x", "QUEUED"},
        {"BLPOP list 0", "QUEUED"},
        {"EXEC", "(nil)\n1\nlist\nx"},
    };
    EXPECT_BOTH_WAYS(_i, said);
}
END_TEST

START_TEST(test_scripts_inside)
{
    static const struct said said[] = {
        {"MULTI", "OK"},
        {"EVAL return{KEYS[1],redis.call('incr',KEYS[1])} 1 n", "QUEUED"},
        {"EVAL return'no-key' 0", "QUEUED"},
        {"EXEC", "n\n1\nno-key"},
    };
    EXPECT_BOTH_WAYS(_i, said);
}
END_TEST

START_TEST(test_watch)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "OK", "WATCH k");
    EXPECT(c, "(nil)", "GET k");
    EXPECT(c, "OK", "SET elsewhere 1");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET k 1");
    EXPECT(c, "OK", "EXEC");
    EXPECT(c, "OK", "WATCH k");
    EXPECT(other, "2", "INCR k");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET k 100");
    EXPECT(c, "(nil)", "EXEC");
    EXPECT(c, "2", "GET k");
    /* EXEC, DISCARD and UNWATCH end it. */
    EXPECT(other, "3", "INCR k");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k");
    EXPECT(c, "4", "EXEC");
    EXPECT(c, "OK", "WATCH k {k}2");
    EXPECT(other, "OK", "SET {k}2 x");
    EXPECT(c, "OK", "UNWATCH");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k");
    EXPECT(c, "5", "EXEC");
    EXPECT(c, "OK", "WATCH k");
    EXPECT(other, "6", "INCR k");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "OK", "DISCARD");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k");
    EXPECT(c, "7", "EXEC");
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_many_transactions_in_one_pipeline)
{
    enum { MANY = 300 };
    redisContext *c = connect_target(_i);
    char expected[32];
    target_flush(_i);
    for (int i = 0; i < MANY; i++) {
        redisAppendCommand(c, "SET before:%d %d", i, i);
        redisAppendCommand(c, "MULTI");
        redisAppendCommand(c, "INCR {n:%d}", i % 7);
        redisAppendCommand(c, "INCR {n:%d}2", i % 7);
        redisAppendCommand(c, "EXEC");
        redisAppendCommand(c, "GET before:%d", i);
    }
    for (int i = 0; i < MANY; i++) {
        EXPECT_NEXT(c, "OK");
        EXPECT_NEXT(c, "OK");
        EXPECT_NEXT(c, "QUEUED");
        EXPECT_NEXT(c, "QUEUED");
        snprintf(expected, sizeof expected, "%d\n%d", i / 7 + 1, i / 7 + 1);
        EXPECT_NEXT(c, expected);
        snprintf(expected, sizeof expected, "%d", i);
        EXPECT_NEXT(c, expected);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_asynchronous_transactions)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i / target_count());
    target_flush(_i % target_count());
    async_open(&client, loop, target_port(_i % target_count()));
    for (int i = 0; i < 20; i++) {
        char key[16], expected[16];
        snprintf(key, sizeof key, "k%d", i % 5);
        snprintf(expected, sizeof expected, "%d\n%d", i / 5 * 2 + 1, i / 5 * 2 + 2);
        async_expect(&client, "PONG", "PING");
        async_expect(&client, "OK", "WATCH %s", key);
        async_expect(&client, "OK", "MULTI");
        async_expect(&client, "QUEUED", "INCR %s", key);
        async_expect(&client, "QUEUED", "INCR %s", key);
        async_expect(&client, expected, "EXEC");
        async_expect(&client, "OK", "SET other%d 1", i);
    }
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

/* --- what only a cluster can meet --- */

START_TEST(test_keys_of_several_slots)
{
    static const struct said said[] = {
        {"SET a 0", "OK"},        {"MULTI", "OK"},        {"SET a 1", "QUEUED"},
        {"SET b 1", CROSSSLOT},   {"SET a 2", "QUEUED"},  {"EXEC", ABORTED},
        {"GET a", "0"},           {"MULTI", "OK"},        {"MGET a b", CROSSSLOT},
        {"EXEC", ABORTED},        {"WATCH a", "OK"},      {"WATCH b", CROSSSLOT},
        {"MULTI", "OK"},          {"SET b 1", CROSSSLOT}, {"DISCARD", "OK"},
        {"WATCH a b", CROSSSLOT}, {"MULTI", "OK"},        {"SET b 1", "QUEUED"},
        {"EXEC", "OK"},           {"MGET a b", "0\n1"},
    };
    EXPECT_BOTH_WAYS(TARGET_CLUSTER, said);
}
END_TEST

START_TEST(test_commands_for_all_nodes_are_refused)
{
    static const char *const lines[] = {"DBSIZE",       "KEYS *",           "FLUSHALL",
                                        "SCRIPT FLUSH", "CLIENT SETNAME x", "SUBSCRIBE news",
                                        "AUTH x"};
    redisContext *c = connect_target(TARGET_CLUSTER);
    target_flush(TARGET_CLUSTER);
    for (int i = 0; i < COUNT(lines); i++) {
        EXPECT(c, "OK", "MULTI");
        EXPECT(c, "QUEUED", "SET a 1");
        EXPECT_ERROR(c, "redisroute:", lines[i]);
        EXPECT(c, ABORTED, "EXEC");
        EXPECT(c, "(nil)", "GET a");
    }
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET a 1");
    EXPECT(c, "OK", "QUIT");
    redisFree(c);
    c = connect_target(TARGET_CLUSTER);
    EXPECT(c, "(nil)", "GET a");
    redisFree(c);
}
END_TEST

static const char *const increments[] = {"MULTI", "INCR k:0", "INCR {k:0}2", "EXEC"};

/* Begins in each phase of a move, and the move goes on in its middle. */
START_TEST(test_a_slot_that_moves_in_the_middle)
{
    struct cluster *cluster = target_cluster();
    int slot = cluster_slot("k:0"), from = cluster_owner_of_slot(cluster, 0, slot);
    int to = (from + 1) % 3;
    redisContext *c = connect_target(TARGET_CLUSTER);
    target_flush(TARGET_CLUSTER);
    EXPECT(c, "OK", "MSET k:0 0 {k:0}2 0");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k:0");
    if (_i >= 1)
        cluster_migrate(cluster, slot, from, to);
    EXPECT(c, "QUEUED", "INCR {k:0}2");
    EXPECT(c, "QUEUED", "ECHO here");
    if (_i == 0)
        cluster_migrate(cluster, slot, from, to);
    if (_i == 2)
        cluster_migrate(cluster, slot, to, 3 - from - to);
    EXPECT(c, "1\n1\nhere", "EXEC");
    append(c, increments, COUNT(increments));
    EXPECT_NEXT(c, "OK");
    EXPECT_NEXT(c, "QUEUED");
    EXPECT_NEXT(c, "QUEUED");
    EXPECT_NEXT(c, "2\n2");
    EXPECT(c, "2\n2", "MGET k:0 {k:0}2");
    redisFree(c);
    cluster_migrate(cluster, slot, cluster_owner_of_slot(cluster, 0, slot), from);
}
END_TEST

/* What WATCH saw is not known to the new node: nil, and never unguarded. */
START_TEST(test_a_watched_slot_that_moves)
{
    struct cluster *cluster = target_cluster();
    int slot = cluster_slot("k:0"), from = cluster_owner_of_slot(cluster, 0, slot);
    int to = (from + 1) % 3;
    redisContext *c = connect_target(TARGET_CLUSTER), *other = connect_target(TARGET_CLUSTER);
    target_flush(TARGET_CLUSTER);
    EXPECT(c, "OK", "SET k:0 0");
    EXPECT(c, "OK", "WATCH k:0");
    if (_i == 0)
        cluster_migrate(cluster, slot, from, to);
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k:0");
    if (_i == 1)
        cluster_migrate(cluster, slot, from, to);
    EXPECT(other, "1", "INCR k:0");
    EXPECT(c, "(nil)", "EXEC");
    EXPECT(c, "1", "GET k:0");
    EXPECT(c, "OK", "WATCH k:0");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k:0");
    EXPECT(c, "2", "EXEC");
    redisFree(other);
    redisFree(c);
    cluster_migrate(cluster, slot, to, from);
}
END_TEST

static void kill_connections(struct cluster *cluster, int node)
{
    free(cluster_command(cluster, node, "CLIENT KILL TYPE normal SKIPME yes"));
}

START_TEST(test_a_lost_connection)
{
    struct cluster *cluster = target_cluster();
    int owner = cluster_owner_of_slot(cluster, 0, cluster_slot("k:0"));
    redisContext *c = connect_target(TARGET_CLUSTER);
    target_flush(TARGET_CLUSTER);
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k:0");
    kill_connections(cluster, owner);
    EXPECT(c, "QUEUED", "INCR k:0");
    kill_connections(cluster, owner);
    EXPECT(c, "1\n2", "EXEC");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k:0");
    kill_connections(cluster, owner);
    EXPECT(c, "OK", "DISCARD");
    EXPECT(c, "OK", "WATCH k:0");
    kill_connections(cluster, owner);
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR k:0");
    EXPECT(c, "(nil)", "EXEC");
    EXPECT(c, "2", "GET k:0");
    redisFree(c);
}
END_TEST

/* What was written before the context was closed is done. */
START_TEST(test_close_behind_exec)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    target_flush(TARGET_CLUSTER);
    append(c, increments, COUNT(increments));
    int done = 0;
    while (!done)
        ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
    redisFree(c);
    c = connect_target(TARGET_CLUSTER);
    EXPECT(c, "1\n1", "MGET k:0 {k:0}2");
    redisFree(c);
}
END_TEST

/* --- slots that move under transactions --- */

enum { TRAVELLING = 3, MOVES = 12 };

static const int travelling[TRAVELLING] = {100, 9000, 16000};

/* Each slot has two counters that only transactions touch, both at a time: they are equal in every
 * reply, grow by one with every EXEC, and in the end say how many ran. */
START_TEST(test_counted_transactions_while_slots_move)
{
    struct cluster *cluster = target_cluster();
    char *tags[TRAVELLING], expected[64];
    long count = 0;
    bool pipelined = _i;
    target_flush(TARGET_CLUSTER);
    redisContext *c = connect_target(TARGET_CLUSTER);
    for (int i = 0; i < TRAVELLING; i++) {
        tags[i] = cluster_key_in_slot(travelling[i], 0);
        EXPECT(c, "OK", "MSET {%s}a 0 {%s}b 0", tags[i], tags[i]);
    }
    struct migrator *migrator = migrator_start(
        cluster, &(struct migrator_options){
                     .slots = travelling, .count = TRAVELLING, .moves = MOVES, .patience_ms = 20});
    do {
        snprintf(expected, sizeof expected, "%ld\n%ld", count + 1, count + 1);
        count++;
        for (int i = 0; i < TRAVELLING; i++) {
            const char *lines[] = {"MULTI", "INCR {%s}a", "INCR {%s}b", "EXEC"};
            const char *replies[] = {"OK", "QUEUED", "QUEUED", expected};
            for (int l = 0; l < 4 && !pipelined; l++)
                EXPECT(c, replies[l], lines[l], tags[i]);
            for (int l = 0; l < 4 && pipelined; l++)
                redisAppendCommand(c, lines[l], tags[i]);
        }
        for (int i = 0; i < TRAVELLING && pipelined; i++) {
            EXPECT_NEXT(c, "OK");
            EXPECT_NEXT(c, "QUEUED");
            EXPECT_NEXT(c, "QUEUED");
            EXPECT_NEXT(c, expected);
        }
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    for (int i = 0; i < TRAVELLING; i++) {
        snprintf(expected, sizeof expected, "%ld\n%ld", count, count);
        EXPECT(c, expected, "MGET {%s}a {%s}b", tags[i], tags[i]);
        free(tags[i]);
    }
    redisFree(c);
}
END_TEST

/* Two sessions raise one number by WATCH, GET, MULTI, SET, EXEC: each EXEC that was not nil counts
 * for one, and none is lost. */
START_TEST(test_watched_counters_while_slots_move)
{
    struct cluster *cluster = target_cluster();
    char *tag = cluster_key_in_slot(travelling[0], 0), expected[32];
    long done = 0;
    target_flush(TARGET_CLUSTER);
    redisContext *c[2] = {connect_target(TARGET_CLUSTER), connect_target(TARGET_CLUSTER)};
    EXPECT(c[0], "OK", "SET %s 0", tag);
    struct migrator *migrator = migrator_start(
        cluster,
        &(struct migrator_options){.slots = travelling, .count = 1, .moves = 6, .patience_ms = 20});
    do {
        long seen[2];
        for (int i = 0; i < 2; i++) {
            EXPECT(c[i], "OK", "WATCH %s", tag);
            redisReply *reply = redisCommand(c[i], "GET %s", tag);
            ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
            seen[i] = atol(reply->str);
            freeReplyObject(reply);
        }
        for (int i = 0; i < 2; i++) {
            EXPECT(c[i], "OK", "MULTI");
            EXPECT(c[i], "QUEUED", "SET %s %ld", tag, seen[i] + 1);
        }
        for (int i = 0; i < 2; i++) {
            redisReply *reply = redisCommand(c[i], "EXEC");
            ck_assert_msg(reply->type == REDIS_REPLY_NIL || reply->type == REDIS_REPLY_ARRAY, "%s",
                          reply->str);
            done += reply->type == REDIS_REPLY_ARRAY;
            freeReplyObject(reply);
        }
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    ck_assert_int_gt(done, 0);
    snprintf(expected, sizeof expected, "%ld", done);
    EXPECT(c[0], expected, "GET %s", tag);
    redisFree(c[0]);
    redisFree(c[1]);
    free(tag);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("transaction");
    TCase *tc = suite_case(suite, "everywhere", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_a_transaction, 0, target_count());
    tcase_add_loop_test(tc, test_discard, 0, target_count());
    tcase_add_loop_test(tc, test_an_empty_transaction, 0, target_count());
    tcase_add_loop_test(tc, test_words_out_of_place, 0, target_count());
    tcase_add_loop_test(tc, test_multi_and_watch_inside, 0, target_count());
    tcase_add_loop_test(tc, test_errors_while_queueing_abort, 0, target_count());
    tcase_add_loop_test(tc, test_commands_without_keys, 0, target_count());
    tcase_add_loop_test(tc, test_blocking_commands_do_not_block, 0, target_count());
    tcase_add_loop_test(tc, test_scripts_inside, 0, target_count());
    tcase_add_loop_test(tc, test_watch, 0, target_count());
    tcase_add_loop_test(tc, test_many_transactions_in_one_pipeline, 0, target_count());
    tcase_add_loop_test(tc, test_asynchronous_transactions, 0, LOOP_KINDS * target_count());
    if (target_count() > TARGET_CLUSTER) {
        tc = suite_case(suite, "cluster", target_setup, target_teardown);
        tcase_add_test(tc, test_keys_of_several_slots);
        tcase_add_test(tc, test_commands_for_all_nodes_are_refused);
        tcase_add_loop_test(tc, test_a_slot_that_moves_in_the_middle, 0, 3);
        tcase_add_loop_test(tc, test_a_watched_slot_that_moves, 0, 2);
        tcase_add_test(tc, test_a_lost_connection);
        tcase_add_test(tc, test_close_behind_exec);
        tcase_add_loop_test(tc, test_counted_transactions_while_slots_move, 0, 2);
        tcase_add_test(tc, test_watched_counters_while_slots_move);
    }
    return suite_run(suite);
}
