/* redisroute-test: plain
 *
 * GETs in different ways, and SETs, by a plain hiredis program: bench.sh runs it as it is, and with
 * the library preloaded, and compares.
 *
 *     get_bench PORT WAY COUNT     sends COUNT commands and prints what one cost:
 *                                  nanoseconds of wall time, and of processor time of all threads
 *     get_bench PORT set COUNT     SETs, one at a time: besides, the median of what one took
 *     get_bench PORT paced COUNT   the same, one a millisecond
 *     get_bench PORT idle COUNT    opens COUNT contexts, uses each on all shards, and prints how
 *                                  many bytes of heap each of them holds
 */
#define _GNU_SOURCE
#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Keys and values of 16 bytes; enough keys to be on every shard, and in no order of shards. */
enum { KEYS = 300, KEY_SIZE = 16, PIPELINE = 100 };

static char keys[KEYS][KEY_SIZE + 1];

static long long now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void check(const char *error, redisReply *reply)
{
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "get_bench: %s\n", reply ? reply->str : error);
        exit(1);
    }
}

static void take(const redisContext *c, redisReply *reply)
{
    check(c->errstr, reply);
    freeReplyObject(reply);
}

/* --- blocking --- */

static void by_argv(redisContext *c, int count)
{
    for (int i = 0; i < count; i++) {
        const char *argv[] = {"GET", keys[i % KEYS]};
        const size_t lengths[] = {3, KEY_SIZE};
        take(c, redisCommandArgv(c, 2, argv, lengths));
    }
}

static void by_format(redisContext *c, int count)
{
    for (int i = 0; i < count; i++)
        take(c, redisCommand(c, "GET %s", keys[i % KEYS]));
}

static void by_pipeline(redisContext *c, int count)
{
    for (int sent = 0; sent < count; sent += PIPELINE) {
        for (int i = sent; i < sent + PIPELINE; i++) {
            const char *argv[] = {"GET", keys[i % KEYS]};
            const size_t lengths[] = {3, KEY_SIZE};
            redisAppendCommandArgv(c, 2, argv, lengths);
        }
        for (int i = 0; i < PIPELINE; i++) {
            void *reply = NULL;
            redisGetReply(c, &reply);
            take(c, reply);
        }
    }
}

/* --- how long one takes --- */

enum { PACE_NS = 1000000 };

static int compare_times(const void *a, const void *b)
{
    const long long *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void sleep_until(long long ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* The median of what a SET took; a new one each pace_ns, or at once. */
static long long by_set(redisContext *c, int count, long long pace_ns)
{
    long long *took = calloc((size_t)count, sizeof *took), median;
    long long next = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        const char *argv[] = {"SET", keys[i % KEYS], "value-of-16-byte"};
        const size_t lengths[] = {3, KEY_SIZE, 16};
        if (pace_ns > 0)
            sleep_until(next += pace_ns);
        long long began = now_ns(CLOCK_MONOTONIC);
        take(c, redisCommandArgv(c, 3, argv, lengths));
        took[i] = now_ns(CLOCK_MONOTONIC) - began;
    }
    qsort(took, (size_t)count, sizeof *took, compare_times);
    median = took[count / 2];
    free(took);
    return median;
}

/* --- asynchronous: one command at a time, on hiredis' own adapter for libevent --- */

struct async_run {
    struct event_base *loop;
    int sent, count;
};

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
    struct async_run *run = arg;
    check(ac->errstr, reply);
    if (run->sent == run->count) {
        event_base_loopbreak(run->loop);
        return;
    }
    const char *argv[] = {"GET", keys[run->sent++ % KEYS]};
    const size_t lengths[] = {3, KEY_SIZE};
    redisAsyncCommandArgv(ac, on_reply, run, 2, argv, lengths);
}

static void run_loop(redisAsyncContext *ac, struct async_run *run, int count)
{
    run->sent = 1;
    run->count = count;
    redisAsyncCommand(ac, on_reply, run, "GET %s", keys[0]);
    event_base_dispatch(run->loop);
}

/* --- measuring --- */

struct cost {
    long long wall_ns, cpu_ns;
};

static void start(struct cost *cost)
{
    cost->wall_ns = -now_ns(CLOCK_MONOTONIC);
    cost->cpu_ns = -now_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void stop(struct cost *cost, int count)
{
    cost->wall_ns += now_ns(CLOCK_MONOTONIC);
    cost->cpu_ns += now_ns(CLOCK_PROCESS_CPUTIME_ID);
    printf("%lld %lld", cost->wall_ns / count, cost->cpu_ns / count);
}

static redisContext *open_context(int port)
{
    redisContext *c = redisConnect("127.0.0.1", port);
    if (!c || c->err) {
        fprintf(stderr, "get_bench: %s\n", c ? c->errstr : "out of memory");
        exit(1);
    }
    return c;
}

/* Connections and topology are there, and every value, when the measuring starts. */
static redisContext *warm_context(int port)
{
    redisContext *c = open_context(port);
    for (int i = 0; i < KEYS; i++)
        take(c, redisCommand(c, "SET %s value-of-16-byte", keys[i]));
    by_pipeline(c, KEYS);
    return c;
}

static void measure_blocking(int port, void (*run)(redisContext *, int), int count)
{
    struct cost cost;
    redisContext *c = warm_context(port);
    start(&cost);
    run(c, count);
    stop(&cost, count);
    redisFree(c);
}

static void measure_sets(int port, int count, long long pace_ns)
{
    struct cost cost;
    redisContext *c = warm_context(port);
    start(&cost);
    long long median = by_set(c, count, pace_ns);
    stop(&cost, count);
    printf(" %lld", median);
    redisFree(c);
}

static void measure_async(int port, int count)
{
    struct cost cost;
    struct async_run run = {.loop = event_base_new()};
    redisFree(warm_context(port));
    redisAsyncContext *ac = redisAsyncConnect("127.0.0.1", port);
    redisLibeventAttach(ac, run.loop);
    run_loop(ac, &run, KEYS);
    start(&cost);
    run_loop(ac, &run, count);
    stop(&cost, count);
    redisAsyncFree(ac);
    event_base_free(run.loop);
}

static void measure_idle(int port, int count)
{
    redisContext **contexts = calloc((size_t)count, sizeof *contexts);
    redisFree(warm_context(port));
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < count; i++) {
        contexts[i] = open_context(port);
        by_argv(contexts[i], 30);
    }
    printf("%zu 0", (mallinfo2().uordblks - before) / (size_t)count);
    for (int i = 0; i < count; i++)
        redisFree(contexts[i]);
    free(contexts);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s PORT argv|format|pipeline|async|set|paced|idle COUNT\n", argv[0]);
        return 2;
    }
    int port = atoi(argv[1]), count = atoi(argv[3]);
    const char *way = argv[2];
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof *keys, "key:%012d", i * 7919);
    if (!strcmp(way, "argv"))
        measure_blocking(port, by_argv, count);
    else if (!strcmp(way, "format"))
        measure_blocking(port, by_format, count);
    else if (!strcmp(way, "pipeline"))
        measure_blocking(port, by_pipeline, count);
    else if (!strcmp(way, "async"))
        measure_async(port, count);
    else if (!strcmp(way, "set"))
        measure_sets(port, count, 0);
    else if (!strcmp(way, "paced"))
        measure_sets(port, count, PACE_NS);
    else if (!strcmp(way, "idle"))
        measure_idle(port, count);
    else
        return 2;
    printf("\n");
    return 0;
}
