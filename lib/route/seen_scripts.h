/* What was found in the scripts whose text went by, by their SHA-1: EVALSHA names nothing else. The
 * oldest are forgotten. Of the process; thread-safe. */
#ifndef REDISROUTE_ROUTE_SEEN_SCRIPTS_H
#define REDISROUTE_ROUTE_SEEN_SCRIPTS_H

#include "base/bytes.h"
#include "route/audit.h"

#include <stdbool.h>

enum { SEEN_SCRIPTS_MOST = 1024 };

struct seen_script {
    bool calls;                  /* redis.call is in it */
    char outside[AUDIT_ESCAPED]; /* escaped; empty: no key outside of KEYS */
};

/* Looks at the text, if it was not seen yet. */
struct seen_script seen_script_look(struct bytes text);
/* By SHA-1, in digits of any case. False: its text was not seen. */
bool seen_script_find(struct bytes sha, struct seen_script *);

/* Held by the thread that forks. */
void seen_scripts_lock_all(void);
void seen_scripts_unlock_all(void);

#endif
