#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/bytes.h"
#include "link/frame.h"

#define BYTES(text)                                                                                \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const struct bytes whole[] = {
    BYTES("+OK\r\n"),
    BYTES("+\r\n"),
    BYTES("+a lone \r and a lone \n are text\r\n"),
    BYTES("+ends in a lone\r\r\n"),
    BYTES("-ERR unknown command\r\n"),
    BYTES("-MOVED 3999 127.0.0.1:6381\r\n"),
    BYTES(":0\r\n"),
    BYTES(":1000\r\n"),
    BYTES(":-1\r\n"),
    BYTES(":9223372036854775807\r\n"),
    BYTES(":-9223372036854775808\r\n"),
    BYTES("$0\r\n\r\n"),
    BYTES("$5\r\nhello\r\n"),
    BYTES("$16\r\n0123456789abcdef\r\n"),
    BYTES("$4\r\n\r\n\r\n\r\n"),
    BYTES("$3\r\na\0b\r\n"),
    BYTES("$-1\r\n"),
    BYTES("*-1\r\n"),
    BYTES("*0\r\n"),
    BYTES("*1\r\n*0\r\n"),
    BYTES("*2\r\n$-1\r\n$1\r\nx\r\n"),
    BYTES("*3\r\n:1\r\n*2\r\n+a\r\n-b\r\n$0\r\n\r\n"),
    BYTES("_\r\n"),
    BYTES("#t\r\n"),
    BYTES("#f\r\n"),
    BYTES(",3.14\r\n"),
    BYTES(",inf\r\n"),
    BYTES("(3492890328409238509324850943850943825024385\r\n"),
    BYTES("!21\r\nSYNTAX invalid syntax\r\n"),
    BYTES("=15\r\ntxt:Some string\r\n"),
    BYTES("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n"),
    BYTES("%0\r\n"),
    BYTES("~2\r\n:1\r\n:2\r\n"),
    BYTES(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n"),
    BYTES("|1\r\n+key-popularity\r\n%1\r\n$1\r\na\r\n,0.19\r\n*1\r\n:1\r\n"),
    BYTES("|0\r\n+OK\r\n"),
    BYTES("|1\r\n+a\r\n+b\r\n|1\r\n+c\r\n+d\r\n+OK\r\n"),
    BYTES("*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n"),
};

static const struct bytes broken[] = {
    BYTES("x"),
    BYTES("\r\n"),
    BYTES("OK\r\n"),
    BYTES("$\r\n"),
    BYTES("$x\r\n"),
    BYTES("$1 \r\n"),
    BYTES("$+1\r\nx\r\n"),
    BYTES("$-2\r\n"),
    BYTES("$-0\r\n\r\n"),
    BYTES("$1\rx"),
    BYTES("$1\nx"),
    BYTES("$1\r\nxy\r\n"),
    BYTES("$1\r\nx\n\n"),
    BYTES("$1\r\nx\rx"),
    BYTES("$?\r\n"),
    BYTES("$9223372036854775807\r\n"),
    BYTES("$9223372036854775808\r\n"),
    BYTES("$99999999999999999999\r\n"),
    BYTES("$00000000000000000001\r\n"),
    BYTES("*-2\r\n"),
    BYTES("*4294967296\r\n"),
    BYTES("*?\r\n"),
    BYTES("%-1\r\n"),
    BYTES("%4294967296\r\n"),
    BYTES("~-1\r\n"),
    BYTES(">-1\r\n"),
    BYTES("=-1\r\n"),
    BYTES("=1\r\na\r\n"),
    BYTES("=3\r\ntxt\r\n"),
    BYTES("=5\r\ntext:\r\n"),
    BYTES("!-1\r\n"),
    BYTES(":\r\n"),
    BYTES(":1a\r\n"),
    BYTES(":1.5\r\n"),
    BYTES(":--1\r\n"),
    BYTES(":-\r\n"),
    BYTES(":9223372036854775808\r\n"),
    BYTES(":-9223372036854775809\r\n"),
    BYTES("_x\r\n"),
    BYTES("#1\r\n"),
    BYTES("#true\r\n"),
    BYTES(";4\r\n"),
    BYTES(".\r\n"),
    BYTES("*2\r\n:1\r\nx"),
    BYTES("|1\r\n+a\r\nx"),
};

static enum frame_result scan(const char *data, size_t length, size_t *end)
{
    struct frame frame;

    frame_reset(&frame);
    return frame_scan(&frame, data, length, end);
}

static void whole_replies_end_where_they_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(whole); i++) {
        size_t end = 0;

        assert_int_equal(scan(whole[i].data, whole[i].length, &end), FRAME_WHOLE);
        assert_int_equal(end, whole[i].length);
    }
}

static void what_follows_a_reply_is_not_looked_at(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(whole); i++) {
        char data[256];
        size_t end = 0;

        memcpy(data, whole[i].data, whole[i].length);
        memcpy(data + whole[i].length, "?\r\n", 3);
        assert_int_equal(scan(data, whole[i].length + 3, &end), FRAME_WHOLE);
        assert_int_equal(end, whole[i].length);
    }
}

static void every_prefix_is_partial_and_needs_no_more_than_there_is_to_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(whole); i++)
        for (size_t length = 0; length < whole[i].length; length++) {
            struct frame frame = {0};
            size_t end;

            assert_int_equal(frame_scan(&frame, whole[i].data, length, &end), FRAME_PARTIAL);
            assert_true(frame.needed > length);
            assert_true(frame.needed <= whole[i].length);
        }
}

/* Each call gets the bytes at another place, as when a buffer moves. */
static enum frame_result scan_in_steps(struct bytes reply, size_t step, size_t *end)
{
    struct frame frame = {0};
    enum frame_result result = FRAME_PARTIAL;

    for (size_t length = 0; result == FRAME_PARTIAL; length += step) {
        size_t now = length < reply.length ? length : reply.length;
        char *copy = malloc(now + 1);

        memcpy(copy, reply.data, now);
        result = frame_scan(&frame, copy, now, end);
        free(copy);
        if (now == reply.length)
            break;
    }
    return result;
}

static void replies_may_come_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(whole); i++)
        for (size_t step = 1; step <= whole[i].length; step++) {
            size_t end = 0;

            assert_int_equal(scan_in_steps(whole[i], step, &end), FRAME_WHOLE);
            assert_int_equal(end, whole[i].length);
        }
}

static void replies_may_be_split_at_any_two_places(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(whole); i++)
        for (size_t a = 0; a < whole[i].length; a++)
            for (size_t b = a; b < whole[i].length; b++) {
                struct frame frame = {0};
                size_t end = 0;

                assert_int_equal(frame_scan(&frame, whole[i].data, a, &end), FRAME_PARTIAL);
                assert_int_equal(frame_scan(&frame, whole[i].data, b, &end), FRAME_PARTIAL);
                assert_int_equal(frame_scan(&frame, whole[i].data, whole[i].length, &end),
                                 FRAME_WHOLE);
                assert_int_equal(end, whole[i].length);
            }
}

static void broken_replies_are_broken_however_they_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(broken); i++) {
        size_t end;

        assert_int_equal(scan(broken[i].data, broken[i].length, &end), FRAME_BROKEN);
        assert_int_equal(scan_in_steps(broken[i], 1, &end), FRAME_BROKEN);
    }
}

static void only_the_types_of_the_protocol_are_taken(void **state)
{
    (void)state;
    for (int type = 0; type < 256; type++) {
        char c = (char)type;
        size_t end;

        assert_int_equal(scan(&c, 1, &end), type != 0 && strchr("+-:$*_#,(!=%~>|", type)
                                                ? FRAME_PARTIAL
                                                : FRAME_BROKEN);
    }
}

static void nesting_has_no_end(void **state)
{
    enum { DEPTH = 200000 };
    struct buffer b;
    size_t end;

    (void)state;
    buffer_init(&b);
    for (int i = 0; i < DEPTH; i++)
        assert_true(buffer_append_text(&b, i % 2 ? "*1\r\n" : "%1\r\n+k\r\n"));
    assert_int_equal(scan(buffer_bytes(&b), buffer_length(&b), &end), FRAME_PARTIAL);
    assert_true(buffer_append_text(&b, ":1\r\n"));
    assert_int_equal(scan(buffer_bytes(&b), buffer_length(&b), &end), FRAME_WHOLE);
    assert_int_equal(end, buffer_length(&b));
    buffer_deinit(&b);
}

static void a_long_line_is_searched_once(void **state)
{
    enum { LENGTH = 1 << 20 };
    char *line = malloc(LENGTH);
    struct frame frame = {0};
    size_t end = 0;

    (void)state;
    memset(line, '\r', LENGTH);
    line[0] = '+';
    line[LENGTH - 1] = '\n';
    for (size_t length = 0; length < LENGTH; length++) {
        assert_int_equal(frame_scan(&frame, line, length, &end), FRAME_PARTIAL);
        assert_true(length == 0 || frame.searched == length);
        assert_int_equal(frame.needed, length + 1);
    }
    assert_int_equal(frame_scan(&frame, line, LENGTH, &end), FRAME_WHOLE);
    assert_int_equal(end, LENGTH);
    free(line);
}

static void a_long_bulk_says_what_it_needs(void **state)
{
    static const char header[] = "*1\r\n$536870912\r\n";
    struct frame frame = {0};
    size_t end;

    (void)state;
    assert_int_equal(frame_scan(&frame, header, sizeof header - 1, &end), FRAME_PARTIAL);
    assert_int_equal(frame.needed, sizeof header - 1 + 536870912 + 2);
    assert_int_equal(frame.scanned, 4);
    /* Nothing is read before that much is there: the pointer would not bear it. */
    assert_int_equal(frame_scan(&frame, NULL, 536870912, &end), FRAME_PARTIAL);
}

static void counts_do_not_overflow(void **state)
{
    struct buffer b;
    size_t end;

    (void)state;
    buffer_init(&b);
    for (int i = 0; i < 1000; i++)
        assert_true(buffer_append_text(&b, "%4294967295\r\n"));
    assert_int_equal(scan(buffer_bytes(&b), buffer_length(&b), &end), FRAME_PARTIAL);
    buffer_deinit(&b);
}

static void quick_takes_the_commonest(void **state)
{
    static const struct bytes quick[] = {
        BYTES("+OK\r\n"),          BYTES("+PONG\r\n"), BYTES("+\r\n"),
        BYTES(":0\r\n"),           BYTES(":1\r\n"),    BYTES(":-12345\r\n"),
        BYTES("$0\r\n\r\n"),       BYTES("$-1\r\n"),   BYTES("$16\r\n0123456789abcdef\r\n"),
        BYTES("$3\r\n\r\n\n\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT(quick); i++) {
        assert_int_equal(frame_quick(quick[i].data, quick[i].length), quick[i].length);
        for (size_t length = 0; length < quick[i].length; length++)
            assert_int_equal(frame_quick(quick[i].data, length), 0);
    }
}

static void quick_never_says_more_than_scan(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(whole); i++) {
        size_t quick = frame_quick(whole[i].data, whole[i].length);

        assert_true(quick == 0 || quick == whole[i].length);
    }
    for (size_t i = 0; i < COUNT(broken); i++)
        assert_int_equal(frame_quick(broken[i].data, broken[i].length), 0);
}

static void quick_reads_nothing_behind_the_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(whole); i++)
        for (size_t length = 0; length <= whole[i].length; length++) {
            char *exact = malloc(length ? length : 1); /* for the sanitizers */

            memcpy(exact, whole[i].data, length);
            frame_quick(exact, length);
            free(exact);
        }
}

static void headers_of_arrays_are_read_past_attributes(void **state)
{
    static const struct {
        struct bytes reply;
        char type;
        long long count;
        size_t length;
    } cases[] = {
        {BYTES("*2\r\n:1\r\n:2\r\n"), '*', 2, 4},
        {BYTES("*-1\r\n"), '*', -1, 5},
        {BYTES("%3\r\n"), '%', 3, 4},
        {BYTES("~0\r\n"), '~', 0, 4},
        {BYTES(">10\r\n"), '>', 10, 5},
        {BYTES("|1\r\n+a\r\n*1\r\n:1\r\n*7\r\n"), '*', 7, 20},
    };
    static const struct bytes others[] = {
        BYTES(""), BYTES(":1\r\n"), BYTES("*1\r"), BYTES("*x\r\n"), BYTES("|1\r\n+a\r\n"),
    };
    long long count;
    size_t length;
    char type;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_true(
            frame_array_header(cases[i].reply.data, cases[i].reply.length, &type, &count, &length));
        assert_int_equal(type, cases[i].type);
        assert_int_equal(count, cases[i].count);
        assert_int_equal(length, cases[i].length);
    }
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(frame_array_header(others[i].data, others[i].length, &type, &count, &length));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_replies_end_where_they_end),
        cmocka_unit_test(what_follows_a_reply_is_not_looked_at),
        cmocka_unit_test(every_prefix_is_partial_and_needs_no_more_than_there_is_to_come),
        cmocka_unit_test(replies_may_come_in_pieces),
        cmocka_unit_test(replies_may_be_split_at_any_two_places),
        cmocka_unit_test(broken_replies_are_broken_however_they_come),
        cmocka_unit_test(only_the_types_of_the_protocol_are_taken),
        cmocka_unit_test(nesting_has_no_end),
        cmocka_unit_test(a_long_line_is_searched_once),
        cmocka_unit_test(a_long_bulk_says_what_it_needs),
        cmocka_unit_test(counts_do_not_overflow),
        cmocka_unit_test(quick_takes_the_commonest),
        cmocka_unit_test(quick_never_says_more_than_scan),
        cmocka_unit_test(quick_reads_nothing_behind_the_end),
        cmocka_unit_test(headers_of_arrays_are_read_past_attributes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
