#include "session/shape.h"

const char *shape_read_long_length(const char *at, size_t *length)
{
    const char *digits = at;

    *length = 0;
    for (unsigned digit; at < digits + SHAPE_LENGTH_DIGITS && (digit = (unsigned)(*at - '0')) < 10;
         at++)
        *length = *length * 10 + digit;
    return at != digits && at[0] == '\r' && at[1] == '\n' ? at + 2 : NULL;
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

    if (c->only_key != 1 || count < 2 || length < SHAPE_HASHED_FROM + WORD ||
        length > sizeof beginning)
        return;
    memcpy(beginning, bytes, length);
    for (size_t i = 0; i < SHAPE_MACHINE_WORDS; i++) {
        shape.beginning[i] = word_load(beginning + i * WORD);
        shape.mask[i] = mask_of(length, i);
    }
    shapes->by_hash[shape_place(bytes)] = shape;
}
