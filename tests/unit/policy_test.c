/* Who answers a read: every policy, every state of health, every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "route/policy.h"

enum {
    M = POLICY_MASTER,
    F = POLICY_FIT,
    L = POLICY_LOCAL,
    NODES = 4,
    NONE = -1,
};

/* How 60 reads are shared by a master and three replicas. */
struct row {
    enum read_policy policy;
    uint8_t traits[NODES];
    int shares[NODES];
};

static const struct row rows[] = {
    {READ_MASTER, {M | F, F, F, F}, {60, 0, 0, 0}},
    {READ_MASTER, {M, F, F, F}, {60, 0, 0, 0}},
    {READ_PREFER_MASTER, {M | F, F, F, F}, {60, 0, 0, 0}},
    {READ_PREFER_MASTER, {M, F, 0, F}, {0, 30, 0, 30}},
    {READ_PREFER_MASTER, {M, 0, 0, 0}, {60, 0, 0, 0}},
    {READ_REPLICA, {M | F, F, F, F}, {0, 20, 20, 20}},
    {READ_REPLICA, {M | F, 0, F, F}, {0, 0, 30, 30}},
    {READ_REPLICA, {M | F, 0, 0, F | L}, {0, 0, 0, 60}},
    {READ_PREFER_REPLICA, {M | F, F, F, F}, {0, 20, 20, 20}},
    {READ_PREFER_REPLICA, {M | F, 0, 0, 0}, {60, 0, 0, 0}},
    {READ_PREFER_REPLICA, {M, 0, 0, 0}, {60, 0, 0, 0}},
    {READ_ANY, {M | F, F, F, F}, {15, 15, 15, 15}},
    {READ_ANY, {M, F, F, F}, {0, 20, 20, 20}},
    {READ_ANY, {M, 0, 0, 0}, {60, 0, 0, 0}},
    {READ_AZ_AFFINITY, {M | F, F, F | L, F | L}, {0, 0, 30, 30}},
    {READ_AZ_AFFINITY, {M | F, F, L, F | L}, {0, 0, 0, 60}},
    {READ_AZ_AFFINITY, {M | F | L, F, F, L}, {0, 30, 30, 0}},
    {READ_AZ_AFFINITY, {M | F | L, 0, 0, L}, {60, 0, 0, 0}},
    {READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY, {M | F | L, F, F | L, F | L}, {0, 0, 30, 30}},
    {READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY, {M | F | L, F, F, L}, {60, 0, 0, 0}},
    {READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY, {M | L, F, F, L}, {0, 30, 30, 0}},
    {READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY, {M | F, F, F, F}, {0, 20, 20, 20}},
    {READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY, {M, 0, 0, 0}, {60, 0, 0, 0}},
};

static void those_that_are_equally_good_take_turns(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int shares[NODES] = {0};

        for (uint32_t turn = UINT32_MAX - 59; turn != 0; turn++)
            shares[policy_choose(rows[i].policy, rows[i].traits, NODES, turn)]++;
        for (int node = 0; node < NODES; node++)
            if (shares[node] != rows[i].shares[node])
                fail_msg("row %zu: node %d answered %d reads", i, node, shares[node]);
    }
}

static void without_a_replica_only_one_policy_has_nobody(void **state)
{
    static const uint8_t traits[] = {M | F | L, L, 0};

    (void)state;
    for (int policy = 0; policy < READ_POLICIES; policy++)
        assert_int_equal(policy_choose((enum read_policy)policy, traits, 3, 7),
                         policy == READ_REPLICA ? NONE : 0);
    for (int policy = 0; policy < READ_POLICIES; policy++)
        assert_int_equal(policy_choose((enum read_policy)policy, traits, 0, 7), NONE);
}

static void policies_have_envoys_names(void **state)
{
    (void)state;
    for (int policy = 0; policy < READ_POLICIES; policy++)
        assert_int_equal(read_policy_parse(read_policy_name((enum read_policy)policy)), policy);
    assert_int_equal(read_policy_parse("prefer_replica"), READ_PREFER_REPLICA);
    assert_int_equal(read_policy_parse("REPLICAS"), -1);
    assert_int_equal(read_policy_parse(""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_are_equally_good_take_turns),
        cmocka_unit_test(without_a_replica_only_one_policy_has_nobody),
        cmocka_unit_test(policies_have_envoys_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
