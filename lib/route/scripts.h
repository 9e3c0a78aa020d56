/* The Lua scripts that this process loaded into a cluster, or ran there: a node that does not know
 * one (it joined later, or was restarted) is told again. The oldest go when there are too many.
 *
 * Thread-safe: a lock that is held for a copy of one script. */
#ifndef REDISROUTE_ROUTE_SCRIPTS_H
#define REDISROUTE_ROUTE_SCRIPTS_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many as a program has, and no more memory than it would miss. */
enum { SCRIPTS_MAX = 1024, SCRIPTS_BYTES_MAX = 8 << 20 };

struct scripts;

/* NULL: out of memory. */
struct scripts *scripts_create(void);
void scripts_destroy(struct scripts *);

/* A script's text. Out of memory, or too long: it is not remembered. */
void scripts_remember(struct scripts *, struct bytes text);
/* By its SHA-1 in hexadecimal digits of any case. */
bool scripts_know(struct scripts *, struct bytes sha);
/* A malloc'ed copy of the text; NULL: it is not known, or memory is out. */
char *scripts_text(struct scripts *, struct bytes sha, size_t *length);
/* Grows when a script is forgotten. */
uint64_t scripts_version(const struct scripts *);
/* SCRIPT FLUSH. */
void scripts_forget(struct scripts *);

/* Held by the thread that forks. */
void scripts_lock(struct scripts *);
void scripts_unlock(struct scripts *);

#endif
