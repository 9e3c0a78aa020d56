/* What is at the address that the program dialled: a node of a cluster (any node, also one that
 * asks for a password or is still forming), a plain server, nothing, or something that is neither.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/port.h"
#include "../support/server.h"
#include "../support/silent_host.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

#define PASSWORD "sesame"

static struct server *server;
static struct cluster *cluster;

static void use_keys_of_every_shard(redisContext *c)
{
    char value[16];
    for (int i = 0; i < 100; i++) {
        snprintf(value, sizeof value, "%d", i);
        EXPECT(c, "OK", "SET found:%d %d", i, i);
        EXPECT(c, value, "GET found:%d", i);
    }
}

/* --- whichever node is dialled --- */

enum { MASTERS = 3, NODES = 6 };

static void replicated_setup(void)
{
    cluster = cluster_start(&(struct cluster_options){.masters = MASTERS, .replicas = 1});
}

static void cluster_teardown(void)
{
    cluster_stop(cluster);
    cluster = NULL;
}

START_TEST(test_every_node_leads_to_the_whole_cluster)
{
    redisContext *c = connect_port(cluster_port(cluster, _i));
    use_keys_of_every_shard(c);
    redisFree(c);
}
END_TEST

START_TEST(test_a_pipeline_may_be_the_first_thing_sent)
{
    char expected[16];
    redisContext *c = connect_port(cluster_port(cluster, _i));
    for (int i = 0; i < 1000; i++)
        redisAppendCommand(c, "SET piped:%d %d", i, i);
    for (int i = 0; i < 1000; i++)
        redisAppendCommand(c, "GET piped:%d", i);
    for (int i = 0; i < 1000; i++)
        EXPECT_NEXT(c, "OK");
    for (int i = 0; i < 1000; i++) {
        snprintf(expected, sizeof expected, "%d", i);
        EXPECT_NEXT(c, expected);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_a_host_name_is_as_good_as_an_address)
{
    struct timeval limit = {.tv_sec = 10};
    redisContext *c = redisConnectWithTimeout("localhost", cluster_port(cluster, _i), limit);
    ck_assert_int_eq(c->err, 0);
    use_keys_of_every_shard(c);
    redisFree(c);
}
END_TEST

START_TEST(test_many_contexts_of_different_nodes)
{
    redisContext *contexts[NODES * 5];
    for (int i = 0; i < NODES * 5; i++)
        contexts[i] = connect_port(cluster_port(cluster, i % NODES));
    for (int i = 0; i < NODES * 5; i++)
        use_keys_of_every_shard(contexts[i]);
    for (int i = 0; i < NODES * 5; i++)
        redisFree(contexts[i]);
}
END_TEST

/* redisConnectFd is given a socket that somebody else opened: it is left alone, MOVED and all. */
START_TEST(test_connect_fd_passes_through)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)cluster_port(cluster, 0)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char *here = cluster_key_for(cluster, 0, 0), *elsewhere = cluster_key_for(cluster, 1, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    redisContext *c = redisConnectFd(fd);
    ck_assert_int_eq(c->fd, fd);
    EXPECT(c, "OK", "SET %s v", here);
    EXPECT_ERROR(c, "MOVED", "SET %s v", elsewhere);
    redisFree(c);
    free(here);
    free(elsewhere);
}
END_TEST

/* The switch is read by a fresh process, as a user would set it. */
START_TEST(test_switched_off)
{
    int status;
    char port[16];
    snprintf(port, sizeof port, "%d", cluster_port(cluster, 0));
    pid_t child = fork();
    if (child == 0) {
        setenv("REDISROUTE_OFF", "1", 1);
        execl("/proc/self/exe", "discovery_test", "switched-off", port, (char *)NULL);
        _exit(3);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* With REDISROUTE_OFF some of 100 keys have to be refused by the one node that is asked. */
static int switched_off_main(int port)
{
    int moved = 0;
    redisContext *c = redisConnect("127.0.0.1", port);
    for (int i = 0; i < 100; i++) {
        redisReply *reply = redisCommand(c, "GET found:%d", i);
        if (!reply)
            return 2;
        moved += reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "MOVED ", 6);
        freeReplyObject(reply);
    }
    redisFree(c);
    return moved > 30 ? 0 : 1;
}

/* --- a server that is no cluster --- */

static void plain_setup(void)
{
    server = server_start(&(struct server_options){.has_unix_socket = true});
}

static void server_teardown(void)
{
    server_stop(server);
    server = NULL;
}

START_TEST(test_plain_select)
{
    redisContext *c = connect_port(server_port(server));
    EXPECT(c, "OK", "SET where zero");
    EXPECT(c, "OK", "SELECT 1");
    EXPECT(c, "(nil)", "GET where");
    EXPECT(c, "OK", "SET where one");
    EXPECT(c, "OK", "SELECT 0");
    EXPECT(c, "zero", "GET where");
    redisFree(c);
}
END_TEST

START_TEST(test_plain_transaction)
{
    redisContext *c = connect_port(server_port(server));
    EXPECT(c, "OK", "WATCH plain:a");
    EXPECT(c, "OK", "MULTI");
    EXPECT(c, "QUEUED", "SET plain:a 1");
    EXPECT(c, "QUEUED", "INCR plain:b");
    EXPECT(c, "OK\n1", "EXEC");
    EXPECT(c, "OK", "MSET x 1 y 2 z 3");
    EXPECT(c, "OK", "RENAME x w");
    redisFree(c);
}
END_TEST

START_TEST(test_plain_subscribe)
{
    redisContext *c = connect_port(server_port(server));
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    for (int i = 0; i < 10; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "message\nnews\nitem-%d", i);
        free(server_command(server, "PUBLISH news item-%d", i));
        EXPECT_NEXT(c, expected);
    }
    EXPECT(c, "unsubscribe\nnews\n0", "UNSUBSCRIBE news");
    EXPECT(c, "OK", "SET plain:after 1");
    redisFree(c);
}
END_TEST

START_TEST(test_plain_monitor)
{
    redisContext *c = connect_port(server_port(server));
    EXPECT(c, "OK", "MONITOR");
    free(server_command(server, "SET monitored yes"));
    redisReply *reply = NULL;
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    ck_assert_int_eq(reply->type, REDIS_REPLY_STATUS);
    ck_assert_ptr_nonnull(strstr(reply->str, "\"SET\" \"monitored\" \"yes\""));
    freeReplyObject(reply);
    redisFree(c);
}
END_TEST

START_TEST(test_plain_client_reply_off)
{
    redisContext *c = connect_port(server_port(server));
    redisAppendCommand(c, "CLIENT REPLY OFF");
    redisAppendCommand(c, "SET quiet 1");
    redisAppendCommand(c, "CLIENT REPLY ON");
    EXPECT_NEXT(c, "OK");
    EXPECT(c, "1", "GET quiet");
    redisFree(c);
}
END_TEST

START_TEST(test_unix_socket_passes_through)
{
    redisContext *c = redisConnectUnix(server_unix_path(server));
    ck_assert_int_eq(c->err, 0);
    EXPECT(c, "OK", "SET unix:key 1");
    EXPECT(c, "OK", "SELECT 3");
    EXPECT(c, "(nil)", "GET unix:key");
    redisFree(c);
}
END_TEST

/* The question must not travel on the program's own connection: what a proxy hangs up on, and what
 * the server counts for the program's client, are seen by users. */
START_TEST(test_the_question_is_not_asked_on_the_connection_of_the_program)
{
    redisContext *c = connect_port(server_port(server));
    EXPECT(c, "OK", "CLIENT SETNAME mine");
    char *list = server_command(server, "CLIENT LIST");
    const char *line = strstr(list, "name=mine");
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_nonnull(strstr(line, "cmd=client|setname"));
    free(list);
    redisFree(c);
}
END_TEST

/* --- nothing there --- */

START_TEST(test_nothing_listens)
{
    int port = port_free();
    redisContext *c = redisConnect("127.0.0.1", port);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "Connection refused");
    ck_assert_ptr_null(redisCommand(c, "PING"));
    redisFree(c);
    c = redisConnectWithTimeout("127.0.0.1", port, (struct timeval){.tv_sec = 5});
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "Connection refused");
    redisFree(c);
}
END_TEST

START_TEST(test_a_host_that_is_silent_costs_the_connect_timeout)
{
    struct silent_host host;
    silent_host_start(&host);
    int64_t start = now_ms();
    redisContext *c =
        redisConnectWithTimeout("127.0.0.1", host.port, (struct timeval){.tv_usec = 300000});
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_str_eq(c->errstr, "Connection timed out");
    ck_assert_int_ge(now_ms() - start, 290);
    ck_assert_int_le(now_ms() - start, 2500);
    redisFree(c);
    silent_host_stop(&host);
}
END_TEST

/* --- a server that asks for a password --- */

static void locked_cluster_setup(void)
{
    cluster = cluster_start(&(struct cluster_options){.requirepass = PASSWORD});
}

START_TEST(test_locked_cluster_answers_noauth_until_auth)
{
    redisContext *c = connect_port(cluster_port(cluster, _i));
    EXPECT(c, "-NOAUTH Authentication required.", "GET found:1");
    EXPECT_ERROR(c, "WRONGPASS", "AUTH wrong");
    EXPECT(c, "-NOAUTH Authentication required.", "SET found:2 v");
    EXPECT(c, "OK", "AUTH " PASSWORD);
    use_keys_of_every_shard(c);
    redisFree(c);
}
END_TEST

START_TEST(test_auth_with_a_user_name)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    EXPECT(c, "OK", "AUTH default " PASSWORD);
    use_keys_of_every_shard(c);
    redisFree(c);
}
END_TEST

START_TEST(test_auth_and_commands_in_one_pipeline)
{
    redisContext *c = connect_port(cluster_port(cluster, 1));
    redisAppendCommand(c, "AUTH " PASSWORD);
    for (int i = 0; i < 200; i++)
        redisAppendCommand(c, "SET found:%d v", i);
    for (int i = 0; i < 201; i++)
        EXPECT_NEXT(c, "OK");
    redisFree(c);
}
END_TEST

START_TEST(test_credentials_of_one_context_do_not_serve_another)
{
    redisContext *known = connect_port(cluster_port(cluster, 0));
    EXPECT(known, "OK", "AUTH " PASSWORD);
    use_keys_of_every_shard(known);
    redisContext *stranger = connect_port(cluster_port(cluster, 0));
    for (int i = 0; i < 30; i++)
        EXPECT(stranger, "-NOAUTH Authentication required.", "GET found:%d", i);
    EXPECT(stranger, "OK", "AUTH " PASSWORD);
    use_keys_of_every_shard(stranger);
    redisFree(stranger);
    redisFree(known);
}
END_TEST

START_TEST(test_reconnect_forgets_the_password)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    EXPECT(c, "OK", "AUTH " PASSWORD);
    use_keys_of_every_shard(c);
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    for (int i = 0; i < 30; i++)
        EXPECT(c, "-NOAUTH Authentication required.", "GET found:%d", i);
    redisFree(c);
}
END_TEST

static void locked_server_setup(void)
{
    server = server_start(&(struct server_options){.requirepass = PASSWORD});
}

START_TEST(test_locked_plain_server)
{
    redisContext *c = connect_port(server_port(server));
    EXPECT(c, "-NOAUTH Authentication required.", "GET found:1");
    EXPECT(c, "OK", "AUTH " PASSWORD);
    use_keys_of_every_shard(c);
    EXPECT(c, "OK", "SELECT 2");
    EXPECT(c, "(nil)", "GET found:1");
    redisFree(c);
}
END_TEST

/* coturn does this on every connection: an empty password where none is wanted, then SELECT 0. */
START_TEST(test_auth_where_no_password_is_set)
{
    redisContext *c = connect_target(_i);
    EXPECT_ERROR(c, "without any password configured", "AUTH %s", "");
    EXPECT(c, "OK", "SELECT 0");
    use_keys_of_every_shard(c);
    redisFree(c);
}
END_TEST

/* --- slots without an owner --- */

enum { HOLE = 6000, HOLE_SIZE = 100 };

static void holed_setup(void)
{
    cluster = cluster_start(&(struct cluster_options){
        .partial_coverage = true, .unassigned_first = HOLE, .unassigned_count = HOLE_SIZE});
}

START_TEST(test_slots_without_an_owner_are_down_and_the_others_fine)
{
    char *key = cluster_key_in_slot(HOLE + HOLE_SIZE / 2, 0),
         *fine = cluster_key_in_slot(HOLE - 1, 0);
    redisContext *c = connect_port(cluster_port(cluster, _i));
    for (int i = 0; i < 10; i++) {
        char *other = cluster_key_for(cluster, i % 3, i);
        EXPECT(c, "OK", "SET %s v", other);
        free(other);
    }
    EXPECT(c, "OK", "SET %s v", fine);
    EXPECT(c, "-CLUSTERDOWN Hash slot not served", "GET %s", key);
    EXPECT(c, "v", "GET %s", fine);
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
    free(key);
    free(fine);
}
END_TEST

static void unformed_setup(void)
{
    cluster = cluster_start(&(struct cluster_options){.is_unformed = true});
}

START_TEST(test_a_cluster_that_forms_later)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    EXPECT_ERROR(c, "CLUSTERDOWN", "GET found:1");
    cluster_form(cluster);
    use_keys_of_every_shard(c);
    redisFree(c);
}
END_TEST

/* --- servers that do not know the question, or answer it with nonsense --- */

static const struct {
    const char *name;
    struct fake_rule rule;
} no_cluster[] = {
    {"unknown command", {.reply = "-ERR unknown command 'CLUSTER'\r\n"}},
    {"disabled", {.reply = "-ERR This instance has cluster support disabled\r\n"}},
    {"forbidden", {.reply = "-NOPERM this user has no permissions to run 'cluster|slots'\r\n"}},
    {"hangs up", {.action = FAKE_CLOSE}},
    {"resets", {.action = FAKE_RESET}},
};

START_TEST(test_whoever_does_not_know_the_question_is_a_plain_server)
{
    struct fake_node *node = fake_node_start();
    fake_node_on(node, "CLUSTER SLOTS", no_cluster[_i].rule);
    fake_node_on(node, "CLUSTER SHARDS", no_cluster[_i].rule);
    fake_node_answer(node, "GET", "$5\r\nhello\r\n");
    fake_node_answer(node, "SINTER", "*0\r\n");
    fake_node_answer(node, "EXOTIC", "+as it is\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    for (int i = 0; i < 20; i++)
        EXPECT(c, "hello", "GET key:%d", i);
    EXPECT(c, "", "SINTER a b");
    EXPECT(c, "as it is", "EXOTIC a b c");
    ck_assert_int_eq(c->err, 0);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

/* What makes the library look at each command, on a server that is no cluster too. */
static const struct {
    const char *name, *value;
} reasons_to_look[] = {
    {"REDISROUTE_OP_TIMEOUT", "30s"},
    {"REDISROUTE_MIRROR", "127.0.0.1:1"},
};

START_TEST(test_so_it_is_where_each_command_is_looked_at)
{
    int rules = sizeof no_cluster / sizeof no_cluster[0], rule = _i % rules, reason = _i / rules;
    struct fake_node *node = fake_node_start();
    fake_node_on(node, "CLUSTER SLOTS", no_cluster[rule].rule);
    fake_node_answer(node, "GET", "$5\r\nhello\r\n");
    fake_node_answer(node, "SINTER", "*0\r\n");
    setenv(reasons_to_look[reason].name, reasons_to_look[reason].value, 1);
    redisContext *c = connect_port(fake_node_port(node));
    for (int i = 0; i < 5; i++)
        EXPECT(c, "hello", "GET key:%d", i);
    EXPECT(c, "", "SINTER a b");
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_the_answer_is_remembered_for_the_process)
{
    struct fake_node *node = fake_node_start();
    fake_node_answer(node, "GET", "$5\r\nhello\r\n");
    for (int i = 0; i < 20; i++) {
        redisContext *c = connect_port(fake_node_port(node));
        EXPECT(c, "hello", "GET key:%d", i);
        redisFree(c);
    }
    /* Once by the first context; the keeper may look again in the meantime. */
    ck_assert_int_le(fake_node_seen(node, "CLUSTER SLOTS"), 3);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_an_idle_context_asks_nothing)
{
    struct fake_node *node = fake_node_start();
    redisContext *c = connect_port(fake_node_port(node));
    redisFree(c);
    /* The node is through with that connection once it sees the next one. */
    c = connect_port(fake_node_port(node));
    fake_node_answer(node, "GET", "$5\r\nhello\r\n");
    EXPECT(c, "hello", "GET key");
    ck_assert_int_eq(fake_node_seen(node, "GET"), 1);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

/* Addresses that mean "the host I asked". %d is the node's own port. */
static const char *const odd_hosts[] = {
    "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$0\r\n\r\n:%d\r\n$40\r\n%040d\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$1\r\n?\r\n:%d\r\n$40\r\n%040d\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$-1\r\n:%d\r\n$40\r\n%040d\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%040d\r\n*2\r\n"
    "$8\r\nhostname\r\n$7\r\nmy-host\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n",
    "*1\r\n*4\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%040d\r\n"
    "*4\r\n$9\r\n127.0.0.1\r\n:1\r\n$1\r\nr\r\n*0\r\n",
};

START_TEST(test_unusual_but_valid_answers)
{
    char slots[512];
    struct fake_node *node = fake_node_start();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(slots, sizeof slots, odd_hosts[_i], fake_node_port(node), 7);
#pragma GCC diagnostic pop
    fake_node_slots(node, slots);
    fake_node_answer(node, "GET", "$5\r\nhello\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    for (int i = 0; i < 20; i++)
        EXPECT(c, "hello", "GET key:%d", i);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

static const char *const nonsense[] = {
    "*0\r\n",
    "*-1\r\n",
    "$-1\r\n",
    "+OK\r\n",
    ":42\r\n",
    "$5\r\nhello\r\n",
    "*1\r\n:5\r\n",
    "*1\r\n*0\r\n",
    "*1\r\n*2\r\n:0\r\n:16383\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n:7\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n*0\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:99999\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:-1\r\n",
    "*1\r\n*3\r\n:-5\r\n:99999\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
    "*1\r\n*3\r\n:16383\r\n:0\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
    "*1\r\n*3\r\n$1\r\n0\r\n$5\r\n16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n",
    "*2147483647\r\n",
    "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n",
    "?what\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
    "\r\n\r\n\r\n",
};

/* Whatever the answer is, the program gets one too, or an error, inside its time limit. */
START_TEST(test_nonsense_for_an_answer_ends_in_a_reply_or_an_error)
{
    struct fake_node *node = fake_node_start();
    fake_node_slots(node, nonsense[_i]);
    fake_node_answer(node, "GET", "$5\r\nhello\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    redisSetTimeout(c, (struct timeval){.tv_sec = 3});
    int64_t start = now_ms();
    redisReply *reply = redisCommand(c, "GET key");
    ck_assert_int_le(now_ms() - start, 10000);
    if (!reply)
        ck_assert_int_ne(c->err, 0);
    if (reply)
        ck_assert(reply->type == REDIS_REPLY_ERROR || !strcmp(reply->str, "hello"));
    if (reply)
        freeReplyObject(reply);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

START_TEST(test_overlapping_ranges_end_in_an_answer)
{
    struct fake_node *node = fake_node_start();
    int port = fake_node_port(node);
    struct fake_range ranges[] = {{.first = 0, .last = 16383, .port = port},
                                  {.first = 0, .last = 16383, .port = port},
                                  {.first = 100, .last = 200, .port = port}};
    char *slots = fake_slots_reply(ranges, 3);
    fake_node_slots(node, slots);
    fake_node_answer(node, "GET", "$5\r\nhello\r\n");
    redisContext *c = connect_port(port);
    for (int i = 0; i < 50; i++)
        EXPECT(c, "hello", "GET key:%d", i);
    redisFree(c);
    fake_node_stop(node);
    free(slots);
}
END_TEST

/* Of a thousand nodes only those are dialled that are needed: here, one. */
START_TEST(test_a_thousand_nodes)
{
    enum { COUNT = 1000, WIDTH = CLUSTER_SLOTS / COUNT };
    static struct fake_range ranges[COUNT];
    struct fake_node *node = fake_node_start();
    char *key = cluster_key_in_slot(500 * WIDTH, 0);
    for (int i = 0; i < COUNT; i++)
        ranges[i] =
            (struct fake_range){.first = i * WIDTH,
                                .last = i == COUNT - 1 ? CLUSTER_SLOTS - 1 : i * WIDTH + WIDTH - 1,
                                .port = i == 500 ? fake_node_port(node) : 1 + i};
    char *slots = fake_slots_reply(ranges, COUNT);
    fake_node_slots(node, slots);
    fake_node_answer(node, "GET", "$5\r\nhello\r\n");
    redisContext *c = connect_port(fake_node_port(node));
    for (int i = 0; i < 10; i++)
        EXPECT(c, "hello", "GET %s", key);
    redisFree(c);
    fake_node_stop(node);
    free(slots);
    free(key);
}
END_TEST

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

static void add_clusters(Suite *suite)
{
    TCase *tc = suite_case(suite, "nodes", replicated_setup, cluster_teardown);
    tcase_add_loop_test(tc, test_every_node_leads_to_the_whole_cluster, 0, NODES);
    tcase_add_loop_test(tc, test_a_pipeline_may_be_the_first_thing_sent, 0, NODES);
    tcase_add_loop_test(tc, test_a_host_name_is_as_good_as_an_address, 0, NODES);
    tcase_add_test(tc, test_many_contexts_of_different_nodes);
    tcase_add_test(tc, test_connect_fd_passes_through);
    tcase_add_test(tc, test_switched_off);
    tc = suite_case(suite, "locked cluster", locked_cluster_setup, cluster_teardown);
    tcase_add_loop_test(tc, test_locked_cluster_answers_noauth_until_auth, 0, MASTERS);
    tcase_add_test(tc, test_auth_with_a_user_name);
    tcase_add_test(tc, test_auth_and_commands_in_one_pipeline);
    tcase_add_test(tc, test_credentials_of_one_context_do_not_serve_another);
    tcase_add_test(tc, test_reconnect_forgets_the_password);
    tc = suite_case(suite, "holed cluster", holed_setup, cluster_teardown);
    tcase_add_loop_test(tc, test_slots_without_an_owner_are_down_and_the_others_fine, 0, MASTERS);
    tc = suite_case(suite, "cluster formed later", unformed_setup, cluster_teardown);
    tcase_add_test(tc, test_a_cluster_that_forms_later);
    tc = suite_case(suite, "nonsense", NULL, NULL);
    tcase_add_loop_test(tc, test_unusual_but_valid_answers, 0, COUNT_OF(odd_hosts));
    tcase_add_loop_test(tc, test_nonsense_for_an_answer_ends_in_a_reply_or_an_error, 0,
                        COUNT_OF(nonsense));
    tcase_add_test(tc, test_overlapping_ranges_end_in_an_answer);
    tcase_add_test(tc, test_a_thousand_nodes);
    tcase_add_test(tc, test_the_answer_is_remembered_for_the_process);
}

static void add_plain_servers(Suite *suite)
{
    TCase *tc = suite_case(suite, "plain server", plain_setup, server_teardown);
    tcase_add_test(tc, test_plain_select);
    tcase_add_test(tc, test_plain_transaction);
    tcase_add_test(tc, test_plain_subscribe);
    tcase_add_test(tc, test_plain_monitor);
    tcase_add_test(tc, test_plain_client_reply_off);
    tcase_add_test(tc, test_unix_socket_passes_through);
    tcase_add_test(tc, test_the_question_is_not_asked_on_the_connection_of_the_program);
    tc = suite_case(suite, "locked server", locked_server_setup, server_teardown);
    tcase_add_test(tc, test_locked_plain_server);
    tc = suite_case(suite, "no password", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_auth_where_no_password_is_set, 0, target_count());
    tc = suite_case(suite, "no server", NULL, NULL);
    tcase_add_test(tc, test_nothing_listens);
    tcase_add_test(tc, test_a_host_that_is_silent_costs_the_connect_timeout);
    tc = suite_case(suite, "no cluster", NULL, NULL);
    tcase_add_loop_test(tc, test_whoever_does_not_know_the_question_is_a_plain_server, 0,
                        COUNT_OF(no_cluster));
    tcase_add_loop_test(tc, test_so_it_is_where_each_command_is_looked_at, 0,
                        COUNT_OF(no_cluster) * COUNT_OF(reasons_to_look));
    tcase_add_test(tc, test_an_idle_context_asks_nothing);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return switched_off_main(atoi(argv[2]));
    Suite *suite = suite_create("discovery");
    if (target_count() > TARGET_CLUSTER)
        add_clusters(suite);
    add_plain_servers(suite);
    return suite_run(suite);
}
