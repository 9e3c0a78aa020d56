/* fork before and after connecting, as with hiredis: a context is used by one process at a time,
 * and each process can open contexts of its own at any time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { CHILDREN = 8, KEYS = 60 };

/* In a child nothing of Check works: it says by its exit status whether all went well. */
static bool use(redisContext *c, const char *name)
{
    bool is_fine = c && !c->err;
    for (int i = 0; i < KEYS && is_fine; i++) {
        redisReply *reply = redisCommand(c, "SET fork:%s:%d v", name, i);
        is_fine = reply && reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
    }
    for (int i = 0; i < KEYS && is_fine; i++)
        redisAppendCommand(c, "GET fork:%s:%d", name, i);
    for (int i = 0; i < KEYS && is_fine; i++) {
        redisReply *reply = NULL;
        is_fine =
            redisGetReply(c, (void **)&reply) == REDIS_OK && reply->str && !strcmp(reply->str, "v");
        freeReplyObject(reply);
    }
    return is_fine;
}

static bool use_new_context(int port, const char *name)
{
    redisContext *c = redisConnect("127.0.0.1", port);
    bool is_fine = use(c, name);
    redisFree(c);
    return is_fine;
}

static void expect_success(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}

START_TEST(test_connect_in_each_child)
{
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(!use_new_context(target_port(_i), "each"));
    }
    for (int i = 0; i < CHILDREN; i++)
        expect_success(children[i]);
}
END_TEST

/* The parent has used the library already: its threads are not there in the child. */
START_TEST(test_children_of_a_parent_that_is_connected)
{
    pid_t children[CHILDREN];
    redisContext *c = connect_target(_i);
    ck_assert(use(c, "parent"));
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(!use_new_context(target_port(_i), "child"));
        ck_assert(use(c, "parent"));
    }
    for (int i = 0; i < CHILDREN; i++)
        expect_success(children[i]);
    ck_assert(use(c, "parent"));
    redisFree(c);
}
END_TEST

/* kamailio, and every daemon that forks into the background: connect, fork, and only the child goes
 * on with the context. */
START_TEST(test_the_child_goes_on_with_the_context)
{
    redisContext *c = connect_target(_i);
    ck_assert(use(c, "before"));
    pid_t child = fork();
    if (child == 0) {
        bool is_fine = use(c, "inherited") && use(c, "inherited");
        redisFree(c);
        _exit(!is_fine);
    }
    expect_success(child);
    redisFree(c);
}
END_TEST

START_TEST(test_the_child_is_the_first_to_use_the_context)
{
    redisContext *c = connect_target(_i);
    pid_t child = fork();
    if (child == 0)
        _exit(!use(c, "first"));
    expect_success(child);
    redisFree(c);
}
END_TEST

/* The child ends, or frees what it has inherited: the parent's connections live on. */
START_TEST(test_a_child_that_ends_leaves_the_parent_connected)
{
    redisContext *c = connect_target(_i);
    ck_assert(use(c, "parent"));
    for (int i = 0; i < 4; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (i % 2)
                redisFree(c);
            _exit(0);
        }
        expect_success(child);
        ck_assert(use(c, "parent"));
        ck_assert_int_eq(c->err, 0);
    }
    redisFree(c);
}
END_TEST

START_TEST(test_grandchildren)
{
    redisContext *c = connect_target(_i);
    ck_assert(use(c, "parent"));
    pid_t child = fork();
    if (child == 0) {
        int status = 0;
        bool is_fine = use_new_context(target_port(_i), "child");
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(!use_new_context(target_port(_i), "grandchild"));
        waitpid(grandchild, &status, 0);
        is_fine &= status == 0 && use_new_context(target_port(_i), "child");
        _exit(!is_fine);
    }
    expect_success(child);
    redisFree(c);
}
END_TEST

/* What a child learns must come from threads of its own: here, that a slot has moved for good. */
START_TEST(test_a_child_follows_a_cluster_that_changes)
{
    struct cluster *cluster = target_cluster();
    redisContext *c = connect_target(TARGET_CLUSTER);
    ck_assert(use(c, "moved"));
    int slot = cluster_slot("fork:moved:1");
    int from = cluster_owner_of_slot(cluster, 0, slot);
    cluster_migrate(cluster, slot, from, (from + 1) % cluster_masters(cluster));
    pid_t child = fork();
    if (child == 0)
        _exit(!(use(c, "moved") && use_new_context(target_port(TARGET_CLUSTER), "moved")));
    expect_success(child);
    redisFree(c);
}
END_TEST

static void report_into(const char *folder)
{
    char pattern[64];

    snprintf(pattern, sizeof pattern, "%s/%%p.prom", folder);
    setenv("REDISROUTE_STATS_FILE", pattern, 1);
    setenv("REDISROUTE_STATS_INTERVAL", "100ms", 1);
}

static bool is_reported(const char *folder, pid_t process)
{
    char path[64];

    snprintf(path, sizeof path, "%s/%d.prom", folder, (int)process);
    return access(path, F_OK) == 0;
}

/* For a child: its status is whether all went well, in time. */
static int report_as_well(const char *folder)
{
    redisContext *c;

    alarm(20);
    c = connect_target(TARGET_CLUSTER);
    EXPECT(c, "OK", "SET key v");
    while (!is_reported(folder, getpid()))
        pause_ms(5);
    redisFree(c);
    return 0;
}

/* What stands where the next text is to be written takes nothing until it is read from. */
static void block_writing(const char *folder, char path[64])
{
    snprintf(path, 64, "%s/%d.prom.%d.tmp", folder, (int)getpid(), (int)getpid());
    UNTIL(mkfifo(path, 0600) == 0);
}

static void unblock_writing(const char *path)
{
    char text[4096];
    int fd = open(path, O_RDONLY);

    MUST(fd >= 0);
    while (read(fd, text, sizeof text) > 0)
        ;
    close(fd);
}

/* A disk may be slow for as long as it likes: a fork does not wait for it, nor does a child. */
START_TEST(test_a_fork_while_the_statistics_are_written)
{
    enum { REPORTERS = 8 };
    char folder[] = "/tmp/redisroute-fork-XXXXXX", path[64], command[64];
    pid_t children[REPORTERS];
    redisContext *c;
    int status;

    MUST(mkdtemp(folder));
    report_into(folder);
    c = connect_target(TARGET_CLUSTER);
    EXPECT(c, "OK", "SET key v");
    UNTIL(is_reported(folder, getpid()));
    block_writing(folder, path);
    fflush(NULL);
    for (int i = 0; i < REPORTERS; i++) {
        children[i] = fork();
        MUST(children[i] >= 0);
        if (children[i] == 0)
            _exit(report_as_well(folder));
        pause_ms(50);
    }
    for (int i = 0; i < REPORTERS; i++) {
        MUST(waitpid(children[i], &status, 0) == children[i]);
        ck_assert_msg(status == 0, "child %d: status %x", i, (unsigned)status);
    }
    unblock_writing(path);
    redisFree(c);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    UNTIL(system(command) == 0); /* the next text may come in between */
}
END_TEST

/* ccache: a process per compilation, each with one short connection, with a limit of 100 ms. */
START_TEST(test_many_short_processes_at_once)
{
    enum { PROCESSES = 16 };
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] != 0)
            continue;
        redisContext *c = redisConnectWithTimeout("127.0.0.1", target_port(_i),
                                                  (struct timeval){.tv_usec = 100000});
        bool is_fine = use(c, "short");
        redisFree(c);
        _exit(!is_fine);
    }
    for (int i = 0; i < PROCESSES; i++)
        expect_success(children[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fork");
    TCase *tc = suite_case(suite, "fork", target_setup, target_teardown);
    tcase_add_loop_test(tc, test_connect_in_each_child, 0, target_count());
    tcase_add_loop_test(tc, test_children_of_a_parent_that_is_connected, 0, target_count());
    tcase_add_loop_test(tc, test_the_child_goes_on_with_the_context, 0, target_count());
    tcase_add_loop_test(tc, test_the_child_is_the_first_to_use_the_context, 0, target_count());
    tcase_add_loop_test(tc, test_a_child_that_ends_leaves_the_parent_connected, 0, target_count());
    tcase_add_loop_test(tc, test_grandchildren, 0, target_count());
    tcase_add_loop_test(tc, test_many_short_processes_at_once, 0, target_count());
    if (target_count() > TARGET_CLUSTER) {
        tcase_add_test(tc, test_a_child_follows_a_cluster_that_changes);
        tcase_add_test(tc, test_a_fork_while_the_statistics_are_written);
    }
    return suite_run(suite);
}
