/* Monotonic time. Milliseconds everywhere; never wall-clock time. */
#ifndef REDISROUTE_BASE_CLOCK_H
#define REDISROUTE_BASE_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

typedef int64_t clock_fn(void);

static inline int64_t clock_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The earlier of two moments, where a negative one means never. */
static inline int64_t clock_earlier(int64_t a, int64_t b)
{
    if (a < 0)
        return b;
    return b >= 0 && b < a ? b : a;
}

/* A point in the upper half of [0, ms]: what keeps a thousand processes from retrying in step. */
int64_t clock_jitter_ms(int64_t ms);

/* Counts seconds, roughly, while the keeper runs: for decisions on the hot path
 * that may be late but must not cost a look at the clock. */
extern _Atomic uint32_t clock_tick;

#endif
