#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

struct arena_piece {
    struct arena_piece *next;
    max_align_t bytes[];
};

void *arena_take(struct arena *arena, size_t size)
{
    struct arena_piece *piece = calloc(1, sizeof *piece + size);

    if (piece == NULL)
        return NULL;
    piece->next = arena->pieces;
    arena->pieces = piece;
    return piece->bytes;
}

char *arena_copy(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_take(arena, length + 1);

    if (copy != NULL)
        memcpy(copy, text, length);
    return copy;
}

void arena_deinit(struct arena *arena)
{
    while (arena->pieces != NULL) {
        struct arena_piece *next = arena->pieces->next;

        free(arena->pieces);
        arena->pieces = next;
    }
}
