/* `descriptor: socket`: what an event loop watches of an asynchronous context, or of a byte
 * session, is a socket, for programs that do socket things to it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <redisroute/redisroute.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#if __has_include(<hiredis/adapters/poll.h>)
#include <hiredis/adapters/poll.h>
#define HAS_POLL_ADAPTER 1
#endif

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/port.h"
#include "../support/silent_host.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { KEYS = 60, BATCHES = 20 };

static void setup(void)
{
    MUST(setenv("REDISROUTE_DESCRIPTOR", "socket", 1) == 0);
    target_setup();
}

/* --- socket things --- */

static int wait_for(int fd, short events, int limit_ms)
{
    struct pollfd set = {.fd = fd, .events = events};
    return poll(&set, 1, limit_ms) == 1 ? set.revents : 0;
}

static int pending_error(int fd)
{
    int error = -1;
    socklen_t size = sizeof error;
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    return error;
}

/* It is a connected stream, in good health, that options are set on. */
static void expect_socket(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    struct stat status;
    int type = -1, on = 1;
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert(S_ISSOCK(status.st_mode));
    ck_assert_int_eq(getpeername(fd, (struct sockaddr *)&address, &size), 0);
    size = sizeof address;
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    size = sizeof type;
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), 0);
    ck_assert_int_eq(type, SOCK_STREAM);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    ck_assert_int_eq(pending_error(fd), 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(wait_for(fd, POLLOUT | POLLRDHUP, 0), POLLOUT);
}

static void issue(struct async_client *client)
{
    char value[16];
    for (int i = 0; i < KEYS; i++) {
        snprintf(value, sizeof value, "%d", i);
        async_expect(client, "OK", "SET fd:%d %d", i, i);
        async_expect(client, value, "GET fd:%d", i);
    }
}

/* As programs do that wait for their connection by themselves: writable, then SO_ERROR, and who is
 * at the other end. */
START_TEST(test_a_socket_in_every_loop)
{
    int target = _i % target_count();
    struct async_client client = {0};
    async_open(&client, loop_create(_i / target_count()), target_port(target));
    int fd = client.ac->c.fd;
    ck_assert_int_eq(wait_for(fd, POLLOUT, UNTIL_LIMIT_MS), POLLOUT);
    ck_assert_int_eq(pending_error(fd), 0);
    LOOP_UNTIL(client.loop, client.connects);
    ck_assert_int_eq(client.connect_status, REDIS_OK);
    expect_socket(fd);
    for (int i = 0; i < BATCHES; i++) {
        issue(&client);
        async_finish(&client);
        expect_socket(fd);
    }
    /* One at a time, and an idle loop sleeps. */
    for (int i = 0; i < KEYS; i++) {
        async_expect(&client, "1", "EXISTS fd:%d", i);
        async_finish(&client);
    }
    ck_assert_int_eq(client.ac->c.fd, fd);
    ck_assert_int_eq(wait_for(fd, POLLIN, 100), 0);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* What is issued before the connection is up waits for it. */
START_TEST(test_commands_before_the_connection)
{
    struct async_client client = {0};
    async_open(&client, loop_create(_i), target_port(TARGET_CLUSTER));
    issue(&client);
    async_finish(&client);
    expect_socket(client.ac->c.fd);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_it_is_not_writable_before_the_connection_is_decided)
{
    struct async_client client = {0};
    struct silent_host host;
    silent_host_start(&host);
    async_open(&client, loop_create(_i), host.port);
    issue(&client);
    loop_turn_for(client.loop, 300);
    ck_assert_int_eq(wait_for(client.ac->c.fd, POLLIN | POLLOUT, 0), 0);
    ck_assert_int_eq(client.connects, 0);
    ck_assert_int_eq(client.ac->err, 0);
    redisAsyncFree(client.ac);
    ck_assert_int_eq(client.nulls, client.issued);
    loop_destroy(client.loop);
    silent_host_stop(&host);
}
END_TEST

START_TEST(test_the_connect_callback_hears_of_a_refusal)
{
    struct async_client client = {0};
    async_open(&client, loop_create(_i), port_free());
    LOOP_UNTIL(client.loop, client.connects);
    ck_assert_int_eq(client.connect_status, REDIS_ERR);
    ck_assert_str_eq(client.errstr, "Connection refused");
    loop_destroy(client.loop);
}
END_TEST

static void close_connections(void)
{
    struct cluster *cluster = target_cluster();
    for (int node = 0; node < cluster_size(cluster); node++)
        free(cluster_command(cluster, node, "CLIENT KILL TYPE normal"));
}

/* The context is well while its connections come and go. */
START_TEST(test_lost_connections_do_not_show)
{
    struct async_client client = {0};
    async_open(&client, loop_create(_i), target_port(TARGET_CLUSTER));
    issue(&client);
    async_finish(&client);
    for (int i = 0; i < 5; i++) {
        close_connections();
        expect_socket(client.ac->c.fd);
        issue(&client);
        async_finish(&client);
    }
    ck_assert_int_eq(client.disconnects, 0);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* --- messages --- */

struct heard {
    int lines;
    int nulls;
};

static void count_lines(redisAsyncContext *ac, void *r, void *data)
{
    struct heard *heard = data;
    (void)ac;
    if (r == NULL)
        heard->nulls++;
    else
        heard->lines++;
}

static void hear(const char *command, const char *spoken)
{
    enum { SPOKEN = 30 };
    struct async_client client = {0};
    struct heard heard = {0};
    redisContext *c = connect_target(TARGET_CLUSTER);
    async_open(&client, loop_create(0), target_port(TARGET_CLUSTER));
    MUST(redisAsyncCommand(client.ac, count_lines, &heard, command) == REDIS_OK);
    LOOP_UNTIL(client.loop, heard.lines == 1);
    for (int i = 0; i < SPOKEN; i++) {
        freeReplyObject(redisCommand(c, spoken, i));
        loop_turn(client.loop);
    }
    LOOP_UNTIL(client.loop, heard.lines >= 1 + SPOKEN);
    /* Ticks of the library's own are not taken for lines: for as long as one lasts and more. */
    loop_turn_for(client.loop, 1500);
    freeReplyObject(redisCommand(c, spoken, SPOKEN));
    LOOP_UNTIL(client.loop, heard.lines >= 2 + SPOKEN);
    ck_assert_int_eq(heard.nulls, 0);
    redisAsyncFree(client.ac);
    loop_destroy(client.loop);
    redisFree(c);
}

START_TEST(test_subscriptions)
{
    hear("SUBSCRIBE channel", "PUBLISH channel %d");
}
END_TEST

START_TEST(test_monitor)
{
    hear("MONITOR", "SET monitored:%d v");
}
END_TEST

#ifdef HAS_POLL_ADAPTER
static void count_one(redisAsyncContext *ac, void *r, void *data)
{
    const redisReply *reply = r;
    (void)ac;
    ck_assert(reply && reply->type == REDIS_REPLY_STATUS);
    ++*(int *)data;
}

START_TEST(test_hiredis_poll_adapter)
{
    int answered = 0;
    redisAsyncContext *ac = redisAsyncConnect("127.0.0.1", target_port(TARGET_CLUSTER));
    MUST(ac && !ac->err && redisPollAttach(ac) == REDIS_OK);
    for (int i = 0; i < KEYS; i++)
        MUST(redisAsyncCommand(ac, count_one, &answered, "SET poll:%d v", i) == REDIS_OK);
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; answered < KEYS && now_ms() < limit;)
        redisPollTick(ac, 0.1);
    ck_assert_int_eq(answered, KEYS);
    expect_socket(ac->c.fd);
    redisAsyncFree(ac);
}
END_TEST
#endif

/* --- byte sessions --- */

static redisRouteSession *open_session(int port, const char *descriptor)
{
    const redisRouteOptions options = {.size = sizeof options, .descriptor = descriptor};
    redisRouteSession *session = redisRouteOpen("127.0.0.1", port, &options);
    ck_assert_msg(session != NULL, "%s", redisRouteErrorText(NULL));
    return session;
}

static bool is_socket(const redisRouteSession *session)
{
    struct stat status;
    MUST(fstat(redisRouteFd(session), &status) == 0);
    return S_ISSOCK(status.st_mode);
}

/* A command, and its reply when poll says that there is something. */
static void say_and_poll(redisRouteSession *session, const char *command, const char *expected)
{
    char heard[64] = "";
    size_t there = 0, length = strlen(expected);
    ck_assert_int_eq(redisRouteWrite(session, command, strlen(command)), 0);
    while (there < length) {
        ck_assert_int_eq(wait_for(redisRouteFd(session), POLLIN, UNTIL_LIMIT_MS), POLLIN);
        ssize_t n = redisRouteRead(session, heard + there, length - there);
        ck_assert_msg(n > 0 || (n == -1 && errno == EAGAIN), "%s", redisRouteErrorText(session));
        there += n > 0 ? (size_t)n : 0;
    }
    ck_assert_str_eq(heard, expected);
}

START_TEST(test_a_byte_session_by_a_socket)
{
    redisRouteSession *session = open_session(target_port(_i), "socket");
    char command[64];
    int fd = redisRouteFd(session);
    ck_assert_int_eq(wait_for(fd, POLLOUT | POLLIN, UNTIL_LIMIT_MS) & ~(POLLOUT | POLLIN), 0);
    UNTIL(redisRouteConnected(session) != 0);
    ck_assert_int_eq(redisRouteConnected(session), 1);
    expect_socket(fd);
    for (int i = 0; i < KEYS; i++) {
        snprintf(command, sizeof command, "SET bytes:%d v\r\n", i);
        say_and_poll(session, command, "+OK\r\n");
        snprintf(command, sizeof command, "GET bytes:%d\r\n", i);
        say_and_poll(session, command, "$1\r\nv\r\n");
    }
    expect_socket(fd);
    ck_assert_int_eq(wait_for(fd, POLLIN, 100), 0);
    redisRouteClose(session);
    /* Its own word, and the configuration's where it has none. */
    session = open_session(target_port(_i), "EPOLL");
    ck_assert(!is_socket(session));
    redisRouteClose(session);
    session = open_session(target_port(_i), NULL);
    ck_assert(is_socket(session));
    redisRouteClose(session);
}
END_TEST

START_TEST(test_a_byte_session_is_not_writable_before_it_is_connected)
{
    struct silent_host host;
    silent_host_start(&host);
    redisRouteSession *session = open_session(host.port, "socket");
    ck_assert_int_eq(wait_for(redisRouteFd(session), POLLIN | POLLOUT, 200), 0);
    ck_assert_int_eq(redisRouteConnected(session), 0);
    redisRouteClose(session);
    silent_host_stop(&host);
}
END_TEST

START_TEST(test_a_byte_session_that_is_refused)
{
    redisRouteSession *session = open_session(port_free(), "socket");
    ck_assert_int_ne(wait_for(redisRouteFd(session), POLLIN, UNTIL_LIMIT_MS), 0);
    UNTIL(redisRouteConnected(session) != 0);
    ck_assert_int_eq(redisRouteConnected(session), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
    redisRouteClose(session);
}
END_TEST

START_TEST(test_there_are_two_descriptors)
{
    const redisRouteOptions options = {.size = sizeof options, .descriptor = "pipe"};
    ck_assert_ptr_null(redisRouteOpen("127.0.0.1", target_port(TARGET_CLUSTER), &options));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_str_eq(redisRouteErrorText(NULL), "redisroute: a descriptor is epoll or socket");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("socket descriptor");
    TCase *tc = suite_case(suite, "socket", setup, target_teardown);
    if (target_count() <= TARGET_CLUSTER)
        return suite_run(suite);
    tcase_add_loop_test(tc, test_a_socket_in_every_loop, 0, LOOP_KINDS * target_count());
    tcase_add_loop_test(tc, test_commands_before_the_connection, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_it_is_not_writable_before_the_connection_is_decided, 0,
                        LOOP_KINDS);
    tcase_add_loop_test(tc, test_the_connect_callback_hears_of_a_refusal, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_lost_connections_do_not_show, 0, LOOP_KINDS);
    tcase_add_test(tc, test_subscriptions);
    tcase_add_test(tc, test_monitor);
#ifdef HAS_POLL_ADAPTER
    tcase_add_test(tc, test_hiredis_poll_adapter);
#endif
    tcase_add_loop_test(tc, test_a_byte_session_by_a_socket, 0, target_count());
    tcase_add_test(tc, test_a_byte_session_is_not_writable_before_it_is_connected);
    tcase_add_test(tc, test_a_byte_session_that_is_refused);
    tcase_add_test(tc, test_there_are_two_descriptors);
    return suite_run(suite);
}
