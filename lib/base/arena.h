/* An arena: memory that is taken piece by piece, and given back all at once. */
#ifndef REDISROUTE_BASE_ARENA_H
#define REDISROUTE_BASE_ARENA_H

#include <stddef.h>

/* All zero: empty. */
struct arena {
    struct arena_piece *pieces;
};

/* All zero. NULL: out of memory. */
void *arena_take(struct arena *, size_t size);
char *arena_copy(struct arena *, const char *text, size_t length);
void arena_deinit(struct arena *);

#endif
