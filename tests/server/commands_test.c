/* Commands on a cluster: split and merged over shards, refused where no cluster could serve them,
 * answered by one node where they have no key. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/suite.h"
#include "../support/target.h"

enum { MANY = 5000 };

/* --- split and merged --- */

static void set_numbers(redisContext *c, int count)
{
    for (int i = 0; i < count; i++)
        redisAppendCommand(c, "SET n:%d %d", i, i);
    for (int i = 0; i < count; i++)
        EXPECT_NEXT(c, "OK");
}

START_TEST(test_mget_keeps_the_order_of_the_caller)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    set_numbers(c, 10);
    EXPECT(c, "9\n0\n5\n(nil)\n3\n5\n5\n9", "MGET n:9 n:0 n:5 nothing n:3 n:5 n:5 n:9");
    EXPECT(c, "(nil)", "MGET nothing");
    EXPECT(c, "7", "MGET n:7");
    redisFree(c);
}
END_TEST

/* As Redis has it: for MGET a key of another type is no error, but nil. */
START_TEST(test_mget_of_a_list_is_nil)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "1", "RPUSH list x");
    set_numbers(c, 3);
    EXPECT(c, "0\n(nil)\n2", "MGET n:0 list n:2");
    redisFree(c);
}
END_TEST

START_TEST(test_mset_reaches_every_shard)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "OK", "MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8");
    EXPECT(c, "1\n2\n3\n4\n5\n6\n7\n8", "MGET a b c d e f g h");
    EXPECT(c, "OK", "MSET a first b x a second");
    EXPECT(c, "second\nx", "MGET a b");
    EXPECT(c, "OK", "mset a lower b case");
    EXPECT(c, "lower\ncase", "mGet a b");
    redisFree(c);
}
END_TEST

START_TEST(test_counts_are_summed)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    set_numbers(c, 20);
    EXPECT(c, "5", "EXISTS n:0 n:1 n:2 n:3 nothing n:4");
    EXPECT(c, "3", "EXISTS n:0 n:0 n:0");
    EXPECT(c, "4", "TOUCH n:10 n:11 n:12 nothing n:13");
    EXPECT(c, "3", "DEL n:0 n:1 n:0 nothing n:2");
    EXPECT(c, "2", "UNLINK n:3 nothing n:4");
    EXPECT(c, "0", "EXISTS n:0 n:1 n:2 n:3 n:4");
    EXPECT(c, "0", "DEL n:0 n:1");
    EXPECT(c, "15", "DBSIZE");
    redisFree(c);
}
END_TEST

/* The words a server has for them, which the application's own error handling may look at. */
START_TEST(test_split_commands_without_arguments)
{
    static const char *const names[] = {"mget", "mset", "del", "unlink", "exists", "touch"};
    char expected[80];
    redisContext *c = connect_target(_i);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(expected, sizeof expected, "-ERR wrong number of arguments for '%s' command",
                 names[i]);
        const char *argv[] = {names[i]};
        redisReply *reply = redisCommandArgv(c, 1, argv, NULL);
        EXPECT_REPLY(reply, expected);
        freeReplyObject(reply);
    }
    EXPECT(c, "-ERR wrong number of arguments for 'mset' command", "MSET a 1 b");
    redisFree(c);
}
END_TEST

static redisReply *many_keys(redisContext *c, const char *name, int with_values)
{
    static char keys[MANY][16];
    const char *argv[1 + 2 * MANY] = {name};
    int argc = 1;
    for (int i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof keys[i], "many:%d", i);
        argv[argc++] = keys[i];
        if (with_values)
            argv[argc++] = keys[i] + strlen("many:");
    }
    return redisCommandArgv(c, argc, argv, NULL);
}

START_TEST(test_thousands_of_keys_in_one_command)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    redisReply *reply = many_keys(c, "MSET", 1);
    EXPECT_REPLY(reply, "OK");
    freeReplyObject(reply);
    reply = many_keys(c, "MGET", 0);
    ck_assert_uint_eq(reply->elements, MANY);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(atoi(reply->element[i]->str), i);
    freeReplyObject(reply);
    reply = many_keys(c, "EXISTS", 0);
    EXPECT_REPLY(reply, "5000");
    freeReplyObject(reply);
    reply = many_keys(c, "DEL", 0);
    EXPECT_REPLY(reply, "5000");
    freeReplyObject(reply);
    EXPECT(c, "0", "DBSIZE");
    redisFree(c);
}
END_TEST

START_TEST(test_split_commands_in_a_pipeline_keep_their_place)
{
    char expected[64];
    redisContext *c = connect_target(_i);
    target_flush(_i);
    for (int i = 0; i < 500; i++) {
        redisAppendCommand(c, "MSET p:a %d p:b %d p:c %d", i, i + 1, i + 2);
        redisAppendCommand(c, "GET p:b");
        redisAppendCommand(c, "MGET p:c p:nothing p:a p:b");
        redisAppendCommand(c, "INCR p:a");
        redisAppendCommand(c, "DEL p:a p:b p:c");
    }
    for (int i = 0; i < 500; i++) {
        EXPECT_NEXT(c, "OK");
        snprintf(expected, sizeof expected, "%d", i + 1);
        EXPECT_NEXT(c, expected);
        snprintf(expected, sizeof expected, "%d\n(nil)\n%d\n%d", i + 2, i, i + 1);
        EXPECT_NEXT(c, expected);
        snprintf(expected, sizeof expected, "%d", i + 1);
        EXPECT_NEXT(c, expected);
        EXPECT_NEXT(c, "3");
    }
    redisFree(c);
}
END_TEST

/* One shard has no memory left: the whole MSET is an error, which says where it comes from. */
START_TEST(test_an_error_of_one_shard_names_it)
{
    struct cluster *cluster = target_cluster();
    char address[32];
    char *keys[] = {cluster_key_for(cluster, 0, 0), cluster_key_for(cluster, 1, 0),
                    cluster_key_for(cluster, 2, 0)};
    snprintf(address, sizeof address, "127.0.0.1:%d", cluster_port(cluster, 1));
    free(cluster_command(cluster, 1, "CONFIG SET maxmemory 1"));
    redisContext *c = connect_target(TARGET_CLUSTER);
    redisReply *reply = redisCommand(c, "MSET %s 1 %s 2 %s 3", keys[0], keys[1], keys[2]);
    ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
    ck_assert_msg(!strncmp(reply->str, "OOM ", 4), "%s", reply->str);
    ck_assert_msg(strstr(reply->str, address) != NULL, "%s", reply->str);
    freeReplyObject(reply);
    free(cluster_command(cluster, 1, "CONFIG SET maxmemory 0"));
    EXPECT(c, "OK", "MSET %s 1 %s 2 %s 3", keys[0], keys[1], keys[2]);
    EXPECT(c, "1\n2\n3", "MGET %s %s %s", keys[0], keys[1], keys[2]);
    redisFree(c);
    for (int i = 0; i < 3; i++)
        free(keys[i]);
}
END_TEST

/* A node refuses keys of two slots in one command, even when it owns both: one request a slot is
 * the least there can be, and one a key would be waste. */
START_TEST(test_a_split_command_is_one_request_a_slot)
{
    struct cluster *cluster = target_cluster();
    redisContext *c = connect_target(TARGET_CLUSTER);
    target_flush(TARGET_CLUSTER);
    EXPECT(c, "OK", "MSET {tag-1}:a 1 {tag-2}:a 2 {tag-1}:b 3 {tag-2}:b 4 {tag-1}:c 5");
    long before = cluster_calls_of_masters(cluster, "exists");
    EXPECT(c, "5", "EXISTS {tag-1}:a {tag-2}:a {tag-1}:b {tag-2}:b {tag-1}:c {tag-2}:none");
    ck_assert_int_eq(cluster_calls_of_masters(cluster, "exists") - before, 2);
    redisFree(c);
}
END_TEST

/* --- keys of all kinds of commands --- */

/* %1$s is a hash tag; each line is a command and its reply, in order. What the server makes of the
 * positions of keys, the library has to make of them too. */
static const struct {
    const char *command, *reply;
} one_slot[] = {
    {"SET %1$s:a 1", "OK"},
    {"set %1$s:a 5", "OK"},
    {"GetSet %1$s:a 6", "5"},
    {"RENAME %1$s:a %1$s:b", "OK"},
    {"COPY %1$s:b %1$s:c", "1"},
    {"MSETNX %1$s:x 1 %1$s:y 2", "1"},
    {"BITOP AND %1$s:bits %1$s:x %1$s:y", "1"},
    {"RPUSH %1$s:l 3 1 2", "3"},
    {"SORT %1$s:l STORE %1$s:sorted", "3"},
    {"LMOVE %1$s:l %1$s:l2 LEFT RIGHT", "3"},
    {"LMPOP 2 %1$s:none %1$s:l2 LEFT", "%1$s:l2\n3"},
    {"BLMPOP 1 2 %1$s:none %1$s:l LEFT COUNT 2", "%1$s:l\n1\n2"},
    {"BLPOP %1$s:none %1$s:sorted 1", "%1$s:sorted\n1"},
    {"SADD %1$s:s1 a b c", "3"},
    {"SADD %1$s:s2 b c d", "3"},
    {"SINTERCARD 2 %1$s:s1 %1$s:s2", "2"},
    {"SUNIONSTORE %1$s:s3 %1$s:s1 %1$s:s2", "4"},
    {"SMOVE %1$s:s1 %1$s:s2 a", "1"},
    {"ZADD %1$s:z1 1 a 2 b", "2"},
    {"ZADD %1$s:z2 3 b 4 c", "2"},
    {"ZUNIONSTORE %1$s:z3 2 %1$s:z1 %1$s:z2 WEIGHTS 1 1", "3"},
    {"ZINTER 2 %1$s:z1 %1$s:z2 WITHSCORES", "b\n5"},
    {"ZMPOP 1 %1$s:z3 MIN", "%1$s:z3\na\n1"},
    {"ZRANGESTORE %1$s:z4 %1$s:z1 0 -1", "2"},
    {"XADD %1$s:st 1-1 f v", "1-1"},
    {"XGROUP CREATE %1$s:st g 0", "OK"},
    {"XREAD COUNT 1 STREAMS %1$s:st 0", "%1$s:st\n1-1\nf\nv"},
    {"XREADGROUP GROUP g me COUNT 1 STREAMS %1$s:st >", "%1$s:st\n1-1\nf\nv"},
    {"XACK %1$s:st g 1-1", "1"},
    {"XINFO STREAM %1$s:none", "-ERR no such key"},
    {"OBJECT ENCODING %1$s:b", "int"},
    {"GEOADD %1$s:geo 13.361389 38.115556 Palermo", "1"},
    {"GEORADIUS %1$s:geo 15 37 200 km STORE %1$s:near", "1"},
    {"GEOSEARCHSTORE %1$s:near2 %1$s:geo FROMMEMBER Palermo BYRADIUS 1 km", "1"},
    {"PFADD %1$s:h1 a b", "1"},
    {"PFMERGE %1$s:h2 %1$s:h1", "OK"},
    {"PFCOUNT %1$s:h1 %1$s:h2", "2"},
    {"HSET %1$s:hash f 1", "1"},
    {"LCS %1$s:x %1$s:y", ""},
    {"EVAL return{KEYS[1],KEYS[2],ARGV[1]} 2 %1$s:k %1$s:l x", "%1$s:k\n%1$s:l\nx"},
    {"EVAL_RO return{KEYS[1]} 1 %1$s:k", "%1$s:k"},
    {"EVALSHA 0000000000000000000000000000000000000000 1 %1$s:k", "-NOSCRIPT No matching script."},
    {"MGET %1$s:x %1$s:y %1$s:none", "1\n2\n(nil)"},
    {"EXPIRE %1$s:x 100", "1"},
    {"TYPE %1$s:st", "stream"},
    {"DUMP %1$s:none", "(nil)"},
    {"DEL %1$s:x %1$s:y %1$s:b", "3"},
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static redisReply *command_line(redisContext *c, const char *format, const char *tag)
{
    char line[256];
    const char *words[32];
    int argc = 0;
    snprintf(line, sizeof line, format, tag);
    for (char *rest = line, *word; (word = strsep(&rest, " "));)
        words[argc++] = word;
    return redisCommandArgv(c, argc, words, NULL);
}

START_TEST(test_keys_are_found_in_every_kind_of_command)
{
    char tag[16], expected[128];
    redisContext *c = connect_target(_i);
    target_flush(_i);
    for (int round = 0; round < 12; round++) {
        snprintf(tag, sizeof tag, "{tag-%d}", round);
        for (size_t i = 0; i < sizeof one_slot / sizeof *one_slot; i++) {
            redisReply *reply = command_line(c, one_slot[i].command, tag);
            snprintf(expected, sizeof expected, one_slot[i].reply, tag);
            char *text = reply ? reply_text(reply) : strdup(c->errstr);
            /* Servers of different versions go on differently. */
            bool is_same = text[0] == '-' ? !strncmp(text, expected, strlen(expected))
                                          : !strcmp(text, expected);
            ck_assert_msg(is_same, "%s with %s: \"%s\" instead of \"%s\"", one_slot[i].command, tag,
                          text, expected);
            free(text);
            freeReplyObject(reply);
        }
    }
    redisFree(c);
}
END_TEST
#pragma GCC diagnostic pop

/* --- what no cluster can do --- */

#define CROSSSLOT "-CROSSSLOT Keys in request don't hash to the same slot"

START_TEST(test_keys_of_several_slots_get_the_servers_own_error)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    EXPECT(c, CROSSSLOT, "RENAME a b");
    EXPECT(c, CROSSSLOT, "SINTER a b c");
    EXPECT(c, CROSSSLOT, "MSETNX a 1 b 2");
    EXPECT(c, CROSSSLOT, "SUNIONSTORE a b c");
    EXPECT(c, CROSSSLOT, "EVAL %s 3 a b c", "return 1");
    EXPECT(c, CROSSSLOT, "ZUNIONSTORE out 2 a b");
    EXPECT(c, CROSSSLOT, "BLPOP a b 0");
    EXPECT(c, CROSSSLOT, "XREAD STREAMS a b 0 0");
    EXPECT(c, CROSSSLOT, "PFCOUNT a b");
    EXPECT(c, CROSSSLOT, "COPY a b");
    EXPECT(c, "OK", "SET a 1");
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
}
END_TEST

START_TEST(test_other_databases_get_the_servers_own_error)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    EXPECT(c, "OK", "SELECT 0");
    EXPECT(c, "-ERR SELECT is not allowed in cluster mode", "SELECT 1");
    EXPECT_ERROR(c, "ERR", "SELECT nonsense");
    EXPECT(c, "OK", "SELECT 0");
    for (int i = 0; i < 20; i++)
        EXPECT(c, "OK", "SET a:%d 1", i);
    redisFree(c);
}
END_TEST

/* What is written to a second key, what is dumped and restored, and what lies in several streams.
 */
START_TEST(test_commands_with_a_destination)
{
    redisContext *c = connect_target(_i);
    char key[32];
    target_flush(_i);
    for (int i = 0; i < 12; i++) {
        snprintf(key, sizeof key, "{t-%d}", i);
        EXPECT(c, "2", "GEOADD %sg 13.36 38.11 palermo 15.08 37.50 catania", key);
        EXPECT(c, "2", "GEORADIUS %sg 15 37 200 km STORE %sd", key, key);
        EXPECT(c, "1", "GEORADIUSBYMEMBER %sg catania 1 km STOREDIST %se", key, key);
        EXPECT(c, "2", "ZCARD %sd", key);
        EXPECT(c, "catania", "ZRANGE %se 0 -1", key);
        EXPECT(c, "3", "RPUSH %sl 3 1 2", key);
        EXPECT(c, "3", "SORT %sl STORE %ss", key, key);
        EXPECT(c, "1\n2\n3", "LRANGE %ss 0 -1", key);
        EXPECT(c, "1", "COPY %ss %sc", key, key);
        EXPECT(c, "1", "OBJECT REFCOUNT %sc", key);
        redisReply *dump = redisCommand(c, "DUMP %sc", key);
        ck_assert_int_eq(dump->type, REDIS_REPLY_STRING);
        redisReply *reply = redisCommand(c, "RESTORE %sr 0 %b", key, dump->str, (size_t)dump->len);
        EXPECT_REPLY(reply, "OK");
        freeReplyObject(reply);
        reply = redisCommand(c, "RESTORE %sr 0 %b", key, dump->str, (size_t)dump->len);
        ck_assert_int_eq(strncmp(reply->str, "BUSYKEY", 7), 0);
        freeReplyObject(reply);
        freeReplyObject(dump);
        EXPECT(c, "1\n2\n3", "LRANGE %sr 0 -1", key);
        EXPECT(c, "OK", "XGROUP CREATE %sx g $ MKSTREAM", key);
        EXPECT(c, "OK", "XGROUP CREATE %sy g $ MKSTREAM", key);
        EXPECT(c, "1-1", "XADD %sy 1-1 f v", key);
        reply = redisCommand(c, "XREADGROUP GROUP g c COUNT 5 STREAMS %sx %sy > >", key, key);
        ck_assert_uint_eq(reply->elements, 1);
        freeReplyObject(reply);
    }
    redisFree(c);
}
END_TEST

/* Streams of several slots, and a sort by keys that may be anywhere. */
START_TEST(test_what_a_cluster_node_refuses)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    target_flush(TARGET_CLUSTER);
    EXPECT(c, "OK", "XGROUP CREATE a g $ MKSTREAM");
    EXPECT(c, "OK", "XGROUP CREATE b g $ MKSTREAM");
    EXPECT(c, CROSSSLOT, "XREADGROUP GROUP g c STREAMS a b > >");
    EXPECT(c, CROSSSLOT, "XREADGROUP GROUP g c BLOCK 0 STREAMS a b > >");
    EXPECT(c, CROSSSLOT, "GEORADIUS a 1 2 3 km STORE b");
    EXPECT(c, CROSSSLOT, "SORT a STORE b");
    EXPECT_ERROR(c, "denied in", "SORT a BY weight_*");
    EXPECT_ERROR(c, "denied in", "SORT a GET object_*");
    EXPECT(c, CROSSSLOT, "MIGRATE 127.0.0.1 1 %s 0 10 KEYS a b", "");
    EXPECT(c, "none", "TYPE nothing");
    redisFree(c);
}
END_TEST

/* The keys go from their node to another server. */
START_TEST(test_migrate)
{
    redisContext *c = connect_target(TARGET_CLUSTER), *plain = connect_target(TARGET_PLAIN);
    target_flush(TARGET_CLUSTER);
    target_flush(TARGET_PLAIN);
    for (int i = 0; i < 12; i++) {
        EXPECT(c, "OK", "SET m:%d v%d", i, i);
        EXPECT(c, "OK", "MIGRATE 127.0.0.1 %d m:%d 0 5000", target_port(TARGET_PLAIN), i);
        EXPECT(c, "(nil)", "GET m:%d", i);
    }
    EXPECT(c, "OK", "MSET {m}a 1 {m}b 2");
    redisReply *reply = redisCommand(c, "MIGRATE 127.0.0.1 %d %s 0 5000 COPY KEYS {m}a {m}b",
                                     target_port(TARGET_PLAIN), "");
    EXPECT_REPLY(reply, "OK");
    freeReplyObject(reply);
    EXPECT(c, "1\n2", "MGET {m}a {m}b");
    EXPECT(plain, "14", "DBSIZE");
    EXPECT(plain, "v7", "GET m:7");
    redisFree(plain);
    redisFree(c);
}
END_TEST

/* A slot's keys are counted where they are, whatever node was dialled. */
START_TEST(test_commands_about_a_slot_go_to_its_owner)
{
    enum { KEYS_OF_SLOT = 3 };
    redisContext *c = connect_target(TARGET_CLUSTER);
    target_flush(TARGET_CLUSTER);
    for (int master = 0; master < cluster_masters(target_cluster()); master++) {
        char *key = cluster_key_for(target_cluster(), master, 0);
        int slot = cluster_slot(key);
        for (int i = 0; i < KEYS_OF_SLOT; i++) {
            redisReply *reply = redisCommand(c, "SET {%s}%d v", key, i);
            EXPECT_REPLY(reply, "OK");
            freeReplyObject(reply);
        }
        redisAppendCommand(c, "CLUSTER COUNTKEYSINSLOT %d", slot);
        redisAppendCommand(c, "DEL {%s}0", key);
        redisAppendCommand(c, "CLUSTER COUNTKEYSINSLOT %d", slot);
        EXPECT_NEXT(c, "3");
        EXPECT_NEXT(c, "1");
        EXPECT_NEXT(c, "2");
        redisReply *reply = redisCommand(c, "CLUSTER GETKEYSINSLOT %d 10", slot);
        ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
        ck_assert_uint_eq(reply->elements, KEYS_OF_SLOT - 1);
        freeReplyObject(reply);
        free(key);
    }
    EXPECT_ERROR(c, "ERR", "CLUSTER COUNTKEYSINSLOT 16384");
    EXPECT_ERROR(c, "ERR", "CLUSTER COUNTKEYSINSLOT none");
    EXPECT_ERROR(c, "ERR", "CLUSTER COUNTKEYSINSLOT");
    EXPECT_ERROR(c, "ERR", "CLUSTER GETKEYSINSLOT 99999999999999999999 10");
    EXPECT(c, "12182", "CLUSTER KEYSLOT foo");
    EXPECT(c, "OK", "MULTI");
    EXPECT_ERROR(c, "UNSUPPORTED redisroute:", "CLUSTER COUNTKEYSINSLOT 1");
    EXPECT(c, "OK", "DISCARD");
    redisFree(c);
}
END_TEST

/* Whatever else the context talks to, one node says who it is: the dialled one. */
START_TEST(test_one_node_says_who_it_is)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    char *id = cluster_command(target_cluster(), 0, "CLUSTER MYID");
    for (int i = 0; i < 30; i++) {
        EXPECT(c, "OK", "SET who:%d 1", i);
        EXPECT(c, id, "CLUSTER MYID");
        redisReply *reply = redisCommand(c, "CLUSTER NODES");
        char *myself = strstr(reply->str, "myself");
        ck_assert_ptr_nonnull(myself);
        while (myself > reply->str && myself[-1] != '\n')
            myself--;
        ck_assert_int_eq(strncmp(myself, id, strlen(id)), 0);
        freeReplyObject(reply);
    }
    free(id);
    redisFree(c);
}
END_TEST

/* For one server that somebody has chosen: here it would be any. Nothing of it reaches a server. */
START_TEST(test_what_would_hurt_a_server_is_refused)
{
    static const char *const lines[] = {
        "SHUTDOWN NOSAVE",
        "FAILOVER",
        "REPLICAOF NO ONE",
        "SLAVEOF NO ONE",
        "DEBUG SEGFAULT",
        "DEBUG SLEEP 60",
        "CLUSTER RESET HARD",
        "CLUSTER FAILOVER TAKEOVER",
        "CLUSTER FLUSHSLOTS",
        "CLUSTER DELSLOTS 1",
        "CLUSTER ADDSLOTS 1",
        "CLUSTER DELSLOTSRANGE 1 2",
        "CLUSTER ADDSLOTSRANGE 1 2",
        "CLUSTER BUMPEPOCH",
        "CLUSTER SET-CONFIG-EPOCH 9",
        "CLUSTER SETSLOT 1 STABLE",
        "CLUSTER FORGET x",
        "CLUSTER REPLICATE x",
        "CLUSTER SAVECONFIG",
        "CLUSTER MEET 127.0.0.1 1",
        "MODULE LOAD x",
        "MODULE UNLOAD x",
        "SYNC",
        "PSYNC ? -1",
        "REPLCONF ACK 1",
        "SCRIPT DEBUG YES",
        "RESTORE-ASKING k 0 x",
    };
    redisContext *c = connect_target(TARGET_CLUSTER);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        redisReply *reply = command_line(c, lines[i], "");
        ck_assert_msg(reply != NULL, "%s: %s", lines[i], c->errstr);
        ck_assert_msg(reply->type == REDIS_REPLY_ERROR &&
                          !strncmp(reply->str, "UNSUPPORTED redisroute:", 23),
                      "%s: %s", lines[i], reply->str);
        freeReplyObject(reply);
    }
    EXPECT(c, "OK", "SET a 1");
    for (int i = 0; i < cluster_size(target_cluster()); i++)
        ck_assert(cluster_says(target_cluster(), i, "PONG", "PING"));
    redisFree(c);
}
END_TEST

/* What is not there yet says so, in words that name the library, and does no harm. */
START_TEST(test_what_is_not_there_yet_says_so)
{
    static const char *const commands[] = {"REPLICAOF no one", "DEBUG SLEEP 0"};
    redisContext *c = connect_target(TARGET_CLUSTER);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        redisReply *reply = command_line(c, commands[i], "");
        ck_assert_msg(reply != NULL, "%s: %s", commands[i], c->errstr);
        ck_assert_msg(reply->type == REDIS_REPLY_ERROR, "%s is no error", commands[i]);
        ck_assert_msg(strstr(reply->str, "redisroute:") != NULL, "%s: %s", commands[i], reply->str);
        freeReplyObject(reply);
        EXPECT(c, "OK", "SET a %d", (int)i);
    }
    redisFree(c);
}
END_TEST

/* --- no key --- */

START_TEST(test_keyless_commands)
{
    redisContext *c = connect_target(_i);
    EXPECT(c, "PONG", "PING");
    EXPECT(c, "hello", "PING hello");
    EXPECT(c, "hello", "ECHO hello");
    EXPECT(c, "5", "EVAL %s 0", "return 5");
    EXPECT(c, "0", "PUBLISH nobody listens");
    redisReply *reply = redisCommand(c, "TIME");
    ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
    ck_assert_uint_eq(reply->elements, 2);
    freeReplyObject(reply);
    reply = redisCommand(c, "COMMAND COUNT");
    ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
    ck_assert_int_gt((int)reply->integer, 200);
    freeReplyObject(reply);
    redisFree(c);
}
END_TEST

START_TEST(test_info_is_that_of_one_real_master)
{
    static const char *const commands[] = {"INFO", "INFO replication", "info all"};
    redisContext *c = connect_target(_i);
    for (size_t i = 0; i < 3; i++) {
        redisReply *reply = redisCommand(c, commands[i]);
        ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
        ck_assert_ptr_nonnull(strstr(reply->str, "role:master"));
        ck_assert(i == 1 || strstr(reply->str, "redis_version:"));
        freeReplyObject(reply);
    }
    redisFree(c);
}
END_TEST

static int compare_elements(const void *a, const void *b)
{
    return strcmp((*(redisReply *const *)a)->str, (*(redisReply *const *)b)->str);
}

START_TEST(test_keys_and_dbsize_see_every_shard)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "", "KEYS *");
    EXPECT(c, "0", "DBSIZE");
    set_numbers(c, 300);
    EXPECT(c, "OK", "MSET other:a 1 other:b 2 other:c 3 other:d 4");
    EXPECT(c, "304", "DBSIZE");
    redisReply *reply = redisCommand(c, "KEYS other:*");
    ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
    qsort(reply->element, reply->elements, sizeof *reply->element, compare_elements);
    EXPECT_REPLY(reply, "other:a\nother:b\nother:c\nother:d");
    freeReplyObject(reply);
    reply = redisCommand(c, "KEYS *");
    ck_assert_uint_eq(reply->elements, 304);
    freeReplyObject(reply);
    EXPECT_ERROR(c, "wrong number of arguments", "KEYS");
    redisFree(c);
}
END_TEST

START_TEST(test_a_script_loaded_once_runs_on_every_shard)
{
    char sha[41] = "", expected[16];
    redisContext *c = connect_target(_i);
    redisReply *reply = redisCommand(c, "SCRIPT LOAD %s", "return redis.call('INCR',KEYS[1])");
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    ck_assert_int_eq((int)reply->len, 40);
    memcpy(sha, reply->str, 40);
    freeReplyObject(reply);
    target_flush(_i);
    for (int i = 0; i < 200; i++) {
        snprintf(expected, sizeof expected, "%d", i / 50 + 1);
        EXPECT(c, expected, "EVALSHA %s 1 script:%d", sha, i % 50);
    }
    redisFree(c);
}
END_TEST

/* --- state of the connection --- */

static int has_client_named(struct cluster *cluster, int node, const char *name)
{
    char pattern[64];
    char *list = cluster_command(cluster, node, "CLIENT LIST");
    snprintf(pattern, sizeof pattern, " name=%s ", name);
    int found = strstr(list, pattern) != NULL;
    free(list);
    return found;
}

START_TEST(test_a_client_name_goes_to_every_node_in_use)
{
    struct cluster *cluster = target_cluster();
    redisContext *c = connect_target(TARGET_CLUSTER);
    EXPECT(c, "OK", "SET {tag-1}:a 1");
    EXPECT(c, "OK", "CLIENT SETNAME traveller");
    EXPECT(c, "traveller", "CLIENT GETNAME");
    set_numbers(c, 50);
    for (int i = 0; i < cluster_masters(cluster); i++)
        ck_assert_msg(has_client_named(cluster, i, "traveller"), "not on node %d", i);
    redisFree(c);
}
END_TEST

START_TEST(test_errors_of_state_commands_are_the_servers)
{
    redisContext *c = connect_target(_i);
    EXPECT_ERROR(c, "Client names cannot contain spaces", "CLIENT SETNAME %s", "a b");
    EXPECT_ERROR(c, "AUTH", "AUTH secret");
    EXPECT_ERROR(c, "", "CLIENT NOSUCHTHING");
    EXPECT(c, "OK", "SET state:a 1");
    redisFree(c);
}
END_TEST

static void add_both(Suite *suite)
{
    TCase *tc = suite_case(suite, "everywhere", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_mget_keeps_the_order_of_the_caller, 0, target_count());
    tcase_add_loop_test(tc, test_mget_of_a_list_is_nil, 0, target_count());
    tcase_add_loop_test(tc, test_mset_reaches_every_shard, 0, target_count());
    tcase_add_loop_test(tc, test_counts_are_summed, 0, target_count());
    tcase_add_loop_test(tc, test_split_commands_without_arguments, 0, target_count());
    tcase_add_loop_test(tc, test_thousands_of_keys_in_one_command, 0, target_count());
    tcase_add_loop_test(tc, test_split_commands_in_a_pipeline_keep_their_place, 0, target_count());
    tcase_add_loop_test(tc, test_keys_are_found_in_every_kind_of_command, 0, target_count());
    tcase_add_loop_test(tc, test_commands_with_a_destination, 0, target_count());
    tcase_add_loop_test(tc, test_keyless_commands, 0, target_count());
    tcase_add_loop_test(tc, test_info_is_that_of_one_real_master, 0, target_count());
    tcase_add_loop_test(tc, test_keys_and_dbsize_see_every_shard, 0, target_count());
    tcase_add_loop_test(tc, test_a_script_loaded_once_runs_on_every_shard, 0, target_count());
    tcase_add_loop_test(tc, test_errors_of_state_commands_are_the_servers, 0, target_count());
}

static void add_cluster(Suite *suite)
{
    TCase *tc = suite_case(suite, "cluster", target_setup, target_teardown);
    tcase_add_test(tc, test_an_error_of_one_shard_names_it);
    tcase_add_test(tc, test_a_split_command_is_one_request_a_slot);
    tcase_add_test(tc, test_keys_of_several_slots_get_the_servers_own_error);
    tcase_add_test(tc, test_other_databases_get_the_servers_own_error);
    tcase_add_test(tc, test_what_a_cluster_node_refuses);
    tcase_add_test(tc, test_migrate);
    tcase_add_test(tc, test_commands_about_a_slot_go_to_its_owner);
    tcase_add_test(tc, test_one_node_says_who_it_is);
    tcase_add_test(tc, test_what_would_hurt_a_server_is_refused);
    tcase_add_test(tc, test_what_is_not_there_yet_says_so);
    tcase_add_test(tc, test_a_client_name_goes_to_every_node_in_use);
}

int main(void)
{
    Suite *suite = suite_create("commands");
    add_both(suite);
    if (target_count() > TARGET_CLUSTER)
        add_cluster(suite);
    return suite_run(suite);
}
