#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "route/members.h"

static struct bytes text(const char *s)
{
    return (struct bytes){s, strlen(s)};
}

static void assert_host(const struct member *m, const char *host, uint16_t port)
{
    assert_int_equal(m->host.length, strlen(host));
    assert_memory_equal(m->host.data, host, strlen(host));
    assert_int_equal(m->port, port);
}

static void assert_text(struct bytes is, const char *expected)
{
    assert_int_equal(is.length, strlen(expected));
    assert_memory_equal(is.data, expected, is.length);
}

/* As a server of version 7 writes it, the header of the bulk string included. */
static const char nodes[] =
    "$700\r\n"
    "07c3 127.0.0.1:30004@31004,hostname4 slave e7d1 0 1426238317239 4 connected\n"
    "67ed 127.0.0.1:30002@31002,hostname2 master,fail - 0 1426238316232 2 connected 5461-10922\n"
    "292f 127.0.0.1:30003@31003 master,fail? - 0 1426238318243 3 connected 10923-16383\n"
    "e7d1 127.0.0.1:30001@31001,hostname1 myself,master - 0 0 1 connected 0-5460 7000 "
    "[5461->-292f] [16383->-67ed] [5462-<-292f]\n"
    "\r\n";

static void members_are_read(void **state)
{
    struct bytes rest = text(nodes);
    struct member m;

    (void)state;
    assert_true(members_next(&rest, &m));
    assert_host(&m, "127.0.0.1", 30004);
    assert_false(m.myself);
    assert_false(m.failed);
    assert_true(m.replica);
    assert_text(m.id, "07c3");
    assert_text(m.master, "e7d1");
    assert_text(m.name, "hostname4");
    assert_true(members_next(&rest, &m));
    assert_host(&m, "127.0.0.1", 30002);
    assert_true(m.failed);
    assert_false(m.replica);
    assert_text(m.name, "hostname2");
    assert_true(members_next(&rest, &m));
    assert_host(&m, "127.0.0.1", 30003);
    assert_false(m.failed); /* only suspected */
    assert_text(m.name, "");
    assert_true(members_next(&rest, &m));
    assert_host(&m, "127.0.0.1", 30001);
    assert_true(m.myself);
    assert_false(members_next(&rest, &m));
    assert_int_equal(rest.length, 0);
}

static void migrating_slots_are_those_that_leave(void **state)
{
    struct bytes rest = text(nodes);
    uint16_t slot = 0;
    struct member m;

    (void)state;
    while (members_next(&rest, &m) && !m.myself)
        assert_false(members_next_migrating(&m, &slot));
    assert_true(members_next_migrating(&m, &slot));
    assert_int_equal(slot, 5461);
    assert_true(members_next_migrating(&m, &slot));
    assert_int_equal(slot, 16383);
    assert_false(members_next_migrating(&m, &slot));
}

static void hosts_may_be_empty_or_ipv6(void **state)
{
    struct bytes rest = text("a :7000@17000 myself,master - 0 0 1 connected\n"
                             "b ::1:7001@17001 master - 0 0 1 connected\n"
                             "c h:7002 master - 0 0 1 connected");
    struct member m;

    (void)state;
    assert_true(members_next(&rest, &m));
    assert_host(&m, "", 7000);
    assert_true(members_next(&rest, &m));
    assert_host(&m, "::1", 7001);
    assert_true(members_next(&rest, &m));
    assert_host(&m, "h", 7002); /* versions before 4 have no bus port */
}

static void what_is_no_member_is_passed_over(void **state)
{
    static const char *const lines[] = {
        "",
        "\n\n\n",
        "one",
        "one two",
        "id host master",
        "id host:port@1 master",
        "id host:65536@1 master",
        "id host:@1 master",
        "id host:1234567890@1 master",
        "-ERR unknown command",
    };
    uint16_t slot;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct bytes rest = text(lines[i]);
        struct member m;

        assert_false(members_next(&rest, &m));
    }
    for (const char *bad = "a h:1@2 myself - 0 0 1 connected [x->-y] [16384->-y] [->-] [1 [";
         bad != NULL; bad = NULL) {
        struct bytes rest = text(bad);
        struct member m;

        assert_true(members_next(&rest, &m));
        assert_false(members_next_migrating(&m, &slot));
    }
}

/* Wherever the text is cut off, nothing behind its end is looked at. */
static void any_beginning_can_be_read(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof nodes; length++) {
        char *copy = malloc(length ? length : 1);
        struct bytes rest = {copy, length};
        struct member m;
        uint16_t slot;

        memcpy(copy, nodes, length);
        while (members_next(&rest, &m))
            while (members_next_migrating(&m, &slot))
                assert_in_range(slot, 0, 16383);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_read),
        cmocka_unit_test(migrating_slots_are_those_that_leave),
        cmocka_unit_test(hosts_may_be_empty_or_ipv6),
        cmocka_unit_test(what_is_no_member_is_passed_over),
        cmocka_unit_test(any_beginning_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
