/* The mirror: what arrives there is proved by the mirror's own counts and data, and that nothing of
 * it reaches the application by the replies, while the mirror is well, dead, silent or hostile. */
#define _GNU_SOURCE
#include <dirent.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/threads.h"
#include "../support/until.h"

enum { KEYS = 200 };

static struct server *plain_mirror;
static struct cluster *cluster_mirror;

static void setup(void)
{
    target_setup();
    plain_mirror = server_start(&(struct server_options){0});
    cluster_mirror = cluster_start(NULL);
}

static void teardown(void)
{
    cluster_stop(cluster_mirror);
    server_stop(plain_mirror);
    target_teardown();
}

/* Every test is a process of its own, whose configuration is read at the first context. */
static void mirror_to(int first, int second)
{
    char text[64];

    if (second)
        snprintf(text, sizeof text, "127.0.0.1:%d,127.0.0.1:%d", first, second);
    else
        snprintf(text, sizeof text, "127.0.0.1:%d", first);
    setenv("REDISROUTE_MIRROR", text, 1);
    setenv("REDISROUTE_MIRROR_EXCLUDE_READ_COMMANDS", "true", 1);
}

static bool mirror_says(const char *expected, const char *command)
{
    char *said = server_command(plain_mirror, "%s", command);
    bool same = said != NULL && strcmp(said, expected) == 0;

    free(said);
    return same;
}

static void clean(void)
{
    for (int i = 0; i < cluster_masters(cluster_mirror); i++) {
        free(cluster_command(cluster_mirror, i, "FLUSHALL"));
        free(cluster_command(cluster_mirror, i, "CONFIG RESETSTAT"));
    }
    free(server_command(plain_mirror, "FLUSHALL"));
    free(server_command(plain_mirror, "CONFIG RESETSTAT"));
    for (int i = 0; i < target_count(); i++)
        target_flush(i);
}

static void write_keys(redisContext *c)
{
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "RPUSH m:%d a", i % 20);
    for (int i = 0; i < KEYS; i++)
        EXPECT_NEXT(c, i < 20 ? "1" : i < 40 ? "2" : i < 60 ? "3" : i < 80 ? "4" : i < 100 ? "5"
                       : i < 120 ? "6" : i < 140 ? "7" : i < 160 ? "8" : i < 180 ? "9" : "10");
}

START_TEST(test_exactly_the_writes_arrive)
{
    clean();
    mirror_to(server_port(plain_mirror), cluster_port(cluster_mirror, 0));
    redisContext *c = connect_target(_i);
    write_keys(c);
    EXPECT(c, "OK", "SET a 1");
    EXPECT(c, "1", "GET a");
    EXPECT(c, "OK", "MSET x 1 y 2 z 3");
    EXPECT(c, "2", "DEL x y nosuch");
    EXPECT(c, "1", "EVAL %s 1 s", "return redis.call('incr', KEYS[1])");
    EXPECT(c, "PONG", "PING");
    UNTIL(mirror_says("1", "GET s"));
    ck_assert_int_eq(server_calls(plain_mirror, "rpush"), KEYS);
    ck_assert_int_eq(server_calls(plain_mirror, "set"), 1);
    ck_assert_int_eq(server_calls(plain_mirror, "mset"), 1);
    ck_assert_int_eq(server_calls(plain_mirror, "del"), 1);
    ck_assert_int_eq(server_calls(plain_mirror, "ping"), 0);
    UNTIL(cluster_calls_of_masters(cluster_mirror, "eval") == 1);
    ck_assert_int_eq(cluster_calls_of_masters(cluster_mirror, "rpush"), KEYS);
    redisFree(c);
}
END_TEST

START_TEST(test_the_order_of_a_key_is_kept)
{
    clean();
    mirror_to(server_port(plain_mirror), 0);
    redisContext *c = connect_target(_i);
    for (int i = 0; i < 2000; i++)
        redisAppendCommand(c, "SET order:%d %d", i % 3, i);
    for (int i = 0; i < 2000; i++)
        EXPECT_NEXT(c, "OK");
    EXPECT(c, "OK", "SET last 1");
    UNTIL(mirror_says("1", "GET last"));
    ck_assert(mirror_says("1998", "GET order:0"));
    ck_assert(mirror_says("1999", "GET order:1"));
    ck_assert(mirror_says("1997", "GET order:2"));
    redisFree(c);
}
END_TEST

START_TEST(test_a_transaction_is_mirrored_whole_or_not_at_all)
{
    clean();
    mirror_to(server_port(plain_mirror), 0);
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET {t}a 1");
    EXPECT(c, "OK", "DISCARD");
    EXPECT(c, "OK", "WATCH {t}w");
    EXPECT(other, "OK", "SET {t}w 1");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET {t}b 1");
    EXPECT(c, "(nil)", "EXEC");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET {t}c 1");
    EXPECT(c, "QUEUED", "INCR {t}c");
    EXPECT(c, "OK\n2", "EXEC");
    UNTIL(mirror_says("2", "GET {t}c"));
    ck_assert(mirror_says("0", "EXISTS {t}a {t}b"));
    ck_assert_int_eq(server_calls(plain_mirror, "multi"), 1);
    ck_assert_int_eq(server_calls(plain_mirror, "exec"), 1);
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_a_dead_mirror)
{
    struct fake_node *node = fake_node_start();
    int port = fake_node_port(node);
    clean();
    fake_node_stop(node);
    mirror_to(port, 0);
    redisContext *c = connect_target(_i);
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET d:%d v", i);
    redisFree(c);
}
END_TEST

static const struct {
    enum fake_action action;
    const char *reply;
} hostilities[] = {
    {FAKE_SILENCE, NULL},
    {FAKE_ANSWER, "-OOM command not allowed when used memory > 'maxmemory'.\r\n"},
    {FAKE_ANSWER, "-MOVED 1 127.0.0.1:1\r\n"},
    {FAKE_ANSWER, "HTTP/1.0 400 Bad Request\r\n\r\n"},
    {FAKE_ANSWER, "+OK\r\n+OK\r\n+OK\r\n"},
    {FAKE_CLOSE, "$100\r\nhalf"},
    {FAKE_RESET, ""},
};

START_TEST(test_a_hostile_mirror)
{
    struct fake_node *node = fake_node_start();
    clean();
    fake_node_on(node, "*", (struct fake_rule){hostilities[_i].action, hostilities[_i].reply, 0, 0, 0});
    mirror_to(fake_node_port(node), 0);
    setenv("REDISROUTE_MIRROR_QUEUE_BYTES", "4096", 1);
    redisContext *c = connect_target(TARGET_CLUSTER);
    int64_t begin = now_ms();
    write_keys(c);
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET d:%d v", i);
    ck_assert_int_lt(now_ms() - begin, 20000);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

/* Nothing calls the library any more: exit() sends what is queued. */
START_TEST(test_a_short_program_is_mirrored_to_its_end)
{
    clean();
    mirror_to(server_port(plain_mirror), 0);
    setenv("REDISROUTE_MIRROR_FLUSH_TIMEOUT", "30s", 1);
    pid_t child = fork();
    if (child == 0) {
        static redisContext *c; /* never freed */
        c = redisConnect("127.0.0.1", target_port(_i));
        for (int i = 0; i < 1000; i++)
            redisAppendCommand(c, "SET exit:%d v", i);
        for (int i = 0; i < 1000; i++) {
            void *reply = NULL;
            redisGetReply(c, &reply);
            freeReplyObject(reply);
        }
        exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert(mirror_says("1000", "DBSIZE"));
}
END_TEST

START_TEST(test_a_child_sends_only_its_own)
{
    clean();
    mirror_to(server_port(plain_mirror), 0);
    setenv("REDISROUTE_MIRROR_FLUSH_TIMEOUT", "30s", 1);
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "SET begun 1");
    UNTIL(threads_are_asleep());
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "INCR counter");
    for (int i = 0; i < KEYS; i++) {
        redisReply *reply = NULL;
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        ck_assert_int_eq(reply->integer, i + 1);
        freeReplyObject(reply);
    }
    pid_t child = fork();
    if (child == 0) {
        redisContext *own = redisConnect("127.0.0.1", target_port(_i));
        freeReplyObject(redisCommand(own, "INCR counter"));
        redisFree(own);
        redisFree(c);
        exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT(c, "OK", "SET done 1");
    UNTIL(mirror_says("1", "GET done"));
    ck_assert_int_eq(server_calls(plain_mirror, "incr"), KEYS + 1);
    redisFree(c);
}
END_TEST

static void set_keys(redisContext *c, const char *name, int count)
{
    for (int i = 0; i < count; i++)
        redisAppendCommand(c, "SET %s:%d v", name, i);
    for (int i = 0; i < count; i++)
        EXPECT_NEXT(c, "OK");
}

/* Else a server that forks for each of its clients had all of their commands copied, or none. */
START_TEST(test_each_child_throws_its_own_dice)
{
    enum { CHILDREN = 64 }; /* they agree by chance once in 2^63 runs */
    int status;
    clean();
    mirror_to(server_port(plain_mirror), 0);
    setenv("REDISROUTE_MIRROR_FRACTION", "50", 1);
    setenv("REDISROUTE_MIRROR_FLUSH_TIMEOUT", "30s", 1);
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            redisContext *c = connect_target(TARGET_CLUSTER);
            set_keys(c, "dice", 1);
            redisFree(c);
            exit(0);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_gt(server_calls(plain_mirror, "set"), 0);
    ck_assert_int_lt(server_calls(plain_mirror, "set"), CHILDREN);
}
END_TEST

/* The sum of what a statistics file says of the mirror's results that begin so. */
static long mirrored(const char *path, const char *result)
{
    char line[4096], start[128];
    long sum = 0;
    FILE *file = fopen(path, "r");

    ck_assert_ptr_nonnull(file);
    snprintf(start, sizeof start, "redisroute_mirrored_total{result=\"%s", result);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, start, strlen(start)))
            sum += atol(strrchr(line, ' '));
    fclose(file);
    return sum;
}

static void set_keys_in_a_process(const char *stats_file, int count)
{
    int status;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setenv("REDISROUTE_STATS_FILE", stats_file, 1);
        redisContext *c = connect_target(TARGET_CLUSTER);
        set_keys(c, "end", count);
        redisFree(c);
        exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

static const struct {
    enum fake_action action;
    bool is_there;
    const char *cause; /* of some at least */
} ends[] = {
    {FAKE_SILENCE, true, "dropped_exit"},
    {FAKE_RESET, true, "dropped_lost"},
    {FAKE_SILENCE, false, "dropped_exit"},
};

START_TEST(test_what_is_left_at_the_end_is_counted)
{
    enum { COUNT = 3000 }; /* more than are under way at once */
    char path[] = "/tmp/redisroute-mirror-XXXXXX";
    struct fake_node *node = fake_node_start();
    int port = fake_node_port(node);
    clean();
    fake_node_on(node, "SET", (struct fake_rule){ends[_i].action, "", 0, 0, 0});
    if (!ends[_i].is_there)
        fake_node_stop(node);
    close(mkstemp(path));
    mirror_to(port, 0);
    setenv("REDISROUTE_MIRROR_FLUSH_TIMEOUT", "100ms", 1);
    set_keys_in_a_process(path, COUNT);
    ck_assert_int_eq(mirrored(path, "queued"), COUNT);
    ck_assert_int_eq(mirrored(path, "sent"), 0);
    ck_assert_int_gt(mirrored(path, ends[_i].cause), 0);
    ck_assert_int_eq(mirrored(path, "dropped_"), COUNT);
    unlink(path);
    if (ends[_i].is_there)
        fake_node_stop(node);
}
END_TEST

START_TEST(test_what_the_end_still_sent_is_in_the_statistics)
{
    char path[] = "/tmp/redisroute-mirror-XXXXXX";
    clean();
    close(mkstemp(path));
    mirror_to(server_port(plain_mirror), 0);
    setenv("REDISROUTE_MIRROR_FLUSH_TIMEOUT", "30s", 1);
    set_keys_in_a_process(path, 20000);
    ck_assert_int_eq(mirrored(path, "sent"), 20000);
    ck_assert_int_eq(mirrored(path, "dropped_"), 0);
    unlink(path);
}
END_TEST

/* How often threads other than this one went to sleep. */
static long sleeps_of_others(void)
{
    char path[300], line[128];
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    long sleeps = 0;

    while ((entry = readdir(tasks)) != NULL) {
        int thread = atoi(entry->d_name); /* 0: . and .. */
        snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
        FILE *status = thread != 0 && thread != gettid() ? fopen(path, "r") : NULL;
        while (status && fgets(line, sizeof line, status))
            if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
                sleeps += atol(line + 24);
        if (status)
            fclose(status);
    }
    closedir(tasks);
    return sleeps;
}

/* A program that writes now and then is not to pay for a thread that looks all the time. */
START_TEST(test_the_keeper_sleeps_most_of_the_time)
{
    clean();
    mirror_to(server_port(plain_mirror), 0);
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "SET pace first");
    UNTIL(mirror_says("first", "GET pace"));
    int64_t began = now_ms(), took;
    long sleeps = -sleeps_of_others();
    for (int i = 0; i < 100; i++) {
        pause_ms(10);
        EXPECT(c, "OK", "SET pace %d", i);
    }
    took = now_ms() - began;
    sleeps += sleeps_of_others();
    UNTIL(mirror_says("99", "GET pace"));
    ck_assert_msg(sleeps * 1000 / took < 200, "%ld in %ld ms", sleeps, (long)took);
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mirror");
    TCase *tc = suite_case(suite, "mirror", setup, teardown);

    tcase_add_loop_test(tc, test_exactly_the_writes_arrive, 0, target_count());
    tcase_add_loop_test(tc, test_the_order_of_a_key_is_kept, 0, target_count());
    tcase_add_loop_test(tc, test_a_transaction_is_mirrored_whole_or_not_at_all, 0, target_count());
    tcase_add_loop_test(tc, test_a_dead_mirror, 0, target_count());
    tcase_add_loop_test(tc, test_a_hostile_mirror, 0, sizeof hostilities / sizeof hostilities[0]);
    tcase_add_loop_test(tc, test_a_short_program_is_mirrored_to_its_end, 0, target_count());
    tcase_add_loop_test(tc, test_a_child_sends_only_its_own, 0, target_count());
    tcase_add_test(tc, test_each_child_throws_its_own_dice);
    tcase_add_loop_test(tc, test_what_is_left_at_the_end_is_counted, 0,
                        sizeof ends / sizeof ends[0]);
    tcase_add_test(tc, test_what_the_end_still_sent_is_in_the_statistics);
    tcase_add_loop_test(tc, test_the_keeper_sleeps_most_of_the_time, 0, target_count());
    return suite_run(suite);
}
