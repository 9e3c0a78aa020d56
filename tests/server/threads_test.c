/* Threads: contexts of their own, contexts handed around under a lock, and a topology that they
 * share while it changes. Run under ThreadSanitizer too. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/migrator.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { THREADS = 16, ROUNDS = 200, POOL = 4 };

struct worker {
    pthread_t thread;
    int number, target;
};

static void run_threads(void *(*run)(void *), int target)
{
    struct worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.number = i, .target = target};
        MUST(pthread_create(&workers[i].thread, NULL, run, &workers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
}

/* --- a context in each --- */

static void *count_alone(void *arg)
{
    const struct worker *worker = arg;
    char expected[16];
    redisContext *c = connect_target(worker->target);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(expected, sizeof expected, "%d", i / 10 + 1);
        EXPECT(c, expected, "INCR thread:%d:%d", worker->number, i % 10);
    }
    redisFree(c);
    return NULL;
}

START_TEST(test_a_context_in_each_thread)
{
    target_flush(_i);
    run_threads(count_alone, _i);
}
END_TEST

static void *pipeline_alone(void *arg)
{
    const struct worker *worker = arg;
    char expected[16];
    redisContext *c = connect_target(worker->target);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < ROUNDS; i++)
            redisAppendCommand(c, "SET pipe:%d:%d %d", worker->number, i, i + round);
        redisAppendCommand(c, "MGET pipe:%d:0 pipe:%d:1 pipe:%d:2", worker->number, worker->number,
                           worker->number);
        for (int i = 0; i < ROUNDS; i++)
            EXPECT_NEXT(c, "OK");
        snprintf(expected, sizeof expected, "%d\n%d\n%d", round, round + 1, round + 2);
        EXPECT_NEXT(c, expected);
    }
    redisFree(c);
    return NULL;
}

START_TEST(test_pipelines_in_each_thread)
{
    run_threads(pipeline_alone, _i);
}
END_TEST

/* A process with nothing in it yet: all threads come to the first look at the servers at once. */
static void *connect_again_and_again(void *arg)
{
    const struct worker *worker = arg;
    for (int i = 0; i < 30; i++) {
        redisContext *c = connect_target(worker->target);
        EXPECT(c, "OK", "SET again:%d:%d v", worker->number, i);
        EXPECT(c, "v", "GET again:%d:%d", worker->number, i);
        redisFree(c);
    }
    return NULL;
}

START_TEST(test_contexts_that_come_and_go)
{
    run_threads(connect_again_and_again, _i);
}
END_TEST

/* libuv closes descriptors by a system call of its own, which ThreadSanitizer does not see: it would
 * take the next owner of the number for a thread that races with libuv. */
static struct loop *loop_for_thread(int number)
{
    int kind = number % LOOP_KINDS;
#ifdef __SANITIZE_THREAD__
    if (kind == LOOP_LIBUV)
        kind++;
#endif
    return loop_create(kind);
}

static void *run_loop_alone(void *arg)
{
    const struct worker *worker = arg;
    struct async_client client = {0};
    async_open(&client, loop_for_thread(worker->number), target_port(worker->target));
    for (int i = 0; i < ROUNDS; i++)
        async_expect(&client, "OK", "SET loop:%d:%d v", worker->number, i);
    async_finish(&client);
    async_close(&client);
    loop_destroy(client.loop);
    return NULL;
}

START_TEST(test_an_event_loop_in_each_thread)
{
    run_threads(run_loop_alone, _i);
}
END_TEST

/* --- a pool, as freeradius and varnish have it --- */

static struct {
    pthread_mutex_t lock;
    redisContext *context;
} pool[POOL];

static void *use_the_pool(void *arg)
{
    const struct worker *worker = arg;
    for (int i = 0; i < ROUNDS; i++) {
        int n = (worker->number + i) % POOL;
        pthread_mutex_lock(&pool[n].lock);
        redisSetTimeout(pool[n].context, (struct timeval){.tv_sec = 30});
        redisReply *reply = redisCommand(pool[n].context, "INCR pool:%d", i % 20);
        pthread_mutex_unlock(&pool[n].lock);
        ck_assert_ptr_nonnull(reply);
        ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
        freeReplyObject(reply);
    }
    return NULL;
}

/* Contexts are made in one thread, used in others, and freed in the first. */
START_TEST(test_contexts_shared_under_a_lock)
{
    target_flush(_i);
    for (int i = 0; i < POOL; i++) {
        pthread_mutex_init(&pool[i].lock, NULL);
        pool[i].context = connect_target(_i);
    }
    run_threads(use_the_pool, _i);
    for (int i = 0; i < 20; i++)
        EXPECT(pool[0].context, "160", "GET pool:%d", i);
    for (int i = 0; i < POOL; i++)
        redisFree(pool[i].context);
}
END_TEST

/* --- a topology that changes under them --- */

static struct migrator *migrator;
static atomic_bool is_moving;

static void *count_while_slots_move(void *arg)
{
    const struct worker *worker = arg;
    char expected[16];
    redisContext *c = connect_target(TARGET_CLUSTER);
    for (int round = 1; is_moving; round++) {
        snprintf(expected, sizeof expected, "%d", round);
        for (int i = 0; i < 10; i++)
            EXPECT(c, expected, "INCR {k:%d}:moving:%d", i, worker->number);
        if (worker->number == 0)
            is_moving = migrator_tick(migrator);
    }
    redisFree(c);
    return NULL;
}

START_TEST(test_threads_share_a_topology_that_changes)
{
    int slots[3];
    for (int i = 0; i < 3; i++) {
        char key[16];
        snprintf(key, sizeof key, "k:%d", i);
        slots[i] = cluster_slot(key);
    }
    target_flush(TARGET_CLUSTER);
    is_moving = true;
    migrator = migrator_start(target_cluster(),
                              &(struct migrator_options){.slots = slots, .count = 3, .moves = 6});
    run_threads(count_while_slots_move, TARGET_CLUSTER);
    migrator_stop(migrator);
}
END_TEST

/* --- a thread that is cancelled in a wait --- */

static void *wait_for_ever(void *arg)
{
    redisContext *c = arg;
    redisCommand(c, "BLPOP cancelled:queue 0");
    return NULL;
}

START_TEST(test_a_cancelled_thread_leaves_the_others_alone)
{
    pthread_t waiter;
    void *result;
    redisContext *waiting = connect_target(_i), *working = connect_target(_i);
    pthread_create(&waiter, NULL, wait_for_ever, waiting);
    for (bool is_blocked = false; !is_blocked;) {
        char *info = target_look(_i, "cancelled:queue", "INFO clients");
        is_blocked = strstr(info, "blocked_clients:1") != NULL;
        free(info);
    }
    pthread_cancel(waiter);
    pthread_join(waiter, &result);
    ck_assert_ptr_eq(result, PTHREAD_CANCELED);
    for (int i = 0; i < 50; i++)
        EXPECT(working, "OK", "SET cancelled:%d v", i);
    redisFree(working);
    redisFree(waiting);
    run_threads(connect_again_and_again, _i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("threads");
    TCase *tc = suite_case(suite, "threads", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_a_context_in_each_thread, 0, target_count());
    tcase_add_loop_test(tc, test_pipelines_in_each_thread, 0, target_count());
    tcase_add_loop_test(tc, test_contexts_that_come_and_go, 0, target_count());
    tcase_add_loop_test(tc, test_an_event_loop_in_each_thread, 0, target_count());
    tcase_add_loop_test(tc, test_contexts_shared_under_a_lock, 0, target_count());
    tcase_add_loop_test(tc, test_a_cancelled_thread_leaves_the_others_alone, 0, target_count());
    if (target_count() > TARGET_CLUSTER)
        tcase_add_test(tc, test_threads_share_a_topology_that_changes);
    return suite_run(suite);
}
