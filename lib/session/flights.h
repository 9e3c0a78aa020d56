/* Flights: what is under way in a slot, at its master and elsewhere. Reads look here before they go
 * elsewhere; slots in which nothing is under way are forgotten when the table fills. */
#ifndef REDISROUTE_SESSION_FLIGHTS_H
#define REDISROUTE_SESSION_FLIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flight {
    uint32_t slot_and_one; /* 0: free */
    uint32_t writes;       /* unanswered */
    uint32_t away;         /* reads that other nodes than the owner are answering */
    int64_t master_until_ms;
};

/* An open hash, which is rebuilt without what is over when it fills. All zero: empty. */
struct flights {
    struct flight *entries;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t used;
};

/* NULL: nothing is. */
static inline struct flight *flights_find(const struct flights *f, uint16_t slot)
{
    for (uint32_t i = slot; f->capacity > 0; i++) {
        struct flight *entry = &f->entries[i & (f->capacity - 1)];

        if (entry->slot_and_one == slot + 1u)
            return entry;
        if (entry->slot_and_one == 0)
            break;
    }
    return NULL;
}

/* The slot's, which is made when there is none. Good until the next call. NULL: out of memory. */
struct flight *flights_take(struct flights *, uint16_t slot, int64_t now_ms);
void flights_deinit(struct flights *);

#endif
