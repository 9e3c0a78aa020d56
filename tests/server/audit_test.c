/* The audit: nothing changes for the program, and what it found is what a cluster says. The servers
 * are asked: each case runs under the audit on the plain server, and by the library on the cluster.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/folder.h"
#include "../support/loop.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { LINES = 10, TEXT = 65536 };

static struct folder *folder;
static struct server *with_socket;

static void setup(void)
{
    target_setup();
    folder = folder_create();
    with_socket = server_start(&(struct server_options){.has_unix_socket = true});
}

static void teardown(void)
{
    server_stop(with_socket);
    folder_remove(folder);
    target_teardown();
}

/* --- files --- */

/* A new one each time; of this thread, until the next call. */
static const char *new_path(const char *name)
{
    static char path[4096];
    static int number;

    snprintf(path, sizeof path, "%s/%d-%d-%s", folder_path(folder), (int)getpid(), number++, name);
    return path;
}

/* Of this thread, until the next call; empty when there is none. */
static const char *text_of(const char *path)
{
    static char text[TEXT];
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;

    if (file)
        fclose(file);
    text[length] = '\0';
    return text;
}

static const char *lines_of(const char *audit)
{
    char path[4400];

    snprintf(path, sizeof path, "%s.jsonl", audit);
    return text_of(path);
}

static bool says(const char *audit, const char *command, const char *finding, int count)
{
    char line[256];

    snprintf(line, sizeof line, "{\"command\":\"%s\",\"finding\":\"%s\",\"count\":%d,", command,
             finding, count);
    return strstr(lines_of(audit), line) != NULL;
}

/* This process is audited from here on; it must not have connected yet. */
static void audit_to(const char *path)
{
    setenv("REDISROUTE_AUDIT", path, 1);
}

/* --- the same commands in processes of their own --- */

enum mode { MODE_HIREDIS, MODE_AUDIT, MODE_ROUTED };

struct replies {
    char *of[LINES];
};

static void say_all(int port, const char *const *lines, FILE *to)
{
    redisContext *c = connect_port(port);

    for (int i = 0; i < LINES && lines[i]; i++) {
        redisReply *reply = redisCommand(c, lines[i]);
        char *text;

        MUST(reply);
        text = reply_text(reply);
        fwrite(text, 1, strlen(text) + 1, to);
        free(text);
        freeReplyObject(reply);
    }
    fclose(to);
    redisFree(c);
}

static struct replies replies_to(enum mode mode, int port, const char *const *lines,
                                 const char *audit)
{
    char path[4096], *text = NULL;
    struct replies replies = {{NULL}};
    size_t size = 0;
    int status, n = 0;
    FILE *file;
    pid_t child;

    snprintf(path, sizeof path, "%s", new_path("replies"));
    child = fork();
    MUST(child >= 0);
    if (child == 0) {
        if (mode == MODE_AUDIT)
            audit_to(audit);
        if (mode == MODE_HIREDIS)
            setenv("REDISROUTE_OFF", "1", 1);
        say_all(port, lines, fopen(path, "w"));
        exit(0);
    }
    MUST(waitpid(child, &status, 0) == child);
    ck_assert_msg(status == 0, "%s …", lines[0]);
    file = fopen(path, "r");
    MUST(file);
    while (n < LINES && getdelim(&text, &size, '\0', file) > 0)
        replies.of[n++] = strdup(text);
    free(text);
    fclose(file);
    return replies;
}

static void forget(struct replies *replies)
{
    for (int i = 0; i < LINES; i++)
        free(replies->of[i]);
}

static bool is_error(const char *reply)
{
    return reply && reply[0] == '-';
}

/* --- what a cluster says --- */

/* `finding` is that of the last command. Keys: a and b are with different masters. */
struct sequence {
    const char *finding;
    const char *lines[LINES];
};

static const struct sequence sequences[] = {
    {"works", {"SET a 1"}},
    {"works", {"SET a 1", "GET a"}},
    {"works", {"GET"}},
    {"unknown", {"NOSUCHCOMMAND"}},
    {"unknown", {"CONFIG NOSUCH"}},
    {"works", {"LPUSH a x", "INCR a"}},
    {"split", {"MSET a 1 b 2"}},
    {"split", {"MGET a b"}},
    {"works", {"MSET a 1 b"}},
    {"split", {"DEL a b"}},
    {"works", {"MSET {t}a 1 {t}b 2"}},
    {"crossslot", {"MSETNX a 1 b 2"}},
    {"crossslot", {"SET a 1", "RENAME a b"}},
    {"works", {"SET {t}a 1", "RENAME {t}a {t}b"}},
    {"crossslot", {"SINTER a b"}},
    {"crossslot", {"SUNIONSTORE a b c"}},
    {"crossslot", {"ZUNIONSTORE out 2 a b"}},
    {"crossslot", {"ZADD a 1 x", "ZRANGESTORE b a 0 -1"}},
    {"crossslot", {"BITOP AND a b c"}},
    {"crossslot", {"PFCOUNT a b"}},
    {"crossslot", {"LMOVE a b LEFT RIGHT"}},
    {"crossslot", {"BLPOP a b 0.01"}},
    {"works", {"BLPOP {t}a {t}b 0.01"}},
    {"crossslot", {"XREAD STREAMS a b 0 0"}},
    {"crossslot", {"GEOADD a 1 1 x", "GEOSEARCHSTORE b a FROMMEMBER x BYRADIUS 1 km"}},
    {"crossslot", {"RPUSH a 1", "SORT a STORE b"}},
    {"refused", {"RPUSH a 1", "SORT a BY w_*"}},
    {"refused", {"RPUSH a 1", "SORT a GET w_*"}},
    {"works", {"RPUSH a 1", "SORT a BY nosort DESC"}},
    {"crossslot", {"COPY a b"}},
    {"works", {"SET {t}a 1", "COPY {t}a {t}b"}},
    {"works", {"SET {t}a 1", "COPY {t}a {t}b DB 0"}},
    {"database", {"SET {t}a 1", "COPY {t}a {t}b DB 1"}},
    {"database", {"SET a 1", "MOVE a 1"}},
    {"database", {"SWAPDB 0 1"}},
    {"database", {"SELECT 1"}},
    {"works", {"SELECT 0"}},
    {"works", {"SELECT x"}},
    {"database", {"SELECT 1", "SET a 1"}},
    {"works", {"EVAL return(1) 0"}},
    {"works", {"EVAL return(redis.call('get',KEYS[1])) 1 a"}},
    {"crossslot", {"EVAL return(1) 2 a b"}},
    {"script-keys", {"EVAL return(redis.call('get','b')) 1 a"}},
    {"script-keys", {"EVAL return(redis.call('get',ARGV[1])) 1 a b"}},
    {"fan-out", {"SCRIPT LOAD return(1)"}},
    {"works", {"SCRIPT LOAD return(1)", "EVALSHA 930269f31393d0be681588b6ab08dccee7d6bb67 0"}},
    {"works", {"MULTI", "SET a 1", "INCR a", "EXEC"}},
    {"transaction", {"MULTI", "SET a 1", "SET b 1", "EXEC"}},
    {"transaction", {"MULTI", "MSET a 1 b 2", "EXEC"}},
    {"works", {"MULTI", "SET a 1", "SET b 1", "DISCARD"}},
    {"transaction", {"WATCH a", "MULTI", "SET b 1", "EXEC"}},
    {"transaction", {"WATCH a b"}},
    {"transaction", {"WATCH a", "WATCH b"}},
    {"works", {"WATCH a", "UNWATCH", "WATCH b"}},
    {"works", {"WATCH a", "MULTI", "EXEC", "WATCH b"}},
    {"refused", {"MULTI", "DBSIZE", "EXEC"}},
    {"works", {"MULTI", "WATCH a"}},
    {"works", {"EXEC"}},
    {"refused", {"REPLICAOF NO ONE"}},
    {"refused", {"CLUSTER FORGET x", "CLUSTER RESET"}},
    {"fan-out", {"DBSIZE"}},
    {"fan-out", {"KEYS *"}},
    {"fan-out", {"FLUSHALL"}},
    {"fan-out", {"CONFIG RESETSTAT"}},
    {"one-node", {"CONFIG GET maxmemory"}},
    {"works", {"PUBLISH news x"}},
    {"works", {"SPUBLISH news x"}},
    {"messages", {"SUBSCRIBE news"}},
    {"crossslot", {"SSUBSCRIBE a b"}},
    {"works", {"CLIENT SETNAME me"}},
};

static bool finds_failure(const char *lines)
{
    static const char *const failures[] = {"script-keys", "database", "crossslot", "transaction",
                                           "refused"};
    char text[64];

    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        snprintf(text, sizeof text, "\"finding\":\"%s\"", failures[i]);
        if (strstr(lines, text))
            return true;
    }
    return false;
}

static const char *last_line(const struct sequence *s)
{
    int last = 0;

    while (last + 1 < LINES && s->lines[last + 1])
        last++;
    return s->lines[last];
}

/* "CONFIG GET x" finds the shape CONFIG GET, or CONFIG where the table has no such subcommand. */
static bool found_for_last(const struct sequence *s, const char *lines)
{
    char line[256], name[64];
    size_t words[2];

    words[0] = strcspn(last_line(s), " ");
    words[1] = words[0];
    if (last_line(s)[words[0]] == ' ')
        words[1] += 1 + strcspn(last_line(s) + words[0] + 1, " ");
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%.*s", (int)words[i], last_line(s));
        snprintf(line, sizeof line, "{\"command\":\"%s\",\"finding\":\"%s\",", name, s->finding);
        if (strstr(lines, line))
            return true;
    }
    return false;
}

START_TEST(test_a_cluster_says_what_was_found)
{
    const struct sequence *s = &sequences[_i];
    bool fails = false;
    char audit[4096];
    struct replies plain, routed;

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    target_flush(TARGET_PLAIN);
    target_flush(TARGET_CLUSTER);
    plain = replies_to(MODE_AUDIT, target_port(TARGET_PLAIN), s->lines, audit);
    routed = replies_to(MODE_ROUTED, target_port(TARGET_CLUSTER), s->lines, NULL);
    for (int i = 0; i < LINES && s->lines[i]; i++)
        fails = fails || (is_error(routed.of[i]) && !is_error(plain.of[i]));
    ck_assert_msg(finds_failure(lines_of(audit)) ==
                      (fails || strstr(s->finding, "refused") != NULL),
                  "%s: %s on the cluster, found:\n%s", last_line(s), fails ? "fails" : "works",
                  lines_of(audit));
    ck_assert_msg(found_for_last(s, lines_of(audit)), "%s: not %s but\n%s", last_line(s),
                  s->finding, lines_of(audit));
    forget(&plain);
    forget(&routed);
}
END_TEST

/* --- nothing changes --- */

START_TEST(test_replies_are_those_without_it)
{
    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++) {
        struct replies with, without;
        char audit[4096];

        snprintf(audit, sizeof audit, "%s", new_path("audit"));
        target_flush(TARGET_PLAIN);
        without = replies_to(MODE_HIREDIS, target_port(TARGET_PLAIN), sequences[i].lines, NULL);
        target_flush(TARGET_PLAIN);
        with = replies_to(MODE_AUDIT, target_port(TARGET_PLAIN), sequences[i].lines, audit);
        for (int at = 0; at < LINES && sequences[i].lines[at]; at++)
            ck_assert_str_eq(with.of[at], without.of[at]);
        forget(&with);
        forget(&without);
    }
}
END_TEST

START_TEST(test_nothing_is_routed)
{
    char audit[4096], key[32];
    redisContext *c;
    int moved = 0;

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    setenv("REDISROUTE_MIRROR", "127.0.0.1:1", 1);
    c = connect_target(TARGET_CLUSTER);
    for (int i = 0; i < 30; i++) {
        redisReply *reply;

        snprintf(key, sizeof key, "key:%d", i);
        reply = redisCommand(c, "SET %s v", key);
        moved += reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "MOVED", 5);
        freeReplyObject(reply);
    }
    ck_assert_int_gt(moved, 0);
    ck_assert_int_lt(moved, 30);
    UNTIL(says(audit, "SET", "works", 30));
    redisFree(c);
}
END_TEST

/* A configuration that leads elsewhere, and would say a password, has no say. */
START_TEST(test_what_is_configured_does_not_apply)
{
    static const char ping[] = "PING\r\n";
    char audit[4096], config[4096], heard[16] = "";
    redisRouteSession *session;
    redisContext *c;
    FILE *file;

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    snprintf(config, sizeof config, "%s", new_path("config"));
    file = fopen(config, "w");
    MUST(file);
    fprintf(file,
            "password: wrong\n"
            "tls: true\n"
            "listeners:\n- address: 127.0.0.1:%d\n  redis_proxy:\n    settings: {op_timeout: 1s}\n"
            "    prefix_routes: {catch_all_route: {cluster: gone}}\n"
            "clusters:\n- name: gone\n  endpoints: [127.0.0.1:1]\n",
            target_port(TARGET_PLAIN));
    fclose(file);
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    setenv("REDISROUTE_CONFIG", config, 1);
    ck_assert_int_eq(redisRouteCheckConfig(config, NULL, 0), 0);
    c = connect_target(TARGET_PLAIN);
    EXPECT(c, "PONG", "PING");
    session = redisRouteOpen("127.0.0.1", target_port(TARGET_PLAIN), NULL);
    MUST(session);
    ck_assert_int_eq(redisRouteWrite(session, ping, sizeof ping - 1), 0);
    for (size_t there = 0; there < 7;) {
        ssize_t n = redisRouteReadWait(session, heard + there, 7 - there, 10000);

        ck_assert_msg(n > 0, "%s", redisRouteErrorText(session));
        there += (size_t)n;
    }
    ck_assert_str_eq(heard, "+PONG\r\n");
    UNTIL(says(audit, "PING", "works", 2));
    redisRouteClose(session);
    redisFree(c);
}
END_TEST

/* The descriptor is the socket to the server; policies and reconnects are taken. */
START_TEST(test_the_descriptor_stays_what_it_is)
{
    char audit[4096];
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    redisContext *c;

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    c = connect_target(TARGET_PLAIN);
    EXPECT(c, "PONG", "PING");
    ck_assert_int_eq(getpeername(c->fd, (struct sockaddr *)&peer, &length), 0);
    ck_assert_int_eq(ntohs(peer.sin_port), target_port(TARGET_PLAIN));
    ck_assert_int_eq(redisRouteSetReadPolicy(c, REDISROUTE_READ_REPLICA), REDIS_OK);
    ck_assert_int_eq(redisSetTimeout(c, (struct timeval){.tv_usec = 50000}), REDIS_OK);
    ck_assert_ptr_null(redisCommand(c, "BLPOP nothing 0"));
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    EXPECT(c, "PONG", "PING");
    UNTIL(says(audit, "PING", "works", 2) && says(audit, "BLPOP", "works", 1));
    ck_assert_ptr_nonnull(strstr(text_of(audit), "redisroute audit: 3 commands of 2 shapes"));
    redisFree(c);
}
END_TEST

/* --- every way to a server --- */

START_TEST(test_pipelines)
{
    enum { COUNT = 20000 };
    char audit[4096], *value = calloc(1, 2001);
    redisContext *c;

    memset(value, 'v', 2000);
    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    c = connect_target(TARGET_PLAIN);
    for (int i = 0; i < COUNT; i++) {
        if (i % 1000 == 999) {
            redisAppendCommand(c, "SET key:%d %s", i, value);
            for (int j = 0; j < 1000; j++)
                EXPECT_NEXT(c, "OK");
        } else {
            redisAppendCommand(c, "SET key:%d %s", i, value);
        }
    }
    UNTIL(says(audit, "SET", "works", COUNT));
    ck_assert_ptr_null(strstr(text_of(audit), "vvv"));
    redisFree(c);
    free(value);
}
END_TEST

START_TEST(test_asynchronous)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    char audit[4096];

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    async_open(&client, loop, target_port(TARGET_PLAIN));
    for (int i = 0; i < 500; i++)
        async_expect(&client, "OK", "SET async:%d v", i);
    async_finish(&client);
    UNTIL(says(audit, "SET", "works", 500));
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

START_TEST(test_byte_session)
{
    static const char command[] = "*3\r\n$6\r\nRENAME\r\n$1\r\na\r\n$1\r\nb\r\n";
    static const char expected[] = "+OK\r\n-ERR no such key\r\n";
    char audit[4096], heard[64] = "";
    size_t there = 0;
    redisRouteSession *session;

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    session = redisRouteOpen("127.0.0.1", target_port(TARGET_PLAIN), NULL);
    MUST(session);
    ck_assert_int_eq(redisRouteWrite(session, "FLUSHALL\r\n", 10), 0);
    for (size_t i = 0; i < sizeof command - 1; i++)
        ck_assert_int_eq(redisRouteWrite(session, command + i, 1), 0);
    while (there < strlen(expected)) {
        ssize_t n = redisRouteReadWait(session, heard + there, sizeof heard - 1 - there, 10000);

        ck_assert_int_gt(n, 0);
        there += (size_t)n;
    }
    ck_assert_str_eq(heard, expected);
    UNTIL(says(audit, "RENAME", "crossslot", 1));
    ck_assert_ptr_nonnull(strstr(lines_of(audit), "\"details\":[\"a\",\"b\"]"));
    redisRouteClose(session);
}
END_TEST

START_TEST(test_unix_socket)
{
    char audit[4096];
    redisContext *c;

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    c = redisConnectUnix(server_unix_path(with_socket));
    MUST(c && !c->err);
    EXPECT(c, "PONG", "PING");
    UNTIL(says(audit, "PING", "works", 1));
    c = redisConnectFd(redisFreeKeepFd(c));
    EXPECT(c, "PONG", "PING");
    UNTIL(says(audit, "PING", "works", 2));
    redisFree(c);
}
END_TEST

/* --- the files --- */

/* Eight processes at a time, each with a child that goes on with the parent's connection. */
static void add_from_a_process(const char *audit, int port)
{
    redisContext *c;
    pid_t child;
    int status;

    audit_to(audit);
    c = connect_port(port);
    for (int i = 0; i < 25; i++)
        EXPECT(c, "OK", "SET many:%d v", i);
    child = fork();
    MUST(child >= 0);
    if (child > 0)
        MUST(waitpid(child, &status, 0) == child && status == 0);
    EXPECT(c, "PONG", "PING");
    redisFree(c);
    exit(0);
}

START_TEST(test_processes_add_to_one_file)
{
    enum { PROCESSES = 8 };
    char audit[4096];
    pid_t children[PROCESSES];

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        MUST(children[i] >= 0);
        if (children[i] == 0)
            add_from_a_process(audit, target_port(TARGET_PLAIN));
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;

        MUST(waitpid(children[i], &status, 0) == children[i] && status == 0);
    }
    ck_assert_msg(says(audit, "SET", "works", 25 * PROCESSES), "%s", lines_of(audit));
    ck_assert_msg(says(audit, "PING", "works", 2 * PROCESSES), "%s", lines_of(audit));
}
END_TEST

/* No handler runs: what was written last is there. A child that does nothing writes nothing. */
START_TEST(test_a_process_that_is_killed)
{
    char pattern[4200], audit[4300];
    pid_t child;
    int status;

    snprintf(pattern, sizeof pattern, "%s.%%p", new_path("audit"));
    child = fork();
    MUST(child >= 0);
    if (child == 0) {
        redisContext *c;

        audit_to(pattern);
        c = connect_target(TARGET_PLAIN);
        EXPECT(c, "OK", "SET a v");
        child = fork();
        MUST(child >= 0);
        if (child == 0) {
            redisFree(c);
            exit(0);
        }
        MUST(waitpid(child, &status, 0) == child && status == 0);
        snprintf(audit, sizeof audit, "%.*s%d", (int)strlen(pattern) - 2, pattern, (int)child);
        MUST(access(audit, F_OK) == -1);
        for (;;)
            pause();
    }
    snprintf(audit, sizeof audit, "%.*s%d", (int)strlen(pattern) - 2, pattern, (int)child);
    UNTIL(says(audit, "SET", "works", 1));
    kill(child, SIGKILL);
    MUST(waitpid(child, &status, 0) == child);
    ck_assert(says(audit, "SET", "works", 1));
}
END_TEST

START_TEST(test_what_cannot_be_written)
{
    char log[4096], audit[4096], lines[4200];
    struct stat before, after;
    FILE *file;
    redisContext *c;

    snprintf(log, sizeof log, "%s", new_path("log"));
    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    snprintf(lines, sizeof lines, "%s.jsonl", audit);
    file = fopen(lines, "w");
    MUST(file && fputs("somebody else's\n", file) >= 0 && fclose(file) == 0);
    MUST(stat(lines, &before) == 0);
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    snprintf(lines, sizeof lines, "warning:%s", log);
    setenv("REDISROUTE_LOG", lines, 1);
    snprintf(lines, sizeof lines, "%s.jsonl", audit);
    c = connect_target(TARGET_PLAIN);
    EXPECT(c, "OK", "SET a v");
    UNTIL(strstr(text_of(log), "the audit cannot be written to"));
    ck_assert_ptr_nonnull(strstr(text_of(log), "is no audit, and is left alone"));
    MUST(stat(lines, &after) == 0);
    ck_assert(before.st_ino == after.st_ino && before.st_size == after.st_size);
    ck_assert_int_eq(access(audit, F_OK), -1);
    /* Nothing was lost. */
    MUST(unlink(lines) == 0);
    UNTIL(says(audit, "SET", "works", 1));
    redisFree(c);
}
END_TEST

START_TEST(test_off_is_off)
{
    char audit[4096];
    redisContext *c;

    snprintf(audit, sizeof audit, "%s", new_path("audit"));
    audit_to(audit);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    setenv("REDISROUTE_OFF", "1", 1);
    c = connect_target(TARGET_PLAIN);
    EXPECT(c, "OK", "SET a v");
    pause_ms(300);
    ck_assert_int_eq(access(audit, F_OK), -1);
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit");
    TCase *tc = suite_case(suite, "audit", setup, teardown);

    if (target_count() > TARGET_CLUSTER) {
        tcase_add_loop_test(tc, test_a_cluster_says_what_was_found, 0,
                            (int)(sizeof sequences / sizeof sequences[0]));
        tcase_add_test(tc, test_replies_are_those_without_it);
        tcase_add_test(tc, test_nothing_is_routed);
    }
    tcase_add_test(tc, test_what_is_configured_does_not_apply);
    tcase_add_test(tc, test_the_descriptor_stays_what_it_is);
    tcase_add_test(tc, test_pipelines);
    tcase_add_loop_test(tc, test_asynchronous, 0, LOOP_KINDS);
    tcase_add_test(tc, test_byte_session);
    tcase_add_test(tc, test_unix_socket);
    tcase_add_test(tc, test_processes_add_to_one_file);
    tcase_add_test(tc, test_a_process_that_is_killed);
    tcase_add_test(tc, test_what_cannot_be_written);
    tcase_add_test(tc, test_off_is_off);
    return suite_run(suite);
}
