#include "keeper/forward.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "keeper/keeper.h"

struct forward {
    struct forward *next;
    uint64_t id; /* never reused: a late event of a destroyed forward finds nobody */
    int poller;
    int signal;
    bool known; /* in the keeper's epoll set */
    bool stuffed; /* the other end of `signal` is not writable, until there is a first event */
    struct cluster *cluster; /* that is followed, or NULL */
    uint64_t version;        /* that the owner knows of */
};

static pthread_mutex_t forward_lock = PTHREAD_MUTEX_INITIALIZER;
static struct forward *forwards;
static uint64_t last_id;
static int keeper_poller = -1;

struct forward *keeper_forward_create(int poller, int signal)
{
    struct forward *f = calloc(1, sizeof *f);

    if (f == NULL)
        return NULL;
    f->poller = poller;
    f->signal = signal;
    pthread_mutex_lock(&forward_lock);
    f->id = ++last_id;
    f->next = forwards;
    forwards = f;
    pthread_mutex_unlock(&forward_lock);
    return f;
}

void keeper_forward_arm(struct forward *f, int signalled)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = f->id};
    char drained[64];

    pthread_mutex_lock(&forward_lock);
    while (signalled != -1 &&
           recv(signalled, drained, sizeof drained, MSG_DONTWAIT) == sizeof drained)
        ;
    if (keeper_poller != -1) {
        epoll_ctl(keeper_poller, f->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, f->poller, &event);
        f->known = true;
    }
    pthread_mutex_unlock(&forward_lock);
}

void keeper_forward_destroy(struct forward *f)
{
    struct forward **at = &forwards;

    if (f == NULL)
        return;
    pthread_mutex_lock(&forward_lock);
    while (*at != NULL && *at != f)
        at = &(*at)->next;
    if (*at == f)
        *at = f->next;
    if (f->known && keeper_poller != -1)
        epoll_ctl(keeper_poller, EPOLL_CTL_DEL, f->poller, NULL);
    pthread_mutex_unlock(&forward_lock);
    free(f);
}

void forward_set_poller(int poller)
{
    pthread_mutex_lock(&forward_lock);
    keeper_poller = poller;
    pthread_mutex_unlock(&forward_lock);
}

void keeper_forward_follow(struct forward *f, struct cluster *cluster, uint64_t version)
{
    pthread_mutex_lock(&forward_lock);
    f->cluster = cluster;
    f->version = version;
    pthread_mutex_unlock(&forward_lock);
}

void keeper_forward_stuffed(struct forward *f)
{
    pthread_mutex_lock(&forward_lock);
    f->stuffed = true;
    pthread_mutex_unlock(&forward_lock);
}

static void unstuff(struct forward *f)
{
    char filling[4096];

    while (recv(f->signal, filling, sizeof filling, MSG_DONTWAIT) > 0)
        ;
    f->stuffed = false;
}

static void signal_owner(struct forward *f)
{
    if (f->stuffed)
        unstuff(f);
    send(f->signal, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The owner may have served by itself, between the event and now, what the event is about. */
static bool is_ready(const struct forward *f)
{
    struct pollfd poller = {.fd = f->poller, .events = POLLIN};

    return poll(&poller, 1, 0) == 1;
}

void forward_event(uint64_t id)
{
    pthread_mutex_lock(&forward_lock);
    for (struct forward *f = forwards; f != NULL; f = f->next)
        if (f->id == id && is_ready(f))
            signal_owner(f);
    pthread_mutex_unlock(&forward_lock);
}

void forward_tick(void)
{
    pthread_mutex_lock(&forward_lock);
    for (struct forward *f = forwards; f != NULL; f = f->next)
        if (f->cluster != NULL && cluster_version(f->cluster) != f->version) {
            f->version = cluster_version(f->cluster);
            signal_owner(f);
        }
    pthread_mutex_unlock(&forward_lock);
}

void forward_lock_all(void)
{
    pthread_mutex_lock(&forward_lock);
}

void forward_unlock_all(void)
{
    pthread_mutex_unlock(&forward_lock);
}

/* The owners still hold their forwards, and destroy them when they notice the fork. */
void forward_forget_all(void)
{
    for (struct forward *f = forwards; f != NULL; f = f->next)
        f->known = false;
    forwards = NULL;
    keeper_poller = -1;
}
