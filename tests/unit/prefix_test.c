#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "route/prefix.h"

enum { NONE = 0xFFFF };

static struct bytes text(const char *s)
{
    return (struct bytes){s, strlen(s)};
}

/* Of NULL-terminated texts, whose numbers are their places. */
static struct prefixes *make(const char *const *texts, bool case_insensitive)
{
    struct prefix list[16];
    struct prefixes *p;
    size_t count = 0;

    for (; texts[count] != NULL; count++)
        list[count] = (struct prefix){.text = text(texts[count]), .to = (uint16_t)count};
    p = prefixes_create(list, count, case_insensitive);
    assert_non_null(p);
    return p;
}

static unsigned find(const struct prefixes *p, const char *key)
{
    const struct prefix *found = prefixes_find(p, text(key));

    return found != NULL ? found->to : NONE;
}

static void the_longest_wins(void **state)
{
    static const char *const texts[] = {"user:", "user:session:", "u", "other", "user:s", NULL};
    struct prefixes *p = make(texts, false);

    (void)state;
    assert_int_equal(find(p, "user:session:1"), 1);
    assert_int_equal(find(p, "user:session:"), 1);
    assert_int_equal(find(p, "user:session"), 4);
    assert_int_equal(find(p, "user:1"), 0);
    assert_int_equal(find(p, "user:z"), 0);
    assert_int_equal(find(p, "user"), 2);
    assert_int_equal(find(p, "uzz"), 2);
    assert_int_equal(find(p, "u"), 2);
    assert_int_equal(find(p, "others"), 3);
    assert_int_equal(find(p, "othe"), NONE);
    assert_int_equal(find(p, ""), NONE);
    assert_int_equal(find(p, "zzz"), NONE);
    assert_int_equal(find(p, "USER:1"), NONE);
    prefixes_destroy(p);
}

static void an_empty_prefix_is_every_keys(void **state)
{
    static const char *const texts[] = {"a", "", "ab", NULL};
    struct prefixes *p = make(texts, false);

    (void)state;
    assert_int_equal(find(p, "abc"), 2);
    assert_int_equal(find(p, "ac"), 0);
    assert_int_equal(find(p, "x"), 1);
    assert_int_equal(find(p, ""), 1);
    prefixes_destroy(p);
}

static void case_counts_only_if_it_should(void **state)
{
    static const char *const texts[] = {"Ab", "aBC", "_", NULL};
    struct prefixes *p = make(texts, true);

    (void)state;
    assert_int_equal(find(p, "abx"), 0);
    assert_int_equal(find(p, "AB"), 0);
    assert_int_equal(find(p, "AbCd"), 1);
    assert_int_equal(find(p, "_x"), 2);
    assert_int_equal(find(p, "a"), NONE);
    prefixes_destroy(p);
}

static void no_prefix_is_no_keys(void **state)
{
    static const char *const texts[] = {NULL};
    struct prefixes *p = make(texts, false);

    (void)state;
    assert_int_equal(find(p, "a"), NONE);
    prefixes_destroy(p);
}

static void any_bytes(void **state)
{
    const struct prefix list[] = {{.text = {"\0\xff", 2}, .to = 1, .remove = true},
                                  {.text = {"\0", 1}, .to = 2}};
    struct prefixes *p = prefixes_create(list, 2, false);
    const struct prefix *found;

    (void)state;
    found = prefixes_find(p, (struct bytes){"\0\xff\0", 3});
    assert_int_equal(found->to, 1);
    assert_true(found->remove);
    assert_int_equal(found->text.length, 2);
    assert_int_equal(prefixes_find(p, (struct bytes){"\0a", 2})->to, 2);
    prefixes_destroy(p);
}

/* What a look at every prefix says. */
static void as_the_plain_way_would(void **state)
{
    static const char *const texts[] = {"a",   "ab", "aba", "abab", "b",  "ba", "bb",
                                        "bab", "c",  "ca",  "aab",  "aa", "",   NULL};

    (void)state;
    for (int fold = 0; fold < 2; fold++) {
        struct prefixes *p = make(texts, fold);
        unsigned seed = 7;

        for (int round = 0; round < 20000; round++) {
            char key[8] = "";
            size_t longest = 0;
            unsigned expected = NONE;

            for (int i = 0, n = rand_r(&seed) % 7; i < n; i++)
                key[i] = "abcdAB"[rand_r(&seed) % (fold ? 6 : 4)];
            for (unsigned i = 0; texts[i] != NULL; i++) {
                size_t length = strlen(texts[i]);

                if ((fold ? strncasecmp : strncmp)(key, texts[i], length) == 0 &&
                    (expected == NONE || length > longest)) {
                    expected = i;
                    longest = length;
                }
            }
            assert_int_equal(find(p, key), expected);
        }
        prefixes_destroy(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_wins),
        cmocka_unit_test(an_empty_prefix_is_every_keys),
        cmocka_unit_test(case_counts_only_if_it_should),
        cmocka_unit_test(no_prefix_is_no_keys),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(as_the_plain_way_would),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
