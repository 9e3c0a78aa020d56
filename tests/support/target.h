/* The servers that a test of hiredis' own behaviour runs on, one after the other: whatever holds on
 * a plain server has to hold on a cluster too.
 *
 *     tcase_add_loop_test(tc, test_…, 0, target_count());      and in it: connect_target(_i)
 *
 * With REDISROUTE_TEST_PLAIN=1 in the environment there is only the plain server, for a look at
 * how hiredis alone behaves. */
#ifndef SUPPORT_TARGET_H
#define SUPPORT_TARGET_H

#include <hiredis/hiredis.h>

enum target { TARGET_PLAIN, TARGET_CLUSTER };

struct cluster;

/* Fixtures: start and stop a plain server and a cluster of 3 masters. */
void target_setup(void);
void target_teardown(void);

int target_count(void);
int target_port(int target);

/* The cluster behind TARGET_CLUSTER. */
struct cluster *target_cluster(void);

/* Removes every key. */
void target_flush(int target);

/* A redis-cli of sorts beside the library: the reply to a one-key command, from the node that
 * has the key, as text (wire_text); freed by the caller. */
char *target_look(int target, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* redisConnect to it; fails the test when that fails. */
redisContext *connect_target(int target);
redisContext *connect_port(int port);

#endif
