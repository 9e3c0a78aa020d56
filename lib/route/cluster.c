#include "route/cluster_state.h"

#include <stdlib.h>
#include <string.h>

/* What a server said of one slot while a refresh was under way. */
struct fix {
    uint64_t version; /* that it made */
    uint16_t slot;
    uint16_t port;
    char host[256];
};

/* A name that leads to the cluster, as a configuration would say it. */
struct dialled {
    struct dialled *next;
    struct config_cluster seeds;
    struct config_address endpoint;
    char name[];
};

static void (*_Atomic alarm_function)(void);

void cluster_raise_alarm(void)
{
    void (*alarm_now)(void) = atomic_load(&alarm_function);

    if (alarm_now != NULL)
        alarm_now();
}

void cluster_set_alarm(void (*alarm_now)(void))
{
    atomic_store(&alarm_function, alarm_now);
}

/* One that was not made whole. */
static void discard(struct cluster *c)
{
    if (c != NULL && c->state != NULL) {
        scripts_destroy(c->state->scripts);
        learned_destroy(c->state->learned);
        free(c->state);
    }
    free(c);
}

struct cluster *cluster_create(struct topology *topology)
{
    struct cluster *c = calloc(1, sizeof *c);

    if (c != NULL)
        c->state = calloc(1, sizeof *c->state);
    if (c != NULL && c->state != NULL) {
        c->state->scripts = scripts_create();
        c->state->learned = learned_create();
    }
    if (c == NULL || c->state == NULL || c->state->scripts == NULL || c->state->learned == NULL) {
        discard(c);
        return NULL;
    }
    pthread_mutex_init(&c->state->lock, NULL);
    c->state->refresh.redirect_threshold = -1;
    c->state->topology = topology;
    atomic_store(&c->version, 1);
    return c;
}

static void forget_dialled(struct cluster *c)
{
    while (c->state->dialled_names != NULL) {
        struct dialled *next = c->state->dialled_names->next;

        free(c->state->dialled_names);
        c->state->dialled_names = next;
    }
}

void cluster_destroy(struct cluster *c)
{
    if (c == NULL)
        return;
    topology_unref(c->state->topology);
    scripts_destroy(c->state->scripts);
    learned_destroy(c->state->learned);
    pthread_mutex_destroy(&c->state->lock);
    cluster_forget_logins(c);
    cluster_forget_nodes(c);
    free(c->state->fixes);
    forget_dialled(c);
    free(c->state);
    free(c);
}

struct stats_upstream *cluster_stats(struct cluster *c)
{
    struct stats_upstream *stats = atomic_load_explicit(&c->stats, memory_order_acquire);
    const struct config_cluster *configured;

    if (stats == NULL) {
        configured = cluster_seeds(c);
        stats = stats_upstream(configured != NULL ? configured->name : c->state->name);
        atomic_store_explicit(&c->stats, stats, memory_order_release);
    }
    return stats;
}

struct topology *cluster_topology(struct cluster *c, uint64_t *version)
{
    struct topology *t;

    pthread_mutex_lock(&c->state->lock);
    t = topology_ref(c->state->topology);
    *version = atomic_load(&c->version);
    pthread_mutex_unlock(&c->state->lock);
    return t;
}

/* Puts `topology` in force if the snapshot is still the one it was made from. */
static bool replace(struct cluster *c, uint64_t version, struct topology *topology)
{
    struct topology *old = topology;
    bool current;

    pthread_mutex_lock(&c->state->lock);
    current = atomic_load(&c->version) == version;
    if (current) {
        old = c->state->topology;
        c->state->topology = topology;
        atomic_store_explicit(&c->version, version + 1, memory_order_release);
    }
    pthread_mutex_unlock(&c->state->lock);
    topology_unref(old);
    return current;
}

void cluster_replace(struct cluster *c, struct topology *topology)
{
    struct topology *old;

    pthread_mutex_lock(&c->state->lock);
    old = c->state->topology;
    c->state->topology = topology;
    atomic_fetch_add_explicit(&c->version, 1, memory_order_release);
    pthread_mutex_unlock(&c->state->lock);
    topology_unref(old);
}

static void remember_fix(struct cluster *c, uint64_t version, uint16_t slot, struct bytes host,
                         uint16_t port)
{
    struct cluster_state *st = c->state;

    pthread_mutex_lock(&st->lock);
    if (st->refreshes > 0 && host.length < sizeof st->fixes[0].host) {
        if (st->fix_count == st->fix_capacity) {
            size_t capacity = st->fix_capacity ? st->fix_capacity * 2 : 16;
            struct fix *fixes = realloc(st->fixes, capacity * sizeof *fixes);

            if (fixes != NULL) {
                st->fixes = fixes;
                st->fix_capacity = capacity;
            }
        }
        if (st->fix_count < st->fix_capacity) {
            struct fix *f = &st->fixes[st->fix_count++];

            *f = (struct fix){.version = version, .slot = slot, .port = port};
            memcpy(f->host, host.data, host.length);
        }
    }
    pthread_mutex_unlock(&st->lock);
}

static bool owns_already(const struct topology *t, uint16_t slot, struct bytes host, uint16_t port)
{
    uint16_t node = topology_find(t, host, port);

    return node != NODE_NONE && t->owner[slot] == node;
}

void cluster_moved(struct cluster *c, uint16_t slot, struct bytes host, uint16_t port)
{
    bool settled = false;

    while (!settled) {
        uint64_t version;
        struct topology *now = cluster_topology(c, &version), *next = NULL;

        if (!owns_already(now, slot, host, port))
            next = topology_moved(now, slot, host, port);
        topology_unref(now);
        remember_fix(c, version + 1, slot, host, port);
        settled = next == NULL || replace(c, version, next);
    }
}

void cluster_migrating(struct cluster *c, uint16_t slot, bool migrating)
{
    bool settled = false;

    while (!settled) {
        uint64_t version;
        struct topology *now = cluster_topology(c, &version), *next = NULL;

        if (topology_is_migrating(now, slot) != migrating)
            next = topology_with_migrating(now, slot, migrating);
        topology_unref(now);
        settled = next == NULL || replace(c, version, next);
    }
    if (migrating)
        cluster_suspect(c);
}

void cluster_suspect(struct cluster *c)
{
    atomic_fetch_add_explicit(&c->evidence, 1, memory_order_relaxed);
    cluster_raise_alarm();
}

/* Under the lock. */
static bool is_enough(struct cluster_state *st, int64_t now_ms)
{
    const struct config_refresh *said = &st->refresh;

    if (said->redirect_threshold < 0)
        return true;
    if (said->redirect_threshold == 0 || ++st->redirects < said->redirect_threshold ||
        (st->redirected_ms != 0 && now_ms - st->redirected_ms < said->redirect_interval_ms))
        return false;
    st->redirects = 0;
    st->redirected_ms = now_ms;
    return true;
}

void cluster_redirected(struct cluster *c, int64_t now_ms)
{
    bool enough;

    pthread_mutex_lock(&c->state->lock);
    enough = is_enough(c->state, now_ms);
    pthread_mutex_unlock(&c->state->lock);
    if (enough)
        cluster_suspect(c);
}

void cluster_configure(struct cluster *c, const struct config_refresh *refresh,
                       const struct config_cluster *seeds)
{
    pthread_mutex_lock(&c->state->lock);
    c->state->refresh = *refresh;
    c->state->seeds = seeds;
    pthread_mutex_unlock(&c->state->lock);
}

/* Whoever follows the pointers holds no lock: what is in the list stays as it is. */
static struct dialled *make_dialled(const char *name, uint16_t port)
{
    struct dialled *d = malloc(sizeof *d + strlen(name) + 1);

    if (d == NULL)
        return NULL;
    strcpy(d->name, name);
    d->endpoint = (struct config_address){d->name, port};
    d->seeds =
        (struct config_cluster){.name = d->name, .endpoints = &d->endpoint, .endpoint_count = 1};
    return d;
}

void cluster_set_dialled(struct cluster *c, const char *name, uint16_t port)
{
    struct dialled **at, *d;

    pthread_mutex_lock(&c->state->lock);
    at = &c->state->dialled_names;
    while ((d = *at) != NULL && (d->endpoint.port != port || strcmp(d->name, name) != 0))
        at = &d->next;
    if (d != NULL)
        *at = d->next;
    else
        d = make_dialled(name, port);
    if (d != NULL) {
        d->next = c->state->dialled_names;
        c->state->dialled_names = d;
    }
    pthread_mutex_unlock(&c->state->lock);
}

const struct config_cluster *cluster_seeds(struct cluster *c)
{
    const struct config_cluster *seeds;

    pthread_mutex_lock(&c->state->lock);
    seeds = c->state->seeds;
    if (seeds == NULL && c->state->dialled_names != NULL)
        seeds = &c->state->dialled_names->seeds;
    pthread_mutex_unlock(&c->state->lock);
    return seeds;
}

struct config_refresh cluster_refresh(struct cluster *c)
{
    struct config_refresh refresh;

    pthread_mutex_lock(&c->state->lock);
    refresh = c->state->refresh;
    pthread_mutex_unlock(&c->state->lock);
    return refresh;
}

void cluster_config_changed(struct cluster *c)
{
    pthread_mutex_lock(&c->state->lock);
    atomic_fetch_add_explicit(&c->version, 1, memory_order_release);
    pthread_mutex_unlock(&c->state->lock);
}

uint64_t cluster_refresh_begin(struct cluster *c)
{
    uint64_t version;

    pthread_mutex_lock(&c->state->lock);
    c->state->refreshes++;
    version = atomic_load(&c->version);
    pthread_mutex_unlock(&c->state->lock);
    return version;
}

static bool same_owner(const struct topology *a, const struct topology *b, uint16_t slot)
{
    const struct node *m, *n;

    if (a->owner[slot] == NODE_NONE || b->owner[slot] == NODE_NONE)
        return a->owner[slot] == b->owner[slot];
    m = &a->nodes[a->owner[slot]];
    n = &b->nodes[b->owner[slot]];
    return m->port == n->port && strcmp(m->host, n->host) == 0;
}

/* Replaces *t by what `change` made of it; out of memory keeps *t. */
static void step(struct topology **t, struct topology *changed)
{
    if (changed == NULL)
        return;
    topology_unref(*t);
    *t = changed;
}

/* A slot that was migrating still is, unless its owner changed. */
static void keep_migrating(struct topology **fresh, const struct topology *now)
{
    for (uint32_t slot = 0; now->migrating_count > 0 && slot < SLOT_COUNT; slot++)
        if (topology_is_migrating(now, (uint16_t)slot) && same_owner(now, *fresh, (uint16_t)slot))
            step(fresh, topology_with_migrating(*fresh, (uint16_t)slot, true));
}

static struct topology *with_fixes(struct cluster *c, uint64_t begun, struct topology *fresh)
{
    pthread_mutex_lock(&c->state->lock);
    for (size_t i = 0; i < c->state->fix_count; i++) {
        const struct fix *f = &c->state->fixes[i];
        struct bytes host = {f->host, strlen(f->host)};

        if (f->version > begun && !owns_already(fresh, f->slot, host, f->port))
            step(&fresh, topology_moved(fresh, f->slot, host, f->port));
    }
    pthread_mutex_unlock(&c->state->lock);
    return fresh;
}

static void finish_refresh(struct cluster *c)
{
    pthread_mutex_lock(&c->state->lock);
    if (--c->state->refreshes == 0)
        c->state->fix_count = 0;
    pthread_mutex_unlock(&c->state->lock);
}

void cluster_refresh_end(struct cluster *c, uint64_t begun, struct topology *fresh)
{
    bool settled = fresh == NULL;

    while (!settled) {
        uint64_t version;
        struct topology *now = cluster_topology(c, &version), *next;

        next = with_fixes(c, begun, topology_copy(fresh));
        if (next != NULL)
            keep_migrating(&next, now);
        if (next == NULL || (topology_same(next, now) && next->migrating_count == now->migrating_count)) {
            topology_unref(next);
            settled = true;
        } else {
            settled = replace(c, version, next);
        }
        topology_unref(now);
    }
    if (fresh != NULL)
        cluster_note_nodes(c, fresh);
    topology_unref(fresh);
    finish_refresh(c);
}

struct scripts *cluster_scripts(struct cluster *c)
{
    return c->state->scripts;
}

struct learned *cluster_learned(struct cluster *c)
{
    return c->state->learned;
}
