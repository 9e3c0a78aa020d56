/* CRC16 eight bytes at a time, by a product of polynomials where the processor has an instruction
 * for it, else by tables. Every key costs this, so the search for a '{' goes along with it.
 *
 * A checksum that starts at 0 does not see zero bytes in front of the message. So what is more than
 * a multiple of eight bytes is taken first, as a word with zeros in front, and there is no tail. */
#include "route/slot.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <wmmintrin.h>
#endif

#include "base/word.h"

#define ALWAYS __attribute__((always_inline))

enum { SLOT_MASK = SLOT_COUNT - 1 };

/* POWER_n is x^(16+n) modulo the polynomial x^16 + x^12 + x^5 + 1. */
#define TIMES_X(power) ((((power) << 1) & 0xFFFF) ^ ((power)&0x8000 ? 0x1021 : 0))

enum {
    POWER_0 = 0x1021,
    POWER_1 = TIMES_X(POWER_0),
    POWER_2 = TIMES_X(POWER_1),
    POWER_3 = TIMES_X(POWER_2),
    POWER_4 = TIMES_X(POWER_3),
    POWER_5 = TIMES_X(POWER_4),
    POWER_6 = TIMES_X(POWER_5),
    POWER_7 = TIMES_X(POWER_6),
    POWER_8 = TIMES_X(POWER_7),
    POWER_9 = TIMES_X(POWER_8),
    POWER_10 = TIMES_X(POWER_9),
    POWER_11 = TIMES_X(POWER_10),
    POWER_12 = TIMES_X(POWER_11),
    POWER_13 = TIMES_X(POWER_12),
    POWER_14 = TIMES_X(POWER_13),
    POWER_15 = TIMES_X(POWER_14),
    POWER_16 = TIMES_X(POWER_15),
    POWER_17 = TIMES_X(POWER_16),
    POWER_18 = TIMES_X(POWER_17),
    POWER_19 = TIMES_X(POWER_18),
    POWER_20 = TIMES_X(POWER_19),
    POWER_21 = TIMES_X(POWER_20),
    POWER_22 = TIMES_X(POWER_21),
    POWER_23 = TIMES_X(POWER_22),
    POWER_24 = TIMES_X(POWER_23),
    POWER_25 = TIMES_X(POWER_24),
    POWER_26 = TIMES_X(POWER_25),
    POWER_27 = TIMES_X(POWER_26),
    POWER_28 = TIMES_X(POWER_27),
    POWER_29 = TIMES_X(POWER_28),
    POWER_30 = TIMES_X(POWER_29),
    POWER_31 = TIMES_X(POWER_30),
    POWER_32 = TIMES_X(POWER_31),
    POWER_33 = TIMES_X(POWER_32),
    POWER_34 = TIMES_X(POWER_33),
    POWER_35 = TIMES_X(POWER_34),
    POWER_36 = TIMES_X(POWER_35),
    POWER_37 = TIMES_X(POWER_36),
    POWER_38 = TIMES_X(POWER_37),
    POWER_39 = TIMES_X(POWER_38),
    POWER_40 = TIMES_X(POWER_39),
    POWER_41 = TIMES_X(POWER_40),
    POWER_42 = TIMES_X(POWER_41),
    POWER_43 = TIMES_X(POWER_42),
    POWER_44 = TIMES_X(POWER_43),
    POWER_45 = TIMES_X(POWER_44),
    POWER_46 = TIMES_X(POWER_45),
    POWER_47 = TIMES_X(POWER_46),
    POWER_48 = TIMES_X(POWER_47),
    POWER_49 = TIMES_X(POWER_48),
    POWER_50 = TIMES_X(POWER_49),
    POWER_51 = TIMES_X(POWER_50),
    POWER_52 = TIMES_X(POWER_51),
    POWER_53 = TIMES_X(POWER_52),
    POWER_54 = TIMES_X(POWER_53),
    POWER_55 = TIMES_X(POWER_54),
    POWER_56 = TIMES_X(POWER_55),
    POWER_57 = TIMES_X(POWER_56),
    POWER_58 = TIMES_X(POWER_57),
    POWER_59 = TIMES_X(POWER_58),
    POWER_60 = TIMES_X(POWER_59),
    POWER_61 = TIMES_X(POWER_60),
    POWER_62 = TIMES_X(POWER_61),
    POWER_63 = TIMES_X(POWER_62),
};

/* Checksums are kept with their bytes swapped, so that they can be added to a word just as it is
 * loaded: its first byte is the lowest, and meets the checksum's high byte. */
#define SWAPPED(crc) (uint16_t)((crc) >> 8 | (crc) << 8)

#define BIT(byte, n, power) ((byte) >> (n)&1 ? (power) : 0)
#define ENTRY(b, p0, p1, p2, p3, p4, p5, p6, p7)                                                   \
    SWAPPED(BIT(b, 0, p0) ^ BIT(b, 1, p1) ^ BIT(b, 2, p2) ^ BIT(b, 3, p3) ^ BIT(b, 4, p4) ^        \
            BIT(b, 5, p5) ^ BIT(b, 6, p6) ^ BIT(b, 7, p7))
#define ENTRIES_4(b, ...)                                                                          \
    ENTRY(b, __VA_ARGS__), ENTRY((b) + 1, __VA_ARGS__), ENTRY((b) + 2, __VA_ARGS__),               \
        ENTRY((b) + 3, __VA_ARGS__)
#define ENTRIES_16(b, ...)                                                                         \
    ENTRIES_4(b, __VA_ARGS__), ENTRIES_4((b) + 4, __VA_ARGS__), ENTRIES_4((b) + 8, __VA_ARGS__),   \
        ENTRIES_4((b) + 12, __VA_ARGS__)
#define ENTRIES_64(b, ...)                                                                         \
    ENTRIES_16(b, __VA_ARGS__), ENTRIES_16((b) + 16, __VA_ARGS__),                                 \
        ENTRIES_16((b) + 32, __VA_ARGS__), ENTRIES_16((b) + 48, __VA_ARGS__)
#define ENTRIES(...)                                                                               \
    ENTRIES_64(0, __VA_ARGS__), ENTRIES_64(64, __VA_ARGS__), ENTRIES_64(128, __VA_ARGS__),         \
        ENTRIES_64(192, __VA_ARGS__)

/* remainder_of[n][byte]: the checksum of that byte with n zero bytes behind it. */
static const uint16_t remainder_of[WORD][256] = {
    {ENTRIES(POWER_0, POWER_1, POWER_2, POWER_3, POWER_4, POWER_5, POWER_6, POWER_7)},
    {ENTRIES(POWER_8, POWER_9, POWER_10, POWER_11, POWER_12, POWER_13, POWER_14, POWER_15)},
    {ENTRIES(POWER_16, POWER_17, POWER_18, POWER_19, POWER_20, POWER_21, POWER_22, POWER_23)},
    {ENTRIES(POWER_24, POWER_25, POWER_26, POWER_27, POWER_28, POWER_29, POWER_30, POWER_31)},
    {ENTRIES(POWER_32, POWER_33, POWER_34, POWER_35, POWER_36, POWER_37, POWER_38, POWER_39)},
    {ENTRIES(POWER_40, POWER_41, POWER_42, POWER_43, POWER_44, POWER_45, POWER_46, POWER_47)},
    {ENTRIES(POWER_48, POWER_49, POWER_50, POWER_51, POWER_52, POWER_53, POWER_54, POWER_55)},
    {ENTRIES(POWER_56, POWER_57, POWER_58, POWER_59, POWER_60, POWER_61, POWER_62, POWER_63)},
};

/* Fewer than eight bytes, with zeros in front. */
static inline uint64_t load_extra(const char *bytes, size_t length)
{
    uint64_t word = length > 1 ? word_load_short(bytes, length) : (unsigned char)bytes[0];

    return word << (8 * (WORD - length));
}

/* Written so that compilers take two bytes out of a register between shifts. */
static inline ALWAYS uint64_t step_by_tables(uint64_t word)
{
    uint32_t low = (uint32_t)word, high = (uint32_t)(word >> 32), crc;

    crc = remainder_of[7][low & 0xFF];
    crc ^= remainder_of[6][low >> 8 & 0xFF];
    low >>= 16;
    crc ^= remainder_of[5][low & 0xFF];
    crc ^= remainder_of[4][low >> 8];
    crc ^= remainder_of[3][high & 0xFF];
    crc ^= remainder_of[2][high >> 8 & 0xFF];
    high >>= 16;
    crc ^= remainder_of[1][high & 0xFF];
    crc ^= remainder_of[0][high >> 8];
    return crc;
}

#if defined(__x86_64__)

/* x^80 divided by the polynomial, without its highest term, x^64. */
static const uint64_t quotient = UINT64_C(0x11303471A041B343);

/* Barrett's reduction: the word times x^16, divided by the polynomial, and what the multiple of the
 * polynomial that this gives has in its low 16 bits, which the word times x^16 has not. */
static inline ALWAYS __attribute__((target("pclmul"))) uint64_t step_by_product(uint64_t word)
{
    uint64_t high_first = __builtin_bswap64(word);
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)high_first),
                                           _mm_cvtsi64_si128((long long)quotient), 0);
    uint32_t times = (uint32_t)_mm_extract_epi16(product, 4) ^ (uint32_t)high_first;

    return __builtin_bswap16((uint16_t)(times ^ times << 5 ^ times << 12));
}

#endif

/* The highest bit of some byte is set when one of the word's bytes is '{'. It may also be set for
 * bytes above 127: then checksum_of_tag looks closer. */
static inline uint64_t suspect_brace(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);

    return (word ^ (ones * '{')) - ones;
}

static inline ALWAYS uint64_t checksum(const char *bytes, size_t length, uint64_t *brace,
                                       uint64_t (*step)(uint64_t))
{
    size_t extra = length % WORD;
    uint64_t word, crc = 0;

    *brace = 0;
    if (extra != 0) {
        word = length < WORD ? load_extra(bytes, length) : word_load(bytes) << (8 * (WORD - extra));
        *brace = suspect_brace(word);
        crc = step(word);
        bytes += extra;
    }
    for (length /= WORD; length > 0; length--, bytes += WORD) {
        word = word_load(bytes);
        *brace |= suspect_brace(word);
        crc = step(word ^ crc);
    }
    return crc;
}

/* What stands between the first '{' and the first '}' behind it is hashed alone, unless it is
 * empty. Otherwise the whole key is, whose checksum is given. */
static __attribute__((noinline)) uint64_t checksum_of_tag(const char *key, size_t length,
                                                          uint64_t whole)
{
    const char *end = key + length;
    const char *open = memchr(key, '{', length);
    const char *close = open ? memchr(open, '}', (size_t)(end - open)) : NULL;
    uint64_t brace;

    if (close == NULL || close == open + 1)
        return whole;
    return checksum(open + 1, (size_t)(close - open - 1), &brace, step_by_tables);
}

static inline ALWAYS uint16_t slot(const char *key, size_t length, uint64_t (*step)(uint64_t))
{
    uint64_t brace;
    uint64_t crc = checksum(key, length, &brace, step);

    if (__builtin_expect((brace & UINT64_C(0x8080808080808080)) != 0, 0))
        crc = checksum_of_tag(key, length, crc);
    return SWAPPED(crc) & SLOT_MASK;
}

uint16_t slot_by_tables(const char *key, size_t length)
{
    return slot(key, length, step_by_tables);
}

#if defined(__x86_64__)

static __attribute__((target("pclmul"))) uint16_t slot_by_product(const char *key, size_t length)
{
    return slot(key, length, step_by_product);
}

static bool multiplies;

static __attribute__((constructor)) void look_at_processor(void)
{
    __builtin_cpu_init();
    multiplies = __builtin_cpu_supports("pclmul") != 0;
}

uint16_t slot_of_key(const char *key, size_t length)
{
    return __builtin_expect(multiplies, 1) ? slot_by_product(key, length)
                                           : slot_by_tables(key, length);
}

#else

uint16_t slot_of_key(const char *key, size_t length)
{
    return slot_by_tables(key, length);
}

#endif
