#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/resp.h"
#include "route/cluster.h"

static int alarms;

static struct bytes text(const char *s)
{
    return (struct bytes){s, strlen(s)};
}

static void say_range(struct buffer *out, int from, int to, const char *host, int port)
{
    assert_true(resp_append_header(out, '*', 3));
    assert_true(resp_append_header(out, ':', from));
    assert_true(resp_append_header(out, ':', to));
    assert_true(resp_append_header(out, '*', 2));
    assert_true(resp_append_bulk(out, text(host)));
    assert_true(resp_append_header(out, ':', port));
}

/* Two masters on one host, the first with the slots below `border`. */
static struct topology *two(const char *host, int border)
{
    struct topology *t;
    struct buffer out;
    char why[128];

    buffer_init(&out);
    assert_true(resp_append_header(&out, '*', 2));
    say_range(&out, 0, border - 1, host, 7001);
    say_range(&out, border, SLOT_COUNT - 1, host, 7002);
    t = topology_parse(buffer_bytes(&out), buffer_length(&out), host, 7001, why, sizeof why);
    buffer_deinit(&out);
    assert_non_null(t);
    return t;
}

static uint16_t owner_port(struct cluster *c, uint16_t slot)
{
    uint64_t version;
    struct topology *t = cluster_topology(c, &version);
    uint16_t port = t->nodes[t->owner[slot]].port;

    assert_int_equal(version, cluster_version(c));
    topology_unref(t);
    return port;
}

static bool migrates(struct cluster *c, uint16_t slot)
{
    uint64_t version;
    struct topology *t = cluster_topology(c, &version);
    bool migrating = topology_is_migrating(t, slot);

    topology_unref(t);
    return migrating;
}

static void a_moved_slot_makes_a_version(void **state)
{
    struct cluster *c = cluster_create(two("a", 100));

    (void)state;
    assert_int_equal(cluster_version(c), 1);
    cluster_moved(c, 5, text("a"), 7002);
    assert_int_equal(cluster_version(c), 2);
    assert_int_equal(owner_port(c, 5), 7002);
    assert_int_equal(owner_port(c, 6), 7001);
    cluster_moved(c, 5, text("a"), 7002); /* known already */
    assert_int_equal(cluster_version(c), 2);
    cluster_moved(c, 6, text("new"), 7003);
    assert_int_equal(owner_port(c, 6), 7003);
    cluster_destroy(c);
}

static void a_snapshot_in_use_stays(void **state)
{
    struct cluster *c = cluster_create(two("a", 100));
    uint64_t version;
    struct topology *t = cluster_topology(c, &version);

    (void)state;
    cluster_moved(c, 5, text("a"), 7002);
    cluster_destroy(c);
    assert_int_equal(t->nodes[t->owner[5]].port, 7001);
    topology_unref(t);
}

static void a_refresh_does_not_undo_what_is_newer(void **state)
{
    struct cluster *c = cluster_create(two("a", 100));
    uint64_t begun;

    (void)state;
    cluster_moved(c, 4, text("a"), 7002); /* before: the refresh knows better */
    begun = cluster_refresh_begin(c);
    cluster_moved(c, 5, text("a"), 7002);
    cluster_refresh_end(c, begun, two("a", 100));
    assert_int_equal(owner_port(c, 4), 7001);
    assert_int_equal(owner_port(c, 5), 7002);
    begun = cluster_refresh_begin(c);
    cluster_refresh_end(c, begun, two("a", 100));
    assert_int_equal(owner_port(c, 5), 7001);
    cluster_destroy(c);
}

static void a_refresh_that_says_nothing_new_makes_no_version(void **state)
{
    struct cluster *c = cluster_create(two("a", 100));

    (void)state;
    cluster_refresh_end(c, cluster_refresh_begin(c), two("a", 100));
    assert_int_equal(cluster_version(c), 1);
    cluster_refresh_end(c, cluster_refresh_begin(c), NULL); /* it failed */
    assert_int_equal(cluster_version(c), 1);
    cluster_refresh_end(c, cluster_refresh_begin(c), two("a", 200));
    assert_int_equal(cluster_version(c), 2);
    assert_int_equal(owner_port(c, 150), 7001);
    cluster_destroy(c);
}

static void migration_outlives_a_refresh_but_not_a_new_owner(void **state)
{
    struct cluster *c = cluster_create(two("a", 100));

    (void)state;
    cluster_migrating(c, 5, true);
    cluster_migrating(c, 150, true);
    assert_true(migrates(c, 5));
    cluster_refresh_end(c, cluster_refresh_begin(c), two("a", 200));
    assert_true(migrates(c, 5));
    assert_false(migrates(c, 150));
    cluster_migrating(c, 5, false);
    assert_false(migrates(c, 5));
    cluster_destroy(c);
}

static void ring(void)
{
    alarms++;
}

static void evidence_rings_the_alarm(void **state)
{
    struct cluster *c = cluster_create(two("a", 100));
    uint32_t before = atomic_load(&c->evidence);

    (void)state;
    cluster_set_alarm(ring);
    alarms = 0;
    cluster_suspect(c);
    assert_int_equal(alarms, 1);
    assert_int_equal(atomic_load(&c->evidence), before + 1);
    cluster_migrating(c, 5, true);
    assert_int_equal(alarms, 2);
    cluster_migrating(c, 5, false); /* good news are none */
    assert_int_equal(alarms, 2);
    cluster_set_alarm(NULL);
    cluster_suspect(c);
    assert_int_equal(alarms, 2);
    cluster_destroy(c);
}

static void a_cluster_is_found_by_any_of_its_nodes(void **state)
{
    struct cluster *c, *again, *secured;

    (void)state;
    assert_null(cluster_find("dialled", 6000, false));
    c = cluster_learn("dialled", 6000, false, two("b", 100));
    assert_ptr_equal(cluster_find("dialled", 6000, false), c);
    assert_ptr_equal(cluster_find("b", 7002, false), c);
    assert_null(cluster_find("b", 7003, false));
    assert_ptr_equal(cluster_first(), c);
    again = cluster_learn("another", 6001, false, two("b", 300)); /* shares a node */
    assert_ptr_equal(again, c);
    assert_ptr_equal(cluster_find("another", 6001, false), c);
    /* By TLS the same address is another one. */
    assert_null(cluster_find("dialled", 6000, true));
    secured = cluster_learn("dialled", 6000, true, two("b", 300));
    assert_ptr_not_equal(secured, c);
    assert_true(secured->secure && !c->secure);
    assert_ptr_equal(cluster_find("b", 7002, true), secured);
    assert_ptr_equal(cluster_find("b", 7002, false), c);
    assert_ptr_not_equal(cluster_learn("third", 6002, false, two("c", 100)), c);
}

static void plain_is_remembered_for_a_while(void **state)
{
    (void)state;
    assert_false(cluster_is_plain("plain", 6379, false, 1000));
    cluster_learn_plain("plain", 6379, false, 1000);
    assert_true(cluster_is_plain("plain", 6379, false, 1000));
    assert_true(cluster_is_plain("plain", 6379, false, 1000 + CLUSTER_PLAIN_MS - 1));
    assert_false(cluster_is_plain("plain", 6379, false, 1000 + CLUSTER_PLAIN_MS));
    assert_false(cluster_is_plain("plain", 6380, false, 1000));
    cluster_learn("plain", 6379, false, two("d", 100));
    cluster_learn_plain("plain", 6379, false, 2000); /* a hiccup of a cluster makes it no less one */
    assert_false(cluster_is_plain("plain", 6379, false, 2000));
}

static void credentials_are_the_latest(void **state)
{
    struct cluster *c = cluster_create(two("a", 100));
    size_t length;
    char *copy;

    (void)state;
    assert_null(cluster_credentials(c, "h", 1, &length));
    cluster_set_credentials(c, text("AUTH one"));
    cluster_set_credentials(c, text("AUTH two!"));
    copy = cluster_credentials(c, "h", 1, &length);
    assert_int_equal(length, 9);
    assert_memory_equal(copy, "AUTH two!", 9);
    free(copy);
    cluster_destroy(c);
}

static void the_dead_are_marked(void **state)
{
    struct cluster *c = cluster_create(two("a", 100));

    (void)state;
    assert_false(cluster_is_dead(c, "a", 7001));
    cluster_mark_dead(c, "a", 7001, true);
    cluster_mark_dead(c, "a", 7001, true);
    assert_true(cluster_is_dead(c, "a", 7001));
    assert_false(cluster_is_dead(c, "a", 7002));
    cluster_mark_dead(c, "a", 7001, false);
    assert_false(cluster_is_dead(c, "a", 7001));
    cluster_mark_dead(c, "a", 7002, true);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_moved_slot_makes_a_version),
        cmocka_unit_test(a_snapshot_in_use_stays),
        cmocka_unit_test(a_refresh_does_not_undo_what_is_newer),
        cmocka_unit_test(a_refresh_that_says_nothing_new_makes_no_version),
        cmocka_unit_test(migration_outlives_a_refresh_but_not_a_new_owner),
        cmocka_unit_test(evidence_rings_the_alarm),
        cmocka_unit_test(a_cluster_is_found_by_any_of_its_nodes),
        cmocka_unit_test(plain_is_remembered_for_a_while),
        cmocka_unit_test(credentials_are_the_latest),
        cmocka_unit_test(the_dead_are_marked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
