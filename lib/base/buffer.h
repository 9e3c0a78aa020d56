/* A growable run of bytes: appended at the tail, consumed at the head.
 *
 * Invariant: head <= tail <= capacity; the bytes [head, tail) are the content.
 * A buffer that was never written owns no memory. Not thread-safe. */
#ifndef REDISROUTE_BASE_BUFFER_H
#define REDISROUTE_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct buffer {
    char *data;
    size_t head;
    size_t tail;
    size_t capacity;
};

static inline void buffer_init(struct buffer *b)
{
    *b = (struct buffer){0};
}

/* Frees the memory; the buffer is empty and usable afterwards. */
void buffer_deinit(struct buffer *b);

static inline size_t buffer_length(const struct buffer *b)
{
    return b->tail - b->head;
}

static inline const char *buffer_bytes(const struct buffer *b)
{
    return b->data + b->head;
}

/* Makes room for `length` bytes behind the tail, whatever that takes. False: out of memory. */
bool buffer_grow(struct buffer *b, size_t length);

/* Room for `length` bytes at the tail, or NULL when memory is out. The caller fills it and then
 * adds to `tail`. May move the content. */
static inline char *buffer_reserve(struct buffer *b, size_t length)
{
    if ((b->capacity - b->tail < length || b->data == NULL) && !buffer_grow(b, length))
        return NULL;
    return b->data + b->tail;
}

/* False: out of memory, nothing was appended. */
static inline bool buffer_append(struct buffer *b, const void *bytes, size_t length)
{
    char *room = buffer_reserve(b, length);

    if (room == NULL)
        return false;
    memcpy(room, bytes, length);
    b->tail += length;
    return true;
}

static inline bool buffer_append_text(struct buffer *b, const char *text)
{
    return buffer_append(b, text, strlen(text));
}

static inline void buffer_consume(struct buffer *b, size_t length)
{
    b->head += length;
    if (b->head == b->tail)
        b->head = b->tail = 0;
}

/* Gives memory above `keep` bytes back when the buffer is empty. */
void buffer_relax(struct buffer *b, size_t keep);

#endif
