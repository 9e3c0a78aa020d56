/* redisroute-test: cases
 * TLS by the configuration: clusters and servers that speak nothing else. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/certificates.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/folder.h"
#include "../support/loop.h"
#include "../support/relay.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"
#include "redisroute/redisroute.h"

/* Long before the 30 seconds that a command waits for its slot. */
enum { KEYS = 200, LARGE = 3000000, QUICKLY_MS = 15000 };

static struct certificates *certificates;
static struct cluster *cluster;
static struct server *server, *other_server;

static const char *file(const char *name)
{
    return certificates_file(certificates, name);
}

/* --- what the cases have --- */

static void setup_cluster(void)
{
    certificates = certificates_create();
    cluster = cluster_start(&(struct cluster_options){.tls = certificates});
}

static bool is_listed(int by, int node)
{
    char *slots = cluster_command(cluster, by, "CLUSTER SLOTS");
    char *id = cluster_command(cluster, node, "CLUSTER MYID");
    bool is = strstr(slots, id) != NULL;

    free(slots);
    free(id);
    return is;
}

static void setup_replicas(void)
{
    certificates = certificates_create();
    cluster = cluster_start(
        &(struct cluster_options){.tls = certificates, .replicas = 1, .node_timeout_ms = 2000});
    for (int by = 0; by < 6; by++)
        for (int node = 0; node < 6; node++)
            UNTIL(is_listed(by, node));
}

static void setup_clients(void)
{
    certificates = certificates_create();
    cluster =
        cluster_start(&(struct cluster_options){.tls = certificates, .tls_asks_clients = true});
}

static void setup_both(void)
{
    certificates = certificates_create();
    cluster = cluster_start(&(struct cluster_options){.tls = certificates, .tls_beside = true});
}

static void setup_server(void)
{
    certificates = certificates_create();
    server = server_start(&(struct server_options){.tls = certificates});
    other_server = server_start(&(struct server_options){0});
}

static void teardown(void)
{
    server_stop(server);
    server_stop(other_server);
    cluster_stop(cluster);
    certificates_remove(certificates);
}

/* Every test is a process of its own, which reads the environment at its first context. */
static void configure(const char *ca)
{
    setenv("REDISROUTE_TLS", "1", 1);
    if (ca != NULL)
        setenv("REDISROUTE_TLS_CA", file(ca), 1);
}

static void identify(const char *name)
{
    char both[64];

    snprintf(both, sizeof both, "%s.pem", name);
    setenv("REDISROUTE_TLS_CERTIFICATE", file(both), 1);
    snprintf(both, sizeof both, "%s.key", name);
    setenv("REDISROUTE_TLS_KEY", file(both), 1);
}

static redisContext *connect_first(void)
{
    return connect_port(cluster_port(cluster, 0));
}

static void use(redisContext *c, const char *name)
{
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "SET tls:%s:%d %d", name, i, i);
    for (int i = 0; i < KEYS; i++)
        EXPECT_NEXT(c, "OK");
    for (int i = 0; i < KEYS; i++) {
        char expected[16];

        snprintf(expected, sizeof expected, "%d", i);
        EXPECT(c, expected, "GET tls:%s:%d", name, i);
    }
}

/* Fails at the first command, soon, and says so in these words. */
static void expect_failure(redisContext *c, const char *words)
{
    int64_t before = now_ms();
    redisReply *reply = redisCommand(c, "GET key");

    ck_assert_ptr_null(reply);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_msg(strstr(c->errstr, words) != NULL, "\"%s\" has no \"%s\"", c->errstr, words);
    ck_assert_int_lt(now_ms() - before, QUICKLY_MS);
    redisFree(c);
}

/* --- a cluster --- */

START_TEST(test_commands_and_pipelines)
{
    redisContext *c;

    configure("ca.pem");
    c = connect_first();
    use(c, "sync");
    EXPECT(c, "OK", "MSET tls:a 1 tls:b 2 tls:c 3");
    EXPECT(c, "1\n2\n3", "MGET tls:a tls:b tls:c");
    EXPECT(c, "1", "RPUSH tls:list x");
    EXPECT(c, "tls:list\nx", "BLPOP tls:list 1");
    redisFree(c);
}
END_TEST

/* Records of TLS hold 16 KiB: replies and commands of many, sent and received in pieces. */
START_TEST(test_large_values)
{
    char *value = malloc(LARGE + 1);
    redisContext *c;
    redisReply *reply;

    configure("ca.pem");
    for (int i = 0; i < LARGE; i++)
        value[i] = (char)('a' + i % 23);
    value[LARGE] = '\0';
    c = connect_first();
    for (int i = 0; i < 6; i++)
        redisAppendCommand(c, "SET tls:large:%d %b", i, value, (size_t)LARGE);
    for (int i = 0; i < 6; i++)
        redisAppendCommand(c, "GET tls:large:%d", i);
    for (int i = 0; i < 6; i++)
        EXPECT_NEXT(c, "OK");
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
        ck_assert_uint_eq(reply->len, LARGE);
        ck_assert(memcmp(reply->str, value, LARGE) == 0);
        freeReplyObject(reply);
    }
    redisFree(c);
    free(value);
}
END_TEST

START_TEST(test_by_a_name)
{
    redisContext *c;

    configure("ca.pem");
    c = redisConnect("localhost", cluster_port(cluster, 1));
    ck_assert_msg(c && !c->err, "%s", c ? c->errstr : "");
    use(c, "name");
    redisFree(c);
    c = connect_first();
    use(c, "number");
    redisFree(c);
}
END_TEST

START_TEST(test_a_slot_moves)
{
    int slot = cluster_slot("wanderer"), from = cluster_owner_of_slot(cluster, 0, slot);
    int to = (from + 1) % 3;
    redisContext *c;

    configure("ca.pem");
    c = connect_first();
    EXPECT(c, "OK", "SET wanderer 1");
    cluster_migrate_begin(cluster, slot, from, to);
    EXPECT(c, "OK", "SET {wanderer}new 2"); /* ASK */
    EXPECT(c, "1", "GET wanderer");
    while (cluster_migrate_keys(cluster, slot, from, to, 100) > 0)
        ;
    EXPECT(c, "1", "GET wanderer");
    cluster_migrate_finish(cluster, slot, from, to);
    EXPECT(c, "1", "GET wanderer"); /* MOVED */
    EXPECT(c, "2", "GET {wanderer}new");
    redisFree(c);
}
END_TEST

/* By either kind of descriptor. */
static struct loop *loop_of(int i)
{
    setenv("REDISROUTE_DESCRIPTOR", i < LOOP_KINDS ? "epoll" : "socket", 1);
    return loop_create(i % LOOP_KINDS);
}

START_TEST(test_asynchronously)
{
    struct async_client client = {0};
    struct loop *loop = loop_of(_i);

    configure("ca.pem");
    async_open(&client, loop, cluster_port(cluster, 0));
    for (int i = 0; i < KEYS; i++) {
        char expected[16];

        snprintf(expected, sizeof expected, "%d", i);
        async_expect(&client, "OK", "SET tls:async:%d %d", i, i);
        async_expect(&client, expected, "GET tls:async:%d", i);
    }
    async_finish(&client);
    ck_assert_int_eq(client.connect_status, REDIS_OK);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

START_TEST(test_messages)
{
    redisContext *c, *publisher;

    configure("ca.pem");
    c = connect_first();
    publisher = connect_port(cluster_port(cluster, 2));
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    freeReplyObject(redisCommand(publisher, "PUBLISH news hello"));
    EXPECT_NEXT(c, "message\nnews\nhello");
    EXPECT(c, "unsubscribe\nnews\n0", "UNSUBSCRIBE news");
    use(c, "afterwards");
    redisFree(c);
    redisFree(publisher);
}
END_TEST

static bool hears(redisRouteSession *session, const char *expected)
{
    size_t length = strlen(expected), there = 0;
    char heard[256] = "";

    while (there < length) {
        ssize_t n = redisRouteReadWait(session, heard + there, length - there, UNTIL_LIMIT_MS);

        if (n <= 0)
            break;
        there += (size_t)n;
    }
    return there == length && memcmp(heard, expected, length) == 0;
}

/* Options in code are enough, and say more than the environment. */
START_TEST(test_a_byte_session)
{
    redisRouteOptions options = {.size = sizeof options,
                                 .tls = 1,
                                 .tls_ca = file("ca.pem"),
                                 .tls_server_name = "redis.test"};
    struct {
        size_t size;
        int connect_timeout_ms;
        const char *read_policy;
    } first_version = {.size = sizeof first_version};
    redisRouteSession *session = redisRouteOpen("127.0.0.1", cluster_port(cluster, 0),
                                                (const redisRouteOptions *)(void *)&first_version);

    ck_assert_msg(session != NULL, "%s", redisRouteErrorText(NULL));
    redisRouteClose(session);
    session = redisRouteOpen("127.0.0.1", cluster_port(cluster, 0), &options);
    ck_assert_msg(session != NULL, "%s", redisRouteErrorText(NULL));
    for (int i = 0; i < KEYS; i++) {
        char command[64];
        int length = snprintf(command, sizeof command, "SET tls:bytes:%d v\r\n", i);

        ck_assert_int_eq(redisRouteWrite(session, command, (size_t)length), 0);
    }
    for (int i = 0; i < KEYS; i++)
        ck_assert_msg(hears(session, "+OK\r\n"), "%s", redisRouteErrorText(session));
    redisRouteClose(session);

    options.tls_ca = file("nowhere.pem");
    ck_assert_ptr_null(redisRouteOpen("127.0.0.1", cluster_port(cluster, 0), &options));
    ck_assert_ptr_nonnull(strstr(redisRouteErrorText(NULL), "nowhere.pem\": No such file"));
    options.tls_ca = file("other-ca.pem");
    session = redisRouteOpen("127.0.0.1", cluster_port(cluster, 0), &options);
    ck_assert_msg(session != NULL, "%s", redisRouteErrorText(NULL));
    UNTIL(redisRouteConnected(session) != 0 || redisRouteWait(session, 100) < -1);
    ck_assert_int_eq(redisRouteConnected(session), -1);
    ck_assert_msg(strstr(redisRouteErrorText(session), "certificate is not trusted") != NULL, "%s",
                  redisRouteErrorText(session));
    redisRouteClose(session);
}
END_TEST

/* A child has connections of its own; its parent's streams go on as if it were not there. */
START_TEST(test_fork)
{
    redisContext *c, *untouched;
    int status;
    pid_t child;

    configure("ca.pem");
    c = connect_first();
    untouched = connect_first();
    use(c, "parent");
    child = fork();
    if (child == 0) {
        for (int round = 0; round < 3; round++)
            for (int i = 0; i < KEYS; i++) {
                redisReply *reply = redisCommand(c, "INCR tls:child:%d", i);

                if (reply == NULL || reply->type != REDIS_REPLY_INTEGER ||
                    reply->integer != round + 1)
                    _exit(1);
                freeReplyObject(reply);
            }
        redisFree(c);
        redisFree(untouched);
        _exit(0);
    }
    use(c, "meanwhile");
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    use(c, "afterwards");
    use(untouched, "untouched");
    redisFree(c);
    redisFree(untouched);
}
END_TEST

/* --- who is trusted --- */

START_TEST(test_another_authority)
{
    configure("other-ca.pem");
    expect_failure(connect_first(), "the server's certificate is not trusted (");
}
END_TEST

START_TEST(test_the_systems_authorities)
{
    configure(NULL);
    expect_failure(connect_first(), "the server's certificate is not trusted (");
}
END_TEST

START_TEST(test_another_name)
{
    configure("ca.pem");
    setenv("REDISROUTE_TLS_SERVER_NAME", "elsewhere.test", 1);
    expect_failure(connect_first(), "the server's certificate is not for \"elsewhere.test\"");
}
END_TEST

START_TEST(test_the_right_name)
{
    redisContext *c;

    configure("ca.pem");
    setenv("REDISROUTE_TLS_SERVER_NAME", "redis.test", 1);
    c = connect_first();
    use(c, "named");
    redisFree(c);
}
END_TEST

START_TEST(test_without_verification)
{
    redisContext *c;

    configure("other-ca.pem");
    setenv("REDISROUTE_TLS_VERIFY", "false", 1);
    c = connect_first();
    use(c, "trusting");
    redisFree(c);
}
END_TEST

START_TEST(test_asynchronous_failure)
{
    struct async_client client = {0};
    struct loop *loop = loop_of(_i);

    configure("other-ca.pem");
    async_open(&client, loop, cluster_port(cluster, 0));
    LOOP_UNTIL(loop, client.connects == 1);
    ck_assert_int_eq(client.connect_status, REDIS_ERR);
    ck_assert_msg(strstr(client.errstr, "certificate is not trusted") != NULL, "%s", client.errstr);
    loop_destroy(loop);
}
END_TEST

/* Whoever asked for TLS gets no connection without it. */
START_TEST(test_a_bad_environment)
{
    configure("nowhere.pem");
    expect_failure(connect_first(), "nowhere.pem\": No such file or directory");
}
END_TEST

START_TEST(test_no_tls_at_a_tls_port)
{
    redisContext *c = connect_first();
    redisReply *reply = redisCommand(c, "PING");

    ck_assert_ptr_null(reply); /* as under hiredis alone: the server hangs up */
    redisFree(c);
}
END_TEST

START_TEST(test_a_client_certificate)
{
    redisContext *c;

    configure("ca.pem");
    identify("client");
    c = connect_first();
    use(c, "client");
    redisFree(c);
}
END_TEST

START_TEST(test_no_client_certificate)
{
    configure("ca.pem");
    expect_failure(connect_first(), "certificate required");
}
END_TEST

START_TEST(test_a_strangers_certificate)
{
    configure("ca.pem");
    identify("stranger");
    expect_failure(connect_first(), "no TLS: ");
}
END_TEST

static void show(int node, const char *certificate)
{
    const char *folder = certificates_path(certificates);
    char *said =
        cluster_command(cluster, node, "CONFIG SET tls-cert-file %s/%s.pem tls-key-file %s/%s.key",
                        folder, certificate, folder, certificate);

    ck_assert_str_eq(said, "OK");
    free(said);
}

/* Time does not heal it: commands for that node fail at once, and those for others do not notice.
 */
START_TEST(test_one_node_is_not_trusted)
{
    char *bad = cluster_key_for(cluster, 2, 0), *good = cluster_key_for(cluster, 1, 0);
    int64_t before;
    redisContext *c;
    bool is_well = false;

    configure("ca.pem");
    show(2, "elsewhere");
    c = connect_first();
    EXPECT(c, "OK", "SET %s v", good);
    before = now_ms();
    for (int i = 0; i < 5; i++)
        EXPECT_ERROR(c, "certificate is not for \"127.0.0.1\"", "SET %s v", bad);
    EXPECT_ERROR(c, "UNREACHABLE redisroute:", "MGET %s %s", bad, good);
    ck_assert_int_lt(now_ms() - before, QUICKLY_MS);
    EXPECT(c, "v", "GET %s", good);
    show(2, "server");
    while (!is_well) {
        redisReply *reply = redisCommand(c, "SET %s v", bad);

        ck_assert_ptr_nonnull(reply);
        is_well = reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
        ck_assert_int_lt(now_ms() - before, UNTIL_LIMIT_MS);
        pause_ms(20);
    }
    redisFree(c);
    free(bad);
    free(good);
}
END_TEST

/* --- when nodes die --- */

/* Of a write that was on its way to a node when that died nobody knows. */
static void set_in_the_end(redisContext *c, const char *key, const char *value)
{
    bool is_set = false;

    for (int tries = 0; !is_set && tries < 3; tries++) {
        redisReply *reply = redisCommand(c, "SET %s %s", key, value);

        ck_assert_msg(reply != NULL, "%s", c->errstr);
        is_set = reply->type == REDIS_REPLY_STATUS;
        ck_assert_msg(is_set || strncmp(reply->str, "UNREACHABLE redisroute:", 23) == 0, "%s",
                      reply->str);
        freeReplyObject(reply);
    }
    ck_assert(is_set);
}

START_TEST(test_failover)
{
    redisContext *c;
    char *key = cluster_key_for(cluster, 0, 0);
    int new_master;

    configure("ca.pem");
    c = connect_port(cluster_port(cluster, 1));
    EXPECT(c, "OK", "SET %s before", key);
    cluster_signal(cluster, 0, SIGKILL);
    set_in_the_end(c, key, "after");
    EXPECT(c, "after", "GET %s", key);
    new_master = cluster_await_failover(cluster, 0);
    ck_assert_int_ge(new_master, 3);
    use(c, "failed over");
    redisFree(c);
    free(key);
}
END_TEST

START_TEST(test_asynchronous_failover)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(LOOP_LIBUV);
    char *key = cluster_key_for(cluster, 1, 0);

    configure("ca.pem");
    async_open(&client, loop, cluster_port(cluster, 2));
    async_expect(&client, "OK", "SET %s 0", key);
    async_finish(&client);
    cluster_signal(cluster, 1, SIGKILL);
    async_expect(&client, "0", "GET %s", key); /* a read is repeated */
    async_finish(&client);
    async_expect(&client, "1", "INCR %s", key);
    async_expect(&client, "2", "INCR %s", key);
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
    free(key);
}
END_TEST

/* Readers say READONLY, and the keeper asks every node how it is: by TLS, too. */
START_TEST(test_replicas_are_read)
{
    redisContext *c;
    char *key = cluster_key_for(cluster, 0, 0);
    long before = cluster_calls(cluster, 3, "get");

    configure("ca.pem");
    setenv("REDISROUTE_READ_POLICY", "REPLICA", 1);
    c = connect_first();
    EXPECT(c, "OK", "SET %s v", key);
    UNTIL(cluster_says(cluster, 0, "1", "WAIT 1 1000"));
    for (int i = 0; i < 20; i++)
        EXPECT(c, "v", "GET %s", key);
    ck_assert_int_eq(cluster_calls(cluster, 3, "get") - before, 20);
    UNTIL(cluster_calls(cluster, 3, "info") > 0);
    redisFree(c);
    free(key);
}
END_TEST

/* --- servers that are no cluster --- */

START_TEST(test_a_plain_server)
{
    redisContext *c;

    configure("ca.pem");
    c = connect_port(server_port(server));
    use(c, "plain");
    EXPECT(c, "OK", "SELECT 3"); /* nothing of ours in between */
    EXPECT(c, "OK", "SET three 3");
    EXPECT(c, "3", "GET three");
    redisFree(c);
    c = connect_port(server_port(server)); /* which is known to be plain by now */
    use(c, "again");
    redisFree(c);
}
END_TEST

START_TEST(test_a_plain_server_asynchronously)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);

    configure("ca.pem");
    async_open(&client, loop, server_port(server));
    async_expect(&client, "OK", "SELECT 3");
    async_expect(&client, "OK", "SET three 3");
    async_expect(&client, "3", "GET three");
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

START_TEST(test_a_server_without_tls)
{
    redisContext *c;
    int64_t before;

    configure("ca.pem");
    setenv("REDISROUTE_CONNECT_TIMEOUT", "1s", 1);
    c = connect_port(server_port(other_server));
    before = now_ms();
    ck_assert_ptr_null(redisCommand(c, "PING"));
    ck_assert_int_ne(c->err, 0);
    ck_assert_int_lt(now_ms() - before, QUICKLY_MS);
    redisFree(c);
}
END_TEST

static struct server *start_with(const char *certificate)
{
    return server_start(
        &(struct server_options){.tls = certificates, .tls_certificate = certificate});
}

START_TEST(test_an_expired_certificate)
{
    struct server *expired = start_with("expired");

    configure("ca.pem");
    expect_failure(connect_port(server_port(expired)), "certificate has expired");
    server_stop(expired);
}
END_TEST

START_TEST(test_a_certificate_of_somebody_else)
{
    struct server *elsewhere = start_with("elsewhere");

    configure("ca.pem");
    expect_failure(connect_port(server_port(elsewhere)), "certificate is not for \"127.0.0.1\"");
    server_stop(elsewhere);
}
END_TEST

/* --- nothing without TLS --- */

static bool is_announced(int by, int port)
{
    char *nodes = cluster_command(cluster, by, "CLUSTER SHARDS"), text[32];
    bool is;

    snprintf(text, sizeof text, "tls-port\n%d\n", port);
    is = strstr(nodes, text) != NULL;
    free(nodes);
    return is;
}

/* Every connection to the cluster goes by a relay: the nodes announce its ports. */
START_TEST(test_no_plain_byte)
{
    struct relay *relays[3];
    redisContext *c;
    int connections = 0;

    for (int i = 0; i < 3; i++) {
        relays[i] = relay_start(cluster_port(cluster, i));
        free(cluster_command(cluster, i, "CONFIG SET cluster-announce-tls-port %d",
                             relay_port(relays[i])));
    }
    for (int by = 0; by < 3; by++)
        for (int i = 0; i < 3; i++)
            UNTIL(is_announced(by, relay_port(relays[i])));
    configure("ca.pem");
    c = connect_port(relay_port(relays[0]));
    use(c, "relayed");
    cluster_migrate(cluster, cluster_slot("tls:relayed:1"),
                    cluster_owner_of_slot(cluster, 0, cluster_slot("tls:relayed:1")),
                    (cluster_owner_of_slot(cluster, 0, cluster_slot("tls:relayed:1")) + 1) % 3);
    EXPECT(c, "1", "GET tls:relayed:1"); /* and the keeper asks all nodes */
    redisFree(c);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(relay_plain_bytes(relays[i]), 0);
        connections += relay_connections(relays[i]);
    }
    ck_assert_int_ge(connections, 4); /* the question what it is, and a link to each node */
    for (int i = 0; i < 3; i++)
        relay_stop(relays[i]);
}
END_TEST

/* The relay does see what is no TLS. */
START_TEST(test_a_plain_byte_is_seen)
{
    struct relay *relay = relay_start(server_port(other_server));
    redisContext *c = connect_port(relay_port(relay));

    EXPECT(c, "PONG", "PING");
    ck_assert_int_gt(relay_plain_bytes(relay), 0);
    redisFree(c);
    relay_stop(relay);
}
END_TEST

/* --- files --- */

static char yaml_path[96];
static struct folder *yaml_folder;

static void begin_file(void)
{
    yaml_folder = folder_create();
    snprintf(yaml_path, sizeof yaml_path, "%s/redisroute.yaml", folder_path(yaml_folder));
    setenv("REDISROUTE_CONFIG", yaml_path, 1);
}

static void write_file(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void write_file(const char *format, ...)
{
    char beside[128];
    FILE *out;
    va_list args;

    snprintf(beside, sizeof beside, "%s.new", yaml_path);
    out = fopen(beside, "w");
    MUST(out);
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    MUST(fclose(out) == 0 && rename(beside, yaml_path) == 0);
}

static const char listener_text[] = "listeners:\n"
                                    "- address: 127.0.0.9:6379\n"
                                    "  redis_proxy:\n"
                                    "    settings: {op_timeout: 30s}\n"
                                    "    prefix_routes: {catch_all_route: {cluster: main}}\n";

/* As Envoy and Istio say it. */
static const char envoy_text[] =
    "clusters:\n"
    "- name: main\n"
    "  endpoints: [127.0.0.1:%d]\n"
    "  transport_socket:\n"
    "    name: envoy.transport_sockets.tls\n"
    "    typed_config:\n"
    "      '@type': "
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n"
    "      sni: redis.test\n"
    "      common_tls_context:\n"
    "        tls_params: {tls_minimum_protocol_version: TLSv1_3}\n"
    "        tls_certificates:\n"
    "        - certificate_chain: {filename: '%s'}\n"
    "          private_key: {filename: '%s'}\n"
    "        validation_context:\n"
    "          trusted_ca: {filename: '%s'}\n"
    "          match_typed_subject_alt_names:\n"
    "          - {san_type: DNS, matcher: {exact: %s}}\n";

START_TEST(test_envoys_words)
{
    char *clusters;
    redisContext *c;

    begin_file();
    MUST(asprintf(&clusters, envoy_text, cluster_port(cluster, 0), file("client.pem"),
                  file("client.key"), file("ca.pem"), _i == 0 ? "redis.test" : "other.test") > 0);
    write_file("%s%s", listener_text, clusters);
    free(clusters);
    c = redisConnect("127.0.0.9", 6379);
    ck_assert_msg(c && !c->err, "%s", c ? c->errstr : "");
    if (_i == 0) {
        use(c, "envoy");
        redisFree(c);
    } else {
        expect_failure(c, "certificate has none of the names");
    }
    folder_remove(yaml_folder);
}
END_TEST

static void replace_file(const char *name, const char *by)
{
    char *command;

    MUST(asprintf(&command, "cp %s %s.new && mv %s.new %s", file(by), file(name), file(name),
                  file(name)) > 0);
    MUST(system(command) == 0);
    free(command);
}

/* A session takes a new certificate authority for the connections that it opens from then on. */
START_TEST(test_a_change)
{
    static const char text[] =
        "clusters:\n- name: main\n  endpoints: [127.0.0.1:%d]\n"
        "  tls: true\n  tls_ca: %s\n"
        "listeners:\n- address: 127.0.0.9:6379\n  redis_proxy: {settings: "
        "{op_timeout: 2s}, prefix_routes: {catch_all_route: {cluster: main}}}\n";
    redisContext *c;
    redisReply *reply = NULL;

    begin_file();
    write_file(text, cluster_port(cluster, 0), file("now.pem"));
    replace_file("now.pem", "ca.pem");
    c = redisConnect("127.0.0.9", 6379);
    ck_assert_msg(c && !c->err, "%s", c ? c->errstr : "");
    use(c, "before");
    replace_file("now.pem", "other-ca.pem"); /* the same name, other content */
    /* New contexts fail as soon as it is in force … */
    UNTIL(({
        redisContext *other = redisConnect("127.0.0.9", 6379);
        redisReply *said = other && !other->err ? redisCommand(other, "GET x") : NULL;
        bool failed = said == NULL || said->type == REDIS_REPLY_ERROR;

        freeReplyObject(said);
        redisFree(other);
        failed;
    }));
    use(c, "open connections stay");
    /* … and then it is right again. */
    write_file(text, cluster_port(cluster, 0), file("ca.pem"));
    UNTIL(({
        redisContext *other = redisConnect("127.0.0.9", 6379);
        bool good;

        reply = other && !other->err ? redisCommand(other, "GET x") : NULL;
        good = reply != NULL && reply->type != REDIS_REPLY_ERROR;
        freeReplyObject(reply);
        redisFree(other);
        good;
    }));
    use(c, "after");
    redisFree(c);
    folder_remove(yaml_folder);
}
END_TEST

/* Files are read when the configuration is. */
START_TEST(test_check)
{
    static const struct {
        const char *ca, *certificate, *key, *complaint;
    } rows[] = {
        {"ca.pem", "client.pem", "client.key", ""},
        {"client.key", "client.pem", "client.key", "client.key\": there is no certificate here"},
        {"ca.pem", "client.pem", "server.key",
         "server.key\": the key does not belong to the certificate"},
        {"ca.pem", "client.pem", "client.pem", "client.pem\": there is no private key here"},
        {"ca.pem", "none.pem", "client.key", "none.pem\": No such file or directory"},
    };
    char why[512];

    begin_file();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_file("tls: true\ntls_ca: %s\ntls_certificate: %s\ntls_key: %s\n", file(rows[i].ca),
                   file(rows[i].certificate), file(rows[i].key));
        ck_assert_int_eq(redisRouteCheckConfig(yaml_path, why, sizeof why),
                         *rows[i].complaint ? -1 : 0);
        ck_assert_msg(strstr(why, rows[i].complaint) != NULL, "%s", why);
        ck_assert(!*rows[i].complaint || strstr(why, "redisroute.yaml:") != NULL);
    }
    folder_remove(yaml_folder);
}
END_TEST

/* --- mirrors --- */

START_TEST(test_mirror)
{
    redisContext *c;
    long before = cluster_calls_of_masters(cluster, "set");

    begin_file();
    write_file(
        "clusters:\n- {name: main, endpoints: ['127.0.0.1:%d']}\n"
        "- {name: copy, endpoints: ['127.0.0.1:%d'], tls: true, tls_ca: '%s'}\n"
        "listeners:\n- address: 127.0.0.9:6379\n  redis_proxy: {settings: {op_timeout: 30s}, "
        "prefix_routes: {catch_all_route: {cluster: main, request_mirror_policy: "
        "[{cluster: copy, exclude_read_commands: true}]}}}\n",
        server_port(other_server), cluster_port(cluster, 0), file("ca.pem"));
    c = redisConnect("127.0.0.9", 6379);
    ck_assert_msg(c && !c->err, "%s", c ? c->errstr : "");
    use(c, "mirrored");
    UNTIL(cluster_calls_of_masters(cluster, "set") - before == KEYS);
    redisFree(c);
    folder_remove(yaml_folder);
}
END_TEST

/* Keys of one connection on a cluster by TLS, and on a server without. */
START_TEST(test_routes)
{
    static const char text[] =
        "clusters:\n- {name: main, endpoints: ['localhost:%d'], tls: true, tls_ca: '%s'}\n"
        "- {name: plain, endpoints: ['127.0.0.1:%d']}\n"
        "listeners:\n- address: 127.0.0.9:6379\n  redis_proxy: {settings: {op_timeout: 30s}, "
        "prefix_routes: {routes: [{prefix: 'tls:', cluster: %s}], catch_all_route: {cluster: "
        "%s}}}\n";
    redisContext *c;

    begin_file();
    write_file(text, cluster_port(cluster, 0), file(_i < 2 ? "ca.pem" : "other-ca.pem"),
               server_port(other_server), _i == 1 ? "plain" : "main", _i == 1 ? "main" : "plain");
    c = redisConnect("127.0.0.9", 6379);
    ck_assert_msg(c && !c->err, "%s", c ? c->errstr : "");
    if (_i < 2) {
        use(c, "routed");
        EXPECT(c, "OK", "MSET tls:x 1 other:y 2");
        EXPECT(c, "1\n2", "MGET tls:x other:y");
    } else {
        EXPECT(c, "OK", "SET other:y 2");
        EXPECT_ERROR(c, "certificate is not trusted", "GET tls:x");
        EXPECT_ERROR(c, "certificate is not trusted", "GET tls:x");
        EXPECT(c, "2", "GET other:y");
    }
    redisFree(c);
    folder_remove(yaml_folder);
}
END_TEST

static void setup_mirror(void)
{
    setup_cluster();
    other_server = server_start(&(struct server_options){0});
}

/* --- both ports --- */

/* With and without TLS the same nodes are two clusters, each of its own ports. */
START_TEST(test_both_ports)
{
    redisContext *with, *without;

    begin_file();
    write_file("clusters:\n- {name: main, endpoints: ['127.0.0.1:%d'], tls: true, tls_ca: '%s'}\n"
               "listeners:\n- address: 127.0.0.9:6379\n  redis_proxy: {settings: {op_timeout: 5s}, "
               "prefix_routes: {catch_all_route: {cluster: main}}}\n",
               cluster_port(cluster, 0), file("ca.pem"));
    with = redisConnect("127.0.0.9", 6379);
    without = redisConnect("127.0.0.1", server_plain_port(cluster_server(cluster, 0)));
    ck_assert_msg(with && !with->err && without && !without->err, "no connection");
    for (int i = 0; i < 3; i++) {
        use(with, "with");
        use(without, "without");
    }
    EXPECT(with, "7", "GET tls:without:7");
    EXPECT(without, "7", "GET tls:with:7");
    redisFree(with);
    redisFree(without);
    folder_remove(yaml_folder);
}
END_TEST

/* The server's end of the connection is at that port. */
static bool is_at_port(redisContext *c, int port)
{
    redisReply *reply = redisCommand(c, "CLIENT INFO");
    char text[48];
    bool is;

    ck_assert_msg(reply && reply->type != REDIS_REPLY_ERROR, "%s", reply ? reply->str : c->errstr);
    snprintf(text, sizeof text, "laddr=127.0.0.1:%d ", port);
    is = strstr(reply->str, text) != NULL;
    freeReplyObject(reply);
    return is;
}

/* The endpoints' ports change to those that speak TLS, and back: open sessions go along. */
START_TEST(test_an_open_session_goes_to_the_other_ports)
{
    int plain = server_plain_port(cluster_server(cluster, 0)), secure = cluster_port(cluster, 0);
    char *clusters;
    redisContext *c;

    begin_file();
    MUST(asprintf(&clusters, envoy_text, secure, file("client.pem"), file("client.key"),
                  file("ca.pem"), "redis.test") > 0);
    write_file("%sclusters:\n- {name: main, endpoints: [127.0.0.1:%d]}\n", listener_text, plain);
    c = redisConnect("127.0.0.9", 6379);
    ck_assert_msg(c && !c->err, "%s", c ? c->errstr : "");
    use(c, "first");
    ck_assert(is_at_port(c, plain));
    write_file("%s%s", listener_text, clusters);
    UNTIL(is_at_port(c, secure));
    use(c, "second");
    write_file("%sclusters:\n- {name: main, endpoints: [127.0.0.1:%d]}\n", listener_text, plain);
    UNTIL(is_at_port(c, plain));
    use(c, "third");
    redisFree(c);
    free(clusters);
    folder_remove(yaml_folder);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name, void (*set_up)(void))
{
    return suite_case(suite, name, set_up, teardown);
}

int main(void)
{
    Suite *suite = suite_create("tls");
    TCase *tc;

    tc = add_case(suite, "cluster", setup_cluster);
    tcase_add_test(tc, test_commands_and_pipelines);
    tcase_add_test(tc, test_large_values);
    tcase_add_test(tc, test_by_a_name);
    tcase_add_test(tc, test_a_slot_moves);
    tcase_add_loop_test(tc, test_asynchronously, 0, 2 * LOOP_KINDS);
    tcase_add_test(tc, test_messages);
    tcase_add_test(tc, test_a_byte_session);
    tcase_add_test(tc, test_fork);
    tcase_add_loop_test(tc, test_envoys_words, 0, 2);
    tcase_add_test(tc, test_a_change);
    tcase_add_test(tc, test_check);
    tc = add_case(suite, "trust", setup_cluster);
    tcase_add_test(tc, test_another_authority);
    tcase_add_test(tc, test_the_systems_authorities);
    tcase_add_test(tc, test_another_name);
    tcase_add_test(tc, test_the_right_name);
    tcase_add_test(tc, test_without_verification);
    tcase_add_loop_test(tc, test_asynchronous_failure, 0, 2 * LOOP_KINDS);
    tcase_add_test(tc, test_a_bad_environment);
    tcase_add_test(tc, test_no_tls_at_a_tls_port);
    tcase_add_test(tc, test_one_node_is_not_trusted);
    tc = add_case(suite, "clients", setup_clients);
    tcase_add_test(tc, test_a_client_certificate);
    tcase_add_test(tc, test_no_client_certificate);
    tcase_add_test(tc, test_a_strangers_certificate);
    tc = add_case(suite, "failover", setup_replicas);
    tcase_add_test(tc, test_replicas_are_read);
    tcase_add_test(tc, test_failover);
    tcase_add_test(tc, test_asynchronous_failover);
    tc = add_case(suite, "plain", setup_server);
    tcase_add_test(tc, test_a_plain_server);
    tcase_add_loop_test(tc, test_a_plain_server_asynchronously, 0, LOOP_KINDS);
    tcase_add_test(tc, test_a_server_without_tls);
    tcase_add_test(tc, test_an_expired_certificate);
    tcase_add_test(tc, test_a_certificate_of_somebody_else);
    tcase_add_test(tc, test_a_plain_byte_is_seen);
    tc = add_case(suite, "relays", setup_cluster);
    tcase_add_test(tc, test_no_plain_byte);
    tc = add_case(suite, "mirror", setup_mirror);
    tcase_add_test(tc, test_mirror);
    tcase_add_loop_test(tc, test_routes, 0, 3);
    tc = add_case(suite, "both ports", setup_both);
    tcase_add_test(tc, test_both_ports);
    tcase_add_test(tc, test_an_open_session_goes_to_the_other_ports);
    return suite_run(suite);
}
