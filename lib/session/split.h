/* Splitting: a command with many keys becomes one command for each slot. Pure. */
#ifndef REDISROUTE_SESSION_SPLIT_H
#define REDISROUTE_SESSION_SPLIT_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct split_group {
    uint16_t slot;
    uint32_t count;
    const uint32_t *positions; /* of its keys among all keys of the command, ascending */
};

struct split {
    struct split_group *groups; /* in the order in which their slots first appear */
    size_t count;
    void *memory;
};

/* The keys are argv[first], argv[first + step] … up to argv[last]; with a step of two each
 * is followed by its value. A key that is repeated stays repeated. False: out of memory,
 * and there is nothing to deinit. */
bool split_by_slot(struct split *, const struct bytes *argv, int first, int last, int step);
/* The same, by slots that are known already, one a key. */
bool split_by_slots(struct split *, const uint16_t *slots, size_t keys);

/* A split that is all zero may be deinited too. */
void split_deinit(struct split *);

/* Appends the RESP command of one group: argv[0] … argv[first - 1], then its keys, each
 * with its step - 1 values. False: out of memory, nothing was appended. */
bool split_command(const struct split *, size_t group, const struct bytes *argv, int first,
                   int step, struct buffer *out);

#endif
