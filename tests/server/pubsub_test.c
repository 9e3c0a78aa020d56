/* Publish and subscribe, as from one server: blocking with and without a poll of the program's own,
 * asynchronous with hiredis' bookkeeping, keyspace notifications from all masters, and what
 * survives the death of a node and the move of a slot. */
#define _GNU_SOURCE
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { MESSAGES = 200, CHANNELS = 50, MASTERS = 3, NODE_TIMEOUT_MS = 1500, QUIET_MS = 150 };

static struct cluster *cluster; /* with replicas, for tests that kill */

static void setup(void)
{
    cluster = cluster_start(
        &(struct cluster_options){.masters = MASTERS, .replicas = 1, .node_timeout_ms = NODE_TIMEOUT_MS});
}

static void teardown(void)
{
    cluster_stop(cluster);
}

/* Nothing more comes, and nothing came twice. */
static void expect_silence(redisContext *c)
{
    struct timeval limit = {.tv_usec = QUIET_MS * 1000};
    void *reply = NULL;

    ck_assert_int_eq(redisSetTimeout(c, limit), REDIS_OK);
    ck_assert_int_eq(redisGetReply(c, &reply), REDIS_ERR);
    ck_assert_int_eq(errno, EAGAIN);
    c->err = 0;
    ck_assert_int_eq(redisSetTimeout(c, (struct timeval){.tv_sec = 30}), REDIS_OK);
}

/* --- blocking --- */

static void expect_message(redisContext *c, const char *channel, const char *text)
{
    char expected[256];

    snprintf(expected, sizeof expected, "message\n%s\n%s", channel, text);
    EXPECT_NEXT(c, expected);
}

static bool is_readable(const redisContext *c, int limit_ms)
{
    struct pollfd set = {.fd = c->fd, .events = POLLIN};

    return poll(&set, 1, limit_ms) == 1;
}

START_TEST(test_subscribe_loop)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    char text[32];

    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(text, sizeof text, "m%d", i);
        EXPECT(other, "1", "PUBLISH news %s", text);
        expect_message(c, "news", text);
    }
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_answers_for_each_name)
{
    redisContext *c = connect_target(_i);

    EXPECT(c, "subscribe\na\n1", "SUBSCRIBE a b a");
    EXPECT_NEXT(c, "subscribe\nb\n2");
    EXPECT_NEXT(c, "subscribe\na\n2");
    EXPECT(c, "psubscribe\nx*\n3", "PSUBSCRIBE x*");
    EXPECT(c, "unsubscribe\nnone\n3", "UNSUBSCRIBE none a");
    EXPECT_NEXT(c, "unsubscribe\na\n2");
    EXPECT(c, "unsubscribe\nb\n1", "UNSUBSCRIBE");
    EXPECT(c, "unsubscribe\n(nil)\n1", "UNSUBSCRIBE");
    EXPECT(c, "punsubscribe\nx*\n0", "PUNSUBSCRIBE");
    EXPECT(c, "punsubscribe\n(nil)\n0", "PUNSUBSCRIBE");
    EXPECT(c, "OK", "SET after-unsubscribe v");
    EXPECT(c, "v", "GET after-unsubscribe");
    redisFree(c);
}
END_TEST

START_TEST(test_what_is_allowed_while_subscribed)
{
    redisContext *c = connect_target(_i);
    static const char *const refused[] = {"GET k",    "SET k v",        "MGET a b",  "INFO",
                                          "MULTI",    "CLIENT GETNAME", "DBSIZE",    "HELLO 2",
                                          "AUTH x",   "PUBLISH a b",    "MONITOR",   "SELECT 0",
                                          "EVAL x 0", "CONFIG GET *",   "KEYS *",    NULL};

    EXPECT(c, "OK", "SET k v");
    EXPECT(c, "v", "GET k");
    EXPECT(c, "subscribe\na\n1", "SUBSCRIBE a");
    EXPECT(c, "pong\n", "PING");
    EXPECT(c, "pong\nhello", "PING hello");
    for (int i = 0; refused[i]; i++)
        EXPECT_ERROR(c, "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed",
                     refused[i]);
    EXPECT_ERROR(c, "ERR Can't execute 'get': only", "GET k");
    EXPECT_ERROR(c, "ERR Can't execute 'config|get': only", "CONFIG GET x");
    EXPECT_ERROR(c, "ERR wrong number of arguments for 'get' command", "GET");
    EXPECT_ERROR(c, "ERR wrong number of arguments for 'subscribe' command", "SUBSCRIBE");
    EXPECT(c, "unsubscribe\na\n0", "UNSUBSCRIBE a");
    EXPECT(c, "v", "GET k");
    EXPECT(c, "PONG", "PING");
    redisFree(c);
}
END_TEST

START_TEST(test_reset_and_quit_while_subscribed)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);

    EXPECT(c, "subscribe\na\n1", "SUBSCRIBE a");
    EXPECT(c, "RESET", "RESET");
    EXPECT(c, "OK", "SET k v");
    EXPECT(other, "0", "PUBLISH a m");
    EXPECT(c, "v", "GET k");
    EXPECT(c, "subscribe\nb\n1", "SUBSCRIBE b");
    EXPECT(other, "1", "PUBLISH b m");
    expect_message(c, "b", "m");
    EXPECT(c, "OK", "QUIT");
    ck_assert_ptr_null(redisCommand(c, "PING"));
    redisFree(c);
    redisFree(other);
}
END_TEST

/* The program waits on c->fd, and calls redisGetReply when it is readable, never in vain. */
START_TEST(test_poll_before_reply)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    char text[32];

    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(text, sizeof text, "m%d", i);
        ck_assert_msg(!is_readable(c, i % 20 == 0 ? QUIET_MS : 0), "readable before message %d", i);
        EXPECT(other, "1", "PUBLISH news %s", text);
        ck_assert_msg(is_readable(c, UNTIL_LIMIT_MS), "not readable for message %d", i);
        expect_message(c, "news", text);
    }
    redisFree(other);
    redisFree(c);
}
END_TEST

/* Several messages in one read: the reader holds what the descriptor no longer shows. */
START_TEST(test_many_messages_at_once)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    char text[32];

    EXPECT(c, "psubscribe\nnews:*\n1", "PSUBSCRIBE news:*");
    for (int i = 0; i < 100 * MESSAGES; i++)
        redisAppendCommand(other, "PUBLISH news:%d %d", i % 7, i);
    for (int i = 0; i < 100 * MESSAGES; i++)
        EXPECT_NEXT(other, "1");
    for (int i = 0; i < 100 * MESSAGES; i++) {
        snprintf(text, sizeof text, "pmessage\nnews:*\nnews:%d\n%d", i % 7, i);
        EXPECT_NEXT(c, text);
    }
    redisFree(other);
    redisFree(c);
}
END_TEST

/* A receive time limit that passes without a message costs nothing but the wait. */
START_TEST(test_time_limit_of_a_subscriber)
{
    redisContext *c = connect_target(_i), *other = connect_target(_i);
    struct timeval limit = {.tv_usec = QUIET_MS * 1000};
    void *reply = NULL;

    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    ck_assert_int_eq(redisSetTimeout(c, limit), REDIS_OK);
    ck_assert_int_eq(redisGetReply(c, &reply), REDIS_ERR);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_int_eq(errno, EAGAIN);
    c->err = 0; /* as programs do that go on */
    EXPECT(other, "1", "PUBLISH news late");
    ck_assert(is_readable(c, UNTIL_LIMIT_MS));
    expect_message(c, "news", "late");
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_pipeline_around_subscriptions)
{
    redisContext *c = connect_target(_i);

    redisAppendCommand(c, "SET p v");
    redisAppendCommand(c, "GET p");
    redisAppendCommand(c, "SUBSCRIBE a b");
    redisAppendCommand(c, "GET p");
    redisAppendCommand(c, "UNSUBSCRIBE a");
    redisAppendCommand(c, "PING");
    redisAppendCommand(c, "UNSUBSCRIBE b");
    redisAppendCommand(c, "GET p");
    EXPECT_NEXT(c, "OK");
    EXPECT_NEXT(c, "v");
    EXPECT_NEXT(c, "subscribe\na\n1");
    EXPECT_NEXT(c, "subscribe\nb\n2");
    EXPECT_NEXT(c, "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT "
                   "/ RESET are allowed in this context");
    EXPECT_NEXT(c, "unsubscribe\na\n1");
    EXPECT_NEXT(c, "pong\n");
    EXPECT_NEXT(c, "unsubscribe\nb\n0");
    EXPECT_NEXT(c, "v");
    redisFree(c);
}
END_TEST

/* A user who may not: the server's error, and nothing of the command is subscribed. */
START_TEST(test_forbidden_channel)
{
    redisContext *c = connect_target(_i);

    EXPECT(c, "OK", "ACL SETUSER sub on >p +@all ~* resetchannels &allowed:*");
    EXPECT(c, "OK", "AUTH sub p");
    EXPECT_ERROR(c, "NOPERM", "SUBSCRIBE allowed:1 forbidden");
    EXPECT(c, "PONG", "PING");
    EXPECT(c, "subscribe\nallowed:2\n1", "SUBSCRIBE allowed:2");
    EXPECT(c, "unsubscribe\nallowed:2\n0", "UNSUBSCRIBE");
    redisFree(c);
    c = connect_target(_i);
    EXPECT(c, "1", "ACL DELUSER sub");
    redisFree(c);
}
END_TEST

/* --- many nodes --- */

static redisContext *connect_node(int node)
{
    return connect_port(cluster_port(cluster, node));
}

START_TEST(test_published_anywhere_arrives_once)
{
    redisContext *c = connect_node(0);
    char expected[64];

    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    EXPECT(c, "psubscribe\n*\n2", "PSUBSCRIBE *");
    for (int i = 0; i < MESSAGES; i++) {
        char *answer = cluster_command(cluster, i % cluster_size(cluster), "PUBLISH news %d", i);
        free(answer);
        snprintf(expected, sizeof expected, "message\nnews\n%d", i);
        EXPECT_NEXT(c, expected);
        snprintf(expected, sizeof expected, "pmessage\n*\nnews\n%d", i);
        EXPECT_NEXT(c, expected);
    }
    expect_silence(c);
    redisFree(c);
}
END_TEST

START_TEST(test_keyspace_notifications_of_all_masters)
{
    redisContext *c = connect_node(0), *other = connect_node(1);
    static const char *const patterns[] = {"__keyspace@0__:*", "__key*__:set", "*"};
    const char *pattern = patterns[_i];
    char expected[128];

    EXPECT(other, "OK", "CONFIG SET notify-keyspace-events KEA");
    snprintf(expected, sizeof expected, "psubscribe\n%s\n1", pattern);
    EXPECT(c, expected, "PSUBSCRIBE %s", pattern);
    for (int i = 0; i < MESSAGES; i++) {
        char *key = cluster_key_for(cluster, i % MASTERS, i);
        EXPECT(other, "OK", "SET %s v", key);
        if (_i != 1) {
            snprintf(expected, sizeof expected, "pmessage\n%s\n__keyspace@0__:%s\nset", pattern, key);
            EXPECT_NEXT(c, expected);
        }
        if (_i != 0) {
            snprintf(expected, sizeof expected, "pmessage\n%s\n__keyevent@0__:set\n%s", pattern, key);
            EXPECT_NEXT(c, expected);
        }
        free(key);
    }
    if (_i == 2) { /* and what is no notification arrives once */
        char *answer = cluster_command(cluster, 2, "PUBLISH news m");
        free(answer);
        EXPECT_NEXT(c, "pmessage\n*\nnews\nm");
    }
    expect_silence(c);
    EXPECT(other, "OK", "CONFIG SET notify-keyspace-events %s", "");
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_keyevent_channel)
{
    redisContext *c = connect_node(0), *other = connect_node(1);

    EXPECT(other, "OK", "CONFIG SET notify-keyspace-events Ex");
    EXPECT(c, "subscribe\n__keyevent@0__:expired\n1", "SUBSCRIBE __keyevent@0__:expired");
    for (int i = 0; i < MASTERS; i++) {
        char expected[64], *key = cluster_key_for(cluster, i, 7);
        EXPECT(other, "OK", "SET %s v PX 1", key);
        snprintf(expected, sizeof expected, "message\n__keyevent@0__:expired\n%s", key);
        EXPECT_NEXT(c, expected);
        free(key);
    }
    expect_silence(c);
    EXPECT(other, "OK", "CONFIG SET notify-keyspace-events %s", "");
    redisFree(other);
    redisFree(c);
}
END_TEST

START_TEST(test_pubsub_reports_of_all_nodes)
{
    redisContext *a = connect_node(0), *b = connect_node(1), *c = connect_node(2);

    EXPECT(a, "subscribe\nnews\n1", "SUBSCRIBE news");
    EXPECT(b, "subscribe\nnews\n1", "SUBSCRIBE news sport");
    EXPECT_NEXT(b, "subscribe\nsport\n2");
    EXPECT(b, "psubscribe\nx*\n3", "PSUBSCRIBE x*");
    EXPECT(c, "news\nsport", "PUBSUB CHANNELS");
    EXPECT(c, "sport", "PUBSUB CHANNELS s*");
    EXPECT(c, "news\n2\nsport\n1\nnone\n0", "PUBSUB NUMSUB news sport none");
    EXPECT(c, "1", "PUBSUB NUMPAT");
    EXPECT(b, "ssubscribe\nshard\n1", "SSUBSCRIBE shard");
    EXPECT(c, "shard", "PUBSUB SHARDCHANNELS");
    EXPECT(c, "shard\n1\nother\n0", "PUBSUB SHARDNUMSUB shard other");
    redisFree(a);
    redisFree(b);
    redisFree(c);
}
END_TEST

static bool says(redisContext *c, const char *expected, const char *command)
{
    redisReply *reply = redisCommand(c, command);
    ck_assert_msg(reply != NULL, "%s: %s", command, c->errstr);
    char *text = reply_text(reply);
    bool is_said = !strcmp(text, expected);
    free(text);
    freeReplyObject(reply);
    return is_said;
}

START_TEST(test_shard_channels)
{
    redisContext *c = connect_node(0), *other = connect_node(1);
    char expected[64];

    EXPECT_ERROR(c, "CROSSSLOT Keys in request don't hash to the same slot", "SSUBSCRIBE a b");
    EXPECT(c, "ssubscribe\n{t}a\n1", "SSUBSCRIBE {t}a {t}b");
    EXPECT_NEXT(c, "ssubscribe\n{t}b\n2");
    for (int i = 0; i < CHANNELS; i++) {
        snprintf(expected, sizeof expected, "ssubscribe\nshard:%d\n%d", i, i + 3);
        EXPECT(c, expected, "SSUBSCRIBE shard:%d", i);
    }
    for (int i = 0; i < CHANNELS; i++) {
        EXPECT(other, "1", "SPUBLISH shard:%d m%d", i, i);
        snprintf(expected, sizeof expected, "smessage\nshard:%d\nm%d", i, i);
        EXPECT_NEXT(c, expected);
    }
    EXPECT(c, "sunsubscribe\nshard:0\n51", "SUNSUBSCRIBE shard:0");
    /* The session answers; its server hears of it a little later than the program. */
    UNTIL(says(other, "shard:0\n0", "PUBSUB SHARDNUMSUB shard:0"));
    EXPECT(other, "0", "SPUBLISH shard:0 m");
    EXPECT(other, "1", "SPUBLISH {t}b last");
    EXPECT_NEXT(c, "smessage\n{t}b\nlast");
    redisFree(other);
    redisFree(c);
}
END_TEST

/* A shard channel whose slot goes from master to master. */
START_TEST(test_shard_channel_moves)
{
    redisContext *c = connect_node(0), *other = connect_node(1);
    int slot = cluster_slot("moving"), from = -1;

    EXPECT(c, "ssubscribe\nmoving\n1", "SSUBSCRIBE moving");
    for (int i = 0; i < MASTERS; i++)
        if (cluster_owner_of_slot(cluster, 0, slot) == i)
            from = i;
    for (int i = 0; i < MASTERS; i++) {
        int to = (from + 1) % MASTERS;
        char text[32];
        redisReply *reply;

        cluster_migrate(cluster, slot, from, to);
        from = to;
        /* Messages of the gap are lost; then they arrive again, once each. */
        for (int k = 0;; k++) {
            reply = redisCommand(other, "SPUBLISH moving m%d-%d", i, k);
            ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
            long long receivers = reply->integer;
            freeReplyObject(reply);
            ck_assert_int_le(receivers, 1);
            if (receivers == 1) {
                snprintf(text, sizeof text, "smessage\nmoving\nm%d-%d", i, k);
                EXPECT_NEXT(c, text);
                break;
            }
            ck_assert_int_lt(k, 2000);
            /* A blocking context works while its program is in it. */
            struct timeval limit = {.tv_usec = 20000};
            void *none = NULL;
            redisSetTimeout(c, limit);
            ck_assert_int_eq(redisGetReply(c, &none), REDIS_ERR);
            c->err = 0;
            redisSetTimeout(c, (struct timeval){.tv_sec = 30});
        }
    }
    redisFree(other);
    redisFree(c);
}
END_TEST

/* --- death --- */

/* The node that a subscription is at, by what the nodes say. */
static int subscribed_node(const char *channel, int dead)
{
    for (int i = 0; i < cluster_size(cluster); i++) {
        char expected[64];
        if (i == dead)
            continue;
        snprintf(expected, sizeof expected, "%s\n1", channel);
        if (cluster_says(cluster, i, expected, "PUBSUB NUMSUB %s", channel))
            return i;
    }
    return -1;
}

/* Node by node: CLUSTER SLOTS does not name a replica that nothing was written to yet. */
static void notify_everywhere(void)
{
    for (int i = 0; i < cluster_size(cluster); i++)
        ck_assert(cluster_says(cluster, i, "OK", "CONFIG SET notify-keyspace-events KEA"));
}

static int other_than(int node)
{
    return node == 0 ? 1 : 0;
}

/* The bus between the nodes has carried the first messages everywhere: a node that lags hands them
 * out once more to who subscribes there next. */
static bool is_heard_everywhere(int publisher, int messages)
{
    static const char field[] = "cluster_stats_messages_publish_received:";
    bool is_heard = true;

    for (int i = 0; i < cluster_size(cluster) && is_heard; i++) {
        char *info = cluster_command(cluster, i, "CLUSTER INFO");
        const char *found = strstr(info, field);

        is_heard = i == publisher || (found && atoi(found + strlen(field)) >= messages);
        free(info);
    }
    return is_heard;
}

START_TEST(test_subscription_survives_its_node)
{
    redisContext *c = connect_node(0);
    char text[64], *answer;
    int node, sent = 0, next = 0;
    redisReply *reply;

    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    node = subscribed_node("news", -1);
    ck_assert_int_ge(node, 0);
    for (; sent < MESSAGES; sent++) {
        answer = cluster_command(cluster, other_than(node), "PUBLISH news %d", sent);
        free(answer);
        snprintf(text, sizeof text, "message\nnews\n%d", sent);
        EXPECT_NEXT(c, text);
    }
    UNTIL(is_heard_everywhere(other_than(node), MESSAGES));
    cluster_signal(cluster, node, _i == 0 ? SIGKILL : SIGSTOP);
    /* Something is published all the time; the first that arrives ends the gap, and from then on
     * nothing is lost, doubled, or out of order. */
    redisSetTimeout(c, (struct timeval){.tv_usec = 50000});
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS;;) {
        ck_assert_msg(now_ms() < limit, "the subscription did not come back");
        answer = cluster_command(cluster, other_than(node), "PUBLISH news %d", sent++);
        free(answer);
        if (redisGetReply(c, (void **)&reply) == REDIS_OK)
            break;
        c->err = 0;
    }
    next = atoi(reply->element[2]->str) + 1;
    ck_assert_int_ge(next, MESSAGES + 1);
    freeReplyObject(reply);
    redisSetTimeout(c, (struct timeval){.tv_sec = 30});
    for (int i = 0; i < MESSAGES; i++) {
        answer = cluster_command(cluster, other_than(node), "PUBLISH news %d", sent++);
        free(answer);
    }
    for (; next < sent; next++) {
        snprintf(text, sizeof text, "message\nnews\n%d", next);
        EXPECT_NEXT(c, text);
    }
    EXPECT(c, "unsubscribe\nnews\n0", "UNSUBSCRIBE news");
    EXPECT(c, "PONG", "PING");
    redisFree(c);
    if (_i == 1)
        cluster_signal(cluster, node, SIGCONT);
}
END_TEST

/* After a failover the new master's notifications arrive; those of the others never stop. */
START_TEST(test_notifications_survive_a_failover)
{
    redisContext *c = connect_node(0), *other = connect_node(1);
    char expected[128], *key, *dead_key = cluster_key_for(cluster, 2, 1);
    bool is_back = false;
    redisReply *reply;

    notify_everywhere();
    EXPECT(c, "psubscribe\n__keyspace@0__:*\n1", "PSUBSCRIBE __keyspace@0__:*");
    cluster_signal(cluster, 2, SIGKILL);
    for (int i = 0; i < MESSAGES; i++) {
        key = cluster_key_for(cluster, i % 2, i);
        EXPECT(other, "OK", "SET %s v", key);
        snprintf(expected, sizeof expected, "pmessage\n__keyspace@0__:*\n__keyspace@0__:%s\nset", key);
        EXPECT_NEXT(c, expected);
        free(key);
    }
    cluster_await_failover(cluster, 2);
    redisSetTimeout(c, (struct timeval){.tv_usec = 50000});
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; !is_back;) {
        ck_assert_msg(now_ms() < limit, "notifications of the new master never came");
        EXPECT(other, "OK", "SET %s v", dead_key);
        is_back = redisGetReply(c, (void **)&reply) == REDIS_OK;
        c->err = 0;
    }
    snprintf(expected, sizeof expected, "pmessage\n__keyspace@0__:*\n__keyspace@0__:%s\nset", dead_key);
    EXPECT_REPLY(reply, expected);
    freeReplyObject(reply);
    free(dead_key);
    redisFree(other);
    redisFree(c);
}
END_TEST

/* The masters of a shard change places by order: nothing dies, nothing hangs up. */
START_TEST(test_notifications_after_an_ordered_failover)
{
    redisContext *c = connect_node(0), *other = connect_node(1);
    char *key = cluster_key_for(cluster, 1, 3), expected[128];
    bool is_back = false;
    redisReply *reply;

    notify_everywhere();
    EXPECT(c, "psubscribe\n__keyspace@0__:*\n1", "PSUBSCRIBE __keyspace@0__:*");
    cluster_failover(cluster, MASTERS + 1);
    redisSetTimeout(c, (struct timeval){.tv_usec = 50000});
    snprintf(expected, sizeof expected, "pmessage\n__keyspace@0__:*\n__keyspace@0__:%s\nset", key);
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; !is_back;) {
        ck_assert_msg(now_ms() < limit, "notifications of the new master never came");
        EXPECT(other, "OK", "SET %s v", key);
        is_back = redisGetReply(c, (void **)&reply) == REDIS_OK;
        c->err = 0;
        if (is_back) {
            EXPECT_REPLY(reply, expected);
            freeReplyObject(reply);
        }
    }
    /* Exactly once each, now that both have been subscribed to at some time. */
    redisSetTimeout(c, (struct timeval){.tv_usec = 500000});
    while (redisGetReply(c, (void **)&reply) == REDIS_OK)
        freeReplyObject(reply);
    c->err = 0;
    redisSetTimeout(c, (struct timeval){.tv_sec = 30});
    for (int i = 0; i < MESSAGES; i++) {
        EXPECT(other, "OK", "SET %s v", key);
        EXPECT_NEXT(c, expected);
    }
    expect_silence(c);
    free(key);
    redisFree(other);
    redisFree(c);
}
END_TEST

/* --- asynchronous --- */

struct heard {
    int subscribed, messages, unsubscribed, nulls, errors;
    char last[128];
};

static void on_push(redisAsyncContext *ac, void *reply, void *data)
{
    struct heard *heard = data;
    redisReply *r = reply;

    (void)ac;
    if (r == NULL) {
        heard->nulls++;
    } else if (r->type != REDIS_REPLY_ARRAY) {
        heard->errors++;
    } else {
        const char *word = r->element[0]->str;

        heard->subscribed += !strcmp(word, "subscribe") || !strcmp(word, "psubscribe");
        heard->unsubscribed += !strcmp(word, "unsubscribe") || !strcmp(word, "punsubscribe");
        heard->messages += !strcmp(word, "message") || !strcmp(word, "pmessage");
        if (r->element[r->elements - 1]->str)
            snprintf(heard->last, sizeof heard->last, "%s", r->element[r->elements - 1]->str);
    }
}

START_TEST(test_async_bookkeeping)
{
    int target = _i % target_count();
    struct async_client client = {0};
    struct heard a = {0}, b = {0}, p = {0};
    struct loop *loop = loop_create(_i / target_count());
    redisContext *other = connect_target(target);

    async_open(&client, loop, target_port(target));
    async_expect(&client, "OK", "SET before v");
    async_expect(&client, "v", "GET before");
    redisAsyncCommand(client.ac, on_push, &a, "SUBSCRIBE a");
    redisAsyncCommand(client.ac, on_push, &b, "SUBSCRIBE b1 b2");
    redisAsyncCommand(client.ac, on_push, &p, "PSUBSCRIBE x*");
    LOOP_UNTIL(loop, p.subscribed == 1);
    ck_assert_int_eq(client.replies, 2);
    ck_assert_int_eq(a.subscribed, 1);
    ck_assert_int_eq(b.subscribed, 2);
    for (int i = 0; i < MESSAGES; i++) {
        redisAppendCommand(other, "PUBLISH a a%d", i);
        redisAppendCommand(other, "PUBLISH b2 b%d", i);
        redisAppendCommand(other, "PUBLISH xy p%d", i);
    }
    for (int i = 0; i < 3 * MESSAGES; i++)
        EXPECT_NEXT(other, "1");
    LOOP_UNTIL(loop, a.messages == MESSAGES && b.messages == MESSAGES && p.messages == MESSAGES);
    ck_assert_str_eq(a.last, "a199");
    ck_assert_str_eq(p.last, "p199");
    redisAsyncCommand(client.ac, NULL, NULL, "UNSUBSCRIBE");
    redisAsyncCommand(client.ac, NULL, NULL, "PUNSUBSCRIBE");
    LOOP_UNTIL(loop, p.unsubscribed == 1);
    ck_assert_int_eq(a.unsubscribed + b.unsubscribed, 3);
    ck_assert(!(client.ac->c.flags & REDIS_SUBSCRIBED));
    async_expect(&client, "v", "GET before");
    async_finish(&client);
    async_close(&client);
    ck_assert_int_eq(a.nulls + b.nulls + p.nulls + a.errors + b.errors + p.errors, 0);
    redisFree(other);
    loop_destroy(loop);
}
END_TEST

START_TEST(test_async_disconnect_while_subscribed)
{
    int target = _i % target_count();
    struct async_client client = {0};
    struct heard heard = {0};
    struct loop *loop = loop_create(_i / target_count());

    async_open(&client, loop, target_port(target));
    redisAsyncCommand(client.ac, on_push, &heard, "SUBSCRIBE a");
    LOOP_UNTIL(loop, heard.subscribed == 1);
    async_close(&client);
    ck_assert_int_eq(heard.nulls, 1);
    loop_destroy(loop);
}
END_TEST

START_TEST(test_async_survives_its_node)
{
    struct async_client client = {0};
    struct heard heard = {0};
    struct loop *loop = loop_create(_i);
    int node, before;

    async_open(&client, loop, cluster_port(cluster, 0));
    redisAsyncCommand(client.ac, on_push, &heard, "SUBSCRIBE news");
    LOOP_UNTIL(loop, heard.subscribed == 1);
    node = subscribed_node("news", -1);
    ck_assert_int_ge(node, 0);
    cluster_signal(cluster, node, SIGKILL);
    LOOP_UNTIL(loop, subscribed_node("news", node) >= 0);
    before = heard.messages;
    for (int i = 0; i < MESSAGES; i++) {
        char *answer = cluster_command(cluster, other_than(node), "PUBLISH news %d", i);
        free(answer);
    }
    LOOP_UNTIL(loop, heard.messages - before == MESSAGES);
    loop_turn_for(loop, QUIET_MS);
    ck_assert_int_eq(heard.messages - before, MESSAGES);
    ck_assert_int_eq(heard.subscribed, 1);
    ck_assert_int_eq(heard.nulls + heard.errors, 0);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pubsub");
    TCase *tc = suite_case(suite, "as one server", target_setup, target_teardown);

    tcase_add_loop_test(tc, test_subscribe_loop, 0, target_count());
    tcase_add_loop_test(tc, test_answers_for_each_name, 0, target_count());
    tcase_add_loop_test(tc, test_what_is_allowed_while_subscribed, 0, target_count());
    tcase_add_loop_test(tc, test_reset_and_quit_while_subscribed, 0, target_count());
    tcase_add_loop_test(tc, test_poll_before_reply, 0, target_count());
    tcase_add_loop_test(tc, test_many_messages_at_once, 0, target_count());
    tcase_add_loop_test(tc, test_time_limit_of_a_subscriber, 0, target_count());
    tcase_add_loop_test(tc, test_pipeline_around_subscriptions, 0, target_count());
    tcase_add_loop_test(tc, test_forbidden_channel, 0, target_count());
    tcase_add_loop_test(tc, test_async_bookkeeping, 0, LOOP_KINDS * target_count());
    tcase_add_loop_test(tc, test_async_disconnect_while_subscribed, 0,
                        LOOP_KINDS * target_count());

    tc = suite_case(suite, "many nodes", setup, teardown);
    tcase_add_test(tc, test_published_anywhere_arrives_once);
    tcase_add_loop_test(tc, test_keyspace_notifications_of_all_masters, 0, 3);
    tcase_add_test(tc, test_keyevent_channel);
    tcase_add_test(tc, test_pubsub_reports_of_all_nodes);
    tcase_add_test(tc, test_shard_channels);
    tcase_add_test(tc, test_shard_channel_moves);
    tcase_add_test(tc, test_notifications_after_an_ordered_failover);

    tc = suite_case(suite, "deaths", NULL, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_subscription_survives_its_node, 0, 2);
    tcase_add_test(tc, test_notifications_survive_a_failover);
    tcase_add_loop_test(tc, test_async_survives_its_node, 0, 1);
    return suite_run(suite);
}
