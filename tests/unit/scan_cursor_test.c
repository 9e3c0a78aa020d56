/* The cursor of a cluster-wide SCAN, and what a pass is recognized by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "route/scan_cursor.h"
#include "route/slot.h"

static struct bytes text(const char *s)
{
    return (struct bytes){s, strlen(s)};
}

static void test_what_was_written_is_read(void **state)
{
    static const struct scan_cursor cursors[] = {
        {0, 1, 0},
        {0, 4095, UINT64_C(0xFFFFFFFFF)},
        {SLOT_COUNT, 2, 0},
        {5461, 77, 12345},
    };
    char written[SCAN_TEXT_SIZE];
    struct scan_cursor c;
    uint64_t number;

    (void)state;
    for (size_t i = 0; i < sizeof cursors / sizeof *cursors; i++) {
        assert_true(scan_cursor_write(&cursors[i], written));
        assert_true(scan_number(text(written), &number));
        assert_true(number <= INT64_MAX);
        assert_true(scan_cursor_read(number, &c));
        assert_int_equal(c.slot, cursors[i].slot);
        assert_int_equal(c.pass, cursors[i].pass);
        assert_true(c.node == cursors[i].node);
    }
}

static void test_a_node_cursor_that_does_not_fit(void **state)
{
    const struct scan_cursor c = {0, 2, UINT64_C(1) << 36};
    char written[SCAN_TEXT_SIZE];

    (void)state;
    assert_false(scan_cursor_write(&c, written));
}

static void test_numbers_that_are_no_cursors(void **state)
{
    static const uint64_t numbers[] = {
        1, 1000000, UINT64_MAX, UINT64_C(1) << 63, (UINT64_C(1) << 36) - 1,
        ((uint64_t)SLOT_COUNT + 1) << 48 | UINT64_C(5) << 36,
    };
    static const char *const words[] = {"", "x", "1x", "-1", "+1", " 1", "99999999999999999999"};
    struct scan_cursor c;
    uint64_t number;

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_false(scan_cursor_read(numbers[i], &c));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_false(scan_number(text(words[i]), &number));
}

#define OTHER "bb 127.0.0.1:2@3 master - 0 5 2 connected 9000-16383\n"

/* Node 1 has the slots below 9000, node 2 the others. */
static uint16_t owner[SLOT_COUNT];

static uint16_t node_of(const char *nodes)
{
    return strstr(nodes, "aa 127.0.0.1:1@2 myself") ? 1 : 2;
}

static uint16_t pass_of(const char *a, const char *b, uint32_t owned)
{
    struct scan_census census = {0};

    for (int slot = 0; slot < SLOT_COUNT; slot++)
        owner[slot] = slot < 9000 ? 1 : 2;
    scan_census_add(&census, text(a), owner, node_of(a));
    scan_census_add(&census, text(b), owner, node_of(b));
    return scan_census_pass(&census, owned);
}

static void test_a_pass_is_what_masters_say_of_themselves(void **state)
{
    static const char a[] = OTHER "aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-8998 8999\n";
    static const char later[] = OTHER "aa 127.0.0.1:1@2 myself,master - 0 0 3 connected 0-8999\n";
    static const char less[] = OTHER "aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-8998\n";
    static const char moving[] =
        "aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-8999 [5->-bb]\n" OTHER;
    static const char b[] = "bb 127.0.0.1:2@3 myself,master - 0 0 2 connected 9000-16383\r\n";
    uint16_t pass = pass_of(a, b, SLOT_COUNT);

    (void)state;
    assert_int_not_equal(pass, SCAN_PASS_UNSETTLED);
    assert_int_equal(pass_of(b, a, SLOT_COUNT), pass);
    assert_int_not_equal(pass_of(later, b, SLOT_COUNT), pass);
    assert_int_equal(pass_of(moving, b, SLOT_COUNT), SCAN_PASS_UNSETTLED);
    assert_int_equal(pass_of(less, b, SLOT_COUNT), SCAN_PASS_UNSETTLED);
    assert_int_equal(pass_of(a, "", SLOT_COUNT), SCAN_PASS_UNSETTLED);
    assert_int_equal(pass_of(OTHER, b, 7384), SCAN_PASS_UNSETTLED);
    /* They have exchanged a slot, and nobody told us. */
    assert_int_equal(pass_of("aa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-8998 9000\n",
                             "bb 127.0.0.1:2@3 myself,master - 0 0 2 connected 8999 9001-16383\n",
                             SLOT_COUNT),
                     SCAN_PASS_UNSETTLED);
}

static void test_garbage_is_never_settled(void **state)
{
    char garbage[200];

    (void)state;
    srand(3);
    for (int round = 0; round < 20000; round++) {
        struct scan_census census = {0};
        size_t length = (size_t)rand() % sizeof garbage;

        for (size_t i = 0; i < length; i++)
            garbage[i] = "myself -0189[]\n\r,@"[rand() % 18];
        scan_census_add(&census, (struct bytes){garbage, length}, owner, 1);
        assert_int_equal(scan_census_pass(&census, SLOT_COUNT + 1), SCAN_PASS_UNSETTLED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_written_is_read),
        cmocka_unit_test(test_a_node_cursor_that_does_not_fit),
        cmocka_unit_test(test_numbers_that_are_no_cursors),
        cmocka_unit_test(test_a_pass_is_what_masters_say_of_themselves),
        cmocka_unit_test(test_garbage_is_never_settled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
