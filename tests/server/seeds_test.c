/* A cluster of which no node answers any more is found where the configuration, or a name in it,
 * leads now: by sessions that are open. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>

#include "../support/async_client.h"
#include "../support/config_file.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/loop.h"
#include "../support/names.h"
#include "../support/suite.h"
#include "../support/until.h"

enum { PORT = 6379, ROUNDS = 5 };

static const char listener[] = "127.0.0.9", name[] = "moving.test";

static struct fake_node *start(const char *says)
{
    struct fake_node *node = fake_node_start();

    fake_node_on(node, "GET", (struct fake_rule){.action = FAKE_ANSWER, .reply = says});
    return node;
}

static void lead_to(const char *host, const struct fake_node *node)
{
    config_write("clusters: [{name: main, endpoints: ['%s:%d'], connect_timeout: 1s}]\n"
                 "listeners: [{address: '%s:%d', redis_proxy: {settings: {op_timeout: 30s}, "
                 "prefix_routes: {catch_all_route: {cluster: main}}}}]\n",
                 host, fake_node_port(node), listener, PORT);
}

static void stop_listening(struct fake_node *node)
{
    fake_node_close_port(node);
    fake_node_reset_all(node);
}

static const char *const hosts[] = {"127.0.0.1", name};

START_TEST(test_an_open_session_goes_where_the_endpoints_are_now)
{
    struct fake_node *one = start("+one\r\n"), *two = start("+two\r\n");
    config_begin();
    lead_to("127.0.0.1", one);
    redisContext *c = redisConnect(listener, PORT);
    ck_assert_msg(c && c->err == 0, "cannot connect");
    for (int i = 0; i < ROUNDS; i++)
        EXPECT(c, "one", "GET k");
    stop_listening(one);
    redisAppendCommand(c, "GET k"); /* waits for a node, and goes on where there is one */
    int done = 0;
    while (!done)
        ck_assert_int_eq(redisBufferWrite(c, &done), REDIS_OK);
    lead_to(hosts[_i], two);
    for (int i = 0; i < ROUNDS; i++) {
        EXPECT_NEXT(c, "two");
        redisAppendCommand(c, "GET k");
    }
    EXPECT_NEXT(c, "two");
    redisFree(c);
    config_end();
    fake_node_stop(one);
    fake_node_stop(two);
}
END_TEST

START_TEST(test_an_event_loops_session_too)
{
    struct fake_node *one = start("+one\r\n"), *two = start("+two\r\n");
    struct async_client client = {0};
    struct loop *loop = loop_create(0);
    config_begin();
    lead_to("127.0.0.1", one);
    async_open_host(&client, loop, listener, PORT);
    async_expect(&client, "one", "GET k");
    async_finish(&client);
    stop_listening(one);
    async_expect(&client, "two", "GET k"); /* waits for a node */
    loop_turn_for(loop, 100);
    lead_to(name, two);
    for (int i = 0; i < ROUNDS; i++)
        async_expect(&client, "two", "GET k");
    async_finish(&client);
    async_close(&client);
    loop_destroy(loop);
    config_end();
    fake_node_stop(one);
    fake_node_stop(two);
}
END_TEST

int main(void)
{
    names_set(name, "127.0.0.1");
    Suite *suite = suite_create("seeds");
    TCase *tc = suite_case(suite, "seeds", NULL, NULL);

    tcase_add_loop_test(tc, test_an_open_session_goes_where_the_endpoints_are_now, 0, 2);
    tcase_add_test(tc, test_an_event_loops_session_too);
    return suite_run(suite);
}
