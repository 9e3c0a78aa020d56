#include "route/cluster.h"

#include "route/policy.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a server said of one slot while a refresh was under way. */
struct fix {
    uint64_t version; /* that it made */
    uint16_t slot;
    uint16_t port;
    char host[256];
};

/* What is known of a node beside its place in the topology. */
struct node_mark {
    struct node_mark *next;
    struct node_state state;
    uint16_t port;
    bool dead;
    char host[];
};

/* Of different users, which may be allowed different things. */
enum { CREDENTIALS_MOST = 4 };

struct cluster_state {
    pthread_mutex_t lock; /* for everything below */
    struct topology *topology;
    struct bytes credentials[CREDENTIALS_MOST]; /* malloc'ed; the next to be used first */
    const struct config_login *logins;
    const struct config_cluster *seeds;
    struct tls_profile *tls; /* NULL: none */
    char dialled[CLUSTER_DIALLED_SIZE];
    struct node_mark *marks;
    unsigned refreshes; /* under way */
    struct fix *fixes;
    size_t fix_count;
    size_t fix_capacity;
    struct scripts *scripts; /* these two have locks of their own */
    struct learned *learned;
    struct config_refresh refresh;
    int64_t redirects; /* since they last brought a refresh, … */
    int64_t redirected_ms; /* … and when that was */
    char name[280];          /* "HOST:PORT"; constant */
};

/* An address that was dialled, or that a snapshot named. */
struct address {
    struct address *next;
    struct cluster *cluster; /* NULL: plain, until plain_until_ms */
    int64_t plain_until_ms;
    uint16_t port;
    bool secure;
    char host[];
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER; /* for the two lists */
static struct cluster *clusters;
static struct address *addresses;
static void (*_Atomic alarm_function)(void);

static void raise_alarm(void)
{
    void (*alarm_now)(void) = atomic_load(&alarm_function);

    if (alarm_now != NULL)
        alarm_now();
}

void cluster_set_alarm(void (*alarm_now)(void))
{
    atomic_store(&alarm_function, alarm_now);
}

static struct address *find_address(const char *host, uint16_t port, bool secure)
{
    struct address *a = addresses;

    while (a != NULL && (a->port != port || a->secure != secure || strcmp(a->host, host) != 0))
        a = a->next;
    return a;
}

static struct address *note_address(const char *host, uint16_t port, bool secure)
{
    struct address *a = find_address(host, port, secure);

    if (a != NULL)
        return a;
    a = malloc(sizeof *a + strlen(host) + 1);
    if (a == NULL)
        return NULL;
    *a = (struct address){.next = addresses, .port = port, .secure = secure};
    strcpy(a->host, host);
    addresses = a;
    return a;
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

void cluster_destroy(struct cluster *c)
{
    if (c == NULL)
        return;
    topology_unref(c->state->topology);
    tls_profile_unref(c->state->tls);
    scripts_destroy(c->state->scripts);
    learned_destroy(c->state->learned);
    pthread_mutex_destroy(&c->state->lock);
    for (int i = 0; i < CREDENTIALS_MOST; i++)
        free((char *)(uintptr_t)c->state->credentials[i].data);
    free(c->state->fixes);
    while (c->state->marks != NULL) {
        struct node_mark *next = c->state->marks->next;

        free(c->state->marks);
        c->state->marks = next;
    }
    free(c->state);
    free(c);
}

static void set_name(struct cluster *c, const char *host, uint16_t port)
{
    bool is_ipv6 = strchr(host, ':') != NULL;

    snprintf(c->state->name, sizeof c->state->name, "%s%s%s:%u", is_ipv6 ? "[" : "", host,
             is_ipv6 ? "]" : "", port);
}

struct stats_upstream *cluster_stats(struct cluster *c)
{
    struct stats_upstream *stats = atomic_load_explicit(&c->stats, memory_order_acquire);

    if (stats == NULL) {
        stats = stats_upstream(c->state->name);
        atomic_store_explicit(&c->stats, stats, memory_order_release);
    }
    return stats;
}

struct cluster *cluster_find(const char *host, uint16_t port, bool secure)
{
    struct address *a;
    struct cluster *c;

    pthread_mutex_lock(&registry_lock);
    a = find_address(host, port, secure);
    c = a ? a->cluster : NULL;
    pthread_mutex_unlock(&registry_lock);
    return c;
}

static struct cluster *known_by_a_node(const struct topology *t, bool secure)
{
    for (uint16_t i = 0; i < t->node_count; i++) {
        const struct address *a = find_address(t->nodes[i].host, t->nodes[i].port, secure);

        if (a != NULL && a->cluster != NULL)
            return a->cluster;
    }
    return NULL;
}

static void note_nodes(struct cluster *c, const struct topology *t)
{
    for (uint16_t i = 0; i < t->node_count; i++) {
        struct address *a = note_address(t->nodes[i].host, t->nodes[i].port, c->secure);

        if (a != NULL)
            a->cluster = c;
    }
}

struct cluster *cluster_learn(const char *host, uint16_t port, bool secure,
                              struct topology *topology)
{
    struct address *dialled;
    struct cluster *c;

    pthread_mutex_lock(&registry_lock);
    c = known_by_a_node(topology, secure);
    if (c != NULL) {
        topology_unref(topology);
    } else if ((c = cluster_create(topology)) == NULL) {
        topology_unref(topology);
    } else {
        c->secure = secure;
        set_name(c, host, port);
        c->next = clusters;
        clusters = c;
        note_nodes(c, topology);
    }
    dialled = c ? note_address(host, port, secure) : NULL;
    if (dialled != NULL)
        dialled->cluster = c;
    pthread_mutex_unlock(&registry_lock);
    return c;
}

struct cluster *cluster_add(const char *host, uint16_t port, struct topology *topology)
{
    struct cluster *c = cluster_create(topology);

    if (c == NULL) {
        topology_unref(topology);
        return NULL;
    }
    set_name(c, host, port);
    atomic_store(&c->single, true);
    pthread_mutex_lock(&registry_lock);
    c->next = clusters;
    clusters = c;
    pthread_mutex_unlock(&registry_lock);
    return c;
}

void cluster_learn_plain(const char *host, uint16_t port, bool secure, int64_t now_ms)
{
    struct address *a;

    pthread_mutex_lock(&registry_lock);
    a = note_address(host, port, secure);
    if (a != NULL && a->cluster == NULL)
        a->plain_until_ms = now_ms + CLUSTER_PLAIN_MS;
    pthread_mutex_unlock(&registry_lock);
}

bool cluster_is_plain(const char *host, uint16_t port, bool secure, int64_t now_ms)
{
    const struct address *a;
    bool plain;

    pthread_mutex_lock(&registry_lock);
    a = find_address(host, port, secure);
    plain = a != NULL && a->cluster == NULL && now_ms < a->plain_until_ms;
    pthread_mutex_unlock(&registry_lock);
    return plain;
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
    raise_alarm();
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

const struct config_cluster *cluster_seeds(struct cluster *c)
{
    const struct config_cluster *seeds;

    pthread_mutex_lock(&c->state->lock);
    seeds = c->state->seeds;
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
    if (fresh != NULL) {
        pthread_mutex_lock(&registry_lock);
        note_nodes(c, fresh);
        pthread_mutex_unlock(&registry_lock);
    }
    topology_unref(fresh);
    finish_refresh(c);
}

static struct node_mark *find_mark(const struct cluster *c, const char *host, uint16_t port)
{
    struct node_mark *mark = c->state->marks;

    while (mark != NULL && (mark->port != port || strcmp(mark->host, host) != 0))
        mark = mark->next;
    return mark;
}

/* Under the lock. NULL: out of memory. */
static struct node_mark *make_mark(struct cluster *c, const char *host, uint16_t port)
{
    struct node_mark *mark = find_mark(c, host, port);

    if (mark != NULL)
        return mark;
    mark = malloc(sizeof *mark + strlen(host) + 1);
    if (mark == NULL)
        return NULL;
    *mark = (struct node_mark){.next = c->state->marks, .port = port};
    strcpy(mark->host, host);
    c->state->marks = mark;
    return mark;
}

/* Under the lock. Sessions that choose among nodes look again. */
static void marks_changed(struct cluster *c)
{
    if (cluster_is_surveyed(c))
        atomic_fetch_add_explicit(&c->version, 1, memory_order_release);
}

void cluster_mark_dead(struct cluster *c, const char *host, uint16_t port, bool dead)
{
    struct node_mark *mark;

    pthread_mutex_lock(&c->state->lock);
    mark = dead ? make_mark(c, host, port) : find_mark(c, host, port);
    if (mark != NULL && mark->dead != dead) {
        mark->dead = dead;
        marks_changed(c);
    }
    pthread_mutex_unlock(&c->state->lock);
}

bool cluster_is_dead(struct cluster *c, const char *host, uint16_t port)
{
    const struct node_mark *mark;
    bool dead;

    pthread_mutex_lock(&c->state->lock);
    mark = find_mark(c, host, port);
    dead = mark != NULL && mark->dead;
    pthread_mutex_unlock(&c->state->lock);
    return dead;
}

void cluster_survey(struct cluster *c)
{
    if (!atomic_exchange(&c->surveyed, true))
        raise_alarm();
}

bool cluster_is_surveyed(const struct cluster *c)
{
    return atomic_load_explicit(&c->surveyed, memory_order_relaxed);
}

void cluster_set_node_state(struct cluster *c, const char *host, uint16_t port,
                            const struct node_state *state)
{
    struct node_mark *mark;

    pthread_mutex_lock(&c->state->lock);
    mark = make_mark(c, host, port);
    if (mark != NULL && (mark->state.unreachable != state->unreachable ||
                         mark->state.loading != state->loading ||
                         mark->state.cut_off != state->cut_off ||
                         strcmp(mark->state.zone, state->zone) != 0)) {
        mark->state = *state;
        marks_changed(c);
    }
    pthread_mutex_unlock(&c->state->lock);
}

void cluster_traits(struct cluster *c, const struct topology *t, const char *zone, uint8_t *traits)
{
    pthread_mutex_lock(&c->state->lock);
    for (uint16_t i = 0; i < t->node_count; i++) {
        const struct node_mark *mark = find_mark(c, t->nodes[i].host, t->nodes[i].port);

        traits[i] = POLICY_FIT;
        if (mark == NULL)
            continue;
        if (mark->dead || mark->state.unreachable || mark->state.loading || mark->state.cut_off)
            traits[i] = 0;
        if (zone[0] != '\0' && strcmp(mark->state.zone, zone) == 0)
            traits[i] |= POLICY_LOCAL;
    }
    pthread_mutex_unlock(&c->state->lock);
}

/* Where they are known already, else the last place. */
static int place_of_credentials(const struct cluster *c, struct bytes command)
{
    const struct bytes *known = c->state->credentials;
    int i = 0;

    while (i < CREDENTIALS_MOST - 1 &&
           (known[i].length != command.length ||
            memcmp(known[i].data, command.data, command.length) != 0))
        i++;
    return i;
}

static void put_first(struct bytes *credentials, int from, struct bytes these)
{
    memmove(credentials + 1, credentials, (size_t)from * sizeof *credentials);
    credentials[0] = these;
}

void cluster_set_credentials(struct cluster *c, struct bytes command)
{
    char *copy = malloc(command.length);
    struct bytes *known = c->state->credentials;
    int place;

    if (copy == NULL)
        return;
    memcpy(copy, command.data, command.length);
    pthread_mutex_lock(&c->state->lock);
    place = place_of_credentials(c, command);
    free((char *)(uintptr_t)known[place].data);
    put_first(known, place, (struct bytes){copy, command.length});
    pthread_mutex_unlock(&c->state->lock);
}

void cluster_set_logins(struct cluster *c, const struct config_login *logins)
{
    pthread_mutex_lock(&c->state->lock);
    c->state->logins = logins;
    pthread_mutex_unlock(&c->state->lock);
}

char *cluster_credentials(struct cluster *c, const char *host, uint16_t port, size_t *length)
{
    const struct config_login *login;
    const char *said;
    char *copy = NULL;

    pthread_mutex_lock(&c->state->lock);
    said = c->state->credentials[0].data;
    *length = c->state->credentials[0].length;
    if (said == NULL && (login = login_find(c->state->logins, host, port)) != NULL) {
        said = login->auth;
        *length = login->length;
    }
    if (said != NULL && (copy = malloc(*length)) != NULL)
        memcpy(copy, said, *length);
    pthread_mutex_unlock(&c->state->lock);
    return copy;
}

void cluster_doubt_credentials(struct cluster *c, struct bytes command)
{
    struct bytes *known = c->state->credentials, first;
    int count = 0;

    pthread_mutex_lock(&c->state->lock);
    first = known[0];
    while (count < CREDENTIALS_MOST && known[count].data != NULL)
        count++;
    if (count > 1 && first.length == command.length &&
        memcmp(first.data, command.data, command.length) == 0) {
        memmove(known, known + 1, (size_t)(count - 1) * sizeof *known);
        known[count - 1] = first;
    }
    if (count == 1 && c->state->logins != NULL && first.length == command.length &&
        memcmp(first.data, command.data, command.length) == 0) {
        free((char *)(uintptr_t)first.data);
        known[0] = (struct bytes){NULL, 0};
    }
    pthread_mutex_unlock(&c->state->lock);
}

void cluster_set_tls(struct cluster *c, struct tls_profile *profile, const char *dialled)
{
    struct tls_profile *before = NULL;

    pthread_mutex_lock(&c->state->lock);
    if (c->state->tls != profile) {
        before = c->state->tls;
        c->state->tls = tls_profile_ref(profile);
        snprintf(c->state->dialled, sizeof c->state->dialled, "%s", dialled != NULL ? dialled : "");
    }
    pthread_mutex_unlock(&c->state->lock);
    tls_profile_unref(before);
}

struct tls_profile *cluster_tls(struct cluster *c, char dialled[CLUSTER_DIALLED_SIZE])
{
    struct tls_profile *profile;

    pthread_mutex_lock(&c->state->lock);
    profile = tls_profile_ref(c->state->tls);
    memcpy(dialled, c->state->dialled, sizeof c->state->dialled);
    pthread_mutex_unlock(&c->state->lock);
    return profile;
}

struct cluster *cluster_first(void)
{
    struct cluster *c;

    pthread_mutex_lock(&registry_lock);
    c = clusters;
    pthread_mutex_unlock(&registry_lock);
    return c;
}

struct scripts *cluster_scripts(struct cluster *c)
{
    return c->state->scripts;
}

struct learned *cluster_learned(struct cluster *c)
{
    return c->state->learned;
}

void cluster_lock_all(void)
{
    pthread_mutex_lock(&registry_lock);
    for (struct cluster *c = clusters; c != NULL; c = c->next) {
        pthread_mutex_lock(&c->state->lock);
        scripts_lock(c->state->scripts);
        learned_lock(c->state->learned);
    }
}

void cluster_unlock_all(void)
{
    for (struct cluster *c = clusters; c != NULL; c = c->next) {
        learned_unlock(c->state->learned);
        scripts_unlock(c->state->scripts);
        pthread_mutex_unlock(&c->state->lock);
    }
    pthread_mutex_unlock(&registry_lock);
}
