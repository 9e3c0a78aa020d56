#include "session/topic.h"

#include <stdlib.h>
#include <string.h>

#include "route/slot.h"

enum { BUCKETS_FIRST = 16, PREFIXES = 2 };

static const char *const notification_prefix[PREFIXES] = {"__keyspace@", "__keyevent@"};

/* FNV-1a */
static uint64_t hash(enum topic_kind kind, struct bytes name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) + kind;

    for (size_t i = 0; i < name.length; i++)
        h = (h ^ (unsigned char)name.data[i]) * UINT64_C(0x100000001b3);
    return h;
}

static struct topic **bucket_of(const struct topics *t, enum topic_kind kind, struct bytes name)
{
    return &t->buckets[hash(kind, name) & (t->bucket_count - 1)];
}

static struct bytes name_of(const struct topic *topic)
{
    return (struct bytes){topic->name, topic->length};
}

static void free_topic(struct topic *topic)
{
    free(topic->places);
    free(topic);
}

void topics_deinit(struct topics *t)
{
    for (size_t i = 0; i < t->bucket_count; i++)
        while (t->buckets[i] != NULL) {
            struct topic *next = t->buckets[i]->next;

            free_topic(t->buckets[i]);
            t->buckets[i] = next;
        }
    free(t->buckets);
    *t = (struct topics){0};
}

struct topic *topics_find(const struct topics *t, enum topic_kind kind, struct bytes name)
{
    struct topic *topic = t->bucket_count > 0 ? *bucket_of(t, kind, name) : NULL;

    while (topic != NULL && (topic->kind != kind || topic->length != name.length ||
                             memcmp(topic->name, name.data, name.length) != 0))
        topic = topic->next;
    return topic;
}

static bool grow(struct topics *t)
{
    size_t count = t->bucket_count ? t->bucket_count * 2 : BUCKETS_FIRST;
    struct topics grown = *t;
    struct topic *topic, *next;

    grown.buckets = calloc(count, sizeof(struct topic *));
    if (grown.buckets == NULL)
        return false;
    grown.bucket_count = count;
    for (size_t i = 0; i < t->bucket_count; i++)
        for (topic = t->buckets[i]; topic != NULL; topic = next) {
            struct topic **bucket = bucket_of(&grown, topic->kind, name_of(topic));

            next = topic->next;
            topic->next = *bucket;
            *bucket = topic;
        }
    free(t->buckets);
    *t = grown;
    return true;
}

struct topic *topics_add(struct topics *t, enum topic_kind kind, struct bytes name)
{
    struct topic *topic, **bucket;

    if (topics_count(t) >= t->bucket_count && !grow(t))
        return NULL;
    topic = calloc(1, sizeof *topic + name.length);
    if (topic == NULL)
        return NULL;
    topic->kind = kind;
    topic->length = name.length;
    memcpy(topic->name, name.data, name.length);
    topic->everywhere = topic_notifies(kind, name);
    topic->slot = kind == TOPIC_SHARD_CHANNEL ? slot_of_key(name.data, name.length) : SLOT_NONE;
    bucket = bucket_of(t, kind, name);
    topic->next = *bucket;
    *bucket = topic;
    t->count[kind]++;
    t->everywhere += topic->everywhere;
    return topic;
}

void topics_remove(struct topics *t, struct topic *topic)
{
    struct topic **at = bucket_of(t, topic->kind, name_of(topic));

    while (*at != topic)
        at = &(*at)->next;
    *at = topic->next;
    t->count[topic->kind]--;
    t->everywhere -= topic->everywhere;
    free_topic(topic);
}

struct topic *topics_next(const struct topics *t, const struct topic *topic)
{
    size_t i = 0;

    if (topic != NULL && topic->next != NULL)
        return topic->next;
    if (topic != NULL)
        i = (size_t)(bucket_of(t, topic->kind, name_of(topic)) - t->buckets) + 1;
    for (; i < t->bucket_count; i++)
        if (t->buckets[i] != NULL)
            return t->buckets[i];
    return NULL;
}

struct place *topic_place(const struct topic *topic, const struct feed *feed)
{
    for (uint32_t i = 0; i < topic->place_count; i++)
        if (topic->places[i].feed == feed)
            return &topic->places[i];
    return NULL;
}

bool topic_put(struct topic *topic, struct feed *feed, uint64_t number)
{
    if (topic->place_count == topic->place_capacity) {
        uint32_t capacity = topic->place_capacity ? topic->place_capacity * 2 : 1;
        struct place *places = realloc(topic->places, capacity * sizeof *places);

        if (places == NULL)
            return false;
        topic->places = places;
        topic->place_capacity = capacity;
    }
    topic->places[topic->place_count++] = (struct place){feed, number};
    return true;
}

void topic_leave(struct topic *topic, const struct feed *feed)
{
    struct place *place = topic_place(topic, feed);

    if (place != NULL)
        *place = topic->places[--topic->place_count];
}

bool topic_is_notification(struct bytes channel)
{
    for (int i = 0; i < PREFIXES; i++) {
        size_t length = strlen(notification_prefix[i]);

        if (channel.length >= length && memcmp(channel.data, notification_prefix[i], length) == 0)
            return true;
    }
    return false;
}

/* How many bytes of a pattern stand for themselves. */
static size_t literal_length(struct bytes pattern)
{
    size_t i = 0;

    while (i < pattern.length && memchr("*?[\\", pattern.data[i], 4) == NULL)
        i++;
    return i;
}

static bool may_begin(struct bytes pattern, const char *prefix)
{
    size_t literal = literal_length(pattern), length = strlen(prefix);

    if (literal == pattern.length && literal < length)
        return false;
    return memcmp(pattern.data, prefix, literal < length ? literal : length) == 0;
}

bool topic_notifies(enum topic_kind kind, struct bytes name)
{
    if (kind == TOPIC_SHARD_CHANNEL)
        return false;
    if (kind == TOPIC_CHANNEL)
        return topic_is_notification(name);
    return may_begin(name, notification_prefix[0]) || may_begin(name, notification_prefix[1]);
}
