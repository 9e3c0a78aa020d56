/* Monotonic time. Milliseconds everywhere; never wall-clock time. */
#ifndef REDISROUTE_BASE_CLOCK_H
#define REDISROUTE_BASE_CLOCK_H

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

/* Seconds, roughly: for decisions on the hot path. The kernel keeps this clock in memory. */
static inline uint32_t clock_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint32_t)now.tv_sec;
}

#endif
