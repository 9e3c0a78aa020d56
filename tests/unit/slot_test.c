/* The slot of a key against a checksum written the slow way, and against known answers. */
#include "route/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint16_t crc16(const char *bytes, size_t length)
{
    uint16_t crc = 0;

    for (size_t i = 0; i < length; i++) {
        crc ^= (uint16_t)((unsigned char)bytes[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0));
    }
    return crc;
}

/* The hash tag rule in the words of the cluster specification. */
static uint16_t slow_slot(const char *key, size_t length)
{
    size_t open = 0, close;

    while (open < length && key[open] != '{')
        open++;
    close = open;
    while (close < length && key[close] != '}')
        close++;
    if (close < length && close > open + 1)
        return crc16(key + open + 1, close - open - 1) % SLOT_COUNT;
    return crc16(key, length) % SLOT_COUNT;
}

/* The key in a block of exactly its size, so that a sanitizer sees a byte too many read. */
static void expect_slow_slot(const char *key, size_t length)
{
    char *copy = malloc(length + !length);

    assert_non_null(copy);
    memcpy(copy, key, length);
    assert_int_equal(slot_of_key(copy, length), slow_slot(key, length));
    assert_int_equal(slot_by_tables(copy, length), slow_slot(key, length));
    free(copy);
}

static void test_known_answers(void **state)
{
    static const struct {
        const char *key;
        uint16_t slot;
    } known[] = {
        {"", 0},
        {"123456789", 12739}, /* 0x31C3, the check value of CRC16/XMODEM */
        {"foo", 12182},
        {"bar", 5061},
        {"{foo}", 12182},
        {"{foo}.following", 12182},
        {"a{foo}b{bar}c", 12182},
        {"}{foo}", 12182},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(slot_of_key(known[i].key, strlen(known[i].key)), known[i].slot);
}

static void test_tags_that_are_none_do_not_count(void **state)
{
    static const char *const keys[] = {"{",          "}",       "{}",       "{}foo",
                                       "foo{}{bar}", "foo{bar", "foo}bar{", "}{",
                                       "foo{{bar}}", "{{}",     "{}}"};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        expect_slow_slot(keys[i], strlen(keys[i]));
    assert_int_equal(slot_of_key("foo{}{bar}", 10), crc16("foo{}{bar}", 10) % SLOT_COUNT);
    assert_int_equal(slot_of_key("foo{{bar}}", 10), crc16("{bar", 4) % SLOT_COUNT);
}

/* Every length around the words that the checksum works in, and a brace at every place. */
static void test_every_length_and_place(void **state)
{
    char key[70] = "";

    (void)state;
    for (size_t length = 0; length < sizeof key; length++) {
        for (size_t i = 0; i < length; i++)
            key[i] = (char)(i * 37 + length);
        expect_slow_slot(key, length);
        for (size_t open = 0; open < length; open++) {
            char before = key[open];

            key[open] = '{';
            expect_slow_slot(key, length);
            for (size_t close = open + 1; close < length; close += 1 + length / 16) {
                char inside = key[close];

                key[close] = '}';
                expect_slow_slot(key, length);
                key[close] = inside;
            }
            key[open] = before;
        }
    }
}

static void test_random_bytes(void **state)
{
    static const char likely[] = {'{', '}', '{', '}', 0, (char)0xFB, (char)0x80, 'a'};
    char key[200];
    uint32_t random = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t length;

        random = random * 1664525 + 1013904223;
        length = (random >> 16) % (round % 10 ? 40 : sizeof key);
        for (size_t i = 0; i < length; i++) {
            random = random * 1664525 + 1013904223;
            key[i] = random & 1 << 12 ? likely[random >> 16 & 7] : (char)(random >> 24);
        }
        expect_slow_slot(key, length);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_tags_that_are_none_do_not_count),
        cmocka_unit_test(test_every_length_and_place),
        cmocka_unit_test(test_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
