/* RESP3 over a byte session: what one server says, a cluster says, byte for byte; and what servers
 * say unasked. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/byte_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/stream.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "../support/wire.h"

enum { MASTERS = 3, KEYS = 30, COMMANDS = 4000, DEEPEST = 200, SILENCE_MS = 200 };

static const char forget_all[] = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

static struct byte_client *open3(int target)
{
    struct byte_client *c = byte_open(target_port(target));
    BYTE_EXPECT(c, "%*", "HELLO 3");
    return c;
}

/* A key of each master; of any, on a plain server. */
static char *key_of(int target, int master, int nth)
{
    char *key = NULL;
    if (target == TARGET_CLUSTER)
        return cluster_key_for(target_cluster(), master, nth);
    MUST(asprintf(&key, "k:%d:%d", master, nth) > 0);
    return key;
}

static void must_be_invalidated(struct byte_client *c, const char *key)
{
    char expected[128];
    snprintf(expected, sizeof expected, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$%zu\r\n%s\r\n",
             strlen(key), key);
    BYTE_HEARS(c, expected);
}

START_TEST(test_types_on_every_link)
{
    struct byte_client *c = open3(_i);
    target_flush(_i);
    for (int i = 0; i < KEYS; i++) {
        BYTE_EXPECT(c, ":1\r\n", "HSET h:%d f v", i);
        BYTE_EXPECT(c, ":1\r\n", "SADD s:%d m", i);
        BYTE_EXPECT(c, ":1\r\n", "ZADD z:%d 1.5 m", i);
        BYTE_EXPECT(c, "%1\r\n$1\r\nf\r\n$1\r\nv\r\n", "HGETALL h:%d", i);
        BYTE_EXPECT(c, "~1\r\n$1\r\nm\r\n", "SMEMBERS s:%d", i);
        BYTE_EXPECT(c, ",1.5\r\n", "ZSCORE z:%d m", i);
        BYTE_EXPECT(c, "_\r\n", "GET none:%d", i);
        BYTE_EXPECT(c, "_\r\n", "BLPOP none:%d 0.001", i);
        BYTE_EXPECT(c, "-WRONGTYPE*", "GET h:%d", i);
    }
    BYTE_EXPECT(c, "*3\r\n_\r\n_\r\n_\r\n", "MGET none:1 none:2 none:3");
    BYTE_EXPECT(c, "%1\r\n$9\r\nmaxmemory\r\n*", "CONFIG GET maxmemory");
    byte_close(c);
}
END_TEST

/* What scripts make of RESP3: booleans, big numbers, verbatim strings, maps in maps. */
START_TEST(test_types_of_scripts)
{
    struct byte_client *c = open3(_i);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "script:%d", i);
        const char *words[] = {"EVAL", "redis.setresp(3); return {true, false, {double=3.5}, "
                               "{big_number='1234567890123456789012345678901234567890'}, "
                               "{verbatim_string={format='txt', string='so'}}, "
                               "{map={[1]={set={a=true}}}}}", "1", key};
        byte_say_argv(c, 4, words, NULL);
        BYTE_HEARS(c, "*6\r\n#t\r\n#f\r\n,3.5\r\n(1234567890123456789012345678901234567890\r\n"
                      "=6\r\ntxt:so\r\n%1\r\n:1\r\n~1\r\n$1\r\na\r\n");
    }
    byte_close(c);
}
END_TEST

START_TEST(test_merged_replies)
{
    struct byte_client *c = open3(_i);
    char *text;
    target_flush(_i);
    for (int i = 0; i < KEYS; i++)
        BYTE_EXPECT(c, "+OK\r\n", "SET m:%d %d", i, i);
    BYTE_EXPECT(c, ":30\r\n", "DBSIZE");
    BYTE_EXPECT(c, "*4\r\n$1\r\n1\r\n_\r\n$2\r\n20\r\n$1\r\n3\r\n", "MGET m:1 none m:20 m:3");
    byte_say(c, "INFO keyspace");
    text = byte_hear(c, NULL);
    ck_assert_msg(text[0] == '=' && strstr(text, "txt:# Keyspace\r\ndb0:keys=30"), "%s", text);
    free(text);
    byte_say(c, "CLIENT LIST");
    text = byte_hear(c, NULL);
    ck_assert_msg(text[0] == '=' && strstr(text, "\ntxt:id="), "%s", text);
    ck_assert_ptr_null(strstr(strstr(text, "txt:") + 4, "txt:"));
    free(text);
    BYTE_EXPECT(c, "*2\r\n$1\r\na\r\n:0\r\n", "PUBSUB NUMSUB a");
    BYTE_EXPECT(c, "*1\r\n:0\r\n", "SCRIPT EXISTS 0000000000000000000000000000000000000000");
    BYTE_EXPECT(c, "+OK\r\n", "FLUSHALL");
    BYTE_EXPECT(c, "_\r\n", "RANDOMKEY");
    BYTE_EXPECT(c, "*0\r\n", "KEYS *");
    byte_close(c);
}
END_TEST

START_TEST(test_hello)
{
    struct byte_client *c = byte_open(target_port(_i));
    target_flush(_i);
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT SETNAME early");
    BYTE_EXPECT(c, "%*", "HELLO 3 SETNAME greeter");
    BYTE_EXPECT(c, "$7\r\ngreeter\r\n", "CLIENT GETNAME");
    BYTE_EXPECT(c, "%*", "HELLO"); /* a question: nothing changes */
    for (int i = 0; i < KEYS; i++)
        BYTE_EXPECT(c, "_\r\n", "GET none:%d", i);
    if (_i == TARGET_CLUSTER) {
        for (int node = 0; node < MASTERS; node++) {
            char *list = cluster_command(target_cluster(), node, "CLIENT LIST");
            ck_assert_msg(strstr(list, "name=greeter") != NULL, "%s", list);
            ck_assert_msg(strstr(list, "name=early") == NULL, "%s", list);
            free(list);
        }
    }
    BYTE_EXPECT(c, "-NOPROTO*", "HELLO 4");
    BYTE_EXPECT(c, "_\r\n", "GET none:1");
    BYTE_EXPECT(c, "*14\r\n*", "HELLO 2");
    for (int i = 0; i < KEYS; i++)
        BYTE_EXPECT(c, "$-1\r\n", "GET none:%d", i);
    BYTE_EXPECT(c, "%*", "HELLO 3");
    BYTE_EXPECT(c, "_\r\n", "GET none:2");
    BYTE_EXPECT(c, "+RESET\r\n", "RESET");
    for (int i = 0; i < KEYS; i++)
        BYTE_EXPECT(c, "$-1\r\n", "GET none:%d", i);
    byte_close(c);
}
END_TEST

/* --- the same as one server --- */

static uint64_t seed;

static void compare(struct byte_client *c, struct wire *reference, struct stream_command *command,
                    int number)
{
    size_t length, wanted_length;
    char *wanted = wire_receive(reference, &wanted_length), *got = byte_hear(c, &length);
    char *text = stream_command_text(command);
    ck_assert_ptr_nonnull(wanted);
    ck_assert_msg(got != NULL, "seed %llu, command %d, %s: no reply", (unsigned long long)seed,
                  number, text);
    if (length != wanted_length || memcmp(got, wanted, length) != 0)
        ck_abort_msg("seed %llu, command %d, %s:\ngot      %.300s\nexpected %.300s",
                     (unsigned long long)seed, number, text, got, wanted);
    free(wanted);
    free(got);
    free(text);
    stream_command_deinit(command);
}

START_TEST(test_as_one_server)
{
    static struct stream_command issued[DEEPEST];
    struct stream commands;
    struct wire *reference = wire_open(target_port(TARGET_PLAIN));
    struct byte_client *c = open3(TARGET_CLUSTER);
    target_flush(TARGET_PLAIN);
    target_flush(TARGET_CLUSTER);
    free(wire_command(reference, "CONFIG SET hz 500"));
    for (int i = 0; i < MASTERS; i++)
        free(cluster_command(target_cluster(), i, "CONFIG SET hz 500"));
    wire_send(reference, "HELLO 3\r\n", 9);
    free(wire_receive(reference, NULL));
    stream_init(&commands, seed + (uint64_t)_i);
    commands.is_one_slot = _i == 2;
    for (int done = 0; done < COMMANDS;) {
        int depth = _i == 0 ? 1 : 1 + (int)stream_random(&commands, DEEPEST);
        for (int i = 0; i < depth; i++) {
            stream_next(&commands, &issued[i]);
            ck_assert(wire_send_argv(reference, issued[i].argc, issued[i].argv, issued[i].lengths));
            byte_say_argv(c, issued[i].argc, issued[i].argv, issued[i].lengths);
        }
        for (int i = 0; i < depth; i++, done++)
            compare(c, reference, &issued[i], done);
    }
    wire_close(reference);
    byte_close(c);
}
END_TEST

/* --- client side caching --- */

START_TEST(test_tracking)
{
    struct byte_client *c = open3(_i), *other = byte_open(target_port(_i));
    target_flush(_i);
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON");
    for (int round = 0; round < 2; round++)
        for (int master = 0; master < MASTERS; master++) {
            char *key = key_of(_i, master, 1);
            byte_say(c, "GET %s", key);
            free(byte_hear(c, NULL));
            BYTE_EXPECT(other, "+OK\r\n", "SET %s %d", key, round);
            must_be_invalidated(c, key);
            BYTE_EXPECT(other, "+OK\r\n", "SET %s again", key); /* once is enough */
            free(key);
        }
    ck_assert(byte_is_silent(c, SILENCE_MS));
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING OFF");
    BYTE_EXPECT(c, "_\r\n", "GET none");
    BYTE_EXPECT(other, "+OK\r\n", "SET none x");
    ck_assert(byte_is_silent(c, SILENCE_MS));
    byte_close(c);
    byte_close(other);
}
END_TEST

START_TEST(test_tracking_by_merged_reads)
{
    struct byte_client *c = open3(_i), *other = byte_open(target_port(_i));
    char *keys[MASTERS];
    target_flush(_i);
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON NOLOOP");
    for (int i = 0; i < MASTERS; i++)
        keys[i] = key_of(_i, i, 2);
    BYTE_EXPECT(c, "*3\r\n_\r\n_\r\n_\r\n", "MGET %s %s %s", keys[0], keys[1], keys[2]);
    BYTE_EXPECT(c, "+OK\r\n", "SET %s own", keys[0]); /* NOLOOP */
    for (int i = 1; i < MASTERS; i++) {
        BYTE_EXPECT(other, "+OK\r\n", "SET %s other", keys[i]);
        must_be_invalidated(c, keys[i]);
    }
    ck_assert(byte_is_silent(c, SILENCE_MS));
    for (int i = 0; i < MASTERS; i++)
        free(keys[i]);
    byte_close(c);
    byte_close(other);
}
END_TEST

/* Nothing was read, and no connection but the first was needed before. */
START_TEST(test_tracking_of_all_keys)
{
    struct byte_client *c = open3(_i), *other = byte_open(target_port(_i));
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON BCAST PREFIX b: PREFIX {");
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON BCAST PREFIX c:");
    BYTE_EXPECT(c, "-ERR Prefix*", "CLIENT TRACKING ON BCAST PREFIX b:");
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "%c:%d", i % 2 ? 'b' : 'c', i);
        BYTE_EXPECT(other, "+OK\r\n", "SET %s v", key);
        must_be_invalidated(c, key);
        BYTE_EXPECT(other, "+OK\r\n", "SET a:%d v", i);
    }
    ck_assert(byte_is_silent(c, SILENCE_MS));
    byte_close(c);
    byte_close(other);
}
END_TEST

START_TEST(test_tracking_of_chosen_reads)
{
    struct byte_client *c = open3(_i), *other = byte_open(target_port(_i));
    BYTE_EXPECT(c, "-ERR CLIENT CACHING can be called only when*", "CLIENT CACHING YES");
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON OPTIN");
    BYTE_EXPECT(c, "-ERR*", "CLIENT CACHING NO");
    BYTE_EXPECT(c, "-ERR syntax error\r\n", "CLIENT CACHING perhaps");
    for (int master = 0; master < MASTERS; master++) {
        char *chosen = key_of(_i, master, 3), *not_chosen = key_of(_i, master, 4);
        byte_say(c, "CLIENT CACHING YES");
        byte_say(c, "STRLEN %s", chosen);
        byte_say(c, "STRLEN %s", not_chosen);
        BYTE_HEARS(c, "+OK\r\n");
        free(byte_hear(c, NULL));
        free(byte_hear(c, NULL));
        BYTE_EXPECT(other, "+OK\r\n", "SET %s v", not_chosen);
        BYTE_EXPECT(other, "+OK\r\n", "SET %s v", chosen);
        must_be_invalidated(c, chosen);
        /* A transaction is one command. */
        BYTE_EXPECT(c, "+OK\r\n", "CLIENT CACHING YES");
        BYTE_EXPECT(c, "+OK\r\n", "MULTI");
        BYTE_EXPECT(c, "+QUEUED\r\n", "STRLEN %s", chosen);
        BYTE_EXPECT(c, "*1\r\n:1\r\n", "EXEC");
        BYTE_EXPECT(other, "+OK\r\n", "SET %s w", chosen);
        must_be_invalidated(c, chosen);
        free(chosen);
        free(not_chosen);
    }
    char *keys[MASTERS];
    for (int i = 0; i < MASTERS; i++)
        keys[i] = key_of(_i, i, 5);
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT CACHING YES");
    byte_say(c, "MGET %s %s %s", keys[0], keys[1], keys[2]);
    free(byte_hear(c, NULL));
    for (int i = 0; i < MASTERS; i++) {
        BYTE_EXPECT(other, "+OK\r\n", "SET %s v", keys[i]);
        must_be_invalidated(c, keys[i]);
        free(keys[i]);
    }
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING OFF");
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON OPTOUT");
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT CACHING NO");
    byte_say(c, "GET optout");
    free(byte_hear(c, NULL));
    BYTE_EXPECT(other, "+OK\r\n", "SET optout v");
    ck_assert(byte_is_silent(c, SILENCE_MS));
    byte_close(c);
    byte_close(other);
}
END_TEST

/* A value that is still on its way to the program must not come behind the word that it is stale. */
START_TEST(test_invalidation_does_not_overtake)
{
    struct byte_client *c = open3(TARGET_CLUSTER);
    char *slow = key_of(TARGET_CLUSTER, 0, 6), *quick = key_of(TARGET_CLUSTER, 1, 6);
    char *other = key_of(TARGET_CLUSTER, 2, 6);
    target_flush(TARGET_CLUSTER);
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON");
    BYTE_EXPECT(c, "*3\r\n_\r\n_\r\n_\r\n", "MGET %s %s %s", slow, quick, other);
    free(cluster_command(target_cluster(), 0, "CLIENT PAUSE 600 ALL"));
    byte_say(c, "GET %s", slow);
    byte_say(c, "GET %s", quick);
    byte_say(c, "MGET %s %s", slow, other);
    ck_assert(byte_is_silent(c, SILENCE_MS)); /* answered by now, but not in turn */
    free(cluster_command(target_cluster(), 1, "SET %s new", quick));
    free(cluster_command(target_cluster(), 2, "SET %s new", other));
    BYTE_HEARS(c, "_\r\n");
    BYTE_HEARS(c, "_\r\n");
    must_be_invalidated(c, quick);
    BYTE_HEARS(c, "*2\r\n_\r\n_\r\n");
    must_be_invalidated(c, other);
    free(slow);
    free(quick);
    free(other);
    byte_close(c);
}
END_TEST

/* What was read over a connection that is gone, nobody tells of. */
START_TEST(test_lost_connection_forgets_all)
{
    struct byte_client *c = open3(TARGET_CLUSTER);
    char *key = key_of(TARGET_CLUSTER, 1, 7);
    target_flush(TARGET_CLUSTER);
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON%s", _i ? " BCAST" : "");
    BYTE_EXPECT(c, "_\r\n", "GET %s", key);
    free(cluster_command(target_cluster(), 1, "CLIENT KILL TYPE normal"));
    BYTE_HEARS(c, forget_all);
    if (_i == 0)
        BYTE_EXPECT(c, "_\r\n", "GET %s", key);
    else /* the connection comes back though nothing is said over it */
        UNTIL((free(cluster_command(target_cluster(), 1, "SET %s v", key)),
               !byte_is_silent(c, 20)));
    free(cluster_command(target_cluster(), 1, "SET %s w", key));
    must_be_invalidated(c, key);
    free(key);
    byte_close(c);
}
END_TEST

/* Besides words that everything is stale, which come of attempts to connect. */
static bool is_told(struct byte_client *c, const char *expected)
{
    bool is_expected = false;
    while (!is_expected && !byte_is_silent(c, 50)) {
        char *heard = byte_hear(c, NULL);
        is_expected = strcmp(heard, expected) == 0;
        ck_assert_msg(is_expected || strcmp(heard, forget_all) == 0, "%s", heard);
        free(heard);
    }
    return is_expected;
}

/* A session that is told of all keys goes with the masters, though it says nothing. */
START_TEST(test_tracking_survives_a_failover)
{
    struct cluster *own = cluster_start(
        &(struct cluster_options){.masters = 3, .replicas = 1, .node_timeout_ms = 1000});
    struct byte_client *c = byte_open(cluster_port(own, 1));
    char *key = cluster_key_for(own, 0, 1), expected[128];
    int master;

    snprintf(expected, sizeof expected, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$%zu\r\n%s\r\n",
             strlen(key), key);
    BYTE_EXPECT(c, "%*", "HELLO 3");
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON BCAST");
    cluster_signal(own, 0, SIGKILL);
    BYTE_HEARS(c, forget_all);
    master = cluster_await_failover(own, 0);
    UNTIL((free(cluster_command(own, master, "SET %s v", key)), is_told(c, expected)));
    free(key);
    byte_close(c);
    cluster_stop(own);
}
END_TEST

/* --- messages between commands --- */

START_TEST(test_subscribed_and_talking)
{
    struct byte_client *c = open3(_i), *other = byte_open(target_port(_i));
    target_flush(_i);
    byte_say(c, "SUBSCRIBE news");
    byte_say(c, "PSUBSCRIBE w*");
    byte_say(c, "GET none");
    BYTE_HEARS(c, ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    BYTE_HEARS(c, ">3\r\n$10\r\npsubscribe\r\n$2\r\nw*\r\n:2\r\n");
    BYTE_HEARS(c, "_\r\n");
    for (int i = 0; i < KEYS; i++) {
        BYTE_EXPECT(c, "+OK\r\n", "SET sub:%d %d", i, i);
        byte_say(other, "PUBLISH news %d", i);
        free(byte_hear(other, NULL));
        char message[96];
        snprintf(message, sizeof message, ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\n%d\r\n",
                 i < 10 ? 1 : 2, i);
        BYTE_HEARS(c, message);
    }
    BYTE_EXPECT(c, "*2\r\n$1\r\n3\r\n$1\r\n4\r\n", "MGET sub:3 sub:4");
    byte_say(other, "PUBLISH weather fine");
    BYTE_HEARS(c, ">4\r\n$8\r\npmessage\r\n$2\r\nw*\r\n$7\r\nweather\r\n$4\r\nfine\r\n");
    BYTE_EXPECT(c, ">3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:1\r\n", "UNSUBSCRIBE");
    BYTE_EXPECT(c, "+PONG\r\n", "PING");
    byte_close(c);
    byte_close(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resp3");
    TCase *tc = suite_case(suite, "as one server", target_setup, target_teardown);

    seed = stream_seed();
    tcase_add_loop_test(tc, test_types_on_every_link, 0, target_count());
    tcase_add_loop_test(tc, test_types_of_scripts, 0, target_count());
    tcase_add_loop_test(tc, test_merged_replies, 0, target_count());
    tcase_add_loop_test(tc, test_hello, 0, target_count());
    tcase_add_loop_test(tc, test_tracking, 0, target_count());
    tcase_add_loop_test(tc, test_tracking_by_merged_reads, 0, target_count());
    tcase_add_loop_test(tc, test_tracking_of_all_keys, 0, target_count());
    tcase_add_loop_test(tc, test_tracking_of_chosen_reads, 0, target_count());
    tcase_add_loop_test(tc, test_subscribed_and_talking, 0, target_count());
    if (target_count() > TARGET_CLUSTER) {
        tcase_add_loop_test(tc, test_as_one_server, 0, 3);
        tcase_add_test(tc, test_invalidation_does_not_overtake);
        tcase_add_test(tc, test_tracking_survives_a_failover);
        tcase_add_loop_test(tc, test_lost_connection_forgets_all, 0, 2);
    }
    return suite_run(suite);
}
