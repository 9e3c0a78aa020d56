/* redisroute-test: cases
 *
 * The configuration leads sessions that are open to another cluster: which of two real clusters
 * answered is told by the servers' counts and by what is stored there. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/config_file.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/threads.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { MASTERS = 2, DEPTH = 20, PORT = 6379, FIRST = 10000000 };

/* Nobody listens there; the configuration says where it leads. */
static const char listener[] = "127.0.0.9";

static struct cluster *clusters[2];
static struct server *plain;

static void setup(void)
{
    for (int i = 0; i < 2; i++)
        clusters[i] = cluster_start(&(struct cluster_options){.masters = MASTERS});
    plain = server_start(&(struct server_options){0});
}

static void teardown(void)
{
    for (int i = 0; i < 2; i++)
        cluster_stop(clusters[i]);
    server_stop(plain);
}

static int owner(const struct cluster *cluster, const char *key)
{
    return cluster_owner_of_slot(cluster, 0, cluster_slot(key));
}

/* What the cluster itself says of a one-key command. */
static char *look(int which, const char *key, const char *command)
{
    return cluster_command(clusters[which], owner(clusters[which], key), "%s %s", command, key);
}

static bool says(int which, const char *expected, const char *command, const char *key)
{
    char *text = look(which, key, command);
    bool same = text != NULL && strcmp(text, expected) == 0;

    free(text);
    return same;
}

/* Each has its number under "who", and counts from that many times FIRST. */
static void begin(void)
{
    config_begin();
    for (int i = 0; i < 2; i++) {
        for (int node = 0; node < MASTERS; node++)
            free(cluster_command(clusters[i], node, "FLUSHALL"));
        free(cluster_command(clusters[i], owner(clusters[i], "who"), "SET who %d", i));
        free(cluster_command(clusters[i], owner(clusters[i], "count"), "SET count %d", i * FIRST));
    }
    free(server_command(plain, "FLUSHALL"));
    free(server_command(plain, "SET who 2"));
    free(server_command(plain, "SET count %d", 2 * FIRST));
}

static int port_of(int which, int node)
{
    return which == 2 ? server_port(plain) : cluster_port(clusters[which], node);
}

/* The listener's cluster is at that port; `more` is more of the file. */
static void lead_to_port(int port, const char *more)
{
    config_write("failover_timeout: 3s\nclusters:\n- {name: main, endpoints: [127.0.0.1:%d]}\n"
                 "listeners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main}}\n%s",
                 port, listener, PORT, more);
}

static void lead_to(int which)
{
    lead_to_port(port_of(which, 0), "");
}

static redisContext *dial(void)
{
    redisContext *c = redisConnect(listener, PORT);

    ck_assert_ptr_nonnull(c);
    ck_assert_msg(c->err == 0, "%s", c->errstr);
    return c;
}

/* --- a client of some kind, and what it has seen --- */

/* A round is DEPTH times INCR count, GET who. */
struct seen {
    int last;        /* who answered last */
    long counted[3]; /* replies to INCR, by who answered; the servers' own number is the same */
    long rounds;
};

struct client {
    const char *kind;
    void (*open)(struct client *);
    void (*round)(struct client *); /* fills `numbers` and `who` */
    void (*close)(struct client *);
    struct seen seen;
    long long numbers[DEPTH];
    int who[DEPTH];
    int got;
    redisContext *context;
    struct loop *loop;
    struct async_client async;
    redisRouteSession *bytes;
};

/* Every reply is the next one of whoever gave it, and nobody comes back within a round. */
static void take_round(struct client *c)
{
    int changes = 0;

    c->got = 0;
    c->round(c);
    ck_assert_int_eq(c->got, 2 * DEPTH);
    for (int i = 0; i < DEPTH; i++) {
        int who = (int)(c->numbers[i] / FIRST);
        long number = (long)(c->numbers[i] % FIRST);

        ck_assert_int_le(who, 2);
        ck_assert_msg(number == ++c->seen.counted[who], "%s: reply %ld of %d is not number %ld",
                      c->kind, number, who, c->seen.counted[who]);
        changes += (who != c->seen.last) + (c->who[i] != who);
        c->seen.last = c->who[i];
    }
    ck_assert_int_le(changes, 1);
    c->seen.rounds++;
}

static void take_reply(struct client *c, const redisReply *reply)
{
    ck_assert_ptr_nonnull(reply);
    if (c->got % 2 == 0) {
        ck_assert_msg(reply->type == REDIS_REPLY_INTEGER, "%s", reply->str ? reply->str : "?");
        c->numbers[c->got++ / 2] = reply->integer;
    } else {
        ck_assert_msg(reply->type == REDIS_REPLY_STRING, "%s", reply->str ? reply->str : "?");
        c->who[c->got++ / 2] = atoi(reply->str);
    }
}

static void open_sync(struct client *c)
{
    c->context = dial();
}

static void round_sync(struct client *c)
{
    for (int i = 0; i < DEPTH; i++) {
        redisAppendCommand(c->context, "INCR count");
        redisAppendCommand(c->context, "GET who");
    }
    for (int i = 0; i < 2 * DEPTH; i++) {
        redisReply *reply = NULL;

        ck_assert_msg(redisGetReply(c->context, (void **)&reply) == REDIS_OK, "%s",
                      c->context->errstr);
        take_reply(c, reply);
        freeReplyObject(reply);
    }
}

/* One command at a time, which goes the shortest way. */
static void round_single(struct client *c)
{
    for (int i = 0; i < 2 * DEPTH; i++) {
        redisReply *reply = redisCommand(c->context, i % 2 ? "GET who" : "INCR count");

        ck_assert_msg(reply != NULL, "%s", c->context->errstr);
        take_reply(c, reply);
        freeReplyObject(reply);
    }
}

static void close_sync(struct client *c)
{
    redisFree(c->context);
}

static void open_async(struct client *c)
{
    c->loop = loop_create(LOOP_LIBUV);
    async_open_host(&c->async, c->loop, listener, PORT);
}

static void on_reply(redisAsyncContext *ac, void *reply, void *data)
{
    (void)ac;
    take_reply(data, reply);
}

static void round_async(struct client *c)
{
    for (int i = 0; i < DEPTH; i++) {
        redisAsyncCommand(c->async.ac, on_reply, c, "INCR count");
        redisAsyncCommand(c->async.ac, on_reply, c, "GET who");
        if (i % 4 == 3)
            loop_turn(c->loop);
    }
    LOOP_UNTIL(c->loop, c->got == 2 * DEPTH);
}

static void close_async(struct client *c)
{
    async_close(&c->async);
    loop_destroy(c->loop);
}

static void open_bytes(struct client *c)
{
    c->bytes = redisRouteOpen(listener, PORT, NULL);
    ck_assert_ptr_nonnull(c->bytes);
}

static void round_bytes(struct client *c)
{
    redisReader *reader = redisReaderCreate();
    char heard[4096];

    for (int i = 0; i < DEPTH; i++)
        ck_assert_int_eq(redisRouteWrite(c->bytes, "INCR count\r\nGET who\r\n", 21), 0);
    while (c->got < 2 * DEPTH) {
        ssize_t n = redisRouteReadWait(c->bytes, heard, sizeof heard, UNTIL_LIMIT_MS);
        void *reply;

        ck_assert_msg(n > 0, "%s", redisRouteErrorText(c->bytes));
        redisReaderFeed(reader, heard, (size_t)n);
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
            take_reply(c, reply);
            freeReplyObject(reply);
        }
    }
    redisReaderFree(reader);
}

static void close_bytes(struct client *c)
{
    redisRouteClose(c->bytes);
}

/* redisConnectNonBlock, and the program's own poll(), as some bindings do it. */
static void open_nonblock(struct client *c)
{
    c->context = redisConnectNonBlock(listener, PORT);
    ck_assert_ptr_nonnull(c->context);
    ck_assert_msg(c->context->err == 0, "%s", c->context->errstr);
    MUST(poll(&(struct pollfd){.fd = c->context->fd, .events = POLLOUT}, 1, UNTIL_LIMIT_MS) == 1);
}

static void round_nonblock(struct client *c)
{
    int done = 0;

    for (int i = 0; i < DEPTH; i++) {
        redisAppendCommand(c->context, "INCR count");
        redisAppendCommand(c->context, "GET who");
    }
    while (!done)
        ck_assert_msg(redisBufferWrite(c->context, &done) == REDIS_OK, "%s", c->context->errstr);
    while (c->got < 2 * DEPTH) {
        void *reply;

        ck_assert(
            poll(&(struct pollfd){.fd = c->context->fd, .events = POLLIN}, 1, UNTIL_LIMIT_MS) == 1);
        ck_assert_msg(redisBufferRead(c->context) == REDIS_OK, "%s", c->context->errstr);
        while (redisReaderGetReply(c->context->reader, &reply) == REDIS_OK && reply != NULL) {
            take_reply(c, reply);
            freeReplyObject(reply);
        }
    }
}

static const struct client kinds[] = {
    {.kind = "pipeline", .open = open_sync, .round = round_sync, .close = close_sync},
    {.kind = "single", .open = open_sync, .round = round_single, .close = close_sync},
    {.kind = "async", .open = open_async, .round = round_async, .close = close_async},
    {.kind = "nonblock", .open = open_nonblock, .round = round_nonblock, .close = close_sync},
    {.kind = "bytes", .open = open_bytes, .round = round_bytes, .close = close_bytes},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Works on until the cluster answers. Returns how long that took since the file was saved. */
static int64_t work_until(struct client *c, int who)
{
    int64_t begun = now_ms(), limit = begun + UNTIL_LIMIT_MS;

    do {
        take_round(c);
        ck_assert_msg(now_ms() < limit, "%s: never came to %d", c->kind, who);
    } while (c->seen.last != who);
    return now_ms() - begun;
}

/* Every command that a reply was counted for ran, once. */
static void expect_counts(const struct client *c)
{
    for (int i = 0; i < 3; i++) {
        char *text = i == 2 ? server_command(plain, "GET count") : look(i, "count", "GET");

        ck_assert_msg(atol(text) == i * (long)FIRST + c->seen.counted[i],
                      "%s: %d has counted %s, and %ld of that were heard of", c->kind, i, text,
                      c->seen.counted[i]);
        free(text);
    }
}

/* --- back and forth --- */

/* `lead` leads to one cluster or the other: every reply is counted, there and here. */
static void go_back_and_forth(const struct client *kind, void (*lead)(int which), int times)
{
    struct client c = *kind;
    int64_t longest = 0;

    begin();
    lead(0);
    c.open(&c);
    take_round(&c);
    ck_assert_int_eq(c.seen.last, 0);
    for (int i = 1; i <= times; i++) {
        int64_t took;

        lead(i % 2);
        took = work_until(&c, i % 2);
        longest = took > longest ? took : longest;
        take_round(&c);
        ck_assert_int_eq(c.seen.last, i % 2);
    }
    expect_counts(&c);
    printf("%s: %ld rounds, a change took %lld ms at most\n", c.kind, c.seen.rounds,
           (long long)longest);
    c.close(&c);
    config_end();
}

START_TEST(test_back_and_forth_under_load)
{
    go_back_and_forth(&kinds[_i], lead_to, 10);
}
END_TEST

/* What is said first after a while of silence goes to the new cluster. */
START_TEST(test_an_idle_session)
{
    struct client c = kinds[_i];

    begin();
    lead_to(0);
    c.open(&c);
    take_round(&c);
    lead_to(1);
    UNTIL(config_log_says("version 2"));
    pause_ms(500);
    take_round(&c);
    ck_assert_int_eq(c.seen.counted[0], DEPTH);
    ck_assert_int_eq(c.seen.counted[1], DEPTH);
    expect_counts(&c);
    c.close(&c);
    config_end();
}
END_TEST

/* --- what moves, and what does not --- */

/* The reply, waited for again and again. */
static void expect_soon(redisContext *c, const char *expected, const char *command)
{
    int64_t limit = now_ms() + UNTIL_LIMIT_MS;
    bool same = false;

    while (!same) {
        redisReply *reply = redisCommand(c, command);
        char *text;

        ck_assert_msg(reply != NULL, "%s", c->errstr);
        text = reply_text(reply);
        same = reply_text_is(text, expected);
        ck_assert_msg(now_ms() < limit, "%s: never %s but %s", command, expected, text);
        free(text);
        freeReplyObject(reply);
        pause_ms(2);
    }
}

static redisContext *dial_at(int which)
{
    redisContext *c;

    begin();
    lead_to(which);
    c = dial();
    redisSetTimeout(c, (struct timeval){60, 0});
    return c;
}

/* Where it is was not known before; the cluster is the same, and so are the connections. */
START_TEST(test_one_more_endpoint_of_the_same_cluster_moves_nothing)
{
    redisContext *c = dial_at(0);
    char *id, *now;
    redisReply *reply;

    EXPECT(c, "0", "GET who");
    reply = redisCommand(c, "CLIENT ID");
    id = reply_text(reply);
    freeReplyObject(reply);
    config_write("clusters:\n- {name: main, endpoints: [localhost:%d, 127.0.0.1:%d]}\n"
                 "listeners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main}}\n",
                 port_of(0, 1), port_of(0, 0), listener, PORT);
    UNTIL(config_log_says("version 2"));
    for (int64_t until = now_ms() + 700; now_ms() < until; pause_ms(5))
        EXPECT(c, "0", "GET who");
    reply = redisCommand(c, "CLIENT ID");
    now = reply_text(reply);
    freeReplyObject(reply);
    ck_assert_str_eq(now, id);
    ck_assert(!config_log_says("goes to another cluster"));
    free(id);
    free(now);
    redisFree(c);
    config_end();
}
END_TEST

/* Until somebody answers there, connections stay. */
START_TEST(test_nobody_is_there_yet)
{
    redisContext *c = dial_at(0);

    EXPECT(c, "0", "GET who");
    lead_to_port(1, "");
    UNTIL(config_log_says("version 2"));
    for (int64_t until = now_ms() + 700; now_ms() < until; pause_ms(5))
        EXPECT(c, "0", "GET who");
    lead_to(1);
    expect_soon(c, "1", "GET who");
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_the_route_names_another_cluster)
{
    static const char text[] =
        "clusters:\n- {name: one, endpoints: [127.0.0.1:%d]}\n"
        "- {name: two, endpoints: [127.0.0.1:%d]}\n"
        "listeners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s}\n"
        "    prefix_routes: {catch_all_route: {cluster: %s}}\n";
    redisContext *c;

    begin();
    config_write(text, port_of(0, 0), port_of(1, 0), listener, PORT, "one");
    c = dial();
    EXPECT(c, "0", "GET who");
    config_write(text, port_of(0, 0), port_of(1, 0), listener, PORT, "two");
    expect_soon(c, "1", "GET who");
    redisFree(c);
    config_end();
}
END_TEST

/* From the address itself to a cluster of the file, and back. */
START_TEST(test_a_listener_comes_and_goes)
{
    redisContext *c;

    begin();
    config_write("failover_timeout: 3s\n");
    c = connect_port(port_of(0, 0));
    EXPECT(c, "0", "GET who");
    config_write("clusters:\n- {name: main, endpoints: [127.0.0.1:%d]}\n"
                 "listeners:\n- address: 127.0.0.1:%d\n  redis_proxy:\n"
                 "    settings: {op_timeout: 30s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main}}\n",
                 port_of(1, 0), port_of(0, 0));
    expect_soon(c, "1", "GET who");
    config_write("failover_timeout: 4s\n");
    expect_soon(c, "0", "GET who");
    redisFree(c);
    config_end();
}
END_TEST

/* From a server that is no cluster to one, and back. */
START_TEST(test_from_a_plain_server_and_back)
{
    static const int order[] = {0, 2, 1, 2};
    struct client c = kinds[_i];

    begin();
    lead_to(2);
    c.open(&c);
    take_round(&c);
    ck_assert_int_eq(c.seen.last, 2);
    for (int i = 0; i < 4; i++) {
        lead_to(order[i]);
        (void)work_until(&c, order[i]);
    }
    expect_counts(&c);
    c.close(&c);
    config_end();
}
END_TEST

START_TEST(test_the_state_of_the_connection_goes_along)
{
    redisContext *c = dial_at(0);

    EXPECT(c, "OK", "CLIENT SETNAME mover");
    EXPECT(c, "0", "GET who");
    lead_to(1);
    expect_soon(c, "1", "GET who");
    EXPECT(c, "mover", "CLIENT GETNAME");
    redisFree(c);
    config_end();
}
END_TEST

/* The login of the new version is said at the new cluster. */
START_TEST(test_the_login_is_the_new_versions)
{
    redisContext *c = dial_at(0);

    for (int node = 0; node < MASTERS; node++)
        free(cluster_command(clusters[1], node, "ACL SETUSER app on >app-secret ~* &* +@all"));
    EXPECT(c, "default", "ACL WHOAMI");
    config_write("clusters:\n- name: main\n  endpoints: [127.0.0.1:%d]\n  username: app\n"
                 "  password: app-secret\n"
                 "listeners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main}}\n",
                 port_of(1, 0), listener, PORT);
    expect_soon(c, "1", "GET who");
    EXPECT(c, "app", "ACL WHOAMI");
    lead_to(0);
    expect_soon(c, "0", "GET who");
    EXPECT(c, "default", "ACL WHOAMI");
    redisFree(c);
    config_end();
}
END_TEST

/* The keeper may not ask who is there: the session does, as whom the program said it is. */
START_TEST(test_the_programs_own_login_goes_along)
{
    const struct cluster_options options = {.masters = 1, .requirepass = "secret"};
    struct cluster *locked[2] = {cluster_start(&options), cluster_start(&options)};
    redisContext *c;

    for (int i = 0; i < 2; i++)
        free(cluster_command(locked[i], 0, "SET who %d", i));
    begin();
    lead_to_port(cluster_port(locked[0], 0), "");
    c = dial();
    EXPECT_ERROR(c, "NOAUTH", "GET who");
    EXPECT(c, "OK", "AUTH secret");
    EXPECT(c, "0", "GET who");
    lead_to_port(cluster_port(locked[1], 0), "");
    expect_soon(c, "1", "GET who");
    EXPECT(c, "OK", "SET who 3");
    ck_assert(cluster_says(locked[1], 0, "3", "GET who"));
    redisFree(c);
    config_end();
    cluster_stop(locked[0]);
    cluster_stop(locked[1]);
}
END_TEST

/* Before it has said who it is, too. */
START_TEST(test_a_session_that_is_locked_out)
{
    const struct cluster_options options = {.masters = 1, .requirepass = "secret"};
    struct cluster *locked = cluster_start(&options);
    redisContext *c;

    begin();
    lead_to_port(cluster_port(locked, 0), "");
    c = dial();
    EXPECT_ERROR(c, "NOAUTH", "GET who");
    lead_to(1);
    UNTIL(config_log_says("version 2"));
    pause_ms(500);
    EXPECT(c, "1", "GET who");
    redisFree(c);
    config_end();
    cluster_stop(locked);
}
END_TEST

/* A child of a fork goes there by itself. */
START_TEST(test_a_child_goes_too)
{
    redisContext *c = dial_at(0);
    int status;
    pid_t child;

    EXPECT(c, "0", "GET who");
    UNTIL(threads_are_asleep());
    child = fork();
    MUST(child != -1);
    if (child == 0) {
        EXPECT(c, "0", "GET who");
        lead_to(1);
        expect_soon(c, "1", "GET who");
        EXPECT(c, "OK", "SET child 1");
        redisFree(c);
        _exit(0);
    }
    MUST(waitpid(child, &status, 0) == child);
    ck_assert_int_eq(status, 0);
    ck_assert(says(1, "1", "GET", "child"));
    expect_soon(c, "1", "GET who");
    redisFree(c);
    config_end();
}
END_TEST

/* The open transaction is finished where it was begun; what is behind it is the new cluster's. */
START_TEST(test_a_transaction_is_finished_first)
{
    redisContext *c = dial_at(0);

    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR count");
    lead_to(1);
    UNTIL(config_log_says("version 2"));
    pause_ms(500);
    EXPECT(c, "QUEUED", "INCR count");
    redisAppendCommand(c, "EXEC");
    redisAppendCommand(c, "INCR count");
    EXPECT_NEXT(c, "1\n2");
    EXPECT_NEXT(c, "10000001");
    ck_assert(says(0, "2", "GET", "count"));
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR count");
    EXPECT(c, "10000002", "EXEC");
    redisFree(c);
    config_end();
}
END_TEST

/* What was watched was watched elsewhere. */
START_TEST(test_a_watch_is_lost)
{
    redisContext *c = dial_at(0);

    EXPECT(c, "OK", "WATCH count");
    lead_to(1);
    UNTIL(config_log_says("version 2"));
    pause_ms(500);
    EXPECT(c, "10000000", "GET count");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR count");
    EXPECT(c, "(nil)", "EXEC");
    ck_assert(says(1, "10000000", "GET", "count"));
    ck_assert(says(0, "0", "GET", "count"));
    EXPECT(c, "OK", "WATCH count");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "INCR count");
    EXPECT(c, "10000001", "EXEC");
    redisFree(c);
    config_end();
}
END_TEST

/* It is answered where it waits. */
START_TEST(test_a_command_that_blocks)
{
    redisContext *c = dial_at(0);

    redisAppendCommand(c, "BLPOP list 0");
    int done = 0;
    while (!done)
        ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
    lead_to(1);
    UNTIL(config_log_says("version 2"));
    pause_ms(500);
    free(cluster_command(clusters[0], owner(clusters[0], "list"), "RPUSH list x"));
    EXPECT_NEXT(c, "list\nx");
    EXPECT(c, "1", "GET who");
    redisFree(c);
    config_end();
}
END_TEST

/* What was accepted is sent, also when the connection is closed at once. */
START_TEST(test_what_was_accepted_is_sent)
{
    struct client c = kinds[2];
    redisContext *sync = dial_at(0);

    c.open(&c);
    take_round(&c);
    EXPECT(sync, "0", "GET who");
    lead_to(1);
    UNTIL(config_log_says("version 2"));
    pause_ms(500);
    int done = 0;
    redisAppendCommand(sync, "SET last sync");
    while (!done)
        ck_assert_int_eq(redisBufferWrite(sync, &done), REDIS_OK);
    redisFree(sync);
    UNTIL(says(1, "sync", "GET", "last"));
    redisAsyncCommand(c.async.ac, NULL, NULL, "SET last async");
    c.close(&c);
    UNTIL(says(1, "async", "GET", "last"));
    config_end();
}
END_TEST

/* --- messages --- */

struct publisher {
    pthread_t thread;
    atomic_bool stop;
    int which;
    const char *text;
};

static void *publish(void *data)
{
    struct publisher *p = data;

    while (!p->stop) {
        free(cluster_command(clusters[p->which], 0, "PUBLISH channel %s", p->text));
        pause_ms(5);
    }
    return NULL;
}

static void publish_at(struct publisher *p, int which, const char *text)
{
    *p = (struct publisher){.which = which, .text = text};
    MUST(pthread_create(&p->thread, NULL, publish, p) == 0);
}

static void publish_no_more(struct publisher *p)
{
    p->stop = true;
    pthread_join(p->thread, NULL);
}

/* Whoever waits for messages, and says nothing, hears those of the new cluster. */
START_TEST(test_a_subscriber_that_waits)
{
    struct publisher publisher;
    redisContext *c = dial_at(0);
    int64_t begun;

    EXPECT(c, "subscribe\nchannel\n1", "SUBSCRIBE channel");
    publish_at(&publisher, 0, "old");
    EXPECT_NEXT(c, "message\nchannel\nold");
    publish_no_more(&publisher);
    lead_to(1);
    begun = now_ms();
    publish_at(&publisher, 1, "new");
    for (;;) {
        redisReply *reply = NULL;
        char *text;
        bool is_new;

        ck_assert_msg(redisGetReply(c, (void **)&reply) == REDIS_OK, "%s", c->errstr);
        text = reply_text(reply);
        is_new = strcmp(text, "message\nchannel\nnew") == 0;
        ck_assert(is_new || strcmp(text, "message\nchannel\nold") == 0);
        free(text);
        freeReplyObject(reply);
        if (is_new)
            break;
    }
    printf("a subscriber heard the new cluster after %lld ms\n", (long long)(now_ms() - begun));
    publish_no_more(&publisher);
    redisFree(c);
    config_end();
}
END_TEST

static void on_message(redisAsyncContext *ac, void *data, void *privdata)
{
    const redisReply *reply = data;
    char *text;

    (void)ac;
    if (reply == NULL)
        return; /* the end */
    text = reply_text(reply);
    if (strstr(text, "new"))
        ++*(int *)privdata;
    free(text);
}

START_TEST(test_an_asynchronous_subscriber_that_waits)
{
    struct publisher publisher;
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    int channels = 0, patterns = 0;

    begin();
    lead_to(0);
    async_open_host(&client, loop, listener, PORT);
    redisAsyncCommand(client.ac, on_message, &channels, "SUBSCRIBE channel");
    redisAsyncCommand(client.ac, on_message, &patterns, "PSUBSCRIBE chan*");
    loop_turn_for(loop, 100);
    lead_to(1);
    publish_at(&publisher, 1, "new");
    LOOP_UNTIL(loop, channels > 0 && patterns > 0);
    publish_no_more(&publisher);
    async_close(&client);
    loop_destroy(loop);
    config_end();
}
END_TEST

/* --- what servers say unasked, as bytes --- */

static redisRouteSession *open_at(int which)
{
    redisRouteSession *session;

    begin();
    lead_to(which);
    session = redisRouteOpen(listener, PORT, NULL);
    ck_assert_ptr_nonnull(session);
    return session;
}

static void say(redisRouteSession *session, const char *line)
{
    char text[128];
    int length = snprintf(text, sizeof text, "%s\r\n", line);

    ck_assert_int_eq(redisRouteWrite(session, text, (size_t)length), 0);
}

/* What comes in so many milliseconds holds the words. */
static bool hears_within(redisRouteSession *session, int ms, const char *words)
{
    static char heard[65536];
    int64_t until = now_ms() + ms;
    size_t length = 0;

    do {
        ssize_t n = redisRouteReadWait(session, heard + length, sizeof heard - length - 1, 10);

        length += n > 0 ? (size_t)n : 0;
        heard[length] = '\0';
    } while (!strstr(heard, words) && now_ms() < until && length < sizeof heard - 1);
    return strstr(heard, words) != NULL;
}

static void hear(redisRouteSession *session, const char *words)
{
    ck_assert_msg(hears_within(session, UNTIL_LIMIT_MS, words), "never heard %s", words);
}

static const char forget_all[] = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

/* Whoever has cached what it read hears that it is stale, and then of the new cluster's changes. */
START_TEST(test_what_was_cached_is_stale)
{
    redisRouteSession *session = open_at(0);

    say(session, "HELLO 3");
    hear(session, "role");
    say(session, "CLIENT TRACKING ON");
    hear(session, "+OK");
    say(session, "GET who");
    hear(session, "$1\r\n0\r\n");
    lead_to(1);
    hear(session, forget_all);
    say(session, "GET who");
    hear(session, "$1\r\n1\r\n");
    free(cluster_command(clusters[1], owner(clusters[1], "who"), "SET who 1"));
    hear(session, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nwho\r\n");
    redisRouteClose(session);
    config_end();
}
END_TEST

/* It is published at the new cluster until that is heard. */
static void hear_published(redisRouteSession *session, const char *words)
{
    int at = owner(clusters[1], "channel");
    int64_t limit = now_ms() + UNTIL_LIMIT_MS;

    do {
        free(cluster_command(clusters[1], at, "SPUBLISH channel fresh"));
        ck_assert(now_ms() < limit);
    } while (!hears_within(session, 20, words));
}

START_TEST(test_a_monitor_and_a_shard_channel)
{
    redisRouteSession *monitor = open_at(0), *subscriber;

    subscriber = redisRouteOpen(listener, PORT, NULL);
    say(monitor, "MONITOR");
    hear(monitor, "+OK");
    say(subscriber, "SSUBSCRIBE channel");
    hear(subscriber, "ssubscribe");
    lead_to(1);
    hear_published(subscriber, "smessage\r\n$7\r\nchannel\r\n$5\r\nfresh");
    hear_published(monitor, "\"SPUBLISH\" \"channel\" \"fresh\"");
    redisRouteClose(monitor);
    redisRouteClose(subscriber);
    config_end();
}
END_TEST

/* --- routes by prefix --- */

/* `routes` is what is in prefix_routes; "one" and "two" are clusters, and so is "either". */
static void route_by(const char *routes, int either)
{
    config_write("failover_timeout: 3s\n"
                 "clusters:\n- {name: one, endpoints: [127.0.0.1:%d]}\n"
                 "- {name: two, endpoints: [127.0.0.1:%d]}\n"
                 "- {name: either, endpoints: [127.0.0.1:%d]}\n"
                 "- {name: plain, endpoints: [127.0.0.1:%d]}\n"
                 "listeners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s}\n"
                 "    prefix_routes:\n      %s\n",
                 port_of(0, 0), port_of(1, 0), port_of(either, 0), server_port(plain), listener,
                 PORT, routes);
}

static const char no_routes[] = "catch_all_route: {cluster: one}";
static const char some_routes[] = "routes: [{prefix: other, cluster: plain}]\n"
                                  "      catch_all_route: {cluster: two}";
static const char of_either[] = "routes: [{prefix: other, cluster: plain}]\n"
                                "      catch_all_route: {cluster: either}";

static void lead_by_routes(int which)
{
    route_by(which == 1 ? some_routes : no_routes, 0);
}

/* The first routes and the last: from an ordinary session to a front, and back. */
START_TEST(test_the_first_routes_and_the_last_under_load)
{
    go_back_and_forth(&kinds[_i], lead_by_routes, 4);
}
END_TEST

START_TEST(test_keys_go_by_the_first_routes)
{
    redisContext *c;

    begin();
    route_by(no_routes, 0);
    c = dial();
    EXPECT(c, "OK", "CLIENT SETNAME router");
    EXPECT(c, "OK", "SET other:1 one");
    route_by(some_routes, 0);
    expect_soon(c, "1", "GET who");
    EXPECT(c, "(nil)", "GET other:1");
    EXPECT(c, "OK", "SET other:1 plain");
    EXPECT(c, "router", "CLIENT GETNAME");
    EXPECT(c, "1\nplain", "MGET who other:1");
    route_by(no_routes, 0);
    expect_soon(c, "0", "GET who");
    EXPECT(c, "one", "GET other:1");
    EXPECT(c, "router", "CLIENT GETNAME");
    redisFree(c);
    config_end();
}
END_TEST

static void lead_a_route(int which)
{
    route_by(of_either, which);
}

/* The cluster of a route has other endpoints: one of the inner sessions moves. */
START_TEST(test_a_routes_cluster_moves_under_load)
{
    go_back_and_forth(&kinds[_i], lead_a_route, 4);
}
END_TEST

/* Who waits for messages hears those of the new cluster: of a route's, and by the first routes. */
START_TEST(test_subscribers_by_routes)
{
    void (*lead)(int) = _i == 0 ? lead_a_route : lead_by_routes;
    redisRouteSession *session;

    begin();
    lead(0);
    session = redisRouteOpen(listener, PORT, NULL);
    ck_assert_ptr_nonnull(session);
    for (int i = 0; i < 2; i++) {
        say(session, i == 0 ? "SUBSCRIBE other" : "SSUBSCRIBE channel");
        hear(session, i == 0 ? "other\r\n:1" : "ssubscribe");
    }
    lead(1);
    hear_published(session, "smessage\r\n$7\r\nchannel\r\n$5\r\nfresh");
    lead(0);
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS;;) {
        free(cluster_command(clusters[0], 0, "PUBLISH other back"));
        if (hears_within(session, 20, "message\r\n$5\r\nother\r\n$4\r\nback"))
            break;
        ck_assert(now_ms() < limit);
    }
    redisRouteClose(session);
    config_end();
}
END_TEST

/* --- mirrors --- */

static void mirror_to(int which)
{
    config_write("failover_timeout: 3s\nclusters:\n- {name: main, endpoints: [127.0.0.1:%d]}\n"
                 "- {name: copy, endpoints: [127.0.0.1:%d]}\n"
                 "listeners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main, request_mirror_policy: "
                 "[{cluster: copy, exclude_read_commands: true}]}}\n",
                 port_of(0, 0), port_of(which, 0), listener, PORT);
}

static long mirrored(int which)
{
    char *text = which == 2 ? server_command(plain, "GET count") : look(which, "count", "GET");
    long number = atol(text) - which * (long)FIRST;

    free(text);
    return number;
}

/* A mirror's endpoints change, from a cluster to a server and back: each write arrives once. */
START_TEST(test_a_mirror_moves_under_load)
{
    struct client c = kinds[0];

    begin();
    mirror_to(1);
    c.open(&c);
    take_round(&c);
    UNTIL(mirrored(1) == DEPTH);
    for (int i = 1; i <= 4; i++) {
        int to = i % 2 ? 2 : 1;
        long before = mirrored(to);

        mirror_to(to);
        for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; mirrored(to) == before;) {
            take_round(&c);
            ck_assert_msg(now_ms() < limit, "the mirror never came to %d", to);
        }
        before = mirrored(3 - to);
        take_round(&c);
        UNTIL(mirrored(1) + mirrored(2) == c.seen.counted[0]);
        ck_assert_int_eq(mirrored(3 - to), before);
    }
    c.close(&c);
    config_end();
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    return suite_case(suite, name, setup, teardown);
}

int main(void)
{
    Suite *suite = suite_create("move");
    TCase *tc = add_case(suite, "under load");

    tcase_add_loop_test(tc, test_back_and_forth_under_load, 0, KINDS);
    tc = add_case(suite, "first routes");
    tcase_add_loop_test(tc, test_the_first_routes_and_the_last_under_load, 0, KINDS);
    tc = add_case(suite, "routes");
    tcase_add_loop_test(tc, test_a_routes_cluster_moves_under_load, 0, KINDS);
    tcase_add_test(tc, test_keys_go_by_the_first_routes);
    tcase_add_loop_test(tc, test_subscribers_by_routes, 0, 2);
    tc = add_case(suite, "whether");
    tcase_add_loop_test(tc, test_an_idle_session, 0, KINDS);
    tcase_add_test(tc, test_one_more_endpoint_of_the_same_cluster_moves_nothing);
    tcase_add_test(tc, test_nobody_is_there_yet);
    tcase_add_test(tc, test_the_route_names_another_cluster);
    tcase_add_test(tc, test_a_listener_comes_and_goes);
    tcase_add_loop_test(tc, test_from_a_plain_server_and_back, 0, KINDS);
    tc = add_case(suite, "what is open");
    tcase_add_test(tc, test_the_state_of_the_connection_goes_along);
    tcase_add_test(tc, test_the_login_is_the_new_versions);
    tcase_add_test(tc, test_the_programs_own_login_goes_along);
    tcase_add_test(tc, test_a_session_that_is_locked_out);
    if (CAN_FORK)
        tcase_add_test(tc, test_a_child_goes_too);
    tcase_add_test(tc, test_a_transaction_is_finished_first);
    tcase_add_test(tc, test_a_watch_is_lost);
    tcase_add_test(tc, test_a_command_that_blocks);
    tcase_add_test(tc, test_what_was_accepted_is_sent);
    tcase_add_test(tc, test_a_subscriber_that_waits);
    tcase_add_loop_test(tc, test_an_asynchronous_subscriber_that_waits, 0, LOOP_KINDS);
    tc = add_case(suite, "mirrors");
    tcase_add_test(tc, test_a_mirror_moves_under_load);
    tc = add_case(suite, "unasked");
    tcase_add_test(tc, test_what_was_cached_is_stale);
    tcase_add_test(tc, test_a_monitor_and_a_shard_channel);
    return suite_run(suite);
}
