/* redisroute-test: cases
 *
 * A name that leads to another address than before, while the configuration and the program stay as
 * they are: of a cluster, of a single server, of nodes, of a mirror. And names that cannot be
 * looked up for a while, or take long to. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/config_file.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/loop.h"
#include "../support/names.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { MASTERS = 3, KEYS = 60, SLOW_MS = 500, PORT = 6379 };

static const char before[] = "127.0.0.2", after[] = "127.0.0.3", nobody[] = "127.0.0.4";
static const char listener[] = "127.0.0.9";
static const char name[] = "moving.test";

#define BOUND "bind 127.0.0.1 127.0.0.2 127.0.0.3\nprotected-mode no\n"

static struct cluster *cluster;
static struct server *server;

static void teardown(void)
{
    cluster_stop(cluster);
    server_stop(server);
    cluster = NULL;
    server = NULL;
}

/* --- a program of either kind, on a name or on the listener --- */

struct program {
    redisContext *c; /* null: it has an event loop */
    struct loop *loop;
    struct async_client client;
};

static struct program *program_start(bool async, const char *host, int port)
{
    struct program *p = calloc(1, sizeof *p);
    MUST(p);
    if (async) {
        p->loop = loop_create(LOOP_KINDS - 1);
        async_open_host(&p->client, p->loop, host, port);
    } else {
        p->c = redisConnect(host, port);
        ck_assert_msg(p->c && !p->c->err, "%s", p->c ? p->c->errstr : "no context");
    }
    return p;
}

static void program_expect(struct program *p, const char *expected, const char *command, int number)
{
    if (p->c) {
        expect_(__FILE__, __LINE__, p->c, expected, command, number, number);
    } else {
        async_expect(&p->client, expected, command, number, number);
        async_finish(&p->client);
    }
}

static void program_stop(struct program *p)
{
    if (p->c) {
        redisFree(p->c);
    } else {
        async_close(&p->client);
        loop_destroy(p->loop);
    }
    free(p);
}

static void write_keys(struct program *p)
{
    for (int i = 0; i < KEYS; i++)
        program_expect(p, "OK", "SET name:%d %d", i);
}

static void read_keys(struct program *p)
{
    for (int i = 0; i < KEYS; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "%d", i);
        program_expect(p, expected, "GET name:%d", i);
    }
}

/* Connections to the listener lead to this endpoint. */
static void lead_to(const char *host, int port)
{
    config_write("clusters: [{name: main, endpoints: ['%s:%d'], connect_timeout: 5s}]\n"
                 "listeners: [{address: '%s:%d', redis_proxy: {settings: {op_timeout: 30s}, "
                 "prefix_routes: {catch_all_route: {cluster: main}}}}]\n",
                 host, port, listener, PORT);
}

/* --- a cluster, all of whose nodes get new addresses --- */

static void start_cluster(const char *extra)
{
    char text[256];
    snprintf(text, sizeof text, BOUND "%s", extra);
    cluster = cluster_start(&(struct cluster_options){.extra = text});
}

static void announce(const char *address)
{
    for (int node = 0; node < MASTERS; node++)
        ck_assert(cluster_says(cluster, node, "OK", "CONFIG SET cluster-announce-ip %s", address));
    cluster_await_in_slots(cluster, address);
}

static void move_cluster(void)
{
    for (int node = 0; node < MASTERS; node++)
        server_move(cluster_server(cluster, node), before, after);
    announce(after);
    names_set(name, after);
}

/* Bits of a test's number. */
enum { ASYNC = 1, BY_LISTENER = 2, VARIANTS = 4 };

START_TEST(test_a_cluster_moves)
{
    start_cluster("cluster-announce-ip 127.0.0.2\n");
    cluster_await_in_slots(cluster, before);
    names_set(name, before);
    config_begin();
    lead_to(name, cluster_port(cluster, 0));
    struct program *p = program_start(_i & ASYNC, _i & BY_LISTENER ? listener : name,
                                      _i & BY_LISTENER ? PORT : cluster_port(cluster, 0));
    write_keys(p);
    move_cluster();
    read_keys(p);
    program_stop(p);
    config_end();
}
END_TEST

/* --- a single server behind a name --- */

static void start_server(void)
{
    server = server_start(&(struct server_options){.extra = BOUND});
    names_set(name, before);
    config_begin();
    lead_to(name, server_port(server));
}

START_TEST(test_a_single_server_moves)
{
    start_server();
    if (!(_i & BY_LISTENER))
        setenv("REDISROUTE_OP_TIMEOUT", "30s", 1);
    struct program *p = program_start(_i & ASYNC, _i & BY_LISTENER ? listener : name,
                                      _i & BY_LISTENER ? PORT : server_port(server));
    write_keys(p);
    server_move(server, before, after);
    names_set(name, after);
    read_keys(p);
    char *list = server_command(server, "CLIENT LIST");
    ck_assert_msg(strstr(list, "laddr=127.0.0.3:") != NULL, "%s", list);
    free(list);
    program_stop(p);
    config_end();
}
END_TEST

/* What belongs to a connection goes to the same of several addresses. */
START_TEST(test_a_subscription_stays_with_its_connection)
{
    redisReply *reply = NULL;
    start_server();
    names_set(name, "127.0.0.3 127.0.0.2");
    setenv("REDISROUTE_OP_TIMEOUT", "30s", 1);
    redisContext *c = redisConnect(name, server_port(server));
    ck_assert_msg(c && !c->err, "cannot connect");
    EXPECT(c, "OK", "SET k v");
    names_set(name, "127.0.0.2 127.0.0.3");
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    free(server_command(server, "PUBLISH news hello"));
    ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_OK);
    EXPECT_REPLY(reply, "message\nnews\nhello");
    freeReplyObject(reply);
    char *list = server_command(server, "CLIENT LIST");
    ck_assert_msg(strstr(list, "laddr=127.0.0.2:") == NULL, "%s", list);
    free(list);
    redisFree(c);
    config_end();
}
END_TEST

/* --- nodes by their names --- */

static const char *node_name(int node)
{
    static const char *const all[] = {"node-0.test", "node-1.test", "node-2.test"};
    return all[node];
}

static void start_named_nodes(void)
{
    start_cluster("cluster-preferred-endpoint-type hostname\n");
    for (int node = 0; node < MASTERS; node++) {
        names_set(node_name(node), before);
        ck_assert(cluster_says(cluster, node, "OK", "CONFIG SET cluster-announce-hostname %s",
                               node_name(node)));
    }
    for (int node = 0; node < MASTERS; node++)
        cluster_await_in_slots(cluster, "node-");
    for (int node = 0; node < MASTERS; node++)
        UNTIL(({
            char *slots = cluster_command(cluster, node, "CLUSTER SLOTS");
            bool all = strstr(slots, node_name(0)) && strstr(slots, node_name(1)) &&
                       strstr(slots, node_name(2));
            free(slots);
            all;
        }));
}

START_TEST(test_a_node_moves)
{
    start_named_nodes();
    struct program *p = program_start(_i & ASYNC, "127.0.0.1", cluster_port(cluster, 0));
    write_keys(p);
    for (int node = 0; node < MASTERS; node++) {
        server_move(cluster_server(cluster, node), before, after);
        names_set(node_name(node), after);
        int64_t begun = now_ms();
        read_keys(p);
        ck_assert_int_lt(now_ms() - begun, 4000); /* and no address is used until it is old */
    }
    program_stop(p);
}
END_TEST

/* Commands wait for a name that cannot be looked up, as they wait for a node. */
static void *bring_back(void *unused)
{
    (void)unused;
    pause_ms(SLOW_MS);
    for (int node = 0; node < MASTERS; node++)
        names_set(node_name(node), before);
    return NULL;
}

START_TEST(test_a_name_that_comes_back)
{
    pthread_t thread;
    start_named_nodes();
    for (int node = 0; node < MASTERS; node++)
        names_set(node_name(node), NULL);
    struct program *p = program_start(_i & ASYNC, "127.0.0.1", cluster_port(cluster, 0));
    MUST(pthread_create(&thread, NULL, bring_back, NULL) == 0);
    write_keys(p);
    read_keys(p);
    pthread_join(thread, NULL);
    program_stop(p);
}
END_TEST

/* --- several addresses --- */

START_TEST(test_all_addresses_of_a_name_are_tried)
{
    char addresses[64];
    start_server();
    snprintf(addresses, sizeof addresses, "%s %s", nobody, before);
    names_set(name, addresses);
    for (int i = 0; i < 4; i++) {
        struct program *p = program_start(_i & ASYNC, listener, PORT);
        write_keys(p);
        program_stop(p);
    }
    config_end();
}
END_TEST

START_TEST(test_all_addresses_of_a_node_are_tried)
{
    char addresses[64];
    start_named_nodes();
    snprintf(addresses, sizeof addresses, "%s %s", nobody, before);
    for (int node = 0; node < MASTERS; node++)
        names_set(node_name(node), addresses);
    struct program *p = program_start(_i & ASYNC, "127.0.0.1", cluster_port(cluster, 0));
    write_keys(p);
    read_keys(p);
    program_stop(p);
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

/* The listener's address is one of IPv4, its endpoint is not; or it has both, and the wrong one
 * first. */
START_TEST(test_an_endpoint_of_the_other_family)
{
    static const char *const addresses[] = {"::1", "127.0.0.4 ::1"};
    must_have_ipv6();
    server = server_start(&(struct server_options){.extra = "bind 127.0.0.1 ::1\n"});
    names_set(name, addresses[_i / 2]);
    config_begin();
    lead_to(name, server_port(server));
    struct program *p = program_start(_i & ASYNC, listener, PORT);
    write_keys(p);
    read_keys(p);
    char *list = server_command(server, "CLIENT LIST");
    ck_assert_msg(strstr(list, "laddr=[::1]:") != NULL, "%s", list);
    free(list);
    program_stop(p);
    config_end();
}
END_TEST

/* --- look-ups that take long --- */

static void route_by_prefix(int port)
{
    config_write("clusters: [{name: main, endpoints: ['%s:%d'], connect_timeout: 5s}]\n"
                 "listeners: [{address: '%s:%d', redis_proxy: {settings: {op_timeout: 30s}, "
                 "prefix_routes: {routes: [{prefix: 'name:', cluster: main}], "
                 "catch_all_route: {cluster: main}}}}]\n",
                 name, port, listener, PORT);
}

/* Bits of its number: the endpoint is a cluster's; keys go by prefix; the descriptor is a socket. */
START_TEST(test_the_loop_does_not_wait_for_names)
{
    int port;
    config_begin();
    if (_i & 4)
        setenv("REDISROUTE_DESCRIPTOR", "SOCKET", 1);
    if (_i & 1) {
        start_cluster("cluster-announce-ip 127.0.0.2\n");
        port = cluster_port(cluster, 0);
    } else {
        server = server_start(&(struct server_options){.extra = BOUND});
        port = server_port(server);
    }
    if (_i & 2)
        route_by_prefix(port);
    else
        lead_to(name, port);
    names_set(name, before);
    names_take_ms(SLOW_MS);
    names_watch_this_thread();
    struct program *p = program_start(true, listener, PORT);
    for (int i = 0; i < KEYS; i++) /* before the name is known */
        async_expect(&p->client, "OK", "SET name:%d %d", i, i);
    async_finish(&p->client);
    read_keys(p);
    ck_assert_int_ge(names_asked(), 1);
    ck_assert_int_eq(names_asked_here(), 0);
    ck_assert_int_lt(loop_longest_turn_ms(p->loop), SLOW_MS - 150);
    ck_assert_int_eq(p->client.connects, 1);
    ck_assert_int_eq(p->client.connect_status, REDIS_OK);
    program_stop(p);
    config_end();
}
END_TEST

/* What becomes of the connection is said when it is known. */
START_TEST(test_the_loop_hears_of_a_name_that_nobody_has)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    config_begin();
    lead_to(name, PORT);
    names_set(name, NULL);
    names_take_ms(SLOW_MS);
    async_open_host(&client, loop, listener, PORT);
    LOOP_UNTIL(loop, client.connects == 1);
    ck_assert_int_eq(client.connect_status, REDIS_ERR);
    ck_assert_msg(strstr(client.errstr, "refused") != NULL, "%s", client.errstr);
    loop_destroy(loop);
    config_end();
}
END_TEST

/* A context that is freed while its name is still being looked up. */
START_TEST(test_a_context_does_not_live_until_its_name_is_known)
{
    struct async_client client = {0};
    struct loop *loop = loop_create(_i);
    config_begin();
    lead_to(name, PORT);
    names_set(name, before);
    names_take_ms(SLOW_MS);
    async_open_host(&client, loop, listener, PORT);
    redisAsyncFree(client.ac);
    loop_turn_for(loop, 2 * SLOW_MS);
    loop_destroy(loop);
    config_end();
}
END_TEST

/* --- a mirror --- */

static bool mirror_has(const char *key)
{
    char *said = server_command(server, "EXISTS %s", key);
    bool has = strcmp(said, "1") == 0;
    free(said);
    return has;
}

START_TEST(test_a_mirror_moves)
{
    char target[64];
    struct server *main = server_start(NULL);
    server = server_start(&(struct server_options){.extra = BOUND});
    names_set(name, before);
    snprintf(target, sizeof target, "%s:%d", name, server_port(server));
    setenv("REDISROUTE_MIRROR", target, 1);
    redisContext *c = connect_port(server_port(main));
    EXPECT(c, "OK", "SET first 1");
    UNTIL(mirror_has("first"));
    server_move(server, before, after);
    names_set(name, after);
    int64_t begun = now_ms();
    for (int i = 0; !mirror_has("second"); i++) { /* what is under way when it moves is lost */
        EXPECT(c, "OK", "SET second 1");
        pause_ms(20);
        if (now_ms() - begun > 8000)
            die("nothing arrives at the mirror's new address");
    }
    redisFree(c);
    server_stop(main);
}
END_TEST

typedef const TTest test;

static void add_case(Suite *suite, const char *title, test *one, int from, int to)
{
    TCase *tc = suite_case(suite, title, NULL, NULL);

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_loop_test(tc, one, from, to);
}

int main(void)
{
    Suite *suite = suite_create("names");

    add_case(suite, "a cluster moves", test_a_cluster_moves, 0, VARIANTS);
    add_case(suite, "a single server moves", test_a_single_server_moves, 0, VARIANTS);
    add_case(suite, "a subscription stays", test_a_subscription_stays_with_its_connection, 0, 1);
    add_case(suite, "a node moves", test_a_node_moves, 0, 2);
    add_case(suite, "a name comes back", test_a_name_that_comes_back, 0, 2);
    add_case(suite, "addresses of a name", test_all_addresses_of_a_name_are_tried, 0, 2);
    add_case(suite, "addresses of a node", test_all_addresses_of_a_node_are_tried, 0, 2);
    add_case(suite, "the other family", test_an_endpoint_of_the_other_family, 0, 4);
    add_case(suite, "the loop goes on", test_the_loop_does_not_wait_for_names, 0, 8);
    add_case(suite, "nobody has the name", test_the_loop_hears_of_a_name_that_nobody_has, 0,
             LOOP_KINDS);
    add_case(suite, "freed before", test_a_context_does_not_live_until_its_name_is_known, 0,
             LOOP_KINDS);
    add_case(suite, "a mirror moves", test_a_mirror_moves, 0, 1);
    return suite_run(suite);
}
