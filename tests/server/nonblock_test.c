/* redisConnectNonBlock with a poll loop of the program's own, the way ruby-hiredis does it: it
 * waits for writable, asks SO_ERROR, and from then on lives by redisBufferWrite, redisBufferRead,
 * the reader, and errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/port.h"
#include "../support/silent_host.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { KEYS = 300, MEGABYTE = 1 << 20 };

static int wait_for(int fd, short events, int limit_ms)
{
    struct pollfd set = {.fd = fd, .events = events};
    return poll(&set, 1, limit_ms);
}

/* The pending error of the socket once it is writable, as every such program asks for it. */
static int connect_result(const redisContext *c)
{
    int error = -1;
    socklen_t size = sizeof error;
    ck_assert_int_eq(wait_for(c->fd, POLLOUT, UNTIL_LIMIT_MS), 1);
    ck_assert_int_eq(getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    return error;
}

static redisContext *connect_nonblocking(int port)
{
    redisContext *c = redisConnectNonBlock("127.0.0.1", port);
    ck_assert_ptr_nonnull(c);
    ck_assert_msg(!c->err, "redisConnectNonBlock: %s", c->errstr);
    ck_assert_int_eq(connect_result(c), 0);
    return c;
}

static void flush_output(redisContext *c)
{
    int is_done = 0;
    for (;;) {
        ck_assert_msg(redisBufferWrite(c, &is_done) == REDIS_OK, "%s", c->errstr);
        if (is_done)
            return;
        ck_assert_int_eq(wait_for(c->fd, POLLOUT, UNTIL_LIMIT_MS), 1);
    }
}

/* EAGAIN says that nothing moved, and only then is it right to wait. */
static redisReply *next_reply(redisContext *c)
{
    void *reply = NULL;
    ck_assert_int_eq(redisReaderGetReply(c->reader, &reply), REDIS_OK);
    while (!reply) {
        errno = 0;
        ck_assert_msg(redisBufferRead(c) == REDIS_OK, "%s", c->errstr);
        int is_nothing_there = errno == EAGAIN;
        ck_assert_int_eq(redisReaderGetReply(c->reader, &reply), REDIS_OK);
        ck_assert(!reply || !is_nothing_there);
        if (is_nothing_there)
            ck_assert_int_eq(wait_for(c->fd, POLLIN, UNTIL_LIMIT_MS), 1);
    }
    return reply;
}

static void expect_reply(redisContext *c, const char *expected)
{
    redisReply *reply = next_reply(c);
    EXPECT_REPLY(reply, expected);
    freeReplyObject(reply);
}

START_TEST(test_one_command_at_a_time)
{
    char value[16];
    redisContext *c = connect_nonblocking(target_port(_i));
    for (int i = 0; i < KEYS; i++) {
        snprintf(value, sizeof value, "%d", i);
        redisAppendCommand(c, "SET nb:%d %d", i, i);
        flush_output(c);
        expect_reply(c, "OK");
        redisAppendCommand(c, "GET nb:%d", i);
        flush_output(c);
        expect_reply(c, value);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_pipeline)
{
    char expected[16];
    redisContext *c = connect_nonblocking(target_port(_i));
    target_flush(_i);
    for (int i = 0; i < 10 * KEYS; i++)
        redisAppendCommand(c, "INCR nb:count-%d", i % KEYS);
    flush_output(c);
    for (int i = 0; i < 10 * KEYS; i++) {
        snprintf(expected, sizeof expected, "%d", i / KEYS + 1);
        expect_reply(c, expected);
    }
    redisFree(c);
}
END_TEST

/* The commands are there before anybody has waited for the connection. */
START_TEST(test_commands_queued_before_the_connection_is_up)
{
    redisContext *c = redisConnectNonBlock("127.0.0.1", target_port(_i));
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "SET nb:%d v", i);
    ck_assert_int_eq(connect_result(c), 0);
    flush_output(c);
    for (int i = 0; i < KEYS; i++)
        expect_reply(c, "OK");
    redisFree(c);
}
END_TEST

START_TEST(test_nothing_to_read_is_eagain)
{
    redisContext *c = connect_nonblocking(target_port(_i));
    for (int i = 0; i < 20; i++) {
        errno = 0;
        ck_assert_int_eq(redisBufferRead(c), REDIS_OK);
        ck_assert_int_eq(errno, EAGAIN);
        ck_assert_int_eq(wait_for(c->fd, POLLIN, 0), 0);
        redisAppendCommand(c, "SET nb:%d v", i);
        flush_output(c);
        expect_reply(c, "OK");
    }
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
}
END_TEST

START_TEST(test_an_idle_connection_is_writable_and_not_readable)
{
    redisContext *c = connect_nonblocking(target_port(_i));
    for (int i = 0; i < 30; i++) {
        redisAppendCommand(c, "SET nb:%d v", i);
        flush_output(c);
        expect_reply(c, "OK");
    }
    ck_assert_int_eq(wait_for(c->fd, POLLOUT, 0), 1);
    ck_assert_int_eq(wait_for(c->fd, POLLIN, 50), 0);
    redisFree(c);
}
END_TEST

START_TEST(test_large_values_both_ways)
{
    enum { VALUES = 32 };
    char *value = malloc(MEGABYTE);
    MUST(value);
    memset(value, 'v', MEGABYTE);
    redisContext *c = connect_nonblocking(target_port(_i));
    for (int i = 0; i < VALUES; i++) {
        redisAppendCommand(c, "SET nb:big-%d %b", i, value, (size_t)MEGABYTE);
        redisAppendCommand(c, "GET nb:big-%d", i);
    }
    flush_output(c);
    for (int i = 0; i < VALUES; i++) {
        expect_reply(c, "OK");
        redisReply *reply = next_reply(c);
        ck_assert_int_eq((int)reply->len, MEGABYTE);
        ck_assert(!memcmp(reply->str, value, MEGABYTE));
        freeReplyObject(reply);
    }
    redisFree(c);
    free(value);
    target_flush(_i);
}
END_TEST

/* Nothing to read for a while; what wakes the program meanwhile brings no bytes. */
static int is_quiet(redisContext *c)
{
    if (wait_for(c->fd, POLLIN, 100) == 0)
        return 1;
    errno = 0;
    ck_assert_int_eq(redisBufferRead(c), REDIS_OK);
    ck_assert_int_eq(errno, EAGAIN);
    return 0;
}

START_TEST(test_a_blocking_command_is_waited_for_on_the_descriptor)
{
    redisContext *c = connect_nonblocking(target_port(_i));
    target_flush(_i);
    redisAppendCommand(c, "BLPOP nb:queue 0");
    flush_output(c);
    errno = 0;
    ck_assert_int_eq(redisBufferRead(c), REDIS_OK);
    ck_assert_int_eq(errno, EAGAIN);
    /* The descriptor may wake the program for work that is not the program's, but not for ever. */
    UNTIL(is_quiet(c));
    free(target_look(_i, "nb:queue", "RPUSH nb:queue x"));
    expect_reply(c, "nb:queue\nx");
    redisFree(c);
}
END_TEST

START_TEST(test_refused)
{
    redisContext *c = redisConnectNonBlock("127.0.0.1", port_free());
    ck_assert_ptr_nonnull(c);
    if (!c->err)
        ck_assert_int_eq(connect_result(c), ECONNREFUSED);
    else
        ck_assert_str_eq(c->errstr, "Connection refused");
    redisFree(c);
}
END_TEST

START_TEST(test_a_silent_host_is_never_writable)
{
    struct silent_host host;
    silent_host_start(&host);
    int64_t start = now_ms();
    redisContext *c = redisConnectNonBlock("127.0.0.1", host.port);
    ck_assert_int_lt(now_ms() - start, 500);
    ck_assert_int_eq(wait_for(c->fd, POLLOUT, 100), 0);
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
    silent_host_stop(&host);
}
END_TEST

/* --- an epoll loop of the program's own --- */

static int watch(const redisContext *c)
{
    int set = epoll_create1(EPOLL_CLOEXEC);
    MUST(set != -1);
    struct epoll_event event = {.events = EPOLLOUT, .data.u64 = 0x1234567890};
    MUST(!epoll_ctl(set, EPOLL_CTL_ADD, c->fd, &event));
    return set;
}

static uint32_t wait_in(int set, int limit_ms)
{
    struct epoll_event event;
    int n = epoll_wait(set, &event, 1, limit_ms);
    ck_assert_int_ge(n, 0);
    if (!n)
        return 0;
    ck_assert_uint_eq(event.data.u64, 0x1234567890);
    return event.events;
}

static void change(int set, const redisContext *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = 0x1234567890};
    ck_assert_msg(!epoll_ctl(set, EPOLL_CTL_MOD, c->fd, &event), "%s", strerror(errno));
}

START_TEST(test_a_program_that_watches_with_epoll_before_it_writes)
{
    redisContext *c = redisConnectNonBlock("127.0.0.1", target_port(_i));
    int set = watch(c), error = -1;
    socklen_t size = sizeof error;
    ck_assert_uint_eq(wait_in(set, UNTIL_LIMIT_MS), EPOLLOUT);
    ck_assert_int_eq(getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    ck_assert_int_eq(error, 0);
    for (int i = 0; i < KEYS; i++) {
        void *reply = NULL;
        int is_done = 0;
        redisAppendCommand(c, "SET epoll:%d v", i);
        for (change(set, c, EPOLLOUT); !is_done;) {
            ck_assert_uint_eq(wait_in(set, UNTIL_LIMIT_MS), EPOLLOUT);
            ck_assert_int_eq(redisBufferWrite(c, &is_done), REDIS_OK);
        }
        for (change(set, c, EPOLLIN); !reply;) {
            ck_assert_uint_eq(wait_in(set, UNTIL_LIMIT_MS), EPOLLIN);
            ck_assert_int_eq(redisBufferRead(c), REDIS_OK);
            ck_assert_int_eq(redisReaderGetReply(c->reader, &reply), REDIS_OK);
        }
        ck_assert_str_eq(((redisReply *)reply)->str, "OK");
        freeReplyObject(reply);
    }
    ck_assert_uint_eq(wait_in(set, 0), 0);
    ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_DEL, c->fd, NULL), 0);
    redisFree(c);
    close(set);
}
END_TEST

/* An epoll loop over a blocking context, as one watches for a server that hangs up. */
START_TEST(test_a_blocking_context_in_an_epoll_set_is_quiet)
{
    redisContext *c = connect_target(_i);
    int set = watch(c);
    change(set, c, EPOLLIN);
    for (int i = 0; i < KEYS; i++) {
        EXPECT(c, "OK", "SET epoll:%d v", i);
        ck_assert_uint_eq(wait_in(set, 0), 0);
    }
    ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_DEL, c->fd, NULL), 0);
    redisFree(c);
    close(set);
}
END_TEST

START_TEST(test_the_descriptor_stays_the_same)
{
    redisContext *c = connect_nonblocking(target_port(_i));
    int fd = c->fd;
    for (int i = 0; i < KEYS; i++) {
        redisAppendCommand(c, "SET nb:%d v", i);
        flush_output(c);
        expect_reply(c, "OK");
        ck_assert_int_eq(c->fd, fd);
    }
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nonblock");
    TCase *tc = suite_case(suite, "own poll loop", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_one_command_at_a_time, 0, target_count());
    tcase_add_loop_test(tc, test_pipeline, 0, target_count());
    tcase_add_loop_test(tc, test_commands_queued_before_the_connection_is_up, 0, target_count());
    tcase_add_loop_test(tc, test_nothing_to_read_is_eagain, 0, target_count());
    tcase_add_loop_test(tc, test_an_idle_connection_is_writable_and_not_readable, 0,
                        target_count());
    tcase_add_loop_test(tc, test_large_values_both_ways, 0, target_count());
    tcase_add_loop_test(tc, test_a_blocking_command_is_waited_for_on_the_descriptor, 0,
                        target_count());
    tcase_add_loop_test(tc, test_the_descriptor_stays_the_same, 0, target_count());
    tcase_add_loop_test(tc, test_a_program_that_watches_with_epoll_before_it_writes, 0,
                        target_count());
    tcase_add_loop_test(tc, test_a_blocking_context_in_an_epoll_set_is_quiet, 0, target_count());
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_a_silent_host_is_never_writable);
    return suite_run(suite);
}
