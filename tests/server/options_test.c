/* What a program asks of its connection (source address, timeouts, keep-alive …) is asked of every
 * connection to every node, those that are opened later too. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/loop.h"
#include "../support/silent_host.h"
#include "../support/statistic.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { MASTERS = 3, KEYS = 60, SOCKETS_MOST = 64 };

#define SOURCE "127.0.0.77"

static struct cluster *cluster;

static void setup(void)
{
    /* Which else takes 127.0.0.1 alone for this machine. */
    cluster = cluster_start(&(struct cluster_options){.extra = "protected-mode no\n"});
}

static void teardown(void)
{
    cluster_stop(cluster);
    cluster = NULL;
}

static void use(redisContext *c)
{
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET option:%d %d", i, i);
    for (int i = 0; i < KEYS; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "%d", i);
        EXPECT(c, expected, "GET option:%d", i);
    }
}

/* The kernel closes a node's end a moment after the node did. */
static void close_connections(void)
{
    for (int node = 0; node < MASTERS; node++)
        free(cluster_command(cluster, node, "CLIENT KILL TYPE normal"));
}

/* --- the sockets of this process that lead to a node, as the kernel sees them --- */

static bool leads_to(int fd, int port)
{
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    return getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
           ntohs(peer.sin_port) == port;
}

static int sockets_to(int port, int *fds)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    MUST(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(folder) && leads_to(fd, port)) {
            MUST(count < SOCKETS_MOST);
            fds[count++] = fd;
        }
    }
    closedir(folder);
    return count;
}

static void every_socket_has(int level, int name, int expected)
{
    for (int node = 0; node < MASTERS; node++) {
        int fds[SOCKETS_MOST], count = sockets_to(cluster_port(cluster, node), fds);
        ck_assert_int_ge(count, 1);
        for (int i = 0; i < count; i++) {
            int value = -1;
            socklen_t size = sizeof value;
            ck_assert_int_eq(getsockopt(fds[i], level, name, &value, &size), 0);
            ck_assert_msg(value == expected, "option %d of level %d: %d and not %d", name, level,
                          value, expected);
        }
    }
}

static void every_socket_is_from(const char *source)
{
    for (int node = 0; node < MASTERS; node++) {
        int fds[SOCKETS_MOST], count = sockets_to(cluster_port(cluster, node), fds), from = 0;
        for (int i = 0; i < count; i++) {
            struct sockaddr_in local;
            socklen_t size = sizeof local;
            ck_assert_int_eq(getsockname(fds[i], (struct sockaddr *)&local, &size), 0);
            from += strcmp(inet_ntoa(local.sin_addr), source) == 0;
        }
        ck_assert_msg(from >= 1, "no connection to node %d is from %s", node, source);
    }
}

/* --- what hiredis of all versions has --- */

START_TEST(test_source_address_of_an_asynchronous_context)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i / 2);
    const char *host = "127.0.0.1";
    int port = cluster_port(cluster, 0);

    async_attach(&client, loop,
                 _i % 2 ? redisAsyncConnectBindWithReuse(host, port, SOURCE)
                        : redisAsyncConnectBind(host, port, SOURCE));
    for (int i = 0; i < KEYS; i++)
        async_expect(&client, "OK", "SET option:%d x", i);
    async_finish(&client);
    every_socket_is_from(SOURCE);
    if (_i % 2)
        every_socket_has(SOL_SOCKET, SO_REUSEADDR, 1);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

START_TEST(test_keep_alive)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    if (_i)
        use(c);
    ck_assert_int_eq(redisEnableKeepAlive(c), REDIS_OK);
    use(c);
    every_socket_has(SOL_SOCKET, SO_KEEPALIVE, 1);
    every_socket_has(IPPROTO_TCP, TCP_KEEPIDLE, 15);
    close_connections();
    use(c);
    every_socket_has(SOL_SOCKET, SO_KEEPALIVE, 1);
    redisFree(c);
}
END_TEST

static unsigned long long failed_connections(void)
{
    return statistic("redisroute_links_total", "failed");
}

/* The node that is dialled is there; the one that has the key does not answer. */
START_TEST(test_connect_timeout)
{
    struct silent_host host;
    struct fake_node *node = fake_node_start();
    redisContext *c;
    char *slots;

    setenv("REDISROUTE_FAILOVER_TIMEOUT", "3s", 1);
    silent_host_start(&host);
    slots = fake_slots_reply(
        (struct fake_range[]){{.first = 0, .last = 16382, .port = host.port},
                              {.first = 16383, .last = 16383, .port = fake_node_port(node)}},
        2);
    fake_node_slots(node, slots);
    c = redisConnectWithTimeout("127.0.0.1", fake_node_port(node),
                                (struct timeval){.tv_usec = 100000});
    ck_assert_int_eq(c->err, 0);
    EXPECT_ERROR(c, "UNREACHABLE", "GET key");
    /* One after the other, with growing pauses; by the default of five seconds it would be none. */
    ck_assert_msg(failed_connections() >= 2, "%llu", failed_connections());
    redisFree(c);
    silent_host_stop(&host);
    fake_node_stop(node);
    free(slots);
}
END_TEST

#if HIREDIS_MAJOR >= 1

/* --- what hiredis 1.x has --- */

static int freed;

static void on_free(void *data)
{
    ck_assert_str_eq(data, "private");
    freed++;
}

static void set_endpoint(redisOptions *options, int node)
{
    REDIS_OPTIONS_SET_TCP(options, "127.0.0.1", cluster_port(cluster, node));
}

START_TEST(test_options)
{
    struct timeval connect = {.tv_sec = 5}, command = {.tv_usec = 300000};
    redisOptions options = {.connect_timeout = &connect, .command_timeout = &command};
    char *key = cluster_key_for(cluster, 1, 0);
    redisContext *c;

    set_endpoint(&options, 0);
    options.endpoint.tcp.source_addr = SOURCE;
    options.options |= REDIS_OPT_REUSEADDR | REDIS_OPT_PREFER_IPV4;
    REDIS_OPTIONS_SET_PRIVDATA(&options, "private", on_free);
    c = redisConnectWithOptions(&options);
    ck_assert_msg(!c->err, "%s", c->errstr);
    ck_assert_str_eq(c->privdata, "private");
    for (int round = 0; round < 2; round++) {
        use(c);
        every_socket_is_from(SOURCE);
        every_socket_has(SOL_SOCKET, SO_REUSEADDR, 1);
        /* The time limit is that of the node that has the key. */
        free(cluster_command(cluster, 1, "CLIENT PAUSE 1000 ALL"));
        ck_assert_ptr_null(redisCommand(c, "GET %s", key));
        ck_assert_int_eq(c->err, REDIS_ERR_IO);
        free(cluster_command(cluster, 1, "PING")); /* answered when the pause is over */
        UNTIL(redisReconnect(c) == REDIS_OK);
    }
    redisFree(c);
    ck_assert_int_eq(freed, 1);
    free(key);
}
END_TEST

START_TEST(test_keep_alive_with_interval)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    ck_assert_int_eq(redisEnableKeepAliveWithInterval(c, 42), REDIS_OK);
    ck_assert_int_eq(redisSetTcpUserTimeout(c, 12345), REDIS_OK);
    use(c);
    every_socket_has(IPPROTO_TCP, TCP_KEEPIDLE, 42);
    every_socket_has(IPPROTO_TCP, TCP_USER_TIMEOUT, 12345);
    close_connections();
    use(c);
    every_socket_has(IPPROTO_TCP, TCP_KEEPIDLE, 42);
    every_socket_has(IPPROTO_TCP, TCP_USER_TIMEOUT, 12345);
    redisFree(c);
}
END_TEST

static long allocated;

static void *count_malloc(size_t size)
{
    allocated++;
    return malloc(size);
}

static void *count_calloc(size_t count, size_t size)
{
    allocated++;
    return calloc(count, size);
}

static void *count_realloc(void *old, size_t size)
{
    allocated += old == NULL;
    return realloc(old, size);
}

static char *count_strdup(const char *text)
{
    allocated++;
    return strdup(text);
}

static void count_free(void *memory)
{
    allocated -= memory != NULL;
    free(memory);
}

/* hiredis' memory is the program's; nothing of ours is among it. */
START_TEST(test_allocators)
{
    hiredisAllocFuncs counting = {.mallocFn = count_malloc, .callocFn = count_calloc,
                                  .reallocFn = count_realloc, .strdupFn = count_strdup,
                                  .freeFn = count_free};
    hiredisSetAllocators(&counting);
    redisContext *c = connect_port(cluster_port(cluster, 0));
    ck_assert_int_gt(allocated, 0);
    use(c);
    EXPECT(c, "0\n1\n2", "MGET option:0 option:1 option:2");
    redisFree(c);
    hiredisResetAllocators();
    ck_assert_int_eq(allocated, 0);
}
END_TEST

/* --- pushes --- */

static int pushes;

static void count_push(const redisReply *push)
{
    ck_assert_int_eq(push->type, REDIS_REPLY_PUSH);
    ck_assert_str_eq(push->element[0]->str, "invalidate");
    pushes++;
}

static void on_push(void *data, void *reply)
{
    ck_assert_str_eq(data, "private");
    count_push(reply);
    freeReplyObject(reply);
}

START_TEST(test_pushes_from_every_node)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    redisContext *other = connect_port(cluster_port(cluster, 0));

    c->privdata = "private";
    redisSetPushCallback(c, on_push);
    freeReplyObject(redisCommand(c, "HELLO 3"));
    use(c);
    EXPECT(c, "OK", _i ? "CLIENT TRACKING ON BCAST NOLOOP" : "CLIENT TRACKING ON");
    for (int i = 0; i < KEYS; i++) {
        EXPECT(c, "OK", "SET push:%d 1", i);
        EXPECT(c, "1", "GET push:%d", i);
    }
    pushes = 0; /* of our own writes */
    for (int i = 0; i < KEYS; i++)
        EXPECT(other, "OK", "SET push:%d 2", i);
    UNTIL((EXPECT(c, "PONG", "PING"), EXPECT(c, "2", "GET push:0"), pushes == KEYS));
    c->privdata = NULL;
    redisSetPushCallback(c, NULL);
    redisFree(other);
    redisFree(c);
}
END_TEST

/* Without a handler, and with the program's word that it wants them, pushes are replies. */
START_TEST(test_pushes_as_replies)
{
    redisOptions options = {.options = REDIS_OPT_NO_PUSH_AUTOFREE};
    redisContext *c, *other = connect_port(cluster_port(cluster, 0));
    redisReply *reply = NULL;

    set_endpoint(&options, 0);
    c = redisConnectWithOptions(&options);
    ck_assert_int_eq(c->err, 0);
    freeReplyObject(redisCommand(c, "HELLO 3"));
    EXPECT(c, "OK", "CLIENT TRACKING ON BCAST PREFIX wanted:");
    for (int i = 0; i < KEYS; i++) {
        EXPECT(other, "OK", "SET wanted:%d 2", i);
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        ck_assert_int_eq(reply->type, REDIS_REPLY_PUSH);
        freeReplyObject(reply);
    }
    redisFree(other);
    redisFree(c);
}
END_TEST

static void on_async_push(redisAsyncContext *ac, void *reply)
{
    (void)ac;
    count_push(reply); /* which hiredis frees */
}

START_TEST(test_pushes_to_an_asynchronous_context)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    redisContext *other = connect_port(cluster_port(cluster, 0));

    async_open(&client, loop, cluster_port(cluster, 0));
    redisAsyncSetPushCallback(client.ac, on_async_push);
    async_expect(&client, "OK", "SET first 1");
    async_finish(&client);
    redisAsyncCommand(client.ac, NULL, NULL, "HELLO 3");
    async_expect(&client, "OK", "CLIENT TRACKING ON BCAST PREFIX async:");
    async_finish(&client);
    pushes = 0;
    for (int i = 0; i < KEYS; i++)
        EXPECT(other, "OK", "SET async:%d 2", i);
    /* Nothing is asked meanwhile: the loop wakes for them. */
    LOOP_UNTIL(loop, pushes == KEYS);
    async_close(&client);
    loop_destroy(loop);
    redisFree(other);
}
END_TEST

/* --- the asynchronous layer's own --- */

static int timeouts;

static void on_timed_out(redisAsyncContext *ac, void *reply, void *data)
{
    (void)data;
    ck_assert_ptr_null(reply);
    ck_assert_int_eq(ac->err, REDIS_ERR_TIMEOUT);
    timeouts++;
}

START_TEST(test_asynchronous_timeout)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    char *key = cluster_key_for(cluster, 1, 0);

    async_open(&client, loop, cluster_port(cluster, 0));
    async_expect(&client, "OK", "SET %s 1", key);
    async_finish(&client);
    redisAsyncSetTimeout(client.ac, (struct timeval){.tv_usec = 200000});
    free(cluster_command(cluster, 1, "CLIENT PAUSE 2000 ALL"));
    redisAsyncCommand(client.ac, on_timed_out, NULL, "GET %s", key);
    if (client.ac->ev.scheduleTimer == NULL) /* the loop is to call it */
        redisAsyncHandleTimeout(client.ac);
    LOOP_UNTIL(loop, timeouts == 1 && client.disconnects == 1);
    ck_assert_int_eq(client.disconnect_status, REDIS_ERR);
    loop_destroy(loop);
    free(key);
}
END_TEST

static int connected;

static void on_connect_nc(redisAsyncContext *ac, int status)
{
    ck_assert_int_eq(status, REDIS_OK);
    connected++;
    /* What the older callback may not: the context is not constant. */
    redisAsyncCommand(ac, NULL, NULL, "SET from-callback 1");
}

static void on_formatted(redisAsyncContext *ac, void *reply, void *data)
{
    (void)ac;
    ck_assert_str_eq(((redisReply *)reply)->str, "1");
    *(int *)data = 1;
}

START_TEST(test_asynchronous_options)
{
    struct loop *loop = loop_create(_i);
    redisOptions options = {0};
    redisAsyncContext *ac;
    int answered = 0;
    char *formatted;

    freed = 0;
    set_endpoint(&options, 0);
    options.endpoint.tcp.source_addr = SOURCE;
    options.options |= REDIS_OPT_REUSEADDR;
    REDIS_OPTIONS_SET_PRIVDATA(&options, "private", on_free);
    ac = redisAsyncConnectWithOptions(&options);
    ck_assert_int_eq(ac->err, 0);
    ck_assert_int_eq(loop_attach(loop, ac), REDIS_OK);
    ck_assert_int_eq(redisAsyncSetConnectCallbackNC(ac, on_connect_nc), REDIS_OK);
    LOOP_UNTIL(loop, connected == 1);
    for (int i = 0; i < KEYS; i++)
        redisAsyncCommand(ac, NULL, NULL, "SET option:%d 1", i);
    int length = redisFormatCommand(&formatted, "GET %s", "option:7");
    ck_assert_int_eq(redisAsyncFormattedCommand(ac, on_formatted, &answered, formatted,
                                                (size_t)length),
                     REDIS_OK);
    redisFreeCommand(formatted);
    LOOP_UNTIL(loop, answered);
    every_socket_is_from(SOURCE);
    every_socket_has(SOL_SOCKET, SO_REUSEADDR, 1);
    redisAsyncFree(ac);
    ck_assert_int_eq(freed, 1);
    loop_destroy(loop);
}
END_TEST

static void add_tests_of_1(TCase *tc)
{
    tcase_add_test(tc, test_options);
    tcase_add_test(tc, test_keep_alive_with_interval);
    tcase_add_test(tc, test_allocators);
    tcase_add_loop_test(tc, test_pushes_from_every_node, 0, 2);
    tcase_add_test(tc, test_pushes_as_replies);
    tcase_add_loop_test(tc, test_pushes_to_an_asynchronous_context, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_asynchronous_timeout, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_asynchronous_options, 0, LOOP_KINDS);
}

#else

static void add_tests_of_1(TCase *tc)
{
    (void)tc;
}

#endif

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tc = suite_case(suite, "on every connection", setup, teardown);

    tcase_add_loop_test(tc, test_source_address_of_an_asynchronous_context, 0, 2 * LOOP_KINDS);
    tcase_add_loop_test(tc, test_keep_alive, 0, 2);
    tcase_add_test(tc, test_connect_timeout);
    add_tests_of_1(tc);
    return suite_run(suite);
}
