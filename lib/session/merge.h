/* Merging: the replies of several servers to the parts of one command become one reply.
 * Pure. The kinds are those of the server's command tips (response_policy). */
#ifndef REDISROUTE_SESSION_MERGE_H
#define REDISROUTE_SESSION_MERGE_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct merge_part {
    struct bytes reply;        /* one whole reply */
    const char *server;        /* "host:port" that it came from; NULL: made here */
    uint32_t count;            /* keys of this part, and … */
    const uint32_t *positions; /* … where they stand in the application's command */
};

enum merge_kind {
    MERGE_POSITIONS,   /* an element for each key, in the application's order: MGET */
    MERGE_CONCATENATE, /* the elements of all, in the order of the parts: KEYS */
    MERGE_SUM,         /* these five: integers, or arrays of them element by element */
    MERGE_MIN,         /* … which may be RESP3 booleans, except for a sum */
    MERGE_MAX,
    MERGE_AND,
    MERGE_OR,
    MERGE_UNION,         /* as CONCATENATE, but equal elements are one: PUBSUB CHANNELS */
    MERGE_SUM_OF_NAMED,  /* of arrays of names, the same in all, and integers: PUBSUB NUMSUB */
    MERGE_TEXT,          /* strings, one behind the other: CLIENT LIST */
    MERGE_INFO,          /* texts of INFO: see info.h */
    MERGE_ANY,           /* one that is not nil, if there is one */
    MERGE_ALL_SUCCEEDED, /* the first */
    MERGE_ONE_SUCCEEDED, /* the first that is no error, else the first error as it is */
    MERGE_SCAN,          /* not done here: see scan.h */
};

/* Appends one reply. An error in any part, except for ONE_SUCCEEDED, makes the whole an
 * error: the server's, and which server it was. Parts that do not fit together make an
 * "-ERR redisroute: …". The aggregate keeps the RESP3 type of its parts. Attributes are
 * dropped where replies are taken apart. False: out of memory, nothing was appended. */
bool merge_replies(enum merge_kind, const struct merge_part *parts, size_t count,
                   struct buffer *out);

#endif
