/* SCAN over the whole cluster; doc/scan.md says what it promises. */
#ifndef REDISROUTE_SESSION_SCAN_H
#define REDISROUTE_SESSION_SCAN_H

#include "session/plan.h"

void plan_scan(struct session *, const struct line *);
/* All parts of such a request are answered. */
void scan_answered(struct session *, struct request *);

#endif
