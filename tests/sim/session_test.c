/* Sessions in a model of the world. The random runs print their seed when a rule is broken:
 *
 *     SIM_SEED=n SIM_COUNT=n   which runs
 *     SIM_TRACE=1              all that happens in them
 *     SIM_TEST=name            one test only */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shortage.h"
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
    bool moves;  /* of sessions, to another cluster */
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
        .moves = world_chance(w, 50),
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
    } else if (to != s->owner && may_serve(w, w->model.shards[to].master)) {
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

    switch (world_random(w, 11)) {
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
        model_touch(&w->model, (int)world_random(w, MODEL_SLOTS),
                    (int)world_random(w, MODEL_KEYS));
        break;
    case 8:
        some_waking(w);
        break;
    case 9:
        if (weather->moves)
            world_lead_away(w, (int)world_random(w, (uint32_t)w->sim_count));
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
        if (!session_routes(w->sims[i].session) && !w->discovers)
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
    w->express = world_chance(w, 50);
    w->trace = getenv("SIM_TRACE") != NULL;
}

static uint64_t random_run(uint64_t seed)
{
    struct world w;
    struct weather weather;
    uint64_t moves;
    int to_ask, steps;

    world_policy = seed / 2 % 2 ? (enum read_policy)(seed / 4 % READ_POLICIES) : READ_MASTER;
    world_policies = seed / 2 % 2 && seed % 2;
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
    moves = w.moves;
    world_deinit(&w);
    world_policy = READ_MASTER;
    world_policies = false;
    return moves;
}

static void random_runs_keep_the_rules(void **state)
{
    uint64_t first = environment("SIM_SEED", 1), count = environment("SIM_COUNT", RUNS), moves = 0;

    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (getenv("SIM_VERBOSE") != NULL)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        moves += random_run(seed);
    }
    /* Or else nothing of this is about sessions that move. */
    assert_true(count < RUNS || moves > count / 2);
}

/* --- pipelines --- */

/* Time and again all is well, and a pipeline can take the short way; what then happens to it is as
 * random as ever. */
static uint64_t pipelined_run(uint64_t seed)
{
    struct weather weather;
    struct world w;
    uint64_t volleys;
    int none = 0;

    set_up(&w, seed, false);
    w.express = true;
    weather = any_weather(&w);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < w.sim_count; i++)
            if (w.sims[i].done == w.sims[i].asked)
                world_pipeline(&w, i);
        for (uint32_t i = world_random(&w, 80); i > 0; i--)
            some_step(&w, &weather, &none);
        if (world_chance(&w, 60)) {
            world_heal(&w);
            if (!world_finish(&w, WITHIN_MS))
                world_fail(&w, "not all is answered although all is well");
        }
    }
    world_heal(&w);
    if (!world_finish(&w, WITHIN_MS))
        world_fail(&w, "not all is answered although all is well");
    check_states(&w);
    world_check(&w);
    volleys = w.volleys;
    world_deinit(&w);
    return volleys;
}

static void pipelines_keep_the_rules(void **state)
{
    uint64_t first = environment("SIM_SEED", 1), count = environment("SIM_COUNT", RUNS / 4);
    uint64_t volleys = 0;

    (void)state;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (getenv("SIM_VERBOSE") != NULL)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        volleys += pipelined_run(seed);
    }
    /* Or else the runs are about something else. */
    assert_true(volleys > 3 * count);
}

/* --- discovery --- */

static bool all_route(const struct world *w)
{
    for (int i = 0; i < w->sim_count; i++)
        if (!session_routes(w->sims[i].session))
            return false;
    return true;
}

static void discovered_run(uint64_t seed)
{
    struct world w;
    const struct weather calm = {.losses = false}, weather = {
        .migrations = true, .deaths = true, .moves = true};
    int to_ask = 10;

    set_up(&w, seed, true);
    w.rude = false;
    for (int i = 0; i < 300 || !all_route(&w); i++) {
        if (i == 10000)
            world_fail(&w, "what was dialled is not found out");
        some_step(&w, &calm, &to_ask);
        if (to_ask == 0 && i < 300)
            to_ask = 1;
    }
    to_ask = 20;
    for (int i = 0; i < 300; i++)
        some_step(&w, &weather, &to_ask);
    world_heal(&w);
    if (!world_finish(&w, WITHIN_MS))
        world_fail(&w, "not all is answered although all is well");
    world_check(&w);
    world_deinit(&w);
}

static void what_is_asked_while_discovering_is_not_lost(void **state)
{
    uint64_t first = environment("SIM_SEED", 1), count = environment("SIM_COUNT", 100);

    (void)state;
    for (uint64_t seed = first; seed < first + (count < 100 ? count : 100); seed++)
        discovered_run(seed);
}

/* --- memory --- */

/* The n-th allocation fails. False: there were fewer. */
static bool short_run(uint64_t seed, long n, bool discovers)
{
    const struct weather weather = {
        .migrations = true, .deaths = true, .losses = true, .blocking = true, .moves = true};
    long blocks = shortage_blocks();
    struct world w;
    int to_ask = 20;
    bool happened;

    shortage_set(n);
    set_up(&w, seed, discovers);
    w.broken = true;
    for (int i = 0; i < 400 && !world_is_over(&w); i++)
        some_step(&w, &weather, &to_ask);
    happened = shortage_happened();
    shortage_set(0);
    world_deinit(&w);
    if (!discovers && n > 0 && shortage_blocks() != blocks)
        world_fail(&w, "allocation %ld failed, and %ld blocks are not freed", n,
                   shortage_blocks() - blocks);
    return happened;
}

static void memory_may_run_out_at_any_moment(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        short_run(seed, 0, false); /* addresses are remembered for ever */
        for (long n = 1; short_run(seed, n, false); n++)
            ;
    }
    for (long n = 1; n < 60; n++)
        short_run(5, n, true);
}

/* --- one rule at a time --- */

enum { SLOT = 0, KEY = 0 };

static void calm_world(struct world *w)
{
    world_init(w, 1, 3, 1, false, LONG_MS);
    w->strict = true;
    w->trace = getenv("SIM_TRACE") != NULL;
}

/* The request's place among the world's. */
static int ask_key(struct world *w, enum asked_kind kind, int slot, int key)
{
    world_ask(w, 0, kind, kind == ASKED_PING ? 0 : 1, &slot, &key);
    return w->asked_count - 1;
}

static int ask(struct world *w, enum asked_kind kind)
{
    return ask_key(w, kind, SLOT, KEY);
}

static void ask_two(struct world *w, enum asked_kind kind, int slot, int other)
{
    const int slots[] = {slot, other}, index[] = {0, 1};

    world_ask(w, 0, kind, 2, slots, index);
}

static void finish(struct world *w)
{
    if (!world_finish(w, WITHIN_MS))
        world_fail(w, "not all is answered");
    check_states(w);
    world_check(w);
    world_deinit(w);
}

static const char *reply_to(const struct world *w, int request)
{
    return w->asked[request].done ? w->asked[request].reply : "nothing yet";
}

static bool is_answered(const struct world *w, int request, const char *beginning)
{
    return strncmp(reply_to(w, request), beginning, strlen(beginning)) == 0;
}

static void finish_answered(struct world *w, int request, const char *beginning)
{
    if (!world_finish(w, WITHIN_MS))
        world_fail(w, "not all is answered");
    if (!is_answered(w, request, beginning))
        fail_msg("%s instead of %s", reply_to(w, request), beginning);
    finish(w);
}

static int runs_of_request(const struct world *w, int request)
{
    int runs = 0;

    for (size_t i = 0; i < w->model.log_count; i++)
        runs += w->model.log[i].tag == w->asked[request].tags[0];
    return runs;
}

static int node_that_ran(const struct world *w, int request)
{
    for (size_t i = 0; i < w->model.log_count; i++)
        if (w->model.log[i].tag == w->asked[request].tags[0])
            return w->model.log[i].node;
    return -1;
}

static int master_of(const struct world *w, int slot)
{
    return w->model.shards[w->model.slots[slot].owner].master;
}

/* The slot lives elsewhere, and nobody has told the session. */
static int move_secretly(struct world *w, int slot)
{
    model_migrate(&w->model, slot, (w->model.slots[slot].owner + 1) % w->model.shard_count);
    model_migrate_end(&w->model, slot);
    model_announce(&w->model);
    return master_of(w, slot);
}

static struct conn *conn_to(struct world *w, int node)
{
    for (int i = w->conn_count; i-- > 0;)
        if (w->conns[i]->node == node && w->conns[i]->link != NULL)
            return w->conns[i];
    return NULL;
}

/* What was asked is on the wire, and the server has not looked yet. */
static struct conn *send_only(struct world *w, int node)
{
    struct conn *c = NULL;

    for (int i = 0; i < 100; i++) {
        world_write(w, 0, SIZE_MAX);
        c = conn_to(w, node);
        if (c != NULL && c->connecting)
            world_move(w, c);
        else if (c != NULL && link_unflushed(c->link))
            world_flush(w, c);
    }
    if (c == NULL)
        fail_msg("no connection to node %d", node);
    return c;
}

static void a_moved_slot_is_followed_in_order(void **state)
{
    struct world w;
    int node, set, get;

    (void)state;
    calm_world(&w);
    node = move_secretly(&w, SLOT);
    set = ask(&w, ASKED_SET);
    ask(&w, ASKED_INCR);
    get = ask(&w, ASKED_GET);
    world_settle(&w);
    assert_true(is_answered(&w, get, "$4\r\n1001\r\n"));
    assert_int_equal(node_that_ran(&w, set), node);
    assert_int_equal(node_that_ran(&w, get), node);
    finish(&w);
}

static void a_key_that_has_migrated_is_asked_for_at_its_new_place(void **state)
{
    struct world w;
    int from, to, set, get;

    (void)state;
    calm_world(&w);
    from = master_of(&w, SLOT);
    to = w.model.shards[(w.model.slots[SLOT].owner + 1) % w.model.shard_count].master;
    ask(&w, ASKED_SET);
    world_settle(&w);
    model_migrate(&w.model, SLOT, w.model.nodes[to].shard);
    while (model_migrate_key(&w.model, SLOT))
        ;
    set = ask(&w, ASKED_INCR);
    get = ask(&w, ASKED_GET);
    world_settle(&w);
    assert_true(is_answered(&w, get, "$4\r\n1001\r\n"));
    assert_int_equal(node_that_ran(&w, set), to);
    assert_int_equal(node_that_ran(&w, get), to);
    assert_int_not_equal(from, to);
    finish(&w);
}

/* From the first ASK on nothing of the slot leaves before what was sent is answered. */
static void a_migrating_slot_is_served_at_depth_one(void **state)
{
    struct world w;
    struct conn *c;
    int to;

    (void)state;
    calm_world(&w);
    to = w.model.shards[(w.model.slots[SLOT].owner + 1) % w.model.shard_count].master;
    model_migrate(&w.model, SLOT, w.model.nodes[to].shard);
    ask(&w, ASKED_SET);
    world_settle(&w);
    for (int i = 0; i < 5; i++)
        ask(&w, ASKED_INCR);
    c = send_only(&w, to);
    assert_true(buffer_length(&c->sent) > 0);
    assert_null(c->link->sent.head != NULL ? c->link->sent.head->next : NULL);
    finish(&w);
}

static void keys_on_both_sides_are_tried_again(void **state)
{
    struct world w;
    int mset;

    (void)state;
    calm_world(&w);
    ask_key(&w, ASKED_SET, SLOT, 0);
    world_settle(&w);
    model_migrate(&w.model, SLOT, (w.model.slots[SLOT].owner + 1) % w.model.shard_count);
    ask_two(&w, ASKED_MSET, SLOT, SLOT);
    mset = w.asked_count - 1;
    ask_key(&w, ASKED_SET, 1, 0); /* another slot does not wait */
    world_settle(&w);
    world_advance(&w, 500);
    world_settle(&w);
    assert_int_equal(runs_of_request(&w, mset), 0);
    assert_int_equal(runs_of_request(&w, mset + 1), 1);
    model_migrate_end(&w.model, SLOT);
    model_announce(&w.model);
    w.hazard = false;
    if (!world_finish(&w, WITHIN_MS))
        fail_msg("not all is answered");
    assert_true(is_answered(&w, mset, "+OK"));
    finish(&w);
}

static void a_write_of_unknown_fate_is_not_repeated(void **state)
{
    struct world w;
    struct conn *c;
    int set, get;

    (void)state;
    calm_world(&w);
    set = ask(&w, ASKED_SET);
    c = send_only(&w, master_of(&w, SLOT));
    get = ask_key(&w, ASKED_GET, SLOT, 1);
    world_lose(&w, c, 104, false);
    if (!world_finish(&w, WITHIN_MS))
        fail_msg("not all is answered");
    assert_true(is_answered(&w, set, "-UNREACHABLE redisroute: "));
    assert_true(is_answered(&w, get, "$-1"));
    assert_int_equal(runs_of_request(&w, set), 0);
    finish(&w);
}

static void a_write_that_nobody_received_is_repeated(void **state)
{
    struct world w;
    struct conn *c;
    int set;

    (void)state;
    calm_world(&w);
    set = ask(&w, ASKED_SET);
    c = send_only(&w, master_of(&w, SLOT));
    c->hangs_up = true; /* in good order: what it has not acknowledged it has not seen */
    finish_answered(&w, set, "+OK");
}

static void a_read_is_repeated(void **state)
{
    struct world w;
    struct conn *c;
    int get;

    (void)state;
    calm_world(&w);
    get = ask(&w, ASKED_GET);
    c = send_only(&w, master_of(&w, SLOT));
    world_lose(&w, c, 104, false);
    finish_answered(&w, get, "$-1");
}

/* … but not when it would answer with what was written behind it. */
static void a_read_is_not_repeated_behind_a_later_write(void **state)
{
    struct world w;
    struct conn *c;
    int get;

    (void)state;
    calm_world(&w);
    get = ask(&w, ASKED_GET);
    ask(&w, ASKED_SET);
    c = send_only(&w, master_of(&w, SLOT));
    world_lose(&w, c, 104, true);
    finish_answered(&w, get, "-UNREACHABLE");
}

/* The server has run what it received, and then its attention is elsewhere: what it said arrives. */
static void deliver_one_refusal(struct world *w, struct conn *c,
                                enum asked_kind behind)
{
    w->model.nodes[c->node].loading = true;
    while (c->executed == 0)
        world_move(w, c);
    w->model.nodes[c->node].loading = false;
    ask(w, behind);
    send_only(w, c->node);
    c->client.waits_for = SLOT;
    while (world_move(w, c))
        ;
}

static void reads_that_are_repeated_keep_their_order(void **state)
{
    struct world w;
    struct conn *c;

    (void)state;
    calm_world(&w);
    ask(&w, ASKED_SET);
    c = send_only(&w, master_of(&w, SLOT));
    deliver_one_refusal(&w, c, ASKED_GET);
    world_advance(&w, 20);
    ask(&w, ASKED_GET); /* waits behind the SET, which is on its way again */
    world_write(&w, 0, SIZE_MAX);
    world_lose(&w, c, 104, false);
    finish(&w);
}

/* The server refuses to read, then serves what was sent behind that, and nobody hears of it. */
static void refused_read(int64_t pause_ms, uint64_t chance)
{
    struct world w;
    struct conn *c;
    int get;

    calm_world(&w);
    get = ask(&w, ASKED_GET);
    c = send_only(&w, master_of(&w, SLOT));
    deliver_one_refusal(&w, c, ASKED_SET);
    w.random = chance;
    world_advance(&w, pause_ms);
    world_lose(&w, c, 104, true);
    c->client.waits_for = MODEL_NOWHERE;
    while (world_move(&w, c))
        ;
    finish_answered(&w, get, "-UNREACHABLE");
}

static void a_read_that_waits_to_be_tried_again_does_not_see_a_later_write(void **state)
{
    (void)state;
    refused_read(0, 0);
}

static void a_read_that_is_tried_again_does_not_see_a_later_write(void **state)
{
    (void)state;
    for (uint64_t chance = 0; chance < 8; chance++) /* of being flushed at once */
        refused_read(20, chance);
}

static void nothing_leaves_behind_a_blocking_command(void **state)
{
    struct world w;
    int blpop, set;

    (void)state;
    calm_world(&w);
    blpop = ask(&w, ASKED_BLPOP);
    set = ask_key(&w, ASKED_SET, 1, 0);
    world_settle(&w);
    world_advance(&w, 60000); /* however long it takes */
    world_settle(&w);
    assert_true(session_is_blocked(w.sims[0].session));
    assert_int_equal(runs_of_request(&w, set), 0);
    assert_false(w.asked[blpop].done);
    w.model.slots[SLOT].pushed = 1;
    finish_answered(&w, blpop, "*2");
}

static void a_dead_master_costs_its_writes_in_flight_only(void **state)
{
    struct world w;
    int node, written, waiting, elsewhere;

    (void)state;
    calm_world(&w);
    node = master_of(&w, SLOT);
    written = ask(&w, ASKED_SET);
    send_only(&w, node);
    world_kill(&w, node);
    world_settle(&w);
    waiting = ask(&w, ASKED_INCR);
    elsewhere = ask_key(&w, ASKED_PING, 0, 0);
    world_settle(&w);
    assert_true(is_answered(&w, written, "-UNREACHABLE"));
    assert_int_equal(runs_of_request(&w, elsewhere), 1);
    for (int i = 0; i < 15; i++) {
        world_advance(&w, 1000);
        world_settle(&w);
    }
    assert_false(w.asked[waiting].done);
    model_fail_over(&w.model, w.model.nodes[node].shard);
    model_announce(&w.model);
    finish_answered(&w, waiting, ":1");
}

/* However many wait, none waits for longer than the others. */
static void check_all_give_up_in_time(struct world *w, int first)
{
    int64_t began = world_now_ms;

    while (!world_all_answered(w) && world_now_ms < began + 3 * LONG_MS) {
        world_advance(w, 100);
        world_settle(w);
    }
    assert_true(world_all_answered(w));
    assert_in_range(world_now_ms - began, LONG_MS, LONG_MS + 2000);
    for (int i = first; i < w->asked_count; i++)
        assert_int_equal(reply_to(w, i)[0], '-');
}

static void waiting_for_a_dead_master_ends(void **state)
{
    struct world w;

    (void)state;
    calm_world(&w);
    world_kill(&w, master_of(&w, SLOT));
    for (int i = 0; i < 20; i++)
        ask(&w, i % 2 ? ASKED_GET : ASKED_SET);
    world_settle(&w);
    check_all_give_up_in_time(&w, 0);
    finish(&w);
}

static void waiting_for_a_dead_target_of_a_migration_ends(void **state)
{
    struct world w;
    int to;

    (void)state;
    calm_world(&w);
    to = w.model.shards[(w.model.slots[SLOT].owner + 1) % w.model.shard_count].master;
    model_migrate(&w.model, SLOT, w.model.nodes[to].shard);
    world_kill(&w, to);
    for (int i = 0; i < 20; i++)
        ask(&w, i % 2 ? ASKED_GET : ASKED_SET);
    world_settle(&w);
    check_all_give_up_in_time(&w, 0);
    finish(&w);
}

static void waiting_for_a_cluster_that_is_down_ends(void **state)
{
    struct world w;

    (void)state;
    calm_world(&w);
    for (int i = 0; i < w.model.node_count; i++)
        w.model.nodes[i].minority = true;
    for (int i = 0; i < 20; i++)
        ask(&w, i % 2 ? ASKED_GET : ASKED_SET);
    world_settle(&w);
    check_all_give_up_in_time(&w, 0);
    assert_true(is_answered(&w, 0, "-CLUSTERDOWN The cluster is down"));
    finish(&w);
}

static void waiting_for_a_server_that_loads_has_an_end_of_its_own(void **state)
{
    struct world w;
    int node, set;

    (void)state;
    calm_world(&w);
    node = master_of(&w, SLOT);
    w.model.nodes[node].loading = true;
    set = ask(&w, ASKED_SET);
    world_settle(&w);
    world_advance(&w, 5000);
    world_settle(&w);
    assert_false(w.asked[set].done);
    w.model.nodes[node].loading = false;
    finish_answered(&w, set, "+OK");
}

static void a_slot_of_nobody_is_an_error_once_that_is_known(void **state)
{
    struct world w;
    int set;

    (void)state;
    calm_world(&w);
    w.unbound = true;
    w.model.slots[SLOT].owner = w.model.slots[SLOT].announced = MODEL_NOWHERE;
    set = ask(&w, ASKED_SET);
    finish_answered(&w, set, "-CLUSTERDOWN Hash slot not served");
}

static void servers_that_hang_up_on_everybody_are_not_stormed(void **state)
{
    struct world w;

    (void)state;
    calm_world(&w);
    w.deaf = true;
    ask(&w, ASKED_SET);
    world_settle(&w);
    check_all_give_up_in_time(&w, 0);
    assert_in_range(w.conn_count, 10, 200);
    finish(&w);
}

static void a_connection_that_hangs_is_given_up(void **state)
{
    struct world w;
    int node, set;

    (void)state;
    calm_world(&w);
    node = master_of(&w, SLOT);
    set = ask(&w, ASKED_SET);
    do {
        world_advance(&w, 1);
        world_write(&w, 0, SIZE_MAX);
    } while (conn_to(&w, node) == NULL);
    if (conn_to(&w, node)->connecting)
        conn_to(&w, node)->hangs = true;
    finish_answered(&w, set, "+OK");
}

static void quitting_answers_and_ends(void **state)
{
    struct world w;
    char bytes[64];
    int set;

    (void)state;
    calm_world(&w);
    set = ask(&w, ASKED_SET);
    assert_true(buffer_append_text(&w.sims[0].unsent, "*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n"));
    world_write(&w, 0, SIZE_MAX);
    for (int i = 0; i < w.conn_count; i++)
        while (world_move(&w, w.conns[i]))
            ;
    assert_int_equal(session_take(w.sims[0].session, bytes, sizeof bytes), 10);
    assert_memory_equal(bytes, "+OK\r\n+OK\r\n", 10);
    assert_int_equal(w.sims[0].session->state, SESSION_ENDED);
    assert_int_equal(w.sims[0].session->end_error, 0);
    assert_int_equal(runs_of_request(&w, set), 1);
    world_deinit(&w);
}

/* Every moment of a run is one at which the program may close. */
static void a_session_may_be_destroyed_at_any_moment(void **state)
{
    (void)state;
    for (int steps = 0; steps < 300; steps++) {
        struct world w;
        struct weather weather;
        int to_ask = 30;

        set_up(&w, 7, false);
        weather = any_weather(&w);
        for (int i = 0; i < steps; i++)
            some_step(&w, &weather, &to_ask);
        world_check(&w);
        world_deinit(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_moved_slot_is_followed_in_order),
        cmocka_unit_test(a_key_that_has_migrated_is_asked_for_at_its_new_place),
        cmocka_unit_test(a_migrating_slot_is_served_at_depth_one),
        cmocka_unit_test(keys_on_both_sides_are_tried_again),
        cmocka_unit_test(a_write_of_unknown_fate_is_not_repeated),
        cmocka_unit_test(a_write_that_nobody_received_is_repeated),
        cmocka_unit_test(a_read_is_repeated),
        cmocka_unit_test(a_read_is_not_repeated_behind_a_later_write),
        cmocka_unit_test(reads_that_are_repeated_keep_their_order),
        cmocka_unit_test(a_read_that_waits_to_be_tried_again_does_not_see_a_later_write),
        cmocka_unit_test(a_read_that_is_tried_again_does_not_see_a_later_write),
        cmocka_unit_test(nothing_leaves_behind_a_blocking_command),
        cmocka_unit_test(a_dead_master_costs_its_writes_in_flight_only),
        cmocka_unit_test(waiting_for_a_dead_master_ends),
        cmocka_unit_test(waiting_for_a_dead_target_of_a_migration_ends),
        cmocka_unit_test(waiting_for_a_cluster_that_is_down_ends),
        cmocka_unit_test(waiting_for_a_server_that_loads_has_an_end_of_its_own),
        cmocka_unit_test(a_slot_of_nobody_is_an_error_once_that_is_known),
        cmocka_unit_test(servers_that_hang_up_on_everybody_are_not_stormed),
        cmocka_unit_test(a_connection_that_hangs_is_given_up),
        cmocka_unit_test(quitting_answers_and_ends),
        cmocka_unit_test(a_session_may_be_destroyed_at_any_moment),
        cmocka_unit_test(what_is_asked_while_discovering_is_not_lost),
        cmocka_unit_test(memory_may_run_out_at_any_moment),
        cmocka_unit_test(random_runs_keep_the_rules),
        cmocka_unit_test(pipelines_keep_the_rules),
    };

    cmocka_set_test_filter(getenv("SIM_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
