/* Who a connection belongs to changes while its servers are still busy with what was said before:
 * scripted nodes answer late, in an order that real ones seldom choose. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../support/config_file.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { PORT = 6379, REFUSED_MS = 1000 /* until a login that was refused is tried again */ };

static const char listener[] = "127.0.0.9", key_of_upper[] = "foo"; /* slot 12182 */
static const char wrong_pass[] = "-WRONGPASS invalid username-password pair or user is disabled.";
static const char refusal[] = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

static void on(struct fake_node *node, const char *command, enum fake_action action,
               const char *reply)
{
    fake_node_on(node, command, (struct fake_rule){.action = action, .reply = reply});
}

static redisContext *dial_listener(void)
{
    redisContext *c = redisConnectNonBlock(listener, PORT);

    ck_assert_msg(c && c->err == 0, "cannot connect");
    return c;
}

static void write_out(redisContext *c, const char *command)
{
    int done = 0;

    redisAppendCommand(c, command);
    while (!done)
        ck_assert_msg(redisBufferWrite(c, &done) == REDIS_OK, "%s", c->errstr);
}

static redisReply *next_reply(redisContext *c)
{
    redisReply *reply = NULL;

    ck_assert_msg(redisBufferRead(c) == REDIS_OK, "%s", c->errstr);
    ck_assert_int_eq(redisGetReplyFromReader(c, (void **)&reply), REDIS_OK);
    return reply;
}

/* `late`: what it holds back is released meanwhile. */
static void expect_late(redisContext *c, struct fake_node *late, const char *expected)
{
    redisReply *reply = NULL;

    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; !reply; pause_ms(1)) {
        ck_assert_int_lt(now_ms(), limit);
        if (late)
            fake_node_release(late);
        reply = next_reply(c);
    }
    EXPECT_REPLY(reply, expected);
    freeReplyObject(reply);
}

/* Releases what the node holds back, again and again. */
struct releaser {
    struct fake_node *node;
    pthread_t thread;
    atomic_bool stop;
};

static void *release_all(void *arg)
{
    struct releaser *r = arg;

    while (!atomic_load(&r->stop)) {
        fake_node_release(r->node);
        pause_ms(1);
    }
    return NULL;
}

static void releaser_begin(struct releaser *r)
{
    ck_assert_int_eq(pthread_create(&r->thread, NULL, release_all, r), 0);
}

static void releaser_end(struct releaser *r)
{
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
}

static char *slots_of(const struct fake_node *lower, const struct fake_node *upper)
{
    struct fake_range ranges[] = {
        {.first = 0, .last = 8191, .port = fake_node_port(lower)},
        {.first = 8192, .last = 16383, .port = fake_node_port(upper)},
    };

    return fake_slots_reply(ranges, 2);
}

/* The node that was dialled is still to refuse the configuration's login when another one takes the
 * program's. */
START_TEST(test_an_older_login_is_refused_late)
{
    struct fake_node *one = fake_node_start(), *two = fake_node_start();
    bool in_order = fake_node_port(one) < fake_node_port(two);
    /* What has no key goes to the first of them, by port, when the one that was dialled is not up.
     */
    struct fake_node *lower = in_order ? one : two, *upper = in_order ? two : one;
    char *slots = slots_of(lower, upper);

    setenv("REDISROUTE_PASSWORD", "never-said", 1);
    fake_node_slots(lower, slots);
    fake_node_slots(upper, slots);
    on(lower, "AUTH NEVER-SAID", FAKE_ANSWER, refusal);
    on(lower, "AUTH APP", FAKE_ANSWER, "+OK\r\n");
    on(upper, "AUTH NEVER-SAID", FAKE_RELEASE_LATER, refusal);
    on(upper, "AUTH APP", FAKE_RELEASE_LATER, "+OK\r\n");
    on(upper, "SET", FAKE_ANSWER, "+OK\r\n");

    redisContext *known = connect_port(fake_node_port(lower));
    EXPECT(known, wrong_pass, "GET k");
    EXPECT(known, "OK", "AUTH app app-secret");
    EXPECT(known, "PONG", "PING");

    redisContext *c = connect_port(fake_node_port(upper));
    EXPECT(c, "OK", "AUTH app app-secret");
    struct releaser releaser = {.node = upper};
    releaser_begin(&releaser);
    EXPECT(c, "OK", "SET %s v", key_of_upper);
    EXPECT(c, "OK", "SET %s w", key_of_upper);
    releaser_end(&releaser);
    ck_assert_int_ge(fake_node_seen(upper, "AUTH NEVER-SAID"), 1);
    redisFree(c);
    redisFree(known);
    fake_node_stop(one);
    fake_node_stop(two);
    free(slots);
}
END_TEST

static void log_in_as(const struct fake_node *node, const char *user)
{
    config_write("clusters: [{name: main, endpoints: ['127.0.0.1:%d'], username: %s, "
                 "password: x}]\n"
                 "listeners: [{address: '%s:%d', redis_proxy: {settings: {op_timeout: 30s}, "
                 "prefix_routes: {catch_all_route: {cluster: main}}}}]\n",
                 fake_node_port(node), user, listener, PORT);
}

/* What was sent before the other user is answered first. */
START_TEST(test_the_user_changes_in_a_pipeline)
{
    struct fake_node *node = fake_node_start();

    on(node, "AUTH ONE", FAKE_ANSWER, "+OK\r\n");
    on(node, "AUTH TWO", FAKE_RELEASE_LATER, "+OK\r\n");
    on(node, "GET A", FAKE_RELEASE_LATER, "+a\r\n");
    on(node, "GET B", FAKE_RELEASE_LATER, "+b\r\n");
    config_begin();
    log_in_as(node, "one");
    redisContext *c = dial_listener();
    write_out(c, "PING");
    expect_late(c, NULL, "PONG");
    write_out(c, "GET a");
    UNTIL(fake_node_seen(node, "GET A") == 1);
    log_in_as(node, "two");
    UNTIL(config_log_says("version 2"));
    write_out(c, "GET b");
    expect_late(c, node, "a");
    expect_late(c, node, "b");
    ck_assert_int_ge(fake_node_seen(node, "AUTH TWO"), 1);
    redisFree(c);
    config_end();
    fake_node_stop(node);
}
END_TEST

/* Long after the configuration's login was refused, which is tried again: but not while the
 * program's own is on its way. */
START_TEST(test_a_login_under_way_is_not_overtaken)
{
    struct fake_node *node = fake_node_start();

    setenv("REDISROUTE_PASSWORD", "never-said", 1);
    on(node, "AUTH NEVER-SAID", FAKE_ANSWER, refusal);
    on(node, "AUTH APP", FAKE_RELEASE_LATER, "+OK\r\n");
    on(node, "GET", FAKE_ANSWER, "+v\r\n");
    redisContext *c = redisConnectNonBlock("127.0.0.1", fake_node_port(node));
    ck_assert_msg(c && c->err == 0, "cannot connect");
    write_out(c, "GET k");
    expect_late(c, NULL, wrong_pass);
    write_out(c, "AUTH app app-secret");
    UNTIL(next_reply(c) == NULL && fake_node_seen(node, "AUTH APP") == 1);
    int refused = fake_node_seen(node, "AUTH NEVER-SAID");
    pause_ms(REFUSED_MS + 100);
    write_out(c, "GET k");
    ck_assert_ptr_null(next_reply(c));
    expect_late(c, node, "OK");
    expect_late(c, node, "v");
    ck_assert_int_eq(fake_node_seen(node, "AUTH NEVER-SAID"), refused);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("greeting");
    TCase *tc = suite_case(suite, "greeting", NULL, NULL);

    tcase_add_test(tc, test_an_older_login_is_refused_late);
    tcase_add_test(tc, test_the_user_changes_in_a_pipeline);
    tcase_add_test(tc, test_a_login_under_way_is_not_overtaken);
    return suite_run(suite);
}
