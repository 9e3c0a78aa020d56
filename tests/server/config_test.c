/* The configuration file, as it takes effect: where commands went is proved by the servers. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/config_file.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/loop.h"
#include "../support/server.h"
#include "../support/statistic.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { MASTERS = 2, NODES = 2 * MASTERS, SWITCHES = 10, DEPTH = 50 };

/* Nobody listens at these; the configuration says where they lead. */
static const char listener[] = "127.0.0.9", other_listener[] = "127.0.0.8";
enum { PORT = 6379 };

static struct cluster *cluster;
static struct server *mirror, *other_mirror;
static char *key;

static bool is_named(int by, int node)
{
    char *text = cluster_command(cluster, by, "CLUSTER SLOTS"), port[16];
    bool named;

    snprintf(port, sizeof port, "%d", cluster_port(cluster, node));
    named = strstr(text, port) != NULL;
    free(text);
    return named;
}

static void setup(void)
{
    cluster = cluster_start(&(struct cluster_options){
        .masters = MASTERS, .replicas = 1, .extra = "repl-diskless-sync-delay 0\n"});
    mirror = server_start(&(struct server_options){0});
    other_mirror = server_start(&(struct server_options){0});
    key = cluster_key_for(cluster, 0, 0);
    for (int i = 0; i < MASTERS; i++) {
        char *first = cluster_key_for(cluster, i, 0);

        free(cluster_command(cluster, i, "SET %s v", first));
        free(first);
    }
    for (int by = 0; by < NODES; by++)
        for (int node = 0; node < NODES; node++)
            UNTIL(is_named(by, node));
}

static void teardown(void)
{
    server_stop(mirror);
    server_stop(other_mirror);
    cluster_stop(cluster);
    free(key);
}

/* One that no way leads to first, then a dead one: any one that is alive is enough. */
static const char cluster_text[] =
    "clusters:\n"
    "- name: main\n"
    "  endpoints: [127.255.255.255:1, 127.0.0.1:1, 127.0.0.1:%d, 127.0.0.1:%d]\n"
    "- name: copy\n  endpoints: [127.0.0.1:%d]\n"
    "- name: other\n  endpoints: [127.0.0.1:%d]\n";

static char *clusters(void)
{
    char *text;

    MUST(asprintf(&text, cluster_text, cluster_port(cluster, 0), cluster_port(cluster, 1),
                  server_port(mirror), server_port(other_mirror)) > 0);
    return text;
}

/* One listener; `settings` and `route` are more of theirs. */
static void listen_with(const char *settings, const char *route)
{
    char *text = clusters();

    config_write(
        "%slisteners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s%s}\n"
        "    prefix_routes: {catch_all_route: {cluster: main%s}}\n",
        text, listener, PORT, settings, route);
    free(text);
}

static redisContext *dial(const char *host)
{
    redisContext *c = redisConnect(host, PORT);

    ck_assert_ptr_nonnull(c);
    ck_assert_msg(c->err == 0, "%s", c->errstr);
    return c;
}

static long calls(int node, const char *command)
{
    return server_calls(cluster_server(cluster, node), command);
}

static unsigned long long versions(const char *result)
{
    return statistic("redisroute_configurations_total", result);
}

/* --- what a file says --- */

START_TEST(test_any_endpoint_will_do)
{
    redisContext *c;

    config_begin();
    listen_with("", "");
    for (int i = 0; i < 5; i++) {
        c = dial(listener);
        EXPECT(c, "OK", "SET %s v%d", key, i);
        EXPECT(c, "PONG", "PING");
        redisFree(c);
    }
    config_end();
}
END_TEST

START_TEST(test_any_endpoint_will_do_asynchronously)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);

    config_begin();
    listen_with("", "");
    async_open_host(&client, loop, listener, PORT);
    async_expect(&client, "OK", "SET %s v", key);
    async_expect(&client, "v", "GET %s", key);
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
    config_end();
}
END_TEST

/* It accepts connections, but says nothing, as one that is stopped or in a long script; or has no
 * room for one more client; or hangs up. */
static const struct fake_rule no_answers[] = {
    {.action = FAKE_SILENCE},
    {.action = FAKE_SILENCE}, /* once more, by another policy */
    {.action = FAKE_CLOSE, .reply = "-ERR max number of clients reached\r\n"},
    {.action = FAKE_CLOSE},
};

START_TEST(test_an_endpoint_that_does_not_answer)
{
    struct fake_node *silent = fake_node_start();
    redisContext *c;

    fake_node_on(silent, "*", no_answers[_i]);
    fake_node_on(silent, "CLUSTER SLOTS", no_answers[_i]);
    config_begin();
    config_write("listeners:\n- address: %s:%d\n  redis_proxy:\n"
                 "    settings: {op_timeout: 30s, read_policy: %s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main}}\n"
                 "clusters: [{name: main, endpoints: [127.0.0.1:%d, localhost:%d]}]\n",
                 listener, PORT, _i == 1 ? "REPLICA" : "MASTER", fake_node_port(silent),
                 cluster_port(cluster, 0));
    c = dial(listener);
    EXPECT(c, "OK", "SET %s v", key);
    EXPECT(c, "v", "GET %s", key);
    redisFree(c);
    config_end();
    fake_node_stop(silent);
}
END_TEST

START_TEST(test_read_policy_and_statistics)
{
    long before = calls(MASTERS, "get"), at_master = calls(0, "get");
    redisContext *c;
    size_t length;
    char *text;

    config_begin();
    listen_with(", read_policy: REPLICA, enable_command_stats: true", "");
    c = dial(listener);
    EXPECT(c, "OK", "SET %s v", key);
    for (int i = 0; i < DEPTH; i++)
        freeReplyObject(redisCommand(c, "GET %s", key));
    ck_assert_int_eq(calls(MASTERS, "get") - before, DEPTH);
    ck_assert_int_eq(calls(0, "get"), at_master);
    length = redisRouteStatsText(NULL, 0);
    text = malloc(length + 1);
    redisRouteStatsText(text, length + 1);
    ck_assert_ptr_nonnull(
        strstr(text, "redisroute_commands_total{cluster=\"main\",command=\"get\"} 50\n"));
    free(text);
    redisFree(c);
    config_end();
}
END_TEST

/* Where its commands are looked at one by one, too: it has no replicas, and is what there is. */
START_TEST(test_a_single_server_is_read_whatever_the_policy)
{
    redisContext *c;

    setenv("REDISROUTE_READ_POLICY", "REPLICA", 1);
    setenv("REDISROUTE_OP_TIMEOUT", "30s", 1);
    c = connect_port(server_port(mirror));
    EXPECT(c, "OK", "SET alone v");
    EXPECT(c, "v", "GET alone");
    EXPECT(c, "v\n(nil)", "MGET alone other");
    redisAppendCommand(c, "GET alone");
    redisAppendCommand(c, "STRLEN alone");
    EXPECT_NEXT(c, "v");
    EXPECT_NEXT(c, "1");
    EXPECT(c, "1", "DEL alone");
    redisFree(c);
    free(server_command(mirror, "CONFIG RESETSTAT")); /* others count what it is sent */
}
END_TEST

/* Servers that say nothing of their zone. */
static const struct {
    const char *master, *replica;
    bool reads_master;
} zones[] = {{"near", "far", true}, {"far", "near", false}, {"far", "far", false}};

START_TEST(test_zones_of_nodes)
{
    redisContext *c;

    config_begin();
    config_write("zone: near\n"
                 "listeners:\n- address: %s:%d\n  redis_proxy:\n"
                 "    settings: {op_timeout: 30s, read_policy: AZ_AFFINITY_REPLICAS_AND_PRIMARY}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main}}\n"
                 "clusters:\n- name: main\n  endpoints:\n"
                 "  - {address: 'localhost:%d', zone: %s}\n"
                 "  - {address: '127.0.0.1:%d', zone: %s}\n",
                 listener, PORT, cluster_port(cluster, 0), zones[_i].master,
                 cluster_port(cluster, MASTERS), zones[_i].replica);
    c = dial(listener);
    EXPECT(c, "OK", "SET %s v", key);
    /* It is said as soon as the nodes were asked how they are. */
    for (int64_t until = now_ms() + UNTIL_LIMIT_MS;;) {
        long at_master = calls(0, "get"), at_replica = calls(MASTERS, "get");

        for (int i = 0; i < DEPTH; i++)
            freeReplyObject(redisCommand(c, "GET %s", key));
        if (calls(0, "get") - at_master == (zones[_i].reads_master ? DEPTH : 0) &&
            calls(MASTERS, "get") - at_replica == (zones[_i].reads_master ? 0 : DEPTH))
            break;
        ck_assert(now_ms() < until);
        pause_ms(100);
    }
    redisFree(c);
    config_end();
}
END_TEST

/* The environment has the last word. */
START_TEST(test_environment_is_later_than_the_file)
{
    long before = calls(MASTERS, "get");
    redisContext *c;

    config_begin();
    setenv("REDISROUTE_READ_POLICY", "MASTER", 1);
    listen_with(", read_policy: REPLICA", "");
    c = dial(listener);
    EXPECT(c, "OK", "SET %s v", key);
    EXPECT(c, "v", "GET %s", key);
    ck_assert_int_eq(calls(MASTERS, "get"), before);
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_redirection_may_be_left_to_the_program)
{
    int slot = cluster_slot("wanderer"), from = cluster_owner_of_slot(cluster, 0, slot);
    redisContext *c;

    config_begin();
    listen_with(", enable_redirection: false", "");
    c = dial(listener);
    EXPECT(c, "OK", "SET wanderer v");
    cluster_migrate(cluster, slot, from, 1 - from);
    EXPECT_ERROR(c, "MOVED", "GET wanderer");
    redisFree(c);
    cluster_migrate(cluster, slot, 1 - from, from);
    config_end();
}
END_TEST

START_TEST(test_listeners_have_mirrors_of_their_own)
{
    redisContext *c, *other;
    char *text = clusters();

    config_begin();
    config_write("%slisteners:\n"
                 "- {address: '%s:%d', redis_proxy: {settings: {op_timeout: 30s}, prefix_routes: "
                 "{catch_all_route: {cluster: main, request_mirror_policy: "
                 "[{cluster: copy, exclude_read_commands: true}]}}}}\n"
                 "- {address: '%s:%d', redis_proxy: {settings: {op_timeout: 30s}, prefix_routes: "
                 "{catch_all_route: {cluster: main, request_mirror_policy: [{cluster: copy}, "
                 "{cluster: other}]}}}}\n",
                 text, listener, PORT, other_listener, PORT);
    free(text);
    c = dial(listener);
    other = dial(other_listener);
    EXPECT(c, "OK", "SET first 1");
    EXPECT(c, "1", "GET first");
    EXPECT(other, "OK", "SET second 2");
    EXPECT(other, "2", "GET second");
    EXPECT(c, "OK", "SET last 1");
    UNTIL(server_calls(mirror, "set") == 3);
    UNTIL(server_calls(mirror, "get") == 1);
    UNTIL(server_calls(other_mirror, "set") == 1);
    UNTIL(server_calls(other_mirror, "get") == 1);
    redisFree(c);
    redisFree(other);
    config_end();
}
END_TEST

START_TEST(test_a_bad_file_at_the_start)
{
    redisContext *c;

    config_begin();
    config_write("read_policy: SLAVE\n");
    c = connect_port(cluster_port(cluster, 0));
    EXPECT(c, "OK", "SET %s v", key);
    EXPECT(c, "v", "GET %s", key);
    ck_assert(config_log_says("redisroute.yaml:1:14: read_policy: \"SLAVE\" is not one of MASTER"));
    ck_assert_uint_eq(versions("refused"), 1);
    ck_assert_uint_eq(versions("in_force"), 0);
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_check)
{
    char why[256];

    config_begin();
    listen_with("", "");
    ck_assert_int_eq(redisRouteCheckConfig(config_path(), why, sizeof why), 0);
    ck_assert_str_eq(why, "");
    listen_with("", ", request_mirror_policy: [{cluster: nowhere}]");
    ck_assert_int_eq(redisRouteCheckConfig(config_path(), why, sizeof why), -1);
    ck_assert_ptr_nonnull(strstr(why, "request_mirror_policy[0]"));
    ck_assert_ptr_nonnull(strstr(why, "there is no cluster \"nowhere\""));
    ck_assert_int_eq(redisRouteCheckConfig(NULL, NULL, 0), -1);
    config_end();
}
END_TEST

/* --- a file that changes --- */

struct load {
    atomic_bool stop;
    unsigned long replies;
};

/* Pipelines of reads and counted writes: every reply is the one that belongs there. */
static void *keep_busy(void *data)
{
    struct load *load = data;
    redisContext *c = dial(listener);
    long long n = 0;

    EXPECT(c, "OK", "SET {%s}count 0", key);
    while (!load->stop) {
        for (int i = 0; i < DEPTH; i++) {
            redisAppendCommand(c, "INCR {%s}count", key);
            redisAppendCommand(c, "GET {%s}count", key);
        }
        for (int i = 0; i < DEPTH; i++) {
            char expected[32];

            snprintf(expected, sizeof expected, "%lld", ++n);
            EXPECT_NEXT(c, expected);
            EXPECT_NEXT(c, expected);
            load->replies += 2;
        }
    }
    redisFree(c);
    return NULL;
}

START_TEST(test_policy_and_mirror_switch_under_load)
{
    struct load load = {0};
    pthread_t thread;
    redisContext *c;

    config_begin();
    listen_with(", read_policy: MASTER", "");
    MUST(pthread_create(&thread, NULL, keep_busy, &load) == 0);
    c = dial(listener);
    for (int i = 1; i <= SWITCHES; i++) {
        int node = i % 2 ? MASTERS : 0; /* the replica of shard 0, and its master */
        long reads = calls(node, "strlen"), copies = server_calls(mirror, "append");
        int64_t limit = now_ms() + UNTIL_LIMIT_MS;

        listen_with(
            i % 2 ? ", read_policy: REPLICA" : ", read_policy: MASTER",
            i % 2 ? ", request_mirror_policy: [{cluster: copy, exclude_read_commands: true}]" : "");
        /* The open session takes it; a read alone, since behind a write it would stay there. */
        while (calls(node, "strlen") == reads) {
            redisReply *reply = redisCommand(c, "STRLEN {%s}text", key);

            ck_assert_ptr_nonnull(reply);
            ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
            freeReplyObject(reply);
            ck_assert_msg(now_ms() < limit, "switch %d did not take effect", i);
        }
        freeReplyObject(redisCommand(c, "APPEND {%s}text x", key));
        if (i % 2)
            UNTIL(server_calls(mirror, "append") == copies + 1);
        else
            ck_assert_int_eq(server_calls(mirror, "append"), copies);
    }
    load.stop = true;
    pthread_join(thread, NULL);
    ck_assert_uint_gt(load.replies, 0);
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_bad_version_changes_nothing)
{
    long reads;
    redisContext *c;

    config_begin();
    listen_with(", read_policy: REPLICA", "");
    c = dial(listener);
    EXPECT(c, "OK", "SET %s v", key);
    reads = calls(MASTERS, "get");
    freeReplyObject(redisCommand(c, "GET %s", key));
    ck_assert_int_eq(calls(MASTERS, "get"), reads + 1);
    listen_with(", read_policy: NONE", "");
    UNTIL(config_log_says("settings.read_policy: \"NONE\" is not one of"));
    ck_assert_uint_eq(versions("refused"), 1);
    ck_assert_uint_eq(versions("in_force"), 1);
    freeReplyObject(redisCommand(c, "GET %s", key));
    ck_assert_int_eq(calls(MASTERS, "get"), reads + 2);
    listen_with(", read_policy: MASTER", "");
    reads = calls(0, "get");
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; calls(0, "get") == reads;) {
        freeReplyObject(redisCommand(c, "GET %s", key));
        ck_assert(now_ms() < limit);
    }
    ck_assert_uint_eq(versions("refused"), 1);
    ck_assert_uint_eq(versions("in_force"), 2);
    redisFree(c);
    config_end();
}
END_TEST

/* As Kubernetes changes a volume: the name leads through a symlink that is swapped. */
START_TEST(test_symlinks_are_swapped)
{
    char old[128], new[128], data[128], beside[128], text[256];
    long reads;
    redisContext *c;

    config_begin();
    snprintf(old, sizeof old, "%s/old", config_folder());
    snprintf(new, sizeof new, "%s/new", config_folder());
    snprintf(data, sizeof data, "%s/..data", config_folder());
    snprintf(beside, sizeof beside, "%s/..data_tmp", config_folder());
    MUST(mkdir(old, 0700) == 0 && mkdir(new, 0700) == 0);
    listen_with(", read_policy: REPLICA", "");
    snprintf(text, sizeof text, "mv %s %s/redisroute.yaml", config_path(), new);
    MUST(system(text) == 0);
    listen_with(", read_policy: MASTER", "");
    snprintf(text, sizeof text, "mv %s %s/redisroute.yaml", config_path(), old);
    MUST(system(text) == 0);
    MUST(symlink("old", data) == 0 && symlink("..data/redisroute.yaml", config_path()) == 0);
    c = dial(listener);
    EXPECT(c, "OK", "SET %s v", key);
    EXPECT(c, "v", "GET %s", key);
    reads = calls(MASTERS, "get");
    MUST(symlink("new", beside) == 0 && rename(beside, data) == 0);
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; calls(MASTERS, "get") == reads;) {
        freeReplyObject(redisCommand(c, "GET %s", key));
        ck_assert(now_ms() < limit);
    }
    redisFree(c);
    config_end();
}
END_TEST

/* What the program chose for a context stays its own. */
/* As a daemon does, which moves to the root. */
START_TEST(test_a_relative_name_is_of_the_first_folder)
{
    const char *name;
    redisContext *c;
    long before;

    config_begin();
    name = strrchr(config_path(), '/') + 1;
    MUST(chdir(config_folder()) == 0);
    setenv("REDISROUTE_CONFIG", name, 1);
    setenv("REDISROUTE_STATS_FILE", "relative.prom", 1);
    setenv("REDISROUTE_STATS_INTERVAL", "100ms", 1);
    listen_with(", read_policy: MASTER", "");
    c = dial(listener);
    EXPECT(c, "OK", "SET %s v", key);
    MUST(chdir("/") == 0);
    listen_with(", read_policy: REPLICA", "");
    UNTIL(config_log_says("version 2"));
    before = calls(MASTERS, "get");
    EXPECT(c, "v", "GET %s", key);
    ck_assert_int_eq(calls(MASTERS, "get"), before + 1);
    MUST(chdir(config_folder()) == 0);
    UNTIL(access("relative.prom", F_OK) == 0);
    ck_assert_int_eq(access("/relative.prom", F_OK), -1);
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_policy_set_in_code_stays)
{
    long reads;
    redisContext *c;

    config_begin();
    listen_with(", read_policy: MASTER", "");
    c = dial(listener);
    EXPECT(c, "OK", "SET %s v", key);
    ck_assert_int_eq(redisRouteSetReadPolicy(c, REDISROUTE_READ_REPLICA), REDIS_OK);
    freeReplyObject(redisCommand(c, "GET %s", key));
    listen_with(", read_policy: PREFER_MASTER", "");
    UNTIL(config_log_says("version 2"));
    reads = calls(MASTERS, "get");
    for (int i = 0; i < DEPTH; i++)
        freeReplyObject(redisCommand(c, "GET %s", key));
    ck_assert_int_eq(calls(MASTERS, "get"), reads + DEPTH);
    redisFree(c);
    config_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tc = suite_case(suite, "files", setup, teardown);

    tcase_add_test(tc, test_any_endpoint_will_do);
    tcase_add_loop_test(tc, test_any_endpoint_will_do_asynchronously, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_an_endpoint_that_does_not_answer, 0,
                        sizeof no_answers / sizeof no_answers[0]);
    tcase_add_test(tc, test_read_policy_and_statistics);
    tcase_add_test(tc, test_a_single_server_is_read_whatever_the_policy);
    tcase_add_loop_test(tc, test_zones_of_nodes, 0, sizeof zones / sizeof zones[0]);
    tcase_add_test(tc, test_environment_is_later_than_the_file);
    tcase_add_test(tc, test_redirection_may_be_left_to_the_program);
    tcase_add_test(tc, test_listeners_have_mirrors_of_their_own);
    tcase_add_test(tc, test_a_bad_file_at_the_start);
    tcase_add_test(tc, test_check);

    tc = suite_case(suite, "changes", setup, teardown);
    tcase_add_test(tc, test_policy_and_mirror_switch_under_load);
    tcase_add_test(tc, test_a_bad_version_changes_nothing);
    tcase_add_test(tc, test_symlinks_are_swapped);
    tcase_add_test(tc, test_a_relative_name_is_of_the_first_folder);
    tcase_add_test(tc, test_a_policy_set_in_code_stays);
    return suite_run(suite);
}
