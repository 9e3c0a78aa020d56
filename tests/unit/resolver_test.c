#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netdb.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "link/resolver.h"

/* --- the name server --- */

static const char *answer; /* numbers, separated by spaces; NULL: the name is not known */
static int asked;

static struct addrinfo *make(const char *number)
{
    struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_storage));
    struct sockaddr_in *in = (void *)(info + 1);
    struct sockaddr_in6 *in6 = (void *)(info + 1);
    bool is_6 = inet_pton(AF_INET6, number, &in6->sin6_addr) == 1;

    info->ai_addr = (struct sockaddr *)(info + 1);
    info->ai_family = is_6 ? AF_INET6 : AF_INET;
    info->ai_addrlen = is_6 ? sizeof *in6 : sizeof *in;
    if (!is_6 && inet_pton(AF_INET, number, &in->sin_addr) != 1) {
        free(info);
        return NULL;
    }
    info->ai_addr->sa_family = (sa_family_t)info->ai_family;
    return info;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    char numbers[256], *rest = numbers, *number;

    (void)service;
    *list = NULL;
    if ((hints->ai_flags & AI_NUMERICHOST) != 0)
        return (*list = make(host)) != NULL ? 0 : EAI_NONAME;
    asked++;
    if (answer == NULL)
        return EAI_NONAME;
    strcpy(numbers, answer);
    while ((number = strsep(&rest, " ")) != NULL) {
        *list = make(number);
        list = &(*list)->ai_next;
    }
    return 0;
}

/* --- --- */

static const char *number_of(const struct resolver_address *a)
{
    static char text[INET6_ADDRSTRLEN];
    const struct sockaddr_in *in = (const void *)&a->address;
    const struct sockaddr_in6 *in6 = (const void *)&a->address;

    assert_int_equal(ntohs(in->sin_port), 6379);
    return inet_ntop(in->sin_family,
                     in->sin_family == AF_INET ? (const void *)&in->sin_addr
                                               : (const void *)&in6->sin6_addr,
                     text, sizeof text);
}

static void assert_list(const char *name, sa_family_t family, const char *expected)
{
    struct resolver_address list[RESOLVER_ADDRESSES_MOST];
    char text[512] = "";
    size_t count;

    assert_int_equal(resolver_list(name, 6379, family, true, list, &count), RESOLVER_FOUND);
    for (size_t i = 0; i < count; i++) {
        strcat(text, i > 0 ? " " : "");
        strcat(text, number_of(&list[i]));
    }
    assert_string_equal(text, expected);
}

static void assert_best(const char *name, sa_family_t family, const char *expected)
{
    struct resolver_address best = {.length = 0};

    assert_int_equal(resolver_look_up(name, 6379, family, true, &best.address, &best.length),
                     RESOLVER_FOUND);
    assert_string_equal(number_of(&best), expected);
}

static void doubt(const char *name, const char *number)
{
    struct addrinfo *info = make(number);
    struct sockaddr_storage address = {0};

    memcpy(&address, info->ai_addr, info->ai_addrlen);
    freeaddrinfo(info);
    resolver_doubt(name, &address);
}

static void pause_ms(int64_t ms)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int64_t until = clock_now_ms() + ms; clock_now_ms() < until;)
        nanosleep(&moment, NULL);
}

static void all_addresses_are_known_those_of_the_family_first(void **state)
{
    (void)state;
    answer = "::1 10.0.0.1 10.0.0.2 10.0.0.1 ::2";
    assert_list("all.test", AF_UNSPEC, "::1 10.0.0.1 10.0.0.2 ::2");
    assert_list("all.test", AF_INET, "10.0.0.1 10.0.0.2 ::1 ::2");
    assert_best("all.test", AF_INET6, "::1");
    assert_best("all.test", AF_INET, "10.0.0.1");
}

static void what_failed_comes_last(void **state)
{
    (void)state;
    answer = "10.0.0.1 10.0.0.2 ::1";
    assert_best("last.test", AF_INET, "10.0.0.1");
    doubt("last.test", "10.0.0.1");
    assert_best("last.test", AF_INET, "10.0.0.2");
    pause_ms(3);
    doubt("last.test", "10.0.0.2");
    assert_best("last.test", AF_INET, "::1"); /* of the other family, but it has not failed */
    pause_ms(3);
    doubt("last.test", "::1");
    assert_best("last.test", AF_INET, "10.0.0.1"); /* it is the longest that this one failed */
    assert_list("last.test", AF_UNSPEC, "10.0.0.1 10.0.0.2 ::1");
}

static void what_is_doubted_is_looked_up_again_but_not_at_once(void **state)
{
    (void)state;
    answer = "10.0.0.1";
    asked = 0;
    assert_best("doubt.test", AF_UNSPEC, "10.0.0.1");
    answer = "10.0.0.2";
    assert_best("doubt.test", AF_UNSPEC, "10.0.0.1");
    doubt("doubt.test", "10.0.0.1");
    assert_best("doubt.test", AF_UNSPEC, "10.0.0.1");
    assert_int_equal(asked, 1);
    pause_ms(RESOLVER_DOUBTED_MS + 1);
    assert_best("doubt.test", AF_UNSPEC, "10.0.0.2");
    assert_int_equal(asked, 2);
}

static void a_list_is_as_new_as_can_be(void **state)
{
    (void)state;
    answer = "10.0.0.1";
    asked = 0;
    assert_list("list.test", AF_UNSPEC, "10.0.0.1");
    answer = "10.0.0.2";
    assert_list("list.test", AF_UNSPEC, "10.0.0.1");
    pause_ms(RESOLVER_DOUBTED_MS + 1);
    assert_list("list.test", AF_UNSPEC, "10.0.0.2");
    assert_int_equal(asked, 2);
}

/* The address that failed is the newest there is, and is used. */
static void a_name_server_that_is_away_takes_no_address_away(void **state)
{
    (void)state;
    answer = "10.0.0.1";
    assert_best("away.test", AF_UNSPEC, "10.0.0.1");
    answer = NULL;
    doubt("away.test", "10.0.0.1");
    pause_ms(RESOLVER_DOUBTED_MS + 1);
    asked = 0;
    assert_best("away.test", AF_UNSPEC, "10.0.0.1");
    assert_best("away.test", AF_UNSPEC, "10.0.0.1");
    assert_int_equal(asked, 1);
}

static void a_name_that_nobody_has(void **state)
{
    struct resolver_address list[RESOLVER_ADDRESSES_MOST];
    size_t count = 1;

    (void)state;
    answer = NULL;
    asked = 0;
    assert_int_equal(resolver_list("none.test", 1, AF_UNSPEC, true, list, &count),
                     RESOLVER_UNKNOWN);
    assert_int_equal(count, 0);
    assert_int_equal(resolver_list("none.test", 1, AF_UNSPEC, true, list, &count),
                     RESOLVER_UNKNOWN);
    assert_int_equal(asked, 1);
    answer = "10.0.0.1";
    pause_ms(RESOLVER_FAILED_MS + 1);
    assert_list("none.test", AF_UNSPEC, "10.0.0.1");
}

/* By a thread, while this one does something else. */
static void nobody_has_to_wait(void **state)
{
    struct resolver_address best;
    enum resolver_result result;
    int64_t until = clock_now_ms() + 10000;

    (void)state;
    answer = "10.0.0.7";
    assert_int_equal(
        resolver_look_up("aside.test", 6379, AF_UNSPEC, false, &best.address, &best.length),
        RESOLVER_PENDING);
    while ((result = resolver_look_up("aside.test", 6379, AF_UNSPEC, false, &best.address,
                                      &best.length)) == RESOLVER_PENDING &&
           clock_now_ms() < until)
        pause_ms(1);
    assert_int_equal(result, RESOLVER_FOUND);
    assert_string_equal(number_of(&best), "10.0.0.7");
}

static void numbers_are_no_names(void **state)
{
    (void)state;
    asked = 0;
    assert_false(resolver_is_name("10.0.0.1"));
    assert_false(resolver_is_name("::1"));
    assert_true(resolver_is_name("number.test"));
    assert_list("10.0.0.9", AF_INET6, "10.0.0.9");
    doubt("10.0.0.9", "10.0.0.9");
    assert_int_equal(asked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_addresses_are_known_those_of_the_family_first),
        cmocka_unit_test(what_failed_comes_last),
        cmocka_unit_test(what_is_doubted_is_looked_up_again_but_not_at_once),
        cmocka_unit_test(a_list_is_as_new_as_can_be),
        cmocka_unit_test(a_name_server_that_is_away_takes_no_address_away),
        cmocka_unit_test(a_name_that_nobody_has),
        cmocka_unit_test(nobody_has_to_wait),
        cmocka_unit_test(numbers_are_no_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
