/* Commands that not every server has: where it is known the answer is that of one server, where it
 * is not, so is the error. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/expect.h"
#include "../support/suite.h"
#include "../support/target.h"

enum { KEYS = 12, MASTERS = 3, SLOTS = 16384, LARGE = 5000 };

/* Asked of the server itself, of which subcommands it knows too. */
static bool is_known(redisContext *c, const char *name)
{
    redisReply *reply = redisCommand(c, "COMMAND INFO %s", name);
    ck_assert_msg(reply != NULL && reply->type == REDIS_REPLY_ARRAY, "COMMAND INFO %s", name);
    ck_assert_uint_eq(reply->elements, 1);
    bool is_known = reply->element[0]->type == REDIS_REPLY_ARRAY;
    freeReplyObject(reply);
    return is_known;
}

/* False, with the server's own error seen. */
static bool knows(redisContext *c, const char *name, const char *command)
{
    if (is_known(c, name))
        return true;
    EXPECT_ERROR(c, "ERR unknown ", command);
    return false;
}

START_TEST(test_fields_that_expire)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    if (knows(c, "hsetex", "HSETEX h EX 100 FIELDS 1 f v")) {
        for (int i = 0; i < KEYS; i++)
            redisAppendCommand(c, "HSETEX h:%d EX 100 FIELDS 2 f v g w", i);
        for (int i = 0; i < KEYS; i++)
            redisAppendCommand(c, "HGETEX h:%d PERSIST FIELDS 1 f", i);
        for (int i = 0; i < KEYS; i++)
            redisAppendCommand(c, "HTTL h:%d FIELDS 2 f none", i);
        for (int i = 0; i < KEYS; i++)
            EXPECT_NEXT(c, "1");
        for (int i = 0; i < KEYS; i++)
            EXPECT_NEXT(c, "v");
        for (int i = 0; i < KEYS; i++)
            EXPECT_NEXT(c, "-1\n-2");
        EXPECT(c, "w", "HGETDEL h:1 FIELDS 1 g");
        EXPECT(c, "f\nv", "HGETALL h:1");
    }
    redisFree(c);
}
END_TEST

START_TEST(test_vector_sets)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    if (knows(c, "vadd", "VADD v VALUES 2 1 0 east")) {
        for (int i = 0; i < KEYS; i++)
            redisAppendCommand(c, "VADD v:%d VALUES 2 1 0 east", i);
        for (int i = 0; i < KEYS; i++)
            redisAppendCommand(c, "vadd v:%d VALUES 2 0 1 north", i);
        for (int i = 0; i < 2 * KEYS; i++)
            EXPECT_NEXT(c, "1");
        for (int i = 0; i < KEYS; i++) {
            EXPECT(c, "2", "VCARD v:%d", i);
            EXPECT(c, "north", "VSIM v:%d VALUES 2 0.1 0.9 COUNT 1", i);
            EXPECT(c, "1", "VREM v:%d north", i);
            EXPECT(c, "east", "VSIM v:%d ELE east", i);
        }
        char expected[8];
        snprintf(expected, sizeof expected, "%d", KEYS);
        EXPECT(c, expected, "DBSIZE");
    }
    redisFree(c);
}
END_TEST

/* Each node logs for itself: one command a shard is one entry each. */
START_TEST(test_command_log)
{
    static char value[LARGE + 1];
    redisContext *c = connect_target(_i);
    target_flush(_i);
    memset(value, 'x', LARGE);
    if (knows(c, "commandlog", "COMMANDLOG LEN slow")) {
        EXPECT(c, "OK", "CONFIG SET commandlog-request-larger-than %d", LARGE);
        EXPECT(c, "OK", "COMMANDLOG RESET large-request");
        EXPECT(c, "0", "COMMANDLOG LEN large-request");
        for (int i = 0; i < KEYS; i++)
            EXPECT(c, "OK", "SET log:%d %s", i, value);
        char expected[8];
        snprintf(expected, sizeof expected, "%d", KEYS);
        EXPECT(c, expected, "COMMANDLOG LEN large-request");
        redisReply *reply = redisCommand(c, "COMMANDLOG GET 100 large-request");
        ck_assert_ptr_nonnull(reply);
        ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
        ck_assert_uint_eq(reply->elements, KEYS);
        freeReplyObject(reply);
        EXPECT(c, "OK", "COMMANDLOG RESET large-request");
        EXPECT(c, "0", "COMMANDLOG LEN large-request");
        EXPECT(c, "OK", "CONFIG SET commandlog-request-larger-than -1");
        EXPECT_ERROR(c, "ERR", "COMMANDLOG NONSENSE");
    }
    redisFree(c);
}
END_TEST

START_TEST(test_slot_statistics_are_of_all_slots)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    if (knows(c, "cluster|slot-stats", "CLUSTER SLOT-STATS SLOTSRANGE 0 16383")) {
        bool seen[SLOTS] = {false};
        redisReply *reply = redisCommand(c, "CLUSTER SLOT-STATS SLOTSRANGE 0 16383");
        ck_assert_ptr_nonnull(reply);
        ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
        ck_assert_uint_eq(reply->elements, SLOTS);
        for (size_t i = 0; i < reply->elements; i++) {
            long long slot = reply->element[i]->element[0]->integer;
            ck_assert(slot >= 0 && slot < SLOTS && !seen[slot]);
            seen[slot] = true;
        }
        freeReplyObject(reply);
    }
    redisFree(c);
}
END_TEST

/* A script that ran is known to one node, if it was not loaded. */
START_TEST(test_script_show)
{
    static const char text[] = "return KEYS[1]..'!'";
    static const char sha[] = "a12d3ed39e19892bdd6cafc8eee54fdedeb9cb1f";
    redisContext *c = connect_target(_i);
    target_flush(_i);
    if (knows(c, "script|show", "SCRIPT SHOW a12d3ed39e19892bdd6cafc8eee54fdedeb9cb1f")) {
        EXPECT_ERROR(c, "NOSCRIPT", "SCRIPT SHOW %s", sha);
        EXPECT(c, "key:1!", "EVAL %s 1 key:1", text);
        EXPECT(c, text, "SCRIPT SHOW %s", sha);
        redisReply *loaded = redisCommand(c, "SCRIPT LOAD %s", "return 1");
        ck_assert(loaded != NULL && loaded->type == REDIS_REPLY_STRING);
        EXPECT(c, "return 1", "SCRIPT SHOW %s", loaded->str);
        freeReplyObject(loaded);
    }
    redisFree(c);
}
END_TEST

/* Said once by the program, and on every connection by the library. */
START_TEST(test_client_capabilities)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    if (knows(c, "client|capa", "CLIENT CAPA redirect")) {
        EXPECT(c, "OK", "CLIENT CAPA redirect");
        for (int i = 0; i < KEYS; i++)
            EXPECT(c, "OK", "SET capa:%d x", i);
        redisReply *list = redisCommand(c, "CLIENT LIST");
        ck_assert(list != NULL && list->type == REDIS_REPLY_STRING);
        int count = 0;
        for (const char *at = list->str; (at = strstr(at, " capa=r")) != NULL; at++)
            count++;
        ck_assert_int_eq(count, _i == TARGET_CLUSTER ? MASTERS : 1);
        freeReplyObject(list);
        /* Its answer depends on the server's configuration: that it is imported into. */
        EXPECT_ERROR(c, "ERR", "CLIENT IMPORT-SOURCE perhaps");
    }
    redisFree(c);
}
END_TEST

/* New words of old commands. */
START_TEST(test_set_if_equal)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    redisReply *reply = redisCommand(c, "SET if:0 x IFEQ y");
    ck_assert_ptr_nonnull(reply);
    bool is_known_word = reply->type != REDIS_REPLY_ERROR;
    freeReplyObject(reply);
    for (int i = 0; i < KEYS; i++) {
        EXPECT(c, "OK", "SET if:%d a", i);
        if (is_known_word) {
            EXPECT(c, "(nil)", "SET if:%d b IFEQ other", i);
            EXPECT(c, "OK", "SET if:%d b IFEQ a", i);
            EXPECT(c, "b", "GET if:%d", i);
        } else {
            EXPECT_ERROR(c, "ERR syntax error", "SET if:%d b IFEQ a", i);
        }
    }
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("newer");
    TCase *tc = suite_case(suite, "commands", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_fields_that_expire, 0, target_count());
    tcase_add_loop_test(tc, test_vector_sets, 0, target_count());
    tcase_add_loop_test(tc, test_command_log, 0, target_count());
    tcase_add_loop_test(tc, test_script_show, 0, target_count());
    tcase_add_loop_test(tc, test_client_capabilities, 0, target_count());
    tcase_add_loop_test(tc, test_set_if_equal, 0, target_count());
    if (target_count() > TARGET_CLUSTER)
        tcase_add_test(tc, test_slot_statistics_are_of_all_slots);
    return suite_run(suite);
}
