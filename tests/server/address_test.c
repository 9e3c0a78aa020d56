/* Where nodes say they are: names, addresses of IPv6, addresses behind a translation, nothing at all.
 * And names are not looked up where an event loop would stand still for it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/names.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { MASTERS = 3, KEYS = 60, SLOW_MS = 400 };

static struct cluster *cluster;

static void start(const char *extra)
{
    cluster = cluster_start(&(struct cluster_options){.extra = extra});
}

static void teardown(void)
{
    cluster_stop(cluster);
    cluster = NULL;
}

static void configure(const char *parameter)
{
    for (int node = 0; node < MASTERS; node++)
        ck_assert(cluster_says(cluster, node, "OK", "CONFIG SET %s", parameter));
}

static void start_with_names(const char *name)
{
    char parameter[128];
    names_set("nodes.test", "127.0.0.1");
    names_set("nowhere.test", NULL);
    start("cluster-preferred-endpoint-type hostname\n");
    snprintf(parameter, sizeof parameter, "cluster-announce-hostname %s", name);
    configure(parameter);
    cluster_await_in_slots(cluster, name);
}

static void use(redisContext *c)
{
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET address:%d %d", i, i);
    for (int i = 0; i < KEYS; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "%d", i);
        EXPECT(c, expected, "GET address:%d", i);
    }
}

/* --- names --- */

START_TEST(test_names)
{
    redisContext *c;
    start_with_names("nodes.test");
    names_take_ms(50);
    c = connect_port(cluster_port(cluster, 0));
    use(c);
    ck_assert_int_ge(names_asked(), 1);
    ck_assert_int_le(names_asked(),
                     2); /* one name, looked up once or so, for all nodes and connections */
    for (int node = 0; node < MASTERS; node++)
        free(cluster_command(cluster, node, "CLIENT KILL TYPE normal"));
    names_set("nodes.test", NULL); /* what was known stays good */
    use(c);
    redisFree(c);
}
END_TEST

START_TEST(test_names_do_not_stop_the_loop)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);

    names_watch_this_thread();
    start_with_names("nodes.test");
    names_take_ms(SLOW_MS);
    async_open(&client, loop, cluster_port(cluster, 0));
    for (int i = 0; i < KEYS; i++)
        async_expect(&client, "OK", "SET address:%d x", i);
    async_finish(&client);
    ck_assert_int_ge(names_asked(), 1);
    ck_assert_int_eq(names_asked_here(), 0);
    ck_assert_int_lt(loop_longest_turn_ms(loop), SLOW_MS - 100);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

/* A name that is still being looked up does not make a replica unfit. */
START_TEST(test_replicas_by_name)
{
    redisContext *c;
    char *key;

    names_set("nodes.test", "127.0.0.1");
    cluster = cluster_start(&(struct cluster_options){
        .masters = 3, .replicas = 1, .extra = "cluster-preferred-endpoint-type hostname\n"});
    for (int node = 0; node < cluster_size(cluster); node++)
        ck_assert(cluster_says(cluster, node, "OK",
                               "CONFIG SET cluster-announce-hostname nodes.test"));
    cluster_await_in_slots(cluster, "nodes.test");
    key = cluster_key_for(cluster, 1, 0);
    names_take_ms(100);
    setenv("REDISROUTE_READ_POLICY", "REPLICA", 1);
    c = connect_port(cluster_port(cluster, 0));
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "(nil)", "GET %s:absent:%d", key, i);
    redisFree(c);
    free(key);
}
END_TEST

/* Subscriptions, too, go over connections to names. */
START_TEST(test_subscription_over_a_name)
{
    redisContext *c, *other;
    redisReply *reply = NULL;

    start_with_names("nodes.test");
    names_take_ms(50);
    c = connect_port(cluster_port(cluster, 0));
    other = connect_port(cluster_port(cluster, 1));
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    EXPECT(other, "1", "PUBLISH news hello");
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    EXPECT_REPLY(reply, "message\nnews\nhello");
    freeReplyObject(reply);
    redisFree(c);
    redisFree(other);
}
END_TEST

START_TEST(test_unknown_name)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i % LOOP_KINDS);
    redisContext *c;

    setenv("REDISROUTE_FAILOVER_TIMEOUT", "1500ms", 1);
    start_with_names("nowhere.test");
    if (_i == LOOP_KINDS) {
        c = connect_port(cluster_port(cluster, 0));
        EXPECT_ERROR(c, "UNREACHABLE redisroute: nowhere.test:", "GET k");
        redisFree(c);
    } else {
        async_open(&client, loop, cluster_port(cluster, 0));
        async_expect(&client, "-UNREACHABLE redisroute: nowhere.test:*", "GET k");
        async_finish(&client);
        async_close(&client);
    }
    loop_destroy(loop);
}
END_TEST

/* A name that nobody has: then the address that the server adds, or the one that was asked. */
START_TEST(test_name_that_is_not_set)
{
    redisContext *c;
    start(_i ? "cluster-preferred-endpoint-type unknown-endpoint\n"
             : "cluster-preferred-endpoint-type hostname\n");
    c = connect_port(cluster_port(cluster, 1));
    use(c);
    redisFree(c);
}
END_TEST

/* A slot that moves is redirected with a null host or a name. */
START_TEST(test_redirection_by_name)
{
    int slot = cluster_slot("address:1");
    redisContext *c;
    int owner;

    if (_i == 0)
        start_with_names("nodes.test");
    else
        start("cluster-preferred-endpoint-type unknown-endpoint\n");
    owner = cluster_owner_of_slot(cluster, 0, slot);
    c = connect_port(cluster_port(cluster, 0));
    use(c);
    cluster_migrate_begin(cluster, slot, owner, (owner + 1) % MASTERS);
    EXPECT(c, "(nil)", "GET {address:1}:absent");
    EXPECT(c, "1", "GET address:1");
    while (cluster_migrate_keys(cluster, slot, owner, (owner + 1) % MASTERS, 100) > 0)
        ;
    EXPECT(c, "1", "GET address:1");
    cluster_migrate_finish(cluster, slot, owner, (owner + 1) % MASTERS);
    use(c);
    redisFree(c);
}
END_TEST

/* --- addresses --- */

/* The nodes are dialled at one address and announce another. */
START_TEST(test_announced_address)
{
    redisContext *c;
    int slot = cluster_slot("address:1"), owner;
    start("bind 127.0.0.1 127.0.0.2\nprotected-mode no\ncluster-announce-ip 127.0.0.2\n");
    cluster_await_in_slots(cluster, "127.0.0.2");
    c = connect_port(cluster_port(cluster, 0));
    use(c);
    owner = cluster_owner_of_slot(cluster, 0, slot);
    cluster_migrate(cluster, slot, owner, (owner + 1) % MASTERS);
    use(c);
    for (int node = 1; node < MASTERS; node++) {
        char *list = cluster_command(cluster, node, "CLIENT LIST");
        ck_assert_msg(strstr(list, "laddr=127.0.0.2:") != NULL, "%s", list);
        free(list);
    }
    redisFree(c);
}
END_TEST

static void must_have_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || bind(fd, (struct sockaddr *)&address, sizeof address) == -1)
        ck_abort_msg("this machine has no [::1]: %m");
    close(fd);
}

static void start_ipv6(void)
{
    must_have_ipv6();
    start("bind 127.0.0.1 ::1\ncluster-announce-ip ::1\n");
    cluster_await_in_slots(cluster, "::1");
}

START_TEST(test_ipv6)
{
    redisContext *c;
    int slot = cluster_slot("address:1"), owner;

    start_ipv6();
    c = redisConnect(_i ? "::1" : "127.0.0.1", cluster_port(cluster, 0));
    ck_assert_msg(!c->err, "%s", c->errstr);
    use(c);
    owner = cluster_owner_of_slot(cluster, 0, slot);
    cluster_migrate_begin(cluster, slot, owner, (owner + 1) % MASTERS);
    EXPECT(c, "(nil)", "GET {address:1}:absent"); /* ASK */
    while (cluster_migrate_keys(cluster, slot, owner, (owner + 1) % MASTERS, 100) > 0)
        ;
    cluster_migrate_finish(cluster, slot, owner, (owner + 1) % MASTERS);
    use(c); /* MOVED */
    EXPECT(c, "0\n1\n2", "MGET address:0 address:1 address:2");
    for (int node = 0; node < MASTERS; node++) {
        char *list = cluster_command(cluster, node, "CLIENT LIST");
        ck_assert_msg(strstr(list, "laddr=[::1]:") != NULL, "%s", list);
        free(list);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_ipv6_asynchronously)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);

    start_ipv6();
    async_open_host(&client, loop, "::1", cluster_port(cluster, 0));
    for (int i = 0; i < KEYS; i++)
        async_expect(&client, "OK", "SET address:%d x", i);
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
}
END_TEST

#if HIREDIS_MAJOR >= 1
START_TEST(test_preferred_family)
{
    redisOptions options = {.options = _i ? REDIS_OPT_PREFER_IPV6 : REDIS_OPT_PREFER_IPV4};
    redisContext *c;

    start_ipv6();
    REDIS_OPTIONS_SET_TCP(&options, "localhost", cluster_port(cluster, 0));
    c = redisConnectWithOptions(&options);
    ck_assert_msg(!c->err, "%s", c->errstr);
    use(c);
    redisFree(c);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("address");
    TCase *tc = suite_case(suite, "as announced", NULL, NULL);

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, test_names);
    tcase_add_loop_test(tc, test_names_do_not_stop_the_loop, 0, LOOP_KINDS);
    tcase_add_test(tc, test_replicas_by_name);
    tcase_add_test(tc, test_subscription_over_a_name);
    tcase_add_loop_test(tc, test_unknown_name, LOOP_KINDS - 1, LOOP_KINDS + 1);
    tcase_add_loop_test(tc, test_name_that_is_not_set, 0, 2);
    tcase_add_loop_test(tc, test_redirection_by_name, 0, 2);
    tcase_add_test(tc, test_announced_address);
    tcase_add_loop_test(tc, test_ipv6, 0, 2);
    tcase_add_loop_test(tc, test_ipv6_asynchronously, 0, 2);
#if HIREDIS_MAJOR >= 1
    tcase_add_loop_test(tc, test_preferred_family, 0, 2);
#endif
    return suite_run(suite);
}
