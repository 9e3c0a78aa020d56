/* redisroute-test: cases
 *
 * A master dies, or falls silent, under load: what was in flight on it is reported, what comes
 * later waits for the failover and succeeds, the other shards never notice, and late words of the
 * dead reach nobody. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { MASTERS = 3, KEYS_OF_SHARD = 10, KEYS = MASTERS * KEYS_OF_SHARD };
enum { NODE_TIMEOUT_MS = 1500, DEAD = 0, CALM_BATCHES = 20 };

/* What a client knows about a counter: acknowledged INCRs, and those of unknown fate. */
struct counter {
    char key[16];
    long acknowledged, unknown, last;
};

static struct cluster *cluster;
static struct counter counters[KEYS];

static void start(bool has_partial_coverage, int replicas)
{
    cluster = cluster_start(&(struct cluster_options){.masters = MASTERS,
                                                      .replicas = replicas,
                                                      .node_timeout_ms = NODE_TIMEOUT_MS,
                                                      .partial_coverage = has_partial_coverage});
    memset(counters, 0, sizeof counters);
    for (int i = 0; i < KEYS; i++) {
        char *key = cluster_key_for(cluster, i / KEYS_OF_SHARD, i % KEYS_OF_SHARD);
        snprintf(counters[i].key, sizeof counters[i].key, "%s", key);
        free(key);
    }
}

/* Each test kills nodes: each has a cluster of its own. */
static void setup(void)
{
    start(true, 1);
}

static void setup_full_coverage(void)
{
    start(false, 1);
}

static void setup_no_replicas(void)
{
    start(true, 0);
}

static void teardown(void)
{
    cluster_stop(cluster);
}

static bool is_on_dead_shard(const struct counter *counter)
{
    return counter - counters < KEYS_OF_SHARD;
}

/* An INCR was answered with a number that fits what is known, or with an unknown fate. */
static bool take(struct counter *counter, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        ck_assert_msg(!strncmp(reply->str, "UNREACHABLE redisroute:", 23), "INCR %s: %s",
                      counter->key, reply->str);
        ck_assert_msg(is_on_dead_shard(counter), "INCR %s: %s", counter->key, reply->str);
        counter->unknown++;
        return false;
    }
    ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
    counter->acknowledged++;
    ck_assert_msg(reply->integer > counter->last &&
                      reply->integer <= counter->acknowledged + counter->unknown,
                  "INCR %s answered %lld after %ld, with %ld acknowledged and %ld unknown",
                  counter->key, reply->integer, counter->last, counter->acknowledged,
                  counter->unknown);
    counter->last = (long)reply->integer;
    return true;
}

/* One INCR of each key in one pipeline; how many of them failed. */
static int run_batch(redisContext *c)
{
    int failed = 0;
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "INCR %s", counters[i].key);
    for (int i = 0; i < KEYS; i++) {
        redisReply *reply = NULL;
        ck_assert_msg(redisGetReply(c, (void **)&reply) == REDIS_OK, "%s", c->errstr);
        failed += !take(&counters[i], reply);
        freeReplyObject(reply);
    }
    return failed;
}

/* Nothing ran twice; and what was acknowledged is there. Of the shard that died Redis itself may
 * have lost what it had not replicated. */
static void expect_counters_add_up(void)
{
    for (int i = 0; i < KEYS; i++) {
        const struct counter *counter = &counters[i];
        int owner = cluster_owner_of_slot(cluster, 1, cluster_slot(counter->key));
        char *text = cluster_command(cluster, owner, "GET %s", counter->key);
        long value = atol(text);
        ck_assert_int_le(value, counter->acknowledged + counter->unknown);
        if (!is_on_dead_shard(counter))
            ck_assert_int_eq(value, counter->acknowledged);
        free(text);
    }
}

/* --- somebody who kills --- */

struct killer {
    pthread_t thread;
    int signal;
    atomic_bool is_over; /* the failover is */
};

static void *kill_and_wait(void *arg)
{
    struct killer *killer = arg;
    pause_ms(100); /* somewhere in the middle of the load */
    cluster_signal(cluster, DEAD, killer->signal);
    cluster_await_failover(cluster, DEAD);
    killer->is_over = true;
    return NULL;
}

static void killer_start(struct killer *killer, int signal)
{
    killer->signal = signal;
    killer->is_over = false;
    MUST(pthread_create(&killer->thread, NULL, kill_and_wait, killer) == 0);
}

static void killer_join(struct killer *killer)
{
    pthread_join(killer->thread, NULL);
}

/* --- a blocking context --- */

static void load_through_failover(redisContext *c, struct killer *killer)
{
    while (!killer->is_over)
        run_batch(c);
    killer_join(killer);
    int failed = 0;
    for (int i = 0; i < CALM_BATCHES; i++)
        failed += run_batch(c);
    /* The batch that was under way when the failover ended may still carry news of it. */
    ck_assert_int_le(failed, KEYS_OF_SHARD);
    ck_assert_int_eq(run_batch(c), 0);
}

START_TEST(test_a_killed_master_under_pipelined_load)
{
    struct killer killer;
    redisContext *c = connect_port(cluster_port(cluster, _i));
    int fd = c->fd;
    run_batch(c);
    killer_start(&killer, SIGKILL);
    load_through_failover(c, &killer);
    expect_counters_add_up();
    ck_assert_int_eq(c->fd, fd);
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
}
END_TEST

START_TEST(test_a_stopped_master_under_pipelined_load)
{
    struct killer killer;
    redisContext *c = connect_port(cluster_port(cluster, _i));
    run_batch(c);
    killer_start(&killer, SIGSTOP);
    load_through_failover(c, &killer);
    /* Now it wakes up and answers what it was asked long ago. */
    cluster_signal(cluster, DEAD, SIGCONT);
    for (int64_t end = now_ms() + 1500; now_ms() < end;)
        ck_assert_int_eq(run_batch(c), 0);
    expect_counters_add_up();
    redisFree(c);
}
END_TEST

/* Redis' default: while a shard has no master, the whole cluster is down. That is waited out. */
START_TEST(test_full_coverage_is_waited_out_one_command_at_a_time)
{
    struct killer killer;
    int failed = 0;
    redisContext *c = connect_port(cluster_port(cluster, 1));
    killer_start(&killer, _i ? SIGSTOP : SIGKILL);
    while (!killer.is_over)
        for (int i = 0; i < KEYS; i++) {
            redisReply *reply = redisCommand(c, "INCR %s", counters[i].key);
            ck_assert_msg(reply != NULL, "%s", c->errstr);
            failed += !take(&counters[i], reply);
            freeReplyObject(reply);
        }
    killer_join(&killer);
    /* Only what was in flight at that moment: at depth 1, one command. */
    ck_assert_int_le(failed, 1);
    ck_assert_int_eq(run_batch(c), 0);
    expect_counters_add_up();
    redisFree(c);
}
END_TEST

START_TEST(test_reads_are_repeated)
{
    struct killer killer;
    redisContext *c = connect_port(cluster_port(cluster, 1));
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET %s v", counters[i].key);
    /* The replicas have to have them before their master goes. */
    UNTIL(cluster_says(cluster, MASTERS + DEAD, "10", "DBSIZE"));
    killer_start(&killer, _i ? SIGSTOP : SIGKILL);
    while (!killer.is_over) {
        for (int i = 0; i < KEYS; i++)
            redisAppendCommand(c, "GET %s", counters[i].key);
        for (int i = 0; i < KEYS; i++)
            EXPECT_NEXT(c, "v");
    }
    killer_join(&killer);
    redisFree(c);
}
END_TEST

/* --- the others --- */

/* Milliseconds of the slowest INCR on a shard that is not the one that dies. */
static int slowest_of_the_others(redisContext *c, struct killer *killer)
{
    int slowest = 0;
    while (!killer->is_over)
        for (int i = KEYS_OF_SHARD; i < KEYS; i++) {
            int64_t start_ms = now_ms();
            redisReply *reply = redisCommand(c, "INCR %s", counters[i].key);
            ck_assert_msg(reply != NULL, "%s", c->errstr);
            ck_assert_msg(take(&counters[i], reply), "%s", counters[i].key);
            freeReplyObject(reply);
            int took = (int)(now_ms() - start_ms);
            slowest = took > slowest ? took : slowest;
        }
    return slowest;
}

START_TEST(test_the_other_shards_never_notice)
{
    struct killer killer;
    redisContext *c = connect_port(cluster_port(cluster, 1));
    killer_start(&killer, _i ? SIGSTOP : SIGKILL);
    int slowest = slowest_of_the_others(c, &killer);
    killer_join(&killer);
    ck_assert_int_lt(slowest, NODE_TIMEOUT_MS * 2 / 3);
    expect_counters_add_up();
    redisFree(c);
}
END_TEST

START_TEST(test_a_replica_that_dies_is_not_noticed)
{
    redisContext *c = connect_port(cluster_port(cluster, MASTERS));
    run_batch(c);
    cluster_signal(cluster, MASTERS + 1, SIGKILL);
    for (int64_t end = now_ms() + 2 * NODE_TIMEOUT_MS; now_ms() < end;)
        ck_assert_int_eq(run_batch(c), 0);
    expect_counters_add_up();
    redisFree(c);
}
END_TEST

static void *fail_over_by_hand(void *arg)
{
    struct killer *killer = arg;
    pause_ms(100);
    cluster_failover(cluster, MASTERS + DEAD);
    killer->is_over = true;
    return NULL;
}

/* CLUSTER FAILOVER loses nothing, so the program must not see it at all. */
START_TEST(test_a_failover_by_hand_goes_unnoticed)
{
    struct killer killer = {.is_over = false};
    redisContext *c = connect_port(cluster_port(cluster, _i));
    MUST(pthread_create(&killer.thread, NULL, fail_over_by_hand, &killer) == 0);
    while (!killer.is_over)
        ck_assert_int_eq(run_batch(c), 0);
    killer_join(&killer);
    for (int i = 0; i < CALM_BATCHES; i++)
        ck_assert_int_eq(run_batch(c), 0);
    for (int i = 0; i < KEYS; i++)
        ck_assert_int_eq(counters[i].last, counters[i].acknowledged);
    expect_counters_add_up();
    redisFree(c);
}
END_TEST

START_TEST(test_a_master_that_comes_back)
{
    redisContext *c = connect_port(cluster_port(cluster, _i));
    run_batch(c);
    cluster_signal(cluster, DEAD, SIGKILL);
    cluster_restart(cluster, DEAD);
    /* Its memory is gone: counters of that shard start anew. */
    for (int i = 0; i < KEYS_OF_SHARD; i++)
        counters[i].last = counters[i].acknowledged = 0;
    int failed = run_batch(c);
    ck_assert_int_le(failed, KEYS_OF_SHARD);
    for (int i = 0; i < CALM_BATCHES; i++)
        ck_assert_int_eq(run_batch(c), 0);
    redisFree(c);
}
END_TEST

/* --- blocked and limited in time --- */

static void *kill_once_blocked(void *arg)
{
    int signal = *(int *)arg;
    for (bool is_blocked = false; !is_blocked;) {
        char *info = cluster_command(cluster, DEAD, "INFO clients");
        is_blocked = strstr(info, "blocked_clients:1") != NULL;
        free(info);
    }
    cluster_signal(cluster, DEAD, signal);
    return NULL;
}

START_TEST(test_a_blocked_command_wakes_when_its_node_dies)
{
    pthread_t killer;
    int signal = _i ? SIGSTOP : SIGKILL;
    redisContext *c = connect_port(cluster_port(cluster, 1));
    pthread_create(&killer, NULL, kill_once_blocked, &signal);
    EXPECT_ERROR(c, "redisroute:", "BLPOP %s 0", counters[0].key);
    pthread_join(killer, NULL);
    EXPECT(c, "1", "INCR %s", counters[1].key);
    redisFree(c);
}
END_TEST

START_TEST(test_the_time_limit_of_the_program_holds_in_a_failover)
{
    redisContext *c = connect_port(cluster_port(cluster, 1));
    run_batch(c);
    redisSetTimeout(c, (struct timeval){.tv_usec = 300000});
    cluster_signal(cluster, DEAD, _i ? SIGSTOP : SIGKILL);
    int64_t start_ms = now_ms();
    redisReply *reply = redisCommand(c, "GET %s", counters[0].key);
    ck_assert_ptr_null(reply);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "Resource temporarily unavailable");
    ck_assert_int_ge(now_ms() - start_ms, 290);
    ck_assert_int_le(now_ms() - start_ms, 1300);
    cluster_await_failover(cluster, DEAD);
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    redisSetTimeout(c, (struct timeval){.tv_sec = 30});
    /* Nothing has told this process yet that the silent node is dead. */
    run_batch(c);
    ck_assert_int_eq(run_batch(c), 0);
    redisFree(c);
}
END_TEST

START_TEST(test_no_node_can_be_reached)
{
    setenv("REDISROUTE_FAILOVER_TIMEOUT", "8s", 1);
    redisContext *c = connect_port(cluster_port(cluster, 1));
    run_batch(c);
    for (int i = 0; i < cluster_size(cluster); i++)
        cluster_signal(cluster, i, SIGKILL);
    int64_t start_ms = now_ms();
    for (int i = 0; i < KEYS && !c->err; i += KEYS_OF_SHARD) {
        redisReply *reply = redisCommand(c, "GET %s", counters[i].key);
        if (reply)
            ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
        if (reply)
            freeReplyObject(reply);
    }
    ck_assert_int_lt(now_ms() - start_ms, 60000);
    redisFree(c);
    c = redisConnect("127.0.0.1", cluster_port(cluster, 1));
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "Connection refused");
    redisFree(c);
}
END_TEST

/* --- the descriptor meanwhile --- */

static short state_of(int fd)
{
    struct pollfd set = {.fd = fd, .events = POLLIN | POLLOUT};
    poll(&set, 1, 0);
    return set.revents;
}

/* varnish throws a connection away that is not writable or has hung up. */
START_TEST(test_an_idle_context_looks_healthy_while_a_node_fails_over)
{
    redisContext *c = connect_port(cluster_port(cluster, 1));
    run_batch(c);
    cluster_signal(cluster, DEAD, SIGKILL);
    for (int64_t end = now_ms() + NODE_TIMEOUT_MS; now_ms() < end; pause_ms(10))
        ck_assert_int_eq(state_of(c->fd), POLLOUT);
    cluster_await_failover(cluster, DEAD);
    ck_assert_int_eq(state_of(c->fd), POLLOUT);
    redisFree(c);
}
END_TEST

START_TEST(test_the_descriptor_of_a_dead_dialled_node_is_replaced)
{
    redisContext *c = connect_port(cluster_port(cluster, DEAD));
    int fd = c->fd;
    run_batch(c);
    cluster_signal(cluster, DEAD, SIGKILL);
    cluster_await_failover(cluster, DEAD);
    run_batch(c);
    ck_assert_int_eq(run_batch(c), 0);
    ck_assert_int_eq(c->fd, fd);
    ck_assert_int_eq(state_of(c->fd), POLLOUT);
    redisFree(c);
}
END_TEST

/* --- asynchronous --- */

struct async_load {
    struct async_client client;
    int outstanding, failed;
};

static void on_count(redisAsyncContext *ac, void *reply, void *arg)
{
    struct async_client *client = ac->data;
    struct async_load *load = client->data;
    ck_assert_ptr_nonnull(reply);
    load->outstanding--;
    load->failed += !take(arg, reply);
}

static void run_async_batch(struct async_load *load)
{
    for (int i = 0; i < KEYS; i++, load->outstanding++)
        ck_assert_int_eq(
            redisAsyncCommand(load->client.ac, on_count, &counters[i], "INCR %s", counters[i].key),
            REDIS_OK);
    LOOP_UNTIL(load->client.loop, load->outstanding == 0);
}

static bool is_reached(int port)
{
    redisContext *c = redisConnect("127.0.0.1", port);
    bool reached = c->err == 0;
    redisFree(c);
    return reached;
}

/* Programs dial what they were told to dial, also while that node is dead: a process that knows its
 * cluster gets there by another. */
START_TEST(test_a_dead_node_is_dialled)
{
    int port = cluster_port(cluster, DEAD);
    struct async_load load = {.outstanding = 0};
    redisContext *before = connect_port(port), *c;
    run_batch(before);
    cluster_signal(cluster, DEAD, SIGKILL);
    cluster_await_failover(cluster, DEAD);
    run_batch(before);
    UNTIL(is_reached(port));
    c = connect_port(port);
    ck_assert_int_eq(run_batch(c), 0);
    async_open(&load.client, loop_create(0), port);
    load.client.data = &load;
    run_async_batch(&load);
    ck_assert_int_eq(load.failed, 0);
    redisFree(before);
    ck_assert(is_reached(port));
    cluster_restart(cluster, DEAD);
    ck_assert_int_eq(run_batch(c), 0);
    run_async_batch(&load);
    ck_assert_int_eq(load.failed, 0);
    async_close(&load.client);
    loop_destroy(load.client.loop);
    redisFree(c);
}
END_TEST

START_TEST(test_an_asynchronous_context_through_a_failover)
{
    struct killer killer;
    struct async_load load = {.outstanding = 0};
    async_open(&load.client, loop_create(_i / 2), cluster_port(cluster, 1));
    load.client.data = &load;
    killer_start(&killer, _i % 2 ? SIGSTOP : SIGKILL);
    while (!killer.is_over)
        run_async_batch(&load);
    killer_join(&killer);
    run_async_batch(&load);
    load.failed = 0;
    for (int i = 0; i < CALM_BATCHES; i++)
        run_async_batch(&load);
    ck_assert_int_eq(load.failed, 0);
    ck_assert_int_eq(load.client.disconnects, 0);
    ck_assert_int_lt(loop_longest_turn_ms(load.client.loop), 1000);
    if (_i % 2) {
        cluster_signal(cluster, DEAD, SIGCONT);
        for (int64_t end = now_ms() + 1000; now_ms() < end;)
            run_async_batch(&load);
        ck_assert_int_eq(load.failed, 0);
    }
    expect_counters_add_up();
    async_close(&load.client);
    loop_destroy(load.client.loop);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name, void (*set_up)(void))
{
    TCase *tc = suite_case(suite, name, NULL, NULL);
    tcase_add_checked_fixture(tc, set_up, teardown);
    return tc;
}

/* The connection that was made before anything was known of the cluster ends with its server, too.
 */
START_TEST(test_a_dialled_node_that_falls_silent_asynchronously)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(LOOP_LIBUV);

    async_open(&client, loop, cluster_port(cluster, DEAD));
    async_expect(&client, "OK", "SET %s v", counters[0].key);
    async_finish(&client);
    UNTIL(cluster_says(cluster, MASTERS + DEAD, "1", "DBSIZE"));
    cluster_signal(cluster, DEAD, SIGSTOP);
    async_expect(&client, "v", "GET %s", counters[0].key);
    async_expect(&client, "PONG", "PING");
    async_finish(&client);
    cluster_signal(cluster, DEAD, SIGCONT);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("failover");
    TCase *tc = add_case(suite, "a master dies", setup);
    tcase_add_loop_test(tc, test_a_killed_master_under_pipelined_load, 0, 2);
    tcase_add_loop_test(tc, test_a_stopped_master_under_pipelined_load, 0, 2);
    tcase_add_loop_test(tc, test_reads_are_repeated, 0, 2);
    tcase_add_loop_test(tc, test_the_other_shards_never_notice, 0, 2);
    tcase_add_test(tc, test_a_replica_that_dies_is_not_noticed);
    tcase_add_loop_test(tc, test_a_failover_by_hand_goes_unnoticed, 0, 2);
    tcase_add_loop_test(tc, test_a_blocked_command_wakes_when_its_node_dies, 0, 2);
    tcase_add_loop_test(tc, test_the_time_limit_of_the_program_holds_in_a_failover, 0, 2);
    tcase_add_test(tc, test_no_node_can_be_reached);
    tcase_add_test(tc, test_an_idle_context_looks_healthy_while_a_node_fails_over);
    tcase_add_test(tc, test_the_descriptor_of_a_dead_dialled_node_is_replaced);
    tc = add_case(suite, "asynchronous", setup);
    tcase_add_loop_test(tc, test_an_asynchronous_context_through_a_failover, 0, 2 * LOOP_KINDS);
    tcase_add_test(tc, test_a_dialled_node_that_falls_silent_asynchronously);
    tcase_add_test(tc, test_a_dead_node_is_dialled);
    tc = add_case(suite, "full coverage", setup_full_coverage);
    tcase_add_loop_test(tc, test_full_coverage_is_waited_out_one_command_at_a_time, 0, 2);
    tc = add_case(suite, "no replicas", setup_no_replicas);
    tcase_add_loop_test(tc, test_a_master_that_comes_back, 0, 2);
    return suite_run(suite);
}
