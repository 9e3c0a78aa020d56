#include "base/sha1.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = 64, STATE_WORDS = 5, ROUNDS = 80 };

static uint32_t rotated(uint32_t word, int bits)
{
    return word << bits | word >> (32 - bits);
}

static uint32_t word_at(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t mixed(int round, const uint32_t s[STATE_WORDS])
{
    switch (round / 20) {
    case 0:
        return ((s[1] & s[2]) | (~s[1] & s[3])) + UINT32_C(0x5a827999);
    case 1:
        return (s[1] ^ s[2] ^ s[3]) + UINT32_C(0x6ed9eba1);
    case 2:
        return ((s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])) + UINT32_C(0x8f1bbcdc);
    default:
        return (s[1] ^ s[2] ^ s[3]) + UINT32_C(0xca62c1d6);
    }
}

static void take_block(uint32_t state[STATE_WORDS], const unsigned char *block)
{
    uint32_t w[ROUNDS], s[STATE_WORDS];

    for (int i = 0; i < 16; i++)
        w[i] = word_at(block + 4 * i);
    for (int i = 16; i < ROUNDS; i++)
        w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(s, state, sizeof s);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t next = rotated(s[0], 5) + mixed(i, s) + s[4] + w[i];

        s[4] = s[3];
        s[3] = s[2];
        s[2] = rotated(s[1], 30);
        s[1] = s[0];
        s[0] = next;
    }
    for (int i = 0; i < STATE_WORDS; i++)
        state[i] += s[i];
}

/* What is left, a one bit, zeros, and the length in bits. */
static void take_end(uint32_t state[STATE_WORDS], const char *rest, size_t left, uint64_t bits)
{
    unsigned char end[2 * BLOCK] = {0};
    size_t size = left + 9 <= BLOCK ? BLOCK : 2 * BLOCK;

    if (left > 0)
        memcpy(end, rest, left);
    end[left] = 0x80;
    for (int i = 0; i < 8; i++)
        end[size - 1 - (size_t)i] = (unsigned char)(bits >> (8 * i));
    take_block(state, end);
    if (size > BLOCK)
        take_block(state, end + BLOCK);
}

void sha1_hex(struct bytes bytes, char hex[SHA1_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint32_t state[STATE_WORDS] = {UINT32_C(0x67452301), UINT32_C(0xefcdab89), UINT32_C(0x98badcfe),
                                   UINT32_C(0x10325476), UINT32_C(0xc3d2e1f0)};
    size_t done = 0;

    for (; bytes.length - done >= BLOCK; done += BLOCK)
        take_block(state, (const unsigned char *)bytes.data + done);
    take_end(state, bytes.data + done, bytes.length - done, (uint64_t)bytes.length * 8);
    for (int i = 0; i < SHA1_HEX; i++)
        hex[i] = digits[state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[SHA1_HEX] = '\0';
}
