/* INFO of a cluster: reads as one server's, with the numbers of all masters. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/suite.h"
#include "../support/target.h"

enum { KEYS = 300, VOLATILE = 40 };

/* The value of a field, or of `part` of it ("keys" of "db0"); -1: there is none. */
static long long number_in(const char *report, const char *field, const char *part)
{
    char name[128], *at;

    snprintf(name, sizeof name, "\n%s:", field);
    at = strstr(report, name);
    if (!at)
        return -1;
    at += strlen(name);
    if (part) {
        snprintf(name, sizeof name, "%s=", part);
        at = strstr(at, name);
        ck_assert_ptr_nonnull(at);
        at += strlen(name);
    }
    return atoll(at);
}

static long long sum_over_masters(const char *section, const char *field, const char *part)
{
    long long sum = 0;

    for (int i = 0; i < cluster_masters(target_cluster()); i++) {
        char *report = cluster_command(target_cluster(), i, "INFO %s", section);
        long long number = number_in(report, field, part);

        sum += number > 0 ? number : 0;
        free(report);
    }
    return sum;
}

static char *info(redisContext *c, const char *sections)
{
    char line[64], *report;
    redisReply *reply;

    snprintf(line, sizeof line, "INFO%s%s", *sections ? " " : "", sections);
    reply = redisCommand(c, line);
    ck_assert_ptr_nonnull(reply);
    ck_assert_int_eq(reply->type, REDIS_REPLY_STRING);
    report = strdup(reply->str);
    freeReplyObject(reply);
    return report;
}

/* Everything before the colons, line by line. */
static char *names_of(const char *report)
{
    char *names = calloc(1, strlen(report) + 1), *to = names;

    MUST(names);
    for (const char *line = report; *line;) {
        size_t length = strcspn(line, "\n");

        to = mempcpy(to, line, strcspn(line, ":\r\n"));
        *to++ = '\n';
        line += length + (line[length] == '\n');
    }
    return names;
}

static void write_keys(redisContext *c)
{
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, "OK", "SET key:%d v", i);
    for (int i = 0; i < VOLATILE; i++)
        EXPECT(c, "1", "EXPIRE key:%d 1000", i);
}

START_TEST(test_keyspace_is_that_of_all_masters)
{
    redisContext *c = connect_target(_i);
    char *report;

    target_flush(_i);
    report = info(c, "keyspace");
    ck_assert_ptr_null(strstr(report, "db0"));
    free(report);
    write_keys(c);
    report = info(c, "keyspace");
    ck_assert_int_eq(number_in(report, "db0", "keys"), KEYS);
    ck_assert_int_eq(number_in(report, "db0", "expires"), VOLATILE);
    /* Servers know it once they have looked for keys to expire. */
    ck_assert_int_ge(number_in(report, "db0", "avg_ttl"), 0);
    ck_assert_int_le(number_in(report, "db0", "avg_ttl"), 1000000);
    free(report);
    redisFree(c);
}
END_TEST

START_TEST(test_reads_as_one_server)
{
    static const char *const sections[] = {"", "all", "everything", "server clients", "MEMORY"};
    redisContext *c = connect_target(_i);
    char *report = info(c, "");

    ck_assert_ptr_nonnull(strstr(report, "redis_version:"));
    ck_assert(strstr(report, "\nredis_mode:standalone\r\n") ||  /* Redis */
              strstr(report, "\nserver_mode:standalone\r\n")); /* Valkey */
    ck_assert_ptr_null(strstr(report, "_mode:cluster\r\n"));
    ck_assert_ptr_nonnull(strstr(report, "\nrole:master\r\n"));
    ck_assert_ptr_nonnull(strstr(report, "\ncluster_enabled:0\r\n"));
    free(report);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0] && _i == TARGET_CLUSTER; i++) {
        char *node =
            cluster_command(target_cluster(), 0, "INFO%s%s", *sections[i] ? " " : "", sections[i]);
        char *merged = info(c, sections[i]), *names, *expected;

        /* Commands are listed as they are first used; the end differs from node to node. */
        if (strstr(node, "# Commandstats"))
            *strstr(node, "# Commandstats") = *strstr(merged, "# Commandstats") = '\0';
        names = names_of(merged);
        expected = names_of(node);
        ck_assert_str_eq(names, expected);
        free(names);
        free(expected);
        free(merged);
        free(node);
    }
    EXPECT(c, "", "INFO nosuchsection");
    redisFree(c);
}
END_TEST

START_TEST(test_counts_are_those_of_all_masters)
{
    redisContext *c = connect_target(TARGET_CLUSTER);
    char *report;

    target_flush(TARGET_CLUSTER);
    EXPECT(c, "OK", "CONFIG RESETSTAT");
    write_keys(c);
    for (int i = 0; i < KEYS; i++)
        EXPECT(c, i % 2 ? "v" : "(nil)", "GET %s:%d", i % 2 ? "key" : "none", i);
    report = info(c, "all");
    ck_assert_int_eq(number_in(report, "cmdstat_set", "calls"), KEYS);
    ck_assert_int_eq(number_in(report, "cmdstat_get", "calls"), KEYS);
    ck_assert_int_eq(number_in(report, "keyspace_hits", NULL), KEYS / 2);
    ck_assert_int_eq(number_in(report, "keyspace_misses", NULL), KEYS / 2);
    ck_assert_int_ge(number_in(report, "total_commands_processed", NULL), 2 * KEYS);
    ck_assert_int_ge(number_in(report, "connected_clients", NULL), 3);
    ck_assert_int_eq(number_in(report, "cmdstat_get", "usec"),
                     sum_over_masters("commandstats", "cmdstat_get", "usec"));
    ck_assert_int_eq(number_in(report, "maxclients", NULL),
                     sum_over_masters("clients", "maxclients", NULL));
    free(report);
    redisFree(c);
}
END_TEST

START_TEST(test_in_pipelines_and_transactions)
{
    redisContext *c = connect_target(_i);
    redisReply *reply;

    target_flush(_i);
    for (int i = 0; i < 10; i++)
        redisAppendCommand(c, "SET key:%d v", i);
    redisAppendCommand(c, "INFO keyspace");
    for (int i = 0; i < 10; i++)
        EXPECT_NEXT(c, "OK");
    MUST(redisGetReply(c, (void **)&reply) == REDIS_OK);
    ck_assert_int_eq(number_in(reply->str, "db0", "keys"), 10);
    freeReplyObject(reply);
    /* A transaction runs on one node, which cannot speak for all. */
    EXPECT(c, "OK", "MULTI");
    if (_i == TARGET_PLAIN)
        EXPECT(c, "QUEUED", "INFO server");
    else
        EXPECT_ERROR(c, "UNSUPPORTED", "INFO server");
    EXPECT(c, "OK", "DISCARD");
    redisFree(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("info");
    TCase *tc = suite_case(suite, "reports", target_setup, target_teardown);

    tcase_add_loop_test(tc, test_keyspace_is_that_of_all_masters, 0, target_count());
    tcase_add_loop_test(tc, test_reads_as_one_server, 0, target_count());
    if (target_count() > TARGET_CLUSTER)
        tcase_add_test(tc, test_counts_are_those_of_all_masters);
    tcase_add_loop_test(tc, test_in_pipelines_and_transactions, 0, target_count());
    return suite_run(suite);
}
