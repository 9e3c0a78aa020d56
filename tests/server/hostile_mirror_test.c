/* redisroute-test: cases
 *
 * A mirror that is not well: what the application is answered is right, and comes as soon as
 * without a mirror; what is not mirrored is counted, by its cause; memory is bounded; and the
 * process ends in time. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/config_file.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/names.h"
#include "../support/server.h"
#include "../support/silent_host.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { WRITES = 2000, FLUSH_MS = 200, MARGIN_MS = 5000, QUEUE_BYTES = 16384 };

static const char slow_name[] = "slow.mirror.test"; /* takes long to look up */

/* --- mirrors --- */

struct mirror {
    const char *name;
    struct fake_rule rule;
    bool refuses;      /* nobody listens */
    bool silent;       /* the kernel answers to no SYN */
    bool is_full;      /* a real server: -OOM */
    bool is_slow;      /* a real server that is stopped */
    const char *cause; /* of the statistics, which there must be some of; null: any */
};

static const struct mirror mirrors[] = {
    {.name = "refuses", .refuses = true},
    {.name = "hangs in connect", .silent = true},
    {.name = "never answers", .rule = {.action = FAKE_SILENCE}, .cause = "dropped_full"},
    {.name = "garbage",
     .rule = {.action = FAKE_ANSWER, .reply = "HTTP/1.0 400 Bad Request\r\n\r\n"},
     .cause = "dropped_lost"},
    {.name = "moved to nowhere",
     .rule = {.action = FAKE_ANSWER, .reply = "-MOVED 1 127.0.0.1:1\r\n"}},
    {.name = "out of memory",
     .rule = {.action = FAKE_ANSWER,
              .reply = "-OOM command not allowed when used memory > 'maxmemory'.\r\n"},
     .cause = "refused"},
    {.name = "more answers than commands",
     .rule = {.action = FAKE_ANSWER, .reply = "+OK\r\n+OK\r\n+OK\r\n"}},
    {.name = "closes in the middle", .rule = {.action = FAKE_CLOSE, .reply = "$100\r\nhalf"}},
    {.name = "resets", .rule = {.action = FAKE_RESET, .reply = ""}},
    {.name = "answers byte by byte", .rule = {.action = FAKE_ANSWER_BYTES, .reply = "+OK\r\n"}},
    {.name = "really out of memory", .is_full = true, .cause = "refused"},
    {.name = "stopped", .is_slow = true, .cause = "dropped_full"},
};
enum { MIRRORS = sizeof mirrors / sizeof mirrors[0] };

static struct server *server;

static void setup(void)
{
    target_setup();
    server = server_start(&(struct server_options){0});
}

static void teardown(void)
{
    server_stop(server);
    target_teardown();
}

/* --- a program that writes --- */

struct outcome {
    int64_t p50_us, p99_us, ended_ms; /* from the last reply to the end of the process */
    long queued, sent, refused, dropped, of_cause;
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static long mirrored(const char *result)
{
    char text[65536], label[64];
    long sum = 0;

    snprintf(label, sizeof label, "redisroute_mirrored_total{result=\"%s", result);
    MUST(redisRouteStatsText(text, sizeof text) < sizeof text);
    for (const char *at = text; (at = strstr(at, label)); at++)
        sum += atol(strchr(at, '}') + 1);
    return sum;
}

static void write_all(int port, struct outcome *o)
{
    static int64_t took[WRITES];
    static redisContext *c; /* open, and known, when the process ends */

    c = connect_port(port);
    EXPECT(c, "OK", "SET hostile 0");
    for (int i = 0; i < WRITES; i++) {
        char expected[16];
        int64_t from = now_us();

        snprintf(expected, sizeof expected, "%d", i + 1);
        EXPECT(c, expected, "INCR hostile");
        took[i] = now_us() - from;
    }
    for (int i = 0; i < 100; i++)
        redisAppendCommand(c, "APPEND appended x");
    for (int i = 0; i < 100; i++) {
        redisReply *reply = NULL;

        MUST(redisGetReply(c, (void **)&reply) == REDIS_OK && reply->integer > 0);
        freeReplyObject(reply);
    }
    qsort(took, WRITES, sizeof took[0], compare);
    o->p50_us = took[WRITES / 2];
    o->p99_us = took[WRITES * 99 / 100];
}

/* In a process of its own, which ends by exit(). */
static struct outcome run(const char *target, const char *cause)
{
    struct outcome o = {0};
    int ends[2], status;
    int64_t done;
    pid_t child;

    MUST(pipe(ends) == 0);
    child = fork();
    if (child == 0) {
        char queue[16], flush[16];

        snprintf(queue, sizeof queue, "%d", QUEUE_BYTES);
        snprintf(flush, sizeof flush, "%dms", FLUSH_MS);
        setenv("REDISROUTE_MIRROR_QUEUE_BYTES", queue, 1);
        setenv("REDISROUTE_MIRROR_FLUSH_TIMEOUT", flush, 1);
        setenv("REDISROUTE_MIRROR_EXCLUDE_READ_COMMANDS", "true", 1);
        if (target)
            setenv("REDISROUTE_MIRROR", target, 1);
        write_all(target_port(TARGET_CLUSTER), &o);
        if (target) {
            UNTIL(!cause || mirrored(cause) > 0);
            o = (struct outcome){o.p50_us,
                                 o.p99_us,
                                 0,
                                 mirrored("queued"),
                                 mirrored("sent"),
                                 mirrored("refused"),
                                 mirrored("dropped"),
                                 cause ? mirrored(cause) : 0};
        }
        MUST(write(ends[1], &o, sizeof o) == sizeof o);
        exit(0);
    }
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], &o, sizeof o), sizeof o);
    done = now_ms();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    o.ended_ms = now_ms() - done;
    close(ends[0]);
    return o;
}

START_TEST(test_a_hostile_mirror)
{
    const struct mirror *m = &mirrors[_i];
    struct fake_node *node = fake_node_start();
    struct silent_host silent = {0};
    struct outcome without = run(NULL, NULL), with;
    int port = fake_node_port(node);
    char target[32];

    if (m->silent) {
        silent_host_start(&silent);
        port = silent.port;
    } else if (m->is_full || m->is_slow) {
        port = server_port(server);
    } else if (!m->refuses) {
        fake_node_on(node, "*", m->rule);
        fake_node_on(node, "INCR", m->rule);
        fake_node_on(node, "SET", m->rule);
        fake_node_on(node, "APPEND", m->rule);
    }
    if (m->refuses)
        fake_node_close_port(node);
    if (m->is_full)
        free(server_command(server, "CONFIG SET maxmemory 1"));
    if (m->is_slow)
        server_signal(server, SIGSTOP);
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    with = run(target, m->cause);
    if (m->is_slow)
        server_signal(server, SIGCONT);
    if (m->is_full)
        free(server_command(server, "CONFIG SET maxmemory 0"));
    /* Generous, since a loaded machine has a p99 of its own; but nobody waits for a mirror. */
    ck_assert_msg(with.p50_us < 4 * without.p50_us + 2000, "%s: p50 of %ld us, without %ld us",
                  m->name, (long)with.p50_us, (long)without.p50_us);
    ck_assert_msg(with.p99_us < 10 * without.p99_us + 50000, "%s: p99 of %ld us, without %ld us",
                  m->name, (long)with.p99_us, (long)without.p99_us);
    ck_assert_msg(with.ended_ms < FLUSH_MS + MARGIN_MS, "%s: took %ld ms to end", m->name,
                  (long)with.ended_ms);
    /* Whatever is neither sent nor dropped is still in a queue, or was dropped before it. */
    ck_assert_int_ge(with.queued + with.dropped, WRITES + 101);
    ck_assert_int_le(with.sent + with.refused, with.queued);
    if (m->cause)
        ck_assert_int_gt(with.of_cause, 0);
    if (m->silent)
        silent_host_stop(&silent);
    fake_node_stop(node);
}
END_TEST

/* --- its name --- */

static void configure(const char *policy)
{
    config_write("clusters:\n- name: main\n  endpoints: [127.0.0.1:%d]\n"
                 "- name: copy\n  endpoints: ['%s:%d']\n"
                 "listeners:\n- address: 127.0.0.9:6379\n  redis_proxy:\n"
                 "    settings: {op_timeout: 30s, read_policy: %s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main, "
                 "request_mirror_policy: [{cluster: copy}]}}\n",
                 target_port(TARGET_CLUSTER), slow_name, server_port(server), policy);
}

/* The background thread does all else meanwhile: it takes a new configuration, for one. */
START_TEST(test_a_name_that_is_looked_up_for_long)
{
    names_set(slow_name, "127.0.0.1");
    names_take_ms(600000);
    config_begin();
    configure("MASTER");
    redisContext *c = redisConnect("127.0.0.9", 6379);
    ck_assert_msg(c && c->err == 0, "cannot connect");
    EXPECT(c, "OK", "SET k v");
    UNTIL(names_asked() > 0);
    configure("PREFER_MASTER");
    UNTIL(config_log_says("version 2"));
    EXPECT(c, "v", "GET k");
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(names_asked(), 1); /* and it is asked once at a time */
    names_take_ms(0);
    redisFree(c);
    config_end();
    _exit(0);
}
END_TEST

START_TEST(test_a_name_that_is_looked_up)
{
    long before = server_calls(server, "append");
    names_set(slow_name, "127.0.0.1");
    names_take_ms(300);
    config_begin();
    configure("MASTER");
    redisContext *c = redisConnect("127.0.0.9", 6379);
    ck_assert_msg(c && c->err == 0, "cannot connect");
    for (int i = 0; i < 20; i++)
        freeReplyObject(redisCommand(c, "APPEND looked:up x"));
    UNTIL(server_calls(server, "append") == before + 20);
    redisFree(c);
    config_end();
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    return suite_case(suite, name, setup, teardown);
}

int main(void)
{
    Suite *suite = suite_create("hostile_mirror");
    TCase *tc = add_case(suite, "silent");

    tcase_add_loop_test(tc, test_a_hostile_mirror, 0, MIRRORS / 2);
    tc = add_case(suite, "loud");
    tcase_add_loop_test(tc, test_a_hostile_mirror, MIRRORS / 2, MIRRORS);
    tc = add_case(suite, "names");
    tcase_add_test(tc, test_a_name_that_is_looked_up_for_long);
    tcase_add_test(tc, test_a_name_that_is_looked_up);
    return suite_run(suite);
}
