/* Prefixes of keys, and what stands behind each: a look-up finds the longest that a key has. Pure,
 * and never changed once it is made. */
#ifndef REDISROUTE_ROUTE_PREFIX_H
#define REDISROUTE_ROUTE_PREFIX_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prefix {
    struct bytes text;
    uint16_t to;    /* these two: the users' own; where keys go, … */
    uint16_t reads; /* … and where commands go that only read */
    bool remove;    /* it is no part of the key that is sent */
};

struct prefixes;

/* Each text differs from the others, and is copied. An empty one is a prefix of every key. NULL:
 * out of memory. */
struct prefixes *prefixes_create(const struct prefix *, size_t count, bool case_insensitive);
void prefixes_destroy(struct prefixes *);

/* NULL: the key has none. */
const struct prefix *prefixes_find(const struct prefixes *, struct bytes key);

#endif
