#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha1.h"
#include "route/scripts.h"

static struct bytes text_of(const char *text)
{
    return (struct bytes){text, strlen(text)};
}

/* The examples of FIPS 180, and what a server says of a script. */
static void digests(void **state)
{
    static const struct {
        const char *text;
        const char *hex;
    } cases[] = {
        {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
        {"return 1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"},
    };
    char hex[SHA1_HEX + 1], million[100000];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sha1_hex(text_of(cases[i].text), hex);
        assert_string_equal(hex, cases[i].hex);
    }
    memset(million, 'a', sizeof million);
    sha1_hex((struct bytes){million, 55}, hex);
    assert_string_equal(hex, "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    sha1_hex((struct bytes){million, 64}, hex);
    assert_string_equal(hex, "0098ba824b5c16427bd7a1122a5a442a25ec644d");
}

static void expect_known(struct scripts *s, const char *text, bool known)
{
    char hex[SHA1_HEX + 1];
    size_t length = 0;
    char *found;

    sha1_hex(text_of(text), hex);
    assert_int_equal(scripts_know(s, text_of(hex)), known);
    found = scripts_text(s, text_of(hex), &length);
    assert_int_equal(found != NULL, known);
    if (known) {
        assert_int_equal(length, strlen(text));
        assert_memory_equal(found, text, length);
    }
    free(found);
}

static void scripts_are_found_again(void **state)
{
    struct scripts *s = scripts_create();
    size_t length;
    char *found;

    (void)state;
    scripts_remember(s, text_of("return 1"));
    scripts_remember(s, text_of("return 2"));
    scripts_remember(s, text_of("return 1"));
    scripts_remember(s, text_of(""));
    expect_known(s, "return 1", true);
    expect_known(s, "return 2", true);
    expect_known(s, "", true);
    expect_known(s, "return 3", false);
    found = scripts_text(s, text_of("E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), &length);
    assert_non_null(found);
    free(found);
    assert_false(scripts_know(s, text_of("e0e1")));
    assert_false(scripts_know(s, text_of("")));
    scripts_forget(s);
    expect_known(s, "return 1", false);
    scripts_remember(s, text_of("return 1"));
    expect_known(s, "return 1", true);
    scripts_destroy(s);
}

static void the_oldest_go_first(void **state)
{
    struct scripts *s = scripts_create();
    uint64_t version = scripts_version(s);
    char text[32];

    (void)state;
    for (int i = 0; i < SCRIPTS_MAX; i++) {
        snprintf(text, sizeof text, "return %d", i);
        scripts_remember(s, text_of(text));
    }
    assert_int_equal(scripts_version(s), version);
    expect_known(s, "return 0", true);
    scripts_remember(s, text_of("one more"));
    assert_true(scripts_version(s) > version);
    expect_known(s, "return 0", false);
    expect_known(s, "return 1", true);
    expect_known(s, "one more", true);
    scripts_destroy(s);
}

static void memory_is_bounded(void **state)
{
    struct scripts *s = scripts_create();
    size_t half = SCRIPTS_BYTES_MAX / 2;
    char *big = malloc(SCRIPTS_BYTES_MAX + 1), hex[SHA1_HEX + 1];

    (void)state;
    memset(big, 'x', SCRIPTS_BYTES_MAX + 1);
    scripts_remember(s, text_of("small"));
    scripts_remember(s, (struct bytes){big, SCRIPTS_BYTES_MAX + 1});
    expect_known(s, "small", true);
    for (size_t i = 0; i < 3; i++)
        scripts_remember(s, (struct bytes){big, half - i});
    expect_known(s, "small", false);
    sha1_hex((struct bytes){big, half}, hex);
    assert_false(scripts_know(s, text_of(hex)));
    sha1_hex((struct bytes){big, half - 2}, hex);
    assert_true(scripts_know(s, text_of(hex)));
    free(big);
    scripts_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),
        cmocka_unit_test(scripts_are_found_again),
        cmocka_unit_test(the_oldest_go_first),
        cmocka_unit_test(memory_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
