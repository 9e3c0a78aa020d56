/* Servers that want a password which the program does not know: the configuration does. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/config_file.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

enum { MASTERS = 2, NODES = 2 * MASTERS, PORT = 6379 };

static const char listener[] = "127.0.0.9", first[] = "first-secret", second[] = "second-secret";
static const char wrong_pass[] = "-WRONGPASS invalid username-password pair or user is disabled.";

static struct cluster *cluster;
static struct server *plain, *open_server;
static char *keys[MASTERS];

static void on_all(const char *command)
{
    for (int i = 0; i < NODES; i++)
        free(cluster_command(cluster, i, command));
    free(server_command(plain, command));
}

static bool is_named(int by, int node)
{
    char *text = cluster_command(cluster, by, "CLUSTER SLOTS"), port[16];
    bool named;

    snprintf(port, sizeof port, "%d", cluster_port(cluster, node));
    named = strstr(text, port) != NULL;
    free(text);
    return named;
}

static void setup(void)
{
    cluster = cluster_start(&(struct cluster_options){.masters = MASTERS,
                                                      .replicas = 1,
                                                      .requirepass = first,
                                                      .extra = "repl-diskless-sync-delay 0\n"});
    plain = server_start(&(struct server_options){.requirepass = first});
    open_server = server_start(&(struct server_options){0});
    on_all("ACL SETUSER app on >app-secret ~* &* +@all");
    for (int i = 0; i < MASTERS; i++)
        keys[i] = cluster_key_for(cluster, i, 0);
    for (int by = 0; by < NODES; by++)
        for (int node = 0; node < NODES; node++)
            UNTIL(is_named(by, node));
}

static void teardown(void)
{
    for (int i = 0; i < MASTERS; i++)
        free(keys[i]);
    server_stop(open_server);
    server_stop(plain);
    cluster_stop(cluster);
}

enum { CLUSTER, PLAIN, KINDS };

static int port_of(int kind)
{
    return kind == CLUSTER ? cluster_port(cluster, 0) : server_port(plain);
}

static char *who(redisContext *c)
{
    redisReply *reply = redisCommand(c, "ACL WHOAMI");
    char *text = reply_text(reply);

    freeReplyObject(reply);
    return text;
}

static void expect_user(redisContext *c, const char *name)
{
    char *user = who(c);

    ck_assert_str_eq(user, name);
    free(user);
}

static void use_both_shards(redisContext *c)
{
    for (int i = 0; i < MASTERS; i++) {
        EXPECT(c, "OK", "SET %s %d", keys[i], i);
        EXPECT(c, i ? "1" : "0", "GET %s", keys[i]);
    }
}

static redisContext *dial(const char *host, int port)
{
    redisContext *c = redisConnect(host, port);

    ck_assert_ptr_nonnull(c);
    ck_assert_msg(c->err == 0, "%s", c->errstr);
    return c;
}

/* One listener to the cluster, or to the plain server; `login` is more of the cluster's fields. */
static void listen_at(int kind, const char *login, const char *settings)
{
    config_write("clusters:\n- name: main\n  endpoints: [127.0.0.1:%d]\n%s"
                 "listeners:\n- address: %s:%d\n  redis_proxy:\n"
                 "    settings: {op_timeout: 30s%s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main}}\n",
                 port_of(kind), login, listener, PORT, settings);
}

/* --- by the environment --- */

START_TEST(test_the_environment_logs_in)
{
    setenv("REDISROUTE_PASSWORD", first, 1);
    for (int i = 0; i < 3; i++) { /* the first asks what the server is, the next know it */
        redisContext *c = connect_port(port_of(_i));
        use_both_shards(c);
        EXPECT(c, "PONG", "PING");
        expect_user(c, "default");
        redisFree(c);
    }
}
END_TEST

START_TEST(test_a_user_by_the_environment)
{
    setenv("REDISROUTE_USERNAME", "app", 1);
    setenv("REDISROUTE_PASSWORD", "app-secret", 1);
    redisContext *c = connect_port(port_of(_i));
    expect_user(c, "app");
    use_both_shards(c);
    redisFree(c);
}
END_TEST

START_TEST(test_asynchronously)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(0);

    setenv("REDISROUTE_PASSWORD", first, 1);
    async_open(&client, loop, port_of(_i));
    for (int i = 0; i < MASTERS; i++) {
        async_expect(&client, "OK", "SET %s v", keys[i]);
        async_expect(&client, "v", "GET %s", keys[i]);
    }
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

START_TEST(test_nonblocking)
{
    setenv("REDISROUTE_PASSWORD", first, 1);
    redisContext *c = redisConnectNonBlock("127.0.0.1", port_of(_i));
    redisReply *reply = NULL;
    int done = 0;
    ck_assert(c && !c->err);
    redisAppendCommand(c, "SET %s v", keys[1]);
    UNTIL(redisBufferWrite(c, &done) != REDIS_OK || done);
    UNTIL(redisBufferRead(c) != REDIS_OK ||
          redisGetReplyFromReader(c, (void **)&reply) != REDIS_OK || reply);
    ck_assert_msg(c->err == 0, "%s", c->errstr);
    EXPECT_REPLY(reply, "OK");
    freeReplyObject(reply);
    redisFree(c);
}
END_TEST

/* A closing context: what was accepted is sent, though the login is not answered yet. */
START_TEST(test_what_is_written_before_the_login_is_answered_is_sent)
{
    setenv("REDISROUTE_PASSWORD", first, 1);
    redisContext *c = connect_port(port_of(_i));
    int done = 0;
    redisAppendCommand(c, "SET %s written", keys[0]);
    while (!done)
        ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
    redisFree(c);
    c = connect_port(port_of(_i));
    EXPECT(c, "written", "GET %s", keys[0]);
    redisFree(c);
}
END_TEST

START_TEST(test_a_server_without_a_password_is_used_all_the_same)
{
    config_begin();
    config_write("password: %s\n", first);
    redisContext *c = connect_port(server_port(open_server));
    EXPECT(c, "OK", "SET k v");
    EXPECT(c, "v", "GET k");
    ck_assert(config_log_says("has no password, and was told one"));
    redisFree(c);
    config_end();
}
END_TEST

/* --- a wrong one --- */

START_TEST(test_a_wrong_password)
{
    setenv("REDISROUTE_PASSWORD", "never-said", 1);
    redisContext *c = connect_port(port_of(_i));
    long before = server_info(_i == CLUSTER ? cluster_server(cluster, 0) : plain,
                              "total_connections_received");
    int64_t begin = now_ms();
    for (int i = 0; i < 100; i++)
        redisAppendCommand(c, "SET %s %d", keys[i % MASTERS], i);
    for (int i = 0; i < 100; i++)
        EXPECT_NEXT(c, wrong_pass);
    for (int i = 0; i < 100; i++)
        EXPECT(c, wrong_pass, "GET %s", keys[i % MASTERS]);
    /* No hang, and no storm. */
    ck_assert_int_lt(now_ms() - begin, 10000);
    ck_assert_int_lt(server_info(_i == CLUSTER ? cluster_server(cluster, 0) : plain,
                                 "total_connections_received") -
                         before,
                     20 + (now_ms() - begin) / 200);
    redisFree(c);
}
END_TEST

/* A user without a password may do everything there; it is not the one that was to be logged in. */
START_TEST(test_nothing_is_done_as_somebody_else)
{
    setenv("REDISROUTE_USERNAME", "nobody", 1);
    setenv("REDISROUTE_PASSWORD", "x", 1);
    redisContext *c = connect_port(server_port(open_server));
    EXPECT(c, wrong_pass, "SET other v");
    EXPECT(c, wrong_pass, "GET other");
    redisFree(c);
    char *text = server_command(open_server, "EXISTS other");
    ck_assert_str_eq(text, "0");
    free(text);
}
END_TEST

START_TEST(test_asynchronously_a_wrong_password)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(0);

    setenv("REDISROUTE_PASSWORD", "never-said", 1);
    async_open(&client, loop, port_of(_i));
    for (int i = 0; i < 20; i++)
        async_expect(&client, wrong_pass, "SET %s v", keys[i % MASTERS]);
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

/* --- the program's own --- */

START_TEST(test_the_programs_own_login_replaces_it)
{
    setenv("REDISROUTE_PASSWORD", first, 1);
    redisContext *c = connect_port(port_of(_i));
    expect_user(c, "default");
    EXPECT(c, wrong_pass, "AUTH app nonsense");
    expect_user(c, "default");
    EXPECT(c, "OK", "AUTH app app-secret");
    use_both_shards(c);
    expect_user(c, "app");
    if (_i == CLUSTER) {
        long links = server_info(cluster_server(cluster, 1), "total_connections_received");
        /* A new connection to the other master is the program's, too. */
        free(cluster_command(cluster, 1, "CLIENT KILL USER app"));
        EXPECT(c, "OK", "SET %s v", keys[1]);
        ck_assert_int_gt(server_info(cluster_server(cluster, 1), "total_connections_received"),
                         links);
        char *users = cluster_command(cluster, 1, "CLIENT LIST");
        ck_assert_msg(strstr(users, "user=app"), "%s", users);
        free(users);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_the_programs_own_login_where_the_configurations_is_wrong)
{
    setenv("REDISROUTE_PASSWORD", "never-said", 1);
    redisContext *c = connect_port(port_of(_i));
    if (_i == CLUSTER) { /* known from before, so that it is routed from the first command on */
        EXPECT(c, wrong_pass, "GET %s", keys[0]);
    }
    EXPECT(c, wrong_pass, "AUTH app nonsense");
    EXPECT(c, "OK", "AUTH app app-secret");
    use_both_shards(c);
    expect_user(c, "app");
    redisContext *again = connect_port(port_of(_i));
    EXPECT(again, "OK", "AUTH app app-secret");
    use_both_shards(again);
    redisFree(again);
    redisFree(c);
}
END_TEST

START_TEST(test_hello_and_reset)
{
    setenv("REDISROUTE_USERNAME", "app", 1);
    setenv("REDISROUTE_PASSWORD", "app-secret", 1);
    redisContext *c = connect_port(cluster_port(cluster, 0));
    freeReplyObject(redisCommand(c, "HELLO 2 AUTH default %s", first));
    expect_user(c, "default");
    use_both_shards(c);
    EXPECT(c, "RESET", "RESET");
    expect_user(c, "app");
    use_both_shards(c);
    redisFree(c);
}
END_TEST

/* --- everything that has connections of its own --- */

START_TEST(test_messages_and_reads_elsewhere)
{
    config_begin();
    listen_at(CLUSTER, "  password: first-secret\n", ", read_policy: REPLICA");
    redisContext *c = dial(listener, PORT), *sub = dial(listener, PORT);
    redisReply *reply = redisCommand(sub, "SUBSCRIBE channel");
    ck_assert_msg(reply && reply->type == REDIS_REPLY_ARRAY, "%s",
                  reply ? reply->str : sub->errstr);
    freeReplyObject(reply);
    use_both_shards(c);
    for (int i = 0; i < MASTERS; i++) {
        long before = server_calls(cluster_server(cluster, MASTERS + i), "strlen");
        EXPECT(c, "1", "STRLEN %s", keys[i]);
        ck_assert_int_eq(server_calls(cluster_server(cluster, MASTERS + i), "strlen"), before + 1);
    }
    freeReplyObject(redisCommand(c, "PUBLISH channel hello"));
    ck_assert_int_eq(redisGetReply(sub, (void **)&reply), REDIS_OK);
    EXPECT_REPLY(reply, "message\nchannel\nhello");
    freeReplyObject(reply);
    redisFree(sub);
    redisFree(c);
    config_end();
}
END_TEST

/* The keeper's: after a failover the new master is found. The last test: masters are others then.
 */
START_TEST(test_refreshes_log_in)
{
    config_begin();
    listen_at(CLUSTER, "  password: first-secret\n", "");
    redisContext *c = dial(listener, PORT);
    use_both_shards(c);
    cluster_failover(cluster, MASTERS + 1);
    for (int i = 0; i < 10; i++)
        use_both_shards(c);
    char text[65536];
    UNTIL(redisRouteStatsText(text, sizeof text) > 0 &&
          strstr(text, "redisroute_topology_refreshes_total{result=\"success\"}") &&
          !strstr(text, "redisroute_topology_refreshes_total{result=\"success\"} 0"));
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_mirror_with_a_password)
{
    config_begin();
    config_write("clusters:\n- name: main\n  endpoints: [127.0.0.1:%d]\n  username: app\n"
                 "  password: app-secret\n"
                 "- name: copy\n  endpoints: [127.0.0.1:%d]\n  password: %s\n"
                 "listeners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s}\n"
                 "    prefix_routes: {catch_all_route: {cluster: main, "
                 "request_mirror_policy: [{cluster: copy}]}}\n",
                 cluster_port(cluster, 0), server_port(plain), _i ? "wrong" : first, listener,
                 PORT);
    long before = server_calls(plain, "append");
    redisContext *c = dial(listener, PORT);
    for (int i = 0; i < 10; i++)
        freeReplyObject(redisCommand(c, "APPEND mirrored x"));
    if (_i) {
        /* Wrong at first: what comes is dropped, and counted; then it is right. */
        char text[65536];
        UNTIL(redisRouteStatsText(text, sizeof text) > 0 &&
              strstr(text, "redisroute_mirrored_total{result=\"dropped_locked\"}") &&
              !strstr(text, "redisroute_mirrored_total{result=\"dropped_locked\"} 0"));
        config_write(
            "clusters:\n- name: main\n  endpoints: [127.0.0.1:%d]\n  username: app\n"
            "  password: app-secret\n"
            "- name: copy\n  endpoints: [127.0.0.1:%d]\n  password: %s\n"
            "listeners:\n- address: %s:%d\n  redis_proxy:\n    settings: {op_timeout: 30s}\n"
            "    prefix_routes: {catch_all_route: {cluster: main, "
            "request_mirror_policy: [{cluster: copy}]}}\n",
            cluster_port(cluster, 0), server_port(plain), first, listener, PORT);
        for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; server_calls(plain, "append") == before;) {
            freeReplyObject(redisCommand(c, "APPEND mirrored x"));
            ck_assert(now_ms() < limit);
        }
    } else {
        UNTIL(server_calls(plain, "append") == before + 10);
    }
    redisFree(c);
    config_end();
}
END_TEST

/* --- forms --- */

static const char options[] =
    "  typedExtensionProtocolOptions:\n    envoy.filters.network.redis_proxy:\n"
    "      \"@type\": type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3."
    "RedisProtocolOptions\n";

static void expect_login(const char *login, const char *user)
{
    listen_at(CLUSTER, login, "");
    redisContext *c = dial(listener, PORT);
    expect_user(c, user);
    use_both_shards(c);
    redisFree(c);
}

START_TEST(test_envoys_form)
{
    static const char *const logins[][2] = {
        {"      auth_password: {inline_string: first-secret}\n", "default"},
        {"      authUsername: {inlineString: app}\n"
         "      authPassword: {inlineString: app-secret}\n",
         "app"},
        {"      auth_username: {environment_variable: USER_OF_TEST}\n"
         "      auth_password: {environment_variable: PASSWORD_OF_TEST}\n",
         "app"},
        {"      auth_password: {filename: '%s'}\n", "default"},
        {"      auth_password: {inline_string: not-this}\n"
         "      credentials:\n"
         "      - address: {socket_address: {address: 127.0.0.1, port_value: 1}}\n"
         "        auth_password: {inline_string: nor-this}\n"
         "      - address: {socket_address: {address: 127.0.0.1, port_value: %d}}\n"
         "        auth_username: {inline_string: app}\n"
         "        auth_password: {inline_string: app-secret}\n"
         "      - address: {socket_address: {address: 127.0.0.1, port_value: %d}}\n"
         "        auth_username: {inline_string: app}\n"
         "        auth_password: {inline_string: app-secret}\n",
         "app"},
    };
    char *text = NULL, *login = NULL;

    config_begin();
    setenv("USER_OF_TEST", "app", 1);
    setenv("PASSWORD_OF_TEST", "app-secret", 1);
    if (_i == 3)
        MUST(asprintf(&text, logins[_i][0], config_write_beside("password", "first-secret\n")) > 0);
    else if (_i == 4)
        MUST(asprintf(&text, logins[_i][0], cluster_port(cluster, 0), cluster_port(cluster, 1)) >
             0);
    else
        MUST((text = strdup(logins[_i][0])));
    MUST(asprintf(&login, "%s%s", options, text) > 0);
    expect_login(login, logins[_i][1]);
    free(login);
    free(text);
    config_end();
}
END_TEST

/* --- a password that changes --- */

static void kill_all_of(const char *user)
{
    for (int i = 0; i < NODES; i++)
        free(cluster_command(cluster, i, "CLIENT KILL USER %s", user));
}

/* The server's user has both for a while, then the new one alone; the open session never fails. */
START_TEST(test_a_password_is_rotated)
{
    char *login;
    bool by_file = _i == 1;
    int64_t limit;

    on_all("ACL SETUSER rotated on >first-secret ~* &* +@all");
    config_begin();
    MUST(asprintf(&login, "  username: rotated\n  %s: %s\n", by_file ? "password_file" : "password",
                  by_file ? config_write_beside("password", "first-secret\n") : first) > 0);
    listen_at(CLUSTER, login, "");
    redisContext *c = dial(listener, PORT), *fresh;
    expect_user(c, "rotated");
    use_both_shards(c);
    on_all("ACL SETUSER rotated >second-secret");
    if (by_file)
        config_write_beside("password", "second-secret\n");
    else
        listen_at(CLUSTER, "  username: rotated\n  password: second-secret\n", "");
    UNTIL(config_log_says("version 2"));
    on_all("ACL SETUSER rotated <first-secret");
    use_both_shards(c); /* it is logged in already */
    kill_all_of("rotated");
    limit = now_ms() + UNTIL_LIMIT_MS;
    for (int i = 0; i < 5; i++) {
        use_both_shards(c); /* new connections say the new one */
        ck_assert(now_ms() < limit);
    }
    fresh = dial(listener, PORT);
    expect_user(fresh, "rotated");
    ck_assert(!config_log_says(first) && !config_log_says(second));
    redisFree(fresh);
    redisFree(c);
    free(login);
    config_end();
}
END_TEST

START_TEST(test_the_user_changes)
{
    config_begin();
    listen_at(CLUSTER, "  password: first-secret\n", "");
    redisContext *c = dial(listener, PORT);
    expect_user(c, "default");
    listen_at(CLUSTER, "  username: app\n  password: app-secret\n", "");
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS;;) {
        char *user = who(c);
        bool is_app = strcmp(user, "app") == 0;

        ck_assert(is_app || strcmp(user, "default") == 0);
        free(user);
        if (is_app)
            break;
        ck_assert(now_ms() < limit);
        pause_ms(5);
    }
    use_both_shards(c);
    redisFree(c);
    config_end();
}
END_TEST

/* Until keys of both shards are answered so. */
static void await_answers(redisContext *c, const char *expected)
{
    for (int i = 0; i < MASTERS; i++)
        for (int64_t limit = now_ms() + UNTIL_LIMIT_MS;; pause_ms(5)) {
            redisReply *reply = redisCommand(c, "GET %s", keys[i]);
            char *text = reply_text(reply);
            bool is_so = reply_text_is(text, expected);

            freeReplyObject(reply);
            ck_assert(now_ms() < limit);
            free(text);
            if (is_so)
                break;
        }
}

/* A server that refuses a login has what was said to it before all the same. */
START_TEST(test_a_reset_while_the_login_is_refused)
{
    config_begin();
    listen_at(CLUSTER, "  username: app\n  password: app-secret\n", "");
    redisContext *c = dial(listener, PORT);
    for (int i = 0; i < MASTERS; i++)
        EXPECT(c, "OK", "SET %s v", keys[i]);
    EXPECT(c, "OK", "CLIENT SETNAME somebody");
    await_answers(c, "v");
    listen_at(CLUSTER, "  username: nobody\n  password: nothing\n", "");
    await_answers(c, "-WRONGPASS*");
    EXPECT(c, "RESET", "RESET");
    listen_at(CLUSTER, "  username: app\n  password: app-secret\n", "");
    await_answers(c, "v");
    for (int i = 0; i < MASTERS; i++) {
        char *list = cluster_command(cluster, i, "CLIENT LIST");
        ck_assert_msg(!strstr(list, "name=somebody"), "%s", list);
        free(list);
    }
    redisFree(c);
    config_end();
}
END_TEST

START_TEST(test_a_wrong_password_is_put_right)
{
    config_begin();
    listen_at(_i, "  password: wrong-secret\n", "");
    redisContext *c = dial(listener, PORT);
    EXPECT(c, wrong_pass, "SET %s v", keys[0]);
    listen_at(_i, "  password: first-secret\n", "");
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS;;) {
        redisReply *reply = redisCommand(c, "SET %s v", keys[1]);
        ck_assert_msg(reply != NULL, "%s", c->errstr);
        bool ok = reply->type == REDIS_REPLY_STATUS;
        if (!ok)
            ck_assert_int_eq(strncmp(reply->str, "WRONGPASS", 9), 0);
        freeReplyObject(reply);
        if (ok)
            break;
        ck_assert(now_ms() < limit);
        pause_ms(5);
    }
    use_both_shards(c);
    ck_assert(!config_log_says("wrong-secret"));
    redisFree(c);
    config_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("login");
    TCase *tc = suite_case(suite, "login", setup, teardown);

    tcase_add_loop_test(tc, test_the_environment_logs_in, 0, KINDS);
    tcase_add_loop_test(tc, test_a_user_by_the_environment, 0, KINDS);
    tcase_add_loop_test(tc, test_asynchronously, 0, KINDS);
    tcase_add_loop_test(tc, test_nonblocking, 0, KINDS);
    tcase_add_loop_test(tc, test_what_is_written_before_the_login_is_answered_is_sent, 0, KINDS);
    tcase_add_test(tc, test_a_server_without_a_password_is_used_all_the_same);
    tcase_add_loop_test(tc, test_a_wrong_password, 0, KINDS);
    tcase_add_test(tc, test_nothing_is_done_as_somebody_else);
    tcase_add_loop_test(tc, test_asynchronously_a_wrong_password, 0, KINDS);
    tcase_add_loop_test(tc, test_the_programs_own_login_replaces_it, 0, KINDS);
    tcase_add_loop_test(tc, test_the_programs_own_login_where_the_configurations_is_wrong, 0,
                        KINDS);
    tcase_add_test(tc, test_hello_and_reset);
    tcase_add_test(tc, test_messages_and_reads_elsewhere);
    tcase_add_loop_test(tc, test_a_mirror_with_a_password, 0, 2);
    tcase_add_loop_test(tc, test_envoys_form, 0, 5);
    tcase_add_loop_test(tc, test_a_password_is_rotated, 0, 2);
    tcase_add_test(tc, test_the_user_changes);
    tcase_add_test(tc, test_a_reset_while_the_login_is_refused);
    tcase_add_loop_test(tc, test_a_wrong_password_is_put_right, 0, KINDS);
    tcase_add_test(tc, test_refreshes_log_in);
    return suite_run(suite);
}
