/* INFO: the reports of a cluster's masters become one that reads as a single server's. Pure.
 *
 * Every section and field of the first report is kept, in its place; what was counted is summed,
 * what is a ratio is worked out anew, and what identifies a server is that of one master. The rule
 * of each field is in the table in info.c. */
#ifndef REDISROUTE_SESSION_INFO_H
#define REDISROUTE_SESSION_INFO_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

/* Appends the text of one INFO reply, made of `count` > 0 of them. False: out of memory, and
 * nothing was appended. */
bool info_merge(const struct bytes *reports, size_t count, struct buffer *out);

#endif
