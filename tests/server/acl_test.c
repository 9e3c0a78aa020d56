/* Users: who the program is, every connection of its context is; and what becomes of it when a
 * password changes, or when a user may not ask what the library would like to know. */
#define _GNU_SOURCE
#include <signal.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/byte_client.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { MASTERS = 3, KEYS = 60 };

static struct cluster *cluster;

static void setup(void)
{
    cluster = cluster_start(NULL);
}

static void teardown(void)
{
    cluster_stop(cluster);
    cluster = NULL;
}

/* At every node. */
static void set_user(const char *rules)
{
    for (int node = 0; node < cluster_size(cluster); node++)
        ck_assert(cluster_says(cluster, node, "OK", "ACL SETUSER %s", rules));
}

static void close_connections(void)
{
    for (int node = 0; node < cluster_size(cluster); node++)
        free(cluster_command(cluster, node, "CLIENT KILL TYPE normal"));
}

static void use(redisContext *c, const char *prefix)
{
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET %s:%d %d", prefix, i, i);
    for (int i = 0; i < KEYS; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "%d", i);
        EXPECT(c, expected, "GET %s:%d", prefix, i);
    }
}

static int connections_of(const char *user)
{
    int count = 0;
    char part[64];
    snprintf(part, sizeof part, "user=%s ", user);
    for (int node = 0; node < cluster_size(cluster); node++) {
        char *list = cluster_command(cluster, node, "CLIENT LIST");
        count += strstr(list, part) != NULL;
        free(list);
    }
    return count;
}

START_TEST(test_every_connection_is_of_the_user)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    set_user("ann reset on >secret ~ann:* &* +@all");
    if (_i == 0)
        EXPECT(c, "OK", "AUTH ann secret");
    else
        freeReplyObject(redisCommand(c, "HELLO 2 AUTH ann secret SETNAME her"));
    use(c, "ann");
    ck_assert_int_eq(connections_of("ann"), MASTERS);
    EXPECT_ERROR(c, "NOPERM", "GET bob:1");
    EXPECT_ERROR(c, "NOPERM", "MGET ann:1 bob:1 ann:2");
    EXPECT(c, "ann", "ACL WHOAMI");
    /* What was said by HELLO goes on when HELLO is said again. */
    freeReplyObject(redisCommand(c, "HELLO 2"));
    close_connections();
    use(c, "ann");
    ck_assert_int_eq(connections_of("ann"), MASTERS);
    if (_i == 1)
        EXPECT(c, "her", "CLIENT GETNAME");
    redisFree(c);
}
END_TEST

START_TEST(test_password_changes)
{
    redisContext *c = connect_port(cluster_port(cluster, 0));
    set_user("pat reset on >old ~* &* +@all");
    if (_i == 0)
        EXPECT(c, "OK", "AUTH pat old");
    else
        freeReplyObject(redisCommand(c, "HELLO 2 AUTH pat old"));
    use(c, "pat");
    set_user("pat resetpass >new");
    use(c, "pat"); /* a server that knows us asks no more */
    close_connections();
    EXPECT_ERROR(c, "WRONGPASS", "GET pat:1");
    EXPECT_ERROR(c, "WRONGPASS", "AUTH pat wrong");
    EXPECT_ERROR(c, "WRONGPASS", "GET pat:1");
    if (_i == 0)
        EXPECT(c, "OK", "AUTH pat new");
    else
        freeReplyObject(redisCommand(c, "HELLO 2 AUTH pat new"));
    use(c, "pat");
    close_connections();
    use(c, "pat");
    ck_assert_int_eq(connections_of("pat"), MASTERS);
    redisFree(c);
}
END_TEST

/* The topology is none of its business: it is learnt from redirections. */
START_TEST(test_user_who_may_not_ask)
{
    redisContext *c;
    set_user("low reset on >low ~low:* +@read +@write +client|setname");
    set_user("default off");
    if (_i == 1)
        setenv("REDISROUTE_READ_POLICY", "REPLICA", 1); /* of whom? the master, in effect */
    c = connect_port(cluster_port(cluster, 1));
    EXPECT_ERROR(c, "NOAUTH", "GET low:1");
    EXPECT(c, "OK", "AUTH low low");
    use(c, "low");
    EXPECT(c, "1\n2\n3", "MGET low:1 low:2 low:3");
    EXPECT_ERROR(c, "NOPERM", "INFO");
    EXPECT_ERROR(c, "NOPERM", "GET high");
    redisFree(c);
}
END_TEST

/* … and a slot that moves, too. */
START_TEST(test_slot_moves_under_a_user_who_may_not_ask)
{
    redisContext *c;
    int slot = cluster_slot("low:1");
    int owner = cluster_owner_of_slot(cluster, 0, slot);
    set_user("low reset on >low ~low:* +@read +@write");
    c = connect_port(cluster_port(cluster, 1));
    EXPECT(c, "OK", "AUTH low low");
    use(c, "low");
    cluster_migrate(cluster, slot, owner, (owner + 1) % MASTERS);
    use(c, "low");
    redisFree(c);
}
END_TEST

/* Before the server says anything it wants to know who we are. */
START_TEST(test_auth_comes_first)
{
    struct byte_client *b;
    redisContext *c;
    set_user("def reset on >def ~* &* +@all");
    set_user("default off");
    b = byte_open(cluster_port(cluster, 2));
    c = connect_port(cluster_port(cluster, 2));
    byte_say(b, "HELLO 3");
    byte_say(b, "HELLO 3 AUTH def def SETNAME b");
    byte_say(b, "GET none:1");
    BYTE_HEARS(b, "-NOAUTH*");
    BYTE_HEARS(b, "%*");
    BYTE_HEARS(b, "_\r\n");
    for (int i = 0; i < KEYS; i++)
        BYTE_EXPECT(b, "_\r\n", "GET none:%d", i);
    redisAppendCommand(c, "AUTH def def");
    for (int i = 0; i < KEYS; i++)
        redisAppendCommand(c, "SET def:%d %d", i, i);
    for (int i = 0; i <= KEYS; i++)
        EXPECT_NEXT(c, "OK");
    use(c, "def");
    redisFree(c);
    byte_close(b);
}
END_TEST

/* One session's user may ask nothing; the keeper asks as the other's. */
START_TEST(test_refresh_as_who_may)
{
    struct cluster_options options = {.masters = 3, .replicas = 1, .node_timeout_ms = 1000};
    redisContext *high, *low;
    struct timeval limit = {.tv_sec = 60};

    cluster_stop(cluster);
    cluster = cluster_start(&options);
    set_user("high reset on >high ~* &* +@all");
    set_user("low reset on >low ~* &* +@read +@write");
    high = connect_port(cluster_port(cluster, 1));
    low = connect_port(cluster_port(cluster, 1));
    redisSetTimeout(low, limit);
    EXPECT(high, "OK", "AUTH high high");
    use(high, "who");
    EXPECT(low, "OK", "AUTH low low");
    use(low, "who");
    set_user("default off");
    cluster_signal(cluster, 0, SIGSTOP);
    for (int i = 0; i < KEYS; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "%d", i);
        EXPECT(low, expected, "GET who:%d", i);
    }
    cluster_signal(cluster, 0, SIGCONT);
    redisFree(high);
    redisFree(low);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("acl");
    TCase *tc = suite_case(suite, "users", NULL, NULL);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_every_connection_is_of_the_user, 0, 2);
    tcase_add_loop_test(tc, test_password_changes, 0, 2);
    tcase_add_loop_test(tc, test_user_who_may_not_ask, 0, 2);
    tcase_add_test(tc, test_slot_moves_under_a_user_who_may_not_ask);
    tcase_add_test(tc, test_auth_comes_first);
    tcase_add_test(tc, test_refresh_as_who_may);
    return suite_run(suite);
}
