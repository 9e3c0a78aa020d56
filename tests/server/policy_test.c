/* Read policies: which node answered is what that node's INFO commandstats says. */
#define _GNU_SOURCE
#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

/* Nodes of shard 0: the master, and its replicas behind all the masters. */
enum { MASTERS = 2, REPLICAS = 2, NODES = MASTERS * (1 + REPLICAS) };
enum { MASTER = 0, REPLICA = MASTERS, OTHER_REPLICA = REPLICA + 1 };
enum { NODE_TIMEOUT_MS = 1500, READS = 60 };

static struct cluster *cluster;
static char *key;       /* of master 0 */
static char *other_key; /* of master 1 */

/* Servers name a replica once they have heard how far it is, and it is anywhere. */
static bool is_named(int by, int node)
{
    char *text = cluster_command(cluster, by, "CLUSTER SLOTS"), port[16];
    bool named;
    snprintf(port, sizeof port, "%d", cluster_port(cluster, node));
    named = strstr(text, port) != NULL;
    free(text);
    return named;
}

/* A replica that kept the file of its first synchronisation starts with that, and calls itself
 * connected before it has what came after. */
static void setup(void)
{
    cluster = cluster_start(&(struct cluster_options){
        .masters = MASTERS, .replicas = REPLICAS, .node_timeout_ms = NODE_TIMEOUT_MS,
        .extra = "repl-diskless-sync-delay 0\nenable-debug-command yes\nrdbcompression no\n"
                 "rdb-del-sync-files yes\n"});
    key = cluster_key_for(cluster, 0, 0);
    other_key = cluster_key_for(cluster, 1, 0);
    free(cluster_command(cluster, 0, "SET %s 0", key));
    free(cluster_command(cluster, 1, "SET %s 0", other_key));
    free(cluster_command(cluster, 1, "DEL %s", other_key));
    for (int by = 0; by < NODES; by++)
        for (int node = 0; node < NODES; node++)
            UNTIL(is_named(by, node));
}

static void teardown(void)
{
    cluster_stop(cluster);
    free(key);
    free(other_key);
}

static redisContext *connect_with(const char *policy)
{
    setenv("REDISROUTE_READ_POLICY", policy, 1);
    return connect_port(cluster_port(cluster, MASTER));
}

/* --- who answered --- */

struct calls {
    long of[NODES];
};

static bool is_dead[NODES];

static struct calls count(const char *command)
{
    struct calls calls = {{0}};
    for (int node = 0; node < NODES; node++)
        if (!is_dead[node])
            calls.of[node] = cluster_calls(cluster, node, command);
    return calls;
}

static void stop(int node, int signal)
{
    is_dead[node] = true;
    cluster_signal(cluster, node, signal);
}

static void start_again(int node)
{
    cluster_restart(cluster, node);
    is_dead[node] = false;
}

static long since(const struct calls *before, int node, const char *command)
{
    return cluster_calls(cluster, node, command) - before->of[node];
}

/* Writes a value and waits until the replicas of its shard have it. */
static void put(redisContext *c, const char *where, const char *value)
{
    int first = where == key ? REPLICA : REPLICA + REPLICAS;
    EXPECT(c, "OK", "SET %s %s", where, value);
    UNTIL(server_info(cluster_server(cluster, first), "master_repl_offset") >=
          server_info(cluster_server(cluster, where == key ? 0 : 1), "master_repl_offset"));
    UNTIL(server_info(cluster_server(cluster, first + 1), "master_repl_offset") >=
          server_info(cluster_server(cluster, where == key ? 0 : 1), "master_repl_offset"));
}

static void read_often(redisContext *c, int times)
{
    for (int i = 0; i < times; i++)
        EXPECT(c, "v", "GET %s", key);
}

/* --- policies --- */

static const struct {
    const char *policy;
    int master, replica; /* shares of READS */
} shares[] = {
    {"MASTER", READS, 0},
    {"PREFER_MASTER", READS, 0},
    {"REPLICA", 0, READS / 2},
    {"PREFER_REPLICA", 0, READS / 2},
    {"any", READS / 3, READS / 3},
    {"AZ_AFFINITY", 0, READS / 2}, /* no zones are known */
    {"AZ_AFFINITY_REPLICAS_AND_PRIMARY", 0, READS / 2},
};

START_TEST(test_reads_are_shared_evenly_by_those_who_may_answer)
{
    redisContext *c = connect_with(shares[_i].policy);
    struct calls before;
    put(c, key, "v");
    before = count("get");
    read_often(c, READS);
    ck_assert_int_eq(since(&before, MASTER, "get"), shares[_i].master);
    ck_assert_int_eq(since(&before, REPLICA, "get"), shares[_i].replica);
    ck_assert_int_eq(since(&before, OTHER_REPLICA, "get"), shares[_i].replica);
    redisFree(c);
}
END_TEST

START_TEST(test_a_pipeline_of_reads_is_shared_too)
{
    redisContext *c = connect_with("REPLICA");
    struct calls before;
    put(c, key, "v");
    before = count("get");
    for (int i = 0; i < READS; i++)
        redisAppendCommand(c, "GET %s", key);
    for (int i = 0; i < READS; i++)
        EXPECT_NEXT(c, "v");
    ck_assert_int_eq(since(&before, MASTER, "get"), 0);
    ck_assert_int_eq(since(&before, REPLICA, "get"), READS / 2);
    ck_assert_int_eq(since(&before, OTHER_REPLICA, "get"), READS / 2);
    redisFree(c);
}
END_TEST

START_TEST(test_mget_goes_to_a_replica_of_each_shard)
{
    redisContext *c = connect_with("REPLICA");
    struct calls before;
    put(c, key, "v");
    put(c, other_key, "w");
    before = count("mget");
    for (int i = 0; i < READS; i++)
        EXPECT(c, "v\nw\nv", "MGET %s %s %s", key, other_key, key);
    for (int node = 0; node < NODES; node++)
        ck_assert_int_eq(since(&before, node, "mget"), node < MASTERS ? 0 : READS / REPLICAS);
    redisFree(c);
}
END_TEST

START_TEST(test_what_may_write_goes_to_the_master)
{
    redisContext *c = connect_with("REPLICA");
    struct calls before = count("eval"), before_ro = count("eval_ro");
    put(c, key, "v");
    EXPECT(c, "v", "EVAL %s 1 %s", "return redis.call('get', KEYS[1])", key);
    ck_assert_int_eq(since(&before, MASTER, "eval"), 1);
    for (int i = 0; i < 4; i++)
        EXPECT(c, "v", "EVAL_RO %s 1 %s", "return redis.call('get', KEYS[1])", key);
    ck_assert_int_eq(since(&before_ro, MASTER, "eval_ro"), 0);
    ck_assert_int_eq(since(&before_ro, REPLICA, "eval_ro"), 2);
    ck_assert_int_eq(since(&before_ro, OTHER_REPLICA, "eval_ro"), 2);
    redisFree(c);
}
END_TEST

/* A script that EVAL has cached at the master is known there, and nowhere else. */
START_TEST(test_a_script_that_only_the_master_knows)
{
    redisContext *c = connect_with("REPLICA");
    redisReply *sha;
    put(c, key, "v");
    sha = redisCommand(c, "SCRIPT LOAD %s", "return redis.call('get', KEYS[1])");
    free(cluster_command(cluster, REPLICA, "SCRIPT FLUSH"));
    free(cluster_command(cluster, OTHER_REPLICA, "SCRIPT FLUSH"));
    for (int i = 0; i < 4; i++)
        EXPECT(c, "v", "EVALSHA_RO %s 1 %s", sha->str, key);
    freeReplyObject(sha);
    EXPECT_ERROR(c, "NOSCRIPT", "EVALSHA_RO %s 1 %s", "0123456789012345678901234567890123456789", key);
    redisFree(c);
}
END_TEST

START_TEST(test_transactions_stay_with_the_master)
{
    redisContext *c = connect_with("REPLICA");
    struct calls before;
    put(c, key, "v");
    before = count("get");
    EXPECT(c, "OK", "WATCH %s", key);
    EXPECT(c, "v", "GET %s", key);
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "GET %s", key);
    EXPECT(c, "v", "EXEC");
    ck_assert_int_eq(since(&before, MASTER, "get"), 2);
    EXPECT(c, "v", "GET %s", key);
    ck_assert_int_eq(since(&before, MASTER, "get"), 2);
    redisFree(c);
}
END_TEST

/* --- order --- */

START_TEST(test_a_pipeline_reads_what_it_wrote_and_nothing_later)
{
    redisContext *c = connect_with(_i ? "REPLICA" : "ANY");
    char value[16];
    put(c, key, "0");
    for (int i = 1; i <= 300; i++) {
        redisAppendCommand(c, "GET %s", key);
        redisAppendCommand(c, "SET %s %d", key, i);
        redisAppendCommand(c, "GET %s", key);
    }
    for (int i = 1; i <= 300; i++) {
        snprintf(value, sizeof value, "%d", i - 1);
        EXPECT_NEXT(c, value);
        EXPECT_NEXT(c, "OK");
        snprintf(value, sizeof value, "%d", i);
        EXPECT_NEXT(c, value);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_nothing_overtakes_a_flush)
{
    redisContext *c = connect_with("REPLICA");
    for (int i = 0; i < 100; i++) {
        put(c, key, "v");
        redisAppendCommand(c, "GET %s", key);
        redisAppendCommand(c, "FLUSHALL");
        EXPECT_NEXT(c, "v");
        EXPECT_NEXT(c, "OK");
    }
    redisFree(c);
}
END_TEST

START_TEST(test_a_writer_reads_its_writes_for_a_while)
{
    redisContext *c;
    struct calls before;
    setenv("REDISROUTE_READ_YOUR_WRITES", "1h", 1);
    c = connect_with("REPLICA");
    for (int i = 0; i < 200; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        EXPECT(c, "OK", "SET %s %d", key, i);
        EXPECT(c, value, "GET %s", key);
    }
    before = count("get");
    EXPECT(c, "199", "GET %s", key);
    EXPECT(c, "(nil)", "GET %s", other_key);
    ck_assert_int_eq(since(&before, MASTER, "get"), 1);
    ck_assert_int_eq(since(&before, 1, "get"), 0); /* nothing was written there */
    redisFree(c);
}
END_TEST

/* --- in code --- */

START_TEST(test_the_policy_of_a_context_and_of_a_command)
{
    redisContext *c = connect_with("MASTER");
    struct calls before;
    put(c, key, "v");
    before = count("get");
    ck_assert_int_eq(redisRouteNextReadPolicy(c, REDISROUTE_READ_REPLICA), REDIS_OK);
    read_often(c, 2);
    ck_assert_int_eq(since(&before, MASTER, "get"), 1);
    ck_assert_int_eq(redisRouteSetReadPolicy(c, REDISROUTE_READ_REPLICA), REDIS_OK);
    read_often(c, READS);
    ck_assert_int_eq(since(&before, MASTER, "get"), 1);
    ck_assert_int_eq(redisRouteNextReadPolicy(c, REDISROUTE_READ_MASTER), REDIS_OK);
    read_often(c, 2);
    ck_assert_int_eq(since(&before, MASTER, "get"), 2);
    ck_assert_int_eq(redisRouteSetReadPolicy(c, (enum redisRouteReadPolicy)7), REDIS_ERR);
    ck_assert_int_eq(c->err, 0);
    read_often(c, 2);
    redisFree(c);
}
END_TEST

/* What was appended before is sent together with it, and is not meant. */
START_TEST(test_the_policy_of_a_command_in_a_pipeline)
{
    redisContext *c = connect_with("MASTER");
    struct calls before;
    put(c, key, "v");
    before = count("get");
    for (int i = 0; i < READS; i++) {
        if (i % 3 == 2)
            ck_assert_int_eq(redisRouteNextReadPolicy(c, REDISROUTE_READ_REPLICA), REDIS_OK);
        redisAppendCommand(c, "GET %s", key);
    }
    for (int i = 0; i < READS; i++)
        EXPECT_NEXT(c, "v");
    ck_assert_int_eq(since(&before, MASTER, "get"), READS * 2 / 3);
    redisFree(c);
}
END_TEST

/* GET key, so often in one write, by that policy; by the session's own when it is -1. */
static void read_as_bytes(redisRouteSession *session, int times, int policy)
{
    char commands[4096] = "", heard[8];
    for (int i = 0; i < times; i++)
        snprintf(commands + strlen(commands), 64, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key),
                 key);
    ck_assert_int_eq(policy == -1 ? redisRouteWrite(session, commands, strlen(commands))
                                  : redisRouteWriteReading(session, commands, strlen(commands),
                                                           (enum redisRouteReadPolicy)policy),
                     0);
    for (int i = 0; i < times; i++)
        for (ssize_t there = 0, n; there < 7; there += n)
            ck_assert_int_gt(
                n = redisRouteReadWait(session, heard, (size_t)(7 - there), UNTIL_LIMIT_MS), 0);
}

START_TEST(test_the_policy_of_what_is_written_to_a_byte_session)
{
    redisContext *c = connect_with("MASTER");
    struct calls before;
    redisRouteSession *session;
    put(c, key, "v");
    redisFree(c);
    before = count("get");
    for (int own = 0; own < 2; own++) {
        setenv("REDISROUTE_READ_POLICY", own == 0 ? "MASTER" : "REPLICA", 1);
        session = redisRouteOpen("127.0.0.1", cluster_port(cluster, MASTER),
                                 &(redisRouteOptions){.size = sizeof(redisRouteOptions),
                                                      .read_policy = own == 0 ? NULL : "REPLICA"});
        for (int i = 0; i < 10; i++) {
            read_as_bytes(session, 1 + i, REDISROUTE_READ_REPLICA);
            read_as_bytes(session, 1, REDISROUTE_READ_MASTER);
            read_as_bytes(session, 2, -1);
        }
        ck_assert_int_eq(since(&before, MASTER, "get"), own == 0 ? 30 : 41);
        ck_assert_int_eq(
            redisRouteWriteReading(session, "PING\r\n", 6, (enum redisRouteReadPolicy)7), -1);
        ck_assert_int_eq(errno, EINVAL);
        ck_assert_str_eq(redisRouteErrorText(session), "redisroute: there is no such read policy");
        /* A command that began under another policy keeps it. */
        ck_assert_int_eq(redisRouteWrite(session, "*2\r\n$3\r\nGET\r\n", 13), 0);
        char rest[64];
        snprintf(rest, sizeof rest, "$%zu\r\n%s\r\n", strlen(key), key);
        ck_assert_int_eq(
            redisRouteWriteReading(session, rest, strlen(rest),
                                   own == 0 ? REDISROUTE_READ_REPLICA : REDISROUTE_READ_MASTER),
            0);
        ck_assert_int_eq(redisRouteReadWait(session, rest, sizeof rest, UNTIL_LIMIT_MS), 7);
        ck_assert_int_eq(since(&before, MASTER, "get"), own == 0 ? 31 : 41);
        redisRouteClose(session);
    }
}
END_TEST

START_TEST(test_asynchronous_contexts)
{
    struct loop *loop = loop_create(_i);
    struct async_client client = {0};
    redisContext *c = connect_with("REPLICA");
    struct calls before;
    put(c, key, "v");
    redisFree(c);
    async_open(&client, loop, cluster_port(cluster, MASTER));
    before = count("get");
    for (int i = 0; i < READS; i++)
        async_expect(&client, "v", "GET %s", key);
    async_finish(&client);
    ck_assert_int_eq(since(&before, MASTER, "get"), 0);
    ck_assert_int_eq(since(&before, REPLICA, "get"), READS / 2);
    ck_assert_int_eq(redisRouteNextReadPolicy(&client.ac->c, REDISROUTE_READ_MASTER), REDIS_OK);
    async_expect(&client, "v", "GET %s", key);
    async_expect(&client, "v", "GET %s", key);
    async_finish(&client);
    ck_assert_int_eq(since(&before, MASTER, "get"), 1);
    async_expect(&client, "OK", "SET %s w", key);
    async_expect(&client, "w", "GET %s", key);
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

/* --- nodes come and go --- */

/* True: it said that there is no replica. Else it was answered. */
static bool no_replica(redisContext *c)
{
    redisReply *reply = redisCommand(c, "GET %s", key);
    bool none;
    ck_assert_msg(reply != NULL, "%s", c->errstr);
    none = reply->type == REDIS_REPLY_ERROR;
    if (none)
        ck_assert_msg(!strncmp(reply->str, "UNREACHABLE redisroute: no replica can be read: ", 48),
                      "%s", reply->str);
    else
        ck_assert_str_eq(reply->str, "v");
    freeReplyObject(reply);
    return none;
}

START_TEST(test_a_replica_that_died_is_left_out_until_it_is_back)
{
    redisContext *c = connect_with("REPLICA"), *preferring = connect_with("MASTER");
    struct calls before;
    redisRouteSetReadPolicy(preferring, REDISROUTE_READ_PREFER_REPLICA);
    put(c, key, "v");
    read_often(c, 4);
    read_often(preferring, 4);
    stop(REPLICA, SIGKILL);
    read_often(c, READS);
    stop(OTHER_REPLICA, SIGKILL);
    ck_assert(no_replica(c));
    read_often(preferring, READS);
    start_again(REPLICA);
    UNTIL(!no_replica(c));
    UNTIL(cluster_says(cluster, REPLICA, "OK", "READONLY"));
    before = count("get");
    UNTIL((read_often(preferring, 1), since(&before, REPLICA, "get") > 0));
    start_again(OTHER_REPLICA);
    before = count("get");
    UNTIL((no_replica(c), since(&before, OTHER_REPLICA, "get") > 0));
    redisFree(preferring);
    redisFree(c);
}
END_TEST

START_TEST(test_a_replica_that_falls_silent_is_left_out_until_it_speaks)
{
    redisContext *c = connect_with("REPLICA");
    struct calls before;
    int64_t began;
    put(c, key, "v");
    read_often(c, 4);
    /* Long enough for us to notice the silence before the cluster does. */
    for (int node = 0; node < NODES; node++)
        free(cluster_command(cluster, node, "CONFIG SET cluster-node-timeout 5000"));
    stop(REPLICA, SIGSTOP);
    began = now_ms();
    read_often(c, READS); /* one of them waits until the majority has said so */
    ck_assert_int_lt(now_ms() - began, 20000);
    began = now_ms();
    read_often(c, READS);
    ck_assert_int_lt(now_ms() - began, 1000);
    cluster_signal(cluster, REPLICA, SIGCONT);
    is_dead[REPLICA] = false;
    before = count("get");
    UNTIL((read_often(c, 1), since(&before, REPLICA, "get") > 0));
    redisFree(c);
}
END_TEST

/* It is up, and would answer with what it had. */
/* The id of the connection by which the background thread asks that node how it is; it has asked
 * INFO last. 0: there is none. */
static long survey_of(int node)
{
    char *list = cluster_command(cluster, node, "CLIENT LIST TYPE normal"), *rest = NULL;
    long id = 0;
    for (char *line = strtok_r(list, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (strstr(line, " cmd=info"))
            id = atol(line + strlen("id="));
    free(list);
    return id;
}

/* Somebody who kills the connections of idle clients does not make their servers unfit. */
START_TEST(test_a_killed_connection_of_the_survey_is_no_dead_replica)
{
    enum { KILLS = 3, FOR_MS = 1300 };
    redisContext *c = connect_with("REPLICA");
    struct calls before;
    put(c, key, "v");
    read_often(c, READS);
    before = count("get");
    for (int i = 0; i < KILLS; i++) {
        UNTIL(survey_of(REPLICA) && survey_of(OTHER_REPLICA));
        free(cluster_command(cluster, REPLICA, "CLIENT KILL ID %ld", survey_of(REPLICA)));
        free(cluster_command(cluster, OTHER_REPLICA, "CLIENT KILL ID %ld",
                             survey_of(OTHER_REPLICA)));
        for (int64_t end = now_ms() + FOR_MS; now_ms() < end;)
            read_often(c, 1);
    }
    ck_assert_int_eq(since(&before, MASTER, "get"), 0);
    ck_assert_int_gt(since(&before, REPLICA, "get"), 0);
    ck_assert_int_gt(since(&before, OTHER_REPLICA, "get"), 0);
    redisFree(c);
}
END_TEST

/* A server that is told RESET forgets READONLY. */
START_TEST(test_reads_elsewhere_go_on_after_a_reset)
{
    redisContext *c = connect_with("REPLICA");
    struct calls before;
    put(c, key, "v");
    read_often(c, READS);
    EXPECT(c, "RESET", "RESET");
    before = count("get");
    read_often(c, READS);
    ck_assert_int_eq(since(&before, MASTER, "get"), 0);
    ck_assert_int_eq(since(&before, REPLICA, "get"), READS / 2);
    redisFree(c);
}
END_TEST

START_TEST(test_a_replica_that_lost_its_master_is_left_out)
{
    redisContext *c = connect_with("REPLICA");
    struct server *replica = cluster_server(cluster, REPLICA);
    struct calls before;
    put(c, key, "v");
    read_often(c, 2);
    free(server_command(replica, "CONFIG SET masterauth wrong"));
    free(server_command(replica, "CLIENT KILL TYPE master"));
    do {
        before = count("get");
        pause_ms(200);
        read_often(c, 4);
    } while (since(&before, REPLICA, "get") > 0);
    ck_assert_int_eq(since(&before, OTHER_REPLICA, "get"), 4);
    ck_assert_int_eq(since(&before, MASTER, "get"), 0);
    free(server_command(replica, "CONFIG SET masterauth %s", ""));
    UNTIL((read_often(c, 1), since(&before, REPLICA, "get") > 0));
    redisFree(c);
}
END_TEST

START_TEST(test_a_replica_that_loads_is_left_out)
{
    redisContext *c = connect_with("REPLICA");
    struct server *replica = cluster_server(cluster, REPLICA);
    struct calls before;
    put(c, key, "v");
    read_often(c, 2);
    for (int i = 0; i < 60; i++)
        EXPECT(c, "OK", "SET {%s}%d %0512d", key, i, i);
    /* A full resynchronisation, slowly, and with a look at its clients from time to time. */
    free(server_command(replica, "CONFIG SET key-load-delay 50000"));
    free(server_command(replica, "CONFIG SET loading-process-events-interval-bytes 1024"));
    free(server_command(cluster_server(cluster, MASTER), "DEBUG CHANGE-REPL-ID"));
    free(server_command(replica, "CLIENT KILL TYPE master"));
    UNTIL(server_info(replica, "loading") == 1);
    before = count("get");
    read_often(c, READS);
    ck_assert_int_eq(since(&before, MASTER, "get"), 0);
    ck_assert_int_eq(since(&before, OTHER_REPLICA, "get"), READS);
    UNTIL((read_often(c, 1), since(&before, REPLICA, "get") > 0));
    redisFree(c);
}
END_TEST

/* All the time there are reads and writes, all of which are answered rightly. */
START_TEST(test_roles_change_in_the_middle)
{
    redisContext *c = connect_with(_i ? "REPLICA" : "ANY");
    put(c, key, "v");
    for (int turn = 0; turn < 2; turn++) {
        int to = turn == 1 ? MASTER : REPLICA;
        int64_t until;
        free(cluster_command(cluster, to, "CLUSTER FAILOVER"));
        until = now_ms() + 1500;
        for (int i = 0; now_ms() < until; i++) {
            char value[16];
            snprintf(value, sizeof value, "%d", i);
            redisAppendCommand(c, "SET %s %d", key, i);
            redisAppendCommand(c, "GET %s", key);
            redisAppendCommand(c, "GET %s", other_key);
            EXPECT_NEXT(c, "OK");
            EXPECT_NEXT(c, value);
            EXPECT_NEXT(c, "(nil)");
        }
        UNTIL(cluster_owner_of_slot(cluster, 1, cluster_slot(key)) == to);
    }
    redisFree(c);
}
END_TEST

/* The last master's death costs no read under PREFER_MASTER. */
START_TEST(test_a_dead_master_is_read_at_its_replicas)
{
    redisContext *c = connect_with("PREFER_MASTER");
    struct calls before;
    put(c, key, "v");
    read_often(c, 4);
    stop(MASTER, SIGKILL);
    before = count("get");
    read_often(c, READS);
    ck_assert_int_eq(since(&before, REPLICA, "get") + since(&before, OTHER_REPLICA, "get"), READS);
    redisFree(c);
}
END_TEST

/* Nobody has written anything, so CLUSTER SLOTS does not have the replicas yet. */
START_TEST(test_a_new_cluster_has_replicas)
{
    struct cluster *fresh = cluster_start(&(struct cluster_options){.masters = 3, .replicas = 1});
    redisContext *c;

    setenv("REDISROUTE_READ_POLICY", "REPLICA", 1);
    c = connect_port(cluster_port(fresh, 0));
    for (int i = 0; i < 60; i++)
        EXPECT(c, "(nil)", "GET fresh:%d", i);
    ck_assert_int_eq(cluster_calls_of_masters(fresh, "get"), 0);
    redisFree(c);
    cluster_stop(fresh);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("policy");
    TCase *tc = suite_case(suite, "who answers", setup, teardown);
    tcase_add_loop_test(tc, test_reads_are_shared_evenly_by_those_who_may_answer, 0,
                        sizeof shares / sizeof shares[0]);
    tcase_add_test(tc, test_a_new_cluster_has_replicas);
    tcase_add_test(tc, test_a_pipeline_of_reads_is_shared_too);
    tcase_add_test(tc, test_mget_goes_to_a_replica_of_each_shard);
    tcase_add_test(tc, test_reads_elsewhere_go_on_after_a_reset);
    tcase_add_test(tc, test_a_killed_connection_of_the_survey_is_no_dead_replica);
    tcase_add_test(tc, test_what_may_write_goes_to_the_master);
    tcase_add_test(tc, test_a_script_that_only_the_master_knows);
    tcase_add_test(tc, test_transactions_stay_with_the_master);
    tcase_add_loop_test(tc, test_a_pipeline_reads_what_it_wrote_and_nothing_later, 0, 2);
    tcase_add_test(tc, test_the_policy_of_a_context_and_of_a_command);
    tcase_add_test(tc, test_the_policy_of_a_command_in_a_pipeline);
    tcase_add_test(tc, test_the_policy_of_what_is_written_to_a_byte_session);
    tcase_add_loop_test(tc, test_asynchronous_contexts, 0, LOOP_KINDS);
    tcase_add_test(tc, test_nothing_overtakes_a_flush);
    tcase_add_test(tc, test_a_writer_reads_its_writes_for_a_while);
    tc = suite_case(suite, "nodes come and go", NULL, NULL);
    tcase_add_checked_fixture(tc, setup, teardown); /* each kills nodes of a cluster of its own */
    tcase_add_test(tc, test_a_replica_that_lost_its_master_is_left_out);
    tcase_add_test(tc, test_a_replica_that_died_is_left_out_until_it_is_back);
    tcase_add_test(tc, test_a_replica_that_falls_silent_is_left_out_until_it_speaks);
    tcase_add_loop_test(tc, test_roles_change_in_the_middle, 0, 2);
    tcase_add_test(tc, test_a_dead_master_is_read_at_its_replicas);
    tc = suite_case(suite, "loading", NULL, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_a_replica_that_loads_is_left_out);
    return suite_run(suite);
}
