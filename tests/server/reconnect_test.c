/* redisroute-test: cases
 *
 * A server that has just come back is not stormed: what a process connects anew to one node passes
 * a token bucket, all of its sessions and its background thread together. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <redisroute/redisroute.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/statistic.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "../support/wire.h"

enum { MASTERS = 3, DEAD = 0, SESSIONS = 200, RATE = 100, BURST = 10 };
/* Beside the sessions: the background thread asks the nodes, twice a second and more often while
 * something is wrong; and the test itself looks. */
enum { WINDOW_MS = 100, OTHERS = 10, SAMPLES_MOST = 20000 };

static struct cluster *cluster;
static struct loop *loop;

/* Every write is on the disk before it is answered: what was acknowledged is there after a kill. */
static void setup(void)
{
    MUST(setenv("REDISROUTE_RECONNECT_RATE", "100", 0) == 0);
    MUST(setenv("REDISROUTE_RECONNECT_BURST", "10", 0) == 0);
    cluster = cluster_start(&(struct cluster_options){.masters = MASTERS,
                                                      .node_timeout_ms = 60000,
                                                      .partial_coverage = true,
                                                      .extra = "appendonly yes\n"
                                                               "appendfsync always\n"});
}

static void setup_one_a_second(void)
{
    MUST(setenv("REDISROUTE_RECONNECT_RATE", "1", 0) == 0);
    MUST(setenv("REDISROUTE_RECONNECT_BURST", "1", 0) == 0);
    setup();
}

static void teardown(void)
{
    cluster_stop(cluster);
}

/* --- who counts connections --- */

/* What was accepted by then, in all. */
struct sample {
    int64_t at_ms;
    long accepted;
};

struct counter {
    pthread_t thread;
    atomic_bool is_over;
    int port;
    int listener; /* the counter's own, that accepts and closes; -1: a server counts */
    atomic_int count;
    struct sample samples[SAMPLES_MOST];
};

static void note(struct counter *c, long accepted)
{
    int count = c->count;
    if (count == SAMPLES_MOST)
        return;
    c->samples[count] = (struct sample){now_ms(), accepted};
    c->count = count + 1;
}

static void *ask_server(void *arg)
{
    struct counter *c = arg;
    struct wire *wire = wire_open(c->port);
    MUST(wire);
    for (bool is_last = false; !is_last; pause_ms(2)) {
        is_last = c->is_over;
        char *text = wire_command(wire, "INFO stats");
        MUST(text && strstr(text, "total_connections_received:"));
        note(c, atol(strstr(text, "total_connections_received:") + 27));
        free(text);
    }
    wire_close(wire);
    return NULL;
}

static void *accept_and_close(void *arg)
{
    struct counter *c = arg;
    struct pollfd ready = {.fd = c->listener, .events = POLLIN};
    long accepted = 0;
    note(c, 0);
    while (!c->is_over)
        if (poll(&ready, 1, 5) == 1) {
            int fd = accept(c->listener, NULL, NULL);
            if (fd >= 0)
                close(fd);
            note(c, ++accepted);
        }
    close(c->listener);
    return NULL;
}

static void counter_start(struct counter *c, int port, void *(*run)(void *))
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    *c = (struct counter){.port = port, .listener = -1};
    if (run == accept_and_close) {
        c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        MUST(setsockopt(c->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
        MUST(bind(c->listener, (struct sockaddr *)&address, sizeof address) == 0);
        MUST(listen(c->listener, 511) == 0);
    }
    MUST(pthread_create(&c->thread, NULL, run, c) == 0);
}

/* The most that were accepted within one window. */
static long counter_most(struct counter *c)
{
    long most = 0;
    c->is_over = true;
    pthread_join(c->thread, NULL);
    MUST(c->count > 1 && c->count < SAMPLES_MOST);
    for (int i = 0, first = 0; i < c->count; i++) {
        while (c->samples[i].at_ms - c->samples[first].at_ms > WINDOW_MS)
            first++;
        if (c->samples[i].accepted - c->samples[first].accepted > most)
            most = c->samples[i].accepted - c->samples[first].accepted;
    }
    return most;
}

static long counter_all(const struct counter *c)
{
    return c->samples[c->count - 1].accepted - c->samples[0].accepted;
}

static void expect_no_storm(struct counter *c)
{
    long most = counter_most(c);
    ck_assert_msg(most <= BURST + RATE * WINDOW_MS / 1000 + OTHERS, "%ld connections in %d ms",
                  most, WINDOW_MS);
}

/* --- many sessions --- */

struct session {
    redisAsyncContext *ac;
    char *key; /* a counter of its own, on the node that dies */
    long issued, acknowledged, unknown, last, answered;
};

static struct session sessions[SESSIONS];

static void on_reply(redisAsyncContext *ac, void *r, void *data)
{
    struct session *s = ac->data;
    const redisReply *reply = r;
    ck_assert_ptr_nonnull(reply);
    ck_assert_int_eq(s->answered, (long)(intptr_t)data); /* in the order of issue */
    s->answered++;
    if (reply->type == REDIS_REPLY_ERROR) {
        ck_assert_msg(!strncmp(reply->str, "UNREACHABLE redisroute:", 23), "%s", reply->str);
        s->unknown++;
        return;
    }
    ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
    s->acknowledged++;
    ck_assert_msg(reply->integer > s->last && reply->integer <= s->acknowledged + s->unknown,
                  "%lld after %ld", reply->integer, s->last);
    s->last = (long)reply->integer;
}

static void increment(struct session *s)
{
    MUST(redisAsyncCommand(s->ac, on_reply, (void *)(intptr_t)s->issued++, "INCR %s", s->key) ==
         REDIS_OK);
}

static bool all_answered(void)
{
    for (int i = 0; i < SESSIONS; i++)
        if (sessions[i].answered < sessions[i].issued)
            return false;
    return true;
}

static void open_sessions(void)
{
    loop = loop_create(0);
    for (int i = 0; i < SESSIONS; i++) {
        struct session *s = &sessions[i];
        s->key = cluster_key_for(cluster, DEAD, i);
        s->ac = redisAsyncConnect("127.0.0.1", cluster_port(cluster, 1));
        MUST(s->ac && s->ac->err == 0);
        s->ac->data = s;
        MUST(loop_attach(loop, s->ac) == REDIS_OK);
        increment(s);
    }
    LOOP_UNTIL(loop, all_answered());
}

static void close_sessions(void)
{
    for (int i = 0; i < SESSIONS; i++) {
        redisAsyncFree(sessions[i].ac);
        free(sessions[i].key);
    }
    loop_destroy(loop);
}

/* Nothing ran twice, and nothing that was acknowledged is missing. */
static void expect_counters_add_up(void)
{
    for (int i = 0; i < SESSIONS; i++) {
        char *text = cluster_command(cluster, DEAD, "GET %s", sessions[i].key);
        long value = atol(text);
        ck_assert_int_ge(value, sessions[i].acknowledged);
        ck_assert_int_le(value, sessions[i].acknowledged + sessions[i].unknown);
        free(text);
    }
}

static unsigned long long delayed(void)
{
    return statistic("redisroute_links_total", "delayed");
}

/* All find out in the same moment that the server was restarted: by their next command. */
START_TEST(test_a_restart_while_all_are_idle)
{
    static struct counter counter;
    int64_t began_ms;
    open_sessions();
    ck_assert_uint_eq(delayed(), 0); /* a first connection never waits */
    cluster_signal(cluster, DEAD, SIGKILL);
    cluster_restart(cluster, DEAD);
    UNTIL(cluster_says(cluster, DEAD, "1", "EXISTS %s", sessions[0].key));
    loop_turn_for(loop, 100);
    counter_start(&counter, cluster_port(cluster, DEAD), ask_server);
    UNTIL(counter.count > 0);
    began_ms = now_ms();
    for (int i = 0; i < SESSIONS; i++)
        increment(&sessions[i]);
    LOOP_UNTIL(loop, all_answered());
    ck_assert_int_ge(now_ms() - began_ms, (SESSIONS - BURST) * 1000 / RATE - WINDOW_MS);
    for (int i = 0; i < SESSIONS; i++)
        ck_assert_int_eq(sessions[i].unknown, 0);
    expect_no_storm(&counter);
    ck_assert_int_ge(counter_all(&counter), SESSIONS);
    ck_assert_uint_ge(delayed(), SESSIONS - 2 * BURST);
    expect_counters_add_up();
    close_sessions();
}
END_TEST

static void turn_under_load(int ms)
{
    for (int64_t end = now_ms() + ms; now_ms() < end; loop_turn(loop))
        for (int i = 0; i < SESSIONS; i++)
            if (sessions[i].issued - sessions[i].answered < 3)
                increment(&sessions[i]);
}

START_TEST(test_a_kill_and_a_restart_under_load)
{
    static struct counter counter;
    open_sessions();
    turn_under_load(200);
    cluster_signal(cluster, DEAD, SIGKILL);
    turn_under_load(1000);
    cluster_restart(cluster, DEAD);
    counter_start(&counter, cluster_port(cluster, DEAD), ask_server);
    turn_under_load(500);
    LOOP_UNTIL(loop, all_answered());
    turn_under_load(200);
    LOOP_UNTIL(loop, all_answered());
    expect_no_storm(&counter);
    expect_counters_add_up();
    close_sessions();
}
END_TEST

/* What takes connections and ends them at once is not there for anybody, sessions and background
 * thread alike. */
START_TEST(test_a_node_that_hangs_up_on_everybody)
{
    enum { FOR_MS = 2000 };
    static struct counter counter;
    open_sessions();
    cluster_signal(cluster, DEAD, SIGKILL);
    counter_start(&counter, cluster_port(cluster, DEAD), accept_and_close);
    for (int i = 0; i < SESSIONS; i++)
        increment(&sessions[i]);
    loop_turn_for(loop, FOR_MS);
    expect_no_storm(&counter);
    ck_assert_int_le(counter_all(&counter), BURST + (RATE + 2 * OTHERS) * FOR_MS / 1000);
    cluster_restart(cluster, DEAD);
    LOOP_UNTIL(loop, all_answered());
    expect_counters_add_up();
    close_sessions();
}
END_TEST

/* --- who waits in a call --- */

static redisContext *open_blocking(const char *key)
{
    redisContext *c = connect_port(cluster_port(cluster, 1));
    EXPECT(c, "OK", "SET %s v", key);
    return c;
}

START_TEST(test_who_waits_in_a_call_keeps_its_limits)
{
    struct timeval limit = {.tv_usec = 300000};
    char *key = cluster_key_for(cluster, DEAD, 0);
    redisContext *first = open_blocking(key), *second = open_blocking(key), *third, *fourth;
    int64_t began_ms = now_ms();
    third = open_blocking(key);
    redisSetTimeout(second, limit);
    for (int i = 0; i < 3; i++)
        EXPECT(i == 0 ? first : i == 1 ? second : third, "v", "GET %s", key);
    free(cluster_command(cluster, DEAD, "CLIENT KILL TYPE normal SKIPME yes"));
    began_ms = now_ms();
    EXPECT(first, "v", "GET %s", key);
    ck_assert_int_lt(now_ms() - began_ms, 900);
    ck_assert_ptr_null(redisCommand(second, "GET %s", key));
    ck_assert_int_eq(second->err, REDIS_ERR_IO);
    ck_assert_int_lt(now_ms() - began_ms, 900);
    EXPECT(third, "v", "GET %s", key);
    ck_assert_int_ge(now_ms() - began_ms, 900);
    ck_assert_uint_ge(delayed(), 2);
    /* Whoever was never there has lost nothing. */
    began_ms = now_ms();
    fourth = open_blocking(key);
    ck_assert_int_lt(now_ms() - began_ms, 900);
    redisFree(first);
    redisFree(second);
    redisFree(third);
    redisFree(fourth);
    free(key);
}
END_TEST

static void add_case(Suite *suite, const char *name, const TTest *test, void (*start)(void))
{
    tcase_add_test(suite_case(suite, name, start, teardown), test);
}

int main(void)
{
    Suite *suite = suite_create("reconnect");
    add_case(suite, "idle", test_a_restart_while_all_are_idle, setup);
    add_case(suite, "load", test_a_kill_and_a_restart_under_load, setup);
    add_case(suite, "hangs_up", test_a_node_that_hangs_up_on_everybody, setup);
    add_case(suite, "blocking", test_who_waits_in_a_call_keeps_its_limits, setup_one_a_second);
    return suite_run(suite);
}
