/* The same random stream of commands to one server, by a client of a few lines, and to a cluster
 * through the library: reply for reply equal. A failure names the seed to see it again. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/migrator.h"
#include "../support/server.h"
#include "../support/stream.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/wire.h"

enum { COMMANDS = 6000, DEEPEST = 300 };

static uint64_t seed;

/* A command that waits for its reply, with what the plain server said to it. */
struct pending {
    int number;
    struct stream_command command;
    char *expected;
    size_t expected_length;
};

static struct wire *reference;
static struct stream commands;
static int issued;

/* Else a command that blocks for a millisecond is answered after a tenth of a second. */
static void look_often_at_the_clock(void)
{
    free(wire_command(reference, "CONFIG SET hz 500"));
    for (int i = 0; target_cluster() && i < cluster_size(target_cluster()); i++)
        free(cluster_command(target_cluster(), i, "CONFIG SET hz 500"));
}

static void setup(void)
{
    target_flush(TARGET_PLAIN);
    if (target_count() > TARGET_CLUSTER)
        target_flush(TARGET_CLUSTER);
    reference = wire_open(target_port(TARGET_PLAIN));
    ck_assert_ptr_nonnull(reference);
    look_often_at_the_clock();
}

static void teardown(void)
{
    wire_close(reference);
}

/* Keys of one connection on a cluster and a server: what is dialled is a listener, at the port of a
 * node. Each test is a process of its own, and reads the configuration with its first context. */
static struct server *other;
static char routes_path[64];

static void routed_setup(void)
{
    FILE *file;
    int fd;

    target_setup();
    other = server_start(&(struct server_options){.extra = "hz 500\n"});
    strcpy(routes_path, "/tmp/redisroute-routes-XXXXXX");
    fd = mkstemp(routes_path);
    MUST(fd != -1 && (file = fdopen(fd, "w")));
    fprintf(file,
            "clusters:\n- {name: main, endpoints: ['127.0.0.1:%d']}\n"
            "- {name: other, endpoints: ['127.0.0.1:%d']}\n"
            "listeners:\n- address: 127.0.0.1:%d\n  redis_proxy:\n"
            "    settings: {op_timeout: 30s}\n    prefix_routes:\n"
            "      routes: [{prefix: 'key:1', cluster: other}, {prefix: 'key:3', cluster: other}]\n"
            "      catch_all_route: {cluster: main}\n",
            target_port(TARGET_CLUSTER), server_port(other), target_port(TARGET_CLUSTER));
    MUST(fclose(file) == 0);
    setenv("REDISROUTE_CONFIG", routes_path, 1);
}

static void routed_teardown(void)
{
    unsetenv("REDISROUTE_CONFIG");
    unlink(routes_path);
    server_stop(other);
    target_teardown();
}

static void setup_routed(void)
{
    free(server_command(other, "FLUSHALL"));
    setup();
}

/* The other server has its share, whatever the stream did. */
static void teardown_routed(void)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    char *value;

    EXPECT(c, "OK", "SET key:1 shared");
    value = server_command(other, "GET key:1");
    ck_assert_str_eq(value, "shared");
    free(value);
    redisFree(c);
    teardown();
}

/* The reference gets its database to itself: without a cluster the second client uses another. */
static redisContext *connect_subject(void)
{
    if (target_count() > TARGET_CLUSTER)
        return connect_target(TARGET_CLUSTER);
    redisContext *c = connect_target(TARGET_PLAIN);
    EXPECT(c, "OK", "SELECT 1");
    return c;
}

static char *next_nil(const struct pending *pending, const char *from)
{
    size_t left = pending->expected_length - (size_t)(from - pending->expected);
    return memmem(from, left, "*-1\r\n", 5);
}

static void next(struct pending *pending)
{
    pending->number = issued++;
    stream_next(&commands, &pending->command);
    const struct stream_command *command = &pending->command;
    ck_assert(wire_send_argv(reference, command->argc, command->argv, command->lengths));
    pending->expected = wire_receive(reference, &pending->expected_length);
    ck_assert_ptr_nonnull(pending->expected);
    /* hiredis makes one nil of both kinds. */
    char *nil = pending->expected[0] == '*' ? pending->expected : NULL;
    while (nil && (nil = next_nil(pending, nil)))
        *nil = '$';
}

/* Also ends the pending command. */
static void compare(struct pending *pending, const redisReply *reply)
{
    size_t length;
    char *text = stream_command_text(&pending->command);
    ck_assert_msg(reply != NULL, "seed %llu, command %d, %s: no reply", (unsigned long long)seed,
                  pending->number, text);
    char *got = reply_resp(reply, &length);
    if (length != pending->expected_length || memcmp(got, pending->expected, length))
        ck_abort_msg("seed %llu, command %d, %s:\ngot      %.300s\nexpected %.300s",
                     (unsigned long long)seed, pending->number, text, got, pending->expected);
    free(text);
    free(got);
    free(pending->expected);
    stream_command_deinit(&pending->command);
}

static void run_one_at_a_time(void)
{
    struct pending pending;
    redisContext *c = connect_subject();
    for (int i = 0; i < COMMANDS; i++) {
        next(&pending);
        redisReply *reply = redisCommandArgv(c, pending.command.argc, pending.command.argv,
                                             pending.command.lengths);
        compare(&pending, reply);
        freeReplyObject(reply);
    }
    redisFree(c);
}

START_TEST(test_one_at_a_time)
{
    stream_init(&commands, seed + (uint64_t)_i);
    run_one_at_a_time();
}
END_TEST

START_TEST(test_one_at_a_time_in_one_slot)
{
    stream_init(&commands, seed + 4000);
    commands.is_one_slot = true;
    run_one_at_a_time();
}
END_TEST

static void run_pipelined(void)
{
    static struct pending pending[DEEPEST];
    redisContext *c = connect_subject();
    for (int done = 0; done < 3 * COMMANDS;) {
        int depth = 1 + (int)stream_random(&commands, DEEPEST);
        for (int i = 0; i < depth; i++) {
            next(&pending[i]);
            redisAppendCommandArgv(c, pending[i].command.argc, pending[i].command.argv,
                                   pending[i].command.lengths);
        }
        for (int i = 0; i < depth; i++, done++) {
            redisReply *reply = NULL;
            redisGetReply(c, (void **)&reply);
            compare(&pending[i], reply);
            freeReplyObject(reply);
        }
    }
    redisFree(c);
}

START_TEST(test_pipelined)
{
    stream_init(&commands, seed + 1000 + (uint64_t)_i);
    run_pipelined();
}
END_TEST

START_TEST(test_pipelined_in_one_slot)
{
    stream_init(&commands, seed + 5000);
    commands.is_one_slot = true;
    run_pipelined();
}
END_TEST

static int answered;

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
    struct pending *pending = arg;
    (void)ac;
    ck_assert_int_eq(pending->number, answered);
    answered++;
    compare(pending, reply);
    free(pending);
}

static void run_asynchronous(int kind)
{
    struct async_client client = {0};
    int target = target_count() > TARGET_CLUSTER ? TARGET_CLUSTER : TARGET_PLAIN;
    async_open(&client, loop_create(kind), target_port(target));
    if (target == TARGET_PLAIN)
        async_expect(&client, "OK", "SELECT 1");
    while (issued < COMMANDS) {
        for (int depth = (int)stream_random(&commands, DEEPEST); depth > 0; depth--) {
            struct pending *pending = malloc(sizeof *pending);
            MUST(pending);
            next(pending);
            redisAsyncCommandArgv(client.ac, on_reply, pending, pending->command.argc,
                                  pending->command.argv, pending->command.lengths);
        }
        int behind = (int)stream_random(&commands, DEEPEST);
        LOOP_UNTIL(client.loop, issued - answered <= behind);
    }
    LOOP_UNTIL(client.loop, answered == issued);
    async_close(&client);
    loop_destroy(client.loop);
}

START_TEST(test_asynchronous)
{
    stream_init(&commands, seed + 2000 + (uint64_t)_i);
    run_asynchronous(_i);
}
END_TEST

START_TEST(test_asynchronous_in_one_slot)
{
    stream_init(&commands, seed + 6000);
    commands.is_one_slot = true;
    run_asynchronous(0);
}
END_TEST

/* With slots moving under it, one command at a time: at greater depth rule 2 leaves some freedom.
 */
START_TEST(test_one_at_a_time_while_slots_move)
{
    enum { MOVING = 6, MOVES = 12, BATCH = 50 };
    int slots[MOVING];
    struct pending pending;
    for (int i = 0; i < MOVING; i++) {
        char tag[16];
        snprintf(tag, sizeof tag, "%s:%d", i % 2 ? "tag" : "key", i);
        slots[i] = cluster_slot(tag);
    }
    redisContext *c = connect_subject();
    stream_init(&commands, seed + 3000 + (uint64_t)_i);
    commands.is_moving = true;
    struct migrator *migrator = migrator_start(
        target_cluster(), &(struct migrator_options){
                              .slots = slots, .count = MOVING, .moves = MOVES, .patience_ms = 20});
    do {
        for (int i = 0; i < BATCH; i++) {
            next(&pending);
            redisReply *reply = redisCommandArgv(c, pending.command.argc, pending.command.argv,
                                                 pending.command.lengths);
            compare(&pending, reply);
            freeReplyObject(reply);
        }
    } while (migrator_tick(migrator));
    migrator_stop(migrator);
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("differential");
    TCase *tc = suite_case(suite, "streams", target_setup, target_teardown);
    seed = stream_seed();
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_one_at_a_time, 0, 2);
    tcase_add_test(tc, test_one_at_a_time_in_one_slot);
    tcase_add_loop_test(tc, test_pipelined, 0, 3);
    tcase_add_loop_test(tc, test_asynchronous, 0, LOOP_KINDS);
    tcase_add_test(tc, test_pipelined_in_one_slot);
    tcase_add_test(tc, test_asynchronous_in_one_slot);
    if (target_count() > TARGET_CLUSTER)
        tcase_add_test(tc, test_one_at_a_time_while_slots_move);
    if (target_count() == TARGET_CLUSTER)
        return suite_run(suite);

    tc = suite_case(suite, "routes", routed_setup, routed_teardown);
    tcase_add_checked_fixture(tc, setup_routed, teardown_routed);
    tcase_add_test(tc, test_one_at_a_time);
    tcase_add_test(tc, test_one_at_a_time_in_one_slot);
    tcase_add_test(tc, test_pipelined);
    tcase_add_test(tc, test_pipelined_in_one_slot);
    tcase_add_test(tc, test_asynchronous);
    return suite_run(suite);
}
