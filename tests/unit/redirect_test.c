#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "route/redirect.h"
#include "route/slot.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static struct redirect parse(const char *error)
{
    struct redirect r;

    redirect_parse(error, strlen(error), &r);
    return r;
}

static void errors_are_told_apart(void **state)
{
    static const struct {
        const char *error;
        enum redirect_action action;
    } cases[] = {
        {"TRYAGAIN Multiple keys request during rehashing of slot", REDIRECT_TRYAGAIN},
        {"CLUSTERDOWN The cluster is down", REDIRECT_CLUSTERDOWN},
        {"CLUSTERDOWN The cluster is down and only accepts read commands", REDIRECT_CLUSTERDOWN},
        {"CLUSTERDOWN", REDIRECT_CLUSTERDOWN},
        {"CLUSTERDOWN Hash slot not served", REDIRECT_UNBOUND},
        {"LOADING Redis is loading the dataset in memory", REDIRECT_LOADING},
        {"LOADING Valkey is loading the dataset in memory", REDIRECT_LOADING},
        {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
         REDIRECT_MASTERDOWN},
        {"READONLY You can't write against a read only replica.", REDIRECT_READONLY},
        {"", REDIRECT_NONE},
        {"ERR unknown command 'MOVED'", REDIRECT_NONE},
        {"ERR MOVED 1 a:1", REDIRECT_NONE},
        {"EXECABORT Transaction discarded because of: MOVED 1 a:1", REDIRECT_NONE},
        {"CROSSSLOT Keys in request don't hash to the same slot", REDIRECT_NONE},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", REDIRECT_NONE},
        {"NOSCRIPT No matching script. Please use EVAL.", REDIRECT_NOSCRIPT},
        {"NOSCRIPT No matching script.", REDIRECT_NOSCRIPT}, /* Valkey */
        {"NOSCRIPT of the application's own", REDIRECT_NONE},
        {"UNBLOCKED force unblock from blocking operation, instance state changed (master -> "
         "replica?)", REDIRECT_UNBLOCKED},
        {"UNBLOCKED client unblocked via CLIENT UNBLOCK", REDIRECT_NONE},
        {"LOADINGS", REDIRECT_NONE},
        {"LOADIN", REDIRECT_NONE},
        {"loading", REDIRECT_NONE},
        {"TRYAGAINST", REDIRECT_NONE},
        {"ASKING", REDIRECT_NONE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct redirect r = parse(cases[i].error);

        assert_int_equal(r.action, cases[i].action);
        assert_int_equal(r.slot, SLOT_NONE);
        assert_int_equal(r.port, 0);
        assert_int_equal(r.host.length, 0);
    }
}

static void addresses_are_read(void **state)
{
    static const struct {
        const char *error;
        enum redirect_action action;
        uint16_t slot;
        const char *host;
        uint16_t port;
    } cases[] = {
        {"MOVED 3999 127.0.0.1:6381", REDIRECT_MOVED, 3999, "127.0.0.1", 6381},
        {"ASK 0 127.0.0.1:1", REDIRECT_ASK, 0, "127.0.0.1", 1},
        {"MOVED 16383 redis-3.example.com:65535", REDIRECT_MOVED, 16383, "redis-3.example.com",
         65535},
        {"MOVED 1 :6379", REDIRECT_MOVED, 1, "", 6379},
        {"MOVED 1 ?:6379", REDIRECT_MOVED, 1, "", 6379},
        {"MOVED 1 ::1:6379", REDIRECT_MOVED, 1, "::1", 6379},
        {"ASK 1 2001:db8:0:1::17:7000", REDIRECT_ASK, 1, "2001:db8:0:1::17", 7000},
        {"ASK 1 fe80::1%eth0:7000", REDIRECT_ASK, 1, "fe80::1%eth0", 7000},
        {"MOVED 1 a:1 and more", REDIRECT_MOVED, 1, "a", 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct redirect r = parse(cases[i].error);

        assert_int_equal(r.action, cases[i].action);
        assert_int_equal(r.slot, cases[i].slot);
        assert_int_equal(r.port, cases[i].port);
        assert_int_equal(r.host.length, strlen(cases[i].host));
        assert_memory_equal(r.host.data, cases[i].host, r.host.length);
    }
}

static void malformed_addresses_redirect_nowhere(void **state)
{
    static const char *const errors[] = {
        "MOVED",
        "MOVED ",
        "MOVED 1",
        "MOVED 1 ",
        "MOVED  1 a:1",
        "MOVED 1  a:1",
        "MOVED 16384 a:1",
        "MOVED -1 a:1",
        "MOVED +1 a:1",
        "MOVED x a:1",
        "MOVED 1x a:1",
        "MOVED 99999999999999999999 a:1",
        "MOVED 1 a",
        "MOVED 1 a:",
        "MOVED 1 a:0",
        "MOVED 1 a:65536",
        "MOVED 1 a:99999999999999999999",
        "MOVED 1 a:-1",
        "MOVED 1 a:1x",
        "MOVED 1 6379",
        "ASK 1 a",
        "ASK",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++) {
        struct redirect r = parse(errors[i]);

        assert_int_equal(r.action, REDIRECT_NONE);
        assert_int_equal(r.slot, SLOT_NONE);
        assert_int_equal(r.host.length, 0);
    }
}

static void a_host_that_is_none_is_refused(void **state)
{
    char error[512] = "MOVED 1 ";
    struct redirect r;

    (void)state;
    memset(error + 8, 'a', 256);
    strcpy(error + 8 + 256, ":6379");
    assert_int_equal(parse(error).action, REDIRECT_NONE);
    assert_int_equal(parse(memcpy(error + 1, "MOVED 1 ", 8)).action, REDIRECT_MOVED);
    redirect_parse("MOVED 1 a\0b:1", 13, &r);
    assert_int_equal(r.action, REDIRECT_NONE);
}

static void nothing_is_read_behind_the_end(void **state)
{
    static const char error[] = "MOVED 3999 127.0.0.1:6381";

    (void)state;
    for (size_t length = 0; length < sizeof error - 1; length++) {
        struct redirect r;

        redirect_parse(error, length, &r);
        assert_int_equal(r.action,
                         length > strlen("MOVED 3999 127.0.0.1:") ? REDIRECT_MOVED : REDIRECT_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_told_apart),
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(malformed_addresses_redirect_nowhere),
        cmocka_unit_test(a_host_that_is_none_is_refused),
        cmocka_unit_test(nothing_is_read_behind_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
