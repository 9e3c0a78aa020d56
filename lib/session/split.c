#include "session/split.h"

#include "base/resp.h"
#include "route/slot.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_FEWEST = 16, BUCKETS_MOST = 2 * SLOT_COUNT };

/* What is needed while splitting only. `bucket` is open addressing by slot and has at least
 * twice as many places as there can be groups. */
struct work {
    uint32_t *group_of; /* by position */
    uint32_t *bucket;   /* index + 1 of a group; 0: free */
    size_t mask;
};

static size_t buckets_for(size_t keys)
{
    size_t buckets = BUCKETS_FEWEST;

    while (buckets < BUCKETS_MOST && buckets < 2 * keys)
        buckets *= 2;
    return buckets;
}

static bool work_init(struct work *work, size_t keys)
{
    size_t buckets = buckets_for(keys);

    work->group_of = malloc(keys * sizeof *work->group_of);
    work->bucket = calloc(buckets, sizeof *work->bucket);
    work->mask = buckets - 1;
    return work->group_of != NULL && work->bucket != NULL;
}

static void work_deinit(struct work *work)
{
    free(work->group_of);
    free(work->bucket);
}

/* Groups first, positions behind them, in one block. */
static bool reserve(struct split *split, size_t keys)
{
    size_t groups = keys < SLOT_COUNT ? keys : SLOT_COUNT;

    split->count = 0;
    split->memory = malloc(groups * sizeof *split->groups + keys * sizeof(uint32_t));
    split->groups = split->memory;
    return split->memory != NULL;
}

static uint32_t group_of_slot(struct split *split, struct work *work, uint16_t slot)
{
    size_t at = slot & work->mask;

    while (work->bucket[at] != 0 && split->groups[work->bucket[at] - 1].slot != slot)
        at = (at + 1) & work->mask;
    if (work->bucket[at] == 0) {
        split->groups[split->count++] = (struct split_group){.slot = slot};
        work->bucket[at] = (uint32_t)split->count;
    }
    return work->bucket[at] - 1;
}

/* Each group's positions lie together, in the order of the groups. */
static void place_positions(struct split *split, const struct work *work, uint32_t *positions,
                            size_t keys)
{
    for (size_t i = 0; i < split->count; i++) {
        split->groups[i].positions = positions;
        positions += split->groups[i].count;
        split->groups[i].count = 0;
    }
    positions -= keys;
    for (size_t i = 0; i < keys; i++) {
        struct split_group *group = &split->groups[work->group_of[i]];

        positions[(size_t)(group->positions - positions) + group->count++] = (uint32_t)i;
    }
}

static void group(struct split *split, struct work *work, size_t i, uint16_t slot)
{
    work->group_of[i] = group_of_slot(split, work, slot);
    split->groups[work->group_of[i]].count++;
}

static void group_end(struct split *split, struct work *work, size_t keys)
{
    size_t groups = keys < SLOT_COUNT ? keys : SLOT_COUNT;

    place_positions(split, work, (uint32_t *)(split->groups + groups), keys);
}

bool split_by_slot(struct split *split, const struct bytes *argv, int first, int last, int step)
{
    size_t keys = last < first ? 0 : (size_t)((last - first) / step) + 1;
    struct work work;
    bool ok;

    *split = (struct split){0};
    if (keys == 0)
        return true;
    ok = work_init(&work, keys) && reserve(split, keys);
    if (ok) {
        const struct bytes *key = &argv[first];

        for (size_t i = 0; i < keys; i++, key += step)
            group(split, &work, i, slot_of_key(key->data, key->length));
        group_end(split, &work, keys);
    }
    work_deinit(&work);
    return ok;
}

bool split_by_slots(struct split *split, const uint16_t *slots, size_t keys)
{
    struct work work;
    bool ok;

    *split = (struct split){0};
    if (keys == 0)
        return true;
    ok = work_init(&work, keys) && reserve(split, keys);
    if (ok) {
        for (size_t i = 0; i < keys; i++)
            group(split, &work, i, slots[i]);
        group_end(split, &work, keys);
    }
    work_deinit(&work);
    return ok;
}

void split_deinit(struct split *split)
{
    free(split->memory);
    *split = (struct split){0};
}

static bool append_words(struct buffer *out, const struct bytes *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!resp_append_bulk(out, words[i]))
            return false;
    return true;
}

bool split_command(const struct split *split, size_t group, const struct bytes *argv, int first,
                   int step, struct buffer *out)
{
    const struct split_group *g = &split->groups[group];
    size_t before = buffer_length(out);
    bool ok = resp_append_header(out, '*', first + (long long)g->count * step) &&
              append_words(out, argv, (size_t)first);

    for (uint32_t i = 0; ok && i < g->count; i++)
        ok = append_words(out, &argv[(size_t)first + (size_t)g->positions[i] * (size_t)step],
                          (size_t)step);
    if (!ok)
        out->tail = out->head + before;
    return ok;
}
