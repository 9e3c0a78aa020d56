/* Bytes as machine words, the first byte lowest on every machine; at any address. */
#ifndef REDISROUTE_BASE_WORD_H
#define REDISROUTE_BASE_WORD_H

#include <stdint.h>
#include <string.h>

enum { WORD = sizeof(uint64_t) };

/* "\r\n", as the two bytes stand in a word. */
enum { WORD_CRLF = '\n' << 8 | '\r' };

static inline uint64_t word_load(const char *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline uint64_t word_load_half(const char *bytes)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

static inline uint64_t word_load_quarter(const char *bytes)
{
    const unsigned char *u = (const unsigned char *)bytes;

    return u[0] | (uint64_t)u[1] << 8;
}

/* Two to eight bytes, zeros behind them, and nothing read that is not theirs: the two pieces may
 * overlap, and agree where they do. */
static inline uint64_t word_load_short(const char *bytes, size_t length)
{
    if (length >= 4)
        return word_load_half(bytes) | word_load_half(bytes + length - 4) << (8 * (length - 4));
    return word_load_quarter(bytes) | word_load_quarter(bytes + length - 2) << (8 * (length - 2));
}

#endif
