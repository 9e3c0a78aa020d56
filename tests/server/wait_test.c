/* WAIT: the replicas of every master have what this session wrote. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdlib.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { MASTERS = 3, KEYS = 60, SHORT_MS = 100 };

static struct cluster *cluster;

static void setup(void)
{
    cluster = cluster_start(&(struct cluster_options){.masters = MASTERS, .replicas = 1});
}

static void teardown(void)
{
    cluster_stop(cluster);
}

static void write_keys(redisContext *c)
{
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "SET key:%d v", i);
    for (int i = 0; i < KEYS; i++)
        EXPECT_NEXT(c, "OK");
}

START_TEST(test_all_replicas_have_it)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    char *keys;

    write_keys(c);
    EXPECT(c, "1", "WAIT 1 30000");
    for (int i = 0; i < MASTERS; i++) {
        char *there = cluster_command(cluster, i, "DBSIZE");

        keys = cluster_command(cluster, MASTERS + i, "DBSIZE");
        ck_assert_str_eq(keys, there);
        free(keys);
        free(there);
    }
    EXPECT(c, "1", "WAIT 0 0");
    redisFree(c);
}
END_TEST

/* The time limit is waited once, not once for each master. */
START_TEST(test_one_replica_is_missing)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    int64_t began;

    cluster_signal(cluster, MASTERS + 1, SIGSTOP);
    write_keys(c);
    began = now_ms();
    EXPECT(c, "0", "WAIT 1 %d", SHORT_MS);
    ck_assert_int_ge(now_ms() - began, SHORT_MS);
    EXPECT(c, "v", "GET key:1");
    cluster_signal(cluster, MASTERS + 1, SIGCONT);
    EXPECT(c, "1", "WAIT 1 0");
    redisFree(c);
}
END_TEST

/* Nothing behind it is sent before it is answered, nor is it before what it waits for. */
START_TEST(test_in_a_pipeline)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));

    redisAppendCommand(c, "MSET a 1 b 2 c 3 d 4");
    redisAppendCommand(c, "WAIT 1 30000");
    redisAppendCommand(c, "MGET a b c d");
    redisAppendCommand(c, "WAIT 5 1");
    redisAppendCommand(c, "WAIT x 1");
    EXPECT_NEXT(c, "OK");
    EXPECT_NEXT(c, "1");
    EXPECT_NEXT(c, "1\n2\n3\n4");
    EXPECT_NEXT(c, "1");
    redisReply *reply;
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
    redisFree(c);
}
END_TEST

START_TEST(test_asynchronous)
{
    struct async_client client = {0};

    async_open(&client, loop_create(_i), cluster_port(cluster, 0));
    async_expect(&client, "OK", "MSET a 1 b 2 c 3 d 4");
    async_expect(&client, "1", "WAIT 1 30000");
    async_expect(&client, "1", "GET a");
    struct loop *loop = client.loop;
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wait");
    TCase *tc = suite_case(suite, "replicas", setup, teardown);

    tcase_add_test(tc, test_all_replicas_have_it);
    tcase_add_test(tc, test_one_replica_is_missing);
    tcase_add_test(tc, test_in_a_pipeline);
    tcase_add_loop_test(tc, test_asynchronous, 0, LOOP_KINDS);
    return suite_run(suite);
}
