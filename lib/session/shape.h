/* Shapes: a program says the same few commands again and again, and only keys and values differ.
 * The bytes before the key of a command whose first argument is its only key are remembered with
 * its row; a command that begins with them needs no look-up, and it is enough to see where its
 * words end. Pure. */
#ifndef REDISROUTE_SESSION_SHAPE_H
#define REDISROUTE_SESSION_SHAPE_H

#include "base/bytes.h"
#include "base/word.h"
#include "route/command.h"

#include <stdbool.h>
#include <stdint.h>

enum { SHAPES_BITS = 4, SHAPE_MACHINE_WORDS = 3 };

/* All zero: like no command. */
struct shape {
    const struct command *command;
    uint64_t beginning[SHAPE_MACHINE_WORDS]; /* "*2\r\n$3\r\nGET\r\n$", zeros behind */
    uint64_t mask[SHAPE_MACHINE_WORDS];      /* of its bytes */
    uint32_t length;                         /* of the beginning */
    int values;                              /* words of the command behind the key */
};

struct shapes {
    struct shape by_hash[1 << SHAPES_BITS];
};

/* Remembers the shape of a command, whole at `bytes` and parsed to `words`, if commands like it
 * always have one key, the first argument. */
void shape_learn(struct shapes *, const struct command *, const char *bytes,
                 const struct bytes *words, int count);

/* Length and first letters of the name stand in bytes 4 to 11. */
enum { SHAPE_HASHED_FROM = 4, SHAPE_SHORTEST = 2 * WORD, SHAPE_LENGTH_DIGITS = 4 };

/* The multiplier is one of many that were tried, under which the commonest commands have places of
 * their own. */
static inline size_t shape_place(const char *bytes)
{
    return (size_t)(word_load(bytes + SHAPE_HASHED_FROM) * UINT64_C(0xFAD4D35479034169) >>
                    (64 - SHAPES_BITS));
}

static inline bool shape_is_like(const struct shape *shape, const char *bytes, size_t length)
{
    if (shape->length == 0 || ((word_load(bytes) ^ shape->beginning[0]) |
                               ((word_load(bytes + WORD) ^ shape->beginning[1]) & shape->mask[1])))
        return false;
    return shape->length <= 2 * WORD ||
           (length >= SHAPE_MACHINE_WORDS * WORD &&
            ((word_load(bytes + 2 * WORD) ^ shape->beginning[2]) & shape->mask[2]) == 0);
}

/* The length before a word, of up to four digits, and its CRLF. Where the word begins; NULL: it is
 * none, or longer than expected here. */
const char *shape_read_long_length(const char *at, size_t *length);

/* The same; nearly all lengths have one digit or two. */
static inline const char *shape_read_length(const char *at, size_t *length)
{
    uint32_t word = (uint32_t)word_load_half(at);
    uint32_t first = (word & 0xFF) - '0', second = (word >> 8 & 0xFF) - '0';

    if (word >> 16 == WORD_CRLF && first < 10 && second < 10) {
        *length = first * 10 + second;
        return at + 4;
    }
    if ((word >> 8 & 0xFFFF) == WORD_CRLF && first < 10) {
        *length = first;
        return at + 3;
    }
    return shape_read_long_length(at, length);
}

/* A word behind its '$', and where it ends. NULL: it is not whole, or longer than expected here. */
static inline const char *shape_read_word(const char *at, const char *end, struct bytes *word)
{
    size_t length;

    if (end - at < SHAPE_LENGTH_DIGITS + 2)
        return NULL;
    at = shape_read_length(at, &length);
    if (at == NULL || (size_t)(end - at) < length + 2)
        return NULL;
    *word = (struct bytes){at, length};
    return at + length + 2;
}

/* The command at `bytes`, when it is whole, like one that was learned, and has no word of 10,000
 * bytes or more: its length, and its row and its key. 0: it has to be parsed. */
static inline size_t shape_read(const struct shapes *shapes, const char *bytes, size_t length,
                                const struct command **command, struct bytes *key)
{
    const char *at = bytes, *end = bytes + length;
    const struct shape *shape;
    struct bytes value;

    if (length < SHAPE_SHORTEST)
        return 0;
    shape = &shapes->by_hash[shape_place(bytes)];
    if (!shape_is_like(shape, bytes, length))
        return 0;
    at = shape_read_word(bytes + shape->length, end, key);
    for (int i = 0; at != NULL && i < shape->values; i++)
        at = at < end && *at == '$' ? shape_read_word(at + 1, end, &value) : NULL;
    if (at == NULL)
        return 0;
    *command = shape->command;
    return (size_t)(at - bytes);
}

#endif
