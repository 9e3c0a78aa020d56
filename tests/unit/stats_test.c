#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "stats/histogram.h"
#include "stats/stats.h"

static void every_time_lies_in_its_bucket(void **state)
{
    unsigned last = 0;

    (void)state;
    for (uint64_t us = 0; us < UINT64_C(1) << 27; us += 1 + us / 64) {
        unsigned bucket = histogram_bucket(us);

        assert_true(bucket >= last && bucket <= last + 1);
        assert_true(bucket < HISTOGRAM_BUCKETS);
        last = bucket;
        if (bucket == HISTOGRAM_BUCKETS - 1)
            continue;
        assert_true(us < histogram_bound(bucket));
        assert_true(bucket == 0 || us >= histogram_bound(bucket - 1));
        /* At most half more than what was; a microsecond where that is less. */
        assert_true(histogram_bound(bucket) <= us + us / 2 + 1);
    }
    assert_int_equal(last, HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void ticks_run_with_the_clock(void **state)
{
    static const struct timespec pause = {.tv_nsec = 20000000};
    uint64_t began, us;

    (void)state;
    ticks_begin();
    began = ticks_now();
    nanosleep(&pause, NULL);
    us = ticks_to_us(began, ticks_now());
    assert_true(us >= 19000);
    assert_true(us < 60000000);
    assert_int_equal(ticks_to_us(began + 5, began), 0);
}

static void counts(unsigned row, const char *name, int times, int failures)
{
    struct stats_upstream *u = stats_upstream("a\"b\\c\n:1");

    assert_non_null(u);
    for (int i = 0; i < times; i++)
        stats_answered(stats_command(u, row, name), ticks_now(), ticks_now(), 1, i >= failures);
}

static bool has_line(const char *text, const char *line)
{
    const char *at = strstr(text, line);

    return at != NULL && (at == text || at[-1] == '\n') && at[strlen(line)] == '\n';
}

static void the_text_is_prometheus(void **state)
{
    struct buffer out;
    const char *text;

    (void)state;
    counts(3, "config|get", 5, 2);
    counts(0, "unknown", 1, 1);
    stats_add(STATS_ASK, 7);
    stats_add(STATS_MIRROR_DROPPED_FULL, 2);
    buffer_init(&out);
    assert_true(stats_append_text(&out));
    assert_true(buffer_append(&out, "", 1));
    text = buffer_bytes(&out);
    assert_true(has_line(text, "# TYPE redisroute_redirects_total counter"));
    assert_true(has_line(text, "redisroute_redirects_total{kind=\"ask\"} 7"));
    assert_true(has_line(text, "redisroute_redirects_total{kind=\"moved\"} 0"));
    assert_true(has_line(text, "redisroute_retries_total 0"));
    assert_true(has_line(text, "redisroute_mirrored_total{result=\"dropped_full\"} 2"));
    assert_true(has_line(text, "redisroute_commands_total{cluster=\"a\\\"b\\\\c\\n:1\","
                               "command=\"config get\"} 5"));
    assert_true(has_line(text, "redisroute_commands_failure_total{cluster=\"a\\\"b\\\\c\\n:1\","
                               "command=\"config get\"} 2"));
    assert_true(has_line(text, "redisroute_commands_success_total{cluster=\"a\\\"b\\\\c\\n:1\","
                               "command=\"unknown\"} 0"));
    assert_true(has_line(text, "# TYPE redisroute_command_latency_microseconds histogram"));
    assert_true(has_line(text,
                         "redisroute_command_latency_microseconds_bucket{cluster=\"a\\\"b\\\\c"
                         "\\n:1\",command=\"config get\",le=\"+Inf\"} 5"));
    assert_true(has_line(text, "redisroute_command_latency_microseconds_count{cluster=\"a\\\"b\\\\c"
                               "\\n:1\",command=\"config get\"} 5"));
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_non_null(strchr(line, '\n'));
    buffer_deinit(&out);
}

static _Atomic bool is_over;

static void *look_up(void *name)
{
    while (!is_over)
        assert_non_null(stats_upstream(name));
    return NULL;
}

/* Whatever a thread is at, a child has its numbers. */
static void a_child_counts_too(void **state)
{
    enum { NAMES = 200, CHILDREN = 50 };
    char name[16];
    pthread_t thread;
    int status;

    (void)state;
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "cluster:%d", i);
        assert_non_null(stats_upstream(name));
    }
    assert_int_equal(pthread_create(&thread, NULL, look_up, "cluster:0"), 0);
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();

        if (child == 0) {
            alarm(20);
            _exit(stats_upstream("cluster:new") == NULL);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    is_over = true;
    pthread_join(thread, NULL);
}

enum { THREADS = 4, NAMES_OF_THREADS = 100 };

static void *make_all(void *arg)
{
    struct stats_upstream **made = arg;
    char name[16];

    for (int i = 0; i < NAMES_OF_THREADS; i++) {
        snprintf(name, sizeof name, "common:%d", i);
        made[i] = stats_upstream(name);
    }
    return NULL;
}

static void threads_have_one_of_each_name(void **state)
{
    static struct stats_upstream *made[THREADS][NAMES_OF_THREADS];
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_all, made[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < NAMES_OF_THREADS; k++)
            assert_ptr_equal(made[i][k], made[0][k]);
}

static int stop_at_third(void *data, const char *name, const char *labels, unsigned long long value)
{
    (void)name;
    (void)labels;
    (void)value;
    return ++*(int *)data == 3 ? 42 : 0;
}

static void a_reader_may_stop(void **state)
{
    int seen = 0;

    (void)state;
    assert_int_equal(stats_each(stop_at_third, &seen), 42);
    assert_int_equal(seen, 3);
}

static void what_is_off_is_not_measured(void **state)
{
    (void)state;
    stats_set_commands(false);
    assert_true(stats_issue() == 0);
    stats_set_commands(true);
    assert_true(stats_issue() != 0);
    stats_set_commands(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_time_lies_in_its_bucket), cmocka_unit_test(ticks_run_with_the_clock),
        cmocka_unit_test(the_text_is_prometheus),        cmocka_unit_test(a_reader_may_stop),
        cmocka_unit_test(what_is_off_is_not_measured),   cmocka_unit_test(a_child_counts_too),
        cmocka_unit_test(threads_have_one_of_each_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
