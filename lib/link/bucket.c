#include "link/bucket.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CHAINS = 64, US_PER_MS = 1000, US_PER_S = 1000000 };

/* A token falls every so many microseconds, and each is taken in advance: the moment at which the
 * next one is to be had says how full the bucket is. There are as many buckets as nodes were ever
 * lost, and they stay. */
struct bucket {
    struct bucket *next;
    _Atomic int64_t next_us;
    uint16_t port;
    char host[];
};

/* A chain grows at its head only. */
static struct bucket *_Atomic chains[CHAINS];

static struct bucket *_Atomic *chain_of(const char *host, uint16_t port)
{
    uint32_t hash = port;

    for (; *host != '\0'; host++)
        hash = hash * 31 + (unsigned char)*host;
    return &chains[hash % CHAINS];
}

static struct bucket *find(struct bucket *b, const char *host, uint16_t port)
{
    while (b != NULL && (b->port != port || strcmp(b->host, host) != 0))
        b = b->next;
    return b;
}

/* NULL: out of memory. */
static struct bucket *bucket_of(const char *host, uint16_t port)
{
    struct bucket *_Atomic *chain = chain_of(host, port);
    struct bucket *head = atomic_load_explicit(chain, memory_order_acquire);
    struct bucket *b = find(head, host, port), *made;

    if (b != NULL || (made = malloc(sizeof *made + strlen(host) + 1)) == NULL)
        return b;
    atomic_init(&made->next_us, INT64_MIN);
    made->port = port;
    strcpy(made->host, host);
    do {
        if ((b = find(head, host, port)) != NULL) {
            free(made); /* another thread was faster */
            return b;
        }
        made->next = head;
    } while (!atomic_compare_exchange_weak_explicit(chain, &head, made, memory_order_acq_rel,
                                                    memory_order_acquire));
    return made;
}

int64_t bucket_take(const char *host, uint16_t port, const struct config_reconnect *limit,
                    int64_t now_ms)
{
    struct bucket *b = limit->rate > 0 ? bucket_of(host, port) : NULL;
    int64_t now_us = now_ms * US_PER_MS, interval_us, full_us, at_us, wait_us;

    if (b == NULL)
        return 0;
    interval_us = US_PER_S / limit->rate;
    full_us = now_us - (limit->burst - 1) * interval_us; /* that many have fallen since */
    at_us = atomic_load_explicit(&b->next_us, memory_order_relaxed);
    do
        wait_us = at_us > full_us ? at_us - now_us : full_us - now_us;
    while (!atomic_compare_exchange_weak_explicit(&b->next_us, &at_us,
                                                  now_us + wait_us + interval_us,
                                                  memory_order_relaxed, memory_order_relaxed));
    return wait_us > 0 ? (wait_us + US_PER_MS - 1) / US_PER_MS : 0;
}
