/* Events: what the program is told of interruptions, lost connections, redirections and failovers,
 * when, by which thread, and of which context. */
#define _GNU_SOURCE
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <redisroute/redisroute.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/async_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/fake_node.h"
#include "../support/loop.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { SEEN_MAX = 256, TEXT_MAX = 300 };

static struct cluster *cluster;

/* --- what was told --- */

static struct {
    enum redisRouteEvent event;
    int fd;
    pthread_t thread;
    char text[TEXT_MAX];
} seen[SEEN_MAX];

static int seen_count;
static int cookie;

static void on_event(void *data, enum redisRouteEvent event, int fd, const char *text)
{
    ck_assert_ptr_eq(data, &cookie);
    ck_assert_ptr_null(strchr(text, '\n'));
    if (seen_count == SEEN_MAX)
        return;
    seen[seen_count].event = event;
    seen[seen_count].fd = fd;
    seen[seen_count].thread = pthread_self();
    snprintf(seen[seen_count].text, TEXT_MAX, "%s", text);
    seen_count++;
}

static void listen_to_events(void)
{
    seen_count = 0;
    ck_assert_int_eq(redisRouteSetEventFn(on_event, &cookie), 0);
}

/* The first such event from `from` on, by this thread and about that descriptor; -1: none. */
static int find_event(int from, enum redisRouteEvent event, int fd, const char *part)
{
    for (int i = from; i < seen_count; i++)
        if (seen[i].event == event && strstr(seen[i].text, part)) {
            ck_assert_int_eq(seen[i].fd, fd);
            ck_assert(pthread_equal(seen[i].thread, pthread_self()));
            return i;
        }
    return -1;
}

static int must_find(int from, enum redisRouteEvent event, int fd, const char *part)
{
    int found = find_event(from, event, fd, part);
    if (found < 0)
        for (int i = 0; i < seen_count; i++)
            printf("event %d: %s\n", seen[i].event, seen[i].text);
    ck_assert_msg(found >= 0, "no event %d with '%s' among %d", event, part, seen_count);
    return found;
}

/* --- a cluster --- */

/* CLUSTER SLOTS does not name a replica that nothing was written to yet. */
static bool is_named(int node)
{
    char *text = cluster_command(cluster, 2, "CLUSTER SLOTS"), port[16];
    snprintf(port, sizeof port, "%d", cluster_port(cluster, node));
    bool named = strstr(text, port) != NULL;
    free(text);
    return named;
}

static void setup(void)
{
    cluster = cluster_start(&(struct cluster_options){.replicas = 1, .node_timeout_ms = 1000});
    for (int master = 0; master < cluster_masters(cluster); master++) {
        char *key = cluster_key_for(cluster, master, 0);
        free(cluster_command(cluster, master, "SET %s 0", key));
        free(key);
    }
    for (int node = 0; node < cluster_size(cluster); node++)
        UNTIL(is_named(node));
}

static void teardown(void)
{
    cluster_stop(cluster);
}

static redisContext *connect_node(int node)
{
    return connect_port(cluster_port(cluster, node));
}

static const char *name_of_node(int node)
{
    static char name[32];
    snprintf(name, sizeof name, "127.0.0.1:%d", cluster_port(cluster, node));
    return name;
}

/* Whole, and behind the library's back. */
START_TEST(test_a_slot_has_moved)
{
    redisContext *c = connect_node(0);
    char *key = cluster_key_for(cluster, 0, 0), part[80];
    int slot = cluster_slot(key);
    EXPECT(c, "OK", "SET %s 1", key);
    listen_to_events();
    EXPECT(c, "1", "GET %s", key);
    ck_assert_int_eq(seen_count, 0);
    cluster_migrate(cluster, slot, 0, 1);
    EXPECT(c, "1", "GET %s", key);
    snprintf(part, sizeof part, "slot %d: 127.0.0.1:%d says MOVED to 127.0.0.1:%d", slot,
             cluster_port(cluster, 0), cluster_port(cluster, 1));
    int redirected = must_find(0, REDISROUTE_EVENT_REDIRECTED, c->fd, part);
    must_find(redirected, REDISROUTE_EVENT_TOPOLOGY, c->fd, "16384 slots with an owner");
    redisFree(c);
    free(key);
}
END_TEST

START_TEST(test_a_slot_moves)
{
    redisContext *c = connect_node(0);
    char *key = cluster_key_for(cluster, 2, 0), part[80];
    int slot = cluster_slot(key);
    EXPECT(c, "OK", "SET %s 1", key);
    listen_to_events();
    cluster_migrate_begin(cluster, slot, 2, 1);
    cluster_migrate_keys(cluster, slot, 2, 1, 100);
    EXPECT(c, "1", "GET %s", key);
    snprintf(part, sizeof part, "slot %d: 127.0.0.1:%d says ASK ", slot, cluster_port(cluster, 2));
    must_find(0, REDISROUTE_EVENT_REDIRECTED, c->fd, part);
    cluster_migrate_finish(cluster, slot, 2, 1);
    cluster_migrate(cluster, slot, 1, 2);
    redisFree(c);
    free(key);
}
END_TEST

START_TEST(test_nobody_is_told_any_more)
{
    redisContext *c = connect_node(0);
    char *key = cluster_key_for(cluster, 2, 0);
    int slot = cluster_slot(key);
    listen_to_events();
    EXPECT(c, "OK", "SET %s 1", key);
    ck_assert_int_eq(redisRouteSetEventFn(NULL, NULL), 0);
    seen_count = 0;
    cluster_migrate(cluster, slot, 2, 1);
    EXPECT(c, "1", "GET %s", key);
    ck_assert_int_eq(seen_count, 0);
    cluster_migrate(cluster, slot, 1, 2);
    redisFree(c);
    free(key);
}
END_TEST

/* What is published once RESUMED was told, arrives. */
START_TEST(test_a_subscription_is_interrupted)
{
    redisContext *c = connect_node(0);
    redisReply *reply = NULL;
    listen_to_events();
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    redisAppendCommand(c, "PSUBSCRIBE n*ws");
    EXPECT_NEXT(c, "psubscribe\nn*ws\n2");
    ck_assert_int_eq(find_event(0, REDISROUTE_EVENT_GAP, c->fd, ""), -1);
    cluster_signal(cluster, 0, SIGKILL);
    redisSetTimeout(c, (struct timeval){.tv_usec = 50000});
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS;
         find_event(0, REDISROUTE_EVENT_RESUMED, c->fd, "") < 0;) {
        ck_assert_msg(now_ms() < limit, "not resumed");
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_ERR);
        c->err = 0;
    }
    int gap =
        must_find(0, REDISROUTE_EVENT_GAP, c->fd, "channel 'news' is interrupted at 127.0.0.1:");
    must_find(0, REDISROUTE_EVENT_GAP, c->fd, name_of_node(0));
    must_find(0, REDISROUTE_EVENT_GAP, c->fd, "pattern 'n*ws'");
    must_find(gap, REDISROUTE_EVENT_RESUMED, c->fd, "in force again");
    must_find(0, REDISROUTE_EVENT_LINK_LOST, c->fd, name_of_node(0));
    free(cluster_command(cluster, 1, "PUBLISH news again"));
    redisSetTimeout(c, (struct timeval){.tv_sec = 30});
    EXPECT_NEXT(c, "message\nnews\nagain");
    EXPECT_NEXT(c, "pmessage\nn*ws\nnews\nagain");
    redisFree(c);
    cluster_await_failover(cluster, 0);
    cluster_restart(cluster, 0);
}
END_TEST

START_TEST(test_a_shard_channel_moves)
{
    redisContext *c = connect_node(0);
    redisReply *reply = NULL;
    char *channel = cluster_key_for(cluster, 1, 0), expected[80];
    int slot = cluster_slot(channel);
    listen_to_events();
    snprintf(expected, sizeof expected, "ssubscribe\n%s\n1", channel);
    EXPECT(c, expected, "SSUBSCRIBE %s", channel);
    cluster_migrate(cluster, slot, 1, 2);
    redisSetTimeout(c, (struct timeval){.tv_usec = 50000});
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS;
         find_event(0, REDISROUTE_EVENT_RESUMED, c->fd, "") < 0;) {
        ck_assert_msg(now_ms() < limit, "not resumed");
        ck_assert_int_eq(redisGetReply(c, (void **)&reply), REDIS_ERR);
        c->err = 0;
    }
    snprintf(expected, sizeof expected, "shard channel '%s' is interrupted at %s", channel,
             name_of_node(1));
    must_find(0, REDISROUTE_EVENT_GAP, c->fd, expected);
    ck_assert(cluster_says(cluster, 2, "1", "SPUBLISH %s again", channel));
    redisSetTimeout(c, (struct timeval){.tv_sec = 30});
    snprintf(expected, sizeof expected, "smessage\n%s\nagain", channel);
    EXPECT_NEXT(c, expected);
    cluster_migrate(cluster, slot, 2, 1);
    redisFree(c);
    free(channel);
}
END_TEST

/* … in the loop of an asynchronous context. */
START_TEST(test_a_failover)
{
    struct async_client client = {0};
    char *key = cluster_key_for(cluster, 1, 0);
    async_open(&client, loop_create(0), cluster_port(cluster, 2));
    async_expect(&client, "OK", "SET failover 1");
    async_finish(&client);
    listen_to_events();
    cluster_failover(cluster, 4);
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS;
         find_event(0, REDISROUTE_EVENT_FAILOVER, client.ac->c.fd, name_of_node(4)) < 0;) {
        ck_assert_msg(now_ms() < limit, "no failover was told");
        async_expect(&client, "OK", "SET %s 1", key);
        async_finish(&client);
    }
    must_find(0, REDISROUTE_EVENT_TOPOLOGY, client.ac->c.fd, "3 masters, 3 replicas");
    async_close(&client);
    loop_destroy(client.loop);
    free(key);
}
END_TEST

/* --- one server --- */

START_TEST(test_a_connection_is_lost)
{
    struct fake_node *node = fake_node_start();
    fake_node_answer(node, "GET", "$1\r\n1\r\n");
    fake_node_on(node, "SET", (struct fake_rule){.action = FAKE_RESET, .reply = ""});
    redisContext *c = connect_port(fake_node_port(node));
    char part[64];
    listen_to_events();
    EXPECT(c, "1", "GET a");
    EXPECT(c, "-UNREACHABLE redisroute:*", "SET a 1");
    EXPECT(c, "1", "GET a");
    snprintf(part, sizeof part, "connection to 127.0.0.1:%d was lost: ", fake_node_port(node));
    must_find(0, REDISROUTE_EVENT_LINK_LOST, c->fd, part);
    ck_assert_int_eq(find_event(0, REDISROUTE_EVENT_GAP, c->fd, ""), -1);
    redisFree(c);
    fake_node_stop(node);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event");
    TCase *tc = suite_case(suite, "slots", setup, teardown);
    tcase_add_test(tc, test_a_slot_has_moved);
    tcase_add_test(tc, test_a_slot_moves);
    tcase_add_test(tc, test_nobody_is_told_any_more);
    tcase_add_test(tc, test_a_shard_channel_moves);
    tc = suite_case(suite, "failover", setup, teardown);
    tcase_add_test(tc, test_a_failover);
    tc = suite_case(suite, "death", setup, teardown);
    tcase_add_test(tc, test_a_subscription_is_interrupted);
    tc = suite_case(suite, "lost", NULL, NULL);
    tcase_add_test(tc, test_a_connection_is_lost);
    return suite_run(suite);
}
