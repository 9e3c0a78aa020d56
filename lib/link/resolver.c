#include "link/resolver.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* In the order of the name server. */
struct found {
    size_t count;
    struct resolver_address list[RESOLVER_ADDRESSES_MOST];
};

/* A name that was asked for once. Names live until the process ends: there are as many as nodes. */
struct name {
    struct name *next;
    bool pending;
    bool doubted;     /* since it was last looked up */
    int64_t begun_ms; /* these two: the last look-up; 0: there was none */
    int64_t ended_ms;
    int64_t good_until_ms;
    struct found found; /* the last good one */
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

/* --- addresses --- */

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof a6->sin6_addr) == 0 &&
           a6->sin6_scope_id == b6->sin6_scope_id;
}

static struct resolver_address *find(struct found *found, const struct sockaddr_storage *address)
{
    for (size_t i = 0; i < found->count; i++)
        if (same_host(&found->list[i].address, address))
            return &found->list[i];
    return NULL;
}

static void take(struct found *found, const struct addrinfo *info)
{
    struct resolver_address *to = &found->list[found->count];

    if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) ||
        found->count == RESOLVER_ADDRESSES_MOST)
        return;
    *to = (struct resolver_address){.length = info->ai_addrlen};
    memcpy(&to->address, info->ai_addr, info->ai_addrlen);
    if (find(found, &to->address) == NULL)
        found->count++;
}

/* Not under the lock, unless it is about a number. 0, or getaddrinfo()'s error. */
static int ask(const char *host, int flags, struct found *found)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *list = NULL;
    int error = getaddrinfo(host, NULL, &hints, &list);

    found->count = 0;
    for (const struct addrinfo *at = error == 0 ? list : NULL; at != NULL; at = at->ai_next)
        take(found, at);
    if (list != NULL)
        freeaddrinfo(list);
    return error;
}

bool resolver_is_name(const char *host)
{
    struct found number;

    return ask(host, AI_NUMERICHOST, &number) != 0;
}

/* Whether the first is to be tried before the second, which the name server puts behind it. */
static bool is_better(const struct resolver_address *a, const struct resolver_address *b,
                      sa_family_t family)
{
    int64_t since = clock_now_ms() - RESOLVER_SHUNNED_MS;
    int64_t a_failed = a->failed_ms > since ? a->failed_ms : 0;
    int64_t b_failed = b->failed_ms > since ? b->failed_ms : 0;

    if (a_failed != b_failed)
        return a_failed < b_failed;
    return a->address.ss_family == b->address.ss_family || b->address.ss_family != family;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    /* At the same place in both kinds. */
    ((struct sockaddr_in *)(void *)address)->sin_port = htons(port);
}

/* The best first: there are few. */
static void sort(const struct found *found, sa_family_t family, uint16_t port,
                 struct resolver_address *to)
{
    for (size_t i = 0; i < found->count; i++) {
        size_t at = i;

        for (; at > 0 && !is_better(&to[at - 1], &found->list[i], family); at--)
            to[at] = to[at - 1];
        to[at] = found->list[i];
        set_port(&to[at].address, port);
    }
}

/* --- looking up --- */

static void conclude(struct name *n, int error, struct found *found)
{
    if (error != 0)
        log_write(LOG_WARNING, "the name %s is not found: %s", n->host, gai_strerror(error));
    pthread_mutex_lock(&lock);
    n->pending = n->doubted = false;
    n->ended_ms = clock_now_ms();
    n->good_until_ms = n->ended_ms + (found->count > 0 ? RESOLVER_FRESH_MS : RESOLVER_FAILED_MS);
    for (size_t i = 0; i < found->count; i++) {
        const struct resolver_address *before = find(&n->found, &found->list[i].address);

        found->list[i].failed_ms = before != NULL ? before->failed_ms : 0;
    }
    if (found->count > 0)
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

static struct name *find_name(const char *host)
{
    struct name *n = names;

    while (n != NULL && strcmp(n->host, host) != 0)
        n = n->next;
    return n;
}

static struct name *name_of(const char *host)
{
    struct name *n = find_name(host);

    if (n != NULL)
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
    int64_t now = clock_now_ms();

    if (n->pending || n->good_until_ms > now)
        return;
    n->pending = true;
    n->begun_ms = now;
    if (wait) {
        pthread_mutex_unlock(&lock);
        look_up(n);
        pthread_mutex_lock(&lock);
    } else if (!start_thread(n)) {
        n->pending = false;
        n->good_until_ms = now + RESOLVER_FAILED_MS;
    }
}

/* What is doubted is used once more if the look-up takes long. */
static bool is_awaited(const struct name *n)
{
    return n->pending && (n->found.count == 0 ||
                          (n->doubted && clock_now_ms() - n->begun_ms < RESOLVER_PATIENCE_MS));
}

static enum resolver_result result_of(const struct name *n)
{
    if (is_awaited(n))
        return RESOLVER_PENDING;
    return n->found.count > 0 ? RESOLVER_FOUND : RESOLVER_UNKNOWN;
}

/* The next look-up is made as soon as that is allowed again. */
static void make_old(struct name *n)
{
    int64_t at = n->ended_ms + RESOLVER_DOUBTED_MS;

    if (n->found.count > 0 && n->good_until_ms > at)
        n->good_until_ms = at;
}

static enum resolver_result list_name(const char *host, uint16_t port, sa_family_t family,
                                      bool wait, bool anew, struct resolver_address *list,
                                      size_t *count)
{
    enum resolver_result result = RESOLVER_UNKNOWN;
    struct name *n;

    pthread_mutex_lock(&lock);
    n = name_of(host);
    if (n != NULL) {
        if (anew)
            make_old(n);
        refresh(n, wait);
        result = result_of(n);
    }
    if (result == RESOLVER_FOUND) {
        sort(&n->found, family, port, list);
        *count = n->found.count;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static enum resolver_result list_any(const char *host, uint16_t port, sa_family_t family, bool wait,
                                     bool anew, struct resolver_address *list, size_t *count)
{
    struct found number;

    *count = 0;
    if (ask(host, AI_NUMERICHOST, &number) != 0 || number.count == 0)
        return list_name(host, port, family, wait, anew, list, count);
    *count = number.count;
    sort(&number, family, port, list);
    return RESOLVER_FOUND;
}

enum resolver_result resolver_list(const char *host, uint16_t port, sa_family_t family, bool wait,
                                   struct resolver_address list[RESOLVER_ADDRESSES_MOST],
                                   size_t *count)
{
    return list_any(host, port, family, wait, true, list, count);
}

enum resolver_result resolver_look_up(const char *host, uint16_t port, sa_family_t family,
                                      bool wait, struct sockaddr_storage *address,
                                      socklen_t *length)
{
    struct resolver_address list[RESOLVER_ADDRESSES_MOST];
    size_t count;
    enum resolver_result result = list_any(host, port, family, wait, false, list, &count);

    if (result == RESOLVER_FOUND) {
        *address = list[0].address;
        *length = list[0].length;
    }
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

void resolver_doubt(const char *host, const struct sockaddr_storage *address)
{
    struct resolver_address *failed;
    struct name *n;

    pthread_mutex_lock(&lock);
    n = find_name(host);
    if (n != NULL) {
        n->doubted = true;
        make_old(n);
        failed = find(&n->found, address);
        if (failed != NULL)
            failed->failed_ms = clock_now_ms();
    }
    pthread_mutex_unlock(&lock);
}
