/* Threads with all that runs beside commands: subscriptions, a mirror, reads from replicas,
 * look-ups of commands that the table lacks, and events, while a master changes and a slot moves.
 * For ThreadSanitizer above all. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <redisroute/redisroute.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/server.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { WORKERS = 4, LISTENERS = 2, ROUNDS = 60, FIRST_REPLICA = 3 };

static const char renamed[] = "rename-command STRLEN length.of\nrename-command APPEND add.to\n";

static struct cluster *cluster;
static struct server *mirror;
static _Atomic int rounds, told, finished;
static _Atomic bool over;

static void setup(void)
{
    cluster = cluster_start(&(struct cluster_options){.replicas = 1, .extra = renamed});
    mirror = server_start(&(struct server_options){.extra = renamed});
}

static void teardown(void)
{
    server_stop(mirror);
    cluster_stop(cluster);
}

static void on_event(void *data, enum redisRouteEvent event, int fd, const char *text)
{
    (void)event, (void)fd;
    atomic_fetch_add((_Atomic int *)data, *text != '\0');
}

/* --- who sends commands --- */

struct worker {
    pthread_t thread;
    int number;
    long sent; /* of ADD.TO, and answered as executed, … */
    long lost; /* … or with an error that leaves it open */
};

/* Only a write whose connection broke may fail. */
static bool is_lost(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "UNREACHABLE redisroute:", 23);
}

static void add(struct worker *w, redisContext *c)
{
    redisReply *reply = redisCommand(c, "ADD.TO log:%d x", w->number);
    ck_assert_ptr_nonnull(reply);
    if (is_lost(reply)) {
        w->lost++;
    } else {
        ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
        w->sent++;
        ck_assert_int_ge(reply->integer, w->sent);
        ck_assert_int_le(reply->integer, w->sent + w->lost);
    }
    freeReplyObject(reply);
}

static void look(const struct worker *w, redisContext *c, int round)
{
    redisReply *reply = redisCommand(c, "LENGTH.OF log:%d", w->number);
    ck_assert_ptr_nonnull(reply);
    ck_assert_msg(reply->type == REDIS_REPLY_INTEGER || is_lost(reply), "%s", reply->str);
    freeReplyObject(reply);
    EXPECT(c, "-ERR unknown command*", "NONE.%d.%d", w->number, round % 5);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load(&over)) {
        redisContext *c = connect_port(cluster_port(cluster, w->number % 3));
        for (int i = 0; i < 10; i++) {
            add(w, c);
            look(w, c, i);
        }
        redisFree(c);
        atomic_fetch_add(&rounds, 1);
    }
    return NULL;
}

/* --- who listens --- */

static void *listen_until_the_end(void *arg)
{
    redisContext *c = connect_port(cluster_port(cluster, (int)(intptr_t)arg));
    redisReply *reply = NULL;
    bool ended = false;
    EXPECT(c, "subscribe\nnews\n1", "SUBSCRIBE news");
    redisSetTimeout(c, (struct timeval){.tv_usec = 20000});
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; !ended;) {
        ck_assert_msg(now_ms() < limit, "the end was never heard of");
        if (redisGetReply(c, (void **)&reply) != REDIS_OK) {
            c->err = 0;
            continue;
        }
        ended = !strcmp(reply->element[2]->str, "end");
        freeReplyObject(reply);
    }
    redisFree(c);
    atomic_fetch_add(&finished, 1);
    return NULL;
}

static void publish(redisContext *c, const char *message)
{
    redisReply *reply = redisCommand(c, "PUBLISH news %s", message);
    ck_assert_ptr_nonnull(reply);
    freeReplyObject(reply);
}

static void await_rounds(redisContext *c, int more)
{
    int until = atomic_load(&rounds) + more;
    for (int64_t limit = now_ms() + UNTIL_LIMIT_MS; atomic_load(&rounds) < until;) {
        ck_assert_msg(now_ms() < limit, "the workers do not get on");
        publish(c, "more");
        redisRouteSetEventFn(on_event, &told);
        pause_ms(5);
    }
}

static void move_slot(int slot)
{
    int from = cluster_owner_of_slot(cluster, 1, slot);
    cluster_migrate(cluster, slot, from, from == 1 ? 2 : 1);
}

static void configure(void)
{
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", server_port(mirror));
    setenv("REDISROUTE_MIRROR", address, 1);
    setenv("REDISROUTE_MIRROR_EXCLUDE_READ_COMMANDS", "true", 1);
    setenv("REDISROUTE_READ_POLICY", "ANY", 1);
}

START_TEST(test_all_of_it)
{
    struct worker workers[WORKERS] = {{0}};
    pthread_t listeners[LISTENERS];
    configure();
    redisContext *c = connect_port(cluster_port(cluster, 0));
    redisRouteSetEventFn(on_event, &told);
    for (intptr_t i = 0; i < LISTENERS; i++)
        MUST(pthread_create(&listeners[i], NULL, listen_until_the_end, (void *)i) == 0);
    for (int i = 0; i < WORKERS; i++) {
        workers[i].number = i;
        MUST(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    await_rounds(c, ROUNDS);
    move_slot(cluster_slot("log:0"));
    await_rounds(c, ROUNDS);
    cluster_failover(cluster, FIRST_REPLICA);
    await_rounds(c, ROUNDS);
    atomic_store(&over, true);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    while (atomic_load(&finished) < LISTENERS) {
        publish(c, "end");
        pause_ms(5);
    }
    for (int i = 0; i < LISTENERS; i++)
        pthread_join(listeners[i], NULL);
    ck_assert_int_gt(atomic_load(&told), 0);
    ck_assert_int_eq(redisRouteSetReadPolicy(c, REDISROUTE_READ_MASTER), REDIS_OK);
    for (int i = 0; i < WORKERS; i++) {
        redisReply *reply = redisCommand(c, "GETRANGE log:%d 0 -1", i);
        ck_assert_int_ge((long)reply->len, workers[i].sent);
        ck_assert_int_le((long)reply->len, workers[i].sent + workers[i].lost);
        freeReplyObject(reply);
    }
    ck_assert_int_gt(server_calls(mirror, "append"), 0);
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("together");
    TCase *tc = suite_case(suite, "together", setup, teardown);
    tcase_add_test(tc, test_all_of_it);
    return suite_run(suite);
}
