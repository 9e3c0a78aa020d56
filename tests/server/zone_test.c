/* redisroute-test: cases
 *
 * Availability zones: who answers reads is what the nodes' own INFO commandstats says. A node's
 * zone is what it says of itself (availability_zone in INFO, of Valkey 8.1), or what the
 * configuration says; ours is said by the configuration or by the environment. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/cluster.h"
#include "../support/config_file.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { MASTERS = 2, REPLICAS = 3, NODES = MASTERS * (1 + REPLICAS) };
enum { IN_SHARD = 1 + REPLICAS, READS = 12, PORT = 6379, NODE_TIMEOUT_MS = 5000 };

/* Of the first shard: its master, and its replicas behind all the masters. */
static const int node_of[IN_SHARD] = {0, MASTERS, MASTERS + 1, MASTERS + 2};
static const char *const zone_of[IN_SHARD] = {"a", "b", "b", "c"};
static const char listener[] = "127.0.0.9";

static struct cluster *cluster;
static char *key;
static bool is_dead[IN_SHARD];

static void start(bool by_info)
{
    cluster = cluster_start(&(struct cluster_options){.masters = MASTERS,
                                                      .replicas = REPLICAS,
                                                      .node_timeout_ms = NODE_TIMEOUT_MS,
                                                      .extra = "repl-diskless-sync-delay 0\n"});
    key = cluster_key_for(cluster, 0, 0);
    for (int i = 0; by_info && i < IN_SHARD; i++)
        ck_assert(
            cluster_says(cluster, node_of[i], "OK", "CONFIG SET availability-zone %s", zone_of[i]));
    config_begin();
}

static void stop(redisContext *c)
{
    redisFree(c);
    config_end();
    cluster_stop(cluster);
    free(key);
}

/* The endpoints of a cluster, with their zones if the configuration is to say them. */
static char *endpoints(bool with_zones)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    MUST(out);
    for (int i = 0; i < IN_SHARD; i++)
        fprintf(
            out,
            "%s{%s%s%slb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, "
            "port_value: %d}}}}]}",
            i ? ", " : "", with_zones ? "locality: {zone: " : "", with_zones ? zone_of[i] : "",
            with_zones ? "}, " : "", cluster_port(cluster, node_of[i]));
    fclose(out);
    return text;
}

/* `zone` is ours; null: the configuration does not say. */
static void configure(const char *policy, const char *zone, bool with_zones)
{
    char *text = endpoints(with_zones);

    config_write("%s%s%sclusters: [{name: main, connect_timeout: 1s, load_assignment: {endpoints: "
                 "[%s]}}]\n"
                 "listeners: [{address: '%s:%d', redis_proxy: {settings: {op_timeout: 30s, "
                 "read_policy: %s}, prefix_routes: {catch_all_route: {cluster: main}}}}]\n",
                 zone ? "zone: '" : "", zone ? zone : "", zone ? "'\n" : "", text, listener, PORT,
                 policy);
    free(text);
}

static redisContext *dial(void)
{
    redisContext *c = redisConnect(listener, PORT);

    ck_assert_msg(c && !c->err, "%s", c ? c->errstr : "no context");
    EXPECT(c, "OK", "SET %s v", key);
    for (int i = 1; i < IN_SHARD; i++)
        UNTIL(({
            char *said = cluster_command(cluster, node_of[i], "DBSIZE");
            bool has = strcmp(said, "1") == 0;
            free(said);
            has;
        }));
    return c;
}

static long calls(int i)
{
    return is_dead[i] ? 0 : cluster_calls(cluster, node_of[i], "get");
}

/* Reads, each of which is answered, and looks at who has answered. */
static bool shares_are(redisContext *c, const int shares[IN_SHARD])
{
    long before[IN_SHARD];
    bool all = true;

    for (int i = 0; i < IN_SHARD; i++)
        before[i] = calls(i);
    for (int i = 0; i < READS; i++)
        EXPECT(c, "v", "GET %s", key);
    for (int i = 0; i < IN_SHARD; i++)
        all &= calls(i) - before[i] == shares[i];
    return all;
}

/* It takes the survey a second to see; from then on it stays. */
static void await_shares(redisContext *c, const int shares[IN_SHARD])
{
    UNTIL(shares_are(c, shares));
    ck_assert(shares_are(c, shares));
}

static const struct {
    const char *policy, *zone;
    int shares[IN_SHARD];
} rows[] = {
    {"AZ_AFFINITY", "b", {0, 6, 6, 0}},
    {"AZ_AFFINITY", "c", {0, 0, 0, 12}},
    {"AZ_AFFINITY", "a", {0, 4, 4, 4}}, /* whose only node is the master */
    {"AZ_AFFINITY", "nowhere", {0, 4, 4, 4}},
    {"AZ_AFFINITY", "", {0, 4, 4, 4}},
    {"AZ_AFFINITY_REPLICAS_AND_PRIMARY", "b", {0, 6, 6, 0}},
    {"AZ_AFFINITY_REPLICAS_AND_PRIMARY", "a", {12, 0, 0, 0}},
    {"AZ_AFFINITY_REPLICAS_AND_PRIMARY", "c", {0, 0, 0, 12}},
    {"AZ_AFFINITY_REPLICAS_AND_PRIMARY", "nowhere", {0, 4, 4, 4}},
};

static const int of_b[IN_SHARD] = {0, 6, 6, 0}, of_all_replicas[IN_SHARD] = {0, 4, 4, 4};

static void read_by_each_policy(bool by_info)
{
    redisContext *c;

    start(by_info);
    configure("REPLICA", NULL, !by_info);
    c = dial();
    await_shares(c, of_all_replicas);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        configure(rows[i].policy, rows[i].zone, !by_info); /* under the open connection */
        await_shares(c, rows[i].shares);
    }
    stop(c);
}

static bool knows_the_shards(int i)
{
    char *shards = cluster_command(cluster, node_of[i], "CLUSTER SHARDS");
    int count = 0;

    for (const char *at = shards; (at = strstr(at, "slots\n")) != NULL; at++)
        count++;
    free(shards);
    return count == MASTERS;
}

/* A node of Valkey that was killed before it had written down in which shard it is starts no more.
 */
static void set_dead(int i, bool dead)
{
    if (dead) {
        UNTIL(knows_the_shards(i));
        ck_assert(cluster_says(cluster, node_of[i], "OK", "CLUSTER SAVECONFIG"));
    }
    is_dead[i] = dead;
    if (dead)
        cluster_signal(cluster, node_of[i], SIGKILL);
    else
        cluster_restart(cluster, node_of[i]);
}

/* The environment says where we are, and the configuration something else. */
static void lose_a_zone(bool by_info)
{
    static const int other[IN_SHARD] = {0, 0, 12, 0}, elsewhere[IN_SHARD] = {0, 0, 0, 12};
    redisContext *c;

    start(by_info);
    setenv("REDISROUTE_ZONE", "b", 1);
    configure("AZ_AFFINITY", "c", !by_info);
    c = dial();
    await_shares(c, of_b);
    set_dead(1, true);
    await_shares(c, other);
    set_dead(2, true);
    await_shares(c, elsewhere);
    set_dead(1, false);
    set_dead(2, false);
    /* What was set at run time went with the processes. */
    for (int i = 1; by_info && i <= 2; i++)
        ck_assert(cluster_says(cluster, node_of[i], "OK", "CONFIG SET availability-zone b"));
    await_shares(c, of_b);
    stop(c);
}

START_TEST(test_zones_of_the_configuration)
{
    read_by_each_policy(false);
}
END_TEST

START_TEST(test_a_zone_of_the_configuration_dies)
{
    lose_a_zone(false);
}
END_TEST

START_TEST(test_zones_that_nodes_say)
{
    read_by_each_policy(true);
}
END_TEST

START_TEST(test_a_zone_that_nodes_say_dies)
{
    lose_a_zone(true);
}
END_TEST

/* A node's own word counts, also when it changes, unless the configuration says something else. */
START_TEST(test_a_node_changes_its_zone)
{
    static const int only_c[IN_SHARD] = {0, 0, 0, 12};
    redisContext *c;

    start(true);
    configure("AZ_AFFINITY", "b", false);
    c = dial();
    await_shares(c, of_b);
    ck_assert(cluster_says(cluster, node_of[3], "OK", "CONFIG SET availability-zone b"));
    await_shares(c, of_all_replicas);
    for (int i = 1; i <= 2; i++)
        ck_assert(cluster_says(cluster, node_of[i], "OK", "CONFIG SET availability-zone z"));
    await_shares(c, only_c);
    configure("AZ_AFFINITY", "b", true);
    await_shares(c, of_b);
    configure("AZ_AFFINITY", "b", false);
    await_shares(c, only_c);
    stop(c);
}
END_TEST

/* Servers without zones: where the configuration says none either, all replicas are as good. */
START_TEST(test_nobody_says_a_zone)
{
    redisContext *c;

    start(false);
    configure("AZ_AFFINITY", "b", false);
    c = dial();
    await_shares(c, of_all_replicas);
    configure("AZ_AFFINITY_REPLICAS_AND_PRIMARY", "a", false);
    UNTIL(config_log_says("version 2"));
    await_shares(c, of_all_replicas);
    stop(c);
}
END_TEST

/* --- scripted: what Valkey says, where there is none --- */

static char *slots_of(struct fake_node *const nodes[IN_SHARD])
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    MUST(out);
    fprintf(out, "*1\r\n*%d\r\n:0\r\n:16383\r\n", 2 + IN_SHARD);
    for (int i = 0; i < IN_SHARD; i++)
        fprintf(out, "*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%040d\r\n", fake_node_port(nodes[i]),
                i);
    fclose(out);
    return text;
}

static char *info_of(int i)
{
    char *info, *reply;

    MUST(
        asprintf(&info,
                 "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\navailability_zone:%s\r\n"
                 "loading:0\r\nrole:%s\r\nmaster_link_status:up\r\n",
                 zone_of[i], i ? "slave" : "master") >= 0);
    MUST(asprintf(&reply, "$%zu\r\n%s\r\n", strlen(info), info) >= 0);
    free(info);
    return reply;
}

static bool scripted_shares_are(redisContext *c, struct fake_node *const nodes[IN_SHARD],
                                const int shares[IN_SHARD])
{
    int before[IN_SHARD];
    bool all = true;

    for (int i = 0; i < IN_SHARD; i++)
        before[i] = fake_node_seen(nodes[i], "GET");
    for (int i = 0; i < READS; i++)
        EXPECT(c, "v", "GET k");
    for (int i = 0; i < IN_SHARD; i++)
        all &= fake_node_seen(nodes[i], "GET") - before[i] == shares[i];
    return all;
}

START_TEST(test_zones_as_scripted)
{
    struct fake_node *nodes[IN_SHARD];
    char *infos[IN_SHARD], *slots;
    redisContext *c;

    for (int i = 0; i < IN_SHARD; i++) {
        nodes[i] = fake_node_start();
        infos[i] = info_of(i);
        fake_node_on(nodes[i], "INFO",
                     (struct fake_rule){.action = FAKE_ANSWER, .reply = infos[i]});
        fake_node_on(nodes[i], "GET", (struct fake_rule){.action = FAKE_ANSWER, .reply = "+v\r\n"});
    }
    slots = slots_of(nodes);
    for (int i = 0; i < IN_SHARD; i++)
        fake_node_slots(nodes[i], slots);
    setenv("REDISROUTE_READ_POLICY", rows[_i].policy, 1);
    setenv("REDISROUTE_ZONE", rows[_i].zone, 1);
    c = connect_port(fake_node_port(nodes[0]));
    UNTIL(scripted_shares_are(c, nodes, rows[_i].shares));
    ck_assert(scripted_shares_are(c, nodes, rows[_i].shares));
    redisFree(c);
    for (int i = 0; i < IN_SHARD; i++) {
        fake_node_stop(nodes[i]);
        free(infos[i]);
    }
    free(slots);
}
END_TEST

static bool servers_have_zones(void)
{
    struct server *server = server_start(NULL);
    char *said = server_command(server, "CONFIG GET availability-zone");
    bool have = strncmp(said, "availability-zone", 17) == 0;
    const char *name = getenv("TEST_SERVER");

    if (!have && name && strstr(name, "valkey"))
        die("this valkey has no availability-zone: %s", said);
    free(said);
    server_stop(server);
    return have;
}

typedef const TTest test;

static void add_case(Suite *suite, const char *title, test *one, int count)
{
    tcase_add_loop_test(suite_case(suite, title, NULL, NULL), one, 0, count);
}

/* What a server cannot say it is not asked for: then that is what is tested. */
int main(void)
{
    bool have = servers_have_zones();
    Suite *suite = suite_create("zone");

    add_case(suite, "configured", test_zones_of_the_configuration, 1);
    add_case(suite, "configured and lost", test_a_zone_of_the_configuration_dies, 1);
    add_case(suite, "said", have ? test_zones_that_nodes_say : test_nobody_says_a_zone, 1);
    add_case(suite, "said and lost",
             have ? test_a_zone_that_nodes_say_dies : test_nobody_says_a_zone, 1);
    add_case(suite, "changed", have ? test_a_node_changes_its_zone : test_nobody_says_a_zone, 1);
    add_case(suite, "not said", test_nobody_says_a_zone, 1);
    add_case(suite, "scripted", test_zones_as_scripted, (int)(sizeof rows / sizeof rows[0]));
    return suite_run(suite);
}
