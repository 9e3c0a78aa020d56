/* GETs over a byte session, and over a bare socket to one server: see bench.sh.
 *
 *     bytes_bench PORT WAY COUNT     sends COUNT GETs and prints what one cost:
 *                                    nanoseconds of wall time, and of processor time
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "redisroute/redisroute.h"

/* Keys and values of 16 bytes; enough keys to be on every shard, and in no order of shards. */
enum { KEYS = 300, PIPELINE = 100, COMMAND_SIZE = 36, REPLY_SIZE = 23 };

static char gets_of_keys[(KEYS + PIPELINE) * COMMAND_SIZE + 1];

static void fail(const char *what)
{
    fprintf(stderr, "bytes_bench: %s\n", what);
    exit(1);
}

static long long now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void await(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, -1) != 1)
        fail("poll");
}

/* --- what the bytes go through --- */

struct way {
    const char *name;
    int at_once;
    void (*say)(const char *bytes, size_t length);
    ssize_t (*hear)(char *to, size_t size);
};

static redisRouteSession *session;
static int bare;

static void say_to_session(const char *bytes, size_t length)
{
    if (redisRouteWrite(session, bytes, length) != 0)
        fail(redisRouteErrorText(session));
}

static ssize_t hear_by_wait(char *to, size_t size)
{
    return redisRouteReadWait(session, to, size, -1);
}

static ssize_t hear_by_poll(char *to, size_t size)
{
    ssize_t n;
    do {
        await(redisRouteFd(session));
        n = redisRouteRead(session, to, size);
    } while (n == -1 && errno == EAGAIN);
    return n;
}

static void say_to_server(const char *bytes, size_t length)
{
    if (write(bare, bytes, length) != (ssize_t)length)
        fail("write");
}

static ssize_t hear_server(char *to, size_t size)
{
    await(bare);
    return read(bare, to, size);
}

static const struct way ways[] = {
    {"wait", 1, say_to_session, hear_by_wait},
    {"poll", 1, say_to_session, hear_by_poll},
    {"pipeline", PIPELINE, say_to_session, hear_by_poll},
    {"bare", 1, say_to_server, hear_server},
    {"bare_pipeline", PIPELINE, say_to_server, hear_server},
};

static void open_way(const struct way *way, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    if (way->say == say_to_session) {
        session = redisRouteOpen("127.0.0.1", port, NULL);
        if (session == NULL)
            fail(redisRouteErrorText(NULL));
        return;
    }
    bare = socket(AF_INET, SOCK_STREAM, 0);
    if (bare == -1 || connect(bare, (struct sockaddr *)&address, sizeof address) == -1)
        fail("connect");
    setsockopt(bare, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* --- measuring --- */

static void hear(const struct way *way, size_t expected)
{
    char heard[16384];
    while (expected > 0) {
        ssize_t n = way->hear(heard, sizeof heard);
        if (n <= 0 || (size_t)n > expected)
            fail("not the values that are there");
        expected -= (size_t)n;
    }
}

static void run(const struct way *way, int count)
{
    for (int sent = 0; sent < count; sent += way->at_once) {
        size_t length = (size_t)way->at_once * COMMAND_SIZE;
        way->say(gets_of_keys + sent % KEYS * COMMAND_SIZE, length);
        hear(way, (size_t)way->at_once * REPLY_SIZE);
    }
}

static void put_values(const struct way *way)
{
    char set[128];
    for (int i = 0; i < KEYS; i++) {
        int length = snprintf(set, sizeof set,
                              "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$16\r\nvalue-of-16-byte\r\n",
                              i * 7919);
        way->say(set, (size_t)length);
        hear(way, strlen("+OK\r\n"));
    }
    run(way, KEYS);
}

int main(int argc, char **argv)
{
    const struct way *way = NULL;
    long long wall_ns, cpu_ns;
    for (size_t i = 0; argc == 4 && i < sizeof ways / sizeof ways[0]; i++)
        if (strcmp(argv[2], ways[i].name) == 0)
            way = &ways[i];
    if (way == NULL) {
        fprintf(stderr, "usage: %s PORT wait|poll|pipeline|bare|bare_pipeline COUNT\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < KEYS + PIPELINE; i++)
        snprintf(gets_of_keys + i * COMMAND_SIZE, COMMAND_SIZE + 1,
                 "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012d\r\n", i % KEYS * 7919);
    open_way(way, atoi(argv[1]));
    put_values(way);
    int count = atoi(argv[3]);
    wall_ns = -now_ns(CLOCK_MONOTONIC);
    cpu_ns = -now_ns(CLOCK_PROCESS_CPUTIME_ID);
    run(way, count);
    wall_ns += now_ns(CLOCK_MONOTONIC);
    cpu_ns += now_ns(CLOCK_PROCESS_CPUTIME_ID);
    printf("%lld %lld\n", wall_ns / count, cpu_ns / count);
    redisRouteClose(session);
    return 0;
}
