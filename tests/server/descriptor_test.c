/* The descriptor a program sees: {five event loops, blocking with poll before redisGetReply} x
 * {cluster, plain server, refused, silent host} x {first command before the connection, from the
 * connect callback, later}; and what a good guest does with descriptors in a process not its own.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

enum moment { BEFORE_CONNECTION, FROM_CONNECT_CALLBACK, LATER, MOMENTS };
enum { KEYS = 60, LOOP_STALLED_MS = 1000 };

static int wait_for(int fd, short events, int limit_ms)
{
    struct pollfd set = {.fd = fd, .events = events};
    int count = poll(&set, 1, limit_ms);
    return count == 1 ? set.revents : 0;
}

/* --- the matrix: asynchronous --- */

static void issue(struct async_client *client)
{
    char value[16];
    for (int i = 0; i < KEYS; i++) {
        snprintf(value, sizeof value, "%d", i);
        async_expect(client, "OK", "SET fd:%d %d", i, i);
        async_expect(client, value, "GET fd:%d", i);
    }
}

static void open_with_commands(struct async_client *client, int kind, enum moment moment, int port)
{
    client->on_connect = moment == FROM_CONNECT_CALLBACK ? issue : NULL;
    async_open(client, loop_create(kind), port);
    if (moment == BEFORE_CONNECTION)
        issue(client);
}

/* Readable exactly while there is something to do: an idle loop sleeps. */
static void expect_idle(const struct async_client *client)
{
    ck_assert_int_eq(wait_for(client->ac->c.fd, POLLIN, 100), 0);
}

static void served(int kind, enum moment moment, int target)
{
    struct async_client client = {0};
    open_with_commands(&client, kind, moment, target_port(target));
    int fd = client.ac->c.fd;
    LOOP_UNTIL(client.loop, client.connects);
    ck_assert_int_eq(client.connect_status, REDIS_OK);
    if (moment == LATER) {
        loop_turn_for(client.loop, 60);
        expect_idle(&client);
        issue(&client);
    }
    async_finish(&client);
    ck_assert_int_eq(client.issued, 2 * KEYS);
    ck_assert_int_eq(client.ac->c.fd, fd);
    expect_idle(&client);
    issue(&client);
    async_finish(&client);
    ck_assert_int_eq(client.ac->c.fd, fd);
    async_close(&client);
    loop_destroy(client.loop);
}

START_TEST(test_served_asynchronously)
{
    int target = _i % target_count(), rest = _i / target_count();
    served(rest / MOMENTS, (enum moment)(rest % MOMENTS), target);
}
END_TEST

/* hiredis' adapter for libuv drops the event of a refused connection: nothing to see without us. */
static bool sees_refusals(const struct loop *loop)
{
    return target_count() > TARGET_CLUSTER || strcmp(loop_name(loop), "libuv");
}

START_TEST(test_refused_asynchronously)
{
    struct async_client client = {0};
    open_with_commands(&client, _i / MOMENTS, (enum moment)(_i % MOMENTS), port_free());
    if (!sees_refusals(client.loop))
        return;
    LOOP_UNTIL(client.loop, client.connects);
    ck_assert_int_eq(client.connect_status, REDIS_ERR);
    ck_assert_str_eq(client.errstr, "Connection refused");
    LOOP_UNTIL(client.loop, client.nulls == (_i % MOMENTS == BEFORE_CONNECTION ? 2 * KEYS : 0));
    ck_assert_int_eq(client.replies, 0);
    ck_assert_int_eq(client.disconnects, 0);
    loop_turn_for(client.loop, 50);
    ck_assert_int_eq(client.connects, 1);
    loop_destroy(client.loop);
}
END_TEST

START_TEST(test_silent_host_asynchronously)
{
    struct async_client client = {0};
    struct silent_host host;
    silent_host_start(&host);
    open_with_commands(&client, _i / MOMENTS, (enum moment)(_i % MOMENTS), host.port);
    loop_turn_for(client.loop, 200);
    ck_assert_int_eq(client.connects, 0);
    ck_assert_int_eq(wait_for(client.ac->c.fd, POLLIN | POLLOUT, 0), 0);
    if (_i % MOMENTS == LATER)
        issue(&client);
    loop_turn_for(client.loop, 100);
    ck_assert_int_lt(loop_longest_turn_ms(client.loop), LOOP_STALLED_MS);
    redisAsyncFree(client.ac);
    ck_assert_int_eq(client.nulls, client.issued);
    ck_assert_int_eq(client.connects, 0);
    loop_destroy(client.loop);
    silent_host_stop(&host);
}
END_TEST

/* --- the matrix: blocking, with poll before redisGetReply --- */

static void flush_output(redisContext *c)
{
    int is_done = 0;
    while (!is_done)
        ck_assert_int_eq(redisBufferWrite(c, &is_done), REDIS_OK);
}

/* The program polls with a limit and reads whatever poll said, which is what programs do. */
static void poll_then_get(redisContext *c, int key)
{
    char value[16];
    snprintf(value, sizeof value, "%d", key);
    redisAppendCommand(c, "SET fd:%d %d", key, key);
    flush_output(c);
    wait_for(c->fd, POLLIN, 20);
    EXPECT_NEXT(c, "OK");
    redisAppendCommand(c, "GET fd:%d", key);
    flush_output(c);
    wait_for(c->fd, POLLIN, 20);
    EXPECT_NEXT(c, value);
}

START_TEST(test_served_blocking)
{
    int target = _i % target_count();
    redisContext *c = connect_target(target);
    int fd = c->fd;
    if (_i / target_count() == LATER)
        pause_ms(50);
    for (int i = 0; i < 20; i++)
        poll_then_get(c, i);
    ck_assert_int_eq(c->fd, fd);
    redisFree(c);
}
END_TEST

/* A reply from the node that was dialled is seen by poll: that socket is the descriptor. */
START_TEST(test_poll_sees_replies_of_the_dialled_node)
{
    redisContext *c = connect_target(_i);
    for (int i = 0; i < 20; i++) {
        char *key = target_count() > 1 ? cluster_key_for(target_cluster(), 0, i) : strdup("fd:key");
        EXPECT(c, "OK", "SET %s v", key);
        redisAppendCommand(c, "GET %s", key);
        flush_output(c);
        ck_assert_int_eq(wait_for(c->fd, POLLIN, UNTIL_LIMIT_MS), POLLIN);
        EXPECT_NEXT(c, "v");
        free(key);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_refused_blocking)
{
    redisContext *c = redisConnect("127.0.0.1", port_free());
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "Connection refused");
    redisFree(c);
}
END_TEST

/* varnish: before each use the connection has to be writable and not hung up. */
START_TEST(test_an_idle_blocking_context_looks_healthy)
{
    redisContext *c = connect_target(_i);
    ck_assert_int_eq(wait_for(c->fd, POLLOUT, 0), POLLOUT);
    for (int i = 0; i < KEYS; i++) {
        EXPECT(c, "OK", "SET fd:%d v", i);
        ck_assert_int_eq(wait_for(c->fd, POLLIN | POLLOUT | POLLRDHUP, 0), POLLOUT);
    }
    redisFree(c);
}
END_TEST

/* --- an idle loop sleeps --- */

START_TEST(test_an_idle_context_does_not_wake_its_loop)
{
    struct async_client client = {0};
    int watcher = epoll_create1(EPOLL_CLOEXEC), wakes = 0;
    async_open(&client, loop_create(LOOP_KINDS - 1), target_port(_i));
    issue(&client);
    async_finish(&client);
    struct epoll_event event = {.events = EPOLLIN};
    ck_assert_int_eq(epoll_ctl(watcher, EPOLL_CTL_ADD, client.ac->c.fd, &event), 0);
    for (int64_t end = now_ms() + 500; now_ms() < end;) {
        wakes += epoll_wait(watcher, &event, 1, 20);
        loop_turn(client.loop);
    }
    ck_assert_int_le(wakes, 3);
    close(watcher);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* --- programs that need a socket --- */

/* coturn: before each redisAsyncHandleRead it peeks, and takes nothing for the end. Its loop may have
 * issued a command since it saw that there is something. */
static void expect_a_peek_sees_something(struct async_client *client)
{
    char peeked[8];
    int fd = client->ac->c.fd;
    async_expect(client, "OK", "SET fd:peek v");
    ck_assert_int_eq(wait_for(fd, POLLIN, UNTIL_LIMIT_MS), POLLIN);
    async_expect(client, "v", "GET fd:peek");
    ck_assert_int_gt(recv(fd, peeked, sizeof peeked, MSG_PEEK | MSG_DONTWAIT), 0);
    async_finish(client);
    ck_assert_int_eq(wait_for(fd, POLLIN, 20), 0);
}

START_TEST(test_a_socket_is_readable_until_it_is_read)
{
    struct async_client client = {0};
    struct stat status;
    setenv("REDISROUTE_DESCRIPTOR", "socket", 1);
    async_open(&client, loop_create(_i / target_count()), target_port(_i % target_count()));
    ck_assert_int_eq(fstat(client.ac->c.fd, &status), 0);
    ck_assert(S_ISSOCK(status.st_mode));
    LOOP_UNTIL(client.loop, client.connects);
    loop_turn_for(client.loop, 60);
    for (int i = 0; i < 10; i++)
        expect_a_peek_sees_something(&client);
    async_close(&client);
    loop_destroy(client.loop);
}
END_TEST

/* --- a good guest --- */

static bool is_close_on_exec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

START_TEST(test_every_descriptor_of_ours_is_closed_on_exec)
{
    bool was_open[1024];
    for (int fd = 0; fd < 1024; fd++)
        was_open[fd] = fcntl(fd, F_GETFD) != -1;
    struct async_client client = {0};
    redisContext *c = connect_target(TARGET_CLUSTER);
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET fd:%d v", i);
    async_open(&client, loop_create(LOOP_KINDS - 2), target_port(TARGET_CLUSTER));
    issue(&client);
    async_finish(&client);
    /* The two numbers that hiredis opened for the program keep hiredis' flags. */
    for (int fd = 0; fd < 20000; fd++)
        if ((fd >= 1024 || !was_open[fd]) && fd != c->fd && fd != client.ac->c.fd &&
            fcntl(fd, F_GETFD) != -1)
            ck_assert_msg(is_close_on_exec(fd), "descriptor %d", fd);
    async_close(&client);
    loop_destroy(client.loop);
    redisFree(c);
}
END_TEST

/* The rest runs in a child of the test, because Check needs its own descriptors. */
static void expect_child_exits_with_0(int (*run)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(run());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}

static bool use(redisContext *c)
{
    bool is_fine = true;
    for (int i = 0; i < KEYS; i++) {
        redisReply *reply = redisCommand(c, "SET fd:%d v", i);
        is_fine &= reply && reply->type == REDIS_REPLY_STATUS;
        if (reply)
            freeReplyObject(reply);
    }
    return is_fine;
}

/* A daemon closes all it does not know and opens files: none of them may get our bytes, and none
 * but the context's own number may be closed by us. */
static int closefrom_main(void)
{
    enum { FILES = 60 };
    int files[FILES];
    struct stat status;
    redisContext *c = redisConnect("127.0.0.1", target_port(TARGET_CLUSTER));
    int context_fd = c->fd;
    if (!use(c))
        return 1;
    closefrom(3);
    for (int i = 0; i < FILES; i++)
        files[i] = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    for (int i = 0; i < 20; i++) {
        redisReply *reply = redisCommand(c, "SET fd:%d v", i);
        if (reply)
            freeReplyObject(reply);
    }
    for (int i = 0; i < FILES; i++)
        if (files[i] != context_fd && (fstat(files[i], &status) < 0 || status.st_size != 0))
            return 2;
    redisFree(c);
    for (int i = 0; i < FILES; i++)
        if (files[i] != context_fd && fstat(files[i], &status) < 0)
            return 3;
    redisContext *next = redisConnect("127.0.0.1", target_port(TARGET_CLUSTER));
    return next && !next->err && use(next) ? 0 : 4;
}

START_TEST(test_a_program_that_closes_everything)
{
    expect_child_exits_with_0(closefrom_main);
}
END_TEST

static int silent_main(void)
{
    struct stat status;
    int out = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    dup2(out, 1);
    dup2(out, 2);
    redisContext *c = redisConnect("127.0.0.1", target_port(TARGET_CLUSTER));
    if (!use(c))
        return 1;
    redisFree(c);
    return fstat(out, &status) == 0 && status.st_size == 0 ? 0 : 2;
}

static int count_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = -2; /* "." and ".." */
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

/* Where no second thread may be, what it would do is done by the program's own, while it waits. */
static int single_threaded_main(void)
{
    char mirror[32];
    bool is_mirrored = false;
    int threads = count_threads();
    int64_t end = now_ms() + UNTIL_LIMIT_MS;
    snprintf(mirror, sizeof mirror, "127.0.0.1:%d", target_port(TARGET_PLAIN));
    setenv("REDISROUTE_BACKGROUND_THREAD", "false", 1);
    setenv("REDISROUTE_MIRROR", mirror, 1);
    redisContext *c = redisConnect("127.0.0.1", target_port(TARGET_CLUSTER));
    while (!is_mirrored && now_ms() < end) {
        if (!use(c))
            return 1;
        if (count_threads() != threads) /* sanitizers may have one of their own */
            return 2;
        char *seen = target_look(TARGET_PLAIN, "fd:1", "GET fd:1");
        is_mirrored = !strcmp(seen, "v");
        free(seen);
    }
    redisFree(c);
    return is_mirrored ? 0 : 3;
}

START_TEST(test_no_thread_where_none_is_wanted)
{
    target_flush(TARGET_PLAIN);
    expect_child_exits_with_0(single_threaded_main);
}
END_TEST

START_TEST(test_nothing_is_printed)
{
    expect_child_exits_with_0(silent_main);
}
END_TEST

static void add_matrix(Suite *suite)
{
    TCase *tc = suite_case(suite, "matrix", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_served_asynchronously, 0, LOOP_KINDS * MOMENTS * target_count());
    tcase_add_loop_test(tc, test_refused_asynchronously, 0, LOOP_KINDS * MOMENTS);
    tcase_add_loop_test(tc, test_silent_host_asynchronously, 0, LOOP_KINDS * MOMENTS);
    tcase_add_loop_test(tc, test_served_blocking, 0, MOMENTS * target_count());
    tcase_add_loop_test(tc, test_poll_sees_replies_of_the_dialled_node, 0, target_count());
    tcase_add_test(tc, test_refused_blocking);
    tcase_add_loop_test(tc, test_an_idle_blocking_context_looks_healthy, 0, target_count());
    tcase_add_loop_test(tc, test_an_idle_context_does_not_wake_its_loop, 0, target_count());
    tcase_add_loop_test(tc, test_a_socket_is_readable_until_it_is_read, 0,
                        LOOP_KINDS * target_count());
}

static void add_guest(Suite *suite)
{
    TCase *tc = suite_case(suite, "good guest", target_setup, target_teardown);
    tcase_add_test(tc, test_every_descriptor_of_ours_is_closed_on_exec);
    tcase_add_test(tc, test_a_program_that_closes_everything);
    tcase_add_test(tc, test_no_thread_where_none_is_wanted);
    tcase_add_test(tc, test_nothing_is_printed);
}

int main(void)
{
    Suite *suite = suite_create("descriptor");
    add_matrix(suite);
    if (target_count() > TARGET_CLUSTER)
        add_guest(suite);
    return suite_run(suite);
}
