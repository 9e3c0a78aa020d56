/* Blocking contexts: what a program sees of redisCommand, pipelines, time limits, reconnects and
 * reader functions is what hiredis alone shows on one server. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { KEYS = 1000, MEGABYTE = 1 << 20, BIG_VALUES = 64 };

/* --- commands --- */

START_TEST(test_every_kind_of_reply)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    EXPECT(c, "OK", "SET kinds:text hello");
    EXPECT(c, "hello", "GET kinds:text");
    EXPECT(c, "(nil)", "GET kinds:nothing");
    EXPECT(c, "OK", "SET kinds:empty %s", "");
    EXPECT(c, "", "GET kinds:empty");
    EXPECT(c, "41", "INCRBY kinds:number 41");
    EXPECT(c, "-1", "DECRBY kinds:number 42");
    EXPECT(c, "3", "RPUSH kinds:list a b c");
    EXPECT(c, "a\nb\nc", "LRANGE kinds:list 0 -1");
    EXPECT(c, "", "LRANGE kinds:none 0 -1");
    EXPECT(c, "1", "HSET kinds:hash b x");
    EXPECT(c, "(nil)\nx\n(nil)", "HMGET kinds:hash a b c");
    EXPECT_ERROR(c, "WRONGTYPE", "GET kinds:list");
    EXPECT_ERROR(c, "wrong number of arguments", "GET");
    EXPECT_ERROR(c, "unknown command", "NOSUCHCOMMAND key");
    ck_assert_int_eq(c->err, 0);
    ck_assert_str_eq(c->errstr, "");
    redisFree(c);
}
END_TEST

START_TEST(test_nested_arrays)
{
    redisContext *c = connect_target(_i);
    redisReply *reply = redisCommand(c, "EVAL %s 1 nested:key", "return {1,{2,{3,{'four',{}}}}}");
    EXPECT_REPLY(reply, "1\n2\n3\nfour\n");
    ck_assert_uint_eq(reply->elements, 2);
    ck_assert_uint_eq(reply->element[1]->element[1]->element[1]->elements, 2);
    freeReplyObject(reply);
    redisFree(c);
}
END_TEST

START_TEST(test_arguments_hold_any_byte)
{
    char value[512], key[256];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)i;
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (char)(255 - i);
    redisContext *c = connect_target(_i);
    const char *set[] = {"SET", key, value};
    const size_t lengths[] = {3, sizeof key, sizeof value};
    redisReply *reply = redisCommandArgv(c, 3, set, lengths);
    EXPECT_REPLY(reply, "OK");
    freeReplyObject(reply);
    reply = redisCommand(c, "GET %b", key, sizeof key);
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    ck_assert_uint_eq((size_t)reply->len, sizeof value);
    ck_assert_mem_eq(reply->str, value, sizeof value);
    freeReplyObject(reply);
    redisFree(c);
}
END_TEST

START_TEST(test_keys_of_every_shard)
{
    redisContext *c = connect_target(_i);
    char value[32];
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET wide:%d value-%d", i, i);
    for (int i = 0; i < KEYS; i++) {
        snprintf(value, sizeof value, "value-%d", i);
        EXPECT(c, value, "GET wide:%d", i);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_each_key_is_on_its_own_node)
{
    redisContext *c = connect_target(_i);
    for (int i = 0; i < KEYS; i += 10) {
        char key[32], value[32];
        snprintf(key, sizeof key, "place:%d", i);
        snprintf(value, sizeof value, "value-%d", i);
        EXPECT(c, "OK", "SET %s %s", key, value);
        char *seen = target_look(_i, key, "GET %s", key);
        ck_assert_str_eq(seen, value);
        free(seen);
    }
    redisFree(c);
}
END_TEST

/* The first command finds out what the server is: each way of sending it has to do so. */
START_TEST(test_first_command_of_each_way_of_sending)
{
    const char *argv[] = {"SET", "first:key", "v"};
    char *formatted;
    int length = redisFormatCommandArgv(&formatted, 3, argv, NULL);
    for (int way = 0; way < 4; way++) {
        redisContext *c = connect_target(_i);
        redisReply *reply = NULL;
        if (way == 0)
            redisAppendCommandArgv(c, 3, argv, NULL);
        else if (way == 1)
            redisAppendCommand(c, "SET %s %s", "first:key", "v");
        else if (way == 2)
            redisAppendFormattedCommand(c, formatted, (size_t)length);
        if (way == 3)
            reply = redisCommandArgv(c, 3, argv, NULL);
        else
            ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        EXPECT_REPLY(reply, "OK");
        freeReplyObject(reply);
        redisFree(c);
    }
    redisFreeCommand(formatted);
}
END_TEST

START_TEST(test_broken_resp_gets_an_error)
{
    static const char *const broken[] = {"*x\r\n", "*2\r\n$3\r\nGET\r\n:7\r\n",
                                         "*1\r\n$-5\r\nPING\r\n"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        redisContext *c = connect_target(_i);
        redisReply *reply = NULL;
        redisAppendCommand(c, "SET before:broken %s", "1");
        redisAppendFormattedCommand(c, broken[i], strlen(broken[i]));
        EXPECT_NEXT(c, "OK");
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        ck_assert_int_eq(reply->type, REDIS_REPLY_ERROR);
        ck_assert_ptr_nonnull(strstr(reply->str, "Protocol error"));
        freeReplyObject(reply);
        redisFree(c);
    }
}
END_TEST

/* --- pipelines --- */

START_TEST(test_pipeline_of_thousands)
{
    enum { ROUNDS = 20 };
    char expected[32];
    redisContext *c = connect_target(_i);
    target_flush(_i);
    for (int i = 0; i < ROUNDS * KEYS; i++)
        ck_assert_int_eq(redisAppendCommand(c, "INCR deep:%d", i % KEYS), REDIS_OK);
    for (int i = 0; i < ROUNDS * KEYS; i++) {
        snprintf(expected, sizeof expected, "%d", i / KEYS + 1);
        EXPECT_NEXT(c, expected);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_pipeline_keeps_order_over_shards)
{
    char expected[32];
    redisContext *c = connect_target(_i);
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET order:%d %d", i, i);
    for (int i = 0; i < 10 * KEYS; i++)
        redisAppendCommand(c, "GET order:%d", i * 7 % KEYS);
    for (int i = 0; i < 10 * KEYS; i++) {
        snprintf(expected, sizeof expected, "%d", i * 7 % KEYS);
        EXPECT_NEXT(c, expected);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_a_pipeline_reads_its_own_writes)
{
    char expected[32];
    redisContext *c = connect_target(_i);
    for (int i = 0; i < KEYS; i++) {
        redisAppendCommand(c, "SET own:%d %d", i % 10, i);
        redisAppendCommand(c, "GET own:%d", i % 10);
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(expected, sizeof expected, "%d", i);
        EXPECT_NEXT(c, "OK");
        EXPECT_NEXT(c, expected);
    }
    redisFree(c);
}
END_TEST

/* A server answers what came in one write in one write. kamailio's ndb_redis counts on it: it waits
 * for the first reply of a pipeline, and takes the others out of the reader without waiting. */
START_TEST(test_the_replies_of_a_small_pipeline_come_together)
{
    redisContext *c = connect_target(_i);
    for (int round = 0; round < 200; round++) {
        redisAppendCommand(c, "SET together:%d a", round);
        redisAppendCommand(c, "SET together:%d b", round + 1000);
        redisAppendCommand(c, "GET together:%d", round);
        EXPECT_NEXT(c, "OK");
        for (int i = 0; i < 2; i++) {
            redisReply *reply = NULL;
            ck_assert_int_eq(redisGetReplyFromReader(c, (void **)&reply), REDIS_OK);
            EXPECT_REPLY(reply, i ? "a" : "OK");
            freeReplyObject(reply);
        }
    }
    redisFree(c);
}
END_TEST

START_TEST(test_an_error_in_a_pipeline_stays_in_its_place)
{
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "SET amid:text x");
    redisAppendCommand(c, "SET amid:a 1");
    redisAppendCommand(c, "LPUSH amid:text y");
    redisAppendCommand(c, "GET amid:a");
    EXPECT_NEXT(c, "OK");
    EXPECT_NEXT(c, "-WRONGTYPE Operation against a key holding the wrong kind of value");
    EXPECT_NEXT(c, "1");
    redisFree(c);
}
END_TEST

static char *big_value(void)
{
    char *value = malloc(MEGABYTE);
    MUST(value);
    memset(value, 'x', MEGABYTE);
    return value;
}

static void expect_big(redisContext *c, const char *value, int i)
{
    redisReply *reply = NULL;
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    ck_assert_int_eq((int)reply->len, MEGABYTE + 3);
    ck_assert_int_eq(atoi(reply->str + MEGABYTE), i + 100);
    ck_assert(!memcmp(reply->str, value, MEGABYTE));
    freeReplyObject(reply);
}

/* Larger than all the buffers between program and servers, in both directions at once: each write
 * is followed by its read, so that replies pile up while there is still much to be written. */
START_TEST(test_pipeline_larger_than_every_buffer)
{
    redisContext *c = connect_target(_i);
    char *value = big_value();
    for (int i = 0; i < BIG_VALUES; i++) {
        redisAppendCommand(c, "SET big:%d %b%d", i, value, (size_t)MEGABYTE, i + 100);
        redisAppendCommand(c, "GET big:%d", i);
    }
    for (int i = 0; i < BIG_VALUES; i++) {
        EXPECT_NEXT(c, "OK");
        expect_big(c, value, i);
    }
    free(value);
    redisFree(c);
    target_flush(_i);
}
END_TEST

START_TEST(test_one_value_of_64_megabytes)
{
    size_t size = (size_t)BIG_VALUES * MEGABYTE;
    char *value = malloc(size);
    MUST(value);
    for (size_t i = 0; i < size; i++)
        value[i] = (char)(i * 2654435761u >> 13);
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "SET huge:value %b", value, size);
    redisReply *reply = redisCommand(c, "GET huge:value");
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    ck_assert_uint_eq((size_t)reply->len, size);
    ck_assert(!memcmp(reply->str, value, size));
    freeReplyObject(reply);
    EXPECT(c, "1", "DEL huge:value");
    free(value);
    redisFree(c);
}
END_TEST

START_TEST(test_array_of_100000_elements)
{
    enum { ELEMENTS = 100000 };
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "EVAL %s 1 long:list",
           "redis.call('DEL',KEYS[1]) for i=1,100000 do redis.call('RPUSH',KEYS[1],i) end "
           "return redis.status_reply('OK')");
    redisReply *reply = redisCommand(c, "LRANGE long:list 0 -1");
    ck_assert_uint_eq(reply->elements, ELEMENTS);
    for (int i = 0; i < ELEMENTS; i++)
        ck_assert_int_eq(atoi(reply->element[i]->str), i + 1);
    freeReplyObject(reply);
    redisFree(c);
}
END_TEST

/* --- what was accepted is sent --- */

static void flush_output(redisContext *c)
{
    int is_done = 0;
    while (!is_done)
        ck_assert_int_eq(redisBufferWrite(c, &is_done), REDIS_OK);
}

START_TEST(test_what_was_flushed_is_executed_though_nobody_reads)
{
    redisContext *c = connect_target(_i);
    target_flush(_i);
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "INCR unread:%d", i);
    flush_output(c);
    redisFree(c);
    for (int i = 0; i < KEYS; i += 50) {
        char key[32];
        snprintf(key, sizeof key, "unread:%d", i);
        char *seen = target_look(_i, key, "GET %s", key);
        while (strcmp(seen, "1")) {
            free(seen);
            seen = target_look(_i, key, "GET %s", key);
        }
        free(seen);
    }
}
END_TEST

START_TEST(test_free_with_replies_unread)
{
    for (int round = 0; round < 20; round++) {
        redisContext *c = connect_target(_i);
        for (int i = 0; i < 100; i++)
            redisAppendCommand(c, "INCR left:%d", i);
        redisReply *reply = NULL;
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        freeReplyObject(reply);
        redisFree(c);
    }
}
END_TEST

/* --- blocking commands --- */

static void *push_later(void *arg)
{
    int target = *(int *)arg;
    /* Once the server says that a client is blocked, BLPOP has arrived. */
    for (bool is_blocked = false; !is_blocked;) {
        char *info = target_look(target, "blocking:list", "INFO clients");
        is_blocked = strstr(info, "blocked_clients:1") != NULL;
        free(info);
    }
    char *behind = target_look(target, "behind:key", "GET behind:key");
    ck_assert_str_eq(behind, "(nil)");
    free(behind);
    free(target_look(target, "blocking:list", "RPUSH blocking:list element"));
    return NULL;
}

/* Nothing behind a blocking command is executed before it returns, on whichever node it is. */
START_TEST(test_a_blocking_command_holds_back_what_follows)
{
    pthread_t pusher;
    int target = _i;
    target_flush(_i);
    redisContext *c = connect_target(_i);
    ck_assert_int_ne(cluster_slot("blocking:list"), cluster_slot("behind:key"));
    redisAppendCommand(c, "BLPOP blocking:list 0");
    redisAppendCommand(c, "SET behind:key 1");
    redisAppendCommand(c, "GET behind:key");
    pthread_create(&pusher, NULL, push_later, &target);
    EXPECT_NEXT(c, "blocking:list\nelement");
    EXPECT_NEXT(c, "OK");
    EXPECT_NEXT(c, "1");
    pthread_join(pusher, NULL);
    redisFree(c);
}
END_TEST

START_TEST(test_a_blocking_command_gives_up_when_the_server_does)
{
    redisContext *c = connect_target(_i);
    int64_t start = now_ms();
    EXPECT(c, "(nil)", "BLPOP blocking:nothing 0.3");
    ck_assert_int_ge(now_ms() - start, 290);
    redisFree(c);
}
END_TEST

/* --- time limits --- */

/* A silent server that is a cluster by its own words, or none. */
static struct fake_node *silent_node(bool is_cluster)
{
    struct fake_node *node = fake_node_start();
    if (!is_cluster)
        fake_node_slots(node, "-ERR This instance has cluster support disabled\r\n");
    fake_node_answer(node, "SET", "+OK\r\n");
    fake_node_on(node, "GET", (struct fake_rule){.action = FAKE_SILENCE});
    return node;
}

static void expect_timeout_after(redisContext *c, int ms, int64_t start)
{
    int64_t passed = now_ms() - start;
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "Resource temporarily unavailable");
    ck_assert_int_ge(passed, ms - 10);
    ck_assert_int_le(passed, ms + 1500);
}

START_TEST(test_redis_set_timeout_ends_a_wait)
{
    struct fake_node *node = silent_node(_i);
    redisContext *c = connect_port(fake_node_port(node));
    ck_assert_int_eq(redisSetTimeout(c, (struct timeval){.tv_usec = 400000}), REDIS_OK);
    int64_t start = now_ms();
    EXPECT(c, "OK", "SET quick v");
    start = now_ms();
    errno = 0;
    ck_assert_ptr_null(redisCommand(c, "GET slow"));
    ck_assert_int_eq(errno, EAGAIN);
    expect_timeout_after(c, 400, start);
    /* hiredis: a context that failed stays so. */
    ck_assert_ptr_null(redisCommand(c, "SET quick v"));
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_redis_set_timeout_ends_the_very_first_command)
{
    struct fake_node *node = silent_node(_i);
    redisContext *c = connect_port(fake_node_port(node));
    redisSetTimeout(c, (struct timeval){.tv_usec = 400000});
    int64_t start = now_ms();
    ck_assert_ptr_null(redisCommand(c, "GET slow"));
    expect_timeout_after(c, 400, start);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

static int threads_of_this_process(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    MUST(tasks);
    for (struct dirent *task; (task = readdir(tasks));)
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* Threads slow down the C library, and close some of the kernel's doors. */
START_TEST(test_a_process_whose_cluster_is_well_stays_of_one_thread)
{
    int before = threads_of_this_process();
    redisContext *c = connect_target(_i);
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET alone:%d v", i);
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "GET alone:%d", i);
    for (int i = 0; i < KEYS; i++) {
        redisReply *reply = NULL;
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        freeReplyObject(reply);
    }
    ck_assert_int_eq(threads_of_this_process(), before);
    redisFree(c);
}
END_TEST

START_TEST(test_redis_set_timeout_may_change_before_every_command)
{
    struct fake_node *node = silent_node(_i);
    redisContext *c = connect_port(fake_node_port(node));
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(redisSetTimeout(c, (struct timeval){.tv_sec = 1 + i % 2}), REDIS_OK);
        EXPECT(c, "OK", "SET key:%d v", i);
    }
    redisSetTimeout(c, (struct timeval){.tv_usec = 100000});
    int64_t start = now_ms();
    ck_assert_ptr_null(redisCommand(c, "GET slow"));
    expect_timeout_after(c, 100, start);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_a_time_limit_of_zero_is_none)
{
    redisContext *c = connect_target(_i);
    redisSetTimeout(c, (struct timeval){.tv_usec = 100000});
    redisSetTimeout(c, (struct timeval){0});
    EXPECT(c, "(nil)", "BLPOP blocking:nothing 0.5");
    redisFree(c);
}
END_TEST

START_TEST(test_a_time_limit_ends_a_blocking_command)
{
    redisContext *c = connect_target(_i);
    redisSetTimeout(c, (struct timeval){.tv_usec = 200000});
    int64_t start = now_ms();
    ck_assert_ptr_null(redisCommand(c, "BLPOP blocking:nothing 0"));
    expect_timeout_after(c, 200, start);
    redisFree(c);
}
END_TEST

START_TEST(test_a_late_reply_reaches_nobody)
{
    struct fake_node *node = silent_node(_i);
    fake_node_on(node, "INCR",
                 (struct fake_rule){.action = FAKE_RELEASE_LATER, .reply = ":77\r\n"});
    redisContext *c = connect_port(fake_node_port(node));
    redisSetTimeout(c, (struct timeval){.tv_usec = 100000});
    ck_assert_ptr_null(redisCommand(c, "INCR slow"));
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    fake_node_release(node);
    EXPECT(c, "OK", "SET quick v");
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_bad_time_limits_are_refused_as_by_hiredis)
{
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "SET bad:limit 1");
    struct timeval bad = {.tv_usec = -1};
    ck_assert_int_eq(redisSetTimeout(c, bad), REDIS_ERR);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "setsockopt(SO_RCVTIMEO): Numerical argument out of domain");
    redisFree(c);
}
END_TEST

/* --- reconnecting, keep-alive, giving the descriptor away --- */

START_TEST(test_reconnect_brings_a_failed_context_back)
{
    redisContext *c = connect_target(_i);
    redisSetTimeout(c, (struct timeval){.tv_usec = 100000});
    ck_assert_ptr_null(redisCommand(c, "BLPOP blocking:nothing 0"));
    ck_assert_int_ne(c->err, 0);
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    ck_assert_int_eq(c->err, 0);
    redisSetTimeout(c, (struct timeval){.tv_sec = 10});
    for (int i = 0; i < 100; i++)
        EXPECT(c, "OK", "SET again:%d v", i);
    redisFree(c);
}
END_TEST

START_TEST(test_reconnect_is_a_new_connection)
{
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "CLIENT SETNAME somebody");
    EXPECT(c, "somebody", "CLIENT GETNAME");
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(redisReconnect(c), REDIS_OK);
        EXPECT(c, "(nil)", "CLIENT GETNAME");
        EXPECT(c, "OK", "SET again:%d v", i);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_reconnect_drops_what_was_unread)
{
    redisContext *c = connect_target(_i);
    for (int i = 0; i < 100; i++)
        redisAppendCommand(c, "INCR dropped:%d", i);
    flush_output(c);
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    EXPECT(c, "OK", "SET after:reconnect 1");
    EXPECT(c, "1", "GET after:reconnect");
    redisFree(c);
}
END_TEST

START_TEST(test_a_killed_connection_is_an_error_on_a_plain_server)
{
    redisContext *c = connect_target(TARGET_PLAIN);
    EXPECT(c, "OK", "SET killed:key 1");
    free(target_look(TARGET_PLAIN, "", "CLIENT KILL TYPE normal SKIPME yes"));
    ck_assert_ptr_null(redisCommand(c, "GET killed:key"));
    ck_assert(c->err == REDIS_ERR_EOF || c->err == REDIS_ERR_IO);
    if (c->err == REDIS_ERR_EOF)
        ck_assert_str_eq(c->errstr, "Server closed the connection");
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    EXPECT(c, "1", "GET killed:key");
    redisFree(c);
}
END_TEST

/* Rule 5: an idle connection that breaks costs the program nothing. */
START_TEST(test_killed_idle_connections_go_unnoticed_on_a_cluster)
{
    struct cluster *cluster = target_cluster();
    redisContext *c = connect_target(TARGET_CLUSTER);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 30; i++)
            EXPECT(c, "OK", "SET killed:%d %d", i, round);
        for (int i = 0; i < cluster_masters(cluster); i++)
            free(cluster_command(cluster, i, "CLIENT KILL TYPE normal SKIPME yes"));
    }
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
}
END_TEST

START_TEST(test_keep_alive)
{
    int value = 0;
    socklen_t size = sizeof value;
    redisContext *c = connect_target(_i);
    ck_assert_int_eq(redisEnableKeepAlive(c), REDIS_OK);
    ck_assert_int_eq(getsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
    ck_assert_int_ne(value, 0);
    for (int i = 0; i < 30; i++)
        EXPECT(c, "OK", "SET alive:%d v", i);
    redisFree(c);
}
END_TEST

START_TEST(test_free_keep_fd_leaves_a_usable_socket)
{
    char pong[16] = "";
    redisContext *c = connect_target(_i);
    EXPECT(c, "OK", "SET kept:key v");
    int fd = redisFreeKeepFd(c);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD), -1);
    ck_assert_int_eq(write(fd, "PING\r\n", 6), 6);
    ck_assert_int_eq(read(fd, pong, sizeof pong), 7);
    ck_assert_str_eq(pong, "+PONG\r\n");
    ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(test_free_closes_every_descriptor)
{
    int lowest = dup(0);
    close(lowest);
    for (int round = 0; round < 50; round++) {
        redisContext *c = connect_target(_i);
        for (int i = 0; i < 10; i++)
            EXPECT(c, "OK", "SET closed:%d v", i);
        redisFree(c);
    }
    int open = 0;
    for (int fd = 3; fd < 4096; fd++)
        open += fcntl(fd, F_GETFD) != -1;
    /* The keeper of a cluster may hold a few of its own; 50 rounds must not add up. */
    ck_assert_int_lt(open, 40);
}
END_TEST

/* --- reader functions of the program's own --- */

struct own_object {
    int type;
    char *text;
    size_t elements;
    long long number;
};

static int own_alive; /* objects made and not yet freed */

static void *own_create(const redisReadTask *task, const char *text, size_t length)
{
    struct own_object *object = calloc(1, sizeof *object);
    MUST(object);
    object->type = task->type;
    object->text = text ? strndup(text, length) : NULL;
    own_alive++;
    return object;
}

static void *own_string(const redisReadTask *task, char *text, size_t length)
{
    return own_create(task, text, length);
}

#if HIREDIS_MAJOR > 0
static void *own_array(const redisReadTask *task, size_t elements)
#else
static void *own_array(const redisReadTask *task, int elements)
#endif
{
    struct own_object *object = own_create(task, NULL, 0);
    object->elements = (size_t)elements;
    return object;
}

static void *own_integer(const redisReadTask *task, long long number)
{
    struct own_object *object = own_create(task, NULL, 0);
    object->number = number;
    return object;
}

static void *own_nil(const redisReadTask *task)
{
    return own_create(task, NULL, 0);
}

static void own_free(void *object)
{
    free(((struct own_object *)object)->text);
    free(object);
    own_alive--;
}

START_TEST(test_reader_functions_of_the_program)
{
    redisReplyObjectFunctions functions = {.createString = own_string,
                                           .createArray = own_array,
                                           .createInteger = own_integer,
                                           .createNil = own_nil,
                                           .freeObject = own_free};
    redisContext *c = connect_target(_i);
    c->reader->fn = &functions;
    for (int i = 0; i < 100; i++) {
        struct own_object *object = redisCommand(c, "SET own-reader:%d %d", i, i);
        ck_assert_int_eq(object->type, REDIS_REPLY_STATUS);
        ck_assert_str_eq(object->text, "OK");
        own_free(object);
        object = redisCommand(c, "INCR own-reader:%d", i);
        ck_assert_int_eq(object->type, REDIS_REPLY_INTEGER);
        ck_assert_int_eq((int)object->number, i + 1);
        own_free(object);
        object = redisCommand(c, "GET own-reader:none-%d", i);
        ck_assert_ptr_null(object->text);
        own_free(object);
    }
    ck_assert_int_eq(own_alive, 0);
    redisFree(c);
}
END_TEST

START_TEST(test_a_reader_without_a_connection_is_a_pure_parser)
{
    static const char text[] = "*2\r\n$3\r\nabc\r\n:7\r\n";
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    for (size_t i = 0; text[i]; i++) {
        ck_assert_ptr_null(reply);
        ck_assert_int_eq(redisReaderFeed(reader, text + i, 1), REDIS_OK);
        ck_assert_int_eq(redisReaderGetReply(reader, &reply), REDIS_OK);
    }
    EXPECT_REPLY(reply, "abc\n7");
    freeReplyObject(reply);
    redisReaderFree(reader);
}
END_TEST

static void add_commands(Suite *suite)
{
    TCase *tc = suite_case(suite, "commands", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_every_kind_of_reply, 0, target_count());
    tcase_add_loop_test(tc, test_nested_arrays, 0, target_count());
    tcase_add_loop_test(tc, test_arguments_hold_any_byte, 0, target_count());
    tcase_add_loop_test(tc, test_keys_of_every_shard, 0, target_count());
    tcase_add_loop_test(tc, test_each_key_is_on_its_own_node, 0, target_count());
    tcase_add_loop_test(tc, test_first_command_of_each_way_of_sending, 0, target_count());
    tcase_add_loop_test(tc, test_broken_resp_gets_an_error, 0, target_count());
    tcase_add_loop_test(tc, test_a_blocking_command_holds_back_what_follows, 0, target_count());
    tcase_add_loop_test(tc, test_a_blocking_command_gives_up_when_the_server_does, 0,
                        target_count());
}

static void add_pipelines(Suite *suite)
{
    TCase *tc = suite_case(suite, "pipelines", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_pipeline_of_thousands, 0, target_count());
    tcase_add_loop_test(tc, test_pipeline_keeps_order_over_shards, 0, target_count());
    tcase_add_loop_test(tc, test_a_pipeline_reads_its_own_writes, 0, target_count());
    tcase_add_loop_test(tc, test_an_error_in_a_pipeline_stays_in_its_place, 0, target_count());
    tcase_add_loop_test(tc, test_the_replies_of_a_small_pipeline_come_together, 0, target_count());
    tcase_add_loop_test(tc, test_pipeline_larger_than_every_buffer, 0, target_count());
    tcase_add_loop_test(tc, test_one_value_of_64_megabytes, 0, target_count());
    tcase_add_loop_test(tc, test_array_of_100000_elements, 0, target_count());
    tcase_add_loop_test(tc, test_what_was_flushed_is_executed_though_nobody_reads, 0,
                        target_count());
    tcase_add_loop_test(tc, test_free_with_replies_unread, 0, target_count());
}

static void add_limits(Suite *suite)
{
    TCase *tc = suite_case(suite, "limits", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_redis_set_timeout_ends_a_wait, 0, 2);
    tcase_add_loop_test(tc, test_redis_set_timeout_ends_the_very_first_command, 0, 2);
    tcase_add_loop_test(tc, test_a_process_whose_cluster_is_well_stays_of_one_thread, 0,
                        target_count());
    tcase_add_loop_test(tc, test_redis_set_timeout_may_change_before_every_command, 0, 2);
    tcase_add_loop_test(tc, test_a_late_reply_reaches_nobody, 0, 2);
    tcase_add_loop_test(tc, test_a_time_limit_of_zero_is_none, 0, target_count());
    tcase_add_loop_test(tc, test_a_time_limit_ends_a_blocking_command, 0, target_count());
    tcase_add_loop_test(tc, test_bad_time_limits_are_refused_as_by_hiredis, 0, target_count());
}

static void add_contexts(Suite *suite)
{
    TCase *tc = suite_case(suite, "contexts", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_reconnect_brings_a_failed_context_back, 0, target_count());
    tcase_add_loop_test(tc, test_reconnect_is_a_new_connection, 0, target_count());
    tcase_add_loop_test(tc, test_reconnect_drops_what_was_unread, 0, target_count());
    tcase_add_test(tc, test_a_killed_connection_is_an_error_on_a_plain_server);
    if (target_count() > TARGET_CLUSTER)
        tcase_add_test(tc, test_killed_idle_connections_go_unnoticed_on_a_cluster);
    tcase_add_loop_test(tc, test_keep_alive, 0, target_count());
    tcase_add_loop_test(tc, test_free_keep_fd_leaves_a_usable_socket, 0, target_count());
    tcase_add_loop_test(tc, test_free_closes_every_descriptor, 0, target_count());
    tcase_add_loop_test(tc, test_reader_functions_of_the_program, 0, target_count());
    tcase_add_test(tc, test_a_reader_without_a_connection_is_a_pure_parser);
}

int main(void)
{
    Suite *suite = suite_create("sync");
    add_commands(suite);
    add_pipelines(suite);
    add_limits(suite);
    add_contexts(suite);
    return suite_run(suite);
}
