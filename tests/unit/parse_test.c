#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/parse.h"

/* Malloc'ed without a byte to spare, so that a look behind the end is seen. */
static enum parse_result parse_part(struct argv *argv, const char *text, size_t length,
                                    size_t *used, const char **why)
{
    char *copy = malloc(length ? length : 1);
    enum parse_result r;

    memcpy(copy, text, length);
    r = parse_command(argv, copy, length, used, why);
    free(copy);
    return r;
}

/* The words, each followed by a bar, as they stand in `text`. */
static void assert_words(const char *text, const char *expected)
{
    struct argv argv = {0};
    const char *why = NULL;
    char words[256] = "";
    size_t used = 0;

    assert_int_equal(parse_command(&argv, text, strlen(text), &used, &why), PARSE_WHOLE);
    assert_int_equal(used, strlen(text));
    for (int i = 0; i < argv.count; i++) {
        strncat(words, argv.words[i].data, argv.words[i].length);
        strcat(words, "|");
    }
    assert_string_equal(words, expected);
    argv_deinit(&argv);
}

static void assert_broken(const char *text, const char *expected)
{
    struct argv argv = {0};
    const char *why = "";
    size_t used = 0;

    assert_int_equal(parse_part(&argv, text, strlen(text), &used, &why), PARSE_BROKEN);
    assert_string_equal(why, expected);
    argv_deinit(&argv);
}

static void arrays_are_words(void **state)
{
    (void)state;
    assert_words("*1\r\n$4\r\nPING\r\n", "PING|");
    assert_words("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "GET|k|");
    assert_words("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "SET|k||");
    assert_words("*2\r\n$3\r\nGET\r\n$12\r\nabc\r\n$3\r\nxyz\r\n", "GET|abc\r\n$3\r\nxyz|");
    assert_words("*2\r\n$03\r\nGET\r\n$001\r\nk\r\n", "GET|k|");
}

/* … whatever their length has for digits. */
static void words_of_all_lengths(void **state)
{
    static const size_t lengths[] = {0, 1, 9, 10, 99, 100, 999, 1000, 70000};
    struct argv argv = {0};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char *text = malloc(lengths[i] + 64);
        const char *why;
        size_t used, header = (size_t)sprintf(text, "*2\r\n$4\r\nECHO\r\n$%zu\r\n", lengths[i]);

        memset(text + header, 'x', lengths[i]);
        memcpy(text + header + lengths[i], "\r\n", 2);
        assert_int_equal(parse_part(&argv, text, header + lengths[i] + 2, &used, &why),
                         PARSE_WHOLE);
        assert_int_equal(used, header + lengths[i] + 2);
        assert_int_equal(argv.words[1].length, lengths[i]);
        free(text);
    }
    argv_deinit(&argv);
}

/* No part of a command is taken for the whole, and what is said to be needed is never too much. */
static void a_part_is_partial(void **state)
{
    static const char *const texts[] = {
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nabcdefghijkl\r\n",
        "*1\r\n$4\r\nPING\r\n",
        "SET k \"v w\"\r\n",
    };
    struct argv argv = {0};
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t length = 0; length < strlen(texts[i]); length++) {
            size_t needed = 0;

            assert_int_equal(parse_part(&argv, texts[i], length, &needed, &why), PARSE_PARTIAL);
            assert_in_range(needed, length + 1, strlen(texts[i]));
        }
    argv_deinit(&argv);
}

static void empty_commands_are_passed_over(void **state)
{
    static const char *const texts[] = {"*0\r\n", "*-1\r\n", "\r\n", "\n", "   \r\n"};
    struct argv argv = {0};
    const char *why;
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(parse_command(&argv, texts[i], strlen(texts[i]), &used, &why),
                         PARSE_EMPTY);
        assert_int_equal(used, strlen(texts[i]));
    }
    argv_deinit(&argv);
}

static void what_is_broken_has_the_words_of_the_server(void **state)
{
    (void)state;
    assert_broken("*x\r\n", "Protocol error: invalid multibulk length");
    assert_broken("*2147483648\r\n", "Protocol error: invalid multibulk length");
    assert_broken("*1\r\n:1\r\n", "Protocol error: expected '$'");
    assert_broken("*1\r\n$x\r\n", "Protocol error: invalid bulk length");
    assert_broken("*1\r\n$-1\r\n", "Protocol error: invalid bulk length");
    assert_broken("*1\r\n$536870913\r\n", "Protocol error: invalid bulk length");
    assert_broken("SET k \"v\r\n", "Protocol error: unbalanced quotes in request");
    assert_broken("SET k \"v\"w\r\n", "Protocol error: unbalanced quotes in request");
}

/* A header may claim what it likes: memory follows what is really there. */
static void a_claim_takes_no_memory(void **state)
{
    struct argv argv = {0};
    const char *why;
    size_t used;

    (void)state;
    assert_int_equal(parse_part(&argv, "*1000000\r\n$1\r\na\r\n", 17, &used, &why), PARSE_PARTIAL);
    assert_in_range(argv.capacity, 0, 64);
    argv_deinit(&argv);
}

static void inline_commands_are_unquoted(void **state)
{
    (void)state;
    assert_words("PING\r\n", "PING|");
    assert_words("PING\n", "PING|");
    assert_words("  GET   k  \r\n", "GET|k|");
    assert_words("SET k \"a b\"\r\n", "SET|k|a b|");
    assert_words("SET k \"\\x41\\n\\\"\\\\\"\r\n", "SET|k|A\n\"\\|");
    assert_words("SET k 'a \\n \\' b'\r\n", "SET|k|a \\n ' b|");
    assert_words("SET k \"\"\r\n", "SET|k||");
}

static void formatting_is_the_inverse(void **state)
{
    static const char text[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n";
    struct argv argv = {0};
    struct buffer out;
    const char *why;
    size_t used;

    (void)state;
    buffer_init(&out);
    assert_int_equal(parse_command(&argv, text, sizeof text - 1, &used, &why), PARSE_WHOLE);
    assert_true(argv_format(&argv, &out));
    assert_int_equal(buffer_length(&out), sizeof text - 1);
    assert_memory_equal(buffer_bytes(&out), text, sizeof text - 1);
    buffer_deinit(&out);
    argv_deinit(&argv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_are_words),
        cmocka_unit_test(words_of_all_lengths),
        cmocka_unit_test(a_part_is_partial),
        cmocka_unit_test(empty_commands_are_passed_over),
        cmocka_unit_test(what_is_broken_has_the_words_of_the_server),
        cmocka_unit_test(a_claim_takes_no_memory),
        cmocka_unit_test(inline_commands_are_unquoted),
        cmocka_unit_test(formatting_is_the_inverse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
