/* Routes by prefix: keys of one connection on two clusters and a plain server. Where commands went,
 * and as what, is proved by the servers. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/byte_client.h"
#include "../support/cluster.h"
#include "../support/config_file.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/threads.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { MASTERS = 2, DEPTH = 50, SWITCHES = 6, PORT = 6379 };

static const char listener[] = "127.0.0.9";

static struct cluster *one, *two;
static struct server *plain, *shadow;
static int locked_port = 1;

static void setup(void)
{
    one = cluster_start(&(struct cluster_options){.masters = MASTERS});
    two = cluster_start(&(struct cluster_options){.masters = MASTERS});
    plain = server_start(&(struct server_options){0});
    shadow = server_start(&(struct server_options){0});
}

static void teardown(void)
{
    server_stop(plain);
    server_stop(shadow);
    cluster_stop(one);
    cluster_stop(two);
}

static void begin(void)
{
    config_begin();
    for (int i = 0; i < MASTERS; i++) {
        free(cluster_command(one, i, "FLUSHALL"));
        free(cluster_command(two, i, "FLUSHALL"));
    }
    free(server_command(plain, "FLUSHALL"));
    free(server_command(shadow, "FLUSHALL"));
}

static const char usual[] = "routes:\n"
                            "      - {prefix: 'a:', cluster: one}\n"
                            "      - {prefix: 'b:', cluster: two, remove_prefix: true}\n"
                            "      - {prefix: 'b:keep:', cluster: two}\n"
                            "      - {prefix: 'p:', cluster: plain, remove_prefix: true}\n"
                            "      catch_all_route: {cluster: one}\n";

/* In one step; `routes` is what is in prefix_routes. */
static void route_by(const char *routes)
{
    config_write("failover_timeout: 3s\n"
                 "clusters:\n"
                 "- {name: one, endpoints: [127.0.0.1:1, 127.0.0.1:%d, 127.0.0.1:%d]}\n"
                 "- {name: two, endpoints: [127.0.0.1:%d]}\n"
                 "- {name: plain, endpoints: [127.0.0.1:%d]}\n"
                 "- {name: shadow, endpoints: [127.0.0.1:%d]}\n"
                 "- {name: dead, endpoints: [127.0.0.1:1]}\n"
                 "- {name: locked, endpoints: [127.0.0.1:%d], password: hush}\n"
                 "listeners:\n- address: %s:%d\n  redis_proxy: &proxy\n"
                 "    settings: {op_timeout: 3s, enable_command_stats: true}\n"
                 "    prefix_routes:\n      %s\n- {address: '127.0.0.1:%d', redis_proxy: *proxy}\n",
                 cluster_port(one, 0), cluster_port(one, 1), cluster_port(two, 0),
                 server_port(plain), server_port(shadow), locked_port, listener, PORT, routes,
                 PORT);
}

static redisContext *dial(void)
{
    redisContext *c = redisConnect(listener, PORT);

    ck_assert_ptr_nonnull(c);
    ck_assert_msg(c->err == 0, "%s", c->errstr);
    return c;
}

static redisContext *dial_routed(const char *routes)
{
    begin();
    route_by(routes);
    return dial();
}

/* What the owner of the key in that cluster has there. */
static void expect_at(struct cluster *cluster, const char *expected, const char *key)
{
    int owner = cluster_owner_of_slot(cluster, 0, cluster_slot(key));

    ck_assert_msg(cluster_says(cluster, owner, expected, "GET %s", key), "%s is not %s there", key,
                  expected);
}

static void expect_at_plain(const char *expected, const char *key)
{
    char *text = server_command(plain, "GET %s", key);

    ck_assert_str_eq(text, expected);
    free(text);
}

static long calls(struct cluster *cluster, const char *command)
{
    return cluster_calls_of_masters(cluster, command);
}

/* --- keys --- */

START_TEST(test_keys_go_by_their_prefixes)
{
    redisContext *c = dial_routed(usual);

    EXPECT(c, "OK", "SET a:1 x");
    EXPECT(c, "OK", "SET b:1 y");
    EXPECT(c, "OK", "SET b:keep:1 z");
    EXPECT(c, "OK", "SET p:1 w");
    EXPECT(c, "OK", "SET other v");
    EXPECT(c, "OK", "SET p: empty");
    expect_at(one, "x", "a:1");
    expect_at(two, "y", "1");
    expect_at(two, "z", "b:keep:1");
    expect_at_plain("w", "1");
    expect_at(one, "v", "other");
    EXPECT(c, "x", "GET a:1");
    EXPECT(c, "y", "GET b:1");
    EXPECT(c, "z", "GET b:keep:1");
    EXPECT(c, "w", "GET p:1");
    EXPECT(c, "v", "GET other");
    EXPECT(c, "(nil)", "GET 1");
    EXPECT(c, "empty", "GET p:");
    EXPECT(c, "OK", "set p:1 lower");
    expect_at_plain("lower", "1");
    /* Keys that do not stand first. */
    EXPECT(c, "1", "OBJECT REFCOUNT p:1");
    EXPECT(c, "arg lower", "EVAL %s 1 p:1 arg",
           "return ARGV[1] .. ' ' .. redis.call('get', KEYS[1])");
    EXPECT_ERROR(c, "WRONGTYPE", "LPUSH b:1 x");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_pipelines_keep_the_order)
{
    redisContext *c = dial_routed(usual);
    static const char *const prefixes[] = {"a:", "b:", "p:", "", "b:keep:"};
    enum { PREFIXES = sizeof prefixes / sizeof prefixes[0] };

    for (int round = 1; round <= 20; round++) {
        for (int i = 0; i < DEPTH; i++)
            redisAppendCommand(c, "INCRBY %sn%d %d", prefixes[i % PREFIXES], i / PREFIXES % 3,
                               i + 1);
        for (int i = 0; i < DEPTH; i++)
            redisAppendCommand(c, "ECHO %d", round * DEPTH + i);
        for (int i = 0; i < DEPTH; i++) {
            redisReply *reply;

            ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
            ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
            freeReplyObject(reply);
        }
        for (int i = 0; i < DEPTH; i++) {
            char expected[16];

            snprintf(expected, sizeof expected, "%d", round * DEPTH + i);
            EXPECT_NEXT(c, expected);
        }
    }
    ck_assert_int_gt(calls(one, "incrby"), 0);
    ck_assert_int_gt(calls(two, "incrby"), 0);
    ck_assert_int_gt(server_calls(plain, "incrby"), 0);
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_many_keys_are_split_and_merged)
{
    redisContext *c = dial_routed(usual);

    EXPECT(c, "OK", "MSET a:1 1 b:1 2 p:1 3 z 4 a:2 5 b:2 6 b:keep:1 7");
    EXPECT(c, "7\n(nil)\n3\n1\n5\n2\n6\n4\n1", "MGET b:keep:1 a:none p:1 a:1 a:2 b:1 b:2 z a:1");
    expect_at(two, "6", "2");
    expect_at_plain("3", "1");
    EXPECT(c, "5", "EXISTS a:1 b:1 p:1 z nothing a:2");
    EXPECT(c, "3", "DEL a:1 b:1 p:1");
    EXPECT(c, "(nil)", "GET p:1");
    EXPECT(c, "2", "EXISTS a:2 b:2");
    /* All in one cluster. */
    EXPECT(c, "6\n(nil)", "MGET b:2 b:3");
    EXPECT_ERROR(c, "wrong number of arguments for 'mset'", "MSET a:1 1 b:1");
    EXPECT_ERROR(c, "wrong number of arguments for 'mget'", "MGET");
    /* The server's own words, where it cannot be split. */
    EXPECT(c, "-CROSSSLOT Keys in request don't hash to the same slot", "RENAME a:2 b:2");
    EXPECT(c, "-CROSSSLOT Keys in request don't hash to the same slot", "SINTER a:x p:x");
    EXPECT(c, "-CROSSSLOT Keys in request don't hash to the same slot", "BLPOP a:x p:x 0");
    EXPECT(c, "OK", "SET p:from 1");
    EXPECT(c, "OK", "RENAME p:from p:to");
    expect_at_plain("1", "to");
    redisFree(c);
    config_end();
}
END_TEST

static void expect_type(redisContext *c, int type, const char *command)
{
    redisReply *reply = redisCommand(c, command);

    ck_assert_ptr_nonnull(reply);
    ck_assert_msg(reply->type == type, "%s: %d %s", command, reply->type, reply->str);
    freeReplyObject(reply);
}

START_TEST(test_commands_without_keys)
{
    redisContext *c = dial_routed(usual);
    long pings = calls(one, "ping");

    for (int i = 0; i < 10; i++) {
        EXPECT(c, "OK", "SET a:%d v", i);
        EXPECT(c, "OK", "SET b:%d v", i);
        EXPECT(c, "OK", "SET p:%d v", i);
    }
    EXPECT(c, "30", "DBSIZE");
    EXPECT(c, "PONG", "PING");
    EXPECT(c, "hello", "ECHO hello");
    ck_assert_int_eq(calls(one, "ping"), pings + 1);
    expect_type(c, REDIS_REPLY_ARRAY, "TIME");
    expect_type(c, REDIS_REPLY_STRING, "INFO");
    expect_type(c, REDIS_REPLY_STRING, "CLIENT LIST");
    expect_type(c, REDIS_REPLY_ARRAY, "CONFIG GET maxmemory");
    EXPECT(c, "1", "EVAL %s 0", "return 1");
    {
        redisReply *keys = redisCommand(c, "KEYS *");

        ck_assert_int_eq(keys->elements, 30);
        freeReplyObject(keys);
    }
    EXPECT(c, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "SCRIPT LOAD %s", "return 1");
    ck_assert_int_gt(server_calls(plain, "script|load"), 0);
    ck_assert_int_gt(calls(two, "script|load"), 0);
    EXPECT(c, "1", "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 b:1");
    EXPECT(c, "1", "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 p:1");
    EXPECT_ERROR(c, "unknown command", "NOSUCHCOMMAND a");
    EXPECT(c, "OK", "FLUSHALL");
    EXPECT(c, "0", "DBSIZE");
    EXPECT(c, "OK", "QUIT");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_scan_finds_every_key_of_every_cluster)
{
    redisContext *c = dial_routed(usual);
    char seen[3][100] = {{0}}, cursor[32] = "0";
    static const char *const prefixes[] = {"a:", "b:", "p:"}, *const names[] = {"x", "y", "z"};
    int calls_made = 0, found = 0;

    for (int i = 0; i < 300; i++)
        redisAppendCommand(c, "SET %s%s%d v", prefixes[i % 3], names[i % 3], i / 3);
    for (int i = 0; i < 300; i++)
        EXPECT_NEXT(c, "OK");
    do {
        redisReply *reply = redisCommand(c, "SCAN %s COUNT 7", cursor);

        ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        for (char *p = cursor; *p != '\0'; p++)
            ck_assert(*p >= '0' && *p <= '9');
        for (size_t i = 0; i < reply->element[1]->elements; i++) {
            const char *name = reply->element[1]->element[i]->str;
            int kind;

            name += strncmp(name, "a:", 2) == 0 ? 2 : 0; /* what was removed stays removed */
            kind = name[0] - 'x';
            ck_assert(kind >= 0 && kind < 3);
            found += !seen[kind][atoi(name + 1)];
            seen[kind][atoi(name + 1)] = 1;
        }
        freeReplyObject(reply);
        /* Any session goes on. */
        if (++calls_made % 5 == 0) {
            redisFree(c);
            c = dial();
        }
        ck_assert_int_lt(calls_made, 1000);
    } while (strcmp(cursor, "0") != 0);
    ck_assert_int_eq(found, 300);
    EXPECT(c, "-ERR invalid cursor", "SCAN abc");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_without_a_catch_all)
{
    redisContext *c = dial_routed("routes:\n"
                                  "      - {prefix: 'p:', cluster: plain, remove_prefix: true}\n"
                                  "      - {prefix: 'a:', cluster: one}\n");
    long before = calls(one, "mset");

    EXPECT(c, "OK", "SET a:1 x");
    EXPECT(c, "-NOROUTE redisroute: no route is for the key 'q', and there is no catch_all_route",
           "GET q");
    EXPECT_ERROR(c, "NOROUTE redisroute: no route is for the key 'q'", "MSET a:1 y q 1");
    ck_assert_int_eq(calls(one, "mset"), before);
    EXPECT(c, "x", "GET a:1");
    EXPECT(c, "PONG", "PING");
    ck_assert_int_gt(server_calls(plain, "ping"), 0);
    EXPECT(c, "OK", "MULTI");
    EXPECT_ERROR(c, "NOROUTE", "SET q 1");
    EXPECT(c, "QUEUED", "SET a:1 z");
    EXPECT_ERROR(c, "EXECABORT", "EXEC");
    EXPECT(c, "x", "GET a:1");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_case_is_ignored_if_so_said)
{
    redisContext *c = dial_routed("case_insensitive: true\n      routes:\n"
                                  "      - {prefix: 'Ab:', cluster: plain, remove_prefix: true}\n"
                                  "      - {prefix: '', cluster: two}\n");

    EXPECT(c, "OK", "SET aB:K 1");
    EXPECT(c, "OK", "SET AB:l 2");
    EXPECT(c, "OK", "SET b 3");
    expect_at_plain("1", "K");
    expect_at_plain("2", "l");
    expect_at(two, "3", "b");
    redisFree(c);
    config_end();
}
END_TEST

/* --- reads elsewhere, and mirrors --- */

START_TEST(test_reads_go_to_the_cluster_for_reads)
{
    redisContext *c = dial_routed(
        "routes:\n"
        "      - {prefix: 'a:', cluster: one, read_command_policy: {cluster: plain}}\n"
        "      catch_all_route: {cluster: two, read_command_policy: {cluster: shadow}}\n");
    long writes = calls(one, "set");

    free(server_command(plain, "SET a:k copy"));
    free(server_command(shadow, "SET k shade"));
    EXPECT(c, "OK", "SET a:k v");
    EXPECT(c, "OK", "SET k v");
    EXPECT(c, "copy", "GET a:k");
    EXPECT(c, "shade", "GET k");
    EXPECT(c, "copy\nshade", "MGET a:k k");
    ck_assert_int_eq(calls(one, "set"), writes + 1);
    /* What may write is no read, and a transaction is whole. */
    EXPECT(c, "v", "EVAL %s 1 a:k", "return redis.call('get', KEYS[1])");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "GET a:k");
    EXPECT(c, "v", "EXEC");
    EXPECT(c, "OK", "WATCH a:k");
    EXPECT(c, "v", "GET a:k");
    EXPECT(c, "OK", "UNWATCH");
    EXPECT(c, "copy", "GET a:k");
    /* Copies do not count twice. */
    EXPECT(c, "2", "DBSIZE");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_mirrors_are_each_routes_own)
{
    redisContext *c = dial_routed(
        "routes:\n"
        "      - prefix: 'a:'\n        cluster: one\n"
        "        request_mirror_policy: [{cluster: shadow, exclude_read_commands: true}]\n"
        "      - {prefix: 'b:', cluster: two, remove_prefix: true,\n"
        "         request_mirror_policy: [{cluster: shadow}]}\n"
        "      catch_all_route: {cluster: one}\n");
    long sets = server_calls(shadow, "set"), gets = server_calls(shadow, "get");

    EXPECT(c, "OK", "SET a:1 1");
    EXPECT(c, "1", "GET a:1");
    EXPECT(c, "OK", "SET b:1 2");
    EXPECT(c, "2", "GET b:1");
    EXPECT(c, "OK", "SET z 3");
    EXPECT(c, "3", "GET z");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET a:2 4");
    EXPECT(c, "OK", "EXEC");
    UNTIL(server_calls(shadow, "set") == sets + 3);
    UNTIL(server_calls(shadow, "get") == gets + 1);
    {
        char *text = server_command(shadow, "MGET a:1 1 z a:2");

        ck_assert_str_eq(text, "1\n2\n(nil)\n4");
        free(text);
    }
    redisFree(c);
    config_end();
}
END_TEST

/* --- what holds the connection --- */

START_TEST(test_transactions)
{
    redisContext *c = dial_routed(usual);

    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET b:{t}1 1");
    EXPECT(c, "QUEUED", "INCR b:{t}1");
    EXPECT(c, "QUEUED", "PING");
    EXPECT(c, "OK\n2\nPONG", "EXEC");
    expect_at(two, "2", "{t}1");
    /* Before there is a key, nobody knows where; in a pipeline too. */
    for (int i = 0; i < 10; i++) {
        redisAppendCommand(c, "MULTI");
        redisAppendCommand(c, "ECHO %d", i);
        redisAppendCommand(c, "PING");
        redisAppendCommand(c, "INCR %s", i % 2 ? "p:moves" : "b:moves");
        redisAppendCommand(c, "PING");
        redisAppendCommand(c, "EXEC");
    }
    for (int i = 0; i < 10; i++) {
        char expected[32];

        snprintf(expected, sizeof expected, "%d\nPONG\n%d\nPONG", i, i / 2 + 1);
        EXPECT_NEXT(c, "OK");
        for (int k = 0; k < 4; k++)
            EXPECT_NEXT(c, "QUEUED");
        EXPECT_NEXT(c, expected);
    }
    expect_at_plain("5", "moves");
    expect_at(two, "5", "moves");
    EXPECT(c, "OK", "MULTI");
    EXPECT_ERROR(c, "unknown command", "NOSUCHCOMMAND");
    EXPECT(c, "QUEUED", "SET p:moves 0");
    EXPECT_ERROR(c, "EXECABORT", "EXEC");
    expect_at_plain("5", "moves");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "PING");
    EXPECT(c, "QUEUED", "ECHO x");
    EXPECT(c, "QUEUED", "SET p:t 1");
    EXPECT(c, "QUEUED", "GET p:t");
    EXPECT(c, "PONG\nx\nOK\n1", "EXEC");
    expect_at_plain("1", "t");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "PING");
    EXPECT(c, "PONG", "EXEC");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET a:t 1");
    EXPECT_ERROR(c, "CROSSSLOT", "SET p:t 2");
    EXPECT_ERROR(c, "EXECABORT", "EXEC");
    EXPECT(c, "1", "GET p:t");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET p:t 3");
    EXPECT(c, "OK", "DISCARD");
    EXPECT(c, "1", "GET p:t");
    /* A key that is watched is watched where it is. */
    EXPECT(c, "OK", "WATCH p:t");
    free(server_command(plain, "SET t changed"));
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET p:t mine");
    EXPECT(c, "(nil)", "EXEC");
    expect_at_plain("changed", "t");
    EXPECT(c, "OK", "WATCH p:t");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET p:t mine");
    EXPECT(c, "OK", "EXEC");
    expect_at_plain("mine", "t");
    EXPECT_ERROR(c, "CROSSSLOT", "WATCH a:1 p:1");
    EXPECT_ERROR(c, "EXEC without MULTI", "EXEC");
    redisFree(c);
    config_end();
}
END_TEST

static void *push_soon(void *text)
{
    pause_ms(100);
    free(server_command(plain, "LPUSH %s v", (const char *)text));
    return NULL;
}

START_TEST(test_commands_that_block)
{
    redisContext *c = dial_routed(usual);
    pthread_t thread;

    MUST(pthread_create(&thread, NULL, push_soon, "list") == 0);
    redisAppendCommand(c, "SET a:1 before");
    redisAppendCommand(c, "BLPOP p:list 30");
    redisAppendCommand(c, "GET a:1");
    EXPECT_NEXT(c, "OK");
    EXPECT_NEXT(c, "list\nv"); /* as the server says it */
    EXPECT_NEXT(c, "before");
    pthread_join(thread, NULL);
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_messages)
{
    redisContext *c = dial_routed(usual), *other = dial();
    redisReply *reply;

    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    reply = redisCommand(other, "PUBLISH news hello");
    ck_assert_ptr_nonnull(reply);
    ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
    freeReplyObject(reply);
    EXPECT_NEXT(c, "message\nnews\nhello");
    /* From either node of the catch-all's cluster, and from no other cluster. */
    free(server_command(plain, "PUBLISH news plain"));
    free(cluster_command(two, 0, "PUBLISH news two"));
    free(cluster_command(one, 1, "PUBLISH news one"));
    EXPECT_NEXT(c, "message\nnews\none");
    EXPECT(c, "unsubscribe\nnews\n0", "UNSUBSCRIBE news");
    EXPECT(c, "OK", "SET p:1 v");
    expect_at_plain("v", "1");
    redisFree(c);
    redisFree(other);
    config_end();
}
END_TEST

START_TEST(test_state_of_the_connection_is_everywhere)
{
    redisContext *c = dial_routed(usual);
    char *list;

    EXPECT(c, "OK", "SET a:1 v");
    EXPECT(c, "OK", "CLIENT SETNAME everywhere");
    EXPECT(c, "OK", "SET p:1 v");
    list = server_command(plain, "CLIENT LIST");
    ck_assert_ptr_nonnull(strstr(list, "name=everywhere"));
    free(list);
    EXPECT(c, "OK", "SET b:1 v");
    list = cluster_command(two, cluster_owner_of_slot(two, 0, cluster_slot("1")), "CLIENT LIST");
    ck_assert_ptr_nonnull(strstr(list, "name=everywhere"));
    free(list);
    EXPECT(c, "everywhere", "CLIENT GETNAME");
    EXPECT_ERROR(c, "WRONGPASS", "AUTH nobody knows");
    EXPECT(c, "OK", "CLIENT REPLY ON");
    redisAppendCommand(c, "CLIENT REPLY SKIP");
    redisAppendCommand(c, "SET p:1 skipped");
    redisAppendCommand(c, "GET p:1");
    EXPECT_NEXT(c, "skipped");
    EXPECT(c, "RESET", "RESET");
    EXPECT(c, "skipped", "GET p:1");
    list = server_command(plain, "CLIENT LIST");
    ck_assert_ptr_null(strstr(list, "name=everywhere"));
    free(list);
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_configured_logins_are_each_clusters_own)
{
    struct server *locked = server_start(&(struct server_options){.requirepass = "hush"});
    redisContext *c;

    locked_port = server_port(locked);
    c = dial_routed("routes: [{prefix: 'l:', cluster: locked}]\n"
                    "      catch_all_route: {cluster: one}\n");
    EXPECT(c, "OK", "MSET l:1 v a:1 w");
    EXPECT(c, "v\nw", "MGET l:1 a:1");
    redisFree(c);
    config_end();
    server_stop(locked);
}
END_TEST

/* Lines of `expected` texts come, in any order. */
static void expect_monitored(redisContext *c, const char *first, const char *second)
{
    bool seen[2] = {false, false};

    while (!seen[0] || !seen[1]) {
        redisReply *reply;

        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        seen[0] |= strstr(reply->str, first) != NULL;
        seen[1] |= strstr(reply->str, second) != NULL;
        freeReplyObject(reply);
    }
}

START_TEST(test_monitor_shows_all)
{
    redisContext *c = dial_routed(usual), *other = dial();

    EXPECT(c, "OK", "MONITOR");
    EXPECT(other, "OK", "MSET a:seen 1 p:seen 2");
    expect_monitored(c, "\"a:seen\"", "\"MSET\" \"seen\"");
    redisFree(c);
    redisFree(other);
    config_end();
}
END_TEST

START_TEST(test_notifications_come_from_all)
{
    redisContext *c = dial_routed(usual), *other = dial();

    EXPECT(other, "OK", "CONFIG SET notify-keyspace-events K$");
    EXPECT(c, "psubscribe\n__keyspace@0__:*\n1", "PSUBSCRIBE __keyspace@0__:*");
    EXPECT(other, "OK", "SET p:heard 1");
    EXPECT_NEXT(c, "pmessage\n__keyspace@0__:*\n__keyspace@0__:heard\nset");
    EXPECT(other, "OK", "SET a:heard 1");
    EXPECT_NEXT(c, "pmessage\n__keyspace@0__:*\n__keyspace@0__:a:heard\nset");
    redisFree(c);
    redisFree(other);
    config_end();
}
END_TEST

START_TEST(test_bytes_of_resp3)
{
    struct byte_client *c;

    begin();
    route_by(usual);
    c = byte_open(PORT);
    BYTE_EXPECT(c, "%*", "HELLO 3");
    BYTE_EXPECT(c, ":1\r\n", "HSET a:h f v");
    BYTE_EXPECT(c, ":1\r\n", "HSET b:h f v");
    BYTE_EXPECT(c, ":1\r\n", "HSET p:h f v");
    BYTE_EXPECT(c, "%1\r\n$1\r\nf\r\n$1\r\nv\r\n", "HGETALL a:h");
    BYTE_EXPECT(c, "%1\r\n$1\r\nf\r\n$1\r\nv\r\n", "HGETALL b:h");
    BYTE_EXPECT(c, "%1\r\n$1\r\nf\r\n$1\r\nv\r\n", "HGETALL p:h");
    BYTE_EXPECT(c, "*3\r\n_\r\n_\r\n_\r\n", "MGET a:0 b:0 p:0");
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON");
    BYTE_EXPECT(c, "_\r\n", "GET p:tracked");
    free(server_command(plain, "SET tracked 1"));
    BYTE_HEARS(c, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$7\r\ntracked\r\n");
    BYTE_EXPECT(c, ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n", "SUBSCRIBE news");
    BYTE_EXPECT(c, "+OK\r\n", "SET p:1 v");
    free(cluster_command(one, 1, "PUBLISH news hello"));
    BYTE_HEARS(c, ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
    byte_close(c);
    config_end();
}
END_TEST

/* --- what goes wrong --- */

START_TEST(test_nobody_at_home)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    redisContext *c;

    begin();
    route_by("routes: [{prefix: 'a:', cluster: one}]\n      catch_all_route: {cluster: dead}\n");
    c = redisConnect(listener, PORT);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "Connection refused");
    redisFree(c);
    async_open_host(&client, loop, listener, PORT);
    LOOP_UNTIL(loop, client.connects == 1);
    ck_assert_int_eq(client.connect_status, REDIS_ERR);
    loop_destroy(loop);
    config_end();
}
END_TEST

/* Of a cluster that was there, the node that is not is named as well. */
START_TEST(test_a_server_that_is_gone)
{
    struct server *gone = server_start(&(struct server_options){0});
    redisContext *c;

    locked_port = server_port(gone);
    c = dial_routed("routes: [{prefix: 'g:', cluster: locked}]\n"
                    "      catch_all_route: {cluster: one}\n");
    EXPECT(c, "OK", "SET a:1 w");
    EXPECT(c, "OK", "SET g:1 v");
    server_stop(gone);
    EXPECT_ERROR(c, "(cluster locked)", "GET g:1");
    EXPECT(c, "w", "GET a:1");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_time_limit_holds)
{
    redisContext *c = dial_routed(usual);

    EXPECT(c, "OK", "SET p:1 v");
    redisSetTimeout(c, (struct timeval){.tv_usec = 200000});
    server_signal(plain, SIGSTOP);
    ck_assert_ptr_null(redisCommand(c, "GET p:1"));
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    server_signal(plain, SIGCONT);
    ck_assert_ptr_null(redisCommand(c, "GET a:1"));
    redisFree(c);
    c = dial();
    EXPECT(c, "v", "GET p:1");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_cluster_that_is_not_there)
{
    redisContext *c = dial_routed("routes:\n"
                                  "      - {prefix: 'd:', cluster: dead}\n"
                                  "      catch_all_route: {cluster: one}\n");

    EXPECT(c, "OK", "SET k v");
    redisAppendCommand(c, "GET k");
    redisAppendCommand(c, "GET d:1");
    redisAppendCommand(c, "GET k");
    EXPECT_NEXT(c, "v");
    {
        redisReply *reply;

        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
        ck_assert_ptr_nonnull(
            strstr(reply->str, "UNREACHABLE redisroute: dead could not be reached"));
        freeReplyObject(reply);
    }
    EXPECT_NEXT(c, "v");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_server_that_restarts)
{
    redisContext *c = dial_routed(usual);

    EXPECT(c, "OK", "SET p:1 v");
    EXPECT(c, "OK", "SET a:1 v");
    server_signal(plain, SIGKILL);
    EXPECT(c, "v", "GET a:1");
    server_restart(plain);
    EXPECT(c, "OK", "SET p:1 w");
    expect_at_plain("w", "1");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_slot_moves_within_a_cluster)
{
    redisContext *c = dial_routed(usual);
    int slot = cluster_slot("wanderer"), from = cluster_owner_of_slot(two, 0, slot);

    EXPECT(c, "OK", "SET b:wanderer v");
    cluster_migrate(two, slot, from, 1 - from);
    EXPECT(c, "v", "GET b:wanderer");
    EXPECT(c, "OK", "SET b:wanderer w");
    expect_at(two, "w", "wanderer");
    cluster_migrate(two, slot, 1 - from, from);
    EXPECT(c, "w", "GET b:wanderer");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_child_goes_on)
{
    redisContext *c = dial_routed(usual);
    int status;
    pid_t child;

    EXPECT(c, "OK", "SET a:1 v");
    EXPECT(c, "OK", "SET p:1 w");
    UNTIL(threads_are_asleep());
    child = fork();
    if (child == 0) {
        EXPECT(c, "v", "GET a:1");
        EXPECT(c, "w", "GET p:1");
        EXPECT(c, "OK", "SET b:1 child");
        _exit(0);
    }
    MUST(waitpid(child, &status, 0) == child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_at(two, "child", "1");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_what_was_accepted_is_sent_at_the_end)
{
    redisContext *c = dial_routed(usual);
    int done = 0;

    redisAppendCommand(c, "SET a:last 1");
    redisAppendCommand(c, "SET b:last 2");
    redisAppendCommand(c, "SET p:last 3");
    while (!done)
        ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
    redisFree(c);
    expect_at(one, "1", "a:last");
    expect_at(two, "2", "last");
    expect_at_plain("3", "last");
    config_end();
}
END_TEST

/* --- other kinds of contexts --- */

START_TEST(test_asynchronously)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);

    begin();
    route_by(usual);
    async_open_host(&client, loop, listener, PORT);
    async_expect(&client, "OK", "SET a:1 1");
    async_expect(&client, "OK", "SET b:1 2");
    async_expect(&client, "OK", "SET p:1 3");
    async_expect(&client, "1\n2\n3", "MGET a:1 b:1 p:1");
    async_expect(&client, "PONG", "PING");
    async_finish(&client);
    for (int i = 0; i < DEPTH; i++) {
        async_expect(&client, "2", "GET b:1");
        async_expect(&client, "3", "GET p:1");
        async_expect(&client, "1", "GET a:1");
    }
    async_finish(&client);
    expect_at(two, "2", "1");
    async_close(&client);
    loop_destroy(loop);
    config_end();
}
END_TEST

START_TEST(test_a_policy_of_the_program)
{
    redisContext *c = dial_routed(usual);

    EXPECT(c, "OK", "SET a:1 v");
    ck_assert_int_eq(redisRouteSetReadPolicy(c, REDISROUTE_READ_REPLICA), REDIS_OK);
    EXPECT_ERROR(c, "UNREACHABLE redisroute: no replica can be read", "GET a:1");
    ck_assert_int_eq(redisRouteNextReadPolicy(c, REDISROUTE_READ_MASTER), REDIS_OK);
    EXPECT(c, "v", "GET a:1");
    EXPECT_ERROR(c, "UNREACHABLE redisroute: no replica can be read", "GET a:1");
    ck_assert_int_eq(redisRouteSetReadPolicy(c, REDISROUTE_READ_MASTER), REDIS_OK);
    EXPECT(c, "v", "GET a:1");
    redisFree(c);
    config_end();
}
END_TEST

/* --- a file that changes --- */

struct load {
    atomic_bool stop;
    unsigned long replies;
};

/* Pipelines over all clusters: every command is answered, in its place. */
static void *keep_busy(void *data)
{
    struct load *load = data;
    redisContext *c = dial();
    int n = 0;

    while (!load->stop) {
        for (int i = 0; i < DEPTH; i++) {
            redisAppendCommand(c, "SET m:%d %d", i, n + i);
            redisAppendCommand(c, "ECHO %d", n + i);
            redisAppendCommand(c, "SET a:%d %d", i, n + i);
        }
        for (int i = 0; i < DEPTH; i++) {
            char expected[32];

            snprintf(expected, sizeof expected, "%d", n + i);
            EXPECT_NEXT(c, "OK");
            EXPECT_NEXT(c, expected);
            EXPECT_NEXT(c, "OK");
            load->replies += 3;
        }
        n += DEPTH;
    }
    redisFree(c);
    return NULL;
}

START_TEST(test_routes_change_under_load)
{
    struct load load = {0};
    pthread_t thread;
    redisContext *c = dial_routed(usual);

    MUST(pthread_create(&thread, NULL, keep_busy, &load) == 0);
    EXPECT(c, "OK", "SET m:x 0");
    for (int i = 1; i <= SWITCHES; i++) {
        int64_t began, limit = now_ms() + UNTIL_LIMIT_MS;
        char routes[512], expected[16];
        bool there = false;

        snprintf(routes, sizeof routes,
                 "routes:\n      - {prefix: 'm:', cluster: %s, remove_prefix: %s}\n"
                 "      catch_all_route: {cluster: %s}\n",
                 i % 2 ? "plain" : "two", i % 3 ? "true" : "false", i % 4 ? "one" : "two");
        snprintf(expected, sizeof expected, "%d", i);
        route_by(routes);
        began = now_ms();
        while (!there) {
            const char *key = i % 3 ? "x" : "m:x";
            char *text;

            EXPECT(c, "OK", "SET m:x %d", i);
            text = i % 2 ? server_command(plain, "GET %s", key)
                         : cluster_command(two, cluster_owner_of_slot(two, 0, cluster_slot(key)),
                                           "GET %s", key);
            there = strcmp(text, expected) == 0;
            free(text);
            ck_assert_msg(now_ms() < limit, "switch %d did not take effect", i);
        }
        ck_assert_int_lt(now_ms() - began, 5000);
        EXPECT(c, expected, "GET m:x");
    }
    load.stop = true;
    pthread_join(thread, NULL);
    ck_assert_uint_gt(load.replies, 0);
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_bad_routes_change_nothing)
{
    redisContext *c = dial_routed(usual);

    EXPECT(c, "OK", "SET p:1 v");
    route_by("routes: [{prefix: 'p:', cluster: nowhere}]");
    UNTIL(config_log_says("there is no cluster \"nowhere\""));
    EXPECT(c, "OK", "SET p:1 w");
    expect_at_plain("w", "1");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_commands_are_counted_once)
{
    redisContext *c = dial_routed(usual);
    size_t length;
    char *text;

    for (int i = 0; i < 7; i++)
        EXPECT(c, "OK", "SET p:1 v");
    length = redisRouteStatsText(NULL, 0);
    text = malloc(length + 1);
    redisRouteStatsText(text, length + 1);
    ck_assert_ptr_nonnull(strstr(text, "command=\"set\"} 7\n"));
    {
        char *first = strstr(text, "redisroute_commands_total{");
        char *second = first ? strstr(first + 1, "command=\"set\"} 7\n") : NULL;

        ck_assert_ptr_nonnull(second);
        ck_assert_ptr_null(strstr(second + 1, "redisroute_commands_total{cluster=\"127.0.0.9"));
    }
    free(text);
    redisFree(c);
    config_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("routes");
    TCase *tc = suite_case(suite, "keys", setup, teardown);

    tcase_add_test(tc, test_keys_go_by_their_prefixes);
    tcase_add_test(tc, test_pipelines_keep_the_order);
    tcase_add_test(tc, test_many_keys_are_split_and_merged);
    tcase_add_test(tc, test_commands_without_keys);
    tcase_add_test(tc, test_scan_finds_every_key_of_every_cluster);
    tcase_add_test(tc, test_without_a_catch_all);
    tcase_add_test(tc, test_case_is_ignored_if_so_said);
    tcase_add_test(tc, test_reads_go_to_the_cluster_for_reads);
    tcase_add_test(tc, test_mirrors_are_each_routes_own);
    tcase_add_test(tc, test_transactions);
    tcase_add_test(tc, test_commands_that_block);
    tcase_add_test(tc, test_messages);
    tcase_add_test(tc, test_state_of_the_connection_is_everywhere);
    tcase_add_test(tc, test_configured_logins_are_each_clusters_own);
    tcase_add_test(tc, test_monitor_shows_all);
    tcase_add_test(tc, test_notifications_come_from_all);
    tcase_add_test(tc, test_bytes_of_resp3);
    tcase_add_loop_test(tc, test_asynchronously, 0, LOOP_KINDS);
    tcase_add_test(tc, test_a_policy_of_the_program);

    tc = suite_case(suite, "changes", setup, teardown);
    tcase_add_test(tc, test_a_cluster_that_is_not_there);
    tcase_add_loop_test(tc, test_nobody_at_home, 0, LOOP_KINDS);
    tcase_add_test(tc, test_a_server_that_is_gone);
    tcase_add_test(tc, test_a_time_limit_holds);
    tcase_add_test(tc, test_a_slot_moves_within_a_cluster);
    if (CAN_FORK)
        tcase_add_test(tc, test_a_child_goes_on);
    tcase_add_test(tc, test_what_was_accepted_is_sent_at_the_end);
    tcase_add_test(tc, test_routes_change_under_load);
    tcase_add_test(tc, test_bad_routes_change_nothing);
    tcase_add_test(tc, test_commands_are_counted_once);

    /* A server that a test starts again ends with it. */
    tc = suite_case(suite, "restart", setup, teardown);
    tcase_add_test(tc, test_a_server_that_restarts);
    return suite_run(suite);
}
