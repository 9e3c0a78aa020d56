#include "session/flights.h"

#include <stdlib.h>

enum { FLIGHTS_FIRST = 16 };

static struct flight *insert(struct flights *f, uint16_t slot)
{
    uint32_t i = slot;

    while (f->entries[i & (f->capacity - 1)].slot_and_one != 0)
        i++;
    f->used++;
    f->entries[i & (f->capacity - 1)].slot_and_one = slot + 1u;
    return &f->entries[i & (f->capacity - 1)];
}

static bool is_over(const struct flight *entry, int64_t now_ms)
{
    return entry->slot_and_one == 0 ||
           (entry->writes == 0 && entry->away == 0 && entry->master_until_ms <= now_ms);
}

static bool rebuild(struct flights *f, int64_t now_ms)
{
    struct flights fresh = {.capacity = FLIGHTS_FIRST};
    uint32_t live = 0;

    for (uint32_t i = 0; i < f->capacity; i++)
        live += !is_over(&f->entries[i], now_ms);
    while (fresh.capacity < 2 * (live + 1))
        fresh.capacity *= 2;
    fresh.entries = calloc(fresh.capacity, sizeof *fresh.entries);
    if (fresh.entries == NULL)
        return false;
    for (uint32_t i = 0; i < f->capacity; i++)
        if (!is_over(&f->entries[i], now_ms))
            *insert(&fresh, (uint16_t)(f->entries[i].slot_and_one - 1)) = f->entries[i];
    free(f->entries);
    *f = fresh;
    return true;
}

struct flight *flights_take(struct flights *f, uint16_t slot, int64_t now_ms)
{
    struct flight *entry = flights_find(f, slot);

    if (entry != NULL)
        return entry;
    if ((f->used + 1) * 4 > f->capacity * 3 && !rebuild(f, now_ms))
        return NULL;
    return insert(f, slot);
}

void flights_deinit(struct flights *f)
{
    free(f->entries);
    *f = (struct flights){0};
}
