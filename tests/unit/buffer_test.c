#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"

static void an_unused_buffer_owns_nothing(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b);
    assert_null(b.data);
    assert_int_equal(buffer_length(&b), 0);
    buffer_deinit(&b);
    buffer_relax(&b, 0);
    assert_null(b.data);
}

static void what_is_appended_is_there(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b);
    assert_true(buffer_append(&b, "one\0", 4));
    assert_true(buffer_append_text(&b, "two"));
    assert_int_equal(buffer_length(&b), 7);
    assert_memory_equal(buffer_bytes(&b), "one\0two", 7);
    buffer_consume(&b, 4);
    assert_int_equal(buffer_length(&b), 3);
    assert_memory_equal(buffer_bytes(&b), "two", 3);
    buffer_deinit(&b);
    assert_int_equal(buffer_length(&b), 0);
    assert_true(buffer_append_text(&b, "again"));
    buffer_deinit(&b);
}

static void consuming_all_begins_anew(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b);
    assert_true(buffer_append_text(&b, "gone"));
    buffer_consume(&b, 1);
    assert_int_equal(b.head, 1);
    buffer_consume(&b, 3);
    assert_int_equal(b.head, 0);
    assert_int_equal(b.tail, 0);
    buffer_deinit(&b);
}

static void reserved_room_is_for_the_caller_to_fill(void **state)
{
    struct buffer b;
    char *room;

    (void)state;
    buffer_init(&b);
    assert_true(buffer_append_text(&b, "x"));
    room = buffer_reserve(&b, 100000);
    assert_non_null(room);
    memset(room, 'y', 100000);
    b.tail += 100000;
    assert_int_equal(buffer_length(&b), 100001);
    assert_int_equal(buffer_bytes(&b)[0], 'x');
    assert_int_equal(buffer_bytes(&b)[100000], 'y');
    buffer_deinit(&b);
}

/* Numbers go in at one end and come out at the other, in uneven steps. */
static void a_queue_keeps_its_order_and_its_size(void **state)
{
    struct buffer b;
    uint32_t in = 0, out = 0, seed = 1;

    (void)state;
    buffer_init(&b);
    while (out < 200000) {
        for (seed = seed * 1103515245 + 12345; (seed >> 16) % 7 > 0; seed += 1 << 16)
            if (in - out < 1000) {
                assert_true(buffer_append(&b, &in, sizeof in));
                in++;
            }
        for (seed = seed * 1103515245 + 12345; (seed >> 16) % 7 > 0 && out < in; seed += 1 << 16) {
            uint32_t number;

            memcpy(&number, buffer_bytes(&b), sizeof number);
            assert_int_equal(number, out);
            buffer_consume(&b, sizeof number);
            out++;
        }
    }
    assert_true(b.capacity <= 16384);
    buffer_deinit(&b);
}

static void what_no_memory_can_hold_is_refused(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b);
    assert_true(buffer_append_text(&b, "kept"));
    assert_null(buffer_reserve(&b, SIZE_MAX));
    assert_null(buffer_reserve(&b, SIZE_MAX / 2));
    assert_false(buffer_grow(&b, SIZE_MAX - 3));
    assert_int_equal(buffer_length(&b), 4);
    assert_memory_equal(buffer_bytes(&b), "kept", 4);
    buffer_deinit(&b);
}

static void relaxing_gives_back_only_what_is_empty_and_large(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b);
    assert_non_null(buffer_reserve(&b, 100000));
    assert_true(buffer_append_text(&b, "x"));
    buffer_relax(&b, 1000);
    assert_non_null(b.data);
    buffer_consume(&b, 1);
    buffer_relax(&b, 1000000);
    assert_non_null(b.data);
    buffer_relax(&b, 1000);
    assert_null(b.data);
    assert_int_equal(b.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unused_buffer_owns_nothing),
        cmocka_unit_test(what_is_appended_is_there),
        cmocka_unit_test(consuming_all_begins_anew),
        cmocka_unit_test(reserved_room_is_for_the_caller_to_fill),
        cmocka_unit_test(a_queue_keeps_its_order_and_its_size),
        cmocka_unit_test(what_no_memory_can_hold_is_refused),
        cmocka_unit_test(relaxing_gives_back_only_what_is_empty_and_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
