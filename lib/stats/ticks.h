/* A clock for the hot path: a counter of the processor's where it has one that runs evenly, else
 * the kernel's. Reading it takes a few instructions, where clock_gettime() takes a hundred. */
#ifndef REDISROUTE_STATS_TICKS_H
#define REDISROUTE_STATS_TICKS_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Learns the pace of the counter, which takes a millisecond. To be called before the others. */
void ticks_begin(void);

/* What ticks_begin() found out: whether there is a counter, and how many microseconds a tick has,
 * times 2^32. */
extern bool ticks_counted;
extern uint64_t ticks_us;

uint64_t ticks_of_kernel(void);

static inline uint64_t ticks_of_processor(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t value;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    return 0;
#endif
}

static inline uint64_t ticks_now(void)
{
    return __builtin_expect(ticks_counted, 1) ? ticks_of_processor() : ticks_of_kernel();
}

/* What passed between two readings. 0 where a counter went backwards. */
static inline uint64_t ticks_to_us(uint64_t since, uint64_t until)
{
    return until > since ? (uint64_t)((unsigned __int128)(until - since) * ticks_us >> 32) : 0;
}

#endif
