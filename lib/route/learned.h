/* Commands that the table lacks, of modules and of newer servers, as the servers of a cluster
 * described them: looked up once, and remembered as long as the process. That a server does not
 * know a command is remembered for a while only, since a module may be loaded.
 *
 * A program may say any number of names: beyond LEARNED_ROWS_MAX nothing more is remembered.
 *
 * Thread-safe. What is known is found without a lock; its rows never change, and go with the
 * cluster. */
#ifndef REDISROUTE_ROUTE_LEARNED_H
#define REDISROUTE_ROUTE_LEARNED_H

#include "route/command_info.h"

#include <stdint.h>

enum { LEARNED_ROWS_MAX = 2048, LEARNED_ABSENT_MS = 10000 };

struct learned;

/* NULL: out of memory. */
struct learned *learned_create(void);
void learned_destroy(struct learned *);

/* By its name in lower case, a subcommand's with its container ("cluster|x"). NULL: not known. */
const struct command *learned_find(struct learned *, struct bytes name);

/* What a server said of it. NULL: the server does not know it, or there is no room. */
const struct command *learned_take(struct learned *, struct bytes name,
                                   const struct command *container, const char *reply,
                                   size_t length);

/* No server could say, or all it said was that there is none. */
void learned_set_absent(struct learned *, struct bytes name, int64_t now_ms);
bool learned_is_absent(struct learned *, struct bytes name, int64_t now_ms);

/* Held by the thread that forks. */
void learned_lock(struct learned *);
void learned_unlock(struct learned *);

#endif
