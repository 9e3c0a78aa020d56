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
#include "route/topology.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])
#define ASKED "10.9.9.9"
#define THREE                                                                                      \
    "0-5460 10.0.0.1:7001 10.0.0.4:7004;"                                                          \
    "5461-10922 10.0.0.2:7002 10.0.0.5:7005;"                                                      \
    "10923-16383 10.0.0.3:7003 10.0.0.6:7006"

static struct bytes text(const char *s)
{
    return (struct bytes){s, strlen(s)};
}

static struct topology *parse(const char *reply, size_t length)
{
    char why[256] = "";
    struct topology *t = topology_parse(reply, length, ASKED, 7000, why, sizeof why);

    if (t == NULL)
        print_error("%s\n", why);
    assert_non_null(t);
    return t;
}

static void append_node(struct buffer *out, const char *node, size_t length)
{
    size_t colon = length;

    while (node[--colon] != ':')
        ;
    assert_true(resp_append_header(out, '*', 3));
    assert_true(resp_append_bulk(out, (struct bytes){node, colon}));
    assert_true(resp_append_header(out, ':', atoi(node + colon + 1)));
    assert_true(resp_append_bulk(out, text("0123456789abcdef0123456789abcdef01234567")));
}

static void append_range(struct buffer *out, const char *range, size_t length)
{
    const char *end = range + length, *at = memchr(range, ' ', length);
    long long nodes = 0;
    int first, last;

    assert_int_equal(sscanf(range, "%d-%d", &first, &last), 2);
    for (const char *p = range; p < end; p++)
        nodes += *p == ' ';
    assert_true(resp_append_header(out, '*', 2 + nodes));
    assert_true(resp_append_header(out, ':', first));
    assert_true(resp_append_header(out, ':', last));
    while (at != NULL) {
        const char *next = memchr(at + 1, ' ', (size_t)(end - at - 1));

        append_node(out, at + 1, (size_t)((next ? next : end) - at - 1));
        at = next;
    }
}

/* "first-last master:port replica:port …; …" */
static void append_slots(struct buffer *out, const char *ranges)
{
    long long count = *ranges != '\0';

    for (const char *p = ranges; *p != '\0'; p++)
        count += *p == ';';
    assert_true(resp_append_header(out, '*', count));
    for (; count > 0; count--) {
        size_t length = strcspn(ranges, ";");

        append_range(out, ranges, length);
        ranges += length + 1;
    }
}

static struct topology *slots(const char *ranges)
{
    struct buffer reply;
    struct topology *t;

    buffer_init(&reply);
    append_slots(&reply, ranges);
    t = parse(buffer_bytes(&reply), buffer_length(&reply));
    buffer_deinit(&reply);
    return t;
}

static uint16_t node_at(const struct topology *t, const char *host, uint16_t port)
{
    uint16_t node = topology_find(t, text(host), port);

    assert_int_not_equal(node, NODE_NONE);
    return node;
}

static void assert_owner(const struct topology *t, uint16_t slot, const char *host, uint16_t port)
{
    assert_int_equal(t->owner[slot], node_at(t, host, port));
}

/* What topology.h promises of every topology. */
static void assert_sound(const struct topology *t)
{
    uint16_t owned = 0, slots_of_nodes = 0, members = 0;

    for (uint16_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (t->owner[slot] == NODE_NONE)
            continue;
        owned++;
        assert_in_range(t->owner[slot], 0, t->node_count - 1);
        assert_true(t->nodes[t->owner[slot]].master);
        assert_in_range(slot, t->nodes[t->owner[slot]].first_slot, SLOT_COUNT - 1);
    }
    assert_int_equal(t->owned, owned);
    for (uint16_t i = 0; i < t->node_count; i++) {
        const struct node *n = &t->nodes[i];

        assert_int_equal(topology_find(t, text(n->host), n->port), i);
        assert_in_range(n->shard, 0, t->shard_count - 1);
        assert_int_equal(n->first_slot == SLOT_NONE, n->slot_count == 0);
        if (n->slot_count > 0)
            assert_int_equal(t->owner[n->first_slot], i);
        slots_of_nodes = (uint16_t)(slots_of_nodes + n->slot_count);
    }
    assert_int_equal(slots_of_nodes, owned);
    for (uint16_t i = 0; i < t->shard_count; i++) {
        assert_true(t->shards[i].count > 0);
        for (uint16_t j = 0; j < t->shards[i].count; j++) {
            const struct node *n = &t->nodes[t->shards[i].nodes[j]];

            assert_int_equal(n->shard, i);
            assert_int_equal(n->master, j == 0);
        }
        members = (uint16_t)(members + t->shards[i].count);
    }
    assert_int_equal(members, t->node_count);
}

static void a_cluster_of_three_shards(void **state)
{
    struct topology *t = slots(THREE);

    (void)state;
    assert_sound(t);
    assert_int_equal(t->node_count, 6);
    assert_int_equal(t->shard_count, 3);
    assert_int_equal(t->owned, SLOT_COUNT);
    assert_owner(t, 0, "10.0.0.1", 7001);
    assert_owner(t, 5460, "10.0.0.1", 7001);
    assert_owner(t, 5461, "10.0.0.2", 7002);
    assert_owner(t, 16383, "10.0.0.3", 7003);
    assert_false(t->nodes[node_at(t, "10.0.0.4", 7004)].master);
    assert_int_equal(t->nodes[node_at(t, "10.0.0.4", 7004)].shard,
                     t->nodes[node_at(t, "10.0.0.1", 7001)].shard);
    assert_int_equal(t->nodes[node_at(t, "10.0.0.2", 7002)].first_slot, 5461);
    assert_int_equal(t->nodes[node_at(t, "10.0.0.2", 7002)].slot_count, 5462);
    assert_string_equal(t->nodes[0].id, "0123456789abcdef0123456789abcdef01234567");
    assert_int_equal(topology_find(t, text("10.0.0.1"), 7002), NODE_NONE);
    assert_int_equal(topology_find(t, text("10.0.0"), 7001), NODE_NONE);
    assert_int_equal(topology_find(t, text("10.0.0.11"), 7001), NODE_NONE);
    assert_int_equal(topology_find(t, text(""), 7001), NODE_NONE);
    topology_unref(t);
}

static void a_shard_may_own_many_ranges(void **state)
{
    struct topology *t = slots("0-0 a:1 b:1;2-2 a:1 b:1;4-10 a:1 b:1;1-1 b:2;16383-16383 b:2");

    (void)state;
    assert_sound(t);
    assert_int_equal(t->node_count, 3);
    assert_int_equal(t->shard_count, 2);
    assert_int_equal(t->owned, 11);
    assert_int_equal(t->owner[3], NODE_NONE);
    assert_int_equal(t->owner[11], NODE_NONE);
    assert_owner(t, 16383, "b", 2);
    topology_unref(t);
}

static void an_empty_cluster_owns_nothing(void **state)
{
    struct topology *t = slots("");

    (void)state;
    assert_sound(t);
    assert_int_equal(t->node_count, 0);
    assert_int_equal(t->owned, 0);
    assert_int_equal(t->owner[0], NODE_NONE);
    assert_int_equal(topology_find(t, text("a"), 1), NODE_NONE);
    topology_unref(t);
}

/* Replies of a Redis 7.0, but for the first and the last. */
static void the_host_is_the_announced_one_or_the_asked_one(void **state)
{
#define NODE(host, rest) "*1\r\n*3\r\n:0\r\n:4\r\n" rest "\r\n" host "\r\n:7931\r\n"
#define ID "$40\r\n1006e0258326bc2c861c4d056b97f2d8edd53807\r\n"
#define IP "$2\r\nip\r\n$8\r\n10.0.0.7\r\n"
#define NAME "$8\r\nhostname\r\n$7\r\nfoo.bar\r\n"
    static const struct {
        const char *reply;
        const char *host;
    } cases[] = {
        {NODE("$8\r\n10.0.0.7", "*2"), "10.0.0.7"},
        {NODE("$0\r\n", "*4") ID "*0\r\n", ASKED},
        {NODE("$0\r\n", "*4") ID "*2\r\n" NAME, ASKED},
        {NODE("$-1", "*4") ID "*4\r\n" IP NAME, ASKED},
        {NODE("_", "*4") ID "%2\r\n" IP NAME, ASKED},
        {NODE("$7\r\nfoo.bar", "*4") ID "*2\r\n" IP, "foo.bar"},
        {NODE("$1\r\n?", "*4") ID "*2\r\n" IP, "10.0.0.7"},
        {NODE("$1\r\n?", "*4") ID "%1\r\n" IP, "10.0.0.7"},
        {NODE("$1\r\n?", "*4") ID "*2\r\n$2\r\nip\r\n$0\r\n\r\n", ASKED},
        {NODE("$1\r\n?", "*4") ID "*0\r\n", ASKED},
        {NODE("$1\r\n?", "*3") ID, ASKED},
        {NODE("$11\r\n2001:db8::1", "*3") ID, "2001:db8::1"},
        {NODE("+10.0.0.7", "*3") "_\r\n", "10.0.0.7"},
        {NODE("$8\r\n10.0.0.7", "*6") ID "*3\r\n" IP ":1\r\n"
                                         ":1\r\n*1\r\n*1\r\n:2\r\n",
         "10.0.0.7"},
        {NODE("$8\r\n10.0.0.7", "*4") "*1\r\n:1\r\n"
                                      ":7\r\n",
         "10.0.0.7"},
        {NODE("$8\r\n10.0.0.7", "*4") "$3\r\nabc\r\n"
                                      "*2\r\n*1\r\n:1\r\n%0\r\n",
         "10.0.0.7"},
        {"|1\r\n+a\r\n+b\r\n*1\r\n*3\r\n|1\r\n+a\r\n*0\r\n:0\r\n:0\r\n*2\r\n$1\r\na\r\n:7931\r\n",
         "a"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct topology *t = parse(cases[i].reply, strlen(cases[i].reply));

        assert_sound(t);
        assert_int_equal(t->node_count, 1);
        assert_string_equal(t->nodes[0].host, cases[i].host);
        assert_int_equal(t->nodes[0].port, 7931);
        topology_unref(t);
    }
}

static void only_ids_that_fit_are_kept(void **state)
{
    static const char longer[] = "*1\r\n*3\r\n:0\r\n:0\r\n*3\r\n$1\r\na\r\n:1\r\n"
                                 "$41\r\n01234567890123456789012345678901234567890\r\n";
    struct topology *t = parse(longer, sizeof longer - 1);

    (void)state;
    assert_string_equal(t->nodes[0].id, "");
    topology_unref(t);
}

static void malformed_replies_are_refused_in_words(void **state)
{
#define A "*2\r\n$1\r\na\r\n:1\r\n"
    static const struct {
        const char *reply;
        const char *why;
    } cases[] = {
        {"", "cut short"},
        {"-ERR This instance has cluster support disabled\r\n", "cluster support disabled"},
        {"-NOAUTH Authentication required.\r\n", "NOAUTH"},
        {"!7\r\nERR bad\r\n", "ERR bad"},
        {"+OK\r\n", "not an array"},
        {"*-1\r\n", "not an array"},
        {"%0\r\n", "not an array"},
        {"*1\r\n:1\r\n", "a range is not an array"},
        {"*1\r\n*2\r\n:0\r\n:1\r\n", "a range is not an array of at least 3"},
        {"*1\r\n*3\r\n:-1\r\n:1\r\n" A, "a first slot"},
        {"*1\r\n*3\r\n:0\r\n:16384\r\n" A, "a last slot"},
        {"*1\r\n*3\r\n:2\r\n:1\r\n" A, "a last slot is not a number from 2 to 16383"},
        {"*1\r\n*3\r\n$1\r\n0\r\n:1\r\n" A, "a first slot"},
        {"*2\r\n*3\r\n:0\r\n:5\r\n" A "*3\r\n:5\r\n:9\r\n" A, "slot 5 is in two ranges"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n$1\r\na\r\n", "a node is not an array"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n", "a node is not an array of at least 2"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*-1\r\n", "a node is not an array"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:0\r\n", "a port"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n", "a port"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n", "a port"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$3\r\na b\r\n:1\r\n", "the host of a node"},
        {"*1\r\n*4\r\n:0\r\n:1\r\n" A, "cut short"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*4\r\n$1\r\na\r\n:1\r\n+id\r\n", "cut short"},
        {"*2\r\n*3\r\n:0\r\n:1\r\n" A, "cut short"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n" A ":1\r\n", "goes on behind its end"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*3\r\n$1\r\na\r\n:1\r\n*4000000000\r\n", "cut short"},
        {"*1\r\n*3\r\n:0\r\n:1\r\n*4\r\n$1\r\na\r\n:1\r\n_\r\n%4000000000\r\n", "cut short"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char why[256] = "";

        assert_null(
            topology_parse(cases[i].reply, strlen(cases[i].reply), ASKED, 7000, why, sizeof why));
        assert_ptr_equal(strstr(why, ASKED ":7000: "), why);
        if (strstr(why, cases[i].why) == NULL)
            fail_msg("%s: not: %s", why, cases[i].why);
    }
}

static void hosts_must_be_possible(void **state)
{
    static const char nul[] = "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$2\r\na\0\r\n:1\r\n";
    static const char null[] = "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n_\r\n:1\r\n";
    char reply[1024], why[256];
    int length;

    (void)state;
    for (int host = 255; host <= 256; host++) {
        struct topology *t;

        length = sprintf(reply, "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$%d\r\n", host);
        memset(reply + length, 'h', (size_t)host);
        strcpy(reply + length + host, "\r\n:1\r\n");
        t = topology_parse(reply, strlen(reply), ASKED, 1, why, sizeof why);
        assert_int_equal(t != NULL, host == 255);
        topology_unref(t);
    }
    assert_null(topology_parse(nul, sizeof nul - 1, ASKED, 1, why, sizeof why));
    assert_non_null(strstr(why, "the host of a node"));
    assert_null(topology_parse(null, sizeof null - 1, NULL, 1, why, sizeof why));
    assert_non_null(strstr(why, "the host of a node"));
}

static void every_cut_is_noticed_and_the_reason_never_overflows(void **state)
{
    struct buffer reply;
    struct topology *t;

    (void)state;
    buffer_init(&reply);
    append_slots(&reply, THREE);
    for (size_t length = 0; length < buffer_length(&reply); length++) {
        char *exact = malloc(length + 1), why[300];
        size_t size = length % sizeof why;

        memcpy(exact, buffer_bytes(&reply), length);
        memset(why, '#', sizeof why);
        t = topology_parse(exact, length, ASKED, 7000, why, size);
        assert_null(t);
        assert_int_equal(why[size], '#');
        free(exact);
    }
    buffer_deinit(&reply);
}

static void contradictions_are_settled_for_the_master(void **state)
{
    struct topology *t = slots("0-1 a:1 b:1 a:1 c:1;2-3 b:1 c:1 a:1");

    (void)state;
    assert_sound(t);
    assert_int_equal(t->node_count, 3);
    assert_int_equal(t->shard_count, 2);
    assert_true(t->nodes[node_at(t, "a", 1)].master);
    assert_true(t->nodes[node_at(t, "b", 1)].master);
    assert_int_equal(t->nodes[node_at(t, "c", 1)].shard, t->nodes[node_at(t, "a", 1)].shard);
    topology_unref(t);
}

/* Each node comes up in many ranges, as after long resharding. */
static void a_thousand_nodes(void **state)
{
    enum { SHARDS = 500, NODES = 1000 };
    struct buffer reply;
    struct topology *t, *moved;
    char range[128];

    (void)state;
    buffer_init(&reply);
    assert_true(resp_append_header(&reply, '*', SLOT_COUNT / 2));
    for (int slot = 0; slot < SLOT_COUNT; slot += 2) {
        int shard = slot / 2 % SHARDS;
        int length = sprintf(range, "%d-%d 10.1.%d.%d:6379 10.2.%d.%d:6379", slot, slot + 1,
                             shard / 256, shard % 256, shard / 256, shard % 256);

        append_range(&reply, range, (size_t)length);
    }
    for (int i = 0; i < 10; i++) {
        t = parse(buffer_bytes(&reply), buffer_length(&reply));
        assert_int_equal(t->node_count, NODES);
        assert_int_equal(t->shard_count, SHARDS);
        assert_int_equal(t->owned, SLOT_COUNT);
        topology_unref(t);
    }
    t = parse(buffer_bytes(&reply), buffer_length(&reply));
    assert_sound(t);
    moved = topology_moved(t, 7, text("10.2.0.3"), 6379);
    assert_sound(moved);
    assert_owner(moved, 6, "10.2.0.3", 6379);
    topology_unref(moved);
    topology_unref(t);
    buffer_deinit(&reply);
}

static void nodes_without_end_are_refused(void **state)
{
    struct buffer reply;
    char node[64], why[256];
    struct topology *t;

    (void)state;
    for (int extra = 0; extra <= 1; extra++) {
        buffer_init(&reply);
        assert_true(buffer_append_text(&reply, "*1\r\n*"));
        sprintf(node, "%d\r\n:0\r\n:16383\r\n", 2 + NODE_MAX + extra);
        assert_true(buffer_append_text(&reply, node));
        for (int i = 1; i <= NODE_MAX + extra; i++) {
            int length = sprintf(node, "%s:%d", i % 2 ? "a" : "b", i / 2 + 1);

            append_node(&reply, node, (size_t)length);
        }
        t = topology_parse(buffer_bytes(&reply), buffer_length(&reply), ASKED, 1, why, sizeof why);
        assert_int_equal(t != NULL, extra == 0);
        if (t != NULL) {
            struct topology *moved = topology_moved(t, 0, text("new"), 1);

            assert_true(topology_same(t, moved)); /* there is no room for it */
            topology_unref(moved);
            assert_int_equal(t->node_count, NODE_MAX);
            assert_int_equal(t->shards[0].count, NODE_MAX);
        }
        topology_unref(t);
        buffer_deinit(&reply);
    }
    assert_non_null(strstr(why, "more than 65534 nodes"));
}

static void the_order_of_the_reply_does_not_matter(void **state)
{
    struct topology *a = slots("0-9 a:1 b:1 c:1;10-19 d:1;20-29 a:1 b:1 c:1");
    struct topology *b = slots("10-19 d:1;20-29 a:1 c:1 b:1;0-9 a:1 b:1 c:1");
    static const char *const others[] = {
        "0-9 a:1 b:1 c:1;10-19 d:1;20-28 a:1 b:1 c:1", /* a slot less */
        "0-9 a:1 b:1 c:1;10-19 d:1;20-29 a:1 b:1 e:1", /* another node */
        "0-9 a:1 b:1 c:1;10-19 d:1;20-29 a:1 b:1 c:2", /* another port */
        "0-9 a:1 b:1;10-19 d:1;20-29 a:1 b:1",         /* a node less */
        "0-9 b:1 a:1 c:1;10-19 d:1;20-29 b:1 a:1 c:1", /* another master */
        "0-9 a:1 b:1;10-19 d:1 c:1;20-29 a:1 b:1",     /* another shard's replica */
        "0-9 a:1 b:1 c:1;10-19 a:1;20-29 a:1 b:1 c:1", /* another owner */
        "",
    };

    (void)state;
    assert_true(topology_same(a, a));
    assert_true(topology_same(a, b));
    for (size_t i = 0; i < COUNT(others); i++) {
        struct topology *other = slots(others[i]);

        assert_false(topology_same(a, other));
        assert_false(topology_same(other, a));
        topology_unref(other);
    }
    topology_unref(a);
    topology_unref(b);
}

static void moved_to_a_master_moves_the_slot(void **state)
{
    struct topology *t = slots(THREE), *moved = topology_moved(t, 0, text("10.0.0.2"), 7002);

    (void)state;
    assert_sound(moved);
    assert_owner(moved, 0, "10.0.0.2", 7002);
    assert_owner(moved, 1, "10.0.0.1", 7001);
    assert_int_equal(moved->nodes[node_at(moved, "10.0.0.2", 7002)].first_slot, 0);
    assert_int_equal(moved->nodes[node_at(moved, "10.0.0.1", 7001)].first_slot, 1);
    assert_owner(t, 0, "10.0.0.1", 7001); /* the old one stays what it was */
    assert_sound(t);
    topology_unref(t);
    topology_unref(moved);
}

static void moved_to_where_it_is_changes_nothing(void **state)
{
    struct topology *t = slots(THREE), *moved = topology_moved(t, 0, text("10.0.0.1"), 7001);

    (void)state;
    assert_ptr_not_equal(t, moved);
    assert_true(topology_same(t, moved));
    topology_unref(t);
    assert_sound(moved);
    topology_unref(moved);
}

static void moved_to_a_replica_of_the_shard_is_a_failover(void **state)
{
    struct topology *t = slots(THREE), *moved = topology_moved(t, 100, text("10.0.0.4"), 7004);
    struct topology *expected = slots("0-5460 10.0.0.4:7004 10.0.0.1:7001;"
                                      "5461-10922 10.0.0.2:7002 10.0.0.5:7005;"
                                      "10923-16383 10.0.0.3:7003 10.0.0.6:7006");

    (void)state;
    assert_sound(moved);
    assert_true(topology_same(moved, expected));
    topology_unref(t);
    topology_unref(moved);
    topology_unref(expected);
}

static void moved_to_a_stranger_adds_a_shard(void **state)
{
    static const char *const hosts[] = {"0.0.0.0", "10.0.0.3", "zzz", "2001:db8::1"};
    struct topology *t = slots(THREE);

    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++) {
        struct topology *moved = topology_moved(t, 5461, text(hosts[i]), 9000);

        assert_sound(moved);
        assert_int_equal(moved->node_count, 7);
        assert_int_equal(moved->shard_count, 4);
        assert_owner(moved, 5461, hosts[i], 9000);
        assert_owner(moved, 5460, "10.0.0.1", 7001);
        assert_owner(moved, 5462, "10.0.0.2", 7002);
        assert_owner(moved, 16383, "10.0.0.3", 7003);
        topology_unref(moved);
    }
    topology_unref(t);
}

static void moved_to_another_shards_replica_takes_it_out_of_there(void **state)
{
    struct topology *t = slots(THREE), *moved = topology_moved(t, 0, text("10.0.0.5"), 7005);

    (void)state;
    assert_sound(moved);
    assert_int_equal(moved->shard_count, 4);
    assert_owner(moved, 0, "10.0.0.5", 7005);
    assert_owner(moved, 1, "10.0.0.1", 7001);
    assert_owner(moved, 5461, "10.0.0.2", 7002);
    topology_unref(t);
    topology_unref(moved);
}

static void moved_of_a_slot_that_nobody_owned(void **state)
{
    struct topology *t = slots("0-0 a:1 b:1"), *empty = slots("");
    struct topology *moved = topology_moved(t, 1, text("b"), 1);
    struct topology *first = topology_moved(empty, 16383, text("a"), 1);

    (void)state;
    assert_sound(moved);
    assert_owner(moved, 0, "a", 1);
    assert_owner(moved, 1, "b", 1);
    assert_int_equal(moved->owned, 2);
    assert_sound(first);
    assert_owner(first, 16383, "a", 1);
    topology_unref(t);
    topology_unref(empty);
    topology_unref(moved);
    topology_unref(first);
}

static void moved_to_no_host_changes_nothing(void **state)
{
    struct topology *t = slots(THREE), *moved = topology_moved(t, 0, text(""), 7001);

    (void)state;
    assert_true(topology_same(t, moved));
    topology_unref(t);
    topology_unref(moved);
}

/* A cluster that is resharded slot by slot, as its MOVEDs tell of it. */
static void many_moves_end_in_what_a_refresh_would_say(void **state)
{
    struct topology *t = slots(THREE), *next;
    struct topology *expected = slots("0-5460 10.0.0.1:7001 10.0.0.4:7004;"
                                      "5461-5999 10.0.0.2:7002 10.0.0.5:7005;6000-10922 new:1;"
                                      "10923-16383 10.0.0.3:7003 10.0.0.6:7006");

    (void)state;
    for (uint16_t slot = 6000; slot <= 10922; slot++) {
        next = topology_moved(t, slot, text("new"), 1);
        topology_unref(t);
        t = next;
    }
    assert_sound(t);
    assert_true(topology_same(t, expected));
    topology_unref(t);
    topology_unref(expected);
}

static void migrating_slots_are_marked_and_counted(void **state)
{
    struct topology *t = slots(THREE), *a = topology_with_migrating(t, 16383, true);
    struct topology *b = topology_with_migrating(a, 0, true);
    struct topology *again = topology_with_migrating(b, 0, true);
    struct topology *moved = topology_moved(again, 5, text("new"), 1);
    struct topology *settled = topology_with_migrating(moved, 16383, false);

    (void)state;
    assert_int_equal(t->migrating_count, 0);
    assert_false(topology_is_migrating(t, 16383));
    assert_true(topology_is_migrating(a, 16383));
    assert_false(topology_is_migrating(a, 16382));
    assert_int_equal(a->migrating_count, 1);
    assert_int_equal(b->migrating_count, 2);
    assert_int_equal(again->migrating_count, 2);
    assert_int_equal(moved->migrating_count, 2);
    assert_true(topology_is_migrating(moved, 0));
    assert_int_equal(settled->migrating_count, 1);
    assert_false(topology_is_migrating(settled, 16383));
    assert_true(topology_same(t, b));
    topology_unref(t);
    topology_unref(a);
    topology_unref(b);
    topology_unref(again);
    topology_unref(moved);
    topology_unref(settled);
}

static void copies_stand_alone(void **state)
{
    struct topology *t = slots(THREE), *copy = topology_copy(t), *held = topology_ref(copy);

    (void)state;
    topology_unref(t);
    topology_unref(copy);
    assert_sound(held);
    assert_string_equal(held->nodes[0].host, "10.0.0.1");
    assert_string_equal(held->nodes[0].id, "0123456789abcdef0123456789abcdef01234567");
    topology_unref(held);
    topology_unref(NULL);
}

static void the_view_that_most_agree_on_is_believed(void **state)
{
    struct topology *old = slots("0-9 a:1 b:1;10-19 c:1"), *old2 = slots("10-19 c:1;0-9 a:1 b:1");
    struct topology *new = slots("0-9 b:1 a:1;10-19 c:1"), *more = slots("0-19 a:1;20-29 d:1");
    struct topology *none = slots("");
    struct topology *majority[] = {more, old, new, old2}, *covering[] = {none, old, more, new};
    struct topology *tie[] = {new, old}, *alone[] = {none};
    struct topology *groups[] = {old, more, old2, none, more};

    (void)state;
    assert_int_equal(topology_choose(majority, 4), 1);
    assert_int_equal(topology_choose(covering, 4), 2);
    assert_int_equal(topology_choose(tie, 2), 0);
    assert_int_equal(topology_choose(alone, 1), 0);
    assert_int_equal(topology_choose(groups, 5), 1);
    assert_int_equal(topology_choose(NULL, 0), 0);
    topology_unref(old);
    topology_unref(old2);
    topology_unref(new);
    topology_unref(more);
    topology_unref(none);
}

/* Two masters by the form of their hosts in CLUSTER SLOTS; ids are all digits of one kind. */
static struct topology *masters(const char *host)
{
    char reply[512];
    size_t length = strlen(host);
    int n = snprintf(reply, sizeof reply,
                     "*2\r\n*3\r\n:0\r\n:8191\r\n*3\r\n$%zu\r\n%s\r\n:7001\r\n$4\r\naaaa\r\n"
                     "*3\r\n:8192\r\n:16383\r\n*3\r\n$%zu\r\n%s\r\n:7002\r\n$4\r\nbbbb\r\n",
                     length, host, length, host);

    return parse(reply, (size_t)n);
}

static const char known_members[] =
    "$999\r\n"
    "aaaa 10.0.0.1:7001@17001,one.test master - 0 0 1 connected 0-8191\n"
    "cccc 10.0.0.1:7000@17003,one.test slave aaaa 0 0 1 connected\n"
    "bbbb 10.0.0.1:7002@17002,one.test,shard-id=x myself,master - 0 0 2 connected 8192-16383\n"
    "dddd 10.0.0.1:7004@17004,one.test slave bbbb 0 0 2 connected\n"
    "eeee 10.0.0.1:7005@17005,one.test slave,fail bbbb 0 0 2 disconnected\n"
    "ffff :0@0 slave,noaddr bbbb 0 0 2 disconnected\n"
    "gggg 10.0.0.1:7006@17006,one.test slave zzzz 0 0 2 connected\n"
    "hhhh 10.0.0.1:7007@17007,one.test handshake - 0 0 2 connected\n"
    "\r\n";

/* Whatever the cluster calls its nodes, new ones are called so too. */
static void replicas_without_a_write_are_added(void **state)
{
    static const char *const hosts[] = {"10.0.0.1", "one.test", ASKED};

    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++) {
        struct topology *t = masters(hosts[i]), *whole, *again;
        uint16_t master, replica;

        assert_true(topology_lacks_replicas(t));
        whole = topology_with_members(t, text(known_members), ASKED);
        assert_non_null(whole);
        assert_int_equal(whole->node_count, 4);
        assert_int_equal(whole->shard_count, 2);
        assert_int_equal(whole->owned, SLOT_COUNT);
        assert_false(topology_lacks_replicas(whole));
        master = topology_find(whole, text(hosts[i]), 7001);
        replica = topology_find(whole, text(hosts[i]), 7000);
        assert_int_not_equal(replica, NODE_NONE);
        assert_false(whole->nodes[replica].master);
        assert_string_equal(whole->nodes[replica].id, "cccc");
        assert_int_equal(whole->nodes[replica].shard, whole->nodes[master].shard);
        assert_int_equal(whole->owner[0], master);
        assert_int_equal(whole->owner[SLOT_COUNT - 1],
                         topology_find(whole, text(hosts[i]), 7002));
        again = topology_with_members(whole, text(known_members), ASKED);
        assert_ptr_equal(again, whole); /* there is nothing to add */
        topology_unref(again);
        topology_unref(whole);
        topology_unref(t);
    }
}

static void members_may_be_anything(void **state)
{
    struct topology *t = masters("10.0.0.1");

    (void)state;
    for (size_t length = 0; length < sizeof known_members; length++) {
        struct bytes beginning = {known_members, length};
        struct topology *whole = topology_with_members(t, beginning, ASKED);

        assert_non_null(whole);
        assert_int_equal(whole->owned, SLOT_COUNT);
        topology_unref(whole);
    }
    topology_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_of_three_shards),
        cmocka_unit_test(a_shard_may_own_many_ranges),
        cmocka_unit_test(an_empty_cluster_owns_nothing),
        cmocka_unit_test(the_host_is_the_announced_one_or_the_asked_one),
        cmocka_unit_test(only_ids_that_fit_are_kept),
        cmocka_unit_test(malformed_replies_are_refused_in_words),
        cmocka_unit_test(hosts_must_be_possible),
        cmocka_unit_test(every_cut_is_noticed_and_the_reason_never_overflows),
        cmocka_unit_test(contradictions_are_settled_for_the_master),
        cmocka_unit_test(a_thousand_nodes),
        cmocka_unit_test(nodes_without_end_are_refused),
        cmocka_unit_test(the_order_of_the_reply_does_not_matter),
        cmocka_unit_test(moved_to_a_master_moves_the_slot),
        cmocka_unit_test(moved_to_where_it_is_changes_nothing),
        cmocka_unit_test(moved_to_a_replica_of_the_shard_is_a_failover),
        cmocka_unit_test(moved_to_a_stranger_adds_a_shard),
        cmocka_unit_test(moved_to_another_shards_replica_takes_it_out_of_there),
        cmocka_unit_test(moved_of_a_slot_that_nobody_owned),
        cmocka_unit_test(moved_to_no_host_changes_nothing),
        cmocka_unit_test(many_moves_end_in_what_a_refresh_would_say),
        cmocka_unit_test(migrating_slots_are_marked_and_counted),
        cmocka_unit_test(copies_stand_alone),
        cmocka_unit_test(replicas_without_a_write_are_added),
        cmocka_unit_test(members_may_be_anything),
        cmocka_unit_test(the_view_that_most_agree_on_is_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
