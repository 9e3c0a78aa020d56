/* The byte session of the public header: commands and replies as bytes, a descriptor for any loop,
 * and what happens when connections, processes and callers do not go the easy way. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/port.h"
#include "../support/silent_host.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/threads.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { KEYS = 60, THREADS = 8, PIPELINE = 20000 };

static redisRouteSession *open_port(int port)
{
    redisRouteSession *session = redisRouteOpen("127.0.0.1", port, NULL);
    ck_assert_msg(session != NULL, "%s", redisRouteErrorText(NULL));
    return session;
}

static void say(redisRouteSession *session, const char *text)
{
    ck_assert_msg(redisRouteWrite(session, text, strlen(text)) == 0, "%s",
                  redisRouteErrorText(session));
}

/* Exactly these bytes come next. */
static bool hears(redisRouteSession *session, const char *expected)
{
    size_t length = strlen(expected), there = 0;
    char *heard = calloc(1, length + 1);
    bool is_same;
    while (there < length) {
        ssize_t n = redisRouteReadWait(session, heard + there, length - there, UNTIL_LIMIT_MS);
        if (n <= 0)
            break;
        there += (size_t)n;
    }
    is_same = there == length && memcmp(heard, expected, length) == 0;
    if (!is_same)
        fprintf(stderr, "expected %s, heard %s (%s)\n", expected, heard,
                redisRouteErrorText(session));
    free(heard);
    return is_same;
}

/* In many slots, each key twice. */
static bool use(redisRouteSession *session, const char *name)
{
    char command[128];
    for (int i = 0; i < KEYS; i++) {
        snprintf(command, sizeof command, "SET bytes:%s:%d %d\r\n", name, i, i % 10);
        if (redisRouteWrite(session, command, strlen(command)) == -1)
            return false;
    }
    for (int i = 0; i < KEYS; i++)
        if (!hears(session, "+OK\r\n"))
            return false;
    for (int i = 0; i < KEYS; i++) {
        char expected[16];
        int length = snprintf(command, sizeof command, "*2\r\n$3\r\nGET\r\n$%d\r\nbytes:%s:%d\r\n",
                              snprintf(NULL, 0, "bytes:%s:%d", name, i), name, i);
        snprintf(expected, sizeof expected, "$1\r\n%d\r\n", i % 10);
        if (redisRouteWrite(session, command, (size_t)length) == -1 || !hears(session, expected))
            return false;
    }
    return true;
}

START_TEST(test_commands_and_replies)
{
    redisRouteSession *session = open_port(target_port(_i));
    ck_assert(use(session, "first"));
    ck_assert_int_eq(redisRouteConnected(session), 1);
    ck_assert_str_eq(redisRouteErrorText(session), "");
    redisRouteClose(session);
}
END_TEST

START_TEST(test_a_name_is_looked_up)
{
    redisRouteSession *session = redisRouteOpen("localhost", target_port(_i), NULL);
    ck_assert_msg(session != NULL, "%s", redisRouteErrorText(NULL));
    ck_assert(use(session, "name"));
    redisRouteClose(session);
}
END_TEST

START_TEST(test_bytes_cut_anywhere)
{
    const char *text =
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    char heard[64] = "", *to = heard;
    redisRouteSession *session = open_port(target_port(_i));
    for (const char *at = text; *at; at++)
        ck_assert_int_eq(redisRouteWrite(session, at, 1), 0);
    while (to < heard + strlen("+OK\r\n$5\r\nhello\r\n"))
        ck_assert_int_eq(redisRouteReadWait(session, to++, 1, UNTIL_LIMIT_MS), 1);
    ck_assert_str_eq(heard, "+OK\r\n$5\r\nhello\r\n");
    redisRouteClose(session);
}
END_TEST

/* Larger than every buffer of the kernel, written before anything is read. */
START_TEST(test_a_pipeline_is_taken_whole)
{
    char command[64];
    redisRouteSession *session = open_port(target_port(_i));
    target_flush(_i);
    for (int i = 0; i < PIPELINE; i++) {
        say(session, "*3\r\n$5\r\nRPUSH\r\n");
        snprintf(command, sizeof command, "$%d\r\nbytes:list:%d\r\n",
                 snprintf(NULL, 0, "bytes:list:%d", i % KEYS), i % KEYS);
        say(session, command);
        char value[1024];
        snprintf(value, sizeof value, "$900\r\n%0900d\r\n", i);
        say(session, value);
    }
    ck_assert_uint_gt(redisRouteKept(session), 0);
    for (int i = 0; i < PIPELINE; i++) {
        snprintf(command, sizeof command, ":%d\r\n", i / KEYS + 1);
        ck_assert(hears(session, command));
    }
    ck_assert_uint_eq(redisRouteKept(session), 0);
    redisRouteClose(session);
}
END_TEST

/* --- the descriptor --- */

static int await(int fd, int limit_ms)
{
    struct pollfd set = {.fd = fd, .events = POLLIN};
    return poll(&set, 1, limit_ms);
}

/* An event loop: nothing but the descriptor tells when to read. */
static size_t read_by_poll(redisRouteSession *session, char *to, size_t size)
{
    size_t there = 0;
    while (there < size) {
        ssize_t n = redisRouteRead(session, to + there, size - there);
        ck_assert_int_ne(n, 0);
        if (n > 0)
            there += (size_t)n;
        else {
            ck_assert_int_eq(errno, EAGAIN);
            ck_assert_int_eq(await(redisRouteFd(session), UNTIL_LIMIT_MS), 1);
        }
    }
    return there;
}

START_TEST(test_the_descriptor_says_when_to_read)
{
    char heard[16], expected[16], command[64];
    redisRouteSession *session = open_port(target_port(_i));
    target_flush(_i);
    for (int i = 0; i < 10 * KEYS; i++) {
        snprintf(command, sizeof command, "INCR bytes:poll:%d\r\n", i % KEYS);
        say(session, command);
        size_t length = (size_t)snprintf(expected, sizeof expected, ":%d\r\n", i / KEYS + 1);
        read_by_poll(session, heard, length);
        ck_assert_int_eq(memcmp(heard, expected, length), 0);
    }
    redisRouteClose(session);
}
END_TEST

/* Idle means that a loop sleeps: not readable, and never writable. */
START_TEST(test_an_idle_session_wakes_nobody)
{
    char byte;
    redisRouteSession *session = open_port(target_port(_i));
    ck_assert(use(session, "idle"));
    say(session, "PING\r\nPING\r\n");
    ck_assert(hears(session, "+PONG\r\n") && hears(session, "+PONG\r\n"));
    ck_assert_int_eq(await(redisRouteFd(session), 50), 0);
    ck_assert_int_eq(redisRouteWait(session, 20), 0);
    ck_assert_int_eq(redisRouteReadWait(session, &byte, 1, 20), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert(use(session, "idle"));
    redisRouteClose(session);
}
END_TEST

/* Edge-triggered, as runtimes of other languages watch: read until EAGAIN, then wait. */
START_TEST(test_watched_edge_triggered)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    redisRouteSession *session = open_port(target_port(_i));
    char reply[8];
    int epoll = epoll_create1(0);
    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, redisRouteFd(session), &event), 0);
    for (int i = 0; i < KEYS; i++) {
        size_t there = 0;
        say(session, "*3\r\n$3\r\nSET\r\n$6\r\nbytes:\r\n$1\r\nv\r\n");
        while (there < 5) {
            ssize_t n = redisRouteRead(session, reply, 5 - there);
            if (n > 0)
                there += (size_t)n;
            else
                ck_assert_int_eq(epoll_wait(epoll, &event, 1, UNTIL_LIMIT_MS), 1);
        }
    }
    close(epoll);
    redisRouteClose(session);
}
END_TEST

/* --- what goes wrong --- */

START_TEST(test_refused)
{
    redisRouteSession *session = redisRouteOpen("127.0.0.1", port_free(), NULL);
    if (session == NULL) {
        ck_assert_int_eq(errno, ECONNREFUSED);
        ck_assert_ptr_nonnull(strstr(redisRouteErrorText(NULL), "Connection refused"));
        return;
    }
    ck_assert_int_eq(redisRouteWait(session, UNTIL_LIMIT_MS), 1);
    ck_assert_int_eq(redisRouteConnected(session), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
    ck_assert_ptr_nonnull(strstr(redisRouteErrorText(session), "Connection refused"));
    redisRouteClose(session);
}
END_TEST

START_TEST(test_a_host_that_is_silent)
{
    struct silent_host host;
    redisRouteOptions options = {.size = sizeof options, .connect_timeout_ms = 100};
    silent_host_start(&host);
    redisRouteSession *session = redisRouteOpen("127.0.0.1", host.port, &options);
    ck_assert_ptr_nonnull(session);
    ck_assert_int_eq(redisRouteConnected(session), 0);
    ck_assert_int_eq(await(redisRouteFd(session), UNTIL_LIMIT_MS), 1);
    ck_assert_int_eq(redisRouteConnected(session), -1);
    ck_assert_int_eq(errno, ETIMEDOUT);
    redisRouteClose(session);
    silent_host_stop(&host);
}
END_TEST

START_TEST(test_arguments_that_cannot_be)
{
    redisRouteOptions no_size = {.connect_timeout_ms = 1};
    redisRouteOptions negative = {.size = sizeof negative, .connect_timeout_ms = -1};
    redisRouteOptions policy = {.size = sizeof policy, .read_policy = "NEAREST"};
    const struct {
        const char *host;
        int port;
        const redisRouteOptions *options;
        int error;
    } cases[] = {{NULL, 1, NULL, EINVAL},
                 {"", 1, NULL, EINVAL},
                 {"127.0.0.1", 0, NULL, EINVAL},
                 {"127.0.0.1", 65536, NULL, EINVAL},
                 {"127.0.0.1", -1, NULL, EINVAL},
                 {"127.0.0.1", 1, &no_size, EINVAL},
                 {"127.0.0.1", 1, &negative, EINVAL},
                 {"127.0.0.1", 1, &policy, EINVAL},
                 {"no host", 1, NULL, EHOSTUNREACH}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        errno = 0;
        ck_assert_ptr_null(redisRouteOpen(cases[i].host, cases[i].port, cases[i].options));
        ck_assert_int_eq(errno, cases[i].error);
        ck_assert_ptr_nonnull(strstr(redisRouteErrorText(NULL), "redisroute: "));
    }
    redisRouteClose(NULL);
}
END_TEST

START_TEST(test_quit_ends_in_order)
{
    char byte;
    redisRouteSession *session = open_port(target_port(_i));
    say(session, "SET bytes:quit 1\r\nQUIT\r\n");
    ck_assert(hears(session, "+OK\r\n+OK\r\n"));
    ck_assert_int_eq(redisRouteReadWait(session, &byte, 1, UNTIL_LIMIT_MS), 0);
    redisRouteClose(session);
}
END_TEST

/* Closed at once: what was written is executed all the same. */
START_TEST(test_what_was_written_is_sent)
{
    target_flush(_i);
    for (int i = 0; i < 20; i++) {
        redisRouteSession *session = open_port(target_port(_i));
        ck_assert_int_eq(redisRouteWait(session, UNTIL_LIMIT_MS), 1);
        say(session, "INCR bytes:closed\r\n");
        redisRouteClose(session);
    }
    char *count = target_look(_i, "bytes:closed", "GET bytes:closed");
    ck_assert_str_eq(count, "20");
    free(count);
}
END_TEST

static void on_signal(int number)
{
    (void)number;
}

START_TEST(test_a_signal_ends_the_wait)
{
    struct sigaction action = {.sa_handler = on_signal};
    char byte;
    redisRouteSession *session = open_port(target_port(_i));
    ck_assert(use(session, "signal"));
    say(session, "BLPOP bytes:nothing 0\r\n");
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    ck_assert_int_eq(redisRouteReadWait(session, &byte, 1, UNTIL_LIMIT_MS), -1);
    ck_assert_int_eq(errno, EINTR);
    redisRouteClose(session);
}
END_TEST

/* --- a cluster that changes --- */

START_TEST(test_a_slot_moves)
{
    struct cluster *cluster = target_cluster();
    int slot = cluster_slot("bytes:moves:1");
    int from = cluster_owner_of_slot(cluster, 0, slot);
    redisRouteSession *session = open_port(target_port(TARGET_CLUSTER));
    ck_assert(use(session, "moves"));
    cluster_migrate(cluster, slot, from, (from + 1) % cluster_masters(cluster));
    ck_assert(use(session, "moves"));
    redisRouteClose(session);
}
END_TEST

/* --- threads and processes --- */

static void *use_in_thread(void *session)
{
    for (int i = 0; i < 5; i++)
        if (!use(session, "thread"))
            return NULL;
    return session;
}

START_TEST(test_a_session_in_each_thread)
{
    pthread_t threads[THREADS];
    redisRouteSession *sessions[THREADS];
    for (int i = 0; i < THREADS; i++) {
        sessions[i] = open_port(target_port(_i)); /* opened by one thread, used by another */
        MUST(pthread_create(&threads[i], NULL, use_in_thread, sessions[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        ck_assert_ptr_eq(result, sessions[i]);
        redisRouteClose(sessions[i]);
    }
}
END_TEST

static void *wait_for_a_reply(void *session)
{
    char byte;
    errno = 0;
    return redisRouteReadWait(session, &byte, 1, UNTIL_LIMIT_MS) == -1 && errno == ECANCELED
               ? session
               : NULL;
}

START_TEST(test_another_thread_interrupts)
{
    pthread_t thread;
    void *result;
    redisRouteSession *session = open_port(target_port(_i));
    ck_assert(use(session, "interrupted"));
    MUST(pthread_create(&thread, NULL, wait_for_a_reply, session) == 0);
    pause_ms(20);
    redisRouteInterrupt(session);
    pthread_join(thread, &result);
    ck_assert_ptr_eq(result, session);
    redisRouteInterrupt(session); /* the next wait, then */
    ck_assert_int_eq(redisRouteWait(session, UNTIL_LIMIT_MS), -1);
    ck_assert_int_eq(errno, ECANCELED);
    ck_assert(use(session, "interrupted"));
    redisRouteClose(session);
}
END_TEST

static void expect_success(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}

START_TEST(test_a_child_goes_on)
{
    redisRouteSession *session = open_port(target_port(_i));
    ck_assert(use(session, "before"));
    pid_t child = fork();
    if (child == 0) {
        bool is_fine = use(session, "child") && use(session, "child");
        redisRouteClose(session);
        _exit(!is_fine);
    }
    expect_success(child);
    redisRouteClose(session);
}
END_TEST

START_TEST(test_a_child_closes_and_the_parent_goes_on)
{
    redisRouteSession *session = open_port(target_port(_i));
    ck_assert(use(session, "parent"));
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            redisRouteClose(session);
            redisRouteSession *own = redisRouteOpen("127.0.0.1", target_port(_i), NULL);
            _exit(!(own != NULL && use(own, "own")));
        }
        expect_success(child);
        ck_assert(use(session, "parent"));
    }
    ck_assert_int_eq(await(redisRouteFd(session), 20), 0);
    redisRouteClose(session);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("byte_session");
    TCase *tc = suite_case(suite, "bytes", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_commands_and_replies, 0, target_count());
    tcase_add_loop_test(tc, test_a_name_is_looked_up, 0, target_count());
    tcase_add_loop_test(tc, test_bytes_cut_anywhere, 0, target_count());
    tcase_add_loop_test(tc, test_a_pipeline_is_taken_whole, 0, target_count());
    tcase_add_loop_test(tc, test_the_descriptor_says_when_to_read, 0, target_count());
    tcase_add_loop_test(tc, test_an_idle_session_wakes_nobody, 0, target_count());
    tcase_add_loop_test(tc, test_watched_edge_triggered, 0, target_count());
    tcase_add_loop_test(tc, test_quit_ends_in_order, 0, target_count());
    tcase_add_loop_test(tc, test_what_was_written_is_sent, 0, target_count());
    tcase_add_loop_test(tc, test_a_signal_ends_the_wait, 0, target_count());
    tcase_add_loop_test(tc, test_a_session_in_each_thread, 0, target_count());
    tcase_add_loop_test(tc, test_another_thread_interrupts, 0, target_count());
    if (CAN_FORK) {
        tcase_add_loop_test(tc, test_a_child_goes_on, 0, target_count());
        tcase_add_loop_test(tc, test_a_child_closes_and_the_parent_goes_on, 0, target_count());
    }
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_a_host_that_is_silent);
    tcase_add_test(tc, test_arguments_that_cannot_be);
    if (target_count() > TARGET_CLUSTER)
        tcase_add_test(tc, test_a_slot_moves);
    return suite_run(suite);
}
