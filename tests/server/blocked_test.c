/* Commands that wait at a server while their slot goes to another one. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/cluster.h"
#include "../support/expect.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

static struct cluster *cluster;

static void setup(void)
{
    cluster = cluster_start(&(struct cluster_options){.replicas = 1, .masters = 3});
}

static void teardown(void)
{
    cluster_stop(cluster);
}

static bool somebody_waits(int node)
{
    char *info = cluster_command(cluster, node, "INFO clients");
    bool waits = strstr(info, "blocked_clients:1\r\n") != NULL ||
                 strstr(info, "blocked_clients:1\n") != NULL;
    free(info);
    return waits;
}

/* Sent, and not waited for; which needs the connection to be there. */
static void say(redisContext *c, const char *line)
{
    int done = 0;
    EXPECT(c, "0", "EXISTS k:0");
    redisAppendCommand(c, line);
    while (!done)
        ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
}

/* A program that waits for the reply meanwhile. */
static void *read_reply(void *context)
{
    void *reply = NULL;
    return redisGetReply(context, &reply) == REDIS_OK ? reply : NULL;
}

static pthread_t start_reading(redisContext *c)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, read_reply, c), 0);
    return thread;
}

static void expect_read(pthread_t thread, const char *expected)
{
    void *reply;
    pthread_join(thread, &reply);
    ck_assert_ptr_nonnull(reply);
    EXPECT_REPLY(reply, expected);
    freeReplyObject(reply);
}

static const struct {
    const char *wait;
    const char *give;
    const char *reply;
} waits[] = {
    {"BLPOP k:0 0", "RPUSH k:0 x", "k:0\nx"},
    {"BLPOP k:0 20", "RPUSH k:0 x", "k:0\nx"},
    {"BZPOPMIN k:0 20.5", "ZADD k:0 1 x", "k:0\nx\n1"},
    {"BLMPOP 20 1 k:0 LEFT", "RPUSH k:0 x", "k:0\nx"},
    {"XREAD COUNT 1 BLOCK 20000 STREAMS k:0 $", "XADD k:0 1-1 f v", "k:0\n1-1\nf\nv"},
};

START_TEST(test_a_slot_that_moves_under_a_waiting_command)
{
    int slot = cluster_slot("k:0"), from = cluster_owner_of_slot(cluster, 0, slot);
    int to = (from + 1) % 3;
    redisContext *c = connect_port(cluster_port(cluster, 0));
    redisContext *giver = connect_port(cluster_port(cluster, 1));
    EXPECT(c, "OK", "SET k:1 1");
    say(c, waits[_i].wait);
    pthread_t reader = start_reading(c);
    UNTIL(somebody_waits(from));
    cluster_migrate(cluster, slot, from, to);
    UNTIL(somebody_waits(to));
    freeReplyObject(redisCommand(giver, waits[_i].give));
    expect_read(reader, waits[_i].reply);
    EXPECT(c, "1", "GET k:1");
    freeReplyObject(redisCommand(giver, "DEL k:0"));
    redisFree(giver);
    redisFree(c);
    cluster_migrate(cluster, slot, to, from);
}
END_TEST

/* 3 s in all, of which one has passed when the slot moves. */
START_TEST(test_the_time_that_is_left)
{
    static const char *const lines[] = {"BLPOP k:0 3", "BZMPOP 3.0 1 k:0 MIN",
                                        "XREAD BLOCK 3000 STREAMS k:0 $"};
    int slot = cluster_slot("k:0"), from = cluster_owner_of_slot(cluster, 0, slot);
    int to = (from + 1) % 3;
    redisContext *c = connect_port(cluster_port(cluster, 0));
    int64_t start = now_ms();
    say(c, lines[_i]);
    UNTIL(now_ms() - start >= 1500);
    cluster_migrate(cluster, slot, from, to);
    ck_assert_int_lt(now_ms() - start, 3000);
    EXPECT_NEXT(c, "(nil)");
    ck_assert_int_ge(now_ms() - start, 2900);
    ck_assert_int_lt(now_ms() - start, 4400);
    redisFree(c);
    cluster_migrate(cluster, slot, to, from);
}
END_TEST

/* The old master says UNBLOCKED, or MOVED, or hangs up on nobody. */
START_TEST(test_a_failover_under_a_waiting_command)
{
    int slot = cluster_slot("k:0"), from = cluster_owner_of_slot(cluster, 0, slot);
    int replica = 3 + from;
    redisContext *c = connect_port(cluster_port(cluster, 0));
    redisContext *giver = connect_port(cluster_port(cluster, 1));
    say(c, "BLPOP k:0 20");
    pthread_t reader = start_reading(c);
    UNTIL(somebody_waits(from));
    cluster_failover(cluster, replica);
    UNTIL(somebody_waits(replica));
    EXPECT(giver, "1", "RPUSH k:0 x");
    expect_read(reader, "k:0\nx");
    redisFree(giver);
    redisFree(c);
}
END_TEST

/* What an administrator unblocks is told so. */
START_TEST(test_client_unblock_is_the_applications_own)
{
    char line[64];
    int owner = cluster_owner_of_slot(cluster, 0, cluster_slot("k:0"));
    redisContext *c = connect_port(cluster_port(cluster, 0));
    say(c, "BLPOP k:0 20");
    UNTIL(somebody_waits(owner));
    char *list = cluster_command(cluster, owner, "CLIENT LIST");
    char *flag = strstr(list, "flags=b");
    ck_assert_ptr_nonnull(flag);
    while (flag > list && strncmp(flag, "id=", 3) != 0)
        flag--;
    snprintf(line, sizeof line, "CLIENT UNBLOCK %ld ERROR", atol(flag + 3));
    free(list);
    ck_assert(cluster_says(cluster, owner, "1", line));
    EXPECT_NEXT(c, "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("blocked");
    TCase *tc = suite_case(suite, "cluster", setup, teardown);
    tcase_add_loop_test(tc, test_a_slot_that_moves_under_a_waiting_command, 0,
                        (int)(sizeof waits / sizeof *waits));
    tcase_add_loop_test(tc, test_the_time_that_is_left, 0, 3);
    tcase_add_test(tc, test_client_unblock_is_the_applications_own);
    tcase_add_test(tc, test_a_failover_under_a_waiting_command);
    return suite_run(suite);
}
