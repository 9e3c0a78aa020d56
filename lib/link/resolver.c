#include "link/resolver.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum family { FAMILY_4, FAMILY_6, FAMILIES };

struct found {
    bool any;
    enum family first; /* as the name server would have it */
    socklen_t length[FAMILIES]; /* 0: the name has none of it */
    struct sockaddr_storage address[FAMILIES];
};

/* A name that was asked for once. Names live until the process ends: there are as many as nodes. */
struct name {
    struct name *next;
    bool pending;
    int64_t good_until_ms; /* 0: was never looked up */
    struct found found;    /* the last good one */
    char host[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct name *names;

void resolver_lock_all(void)
{
    pthread_mutex_lock(&lock);
}

void resolver_unlock_all(bool in_child)
{
    for (struct name *n = names; in_child && n != NULL; n = n->next)
        n->pending = false;
    pthread_mutex_unlock(&lock);
}

static void take(struct found *found, const struct addrinfo *info)
{
    enum family family = info->ai_family == AF_INET6 ? FAMILY_6 : FAMILY_4;

    if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) || found->length[family] > 0)
        return;
    memcpy(&found->address[family], info->ai_addr, info->ai_addrlen);
    found->length[family] = info->ai_addrlen;
    if (!found->any)
        found->first = family;
    found->any = true;
}

/* Not under the lock, unless it is about a number. 0, or getaddrinfo()'s error. */
static int ask(const char *host, int flags, struct found *found)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *list = NULL;
    int error = getaddrinfo(host, NULL, &hints, &list);

    *found = (struct found){0};
    for (const struct addrinfo *at = error == 0 ? list : NULL; at != NULL; at = at->ai_next)
        take(found, at);
    if (list != NULL)
        freeaddrinfo(list);
    return error;
}

static void choose(const struct found *found, sa_family_t family, uint16_t port,
                   struct sockaddr_storage *address, socklen_t *length)
{
    enum family wanted = family == AF_INET    ? FAMILY_4
                         : family == AF_INET6 ? FAMILY_6
                                              : found->first;
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)address;

    if (found->length[wanted] == 0)
        wanted = found->first;
    *address = found->address[wanted];
    *length = found->length[wanted];
    in->sin_port = htons(port); /* at the same place in both kinds */
}

static void conclude(struct name *n, int error, const struct found *found)
{
    if (error != 0)
        log_write(LOG_WARNING, "the node's name %s is not found: %s", n->host, gai_strerror(error));
    pthread_mutex_lock(&lock);
    n->pending = false;
    n->good_until_ms = clock_now_ms() + (found->any ? RESOLVER_FRESH_MS : RESOLVER_FAILED_MS);
    if (found->any)
        n->found = *found;
    pthread_mutex_unlock(&lock);
}

static void look_up(struct name *n)
{
    struct found found;
    int error = ask(n->host, 0, &found);

    conclude(n, error, &found);
}

static void *run(void *name)
{
    look_up(name);
    return NULL;
}

/* Signals are the program's threads' to take. */
static bool start_thread(struct name *n)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    bool ok;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    ok = pthread_create(&thread, &attributes, run, n) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

static struct name *name_of(const char *host)
{
    struct name *n;

    for (n = names; n != NULL; n = n->next)
        if (strcmp(n->host, host) == 0)
            return n;
    n = calloc(1, sizeof *n + strlen(host) + 1);
    if (n == NULL)
        return NULL;
    strcpy(n->host, host);
    n->next = names;
    names = n;
    return n;
}

/* Begins a look-up when what is known is old. Under the lock, which a thread that is to wait gives
 * up for it: until then there may be nothing. */
static void refresh(struct name *n, bool wait)
{
    if (n->pending || n->good_until_ms > clock_now_ms())
        return;
    n->pending = true;
    if (wait) {
        pthread_mutex_unlock(&lock);
        look_up(n);
        pthread_mutex_lock(&lock);
    } else if (!start_thread(n)) {
        n->pending = false;
        n->good_until_ms = clock_now_ms() + RESOLVER_FAILED_MS;
    }
}

static enum resolver_result result_of(const struct name *n)
{
    if (n->found.any)
        return RESOLVER_FOUND;
    return n->pending ? RESOLVER_PENDING : RESOLVER_UNKNOWN;
}

enum resolver_result resolver_look_up(const char *host, uint16_t port, sa_family_t family, bool wait,
                                      struct sockaddr_storage *address, socklen_t *length)
{
    enum resolver_result result = RESOLVER_UNKNOWN;
    struct found number;
    struct name *n;

    if (ask(host, AI_NUMERICHOST, &number) == 0 && number.any) {
        choose(&number, family, port, address, length);
        return RESOLVER_FOUND;
    }
    pthread_mutex_lock(&lock);
    n = name_of(host);
    if (n != NULL) {
        refresh(n, wait);
        result = result_of(n);
    }
    if (result == RESOLVER_FOUND)
        choose(&n->found, family, port, address, length);
    pthread_mutex_unlock(&lock);
    return result;
}

enum resolver_result resolver_number(const char *host, uint16_t port, char number[INET6_ADDRSTRLEN])
{
    struct sockaddr_storage address;
    socklen_t length;
    enum resolver_result result = resolver_look_up(host, port, AF_UNSPEC, false, &address, &length);

    if (result == RESOLVER_FOUND && getnameinfo((struct sockaddr *)&address, length, number,
                                                INET6_ADDRSTRLEN, NULL, 0, NI_NUMERICHOST) != 0)
        return RESOLVER_UNKNOWN;
    return result;
}
