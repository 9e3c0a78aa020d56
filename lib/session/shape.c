#include "session/shape.h"

#include "base/word.h"

/* Length and first letters of the name stand in bytes 4 to 11. */
enum { HASHED_FROM = 4, SHORTEST = 2 * WORD, LENGTH_DIGITS = 4 };

/* The multiplier is one of many that were tried, under which the commonest commands have places of
 * their own. */
static inline size_t place_of(const char *bytes)
{
    return (size_t)(word_load(bytes + HASHED_FROM) * UINT64_C(0xFAD4D35479034169) >>
                    (64 - SHAPES_BITS));
}

static inline bool is_like(const struct shape *shape, const char *bytes, size_t length)
{
    if (shape->length == 0 || ((word_load(bytes) ^ shape->beginning[0]) |
                               ((word_load(bytes + WORD) ^ shape->beginning[1]) & shape->mask[1])))
        return false;
    return shape->length <= 2 * WORD ||
           (length >= SHAPE_MACHINE_WORDS * WORD &&
            ((word_load(bytes + 2 * WORD) ^ shape->beginning[2]) & shape->mask[2]) == 0);
}

/* A word behind its '$', and where it ends. NULL: it is not whole, or longer than expected here. */
static inline const char *read_word(const char *at, const char *end, struct bytes *word)
{
    const char *digits = at;
    size_t length = 0;

    if (end - at < LENGTH_DIGITS + 2)
        return NULL;
    for (unsigned digit; at < digits + LENGTH_DIGITS && (digit = (unsigned)(*at - '0')) < 10; at++)
        length = length * 10 + digit;
    if (at[0] != '\r' || at[1] != '\n' || at == digits)
        return NULL;
    at += 2;
    if ((size_t)(end - at) < length + 2)
        return NULL;
    *word = (struct bytes){at, length};
    return at + length + 2;
}

size_t shape_read(const struct shapes *shapes, const char *bytes, size_t length,
                  const struct command **command, struct bytes *key)
{
    const char *at = bytes, *end = bytes + length;
    const struct shape *shape;
    struct bytes value;

    if (length < SHORTEST)
        return 0;
    shape = &shapes->by_hash[place_of(bytes)];
    if (!is_like(shape, bytes, length))
        return 0;
    at = read_word(bytes + shape->length, end, key);
    for (int i = 0; at != NULL && i < shape->values; i++)
        at = at < end && *at == '$' ? read_word(at + 1, end, &value) : NULL;
    if (at == NULL)
        return 0;
    *command = shape->command;
    return (size_t)(at - bytes);
}

static uint64_t mask_of(size_t length, size_t machine_word)
{
    size_t from = machine_word * WORD;

    if (length <= from)
        return 0;
    return length - from >= WORD ? ~UINT64_C(0) : (UINT64_C(1) << (8 * (length - from))) - 1;
}

void shape_learn(struct shapes *shapes, const struct command *c, const char *bytes,
                 const struct bytes *words, int count)
{
    /* Up to and with the '$' behind the name. */
    size_t length = (size_t)(words[0].data - bytes) + words[0].length + sizeof "\r\n$" - 1;
    char beginning[SHAPE_MACHINE_WORDS * WORD] = {0};
    struct shape shape = {.command = c, .length = (uint32_t)length, .values = count - 2};

    if (c->only_key != 1 || count < 2 || length < HASHED_FROM + WORD || length > sizeof beginning)
        return;
    memcpy(beginning, bytes, length);
    for (size_t i = 0; i < SHAPE_MACHINE_WORDS; i++) {
        shape.beginning[i] = word_load(beginning + i * WORD);
        shape.mask[i] = mask_of(length, i);
    }
    shapes->by_hash[place_of(bytes)] = shape;
}
