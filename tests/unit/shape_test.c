/* What is known by its shape must be read exactly as the parser reads it, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/parse.h"
#include "session/shape.h"

static struct shapes shapes;
static struct argv argv;

static int setup(void **state)
{
    (void)state;
    shapes = (struct shapes){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    argv_deinit(&argv);
    return 0;
}

static const struct command *parse(const char *bytes, size_t length)
{
    size_t used;
    const char *why;

    if (parse_command(&argv, bytes, length, &used, &why) != PARSE_WHOLE || used != length)
        return NULL;
    return command_lookup(argv.words, argv.count);
}

static void learn(const char *bytes)
{
    const struct command *c = parse(bytes, strlen(bytes));

    assert_non_null(c);
    shape_learn(&shapes, c, bytes, argv.words, argv.count);
}

/* Copies, so that a sanitizer sees a read behind the end. */
static size_t read_copy(const char *bytes, size_t length, const struct command **c,
                        struct bytes *key, char **copy)
{
    *copy = malloc(length ? length : 1);
    assert_non_null(*copy);
    memcpy(*copy, bytes, length);
    return shape_read(&shapes, *copy, length, c, key);
}

static void expect(const char *bytes, const char *name, const char *key_text)
{
    const struct command *c = NULL;
    struct bytes key = {0};
    char *copy;

    assert_int_equal(read_copy(bytes, strlen(bytes), &c, &key, &copy), strlen(bytes));
    assert_string_equal(c->name, name);
    assert_int_equal(key.length, strlen(key_text));
    assert_memory_equal(key.data, key_text, key.length);
    free(copy);
}

static void expect_unknown(const char *bytes)
{
    const struct command *c;
    struct bytes key;
    char *copy;

    assert_int_equal(read_copy(bytes, strlen(bytes), &c, &key, &copy), 0);
    free(copy);
}

static void test_nothing_is_known_at_first(void **state)
{
    (void)state;
    expect_unknown("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    expect_unknown("");
}

static void test_what_was_learned_is_known_with_other_words(void **state)
{
    (void)state;
    learn("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    learn("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
    learn("*4\r\n$6\r\nLRANGE\r\n$1\r\nk\r\n$1\r\n0\r\n$2\r\n-1\r\n");
    expect("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "get", "key");
    expect("*2\r\n$3\r\nGET\r\n$16\r\n0123456789abcdef\r\n", "get", "0123456789abcdef");
    expect("*3\r\n$3\r\nSET\r\n$2\r\nkk\r\n$12\r\n\r\n$3\r\nGET\r\n$\r\n", "set", "kk");
    expect("*4\r\n$6\r\nLRANGE\r\n$2\r\nll\r\n$2\r\n10\r\n$2\r\n20\r\n", "lrange", "ll");
}

static void test_what_is_different_is_not_taken_for_known(void **state)
{
    (void)state;
    learn("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    learn("*4\r\n$6\r\nLRANGE\r\n$1\r\nk\r\n$1\r\n0\r\n$2\r\n-1\r\n");
    expect_unknown("*3\r\n$3\r\nGET\r\n$3\r\nkey\r\n$1\r\nx\r\n");
    expect_unknown("*2\r\n$3\r\nGEX\r\n$3\r\nkey\r\n");
    expect_unknown("*2\r\n$3\r\nGET\r\n:3\r\nkey\r\n");
    expect_unknown("*2\r\n$4\r\nGETX\r\n$3\r\nkey\r\n");
    expect_unknown("*2\r\n$3\r\nGET\r\n$x\r\nkey\r\n");
    expect_unknown("*2\r\n$3\r\nGET\r\n$-1\r\nkey\r\n");
    expect_unknown("*2\r\n$3\r\nGET\r\n$\r\n\r\nkey\r\n\r\n");
    expect_unknown("*4\r\n$6\r\nLRANGX\r\n$1\r\nk\r\n$1\r\n0\r\n$2\r\n-1\r\n");
    expect_unknown("*4\r\n$6\r\nLRANGE\r\n$1\r\nk\r\n:1\r\n0\r\n$2\r\n-1\r\n");
}

static void test_what_is_not_whole_is_for_the_parser(void **state)
{
    static const char *const whole[] = {
        "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nvvvvvvvvvvvv\r\n",
        "*4\r\n$6\r\nLRANGE\r\n$1\r\nk\r\n$1\r\n0\r\n$2\r\n-1\r\n",
    };
    const struct command *c;
    struct bytes key;
    char *copy;

    (void)state;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        learn(whole[i]);
        for (size_t length = 0; length < strlen(whole[i]); length++) {
            assert_int_equal(read_copy(whole[i], length, &c, &key, &copy), 0);
            free(copy);
        }
        expect(whole[i], i == 0 ? "get" : i == 1 ? "set" : "lrange", i == 0 ? "key" : "k");
    }
}

static void test_commands_with_other_keys_are_not_learned(void **state)
{
    static const char *const lines[] = {
        "*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*2\r\n$4\r\nECHO\r\n$12\r\nhello, world\r\n",
        "*4\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n$1\r\nk\r\n",
        "*3\r\n$6\r\nOBJECT\r\n$8\r\nENCODING\r\n$1\r\nk\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        learn(lines[i]);
        expect_unknown(lines[i]);
    }
}

/* Random changes to known commands: either the parser reads the same, or nothing is read. */
static void test_agrees_with_the_parser(void **state)
{
    static const char *const seeds[] = {
        "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n*2\r\n$3\r\nGET\r\n$3\r\nyek\r\n",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nvvvvvvvvvvvv\r\n",
        "*2\r\n$7\r\nHGETALL\r\n$11\r\nsome:hash:1\r\n",
    };
    static const char letters[] = "*$\r\n0123456789GETx-";
    char bytes[128];
    int known = 0;

    (void)state;
    srand(7);
    learn("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    learn(seeds[1]);
    learn(seeds[2]);
    for (int round = 0; round < 200000; round++) {
        const char *seed = seeds[rand() % 3];
        size_t length = strlen(seed), used = 0, shaped;
        const struct command *c = NULL;
        struct bytes key = {0};
        const char *why;

        memcpy(bytes, seed, length);
        for (int changes = rand() % 3; changes > 0; changes--)
            bytes[(size_t)rand() % length] = letters[(size_t)rand() % (sizeof letters - 1)];
        shaped = shape_read(&shapes, bytes, length, &c, &key);
        if (shaped == 0)
            continue;
        known++;
        assert_int_equal(parse_command(&argv, bytes, length, &used, &why), PARSE_WHOLE);
        assert_int_equal(used, shaped);
        assert_ptr_equal(command_lookup(argv.words, argv.count), c);
        assert_ptr_equal(argv.words[1].data, key.data);
        assert_int_equal(argv.words[1].length, key.length);
    }
    assert_true(known > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_known_at_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_learned_is_known_with_other_words, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_different_is_not_taken_for_known, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_whole_is_for_the_parser, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands_with_other_keys_are_not_learned, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_agrees_with_the_parser, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
