#include "base/chance.h"

#include <pthread.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static _Thread_local uint64_t state; /* 0: there is none */

/* The one thread that a child has would go on with the row of its parent's. */
static void forget(void)
{
    state = 0;
}

static void register_once(void)
{
    pthread_atfork(NULL, NULL, forget);
}

/* Process ids are no seed: in containers they are all 1. */
static void seed(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct timespec now;

    pthread_once(&once, register_once);
    if (getrandom(&state, sizeof state, GRND_NONBLOCK) == (ssize_t)sizeof state)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    state = ((uint64_t)now.tv_sec << 32) ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 40 ^
            (uint64_t)(uintptr_t)&state;
}

/* SplitMix64 of Steele, Lea and Flood. */
uint64_t chance_draw(void)
{
    uint64_t x;

    if (state == 0)
        seed();
    x = state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
