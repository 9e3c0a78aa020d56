/* Commands that the table lacks: of a module, and renamed ones. A server with the same module,
 * asked without the library, is the oracle; what was looked up is counted by the servers
 * themselves. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/byte_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/loop.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "../support/wire.h"

static const char settings[] = "loadmodule " REDISROUTE_GOODS "\n"
                               "rename-command STRLEN length.of\n"
                               "rename-command FLUSHDB empty.all\n"
                               "rename-command OBJECT thing\n"
                               "rename-command SUBSCRIBE listen\n"
                               "rename-command XREAD read.on\n"
                               "rename-command EVAL run.it\n";

static struct server *reference;
static struct cluster *cluster;

/* CLUSTER SLOTS does not name a replica that nothing was written to yet. */
static bool is_named(int by, int node)
{
    char *text = cluster_command(cluster, by, "CLUSTER SLOTS"), port[16];
    snprintf(port, sizeof port, "%d", cluster_port(cluster, node));
    bool named = strstr(text, port) != NULL;
    free(text);
    return named;
}

static void setup(void)
{
    reference = server_start(&(struct server_options){.extra = settings});
    cluster = cluster_start(&(struct cluster_options){.replicas = 1, .extra = settings});
    for (int master = 0; master < cluster_masters(cluster); master++) {
        char *key = cluster_key_for(cluster, master, 0);
        free(cluster_command(cluster, master, "SET %s 0", key));
        free(key);
    }
    for (int node = 0; node < cluster_size(cluster); node++)
        UNTIL(is_named(0, node));
}

static void teardown(void)
{
    cluster_stop(cluster);
    server_stop(reference);
}

static void clean(void)
{
    free(server_command(reference, "FLUSHALL"));
    for (int i = 0; i < cluster_masters(cluster); i++)
        free(cluster_command(cluster, i, "FLUSHALL"));
    for (int i = 0; i < cluster_size(cluster); i++)
        free(cluster_command(cluster, i, "CONFIG RESETSTAT"));
}

static redisContext *connect_cluster(void)
{
    return connect_port(cluster_port(cluster, 0));
}

static long asked(const char *command)
{
    long sum = 0;
    for (int i = 0; i < cluster_size(cluster); i++)
        sum += cluster_calls(cluster, i, command);
    return sum;
}

static void look_often_at_the_clock(void)
{
    free(server_command(reference, "CONFIG SET hz 500"));
    for (int i = 0; i < cluster_size(cluster); i++)
        free(cluster_command(cluster, i, "CONFIG SET hz 500"));
}

/* --- as on one server --- */

static const char *const lines[] = {
    "GOODS.SET a 1",
    "goods.get a",
    "GOODS.Get nothing",
    "GOODS.GET",
    "GOODS.GET a b",
    "GOODS.SET b 2",
    "GOODS.SET c 3",
    "GOODS.COUNT",
    "GOODS.DROP a b nothing a",
    "GOODS.DROP",
    "GOODS.COUNT",
    "GOODS.SET {t}1 x",
    "GOODS.CARRY TO {t}2 FROM {t}1",
    "GOODS.GET {t}2",
    "GOODS.CARRY from {t}2 to {t}3",
    "GOODS.EXIST 3 {t}1 {t}2 {t}9",
    "GOODS.LAST any words n",
    "GOODS.LAST n",
    "GOODS.LAST",
    "GOODS.ENDS {t}1 x y z {t}2",
    "GOODS.NOTHING",
    "GOODS.BOX PUT d 4",
    "GOODS.BOX put e 5",
    "GOODS.BOX SIZE",
    "GOODS.BOX NONE x",
    "GOODS.BOX",
    "GOODS.NONE x",
    "CONFIG NONE x",
    "GET d",
    "APPEND d more",
    "LENGTH.OF d",
    "LENGTH.OF nothing",
    "EMPTY.ALL",
    "GOODS.COUNT",
    "GOODS.BOX PUT d 4",
    "THING ENCODING e",
    "THING NONE e",
    "STRLEN d",
    "XADD s 1-1 f v",
    "READ.ON COUNT 9 STREAMS s 0",
    "READ.ON BLOCK 1 STREAMS s $",
    "RUN.IT return{KEYS[1],ARGV[1]} 1 a x",
    "RUN.IT return 7 0",
};

enum { LINES = sizeof lines / sizeof *lines };

static char *expected_of(const char *line)
{
    char *text = server_command(reference, "%s", line);
    ck_assert_ptr_nonnull(text);
    return text;
}

START_TEST(test_one_at_a_time)
{
    clean();
    look_often_at_the_clock();
    redisContext *c = connect_cluster();
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < LINES; i++) {
            char *expected = expected_of(lines[i]);
            redisReply *reply = redisCommand(c, lines[i]);
            char *text = reply_text(reply);
            ck_assert_msg(reply_text_is(text, expected), "%s: got \"%s\" instead of \"%s\"",
                          lines[i], text, expected);
            free(text);
            freeReplyObject(reply);
            free(expected);
        }
    redisFree(c);
}
END_TEST

START_TEST(test_pipelined)
{
    enum { ROUNDS = 50 };
    static char *expected[ROUNDS * LINES];
    clean();
    look_often_at_the_clock();
    redisContext *c = connect_cluster();
    for (int i = 0; i < ROUNDS * LINES; i++) {
        expected[i] = expected_of(lines[i % LINES]);
        redisAppendCommand(c, lines[i % LINES]);
    }
    for (int i = 0; i < ROUNDS * LINES; i++) {
        EXPECT_NEXT(c, expected[i]);
        free(expected[i]);
    }
    redisFree(c);
}
END_TEST

static int answered;

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
    (void)ac;
    EXPECT_REPLY(reply, arg);
    answered++;
    free(arg);
}

START_TEST(test_asynchronous)
{
    struct async_client client = {0};
    clean();
    look_often_at_the_clock();
    async_open(&client, loop_create(_i), cluster_port(cluster, 0));
    for (int i = 0; i < 3 * LINES; i++)
        redisAsyncCommand(client.ac, on_reply, expected_of(lines[i % LINES]), lines[i % LINES]);
    LOOP_UNTIL(client.loop, answered == 3 * LINES);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* While a look-up waits for a server that is silent, the loop turns, and what is behind waits. */
START_TEST(test_a_look_up_does_not_block_the_loop)
{
    struct async_client client = {0};
    struct fake_node *node = fake_node_start();
    fake_node_on(node, "COMMAND INFO",
                 (struct fake_rule){.action = FAKE_RELEASE_LATER, .reply = "*1\r\n$-1\r\n"});
    fake_node_answer(node, "MY.OWN", "+mine\r\n");
    fake_node_answer(node, "GET", "$1\r\n1\r\n");
    async_open(&client, loop_create(0), fake_node_port(node));
    redisAsyncCommand(client.ac, on_reply, strdup("1"), "GET a");
    redisAsyncCommand(client.ac, on_reply, strdup("mine"), "MY.OWN a");
    redisAsyncCommand(client.ac, on_reply, strdup("1"), "GET b");
    LOOP_UNTIL(client.loop, answered == 1 && fake_node_seen(node, "COMMAND INFO") == 1);
    int64_t until = now_ms() + 100;
    while (now_ms() < until)
        loop_turn(client.loop);
    ck_assert_int_eq(answered, 1);
    ck_assert_int_eq(fake_node_seen(node, "MY.OWN"), 0);
    ck_assert_int_lt(loop_longest_turn_ms(client.loop), 1000);
    fake_node_release(node);
    LOOP_UNTIL(client.loop, answered == 3);
    async_close(&client);
    loop_destroy(client.loop);
    fake_node_stop(node);
}
END_TEST

/* --- how --- */

START_TEST(test_it_is_looked_up_once)
{
    clean();
    for (int i = 0; i < 5; i++) {
        redisContext *c = connect_cluster();
        char key[16];
        for (int j = 0; j < 50; j++) {
            snprintf(key, sizeof key, "k:%d", j);
            redisReply *reply = redisCommand(c, "GOODS.SET %s %d", key, j);
            EXPECT_REPLY(reply, "OK");
            freeReplyObject(reply);
        }
        EXPECT(c, "50", "GOODS.COUNT");
        EXPECT(c, "50", "GOODS.BOX SIZE");
        redisFree(c);
    }
    ck_assert_int_eq(asked("command|info"), 3);
    ck_assert_int_eq(asked("command|getkeys"), 0);
}
END_TEST

/* A command that no server knows is asked about once in a while, not each time. */
START_TEST(test_what_nobody_knows_is_not_asked_each_time)
{
    clean();
    redisContext *c = connect_cluster();
    for (int i = 0; i < 100; i++)
        EXPECT(c, "-ERR unknown command*", "NOT.THERE a %d", i);
    ck_assert_int_eq(asked("command|info"), 1);
    redisFree(c);
}
END_TEST

START_TEST(test_no_redirection_is_needed)
{
    clean();
    redisContext *c = connect_cluster();
    for (int i = 0; i < 200; i++) {
        EXPECT(c, "OK", "GOODS.SET k:%d v", i);
        EXPECT(c, "1", "GOODS.LAST some words n:%d", i);
    }
    ck_assert_int_eq(asked("command|getkeys"), 200);
    for (int i = 0; i < cluster_masters(cluster); i++) {
        char *stats = cluster_command(cluster, i, "INFO errorstats");
        ck_assert_ptr_null(strstr(stats, "MOVED"));
        free(stats);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_names_without_end)
{
    enum { NAMES = 20000 };
    redisContext *c = connect_cluster();
    for (int done = 0; done < NAMES; done += 1000) {
        for (int i = 0; i < 1000; i++)
            redisAppendCommand(c, "N%d a", done + i);
        for (int i = 0; i < 1000; i++) {
            redisReply *reply = NULL;
            redisGetReply(c, (void **)&reply);
            ck_assert_ptr_nonnull(reply);
            ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
            freeReplyObject(reply);
        }
    }
    EXPECT(c, "OK", "GOODS.SET a 1");
    redisFree(c);
}
END_TEST

START_TEST(test_odd_names)
{
    static const char zeros[] = "a\0b";
    const char *argv[] = {NULL, "x"};
    size_t lengths[] = {0, 1};
    redisContext *c = connect_cluster();
    char *name = malloc(70000);
    memset(name, 'x', 70000);
    for (size_t length = 1; length < 70000; length = length * 3 + 1) {
        argv[0] = name, lengths[0] = length;
        redisReply *reply = redisCommandArgv(c, 2, argv, lengths);
        ck_assert_ptr_nonnull(reply);
        ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
        freeReplyObject(reply);
    }
    argv[0] = zeros, lengths[0] = 3;
    redisReply *reply = redisCommandArgv(c, 2, argv, lengths);
    EXPECT_REPLY(reply, "-ERR unknown command*");
    freeReplyObject(reply);
    EXPECT(c, "OK", "GOODS.SET a 1");
    free(name);
    redisFree(c);
}
END_TEST

/* What would need the name that it does not bear, or would hit a server that nobody chose. */
START_TEST(test_what_is_refused)
{
    redisContext *c = connect_cluster();
    EXPECT(c, "-UNSUPPORTED redisroute:*", "LISTEN news");
    EXPECT(c, "-UNSUPPORTED redisroute:*", "GOODS.ADMIN");
    EXPECT(c, "PONG", "PING");
    redisFree(c);
}
END_TEST

START_TEST(test_keys_of_several_slots)
{
    redisContext *c = connect_cluster();
    EXPECT(c, "-CROSSSLOT*", "GOODS.ENDS a x b");
    redisFree(c);
}
END_TEST

/* --- in transactions, with policies, in trouble --- */

START_TEST(test_inside_a_transaction)
{
    clean();
    redisContext *c = connect_cluster();
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "GOODS.SET {t}a 1");
    EXPECT(c, "QUEUED", "GOODS.LAST what {t}n");
    EXPECT(c, "QUEUED", "GOODS.EXIST 2 {t}a {t}n");
    EXPECT(c, "QUEUED", "GOODS.NOTHING");
    EXPECT(c, "OK\n1\n2\nnothing", "EXEC");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "GOODS.SET a 1");
    EXPECT(c, "-CROSSSLOT*", "GOODS.LAST b");
    EXPECT(c, "-EXECABORT*", "EXEC");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "-UNSUPPORTED redisroute:*", "GOODS.COUNT");
    EXPECT(c, "-EXECABORT*", "EXEC");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "-ERR unknown command*", "NOT.KNOWN x");
    EXPECT(c, "-EXECABORT*", "EXEC");
    redisFree(c);
}
END_TEST

/* Servers describe commands in sets and maps then. */
START_TEST(test_with_resp3)
{
    clean();
    struct byte_client *c = byte_open(cluster_port(cluster, 0));
    BYTE_EXPECT(c, "%*", "HELLO 3");
    BYTE_EXPECT(c, "+OK\r\n", "CLIENT TRACKING ON BCAST");
    BYTE_EXPECT(c, "+OK\r\n", "GOODS.SET {t}a 1");
    BYTE_HEARS(c, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$4\r\n{t}a\r\n");
    BYTE_EXPECT(c, ":1\r\n", "GOODS.EXIST 1 {t}a");
    BYTE_EXPECT(c, ":1\r\n", "GOODS.CARRY TO {t}b FROM {t}a");
    BYTE_HEARS(c, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$4\r\n{t}b\r\n");
    BYTE_EXPECT(c, "$-1\r\n", "GOODS.GET {t}none");
    BYTE_EXPECT(c, ":2\r\n", "GOODS.DROP {t}a {t}b none");
    byte_close(c);
}
END_TEST

static void await_replicas(void)
{
    for (int i = 0; i < cluster_masters(cluster); i++)
        UNTIL(cluster_says(cluster, i, "1", "WAIT 1 1000"));
}

/* What only reads may go to a replica. */
START_TEST(test_reads_go_to_replicas)
{
    clean();
    setenv("REDISROUTE_READ_POLICY", "REPLICA", 1);
    redisContext *c = connect_cluster();
    EXPECT(c, "OK", "GOODS.SET a 1");
    await_replicas();
    for (int i = 0; i < 50; i++) {
        redisReply *reply = redisCommand(c, "GOODS.GET a");
        ck_assert_ptr_nonnull(reply);
        EXPECT_REPLY(reply, "1");
        freeReplyObject(reply);
    }
    long masters = cluster_calls_of_masters(cluster, "goods.get");
    ck_assert_int_eq(masters, 0);
    ck_assert_int_eq(asked("goods.get"), 50);
    redisFree(c);
}
END_TEST

/* A slot that moves, under commands that only a server can tell the keys of. */
START_TEST(test_a_slot_moves)
{
    clean();
    redisContext *c = connect_cluster();
    char *key = cluster_key_for(cluster, 0, 0);
    int slot = cluster_slot(key);
    EXPECT(c, "1", "GOODS.LAST x %s", key);
    cluster_migrate_begin(cluster, slot, 0, 1);
    EXPECT(c, "2", "GOODS.LAST x %s", key);
    cluster_migrate_keys(cluster, slot, 0, 1, 100);
    EXPECT(c, "3", "GOODS.LAST x %s", key);
    cluster_migrate_finish(cluster, slot, 0, 1);
    EXPECT(c, "4", "GOODS.LAST x %s", key);
    cluster_migrate(cluster, slot, 1, 0);
    EXPECT(c, "5", "GOODS.LAST x %s", key);
    free(key);
    redisFree(c);
}
END_TEST

/* The node that is asked first is dead: another one is. */
START_TEST(test_the_first_node_is_dead)
{
    redisContext *c = connect_cluster();
    EXPECT(c, "PONG", "PING");
    cluster_signal(cluster, 0, SIGKILL);
    char *key = cluster_key_for(cluster, 1, 0);
    EXPECT(c, "OK", "GOODS.SET %s 1", key);
    EXPECT(c, "1", "GOODS.GET %s", key);
    cluster_await_failover(cluster, 0);
    cluster_restart(cluster, 0);
    free(key);
    redisFree(c);
}
END_TEST

/* A module's writes are writes to a mirror, and its reads are not. */
START_TEST(test_mirror)
{
    char address[64];
    clean();
    struct server *mirror = server_start(&(struct server_options){.extra = settings});
    snprintf(address, sizeof address, "127.0.0.1:%d", server_port(mirror));
    setenv("REDISROUTE_MIRROR", address, 1);
    setenv("REDISROUTE_MIRROR_EXCLUDE_READ_COMMANDS", "true", 1);
    redisContext *c = connect_cluster();
    for (int i = 0; i < 20; i++) {
        EXPECT(c, "OK", "GOODS.SET m:%d v", i);
        EXPECT(c, "v", "GOODS.GET m:%d", i);
        EXPECT(c, "1", "GOODS.LAST m:n:%d", i);
    }
    UNTIL(server_calls(mirror, "goods.last") == 20);
    ck_assert_int_eq(server_calls(mirror, "goods.set"), 20);
    ck_assert_int_eq(server_calls(mirror, "goods.get"), 0);
    redisFree(c);
    server_stop(mirror);
}
END_TEST

/* --- servers that say odd things --- */

static struct fake_node *node;

static void fake_setup(void)
{
    node = fake_node_start();
    fake_node_answer(node, "MY.OWN", "+mine\r\n");
    fake_node_answer(node, "GET", "$1\r\n1\r\n");
}

static void fake_teardown(void)
{
    fake_node_stop(node);
}

static const char *const odd[] = {
    "-ERR unknown command\r\n",
    "-NOPERM this user has no permissions\r\n",
    "*0\r\n",
    "*1\r\n$-1\r\n",
    "$-1\r\n",
    ":7\r\n",
    "*1\r\n*0\r\n",
    "*1\r\n*1\r\n$6\r\nmy.own\r\n",
    "*1\r\n*6\r\n$6\r\nmy.own\r\n+x\r\n*0\r\n:1\r\n:1\r\n:1\r\n",
    "*1\r\n*6\r\n$6\r\nmy.own\r\n:-2\r\n*0\r\n:-7\r\n:9999999\r\n:0\r\n",
    "*1\r\n*7\r\n$6\r\nmy.own\r\n:-2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n",
    "*2\r\n$-1\r\n$-1\r\n",
    "%1\r\n+a\r\n+b\r\n",
};

START_TEST(test_odd_descriptions)
{
    fake_node_answer(node, "COMMAND INFO", odd[_i]);
    fake_node_answer(node, "COMMAND GETKEYS", "-ERR The command has no key arguments\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "1", "GET a");
    EXPECT(c, "mine", "MY.OWN a");
    EXPECT(c, "mine", "MY.OWN b");
    EXPECT(c, "1", "GET b");
    ck_assert_int_eq(fake_node_seen(node, "COMMAND INFO"), 1);
    redisFree(c);
}
END_TEST

/* The connection with the question ends, the question is asked again. */
START_TEST(test_the_link_of_the_question_is_lost)
{
    static const enum fake_action ends[] = {FAKE_CLOSE, FAKE_RESET};
    fake_node_on(
        node, "COMMAND INFO",
        (struct fake_rule){.action = ends[_i], .reply = "*1\r\n*7\r\n$6\r\nmy", .times = 2});
    fake_node_answer(
        node, "COMMAND INFO",
        "*1\r\n*7\r\n$6\r\nmy.own\r\n:-2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    redisAppendCommand(c, "GET a");
    redisAppendCommand(c, "MY.OWN a");
    redisAppendCommand(c, "GET b");
    EXPECT_NEXT(c, "1");
    EXPECT_NEXT(c, "mine");
    EXPECT_NEXT(c, "1");
    ck_assert_int_eq(fake_node_seen(node, "COMMAND INFO"), 3);
    redisFree(c);
}
END_TEST

/* It is given up in the end, and the command is said as it is. */
START_TEST(test_the_link_of_the_question_is_always_lost)
{
    fake_node_on(node, "COMMAND INFO", (struct fake_rule){.action = FAKE_CLOSE, .reply = ""});
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "mine", "MY.OWN a");
    EXPECT(c, "mine", "MY.OWN a");
    EXPECT(c, "1", "GET a");
    redisFree(c);
}
END_TEST

START_TEST(test_the_question_is_never_answered)
{
    setenv("REDISROUTE_CONNECT_TIMEOUT", "100ms", 1);
    fake_node_on(node, "COMMAND INFO", (struct fake_rule){.action = FAKE_SILENCE});
    redisContext *c = connect_port(fake_node_port(node));
    EXPECT(c, "mine", "MY.OWN a");
    EXPECT(c, "1", "GET a");
    redisFree(c);
}
END_TEST

/* What was accepted is sent, though the context is closed while it is being asked about. */
START_TEST(test_closed_while_asking)
{
    fake_node_answer(node, "COMMAND INFO", "*1\r\n$-1\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    int done = 0;
    EXPECT(c, "1", "GET a");
    redisAppendCommand(c, "MY.OWN a");
    while (!done)
        redisBufferWrite(c, &done);
    redisFree(c);
    UNTIL(fake_node_seen(node, "MY.OWN") == 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("module");
    TCase *same = suite_case(suite, "same", setup, teardown);
    TCase *how = suite_case(suite, "how", setup, teardown);
    TCase *strange = suite_case(suite, "odd", NULL, NULL);
    tcase_add_test(same, test_one_at_a_time);
    tcase_add_test(same, test_pipelined);
    tcase_add_loop_test(same, test_asynchronous, 0, LOOP_KINDS);
    tcase_add_test(how, test_it_is_looked_up_once);
    tcase_add_test(how, test_what_nobody_knows_is_not_asked_each_time);
    tcase_add_test(how, test_no_redirection_is_needed);
    tcase_add_test(how, test_names_without_end);
    tcase_add_test(how, test_odd_names);
    tcase_add_test(how, test_what_is_refused);
    tcase_add_test(how, test_keys_of_several_slots);
    tcase_add_test(how, test_inside_a_transaction);
    tcase_add_test(how, test_with_resp3);
    tcase_add_test(how, test_reads_go_to_replicas);
    tcase_add_test(how, test_a_slot_moves);
    tcase_add_test(how, test_mirror);
    tcase_add_test(how, test_the_first_node_is_dead);
    tcase_add_checked_fixture(strange, fake_setup, fake_teardown);
    tcase_add_loop_test(strange, test_odd_descriptions, 0, (int)(sizeof odd / sizeof *odd));
    tcase_add_loop_test(strange, test_the_link_of_the_question_is_lost, 0, 2);
    tcase_add_test(strange, test_the_link_of_the_question_is_always_lost);
    tcase_add_test(strange, test_the_question_is_never_answered);
    tcase_add_test(strange, test_closed_while_asking);
    tcase_add_test(strange, test_a_look_up_does_not_block_the_loop);
    return suite_run(suite);
}
