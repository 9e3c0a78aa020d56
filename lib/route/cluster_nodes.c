#include "route/cluster_state.h"

#include "route/policy.h"

#include <stdlib.h>
#include <string.h>

struct node_mark {
    struct node_mark *next;
    struct node_state state;
    uint16_t port;
    bool dead;
    char host[];
};

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
        cluster_raise_alarm();
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

void cluster_forget_nodes(struct cluster *c)
{
    while (c->state->marks != NULL) {
        struct node_mark *next = c->state->marks->next;

        free(c->state->marks);
        c->state->marks = next;
    }
}
