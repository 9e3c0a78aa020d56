/* Topics: the channels, patterns and shard channels that a session is subscribed to, and over which
 * feeds (links that messages arrive on) their subscriptions run. Pure: no bytes are sent here. */
#ifndef REDISROUTE_SESSION_TOPIC_H
#define REDISROUTE_SESSION_TOPIC_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct feed;

enum topic_kind { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD_CHANNEL, TOPIC_KINDS };

/* One subscription at a server: the feed's nth name, counted from when its connection began. It is
 * in force when the feed has had that many answers. */
struct place {
    struct feed *feed;
    uint64_t number;
};

struct topic {
    struct topic *next; /* in its bucket */
    enum topic_kind kind;
    bool fresh;      /* its first subscription is not answered to the application yet */
    bool everywhere; /* every master may have messages for it: see topic_notifies */
    uint16_t slot;   /* of a shard channel */
    uint32_t place_count;
    uint32_t place_capacity;
    struct place *places;
    size_t length;
    char name[];
};

struct topics {
    struct topic **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    uint32_t count[TOPIC_KINDS];
    uint32_t everywhere;
};

/* Frees all topics. */
void topics_deinit(struct topics *);

static inline uint32_t topics_count(const struct topics *t)
{
    return t->count[TOPIC_CHANNEL] + t->count[TOPIC_PATTERN] + t->count[TOPIC_SHARD_CHANNEL];
}

struct topic *topics_find(const struct topics *, enum topic_kind, struct bytes name);
/* A topic that is not there yet. NULL: out of memory. */
struct topic *topics_add(struct topics *, enum topic_kind, struct bytes name);
void topics_remove(struct topics *, struct topic *);

/* All topics in no particular order; NULL begins. Topics may be removed only behind the walk. */
struct topic *topics_next(const struct topics *, const struct topic *);

struct place *topic_place(const struct topic *, const struct feed *);
/* False: out of memory. */
bool topic_put(struct topic *, struct feed *, uint64_t number);
void topic_leave(struct topic *, const struct feed *);

/* A channel of keyspace notifications, __keyspace@…__:… or __keyevent@…__:…: what is published
 * there stays at its server. */
bool topic_is_notification(struct bytes channel);
/* Whether such a channel may match the topic; for patterns, as far as their beginning says. */
bool topic_notifies(enum topic_kind, struct bytes name);

#endif
