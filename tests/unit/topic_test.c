/* What a session is subscribed to: look-up, and which topics concern every master. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "route/slot.h"
#include "session/topic.h"

enum { MANY = 5000 };

static struct bytes text(const char *s)
{
    return (struct bytes){s, strlen(s)};
}

static void test_kinds_are_apart(void **state)
{
    struct topics t = {0};
    struct topic *channel = topics_add(&t, TOPIC_CHANNEL, text("news"));
    struct topic *pattern = topics_add(&t, TOPIC_PATTERN, text("news"));

    (void)state;
    assert_non_null(channel);
    assert_non_null(pattern);
    assert_ptr_equal(topics_find(&t, TOPIC_CHANNEL, text("news")), channel);
    assert_ptr_equal(topics_find(&t, TOPIC_PATTERN, text("news")), pattern);
    assert_null(topics_find(&t, TOPIC_SHARD_CHANNEL, text("news")));
    assert_null(topics_find(&t, TOPIC_CHANNEL, text("new")));
    topics_remove(&t, channel);
    assert_null(topics_find(&t, TOPIC_CHANNEL, text("news")));
    assert_int_equal(topics_count(&t), 1);
    topics_deinit(&t);
    assert_int_equal(topics_count(&t), 0);
}

static void test_many_are_found_and_walked_over(void **state)
{
    struct topics t = {0};
    struct topic *topic = NULL;
    char name[32];
    int seen = 0;

    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "channel:%d", i);
        assert_non_null(topics_add(&t, i % 2 ? TOPIC_CHANNEL : TOPIC_SHARD_CHANNEL, text(name)));
    }
    while ((topic = topics_next(&t, topic)) != NULL)
        seen++;
    assert_int_equal(seen, MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "channel:%d", i);
        topic = topics_find(&t, i % 2 ? TOPIC_CHANNEL : TOPIC_SHARD_CHANNEL, text(name));
        assert_non_null(topic);
        assert_int_equal(topic->slot, i % 2 ? SLOT_NONE : slot_of_key(name, strlen(name)));
        if (i % 3 == 0)
            topics_remove(&t, topic);
    }
    for (seen = 0, topic = NULL; (topic = topics_next(&t, topic)) != NULL;)
        seen++;
    assert_int_equal(seen, MANY - (MANY + 2) / 3);
    topics_deinit(&t);
}

static void test_places(void **state)
{
    struct topics t = {0};
    struct topic *topic = topics_add(&t, TOPIC_PATTERN, text("*"));
    char feeds[3];
    struct feed *a = (struct feed *)(void *)&feeds[0], *b = (struct feed *)(void *)&feeds[1],
                *c = (struct feed *)(void *)&feeds[2];

    (void)state;
    assert_null(topic_place(topic, a));
    assert_true(topic_put(topic, a, 1));
    assert_true(topic_put(topic, b, 2));
    assert_true(topic_put(topic, c, 3));
    topic_leave(topic, a);
    topic_leave(topic, a);
    assert_null(topic_place(topic, a));
    assert_int_equal(topic_place(topic, b)->number, 2);
    assert_int_equal(topic_place(topic, c)->number, 3);
    assert_int_equal(topic->place_count, 2);
    topics_deinit(&t);
}

static void test_which_concern_every_master(void **state)
{
    static const struct {
        enum topic_kind kind;
        const char *name;
        bool expected;
    } rows[] = {
        {TOPIC_CHANNEL, "__keyspace@0__:user:1", true},
        {TOPIC_CHANNEL, "__keyevent@0__:expired", true},
        {TOPIC_CHANNEL, "__keyspace@", true},
        {TOPIC_CHANNEL, "__keyspace", false},
        {TOPIC_CHANNEL, "*", false},
        {TOPIC_CHANNEL, "news", false},
        {TOPIC_CHANNEL, "", false},
        {TOPIC_SHARD_CHANNEL, "__keyspace@0__:user:1", false},
        {TOPIC_PATTERN, "__keyspace@0__:*", true},
        {TOPIC_PATTERN, "__keyevent@*__:*", true},
        {TOPIC_PATTERN, "__key*__:*", true},
        {TOPIC_PATTERN, "__key?vent@0__:del", true},
        {TOPIC_PATTERN, "*", true},
        {TOPIC_PATTERN, "?*", true},
        {TOPIC_PATTERN, "[_]_keyspace@0__:*", true},
        {TOPIC_PATTERN, "\\__keyspace@0__:*", true},
        {TOPIC_PATTERN, "__keyspace@0__:user:1", true},
        {TOPIC_PATTERN, "__keyspace", false},
        {TOPIC_PATTERN, "_", false},
        {TOPIC_PATTERN, "", false},
        {TOPIC_PATTERN, "user:*", false},
        {TOPIC_PATTERN, "__sentinel__:*", false},
        {TOPIC_PATTERN, "__keyspaces*", false},
        {TOPIC_PATTERN, "x*", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (topic_notifies(rows[i].kind, text(rows[i].name)) != rows[i].expected)
            fail_msg("%s", rows[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_are_apart),
        cmocka_unit_test(test_many_are_found_and_walked_over),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_which_concern_every_master),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
