/* What servers may answer instead of an answer: redirects that loop or lead nowhere, half replies,
 * silence, garbage, replies in pieces. Three scripted nodes share the slots; each test says what
 * they do. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/port.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { NODES = 3, THIRD = CLUSTER_SLOTS / NODES + 1, TEXTS = 64 };
enum { LONGEST_REDIRECT = 32, TOPOLOGY_CUTS = 35 };

#define FAILOVER_TIMEOUT "5s"

/* Set up by each test (Check forks, and threads do not survive that). */
static struct fake_node *nodes[NODES];
static char *slots;

/* A node may be sending a reply still when its test ends. */
static void *kept;

static void *keep(void *memory)
{
    MUST(memory && !kept);
    return kept = memory;
}

static void setup(void)
{
    /* Long enough for what passes, and what never passes ends soon. */
    setenv("REDISROUTE_FAILOVER_TIMEOUT", FAILOVER_TIMEOUT, 1);
    struct fake_range ranges[NODES];
    for (int i = 0; i < NODES; i++) {
        nodes[i] = fake_node_start();
        ranges[i] =
            (struct fake_range){.first = i * THIRD,
                                .last = i == NODES - 1 ? CLUSTER_SLOTS - 1 : (i + 1) * THIRD - 1,
                                .port = fake_node_port(nodes[i])};
    }
    slots = fake_slots_reply(ranges, NODES);
    for (int i = 0; i < NODES; i++) {
        fake_node_slots(nodes[i], slots);
        fake_node_answer(nodes[i], "ECHO", "+echo\r\n");
    }
}

static void teardown(void)
{
    for (int i = 0; i < NODES; i++)
        fake_node_stop(nodes[i]);
    free(slots);
    free(kept);
}

static void *release_later(void *node)
{
    usleep(2500 * 1000);
    fake_node_release(node);
    return NULL;
}

static redisContext *connect_first(void)
{
    return connect_port(fake_node_port(nodes[0]));
}

/* A key of that node's third, the same one each time. */
static const char *key_of(int node)
{
    static char keys[NODES][16];
    for (int i = 0; !keys[node][0]; i++) {
        char key[16];
        snprintf(key, sizeof key, "key:%d", i);
        if (cluster_slot(key) / THIRD == node)
            strcpy(keys[node], key);
    }
    return keys[node];
}

/* Reply texts live as long as the test. */
static const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *text(const char *format, ...)
{
    static char texts[TEXTS][256];
    static int used;
    va_list args;
    MUST(used < TEXTS);
    va_start(args, format);
    vsnprintf(texts[used], sizeof *texts, format, args);
    va_end(args);
    return texts[used++];
}

static const char *redirect(const char *kind, const char *key, int node)
{
    return text("-%s %d 127.0.0.1:%d\r\n", kind, cluster_slot(key), fake_node_port(nodes[node]));
}

static void on(int node, const char *command, enum fake_action action, const char *reply, int times)
{
    fake_node_on(nodes[node], command,
                 (struct fake_rule){.action = action, .reply = reply, .times = times});
}

/* The session has to be of use afterwards, whatever happened. */
static void expect_usable(redisContext *c)
{
    ck_assert_int_eq(c->err, 0);
    for (int i = 0; i < NODES; i++)
        fake_node_answer(nodes[i], "EXISTS", ":1\r\n");
    for (int i = 0; i < NODES; i++)
        EXPECT(c, "1", "EXISTS %s", key_of(i));
}

/* --- MOVED --- */

START_TEST(test_moved_is_followed_and_remembered)
{
    const char *key = key_of(0);
    fake_node_answer(nodes[0], "GET", redirect("MOVED", key, 2));
    fake_node_answer(nodes[2], "GET", "$1\r\nv\r\n");
    redisContext *c = connect_first();
    EXPECT(c, "v", "GET %s", key);
    ck_assert_int_eq(fake_node_seen(nodes[0], "GET"), 1);
    ck_assert_int_eq(fake_node_seen(nodes[2], "GET"), 1);
    ck_assert_int_eq(fake_node_seen(nodes[2], "ASKING"), 0);
    redisFree(c);
}
END_TEST

START_TEST(test_moved_without_a_host_means_the_same_host)
{
    const char *key = key_of(1);
    fake_node_answer(nodes[1], "GET",
                     text("-MOVED %d :%d\r\n", cluster_slot(key), fake_node_port(nodes[2])));
    fake_node_answer(nodes[2], "GET", "$1\r\nv\r\n");
    redisContext *c = connect_first();
    EXPECT(c, "v", "GET %s", key);
    redisFree(c);
}
END_TEST

START_TEST(test_moved_in_a_loop_ends_in_an_error)
{
    const char *key = key_of(0);
    for (int i = 0; i < NODES; i++)
        fake_node_answer(nodes[i], "GET", redirect("MOVED", key, (i + 1) % NODES));
    redisContext *c = connect_first();
    int64_t start = now_ms();
    EXPECT_ERROR(c, "", "GET %s", key);
    ck_assert_int_lt(now_ms() - start, 40000);
    int seen = 0;
    for (int i = 0; i < NODES; i++)
        seen += fake_node_seen(nodes[i], "GET");
    ck_assert_int_ge(seen, 2);
    ck_assert_int_le(seen, 100);
    expect_usable(c);
    redisFree(c);
}
END_TEST

START_TEST(test_moved_to_the_node_just_asked_ends_in_an_error)
{
    const char *key = key_of(0);
    fake_node_answer(nodes[0], "GET", redirect("MOVED", key, 0));
    redisContext *c = connect_first();
    EXPECT_ERROR(c, "", "GET %s", key);
    ck_assert_int_le(fake_node_seen(nodes[0], "GET"), 100);
    expect_usable(c);
    redisFree(c);
}
END_TEST

START_TEST(test_moved_to_where_nobody_listens)
{
    const char *key = key_of(0);
    fake_node_answer(nodes[0], "GET",
                     text("-MOVED %d 127.0.0.1:%d\r\n", cluster_slot(key), port_free()));
    redisContext *c = connect_first();
    EXPECT_ERROR(c, "", "GET %s", key);
    expect_usable(c);
    redisFree(c);
}
END_TEST

static const char *const broken_redirects[] = {
    "-MOVED\r\n",
    "-MOVED \r\n",
    "-MOVED 5\r\n",
    "-MOVED 5 \r\n",
    "-MOVED 5 127.0.0.1\r\n",
    "-MOVED 5 127.0.0.1:\r\n",
    "-MOVED 5 127.0.0.1:99999\r\n",
    "-MOVED 5 127.0.0.1:-7\r\n",
    "-MOVED 5 127.0.0.1:12x\r\n",
    "-MOVED 99999 127.0.0.1:7000\r\n",
    "-MOVED -1 127.0.0.1:7000\r\n",
    "-MOVED x y:z\r\n",
    "-MOVED 5 :\r\n",
    "-ASK\r\n",
    "-ASK 5\r\n",
    "-ASK 5 127.0.0.1\r\n",
    "-ASK 5 127.0.0.1:0\r\n",
    "-ASK 99999999999999999999 127.0.0.1:1\r\n",
};

START_TEST(test_a_broken_redirect_ends_in_an_error)
{
    fake_node_answer(nodes[0], "GET", broken_redirects[_i]);
    redisContext *c = connect_first();
    EXPECT_ERROR(c, "", "GET %s", key_of(0));
    ck_assert_int_le(fake_node_seen(nodes[0], "GET"), 100);
    expect_usable(c);
    redisFree(c);
}
END_TEST

/* The commands of one key wait behind its redirect and arrive in the order of issue. */
START_TEST(test_a_pipeline_keeps_the_order_of_a_key_through_moved)
{
    enum { DEPTH = 50 };
    const char *key = key_of(0);
    char *expected = NULL, *log;
    size_t length;
    FILE *out = open_memstream(&expected, &length);
    fake_node_answer(nodes[0], "SET", redirect("MOVED", key, 1));
    fake_node_answer(nodes[1], "SET", "+OK\r\n");
    redisContext *c = connect_first();
    for (int i = 0; i < DEPTH; i++) {
        redisAppendCommand(c, "SET %s %d", key, i);
        fprintf(out, "SET %s %d\n", key, i);
    }
    for (int i = 0; i < DEPTH; i++)
        EXPECT_NEXT(c, "OK");
    fclose(out);
    log = fake_node_log(nodes[1]);
    ck_assert_msg(strstr(log, expected) != NULL, "the new owner saw:\n%s", log);
    free(log);
    free(expected);
    redisFree(c);
}
END_TEST

/* --- ASK --- */

START_TEST(test_ask_is_followed_with_asking_and_not_remembered)
{
    const char *key = key_of(0);
    on(0, "GET", FAKE_ANSWER, redirect("ASK", key, 1), 1);
    on(0, "GET", FAKE_ANSWER, "$3\r\nold\r\n", 0);
    fake_node_answer(nodes[1], "GET", "$3\r\nnew\r\n");
    redisContext *c = connect_first();
    EXPECT(c, "new", "GET %s", key);
    EXPECT(c, "old", "GET %s", key);
    char *log = fake_node_log(nodes[1]);
    ck_assert_ptr_nonnull(strstr(log, text("ASKING\nGET %s\n", key)));
    ck_assert_int_eq(fake_node_seen(nodes[1], "GET"), 1);
    free(log);
    redisFree(c);
}
END_TEST

START_TEST(test_every_asked_command_of_a_pipeline_has_an_asking_of_its_own)
{
    enum { DEPTH = 20 };
    const char *key = key_of(0);
    const char *at;
    fake_node_answer(nodes[0], "SET", redirect("ASK", key, 1));
    fake_node_answer(nodes[1], "SET", "+OK\r\n");
    redisContext *c = connect_first();
    for (int i = 0; i < DEPTH; i++)
        redisAppendCommand(c, "SET %s %d", key, i);
    for (int i = 0; i < DEPTH; i++)
        EXPECT_NEXT(c, "OK");
    char *log = fake_node_log(nodes[1]);
    at = log;
    for (int i = 0; i < DEPTH; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "ASKING\nSET %s %d\n", key, i);
        at = strstr(at, expected);
        ck_assert_msg(at != NULL, "no %s in order in:\n%s", expected, log);
    }
    ck_assert_int_eq(fake_node_seen(nodes[1], "SET"), DEPTH);
    free(log);
    redisFree(c);
}
END_TEST

START_TEST(test_ask_to_a_node_outside_the_cluster)
{
    struct fake_node *fourth = fake_node_start();
    const char *key = key_of(0);
    fake_node_answer(nodes[0], "GET",
                     text("-ASK %d 127.0.0.1:%d\r\n", cluster_slot(key), fake_node_port(fourth)));
    fake_node_answer(fourth, "GET", "$1\r\nv\r\n");
    redisContext *c = connect_first();
    EXPECT(c, "v", "GET %s", key);
    ck_assert_int_eq(fake_node_seen(fourth, "ASKING"), 1);
    redisFree(c);
    fake_node_stop(fourth);
}
END_TEST

START_TEST(test_ask_in_a_loop_ends_in_an_error)
{
    const char *key = key_of(0);
    fake_node_answer(nodes[0], "GET", redirect("ASK", key, 1));
    fake_node_answer(nodes[1], "GET", redirect("ASK", key, 0));
    redisContext *c = connect_first();
    EXPECT_ERROR(c, "", "GET %s", key);
    ck_assert_int_le(fake_node_seen(nodes[0], "GET") + fake_node_seen(nodes[1], "GET"), 100);
    expect_usable(c);
    redisFree(c);
}
END_TEST

/* --- wait and try again --- */

static const struct {
    const char *reply;
    int times;
} passing[] = {
    {"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", 3},
    {"-CLUSTERDOWN The cluster is down\r\n", 3},
    {"-CLUSTERDOWN Hash slot not served\r\n", 3},
    {"-LOADING Redis is loading the dataset in memory\r\n", 3},
    {"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n", 3},
};

START_TEST(test_trouble_that_passes_is_waited_out)
{
    on(0, "SET", FAKE_ANSWER, passing[_i].reply, passing[_i].times);
    fake_node_answer(nodes[0], "SET", "+OK\r\n");
    fake_node_answer(nodes[1], "SET", "+OK\r\n");
    redisContext *c = connect_first();
    EXPECT(c, "OK", "SET %s v", key_of(0));
    ck_assert_int_eq(fake_node_seen(nodes[0], "SET"), passing[_i].times + 1);
    EXPECT(c, "OK", "SET %s v", key_of(1));
    redisFree(c);
}
END_TEST

/* Without a pause, a client uses up its tries in a few round trips. */
START_TEST(test_retries_are_paced)
{
    fake_node_answer(nodes[0], "GET", "-TRYAGAIN Multiple keys request\r\n");
    redisContext *c = connect_first();
    redisSetTimeout(c, (struct timeval){.tv_sec = 2});
    redisReply *reply = redisCommand(c, "GET %s", key_of(0));
    int seen = fake_node_seen(nodes[0], "GET");
    ck_assert_int_ge(seen, 3);
    ck_assert_int_le(seen, 300);
    if (reply)
        freeReplyObject(reply);
    redisFree(c);
}
END_TEST

START_TEST(test_readonly_from_a_supposed_master_leads_to_the_new_one)
{
    struct fake_range after[] = {
        {.first = 0, .last = THIRD - 1, .port = fake_node_port(nodes[2])},
        {.first = THIRD, .last = CLUSTER_SLOTS - 1, .port = fake_node_port(nodes[1])}};
    char *new_slots = keep(fake_slots_reply(after, 2));
    fake_node_answer(nodes[0], "SET", "-READONLY You can't write against a read only replica.\r\n");
    fake_node_answer(nodes[2], "SET", "+OK\r\n");
    fake_node_answer(nodes[0], "GET", "$1\r\nv\r\n");
    redisContext *c = connect_first();
    EXPECT(c, "v", "GET %s", key_of(0)); /* by now the old topology is known */
    for (int i = 0; i < NODES; i++)
        fake_node_slots(nodes[i], new_slots);
    EXPECT(c, "OK", "SET %s v", key_of(0));
    redisFree(c);
}
END_TEST

START_TEST(test_other_errors_are_passed_on_word_for_word)
{
    fake_node_answer(nodes[0], "GET", "-MYERR some words: 1, 2, MOVED 3\r\n");
    fake_node_answer(nodes[1], "GET", "-MOVEDX 5 127.0.0.1:1\r\n");
    fake_node_answer(nodes[2], "GET", "-\r\n");
    redisContext *c = connect_first();
    EXPECT(c, "-MYERR some words: 1, 2, MOVED 3", "GET %s", key_of(0));
    EXPECT(c, "-MOVEDX 5 127.0.0.1:1", "GET %s", key_of(1));
    EXPECT(c, "-", "GET %s", key_of(2));
    ck_assert_int_eq(fake_node_seen(nodes[0], "GET"), 1);
    redisFree(c);
}
END_TEST

/* --- connections that break in the middle --- */

static const struct {
    enum fake_action action;
    const char *reply;
} breaking[] = {
    {FAKE_CLOSE, ""},
    {FAKE_CLOSE, "$5\r\nhel"},
    {FAKE_CLOSE, "*2\r\n$1\r\na\r\n"},
    {FAKE_CLOSE, "-MOV"},
    {FAKE_CLOSE, "+OK\r"},
    {FAKE_RESET, ""},
    {FAKE_RESET, "$5\r\nhel"},
    {FAKE_ANSWER, "?what\r\n"},
    {FAKE_ANSWER, "HTTP/1.1 400 Bad Request\r\n"},
    {FAKE_ANSWER, "$-5\r\n"},
    {FAKE_ANSWER, "$x\r\n"},
    {FAKE_ANSWER, "*-2\r\n"},
    {FAKE_ANSWER, "$99999999999999999999\r\n"},
    {FAKE_ANSWER, "*99999999999999999999\r\n"},
    {FAKE_ANSWER, ":12x\r\n"},
    {FAKE_ANSWER, "\r\n"},
};

/* A read may be repeated, and is. Garbage says nothing about what is behind it: an error will do.
 */
START_TEST(test_a_read_in_flight_is_repeated)
{
    bool is_garbage = breaking[_i].action == FAKE_ANSWER;
    on(0, "GET", breaking[_i].action, breaking[_i].reply, 1);
    on(0, "GET", FAKE_ANSWER, "$5\r\nhello\r\n", 0);
    redisContext *c = connect_first();
    redisReply *reply = redisCommand(c, "GET %s", key_of(0));
    ck_assert_msg(reply != NULL, "%s", c->errstr);
    if (reply->type == REDIS_REPLY_ERROR && is_garbage)
        ck_assert_ptr_nonnull(strstr(reply->str, "redisroute:"));
    else
        EXPECT_REPLY(reply, "hello");
    freeReplyObject(reply);
    expect_usable(c);
    redisFree(c);
}
END_TEST

/* A write that may have been executed is never sent again: its fate is unknown. */
START_TEST(test_a_write_in_flight_is_reported_and_not_repeated)
{
    on(0, "SET", breaking[_i].action, breaking[_i].reply, 1);
    on(0, "SET", FAKE_ANSWER, "+OK\r\n", 0);
    redisContext *c = connect_first();
    EXPECT_ERROR(c, "redisroute:", "SET %s v", key_of(0));
    ck_assert_int_eq(fake_node_seen(nodes[0], "SET"), 1);
    EXPECT(c, "OK", "SET %s v", key_of(0));
    expect_usable(c);
    redisFree(c);
}
END_TEST

START_TEST(test_a_write_of_unknown_fate_is_unreachable)
{
    on(1, "INCR", FAKE_RESET, "", 1);
    redisContext *c = connect_first();
    redisReply *reply = redisCommand(c, "INCR %s", key_of(1));
    ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
    ck_assert_msg(!strncmp(reply->str, "UNREACHABLE redisroute: ", 24), "%s", reply->str);
    freeReplyObject(reply);
    expect_usable(c);
    redisFree(c);
}
END_TEST

/* A server that was spoken to for a while acknowledges late, and what it executed is not acknowledged
 * when it resets the connection. */
START_TEST(test_a_write_before_a_reset_is_sent_once)
{
    static const int pipelines[] = {1, 2, 5};
    int count = pipelines[_i];
    redisContext *c = connect_first();
    int before;

    fake_node_answer(nodes[1], "GET", "$-1\r\n");
    for (int i = 0; i < 50; i++)
        freeReplyObject(redisCommand(c, "GET %s", key_of(1)));
    on(1, "INCR", FAKE_ANSWER, ":1\r\n", 1);
    freeReplyObject(redisCommand(c, "INCR %s", key_of(1)));
    before = fake_node_seen(nodes[1], "INCR");
    on(1, "INCR", FAKE_RESET, "", 1);
    for (int i = 0; i < count; i++)
        redisAppendCommand(c, "INCR %s", key_of(1));
    for (int i = 0; i < count; i++) {
        redisReply *reply = NULL;

        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
        ck_assert_msg(!strncmp(reply->str, "UNREACHABLE redisroute: ", 24), "%s", reply->str);
        freeReplyObject(reply);
    }
    ck_assert_int_eq(fake_node_seen(nodes[1], "INCR") - before, 1);
    expect_usable(c);
    redisFree(c);
}
END_TEST

/* Only the shard that broke has errors; the replies of the others stay in their places. */
START_TEST(test_a_break_in_a_pipeline_costs_only_its_shard)
{
    for (int i = 0; i < NODES; i++)
        if (i != 1)
            fake_node_answer(nodes[i], "INCR", text(":%d\r\n", i));
    on(1, "INCR", FAKE_ANSWER, ":1\r\n", 2);
    on(1, "INCR", FAKE_CLOSE, "", 1);
    on(1, "INCR", FAKE_ANSWER, ":1\r\n", 0);
    redisContext *c = connect_first();
    for (int round = 0; round < 6; round++)
        for (int i = 0; i < NODES; i++)
            redisAppendCommand(c, "INCR %s", key_of(i));
    int errors = 0;
    for (int round = 0; round < 6; round++) {
        EXPECT_NEXT(c, "0");
        redisReply *reply = NULL;
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        if (reply->type == REDIS_REPLY_ERROR)
            errors++;
        else
            EXPECT_REPLY(reply, "1");
        ck_assert(round >= 2 || reply->type == REDIS_REPLY_INTEGER);
        freeReplyObject(reply);
        EXPECT_NEXT(c, "2");
    }
    ck_assert_int_ge(errors, 1);
    expect_usable(c);
    redisFree(c);
}
END_TEST

START_TEST(test_a_node_that_always_breaks_ends_in_an_error)
{
    on(0, "GET", FAKE_CLOSE, "$5\r\nhel", 0);
    redisContext *c = connect_first();
    redisSetTimeout(c, (struct timeval){.tv_sec = 60});
    int64_t start = now_ms();
    EXPECT_ERROR(c, "redisroute:", "GET %s", key_of(0));
    ck_assert_int_lt(now_ms() - start, 45000);
    ck_assert_int_le(fake_node_seen(nodes[0], "GET"), 500);
    expect_usable(c);
    redisFree(c);
}
END_TEST

/* After a second of silence the library looks what is wrong; the program's time limit stays its own. */
START_TEST(test_a_time_limit_of_more_than_a_second_ends_a_silence)
{
    const char *key = key_of(0);
    on(0, "GET", FAKE_ANSWER, "$1\r\nv\r\n", 2);
    on(0, "GET", FAKE_SILENCE, "", 0);
    redisContext *c = connect_first();
    redisSetTimeout(c, (struct timeval){.tv_sec = 1, .tv_usec = 700000});
    EXPECT(c, "v", "GET %s", key);
    EXPECT(c, "v", "GET %s", key);
    int64_t start = now_ms();
    ck_assert_ptr_null(redisCommand(c, "GET %s", key));
    int64_t took = now_ms() - start;
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_msg(took >= 1690 && took < 2600, "took %lld ms", (long long)took);
    redisFree(c);
}
END_TEST

START_TEST(test_a_silence_without_a_time_limit_is_waited_out)
{
    const char *key = key_of(0);
    on(0, "GET", FAKE_ANSWER, "$1\r\nv\r\n", 2);
    on(0, "GET", FAKE_RELEASE_LATER, "$4\r\nlate\r\n", 1);
    redisContext *c = connect_first();
    pthread_t releaser;
    EXPECT(c, "v", "GET %s", key);
    EXPECT(c, "v", "GET %s", key);
    MUST(!pthread_create(&releaser, NULL, release_later, nodes[0]));
    EXPECT(c, "late", "GET %s", key);
    pthread_join(releaser, NULL);
    redisFree(c);
}
END_TEST

START_TEST(test_idle_connections_that_break_go_unnoticed)
{
    for (int i = 0; i < NODES; i++)
        fake_node_answer(nodes[i], "SET", "+OK\r\n");
    redisContext *c = connect_first();
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < NODES; i++)
            EXPECT(c, "OK", "SET %s v", key_of(i));
        for (int i = 0; i < NODES; i++)
            fake_node_reset_all(nodes[i]);
    }
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
}
END_TEST

/* A server that says something nobody asked for: it must not become the reply to the next. */
START_TEST(test_a_reply_too_many_reaches_nobody)
{
    on(0, "GET", FAKE_ANSWER, "$1\r\na\r\n$5\r\nextra\r\n", 1);
    on(0, "GET", FAKE_ANSWER, "$1\r\nb\r\n", 0);
    redisContext *c = connect_first();
    EXPECT(c, "a", "GET %s", key_of(0));
    redisReply *reply = redisCommand(c, "GET %s", key_of(0));
    ck_assert_ptr_nonnull(reply);
    ck_assert(reply->type == REDIS_REPLY_ERROR || !strcmp(reply->str, "b"));
    freeReplyObject(reply);
    redisFree(c);
}
END_TEST

/* --- replies in pieces --- */

static const struct {
    const char *reply, *expected;
} whole[] = {
    {"+OK\r\n", "OK"},
    {":-12345\r\n", "-12345"},
    {"$-1\r\n", "(nil)"},
    {"$0\r\n\r\n", ""},
    {"$12\r\nhello\r\nworld\r\n", "hello\r\nworld"},
    {"-WRONGTYPE no\r\n", "-WRONGTYPE no"},
    {"*0\r\n", ""},
    {"*-1\r\n", "(nil)"},
    {"*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n+x\r\n", "a\n1\n(nil)\nx"},
};

START_TEST(test_a_reply_split_at_every_byte)
{
    int length = (int)strlen(whole[_i].reply);
    redisContext *c = connect_first();
    for (int cut = 1; cut < length; cut++) {
        fake_node_on(
            nodes[0], "GET",
            (struct fake_rule){
                .action = FAKE_ANSWER_SPLIT, .reply = whole[_i].reply, .split = cut, .times = 1});
        EXPECT(c, whole[_i].expected, "GET %s", key_of(0));
    }
    on(0, "GET", FAKE_ANSWER_BYTES, whole[_i].reply, 0);
    for (int i = 0; i < 3; i++)
        redisAppendCommand(c, "GET %s", key_of(0));
    for (int i = 0; i < 3; i++)
        EXPECT_NEXT(c, whole[_i].expected);
    redisFree(c);
}
END_TEST

/* Each cut is a test of its own: what a process has learned from one redirect stays with it. */
START_TEST(test_a_redirect_split_at_every_byte)
{
    int cut = _i / 2 + 1;
    const char *reply = redirect(_i % 2 ? "ASK" : "MOVED", key_of(0), 1);
    if (cut >= (int)strlen(reply))
        return;
    fake_node_on(
        nodes[0], "GET",
        (struct fake_rule){.action = FAKE_ANSWER_SPLIT, .reply = reply, .split = cut, .times = 1});
    fake_node_answer(nodes[1], "GET", "$1\r\nv\r\n");
    redisContext *c = connect_first();
    EXPECT(c, "v", "GET %s", key_of(0));
    redisFree(c);
}
END_TEST

START_TEST(test_a_topology_in_pieces)
{
    int cut = 1 + _i * 9;
    if (cut >= (int)strlen(slots))
        return;
    for (int i = 0; i < NODES; i++) {
        fake_node_on(nodes[i], "CLUSTER SLOTS",
                     (struct fake_rule){.action = FAKE_ANSWER_SPLIT, .reply = slots, .split = cut});
        fake_node_answer(nodes[i], "GET", text("+%d\r\n", i));
    }
    redisContext *c = connect_first();
    EXPECT(c, "0", "GET %s", key_of(0));
    EXPECT(c, "1", "GET %s", key_of(1));
    EXPECT(c, "2", "GET %s", key_of(2));
    redisFree(c);
}
END_TEST

/* --- order --- */

static void *release_backwards(void *arg)
{
    (void)arg;
    for (int i = NODES - 1; i >= 0; i--) {
        UNTIL(fake_node_seen(nodes[i], "GET") == 10);
        fake_node_release(nodes[i]);
    }
    return NULL;
}

/* The last shard answers first: the program still sees the order of issue. */
START_TEST(test_replies_of_different_speed_keep_their_order)
{
    pthread_t releaser;
    for (int i = 0; i < NODES; i++)
        on(i, "GET", FAKE_RELEASE_LATER, text("+%d\r\n", i), 0);
    redisContext *c = connect_first();
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < NODES; i++)
            redisAppendCommand(c, "GET %s", key_of(i));
    pthread_create(&releaser, NULL, release_backwards, NULL);
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < NODES; i++) {
            char expected[8];
            snprintf(expected, sizeof expected, "%d", i);
            EXPECT_NEXT(c, expected);
        }
    pthread_join(releaser, NULL);
    redisFree(c);
}
END_TEST

/* --- replies that are too much --- */

START_TEST(test_arrays_nested_deeper_than_hiredis_reads)
{
    on(0, "GET", FAKE_ANSWER,
       "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 0);
    redisContext *c = connect_first();
    redisReply *reply = redisCommand(c, "GET %s", key_of(0));
#if HIREDIS_MAJOR == 0
    ck_assert_ptr_null(reply);
    ck_assert_int_eq(c->err, REDIS_ERR_PROTOCOL);
#else
    /* 1.x reads them. */
    const redisReply *inner = reply;
    int depth = 0;
    for (; inner && inner->type == REDIS_REPLY_ARRAY; inner = inner->element[0])
        depth++;
    ck_assert_int_eq(depth, 12);
    ck_assert(inner->type == REDIS_REPLY_INTEGER && inner->integer == 1);
    freeReplyObject(reply);
#endif
    redisFree(c);
}
END_TEST

START_TEST(test_arrays_nested_without_end)
{
    enum { DEPTH = 200000 };
    char *reply = keep(malloc(4 * DEPTH + 1));
    for (int i = 0; i < DEPTH; i++)
        memcpy(reply + 4 * i, "*1\r\n", 4);
    reply[4 * DEPTH] = '\0';
    on(0, "GET", FAKE_CLOSE, reply, 0);
    redisContext *c = connect_first();
    redisSetTimeout(c, (struct timeval){.tv_sec = 60});
    redisReply *got = redisCommand(c, "GET %s", key_of(0));
    ck_assert(!got || got->type == REDIS_REPLY_ERROR);
    if (got)
        freeReplyObject(got);
    redisFree(c);
}
END_TEST

/* hiredis lets its buffer grow by a megabyte at a time, and where realloc() copies, as under
 * sanitizers, that takes minutes. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { HUGE_REPLY = 64 << 20 };
#else
enum { HUGE_REPLY = 512 << 20 };
#endif

START_TEST(test_a_reply_as_big_as_a_server_gives)
{
    const size_t size = HUGE_REPLY;
    char *reply = keep(malloc(size + 32));
    int head = sprintf(reply, "$%zu\r\n", size);
    memset(reply + head, 'x', size);
    memcpy(reply + (size_t)head + size, "\r\n", 2);
    fake_node_on(nodes[0], "GET",
                 (struct fake_rule){.reply = reply, .length = (size_t)head + size + 2});
    redisContext *c = connect_first();
    redisReply *got = redisCommand(c, "GET %s", key_of(0));
    ck_assert_msg(got != NULL, "%s", c->errstr);
    ck_assert_int_eq(got->type, REDIS_REPLY_STRING);
    ck_assert_uint_eq((size_t)got->len, size);
    ck_assert(got->str[0] == 'x' && got->str[size - 1] == 'x');
    freeReplyObject(got);
    expect_usable(c);
    redisFree(c);
}
END_TEST

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tc = suite_case(suite, name, NULL, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    return tc;
}

static void add_redirects(Suite *suite)
{
    TCase *tc = add_case(suite, "redirects");
    tcase_add_test(tc, test_moved_is_followed_and_remembered);
    tcase_add_test(tc, test_moved_without_a_host_means_the_same_host);
    tcase_add_test(tc, test_moved_in_a_loop_ends_in_an_error);
    tcase_add_test(tc, test_moved_to_the_node_just_asked_ends_in_an_error);
    tcase_add_test(tc, test_moved_to_where_nobody_listens);
    tcase_add_loop_test(tc, test_a_broken_redirect_ends_in_an_error, 0, COUNT_OF(broken_redirects));
    tcase_add_test(tc, test_a_pipeline_keeps_the_order_of_a_key_through_moved);
    tcase_add_test(tc, test_ask_is_followed_with_asking_and_not_remembered);
    tcase_add_test(tc, test_every_asked_command_of_a_pipeline_has_an_asking_of_its_own);
    tcase_add_test(tc, test_ask_to_a_node_outside_the_cluster);
    tcase_add_test(tc, test_ask_in_a_loop_ends_in_an_error);
    tcase_add_loop_test(tc, test_trouble_that_passes_is_waited_out, 0, COUNT_OF(passing));
    tcase_add_test(tc, test_retries_are_paced);
    tcase_add_test(tc, test_readonly_from_a_supposed_master_leads_to_the_new_one);
    tcase_add_test(tc, test_other_errors_are_passed_on_word_for_word);
}

static void add_breaks(Suite *suite)
{
    TCase *tc = add_case(suite, "breaks");
    tcase_add_loop_test(tc, test_a_read_in_flight_is_repeated, 0, COUNT_OF(breaking));
    tcase_add_loop_test(tc, test_a_write_in_flight_is_reported_and_not_repeated, 0,
                        COUNT_OF(breaking));
    tcase_add_test(tc, test_a_write_of_unknown_fate_is_unreachable);
    tcase_add_loop_test(tc, test_a_write_before_a_reset_is_sent_once, 0, 3);
    tcase_add_test(tc, test_a_break_in_a_pipeline_costs_only_its_shard);
    tcase_add_test(tc, test_a_node_that_always_breaks_ends_in_an_error);
    tcase_add_test(tc, test_a_time_limit_of_more_than_a_second_ends_a_silence);
    tcase_add_test(tc, test_a_silence_without_a_time_limit_is_waited_out);
    tcase_add_test(tc, test_idle_connections_that_break_go_unnoticed);
    tcase_add_test(tc, test_a_reply_too_many_reaches_nobody);
}

static void add_pieces(Suite *suite)
{
    TCase *tc = add_case(suite, "pieces");
    tcase_add_loop_test(tc, test_a_reply_split_at_every_byte, 0, COUNT_OF(whole));
    tcase_add_loop_test(tc, test_a_redirect_split_at_every_byte, 0, 2 * LONGEST_REDIRECT);
    tcase_add_loop_test(tc, test_a_topology_in_pieces, 0, TOPOLOGY_CUTS);
    tcase_add_test(tc, test_replies_of_different_speed_keep_their_order);
    tcase_add_test(tc, test_arrays_nested_deeper_than_hiredis_reads);
    tcase_add_test(tc, test_arrays_nested_without_end);
    tcase_add_test(tc, test_a_reply_as_big_as_a_server_gives);
}

int main(void)
{
    Suite *suite = suite_create("redirect");
    add_redirects(suite);
    add_breaks(suite);
    add_pieces(suite);
    return suite_run(suite);
}
