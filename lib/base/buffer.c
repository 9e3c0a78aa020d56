#include "base/buffer.h"

#include <stdlib.h>

enum { BUFFER_FIRST_CAPACITY = 512 };

void buffer_deinit(struct buffer *b)
{
    free(b->data);
    buffer_init(b);
}

/* Moving the content to the front is worth it only when at least half of the
 * memory is consumed: otherwise a long queue would be moved again and again. */
static bool compact_if_worthwhile(struct buffer *b, size_t length)
{
    size_t used = buffer_length(b);

    if (b->data == NULL || b->head < b->capacity / 2 || b->capacity - used < length)
        return false;
    memmove(b->data, b->data + b->head, used);
    b->head = 0;
    b->tail = used;
    return true;
}

bool buffer_grow(struct buffer *b, size_t length)
{
    size_t capacity = b->capacity ? b->capacity : BUFFER_FIRST_CAPACITY;
    char *data;

    if ((b->data != NULL && b->capacity - b->tail >= length) || compact_if_worthwhile(b, length))
        return true;
    if (length > ((size_t)-1) / 4 - b->tail)
        return false;
    while (capacity - b->tail < length)
        capacity *= 2;
    data = realloc(b->data, capacity);
    if (data == NULL)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

void buffer_relax(struct buffer *b, size_t keep)
{
    if (b->capacity > keep && b->head == b->tail)
        buffer_deinit(b);
}
