/* One command at a time over a byte session, as most programs do: in each way to wait for the answer,
 * and when the answer is late, long, a redirection, or lost. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/threads.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { KEYS = 40, LONG = 300000, SOON_MS = 30 };

static redisRouteSession *session;
static int edges = -1; /* watches the session edge-triggered, from its first moment */

static void open_session(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    session = redisRouteOpen("127.0.0.1", target_port(TARGET_CLUSTER), NULL);
    ck_assert_msg(session != NULL, "%s", redisRouteErrorText(NULL));
    edges = epoll_create1(EPOLL_CLOEXEC);
    MUST(epoll_ctl(edges, EPOLL_CTL_ADD, redisRouteFd(session), &event) == 0);
}

static void close_session(void)
{
    redisRouteClose(session);
    close(edges);
}

/* --- ways to wait: 1, or 0 when so much time has passed; *n is what redisRouteRead says --- */

static int by_read_wait(char *to, size_t size, int limit_ms, ssize_t *n)
{
    *n = redisRouteReadWait(session, to, size, limit_ms);
    return *n != -1 || errno != EAGAIN;
}

static int by_wait(char *to, size_t size, int limit_ms, ssize_t *n)
{
    int waited = redisRouteWait(session, limit_ms);
    if (waited != 1) {
        *n = -1;
        return waited != 0;
    }
    *n = redisRouteRead(session, to, size);
    return 1;
}

/* A loop that reads when the descriptor is readable, and never before. */
static int by_poll(char *to, size_t size, int limit_ms, ssize_t *n)
{
    struct pollfd set = {.fd = redisRouteFd(session), .events = POLLIN};
    int ready = poll(&set, 1, limit_ms);
    if (ready == 0)
        return 0;
    *n = redisRouteRead(session, to, size);
    return 1;
}

/* A runtime that reads until EAGAIN, and waits only then. */
static int by_edge(char *to, size_t size, int limit_ms, ssize_t *n)
{
    struct epoll_event event;
    *n = redisRouteRead(session, to, size);
    if (*n != -1 || errno != EAGAIN)
        return 1;
    return epoll_wait(edges, &event, 1, limit_ms) != 0;
}

static int (*const ways[])(char *, size_t, int, ssize_t *) = {by_read_wait, by_wait, by_poll,
                                                             by_edge};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void say(const char *command)
{
    ck_assert_msg(redisRouteWrite(session, command, strlen(command)) == 0, "%s",
                  redisRouteErrorText(session));
}

/* Exactly these bytes come next. */
static void hear(int way, const char *expected)
{
    size_t length = strlen(expected), there = 0;
    char *heard = calloc(1, length + 1);
    while (there < length) {
        ssize_t n;
        ck_assert_int_eq(ways[way](heard + there, length - there, UNTIL_LIMIT_MS, &n), 1);
        if (n == -1 && errno == EAGAIN)
            continue;
        ck_assert_msg(n > 0, "%s", redisRouteErrorText(session));
        there += (size_t)n;
    }
    ck_assert_str_eq(heard, expected);
    free(heard);
}

static void hear_nothing(int way, int for_ms)
{
    int64_t until = now_ms() + for_ms;
    for (int64_t left; (left = until - now_ms()) > 0;) {
        ssize_t n = -1;
        char byte;
        errno = EAGAIN;
        if (ways[way](&byte, 1, (int)left, &n) == 1) {
            ck_assert_int_eq(n, -1);
            ck_assert_int_eq(errno, EAGAIN);
        }
    }
}

/* "SET key value", or "GET key" without a value. */
static void say_about(const char *key, const char *value)
{
    char *command = NULL;
    int length = value != NULL ? asprintf(&command, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                                          strlen(key), key, strlen(value), value)
                               : asprintf(&command, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key),
                                          key);
    MUST(length > 0);
    say(command);
    free(command);
}

/* Of every shard, and each shape of command was seen before what matters. */
static void warm_up(int way)
{
    char key[32];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "single:%d", i);
        say_about(key, "1");
        hear(way, "+OK\r\n");
        say_about(key, NULL);
        hear(way, "$1\r\n1\r\n");
    }
}

/* The node that has the key. */
static int owner(const char *key)
{
    return cluster_owner_of_slot(target_cluster(), 0, cluster_slot(key));
}

START_TEST(test_commands_and_answers)
{
    open_session();
    for (int i = 0; i < 5; i++)
        warm_up(_i);
    hear_nothing(_i, SOON_MS);
    close_session();
}
END_TEST

START_TEST(test_an_answer_that_is_long)
{
    char *value = malloc(LONG + 1), *expected;
    memset(value, 'v', LONG);
    value[LONG] = '\0';
    MUST(asprintf(&expected, "$%d\r\n%s\r\n", LONG, value) > 0);
    open_session();
    warm_up(_i);
    for (int i = 0; i < 3; i++) {
        say_about("single:long", value);
        hear(_i, "+OK\r\n");
        say_about("single:long", NULL);
        hear(_i, expected);
        warm_up(_i);
    }
    close_session();
    free(expected);
    free(value);
}
END_TEST

/* Who is told that there is nothing, sleeps, and is woken. */
START_TEST(test_an_answer_that_is_late)
{
    struct pollfd set = {.events = POLLIN};
    int node = owner("single:1");
    open_session();
    warm_up(_i);
    set.fd = redisRouteFd(session);
    for (int i = 0; i < 3; i++) {
        cluster_signal(target_cluster(), node, SIGSTOP);
        say_about("single:1", NULL);
        hear_nothing(_i, SOON_MS);
        ck_assert_int_eq(poll(&set, 1, SOON_MS), 0);
        cluster_signal(target_cluster(), node, SIGCONT);
        hear(_i, "$1\r\n1\r\n");
        warm_up(_i);
    }
    close_session();
}
END_TEST

/* Another command behind one that is not answered yet. */
START_TEST(test_a_second_command)
{
    int node = owner("single:1");
    open_session();
    warm_up(_i);
    cluster_signal(target_cluster(), node, SIGSTOP);
    say_about("single:1", NULL);
    hear_nothing(_i, SOON_MS);
    for (int i = 0; i < KEYS; i++) {
        char key[32], value[32];
        snprintf(key, sizeof key, "single:%d", i);
        snprintf(value, sizeof value, "%d", i % 10);
        say_about(key, value);
    }
    say_about("single:1", NULL);
    hear_nothing(_i, SOON_MS);
    cluster_signal(target_cluster(), node, SIGCONT);
    hear(_i, "$1\r\n1\r\n");
    for (int i = 0; i < KEYS; i++)
        hear(_i, "+OK\r\n");
    hear(_i, "$1\r\n1\r\n");
    close_session();
}
END_TEST

START_TEST(test_a_slot_that_moves)
{
    struct cluster *cluster = target_cluster();
    int slot = cluster_slot("single:3"), from = owner("single:3");
    open_session();
    for (int i = 0; i < 4; i++) {
        int to = (from + 1) % cluster_masters(cluster);
        warm_up(_i);
        cluster_migrate(cluster, slot, from, to);
        say_about("single:3", i % 2 == 0 ? NULL : "1");
        hear(_i, i % 2 == 0 ? "$1\r\n1\r\n" : "+OK\r\n");
        from = to;
    }
    warm_up(_i);
    close_session();
}
END_TEST

/* A read is said again on a new connection, and nobody notices. */
START_TEST(test_connections_that_break)
{
    int node = owner("single:2");
    open_session();
    warm_up(_i);
    for (int i = 0; i < 10; i++) {
        if (i % 2 == 0)
            cluster_signal(target_cluster(), node, SIGSTOP);
        say_about("single:2", NULL);
        if (i % 2 == 0) {
            hear_nothing(_i, 1);
            cluster_signal(target_cluster(), node, SIGCONT);
        }
        free(cluster_command(target_cluster(), node, "CLIENT KILL TYPE normal SKIPME yes"));
        hear(_i, "$1\r\n1\r\n");
    }
    close_session();
}
END_TEST

/* Up to and including these bytes. */
static void hear_until(const char *end)
{
    char heard[4096] = "";
    size_t there = 0, length = strlen(end);
    while (there < length || strcmp(heard + there - length, end) != 0) {
        ck_assert_uint_lt(there, sizeof heard - 1);
        ck_assert_int_eq(redisRouteReadWait(session, heard + there++, 1, UNTIL_LIMIT_MS), 1);
    }
}

/* A node that none of our subscriptions is at; -1: there is none yet. */
static int node_without_subscriber(void)
{
    struct cluster *cluster = target_cluster();
    int without = -1, with = 0;
    for (int node = 0; node < cluster_masters(cluster); node++)
        if (cluster_says(cluster, node, "news\n0", "PUBSUB NUMSUB news"))
            without = node;
        else
            with++;
    return with > 0 ? without : -1;
}

/* What a subscription brings does not wait for the answer of another node. */
START_TEST(test_a_message_before_the_answer)
{
    int node = -1;
    open_session();
    warm_up(_i);
    say("HELLO 3\r\n");
    say("PING\r\n");
    hear_until("+PONG\r\n");
    say("SUBSCRIBE news\r\n");
    hear(_i, ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    UNTIL((node = node_without_subscriber()) != -1);
    warm_up(_i);
    char *key = cluster_key_for(target_cluster(), node, 0);
    say_about(key, "1");
    hear(_i, "+OK\r\n");
    cluster_signal(target_cluster(), node, SIGSTOP);
    say_about(key, NULL);
    hear_nothing(_i, SOON_MS);
    free(cluster_command(target_cluster(), (node + 1) % cluster_masters(target_cluster()),
                         "PUBLISH news hello"));
    hear(_i, ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
    cluster_signal(target_cluster(), node, SIGCONT);
    hear(_i, "$1\r\n1\r\n");
    close_session();
    free(key);
}
END_TEST

static void on_signal(int number)
{
    (void)number;
}

/* Each of them ends a wait, and the answer comes all the same. */
START_TEST(test_waits_that_end)
{
    struct sigaction action = {.sa_handler = on_signal};
    int node = owner("single:1");
    char byte;
    open_session();
    sigaction(SIGALRM, &action, NULL);
    for (int i = 0; i < 3; i++) {
        warm_up(_i);
        cluster_signal(target_cluster(), node, SIGSTOP);
        say_about("single:1", NULL);
        if (i == 0)
            redisRouteInterrupt(session);
        else if (i == 1)
            ualarm(1000 * SOON_MS, 0);
        ck_assert_int_eq(redisRouteReadWait(session, &byte, 1, i == 2 ? SOON_MS : UNTIL_LIMIT_MS),
                         -1);
        ck_assert_int_eq(errno, i == 0 ? ECANCELED : i == 1 ? EINTR : EAGAIN);
        ck_assert_uint_gt(redisRouteKept(session), 0);
        cluster_signal(target_cluster(), node, SIGCONT);
        hear(_i, "$1\r\n1\r\n");
        ck_assert_uint_eq(redisRouteKept(session), 0);
    }
    close_session();
}
END_TEST

/* The child reads the answer to what its parent said, as from an inherited socket. */
START_TEST(test_a_child_hears_the_answer)
{
    int node = owner("single:1"), status;
    open_session();
    warm_up(_i);
    cluster_signal(target_cluster(), node, SIGSTOP);
    say_about("single:1", NULL);
    pid_t child = fork();
    if (child == 0) {
        cluster_signal(target_cluster(), node, SIGCONT);
        hear(_i == 3 ? 2 : _i, "$1\r\n1\r\n"); /* the parent's epoll watches the parent's session */
        warm_up(_i == 3 ? 2 : _i);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    close(edges);
}
END_TEST

/* --- several in one write --- */

static bool is_written(const char *key)
{
    char *value = target_look(TARGET_CLUSTER, key, "GET %s", key);
    bool is = strcmp(value, "sent") == 0;
    free(value);
    return is;
}

/* Nobody reads, and they are sent. */
START_TEST(test_a_pipeline_is_sent_at_once)
{
    char command[4096] = "", key[32];
    open_session();
    warm_up(_i);
    target_flush(TARGET_CLUSTER);
    for (int i = 0; i < KEYS; i++)
        snprintf(command + strlen(command), 64, "SET single:%d sent\r\n", i);
    say(command);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "single:%d", i);
        UNTIL(is_written(key));
    }
    for (int i = 0; i < KEYS; i++)
        hear(_i, "+OK\r\n");
    close_session();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("byte_single");
    TCase *tc = suite_case(suite, "single", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_commands_and_answers, 0, WAYS);
    tcase_add_loop_test(tc, test_an_answer_that_is_long, 0, WAYS);
    tcase_add_loop_test(tc, test_an_answer_that_is_late, 0, WAYS);
    tcase_add_loop_test(tc, test_a_second_command, 0, WAYS);
    tcase_add_loop_test(tc, test_a_slot_that_moves, 0, WAYS);
    tcase_add_loop_test(tc, test_connections_that_break, 0, WAYS);
    tcase_add_loop_test(tc, test_a_message_before_the_answer, 0, WAYS);
    tcase_add_loop_test(tc, test_waits_that_end, 0, WAYS);
    if (CAN_FORK)
        tcase_add_loop_test(tc, test_a_child_hears_the_answer, 0, WAYS);
    tcase_add_loop_test(tc, test_a_pipeline_is_sent_at_once, 0, WAYS);
    return suite_run(suite);
}
