#include "route/lead.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lead {
    struct lead *next;
    const struct config_cluster *of; /* these: constant */
    char host[46];                   /* that was dialled, if `of` is NULL */
    uint16_t port;
    const struct config *config; /* in which it was last looked for */
    bool found;
    struct lead_end end;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all below */
static struct lead *leads;
static struct lead_dialled *dialled;
static void (*_Atomic alarm_function)(void);

bool lead_is_same(const struct config_cluster *a, const struct config_cluster *b)
{
    if (a == b)
        return true;
    if (a == NULL || b == NULL || a->endpoint_count != b->endpoint_count)
        return false;
    for (int i = 0; i < a->endpoint_count; i++)
        if (a->endpoints[i].port != b->endpoints[i].port ||
            strcmp(a->endpoints[i].host, b->endpoints[i].host) != 0)
            return false;
    return true;
}

static bool is_of(const struct lead *l, const struct config_cluster *of, const char *host,
                  uint16_t port)
{
    return l->of == of && (of != NULL || (l->port == port && strcmp(l->host, host) == 0));
}

/* Under the lock. NULL: out of memory. */
static struct lead *find_or_make(const struct config_cluster *of, const char *host, uint16_t port,
                                 bool *made)
{
    struct lead *l = leads;

    while (l != NULL && !is_of(l, of, host, port))
        l = l->next;
    *made = l == NULL;
    if (l == NULL && (l = calloc(1, sizeof *l)) != NULL) {
        l->of = of;
        snprintf(l->host, sizeof l->host, "%s", host);
        l->port = port;
        l->next = leads;
        leads = l;
    }
    if (l != NULL)
        l->config = config_get();
    return l;
}

bool lead_find(const struct config_cluster *of, const char *host, uint16_t port,
               struct lead_end *end)
{
    void (*alarm_now)(void) = atomic_load(&alarm_function);
    bool made, found;
    struct lead *l;

    pthread_mutex_lock(&lock);
    l = find_or_make(of, host, port, &made);
    found = l != NULL && l->found;
    if (found)
        *end = l->end;
    pthread_mutex_unlock(&lock);
    if (made && alarm_now != NULL)
        alarm_now();
    return found;
}

void lead_want(const struct config_cluster *of, const char *host, uint16_t port)
{
    struct lead_end unused;

    (void)lead_find(of, host, port, &unused);
}

/* Under the lock. */
static bool is_noted(const char *host, uint16_t port)
{
    const struct lead_dialled *d = dialled;

    while (d != NULL && (d->port != port || strcmp(d->host, host) != 0))
        d = d->next;
    return d != NULL;
}

void lead_note_dialled(const char *host, uint16_t port)
{
    struct lead_dialled *d;

    pthread_mutex_lock(&lock);
    if (!is_noted(host, port) && (d = calloc(1, sizeof *d)) != NULL) {
        snprintf(d->host, sizeof d->host, "%s", host);
        d->port = port;
        d->next = dialled;
        dialled = d;
    }
    pthread_mutex_unlock(&lock);
}

const struct lead_dialled *lead_next_dialled(const struct lead_dialled *d)
{
    pthread_mutex_lock(&lock);
    d = d == NULL ? dialled : d->next;
    pthread_mutex_unlock(&lock);
    return d;
}

struct lead *lead_next_wanted(struct lead *l)
{
    const struct config *config = config_get();

    pthread_mutex_lock(&lock);
    l = l == NULL ? leads : l->next;
    while (l != NULL && (l->found || l->config != config))
        l = l->next;
    pthread_mutex_unlock(&lock);
    return l;
}

int lead_endpoint_count(const struct lead *l)
{
    return l->of != NULL ? l->of->endpoint_count : 1;
}

struct config_address lead_endpoint(const struct lead *l, int i)
{
    return l->of != NULL ? l->of->endpoints[i] : (struct config_address){l->host, l->port};
}

const struct config_login *lead_logins(const struct lead *l)
{
    return l->of != NULL ? config_logins(config_get(), l->of)
                         : config_listener(config_get(), l->host, l->port)->logins;
}

struct tls_profile *lead_tls(const struct lead *l)
{
    return l->of != NULL ? config_tls_of(config_get(), l->of)
                         : config_listener(config_get(), l->host, l->port)->tls;
}

void lead_found(struct lead *l, const struct lead_end *end)
{
    pthread_mutex_lock(&lock);
    l->end = *end;
    l->found = true;
    pthread_mutex_unlock(&lock);
}

void lead_set_alarm(void (*alarm_now)(void))
{
    atomic_store(&alarm_function, alarm_now);
}

void lead_lock_all(void)
{
    pthread_mutex_lock(&lock);
}

void lead_unlock_all(void)
{
    pthread_mutex_unlock(&lock);
}
