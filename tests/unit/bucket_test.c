/* So many at once, then one after the other; each node has its own, whichever thread asks. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "link/bucket.h"

enum { RATE = 100, BURST = 10, INTERVAL_MS = 1000 / RATE, NOON_MS = 43200000 };

static const struct config_reconnect limit = {.rate = RATE, .burst = BURST};

static void at_once_is_the_burst_and_no_more(void **state)
{
    (void)state;
    for (int i = 0; i < BURST; i++)
        assert_int_equal(bucket_take("a", 1, &limit, NOON_MS), 0);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(bucket_take("a", 1, &limit, NOON_MS), i * INTERVAL_MS);
    /* Whoever waits has a place of his own. */
    assert_int_equal(bucket_take("a", 1, &limit, NOON_MS + 3 * INTERVAL_MS), 3 * INTERVAL_MS);
}

static void it_fills_with_time(void **state)
{
    int64_t later_ms = NOON_MS + 1000;

    (void)state;
    for (int i = 0; i < 2 * BURST; i++)
        (void)bucket_take("b", 1, &limit, NOON_MS);
    assert_int_equal(bucket_take("b", 1, &limit, NOON_MS + (BURST + 1) * INTERVAL_MS), 0);
    assert_int_equal(bucket_take("b", 1, &limit, NOON_MS + (BURST + 1) * INTERVAL_MS), INTERVAL_MS);
    /* However long it takes, no more than a burst is there. */
    for (int i = 0; i < BURST; i++)
        assert_int_equal(bucket_take("b", 1, &limit, later_ms), 0);
    assert_int_equal(bucket_take("b", 1, &limit, later_ms), INTERVAL_MS);
}

static void nodes_have_their_own(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * BURST; i++)
        (void)bucket_take("c", 1, &limit, NOON_MS);
    assert_int_equal(bucket_take("c", 2, &limit, NOON_MS), 0);
    assert_int_equal(bucket_take("cc", 1, &limit, NOON_MS), 0);
    assert_true(bucket_take("c", 1, &limit, NOON_MS) > 0);
}

static void no_limit_is_none(void **state)
{
    static const struct config_reconnect any = {.rate = 0, .burst = 1};

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(bucket_take("d", 1, &any, NOON_MS), 0);
}

static void a_fraction_of_a_millisecond_is_waited_for_whole(void **state)
{
    static const struct config_reconnect fast = {.rate = 3000, .burst = 1};

    (void)state;
    assert_int_equal(bucket_take("e", 1, &fast, NOON_MS), 0);
    assert_int_equal(bucket_take("e", 1, &fast, NOON_MS), 1);
    assert_int_equal(bucket_take("e", 1, &fast, NOON_MS), 1);
    assert_int_equal(bucket_take("e", 1, &fast, NOON_MS), 1);
    assert_int_equal(bucket_take("e", 1, &fast, NOON_MS), 2);
}

/* --- threads --- */

enum { THREADS = 4, TAKEN_BY_EACH = 1000 };

static void *take_many(void *arg)
{
    int64_t *waits = arg;

    for (int i = 0; i < TAKEN_BY_EACH; i++)
        waits[i] = bucket_take("t", 1, &limit, NOON_MS);
    return NULL;
}

static void threads_never_share_a_token(void **state)
{
    static int64_t waits[THREADS][TAKEN_BY_EACH];
    static int taken[THREADS * TAKEN_BY_EACH];
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, waits[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < TAKEN_BY_EACH; k++) {
            assert_in_range(waits[i][k], 0, (THREADS * TAKEN_BY_EACH - BURST) * INTERVAL_MS);
            taken[waits[i][k] / INTERVAL_MS]++;
        }
    assert_int_equal(taken[0], BURST);
    for (int i = 1; i <= THREADS * TAKEN_BY_EACH - BURST; i++)
        assert_int_equal(taken[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_once_is_the_burst_and_no_more),
        cmocka_unit_test(it_fills_with_time),
        cmocka_unit_test(nodes_have_their_own),
        cmocka_unit_test(no_limit_is_none),
        cmocka_unit_test(a_fraction_of_a_millisecond_is_waited_for_whole),
        cmocka_unit_test(threads_never_share_a_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
