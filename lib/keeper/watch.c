#include "keeper/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "keeper/keeper.h"

struct watch {
    struct watch *next;
    struct watch **from;
    struct link *link;
    struct cluster *cluster;
    uint32_t replied;
    uint32_t silent_ticks;
    uint32_t feed_ticks;
    bool secure;
};

/* A connection that nothing but messages arrive on does not show that its server is dead, or that
 * there is another master: the cluster is asked every so many seconds. */
enum { FEED_TICKS = 10 };

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static struct watch *watches;

void keeper_watch(struct link *link, struct cluster *cluster)
{
    struct watch *w = calloc(1, sizeof *w);

    if (w == NULL)
        return; /* unwatched links work, but for a server that falls silent */
    w->link = link;
    w->cluster = cluster;
    w->secure = link->tls != NULL;
    pthread_mutex_lock(&watch_lock);
    w->next = watches;
    w->from = &watches;
    if (watches != NULL)
        watches->from = &w->next;
    watches = w;
    link->watch = w;
    pthread_mutex_unlock(&watch_lock);
}

void keeper_unwatch(struct link *link)
{
    struct watch *w = link->watch;

    if (w == NULL)
        return;
    pthread_mutex_lock(&watch_lock);
    *w->from = w->next;
    if (w->next != NULL)
        w->next->from = w->from;
    link->watch = NULL;
    atomic_store_explicit(&link->silent, false, memory_order_relaxed); /* the next connection may speak */
    pthread_mutex_unlock(&watch_lock);
    free(w);
}

/* A link may be older than what is known of its server. */
static bool knows_cluster(struct watch *w)
{
    if (w->cluster == NULL)
        w->cluster = cluster_find(w->link->host, w->link->port, w->secure);
    return w->cluster != NULL;
}

static void look_at(struct watch *w)
{
    uint32_t asked = atomic_load_explicit(&w->link->asked, memory_order_relaxed);
    uint32_t replied = atomic_load_explicit(&w->link->replied, memory_order_relaxed);

    if (asked == replied || replied != w->replied)
        w->silent_ticks = 0;
    else if (w->silent_ticks++ > 0 && knows_cluster(w))
        cluster_suspect(w->cluster);
    w->replied = replied;
    if (w->link->feed != NULL && w->cluster != NULL && ++w->feed_ticks % FEED_TICKS == 0)
        cluster_suspect(w->cluster);
    atomic_store_explicit(&w->link->silent, w->silent_ticks > 1, memory_order_relaxed);
}

void watch_tick(void)
{
    pthread_mutex_lock(&watch_lock);
    for (struct watch *w = watches; w != NULL; w = w->next)
        look_at(w);
    pthread_mutex_unlock(&watch_lock);
}

static void cut(struct link *link)
{
    atomic_store(&link->cut, true);
    shutdown(link->fd, SHUT_RDWR);
}

void watch_cut(const struct cluster *cluster, const char *host, uint16_t port)
{
    pthread_mutex_lock(&watch_lock);
    for (struct watch *w = watches; w != NULL; w = w->next)
        if (w->cluster == cluster && link_is(w->link, host, strlen(host), port))
            cut(w->link);
    pthread_mutex_unlock(&watch_lock);
}

static bool owns_slots(const struct topology *t, const struct link *link)
{
    uint16_t node = topology_find(t, (struct bytes){link->host, strlen(link->host)}, link->port);

    return node != NODE_NONE && t->nodes[node].first_slot != SLOT_NONE;
}

void watch_cut_deposed(const struct cluster *cluster, const struct topology *t)
{
    pthread_mutex_lock(&watch_lock);
    for (struct watch *w = watches; w != NULL; w = w->next)
        if (w->cluster == cluster && w->silent_ticks > 0 && !owns_slots(t, w->link))
            cut(w->link);
    pthread_mutex_unlock(&watch_lock);
}

void watch_lock_all(void)
{
    pthread_mutex_lock(&watch_lock);
}

void watch_unlock_all(void)
{
    pthread_mutex_unlock(&watch_lock);
}

void watch_forget_all(void)
{
    while (watches != NULL) {
        struct watch *next = watches->next;

        watches->link->watch = NULL;
        free(watches);
        watches = next;
    }
}
