/* Token buckets, one for each node: how fast this process connects anew to a server that was lost.
 * Hundreds of sessions lose theirs in the same moment, and find it back in the same moment; a
 * server that has just started has better things to do than to accept all of them at once.
 *
 * Shared by all threads. No call takes a lock or waits, and a fork in between harms nothing: the
 * child goes on with what its parent had taken. */
#ifndef REDISROUTE_LINK_BUCKET_H
#define REDISROUTE_LINK_BUCKET_H

#include "config/config.h"

#include <stdint.h>

/* Takes the next token of the node at that address, which may not have fallen yet: how many
 * milliseconds of `now_ms`'s clock there are until then, 0 for none. What was taken cannot be given
 * back. A rate of 0 is no limit. */
int64_t bucket_take(const char *host, uint16_t port, const struct config_reconnect *,
                    int64_t now_ms);

#endif
