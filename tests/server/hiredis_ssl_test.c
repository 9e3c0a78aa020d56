/* redisroute-test: hiredis 1.2
 * redisroute-test: ssl
 * hiredis' own TLS (redisInitiateSSL …) on contexts that are routed, and on those that are not. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <signal.h>
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
#include "../support/loop.h"
#include "../support/relay.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { KEYS = 200, QUICKLY_MS = 15000 };

static struct certificates *certificates;
static struct cluster *cluster;
static struct server *server;

static const char *file(const char *name)
{
    return certificates_file(certificates, name);
}

static void setup(void)
{
    certificates = certificates_create();
    cluster = cluster_start(&(struct cluster_options){
        .tls = certificates, .replicas = 1, .node_timeout_ms = 2000, .tls_asks_clients = true});
    server = server_start(
        &(struct server_options){.tls = certificates, .tls_asks_clients = true});
}

static void teardown(void)
{
    server_stop(server);
    cluster_stop(cluster);
    certificates_remove(certificates);
}

static redisSSLContext *context(const char *ca, const char *name)
{
    redisSSLContextError error = REDIS_SSL_CTX_NONE;
    char certificate[256], key[256];
    redisSSLContext *made;

    snprintf(certificate, sizeof certificate, "%s/%s.pem", certificates_path(certificates), name);
    snprintf(key, sizeof key, "%s/%s.key", certificates_path(certificates), name);
    made = redisCreateSSLContext(file(ca), NULL, certificate, key, "redis.test", &error);
    ck_assert_msg(made != NULL, "%s", redisSSLContextGetError(error));
    return made;
}

static redisContext *connect_tls(int port, redisSSLContext *ssl)
{
    redisContext *c = connect_port(port);

    ck_assert_msg(redisInitiateSSLWithContext(c, ssl) == REDIS_OK, "%s", c->errstr);
    ck_assert_int_eq(c->err, 0);
    return c;
}

static void use(redisContext *c, const char *name)
{
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "SET ssl:%s:%d %d", name, i, i);
    for (int i = 0; i < KEYS; i++)
        EXPECT_NEXT(c, "OK");
    for (int i = 0; i < KEYS; i++) {
        char expected[16];

        snprintf(expected, sizeof expected, "%d", i);
        EXPECT(c, expected, "GET ssl:%s:%d", name, i);
    }
}

START_TEST(test_a_cluster)
{
    redisSSLContext *ssl = context("ca.pem", "client");
    redisContext *c = connect_tls(cluster_port(cluster, 0), ssl);
    redisContext *second = connect_tls(cluster_port(cluster, 1), ssl);

    redisFreeSSLContext(ssl); /* as under hiredis: connections have what they need of it */
    use(c, "first");
    use(second, "second");
    redisFree(c);
    use(second, "third");
    redisFree(second);
}
END_TEST

/* All that goes to a node that is dialled, and to the others. */
START_TEST(test_a_failover)
{
    redisSSLContext *ssl = context("ca.pem", "client");
    redisContext *c = connect_tls(cluster_port(cluster, 1), ssl);
    char *key = cluster_key_for(cluster, 0, 0);
    redisReply *reply;

    EXPECT(c, "OK", "SET %s before", key);
    UNTIL(cluster_says(cluster, 0, "1", "WAIT 1 1000"));
    cluster_signal(cluster, 0, SIGKILL);
    EXPECT(c, "before", "GET %s", key);
    reply = redisCommand(c, "SET %s after", key);
    ck_assert_ptr_nonnull(reply);
    freeReplyObject(reply);
    EXPECT(c, "after", "GET %s", key);
    redisFree(c);
    redisFreeSSLContext(ssl);
    free(key);
}
END_TEST

START_TEST(test_reconnect)
{
    redisSSLContext *ssl = context("ca.pem", "client");
    redisContext *c = connect_tls(cluster_port(cluster, 1), ssl);

    use(c, "before");
    ck_assert_int_eq(redisReconnect(c), REDIS_OK);
    ck_assert_msg(redisInitiateSSLWithContext(c, ssl) == REDIS_OK, "%s", c->errstr);
    use(c, "after");
    redisFree(c);
    redisFreeSSLContext(ssl);
}
END_TEST

/* Errors are hiredis' own: of the call, with words. */
START_TEST(test_another_authority)
{
    int ports[] = {cluster_port(cluster, 1), server_port(server)};
    redisSSLContext *ssl = context("other-ca.pem", "client");
    redisContext *c = connect_port(ports[_i]);
    int64_t before = now_ms();

    ck_assert_int_eq(redisInitiateSSLWithContext(c, ssl), REDIS_ERR);
    ck_assert_int_eq(c->err, REDIS_ERR_IO);
    ck_assert_msg(strncmp(c->errstr, "SSL_connect failed: ", 20) == 0, "%s", c->errstr);
    ck_assert_msg(strstr(c->errstr, "certificate") != NULL, "%s", c->errstr);
    ck_assert_int_lt(now_ms() - before, QUICKLY_MS);
    redisFree(c);
    redisFreeSSLContext(ssl);
}
END_TEST

START_TEST(test_too_late)
{
    redisSSLContext *ssl = context("ca.pem", "client");
    redisContext *c = connect_tls(cluster_port(cluster, 1), ssl);

    EXPECT(c, "PONG", "PING");
    ck_assert_int_eq(redisInitiateSSLWithContext(c, ssl), REDIS_ERR);
    ck_assert_msg(strstr(c->errstr, "TLS comes before the first command") != NULL, "%s", c->errstr);
    redisFree(c);
    redisFreeSSLContext(ssl);
}
END_TEST

START_TEST(test_asynchronously)
{
    redisSSLContext *ssl = context("ca.pem", "client");
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);

    async_open(&client, loop, cluster_port(cluster, 1));
    ck_assert_int_eq(redisInitiateSSLWithContext(&client.ac->c, ssl), REDIS_OK);
    for (int i = 0; i < KEYS; i++) {
        char expected[16];

        snprintf(expected, sizeof expected, "%d", i);
        async_expect(&client, "OK", "SET ssl:async:%d %d", i, i);
        async_expect(&client, expected, "GET ssl:async:%d", i);
    }
    async_finish(&client);
    ck_assert_int_eq(client.connect_status, REDIS_OK);
    async_close(&client);
    loop_destroy(loop);
    redisFreeSSLContext(ssl);
}
END_TEST

START_TEST(test_asynchronous_failure)
{
    redisSSLContext *ssl = context("other-ca.pem", "client");
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);

    async_open(&client, loop, cluster_port(cluster, 1));
    ck_assert_int_eq(redisInitiateSSLWithContext(&client.ac->c, ssl), REDIS_OK);
    LOOP_UNTIL(loop, client.connects == 1);
    ck_assert_int_eq(client.connect_status, REDIS_ERR);
    ck_assert_msg(strstr(client.errstr, "certificate is not trusted") != NULL, "%s", client.errstr);
    loop_destroy(loop);
    redisFreeSSLContext(ssl);
}
END_TEST

/* The first context finds out what it is; later ones are hiredis' alone. */
START_TEST(test_a_plain_server)
{
    redisSSLContext *ssl = context("ca.pem", "client");

    for (int i = 0; i < 3; i++) {
        redisContext *c = connect_tls(server_port(server), ssl);

        use(c, "plain");
        EXPECT(c, "OK", "SELECT 3");
        EXPECT(c, "OK", "SET three 3");
        EXPECT(c, "3", "GET three");
        redisFree(c);
    }
    redisFreeSSLContext(ssl);
}
END_TEST

/* What is no endpoint of ours: hiredis' own TLS, untouched. */
START_TEST(test_off)
{
    redisSSLContext *ssl = context("ca.pem", "client");
    redisContext *c;

    setenv("REDISROUTE_OFF", "1", 1);
    c = connect_tls(server_port(server), ssl);
    use(c, "off");
    redisFree(c);
    redisFreeSSLContext(ssl);
}
END_TEST

START_TEST(test_no_plain_byte)
{
    struct relay *relay = relay_start(cluster_port(cluster, 1));
    redisSSLContext *ssl = context("ca.pem", "client");
    redisContext *c = connect_tls(relay_port(relay), ssl);

    use(c, "relayed");
    redisFree(c);
    ck_assert_int_ge(relay_connections(relay), 2); /* the program's, and the question what it is */
    ck_assert_int_eq(relay_plain_bytes(relay), 0);
    relay_stop(relay);
    redisFreeSSLContext(ssl);
}
END_TEST

START_TEST(test_fork)
{
    redisSSLContext *ssl = context("ca.pem", "client");
    redisContext *c = connect_tls(cluster_port(cluster, 1), ssl), *untouched;
    int status;
    pid_t child;

    untouched = connect_tls(cluster_port(cluster, 2), ssl);
    use(c, "parent");
    child = fork();
    if (child == 0) {
        for (int i = 0; i < KEYS; i++) {
            redisReply *reply = redisCommand(i % 2 ? c : untouched, "SET ssl:child:%d v", i);

            if (reply == NULL || reply->type != REDIS_REPLY_STATUS)
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
    redisFreeSSLContext(ssl);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hiredis_ssl");
    TCase *tc = suite_case(suite, "hiredis_ssl", setup, teardown);

    tcase_add_test(tc, test_a_cluster);
    tcase_add_test(tc, test_reconnect);
    tcase_add_loop_test(tc, test_another_authority, 0, 2);
    tcase_add_test(tc, test_too_late);
    tcase_add_loop_test(tc, test_asynchronously, 0, LOOP_KINDS);
    tcase_add_loop_test(tc, test_asynchronous_failure, 0, LOOP_KINDS);
    tcase_add_test(tc, test_a_plain_server);
    tcase_add_test(tc, test_off);
    tcase_add_test(tc, test_no_plain_byte);
    tcase_add_test(tc, test_fork);
    tcase_add_test(tc, test_a_failover); /* the last: a node is dead from here on */
    return suite_run(suite);
}
