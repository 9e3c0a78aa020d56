#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "route/slot.h"
#include "session/split.h"

#define WORDS_MAX 32

/* Words of a command line; returns how many. */
static int words_of(const char *line, struct bytes *words)
{
    int count = 0;

    while (*line != '\0') {
        size_t length = strcspn(line, " ");

        words[count++] = (struct bytes){line, length};
        line += length + (line[length] == ' ');
    }
    return count;
}

static void assert_positions(const struct split_group *group, const char *expected)
{
    char text[256] = "";

    for (uint32_t i = 0; i < group->count; i++)
        sprintf(text + strlen(text), "%s%u", i ? " " : "", group->positions[i]);
    assert_string_equal(text, expected);
}

static void assert_command(const struct split *split, size_t group, const struct bytes *words,
                           int first, int step, const char *expected)
{
    struct buffer out;

    buffer_init(&out);
    assert_true(buffer_append_text(&out, "before"));
    assert_true(split_command(split, group, words, first, step, &out));
    assert_int_equal(buffer_length(&out), 6 + strlen(expected));
    assert_memory_equal(buffer_bytes(&out) + 6, expected, strlen(expected));
    buffer_deinit(&out);
}

static void keys_are_grouped_by_first_appearance(void **state)
{
    struct bytes words[WORDS_MAX];
    struct split split;
    int count = words_of("MGET {b}1 {a}1 {b}2 {c}1 {a}2 {b}1", words);

    (void)state;
    assert_true(split_by_slot(&split, words, 1, count - 1, 1));
    assert_int_equal(split.count, 3);
    assert_int_equal(split.groups[0].slot, slot_of_key("b", 1));
    assert_int_equal(split.groups[1].slot, slot_of_key("a", 1));
    assert_int_equal(split.groups[2].slot, slot_of_key("c", 1));
    assert_positions(&split.groups[0], "0 2 5");
    assert_positions(&split.groups[1], "1 4");
    assert_positions(&split.groups[2], "3");
    assert_command(&split, 0, words, 1, 1,
                   "*4\r\n$4\r\nMGET\r\n$4\r\n{b}1\r\n$4\r\n{b}2\r\n$4\r\n{b}1\r\n");
    assert_command(&split, 2, words, 1, 1, "*2\r\n$4\r\nMGET\r\n$4\r\n{c}1\r\n");
    split_deinit(&split);
}

static void values_go_with_their_keys(void **state)
{
    struct bytes words[WORDS_MAX];
    struct split split;
    int count = words_of("MSET {a}1 x {b}1  {a}2 zz", words);

    (void)state;
    assert_true(split_by_slot(&split, words, 1, count - 2, 2));
    assert_int_equal(split.count, 2);
    assert_positions(&split.groups[0], "0 2");
    assert_command(&split, 0, words, 1, 2,
                   "*5\r\n$4\r\nMSET\r\n$4\r\n{a}1\r\n$1\r\nx\r\n$4\r\n{a}2\r\n$2\r\nzz\r\n");
    assert_command(&split, 1, words, 1, 2, "*3\r\n$4\r\nMSET\r\n$4\r\n{b}1\r\n$0\r\n\r\n");
    split_deinit(&split);
}

static void the_last_key_may_be_the_last_word_or_its_value(void **state)
{
    struct bytes words[WORDS_MAX];
    struct split split;
    int count = words_of("MSET {a}1 x {b}1 y", words);

    (void)state;
    assert_true(split_by_slot(&split, words, 1, count - 1, 2));
    assert_int_equal(split.count, 2);
    assert_positions(&split.groups[1], "1");
    split_deinit(&split);
}

static void words_before_the_keys_go_to_all(void **state)
{
    struct bytes words[WORDS_MAX];
    struct split split;
    int count = words_of("COMMAND option {a}1 {b}1", words);

    (void)state;
    assert_true(split_by_slot(&split, words, 2, count - 1, 1));
    assert_int_equal(split.count, 2);
    assert_command(&split, 1, words, 2, 1, "*3\r\n$7\r\nCOMMAND\r\n$6\r\noption\r\n$4\r\n{b}1\r\n");
    split_deinit(&split);
}

static void one_slot_is_one_group(void **state)
{
    struct bytes words[WORDS_MAX];
    struct split split;
    int count = words_of("DEL {x}1 {x}2 {x}3", words);

    (void)state;
    assert_true(split_by_slot(&split, words, 1, count - 1, 1));
    assert_int_equal(split.count, 1);
    assert_positions(&split.groups[0], "0 1 2");
    split_deinit(&split);
}

static void no_keys_are_no_groups(void **state)
{
    struct bytes words[WORDS_MAX];
    struct split split;
    int count = words_of("MGET", words);

    (void)state;
    assert_true(split_by_slot(&split, words, 1, count - 1, 1));
    assert_int_equal(split.count, 0);
    split_deinit(&split);
    split_deinit(&split);
}

static void keys_may_hold_any_bytes(void **state)
{
    struct bytes words[] = {{"DEL", 3}, {"a\0\r\n", 4}, {"", 0}};
    struct split split;

    (void)state;
    assert_true(split_by_slot(&split, words, 1, 2, 1));
    assert_int_equal(split.count, 2);
    for (size_t i = 0; i < 2; i++) {
        static const char first[] = "*2\r\n$3\r\nDEL\r\n$4\r\na\0\r\n\r\n";
        static const char second[] = "*2\r\n$3\r\nDEL\r\n$0\r\n\r\n";
        struct buffer out;

        buffer_init(&out);
        assert_true(split_command(&split, i, words, 1, 1, &out));
        assert_int_equal(buffer_length(&out), (i ? sizeof second : sizeof first) - 1);
        assert_memory_equal(buffer_bytes(&out), i ? second : first, buffer_length(&out));
        buffer_deinit(&out);
    }
    split_deinit(&split);
}

static struct bytes *many_keys(int count, char *room)
{
    struct bytes *words = malloc(((size_t)count + 1) * sizeof *words);

    words[0] = (struct bytes){"MGET", 4};
    for (int i = 1; i <= count; i++) {
        words[i] = (struct bytes){room, (size_t)sprintf(room, "key:%d", i * 7919)};
        room += words[i].length + 1;
    }
    return words;
}

/* Every key is in the group of its slot, once, and each group is in order. */
static void a_hundred_thousand_keys(void **state)
{
    enum { KEYS = 100000 };
    char *room = malloc(KEYS * 24), *seen = calloc(KEYS, 1);
    struct bytes *words = many_keys(KEYS, room);
    struct split split;
    size_t total = 0;

    (void)state;
    assert_true(split_by_slot(&split, words, 1, KEYS, 1));
    assert_true(split.count > 16000 && split.count <= SLOT_COUNT);
    for (size_t i = 0; i < split.count; i++) {
        const struct split_group *group = &split.groups[i];

        if (i > 0)
            assert_true(group->positions[0] > split.groups[i - 1].positions[0]);
        for (uint32_t j = 0; j < group->count; j++) {
            uint32_t position = group->positions[j];

            assert_true(position < KEYS && !seen[position]);
            assert_true(j == 0 || group->positions[j - 1] < position);
            assert_int_equal(slot_of_key(words[1 + position].data, words[1 + position].length),
                             group->slot);
            seen[position] = 1;
        }
        total += group->count;
    }
    assert_int_equal(total, KEYS);
    split_deinit(&split);
    free(words);
    free(seen);
    free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_grouped_by_first_appearance),
        cmocka_unit_test(values_go_with_their_keys),
        cmocka_unit_test(the_last_key_may_be_the_last_word_or_its_value),
        cmocka_unit_test(words_before_the_keys_go_to_all),
        cmocka_unit_test(one_slot_is_one_group),
        cmocka_unit_test(no_keys_are_no_groups),
        cmocka_unit_test(keys_may_hold_any_bytes),
        cmocka_unit_test(a_hundred_thousand_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
