/* hiredisSetAllocators: all that hiredis allocates comes from the program's own functions and goes
 * back to them, and nothing else does; when they have nothing left, hiredis' own errors say so.
 *
 * redisroute-test: hiredis 1 */
#define _GNU_SOURCE
#include <hiredis/alloc.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"

enum { KEYS = 60, SHORTAGES = 120 };

/* --- allocators that know their own --- */

#define OURS UINT64_C(0x6f75727320697420)

struct tag {
    uint64_t ours;
    size_t size;
};

static long alive, allocated;
static long left = -1; /* how many may succeed; -1: all */

static void *own_malloc(size_t size)
{
    if (left == 0)
        return NULL;
    left -= left > 0;
    struct tag *tag = malloc(sizeof *tag + size);
    MUST(tag);
    *tag = (struct tag){OURS, size};
    alive++;
    allocated++;
    return tag + 1;
}

static void own_free(void *memory)
{
    if (!memory)
        return;
    struct tag *tag = (struct tag *)memory - 1;
    if (tag->ours != OURS)
        die("hiredis' free was given what hiredis did not allocate");
    tag->ours = 0;
    alive--;
    free(tag);
}

static void *own_calloc(size_t count, size_t size)
{
    void *memory = own_malloc(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

static void *own_realloc(void *memory, size_t size)
{
    void *fresh = own_malloc(size);
    if (fresh && memory) {
        size_t old = ((struct tag *)memory)[-1].size;
        memcpy(fresh, memory, old < size ? old : size);
        own_free(memory);
    }
    return fresh;
}

static char *own_strdup(const char *text)
{
    char *copy = own_malloc(strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}

static void use_own(void)
{
    static hiredisAllocFuncs own = {.mallocFn = own_malloc,
                                    .callocFn = own_calloc,
                                    .reallocFn = own_realloc,
                                    .strdupFn = own_strdup,
                                    .freeFn = own_free};
    hiredisAllocFuncs before = hiredisSetAllocators(&own);
    ck_assert_ptr_nonnull(before.mallocFn);
    ck_assert(before.mallocFn != own_malloc);
}

/* --- */

START_TEST(test_formatting)
{
    char *command = NULL;
    use_own();
    int length = redisFormatCommand(&command, "SET %s %d", "key", 5);
    ck_assert_int_eq(length, (int)strlen("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1\r\n5\r\n"));
    ck_assert_int_gt(allocated, 0);
    redisFreeCommand(command);
    /* What the header compiles into a program uses the same object. */
    void *memory = hi_malloc(100);
    ck_assert_int_eq(alive, 1);
    hi_free(memory);
    ck_assert_int_eq(alive, 0);
    hiredisResetAllocators();
    allocated = 0;
    redisFormatCommand(&command, "PING");
    redisFreeCommand(command);
    ck_assert_int_eq(allocated, 0);
}
END_TEST

START_TEST(test_blocking_contexts)
{
    target_flush(_i);
    use_own();
    redisContext *c = connect_target(_i);
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET own:%d %d", i, i);
    EXPECT(c, "1\n2\n3\n(nil)", "MGET own:1 own:2 own:3 own:none");
    EXPECT_ERROR(c, "wrong number of arguments", "GET");
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "INCR own:%d", i);
    for (int i = 0; i < KEYS; i++) {
        char expected[8];
        snprintf(expected, sizeof expected, "%d", i + 1);
        EXPECT_NEXT(c, expected);
    }
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "GET own:5");
    EXPECT(c, "6", "EXEC");
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    EXPECT(c, "6", "GET own:5");
    redisAppendCommand(c, "GET own:5"); /* never asked for */
    redisFree(c);
    ck_assert_int_gt(allocated, 2 * KEYS);
    ck_assert_int_eq(alive, 0);
}
END_TEST

START_TEST(test_asynchronous_contexts)
{
    int target = _i / LOOP_KINDS;
    target_flush(target);
    use_own();
    struct async_client client = {0};
    async_open(&client, loop_create(_i % LOOP_KINDS), target_port(target));
    for (int i = 0; i < KEYS; i++)
        async_expect(&client, "OK", "SET own:%d %d", i, i);
    async_expect(&client, "3\n4", "MGET own:3 own:4");
    async_finish(&client);
    struct loop *loop = client.loop;
    async_close(&client);
    loop_destroy(loop);
    ck_assert_int_gt(allocated, KEYS);
    ck_assert_int_eq(alive, 0);
}
END_TEST

/* Whichever allocation fails: an error of hiredis', nothing lost and nothing left behind. */
static void run_short_of_memory(int target, long allowance)
{
    left = allowance;
    redisContext *c = redisConnect("127.0.0.1", target_port(target));
    for (int i = 0; c && !c->err && i < 4; i++)
        freeReplyObject(redisCommand(c, "SET own:%d x", i));
    ck_assert(!c || !c->err || c->err == REDIS_ERR_OOM);
    if (c)
        redisFree(c);
    left = -1;
    ck_assert_msg(alive == 0, "%ld left behind after %ld allocations", alive, allowance);
}

START_TEST(test_memory_runs_out)
{
    use_own();
    for (long allowance = 0; allowance < SHORTAGES; allowance++)
        run_short_of_memory(_i, allowance);
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "SET own:1 y");
    redisFree(c);
    ck_assert_int_eq(alive, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("allocators");
    TCase *tc = suite_case(suite, "functions", NULL, NULL);
    tcase_add_test(tc, test_formatting);
    tc = suite_case(suite, "contexts", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_blocking_contexts, 0, target_count());
    tcase_add_loop_test(tc, test_asynchronous_contexts, 0, LOOP_KINDS * target_count());
    tcase_add_loop_test(tc, test_memory_runs_out, 0, target_count());
    return suite_run(suite);
}
