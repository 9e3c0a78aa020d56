#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "link/frame.h"
#include "session/merge.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])
#define PARTS_MAX 8

static const char *const servers[PARTS_MAX] = {"s:1", "s:2", "s:3", "s:4",
                                               "s:5", "s:6", "s:7", "s:8"};

/* Merges and compares. The result is always one whole reply. */
static void check(enum merge_kind kind, const struct merge_part *parts, size_t count,
                  const char *expected)
{
    struct buffer out;
    struct frame frame = {0};
    size_t end = 0;

    buffer_init(&out);
    assert_true(buffer_append_text(&out, "before"));
    assert_true(merge_replies(kind, parts, count, &out));
    buffer_consume(&out, 6);
    assert_true(buffer_append(&out, "", 1));
    assert_string_equal(buffer_bytes(&out), expected);
    assert_int_equal(frame_scan(&frame, buffer_bytes(&out), buffer_length(&out) - 1, &end),
                     FRAME_WHOLE);
    assert_int_equal(end, buffer_length(&out) - 1);
    buffer_deinit(&out);
}

/* Up to three replies, the rest NULL. */
static void merges_to(enum merge_kind kind, const char *a, const char *b, const char *c,
                      const char *expected)
{
    const char *replies[] = {a, b, c};
    struct merge_part parts[3] = {{{0}, NULL, 0, NULL}};
    size_t count = 0;

    for (; count < 3 && replies[count] != NULL; count++)
        parts[count] = (struct merge_part){.reply = {replies[count], strlen(replies[count])},
                                           .server = servers[count]};
    check(kind, parts, count, expected);
}

static void elements_go_where_their_keys_are(void **state)
{
    static const uint32_t a[] = {0, 3}, b[] = {1}, c[] = {2, 4};
    struct merge_part parts[] = {
        {{"*2\r\n$1\r\na\r\n$-1\r\n", 16}, "s:1", 2, a},
        {{"*1\r\n$0\r\n\r\n", 10}, "s:2", 1, b},
        {{"*2\r\n*1\r\n:1\r\n:7\r\n", 16}, "s:3", 2, c},
    };

    (void)state;
    check(MERGE_POSITIONS, parts, 3, "*5\r\n$1\r\na\r\n$0\r\n\r\n*1\r\n:1\r\n$-1\r\n:7\r\n");
    check(MERGE_POSITIONS, parts, 1,
          "-ERR redisroute: the reply of s:1 does not fit the keys of the command\r\n");
}

static void elements_must_be_as_many_as_keys(void **state)
{
    static const uint32_t a[] = {0}, b[] = {1}, twice[] = {0}, far[] = {2};
    static const struct {
        const char *reply;
        const uint32_t *positions;
        const char *expected;
    } cases[] = {
        {"*1\r\n:2\r\n", b, "*2\r\n:1\r\n:2\r\n"},
        {"|1\r\n+k\r\n+v\r\n*1\r\n:2\r\n", b, "*2\r\n:1\r\n:2\r\n"},
        {"*1\r\n|1\r\n+k\r\n+v\r\n:2\r\n", b, "*2\r\n:1\r\n|1\r\n+k\r\n+v\r\n:2\r\n"},
        {"*0\r\n", b,
         "-ERR redisroute: the reply of s:2 has another number of elements than it was given "
         "keys\r\n"},
        {"*2\r\n:1\r\n:2\r\n", b,
         "-ERR redisroute: the reply of s:2 has another number of elements than it was given "
         "keys\r\n"},
        {"*-1\r\n", b, "-ERR redisroute: the reply of s:2 is not an array\r\n"},
        {"_\r\n", b, "-ERR redisroute: the reply of s:2 is not an array\r\n"},
        {"$1\r\nx\r\n", b, "-ERR redisroute: the reply of s:2 is not an array\r\n"},
        {"+QUEUED\r\n", b, "-ERR redisroute: the reply of s:2 is not an array\r\n"},
        {"%1\r\n:1\r\n:2\r\n", b,
         "-ERR redisroute: the reply of s:2 is of another type than the others\r\n"},
        {"*1\r\n:2\r\n", twice,
         "-ERR redisroute: the reply of s:2 does not fit the keys of the command\r\n"},
        {"*1\r\n:2\r\n", far,
         "-ERR redisroute: the reply of s:2 does not fit the keys of the command\r\n"},
        {"-WRONGTYPE no\r\n", b, "-WRONGTYPE no (redisroute: from s:2)\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct merge_part parts[] = {
            {{"*1\r\n:1\r\n", 8}, "s:1", 1, a},
            {{cases[i].reply, strlen(cases[i].reply)}, "s:2", 1, cases[i].positions},
        };

        check(MERGE_POSITIONS, parts, 2, cases[i].expected);
    }
}

static void maps_are_placed_pair_by_pair(void **state)
{
    static const uint32_t a[] = {1}, b[] = {0};
    struct merge_part parts[] = {
        {{"%1\r\n+a\r\n:1\r\n", 12}, "s:1", 1, a},
        {{"%1\r\n+b\r\n*1\r\n:2\r\n", 16}, "s:2", 1, b},
    };

    (void)state;
    check(MERGE_POSITIONS, parts, 2, "%2\r\n+b\r\n*1\r\n:2\r\n+a\r\n:1\r\n");
}

static void a_hundred_thousand_elements(void **state)
{
    enum { KEYS = 100000, SERVERS = 3 };
    struct buffer replies[SERVERS], out;
    uint32_t *positions[SERVERS], sizes[SERVERS] = {0};
    struct merge_part parts[SERVERS];
    const char *at;

    (void)state;
    for (int i = 0; i < SERVERS; i++) {
        buffer_init(&replies[i]);
        positions[i] = malloc(KEYS * sizeof(uint32_t));
        for (uint32_t key = (uint32_t)i; key < KEYS; key += SERVERS)
            positions[i][sizes[i]++] = key;
    }
    for (int i = 0; i < SERVERS; i++) {
        char text[32];

        sprintf(text, "*%u\r\n", sizes[i]);
        assert_true(buffer_append_text(&replies[i], text));
        for (uint32_t j = 0; j < sizes[i]; j++) {
            sprintf(text, ":%u\r\n", positions[i][j]);
            assert_true(buffer_append_text(&replies[i], text));
        }
        parts[i] = (struct merge_part){{buffer_bytes(&replies[i]), buffer_length(&replies[i])},
                                       servers[i],
                                       sizes[i],
                                       positions[i]};
    }
    buffer_init(&out);
    assert_true(merge_replies(MERGE_POSITIONS, parts, SERVERS, &out));
    at = buffer_bytes(&out);
    assert_memory_equal(at, "*100000\r\n", 9);
    at += 9;
    for (int key = 0; key < KEYS; key++) {
        char text[32];
        size_t length = (size_t)sprintf(text, ":%d\r\n", key);

        assert_memory_equal(at, text, length);
        at += length;
    }
    buffer_deinit(&out);
    for (int i = 0; i < SERVERS; i++) {
        buffer_deinit(&replies[i]);
        free(positions[i]);
    }
}

static void arrays_are_concatenated(void **state)
{
    (void)state;
    merges_to(MERGE_CONCATENATE, "*1\r\n$1\r\na\r\n", "*0\r\n", "*2\r\n:1\r\n*1\r\n+x\r\n",
              "*3\r\n$1\r\na\r\n:1\r\n*1\r\n+x\r\n");
    merges_to(MERGE_CONCATENATE, "*0\r\n", "*0\r\n", NULL, "*0\r\n");
    merges_to(MERGE_CONCATENATE, "~1\r\n:1\r\n", "~1\r\n:2\r\n", NULL, "~2\r\n:1\r\n:2\r\n");
    merges_to(MERGE_CONCATENATE, "~1\r\n:1\r\n", "*1\r\n:2\r\n", "~0\r\n", "*2\r\n:1\r\n:2\r\n");
    merges_to(MERGE_CONCATENATE, "%1\r\n+a\r\n:1\r\n", "%1\r\n+b\r\n:2\r\n", NULL,
              "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n");
    merges_to(MERGE_CONCATENATE, "|1\r\n+a\r\n:1\r\n*1\r\n:5\r\n", NULL, NULL, "*1\r\n:5\r\n");
    merges_to(MERGE_CONCATENATE, "*0\r\n", "%0\r\n", NULL,
              "-ERR redisroute: the reply of s:2 is of another type than the others\r\n");
    merges_to(MERGE_CONCATENATE, "*0\r\n", "+OK\r\n", NULL,
              "-ERR redisroute: the reply of s:2 is not an array\r\n");
    merges_to(MERGE_CONCATENATE, "*-1\r\n", NULL, NULL,
              "-ERR redisroute: the reply of s:1 is not an array\r\n");
    merges_to(MERGE_CONCATENATE, ">1\r\n+a\r\n", NULL, NULL,
              "-ERR redisroute: the reply of s:1 is not an array\r\n");
}

static void integers_are_folded(void **state)
{
    static const struct {
        enum merge_kind kind;
        const char *a, *b, *c, *expected;
    } cases[] = {
        {MERGE_SUM, ":1\r\n", ":2\r\n", ":-4\r\n", ":-1\r\n"},
        {MERGE_SUM, ":5\r\n", NULL, NULL, ":5\r\n"},
        {MERGE_SUM, "|1\r\n+a\r\n:1\r\n:5\r\n", ":6\r\n", NULL, ":11\r\n"},
        {MERGE_SUM, ":9223372036854775807\r\n", ":-9223372036854775808\r\n", ":1\r\n", ":0\r\n"},
        {MERGE_MIN, ":3\r\n", ":-2\r\n", ":7\r\n", ":-2\r\n"},
        {MERGE_MIN, ":9223372036854775807\r\n", NULL, NULL, ":9223372036854775807\r\n"},
        {MERGE_MAX, ":3\r\n", ":-2\r\n", ":7\r\n", ":7\r\n"},
        {MERGE_MAX, ":-9223372036854775808\r\n", NULL, NULL, ":-9223372036854775808\r\n"},
        {MERGE_AND, ":1\r\n", ":1\r\n", ":2\r\n", ":1\r\n"},
        {MERGE_AND, ":1\r\n", ":0\r\n", ":1\r\n", ":0\r\n"},
        {MERGE_OR, ":0\r\n", ":-1\r\n", ":0\r\n", ":1\r\n"},
        {MERGE_OR, ":0\r\n", ":0\r\n", NULL, ":0\r\n"},
        {MERGE_AND, "#t\r\n", "#f\r\n", NULL, "#f\r\n"},
        {MERGE_OR, "#t\r\n", "#f\r\n", NULL, "#t\r\n"},
        {MERGE_MIN, "#t\r\n", "#f\r\n", NULL, "#f\r\n"},
        {MERGE_AND, "*3\r\n:1\r\n:0\r\n:1\r\n", "*3\r\n:1\r\n:1\r\n:0\r\n", NULL,
         "*3\r\n:1\r\n:0\r\n:0\r\n"},
        {MERGE_MIN, "*2\r\n:1\r\n:5\r\n", "*2\r\n:2\r\n:4\r\n", NULL, "*2\r\n:1\r\n:4\r\n"},
        {MERGE_SUM, "~1\r\n:1\r\n", "~1\r\n:1\r\n", NULL, "~1\r\n:2\r\n"},
        {MERGE_SUM, "*0\r\n", "*0\r\n", NULL, "*0\r\n"},
        {MERGE_OR, "*2\r\n#t\r\n:0\r\n", "*2\r\n#f\r\n:1\r\n", NULL, "*2\r\n#t\r\n:1\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        merges_to(cases[i].kind, cases[i].a, cases[i].b, cases[i].c, cases[i].expected);
}

static void what_cannot_be_folded_is_said(void **state)
{
#define NOT_INTEGER " is neither an integer nor an array of integers\r\n"
#define OTHER_SHAPE " has another shape than the others\r\n"
#define OTHER_TYPE " is of another type than the others\r\n"
#define OF "-ERR redisroute: the reply of "
    static const struct {
        enum merge_kind kind;
        const char *a, *b, *expected;
    } cases[] = {
        {MERGE_SUM, ":9223372036854775807\r\n", ":1\r\n",
         "-ERR redisroute: the sum of the replies is out of range\r\n"},
        {MERGE_SUM, ":-9223372036854775808\r\n", ":-1\r\n",
         "-ERR redisroute: the sum of the replies is out of range\r\n"},
        {MERGE_SUM, "*1\r\n:9223372036854775807\r\n", "*1\r\n:1\r\n",
         "-ERR redisroute: the sum of the replies is out of range\r\n"},
        {MERGE_SUM, "+OK\r\n", ":1\r\n", OF "s:1" NOT_INTEGER},
        {MERGE_SUM, ":1\r\n", "$1\r\n1\r\n", OF "s:2" NOT_INTEGER},
        {MERGE_SUM, ":1\r\n", "$-1\r\n", OF "s:2" NOT_INTEGER},
        {MERGE_SUM, ":1\r\n", ",1\r\n", OF "s:2" NOT_INTEGER},
        {MERGE_SUM, "#t\r\n", "#t\r\n", OF "s:1" NOT_INTEGER},
        {MERGE_SUM, "*1\r\n$1\r\n1\r\n", "*1\r\n:1\r\n", OF "s:1" NOT_INTEGER},
        {MERGE_SUM, "*1\r\n*1\r\n:1\r\n", "*1\r\n:1\r\n", OF "s:1" NOT_INTEGER},
        {MERGE_SUM, "*-1\r\n", ":1\r\n", OF "s:1" NOT_INTEGER},
        {MERGE_SUM, ":1\r\n", "*1\r\n:1\r\n", OF "s:2" OTHER_SHAPE},
        {MERGE_SUM, "*1\r\n:1\r\n", ":1\r\n", OF "s:2" OTHER_SHAPE},
        {MERGE_AND, "*1\r\n:1\r\n", "*2\r\n:1\r\n:1\r\n", OF "s:2" OTHER_SHAPE},
        {MERGE_AND, "*1\r\n:1\r\n", "*0\r\n", OF "s:2" OTHER_SHAPE},
        {MERGE_AND, "*1\r\n:1\r\n", "~1\r\n:1\r\n", OF "s:2" OTHER_SHAPE},
        {MERGE_OR, "#t\r\n", ":1\r\n", OF "s:2" OTHER_TYPE},
        {MERGE_OR, "%1\r\n:1\r\n:1\r\n", "%1\r\n:1\r\n:1\r\n", OF "s:1" NOT_INTEGER},
        {MERGE_MAX, "%1\r\n+a\r\n:1\r\n", "%1\r\n+a\r\n:1\r\n", OF "s:1" NOT_INTEGER},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        merges_to(cases[i].kind, cases[i].a, cases[i].b, NULL, cases[i].expected);
}

static void all_must_succeed(void **state)
{
    (void)state;
    merges_to(MERGE_ALL_SUCCEEDED, "+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n");
    merges_to(MERGE_ALL_SUCCEEDED, "$3\r\nsha\r\n", "$3\r\nxxx\r\n", NULL, "$3\r\nsha\r\n");
    merges_to(MERGE_ALL_SUCCEEDED, "|1\r\n+a\r\n+b\r\n+OK\r\n", "+OK\r\n", NULL,
              "|1\r\n+a\r\n+b\r\n+OK\r\n");
    merges_to(MERGE_ALL_SUCCEEDED, "+OK\r\n", "-NOSCRIPT No matching script\r\n", "-ERR b\r\n",
              "-NOSCRIPT No matching script (redisroute: from s:2)\r\n");
}

static void one_must_succeed(void **state)
{
    (void)state;
    merges_to(MERGE_ONE_SUCCEEDED, "-NOTBUSY a\r\n", "+OK\r\n", "+NO\r\n", "+OK\r\n");
    merges_to(MERGE_ONE_SUCCEEDED, "-NOTBUSY a\r\n", "-NOTBUSY b\r\n", NULL, "-NOTBUSY a\r\n");
    merges_to(MERGE_ONE_SUCCEEDED, "|1\r\n+a\r\n+b\r\n-ERR a\r\n", "$-1\r\n", NULL, "$-1\r\n");
}

static void an_error_of_one_is_the_error_of_all(void **state)
{
    static const enum merge_kind kinds[] = {MERGE_CONCATENATE,  MERGE_SUM, MERGE_MIN,
                                            MERGE_MAX,          MERGE_AND, MERGE_OR,
                                            MERGE_ALL_SUCCEEDED};

    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        merges_to(kinds[i], "*1\r\n:1\r\n", "-WRONGTYPE Operation against a key\r\n", "+?\r\n",
                  "-WRONGTYPE Operation against a key (redisroute: from s:2)\r\n");
        merges_to(kinds[i], "!9\r\nERR a\r\nbc\r\n", "*0\r\n", NULL,
                  "-ERR a  bc (redisroute: from s:1)\r\n");
        merges_to(kinds[i], "|1\r\n+a\r\n+b\r\n-ERR a\r\n", ":1\r\n", NULL,
                  "-ERR a (redisroute: from s:1)\r\n");
    }
}

static void an_error_made_here_names_no_server(void **state)
{
    struct merge_part parts[] = {
        {{"-UNREACHABLE redisroute: s:1 cannot be reached\r\n", 48}, NULL, 0, NULL},
        {{"+OK\r\n", 5}, "s:2", 0, NULL},
    };

    (void)state;
    check(MERGE_SUM, parts, 2, "-UNREACHABLE redisroute: s:1 cannot be reached\r\n");
    parts[0].reply = (struct bytes){"+OK\r\n", 5};
    check(MERGE_CONCATENATE, parts, 2,
          "-ERR redisroute: the reply of a server is not an array\r\n");
}

static void no_parts_are_an_error(void **state)
{
    (void)state;
    for (int kind = MERGE_POSITIONS; kind <= MERGE_ONE_SUCCEEDED; kind++)
        check((enum merge_kind)kind, NULL, 0, "-ERR redisroute: no server was asked\r\n");
}

static void elements_are_united(void **state)
{
    (void)state;
    merges_to(MERGE_UNION, "*2\r\n$1\r\nb\r\n$1\r\na\r\n", "*0\r\n", "*1\r\n$1\r\nb\r\n",
              "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    merges_to(MERGE_UNION, "*0\r\n", "*0\r\n", NULL, "*0\r\n");
    merges_to(MERGE_UNION, "*0\r\n", ":1\r\n", NULL,
              "-ERR redisroute: the reply of s:2 is not an array\r\n");
}

static void numbers_of_names_are_summed(void **state)
{
    (void)state;
    merges_to(MERGE_SUM_OF_NAMED, "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n",
              "*4\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:5\r\n", NULL,
              "*4\r\n$1\r\na\r\n:3\r\n$1\r\nb\r\n:5\r\n");
    merges_to(MERGE_SUM_OF_NAMED, "*0\r\n", "*0\r\n", NULL, "*0\r\n");
    merges_to(MERGE_SUM_OF_NAMED, "*2\r\n$1\r\na\r\n:1\r\n", "*2\r\n$1\r\nb\r\n:2\r\n", NULL,
              "-ERR redisroute: the reply of s:2 has other names than the others\r\n");
    merges_to(MERGE_SUM_OF_NAMED, "*2\r\n$1\r\na\r\n:1\r\n", "*0\r\n", NULL,
              "-ERR redisroute: the reply of s:2 has another shape than the others\r\n");
    merges_to(MERGE_SUM_OF_NAMED, "*2\r\n$1\r\na\r\n$1\r\n1\r\n", NULL, NULL,
              "-ERR redisroute: the reply of s:1 has no number where one belongs\r\n");
}

static void texts_are_joined(void **state)
{
    (void)state;
    merges_to(MERGE_TEXT, "$2\r\na\n\r\n", "$0\r\n\r\n", "$2\r\nb\n\r\n", "$4\r\na\nb\n\r\n");
    merges_to(MERGE_TEXT, "=6\r\ntxt:a\n\r\n", "=6\r\ntxt:b\n\r\n", NULL, "=8\r\ntxt:a\nb\n\r\n");
    merges_to(MERGE_TEXT, "$1\r\na\r\n", "$-1\r\n", NULL,
              "-ERR redisroute: the reply of s:2 is not a text\r\n");
}

static void reports_become_one(void **state)
{
    (void)state;
    merges_to(MERGE_INFO, "$24\r\n# Stats\r\nnumber:1\r\nx:1\r\n\r\n",
              "$24\r\n# Stats\r\nnumber:2\r\nx:9\r\n\r\n", NULL,
              "$25\r\n# Stats\r\nnumber:3\r\nx:10\r\n\r\n");
    merges_to(MERGE_INFO, "=23\r\ntxt:# Stats\r\nnumber:1\r\n\r\n",
              "$19\r\n# Stats\r\nnumber:2\r\n\r\n", NULL, "=23\r\ntxt:# Stats\r\nnumber:3\r\n\r\n");
    merges_to(MERGE_INFO, "$0\r\n\r\n", "$0\r\n\r\n", NULL, "$0\r\n\r\n");
    merges_to(MERGE_INFO, "$0\r\n\r\n", ":1\r\n", NULL,
              "-ERR redisroute: the reply of s:2 is not a text\r\n");
    merges_to(MERGE_INFO, "$0\r\n\r\n", "-NOPERM no\r\n", NULL,
              "-NOPERM no (redisroute: from s:2)\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_go_where_their_keys_are),
        cmocka_unit_test(elements_must_be_as_many_as_keys),
        cmocka_unit_test(maps_are_placed_pair_by_pair),
        cmocka_unit_test(a_hundred_thousand_elements),
        cmocka_unit_test(arrays_are_concatenated),
        cmocka_unit_test(integers_are_folded),
        cmocka_unit_test(what_cannot_be_folded_is_said),
        cmocka_unit_test(elements_are_united),
        cmocka_unit_test(numbers_of_names_are_summed),
        cmocka_unit_test(texts_are_joined),
        cmocka_unit_test(reports_become_one),
        cmocka_unit_test(all_must_succeed),
        cmocka_unit_test(one_must_succeed),
        cmocka_unit_test(an_error_of_one_is_the_error_of_all),
        cmocka_unit_test(an_error_made_here_names_no_server),
        cmocka_unit_test(no_parts_are_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
