/* SCAN over the whole cluster; doc/scan.md says what it promises. */
#ifndef REDISROUTE_SESSION_SCAN_H
#define REDISROUTE_SESSION_SCAN_H

#include "session/plan.h"

void plan_scan(struct session *, const struct line *);
/* All parts of such a request are answered. */
/* These three for the front's own SCAN. The line being planned, with another cursor. */
bool scan_write_line(struct session *, uint64_t cursor, struct buffer *out);
/* "*2 cursor keys". False: it is not. */
bool scan_read(struct bytes reply, uint64_t *cursor, struct bytes *keys);
/* `keys` is a whole reply. */
void scan_complete(struct session *, struct request *, uint64_t cursor, struct bytes keys);
void scan_answered(struct session *, struct request *);

#endif
