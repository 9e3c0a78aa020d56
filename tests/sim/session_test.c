/* Sessions in a model of the world. The random runs print their seed when a rule is broken:
 *
 *     SIM_SEED=n SIM_COUNT=n   which runs; SIM_TRACE=1: and all that happens in them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#ifdef __SANITIZE_ADDRESS__
enum { RUNS = 1500 };
#else
enum { RUNS = 4000 };
#endif

enum { LONG_MS = 30000, SHORT_MS = 300, WITHIN_MS = 10000 };

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* --- random runs --- */

/* What may happen in one run. */
struct weather {
    bool migrations;
    bool deaths;
    bool swaps; /* masters and replicas change places without a death */
    bool minorities;
    bool loading;
    bool losses; /* of connections */
    bool blocking;
    bool unbound;
};

static struct weather any_weather(struct world *w)
{
    return (struct weather){
        .migrations = world_chance(w, 60),
        .deaths = world_chance(w, 50),
        .swaps = world_chance(w, 30),
        .minorities = world_chance(w, 20),
        .loading = world_chance(w, 20),
        .losses = world_chance(w, 40),
        .blocking = world_chance(w, 40),
    };
}

/* The node may begin to serve what it refused: see world_quiet. */
static bool may_serve(struct world *w, int node)
{
    bool quiet = world_quiet_node(w, node);

    w->hazard |= !quiet && !w->strict;
    return quiet || !w->strict;
}

static void some_migration(struct world *w)
{
    int slot = (int)world_random(w, MODEL_SLOTS);
    struct model_slot *s = &w->model.slots[slot];
    int to = (int)world_random(w, (uint32_t)w->model.shard_count);

    if (s->owner == MODEL_NOWHERE)
        return;
    if (s->target != MODEL_NOWHERE) {
        if (world_chance(w, 40) && may_serve(w, w->model.shards[s->target].master))
            model_migrate_end(&w->model, slot);
        else
            model_migrate_key(&w->model, slot);
    } else if (to != s->owner) {
        w->migrated = true;
        model_migrate(&w->model, slot, to);
    }
}

static int other_of(const struct world *w, int node)
{
    return (node + w->model.shard_count) % w->model.node_count;
}

static void some_death(struct world *w)
{
    int node = (int)world_random(w, (uint32_t)w->model.node_count), shard;

    shard = w->model.nodes[node].shard;
    if (!w->model.nodes[node].alive) {
        w->model.nodes[node].alive = true;
        w->model.nodes[node].loading = world_chance(w, 30);
    } else {
        /* The other one has to be there to take over. */
        if (!w->model.nodes[other_of(w, node)].alive)
            return;
        world_kill(w, node);
    }
    node = w->model.shards[shard].master;
    if (!w->model.nodes[node].alive && world_chance(w, 60) && may_serve(w, other_of(w, node)))
        model_fail_over(&w->model, shard);
}

static void some_swap(struct world *w)
{
    int shard = (int)world_random(w, (uint32_t)w->model.shard_count);
    int node;

    node = other_of(w, w->model.shards[shard].master);
    if (w->model.nodes[node].alive && may_serve(w, node))
        model_fail_over(&w->model, shard);
}

static struct conn *some_conn(struct world *w)
{
    /* The latest are the ones that live. */
    uint32_t last = w->conn_count < 24 ? (uint32_t)w->conn_count : 24;

    if (last == 0)
        return NULL;
    if (world_chance(w, 5))
        return w->conns[world_random(w, (uint32_t)w->conn_count)];
    return w->conns[(uint32_t)w->conn_count - 1 - world_random(w, last)];
}

static void some_loss(struct world *w)
{
    struct conn *c = some_conn(w);

    if (c == NULL || c->closed || c->connecting || c->link == NULL)
        return;
    if (world_chance(w, 40))
        c->hangs_up = true;
    else
        world_lose(w, c, world_chance(w, 50) ? 104 : 110, world_chance(w, 50));
}

static void some_waking(struct world *w)
{
    struct conn *c = some_conn(w);

    if (c == NULL || c->closed || c->client.waits_for == MODEL_NOWHERE ||
        !w->model.nodes[c->node].alive)
        return;
    if (!model_evict(&w->model, &c->client, &c->back))
        model_wake(&w->model, &c->client, &c->back);
}

static void some_event(struct world *w, const struct weather *weather)
{
    int number = (int)world_random(w, (uint32_t)w->model.node_count);
    struct model_node *node = &w->model.nodes[number];

    switch (world_random(w, 10)) {
    case 0:
    case 1:
        if (weather->migrations)
            some_migration(w);
        break;
    case 2:
        if (weather->deaths)
            some_death(w);
        break;
    case 3:
        if (weather->swaps && world_chance(w, 30))
            some_swap(w);
        break;
    case 4:
        if (weather->minorities && world_chance(w, 20))
            node->minority = true;
        else if (node->minority && may_serve(w, number))
            node->minority = false;
        break;
    case 5:
        if (weather->loading && world_chance(w, 10))
            node->loading = true;
        else if (node->loading && world_chance(w, 40) && may_serve(w, number))
            node->loading = false;
        break;
    case 6:
        if (weather->losses)
            some_loss(w);
        break;
    case 7:
        w->model.slots[world_random(w, MODEL_SLOTS)].pushed += weather->blocking;
        break;
    case 8:
        some_waking(w);
        break;
    default:
        if (world_chance(w, 50))
            model_announce(&w->model);
        break;
    }
}

static void some_step(struct world *w, const struct weather *weather, int *to_ask)
{
    int session = (int)world_random(w, (uint32_t)w->sim_count);
    uint32_t what = world_random(w, 100);
    struct conn *c;

    if (what < 12 && *to_ask > 0) {
        *to_ask -= 1;
        world_ask_random(w, session, weather->blocking);
    } else if (what < 25) {
        world_write(w, session, 400);
    } else if (what < 32) {
        world_read(w, session, 64);
    } else if (what < 80) {
        c = some_conn(w);
        if (c != NULL)
            world_move(w, c);
    } else if (what < 90) {
        world_advance(w, world_random(w, 20));
    } else {
        some_event(w, weather);
    }
}

static void check_states(struct world *w)
{
    for (int i = 0; i < w->sim_count; i++)
        if (w->sims[i].session->state != SESSION_ROUTING && !w->discovers)
            world_fail(w, "session %d does not route any more", i);
}

/* What a run is like follows from its seed. */
static void set_up(struct world *w, uint64_t seed, bool discovers)
{
    uint64_t salt = seed * 0x2545F4914F6CDD1Du;

    world_init(w, seed, 2 + (int)(salt % 3), 1 + (int)(salt / 3 % 2), discovers,
               salt / 6 % 5 == 0 ? SHORT_MS : LONG_MS);
    w->strict = world_chance(w, 75);
    w->rude = world_chance(w, 10);
    w->in_pieces = world_chance(w, 70);
    w->trace = getenv("SIM_TRACE") != NULL;
}

static void random_run(uint64_t seed)
{
    struct world w;
    struct weather weather;
    int to_ask, steps;

    set_up(&w, seed, false);
    weather = any_weather(&w);
    to_ask = 5 + (int)world_random(&w, 60);
    steps = to_ask * (10 + (int)world_random(&w, 20));
    for (int i = 0; i < steps; i++)
        some_step(&w, &weather, &to_ask);
    if (world_chance(&w, 85)) {
        world_heal(&w);
        if (!world_finish(&w, WITHIN_MS))
            world_fail(&w, "not all is answered although all is well");
    }
    check_states(&w);
    world_check(&w);
    world_deinit(&w);
}

static void random_runs_keep_the_rules(void **state)
{
    uint64_t first = environment("SIM_SEED", 1), count = environment("SIM_COUNT", RUNS);

    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (getenv("SIM_VERBOSE") != NULL)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        random_run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_runs_keep_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
