/* Our counters against what the servers counted. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/server.h"
#include "../support/statistic.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/threads.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { COMMANDS = 200, THREADS = 4 };

static unsigned long long commands(const char *what, const char *command)
{
    char name[64], labels[64];

    snprintf(name, sizeof name, "redisroute_commands%s_total", what);
    snprintf(labels, sizeof labels, "command=\"%s\"", command);
    return statistic(name, labels);
}

static long calls_at_servers(const char *command)
{
    long calls = 0;

    for (int i = 0; i < cluster_size(target_cluster()); i++)
        calls += server_calls(cluster_server(target_cluster(), i), command);
    return calls;
}

static void reset_servers(void)
{
    for (int i = 0; i < cluster_size(target_cluster()); i++)
        free(cluster_command(target_cluster(), i, "CONFIG RESETSTAT"));
}

static void some_commands(redisContext *c)
{
    for (int i = 0; i < COMMANDS; i++)
        EXPECT(c, "OK", "SET key:%d v", i);
    for (int i = 0; i < COMMANDS; i++)
        redisAppendCommand(c, "GET key:%d", i);
    for (int i = 0; i < COMMANDS; i++)
        EXPECT_NEXT(c, "v");
    for (int i = 0; i < 3; i++)
        EXPECT_ERROR(c, "WRONGTYPE", "LPUSH key:%d v", i);
    EXPECT_ERROR(c, "ERR unknown command", "NOSUCHCOMMAND x");
    EXPECT(c, "v\nv", "MGET key:1 key:2");
}

START_TEST(test_commands_are_those_that_the_servers_counted)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    char cluster[64];

    redisRouteSetCommandStats(1);
    reset_servers();
    some_commands(c);
    ck_assert_int_eq(calls_at_servers("set"), COMMANDS);
    ck_assert_int_eq(calls_at_servers("get"), COMMANDS);
    ck_assert_uint_eq(commands("", "set"), COMMANDS);
    ck_assert_uint_eq(commands("_success", "set"), COMMANDS);
    ck_assert_uint_eq(commands("", "get"), COMMANDS);
    ck_assert_uint_eq(commands("", "lpush"), 3);
    ck_assert_uint_eq(commands("_failure", "lpush"), 3);
    ck_assert_uint_eq(commands("_failure", "unknown"), 1);
    ck_assert_uint_eq(commands("", "mget"), 1);
    snprintf(cluster, sizeof cluster, "cluster=\"127.0.0.1:%d\"", target_port(TARGET_CLUSTER));
    ck_assert_uint_eq(statistic("redisroute_commands_total", cluster), 2 * COMMANDS + 3 + 1 + 1);
    ck_assert_uint_eq(statistic("redisroute_command_latency_microseconds_count", "command=\"get\""),
                      COMMANDS);
    ck_assert_uint_eq(
        statistic("redisroute_command_latency_microseconds_bucket", "command=\"get\",le=\"+Inf\""),
        COMMANDS);
    ck_assert_uint_gt(statistic("redisroute_command_latency_microseconds_sum", "command=\"set\""), 0);
    redisRouteSetCommandStats(0);
    some_commands(c);
    ck_assert_uint_eq(commands("", "set"), COMMANDS);
    redisFree(c);
}
END_TEST

START_TEST(test_transactions_scripts_and_blocking_commands)
{
    redisContext *c = connect_target(TARGET_CLUSTER);

    redisRouteSetCommandStats(1);
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET {t}a 1");
    EXPECT(c, "QUEUED", "INCR {t}a");
    EXPECT(c, "OK\n2", "EXEC");
    EXPECT(c, "1", "EVAL return(1) 0");
    EXPECT(c, "(nil)", "BLPOP nothing 0.05");
    ck_assert_uint_eq(commands("", "multi"), 1);
    ck_assert_uint_eq(commands("", "incr"), 1);
    ck_assert_uint_eq(commands("_success", "exec"), 1);
    ck_assert_uint_eq(commands("", "eval"), 1);
    ck_assert_uint_eq(commands("", "blpop"), 1);
    ck_assert_uint_ge(statistic("redisroute_command_latency_microseconds_sum", "command=\"blpop\""),
                      50000);
    redisFree(c);
}
END_TEST

START_TEST(test_asynchronous)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(0);

    redisRouteSetCommandStats(1);
    async_open(&client, loop, target_port(TARGET_CLUSTER));
    for (int i = 0; i < COMMANDS; i++)
        async_expect(&client, "OK", "SET async:%d v", i);
    async_finish(&client);
    ck_assert_uint_eq(commands("_success", "set"), COMMANDS);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

static void *set_in_a_thread(void *port)
{
    redisContext *c = connect_port(*(int *)port);

    for (int i = 0; i < COMMANDS; i++)
        EXPECT(c, "OK", "SET thread:%d v", i);
    redisFree(c);
    return NULL;
}

START_TEST(test_threads)
{
    pthread_t threads[THREADS];
    int port = target_port(TARGET_CLUSTER);

    redisRouteSetCommandStats(1);
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, set_in_a_thread, &port) == 0);
    while (commands("", "set") < COMMANDS) {
        char text[64];

        ck_assert_uint_ge(redisRouteStatsText(text, sizeof text), sizeof text);
        ck_assert_uint_eq(strlen(text), sizeof text - 1);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(commands("", "set"), THREADS * COMMANDS);
}
END_TEST

START_TEST(test_redirections)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    int slot = cluster_slot("wanderer"), from = cluster_owner_of_slot(target_cluster(), 0, slot);
    int to = (from + 1) % cluster_masters(target_cluster());

    EXPECT(c, "OK", "SET wanderer v");
    ck_assert_uint_eq(statistic("redisroute_redirects_total", "moved"), 0);
    ck_assert_uint_ge(statistic("redisroute_links_total", "opened"), 1);
    cluster_migrate(target_cluster(), slot, from, to);
    EXPECT(c, "v", "GET wanderer");
    ck_assert_uint_eq(statistic("redisroute_redirects_total", "kind=\"moved\""), 1);
    ck_assert_uint_eq(statistic("redisroute_retries_total", ""), 1);
    cluster_migrate_begin(target_cluster(), slot, to, from);
    EXPECT(c, "(nil)", "GET {wanderer}nothing");
    ck_assert_uint_eq(statistic("redisroute_redirects_total", "kind=\"ask\""), 1);
    UNTIL(statistic("redisroute_topology_refreshes_total", "success") > 0);
    redisFree(c);
}
END_TEST

START_TEST(test_lost_connections)
{
    redisContext *c = connect_target(TARGET_CLUSTER);

    EXPECT(c, "OK", "SET key v");
    ck_assert_uint_eq(statistic("redisroute_links_total", "event=\"lost\""), 0);
    for (int i = 0; i < cluster_size(target_cluster()); i++)
        free(cluster_command(target_cluster(), i, "CLIENT KILL TYPE normal SKIPME yes"));
    EXPECT(c, "v", "GET key");
    ck_assert_uint_ge(statistic("redisroute_links_total", "event=\"lost\""), 1);
    redisFree(c);
}
END_TEST

static bool file_says(const char *path, const char *line)
{
    char text[4096];
    FILE *file = fopen(path, "r");
    bool found = false;

    while (file && fgets(text, sizeof text, file))
        found = found || !strcmp(text, line);
    if (file)
        fclose(file);
    return found;
}

/* Also what a child does that has nothing to say: nothing. */
START_TEST(test_file)
{
    char folder[] = "/tmp/redisroute-statistics-XXXXXX", path[64], pattern[64], line[128];
    redisContext *c;
    pid_t child;
    int status;

    MUST(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%d.prom", folder, (int)getpid());
    snprintf(pattern, sizeof pattern, "%s/%%p.prom", folder);
    setenv("REDISROUTE_STATS_FILE", pattern, 1);
    setenv("REDISROUTE_STATS_INTERVAL", "100ms", 1);
    setenv("REDISROUTE_COMMAND_STATS", "1", 1);
    c = connect_target(TARGET_CLUSTER);
    EXPECT(c, "OK", "SET key v");
    snprintf(line, sizeof line,
             "redisroute_commands_total{cluster=\"127.0.0.1:%d\",command=\"set\"} 1\n",
             target_port(TARGET_CLUSTER));
    UNTIL(file_says(path, line));
    child = fork();
    MUST(child >= 0);
    if (child == 0)
        exit(0);
    MUST(waitpid(child, &status, 0) == child && status == 0);
    snprintf(path, sizeof path, "%s/%d.prom", folder, (int)child);
    ck_assert_int_eq(access(path, F_OK), -1);
    redisFree(c);
    snprintf(path, sizeof path, "rm -r %s", folder);
    MUST(system(path) == 0);
}
END_TEST

/* Also if it ends at once; and what its parent did is not counted once more. */
START_TEST(test_file_of_a_child)
{
    char folder[] = "/tmp/redisroute-statistics-XXXXXX", path[64], pattern[64], line[128];
    redisContext *c;
    pid_t child;
    int status;

    MUST(mkdtemp(folder));
    snprintf(pattern, sizeof pattern, "%s/%%p.prom", folder);
    setenv("REDISROUTE_STATS_FILE", pattern, 1);
    setenv("REDISROUTE_COMMAND_STATS", "1", 1);
    c = connect_target(TARGET_CLUSTER);
    for (int i = 0; i < 5; i++)
        EXPECT(c, "OK", "SET key v");
    UNTIL(threads_are_asleep());
    child = fork();
    MUST(child >= 0);
    if (child == 0) {
        redisContext *own = connect_target(TARGET_CLUSTER);

        EXPECT(own, "OK", "SET key v");
        redisFree(own);
        redisFree(c);
        exit(0);
    }
    MUST(waitpid(child, &status, 0) == child && status == 0);
    snprintf(path, sizeof path, "%s/%d.prom", folder, (int)child);
    snprintf(line, sizeof line,
             "redisroute_commands_total{cluster=\"127.0.0.1:%d\",command=\"set\"} 1\n",
             target_port(TARGET_CLUSTER));
    ck_assert(file_says(path, line));
    redisFree(c);
    snprintf(path, sizeof path, "rm -r %s", folder);
    MUST(system(path) == 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("statistics");
    TCase *tc = suite_case(suite, "counters", target_setup, target_teardown);

    if (target_count() > TARGET_CLUSTER) {
        tcase_add_test(tc, test_commands_are_those_that_the_servers_counted);
        tcase_add_test(tc, test_transactions_scripts_and_blocking_commands);
        tcase_add_test(tc, test_asynchronous);
        tcase_add_test(tc, test_threads);
        tcase_add_test(tc, test_redirections);
        tcase_add_test(tc, test_lost_connections);
        tcase_add_test(tc, test_file);
        if (CAN_FORK)
            tcase_add_test(tc, test_file_of_a_child);
    }
    return suite_run(suite);
}
