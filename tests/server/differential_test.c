/* The same random stream of commands to one server, by a client of a few lines, and to a cluster
 * through the library: reply for reply equal. A failure names the seed to see it again. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/migrator.h"
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

static void setup(void)
{
    target_flush(TARGET_PLAIN);
    if (target_count() > TARGET_CLUSTER)
        target_flush(TARGET_CLUSTER);
    reference = wire_open(target_port(TARGET_PLAIN));
    ck_assert_ptr_nonnull(reference);
}

static void teardown(void)
{
    wire_close(reference);
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

static void next(struct pending *pending)
{
    pending->number = issued++;
    stream_next(&commands, &pending->command);
    const struct stream_command *command = &pending->command;
    ck_assert(wire_send_argv(reference, command->argc, command->argv, command->lengths));
    pending->expected = wire_receive(reference, &pending->expected_length);
    ck_assert_ptr_nonnull(pending->expected);
    /* hiredis makes one nil of both kinds. */
    if (!strcmp(pending->expected, "*-1\r\n"))
        memcpy(pending->expected, "$", 1);
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

START_TEST(test_one_at_a_time)
{
    struct pending pending;
    redisContext *c = connect_subject();
    stream_init(&commands, seed + (uint64_t)_i);
    for (int i = 0; i < COMMANDS; i++) {
        next(&pending);
        redisReply *reply = redisCommandArgv(c, pending.command.argc, pending.command.argv,
                                             pending.command.lengths);
        compare(&pending, reply);
        freeReplyObject(reply);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_pipelined)
{
    static struct pending pending[DEEPEST];
    redisContext *c = connect_subject();
    stream_init(&commands, seed + 1000 + (uint64_t)_i);
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

START_TEST(test_asynchronous)
{
    struct async_client client = {0};
    int target = target_count() > TARGET_CLUSTER ? TARGET_CLUSTER : TARGET_PLAIN;
    async_open(&client, loop_create(_i), target_port(target));
    if (target == TARGET_PLAIN)
        async_expect(&client, "OK", "SELECT 1");
    stream_init(&commands, seed + 2000 + (uint64_t)_i);
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
    tcase_add_loop_test(tc, test_pipelined, 0, 3);
    tcase_add_loop_test(tc, test_asynchronous, 0, LOOP_KINDS);
    if (target_count() > TARGET_CLUSTER)
        tcase_add_test(tc, test_one_at_a_time_while_slots_move);
    return suite_run(suite);
}
