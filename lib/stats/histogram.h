/* How long things took, in microseconds, by buckets that grow with the time: two for each power of
 * two, so that what a bucket says is at most half more than what was. Lock-free. */
#ifndef REDISROUTE_STATS_HISTOGRAM_H
#define REDISROUTE_STATS_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

/* Up to 2^26 microseconds, 67 seconds, and beyond. */
enum { HISTOGRAM_BUCKETS = 53 };

struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_us;
};

/* The two highest bits of a number, the first of which is 1, tell the buckets of a power apart; 0
 * and 1 count as of the power of 2. */
static inline unsigned histogram_bucket(uint64_t us)
{
    unsigned below = 62 - (unsigned)__builtin_clzll(us | 2);
    unsigned bucket = 2 * below + (unsigned)(us >> below);

    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* All that is in the bucket is below this; the last bucket has no bound. */
static inline uint64_t histogram_bound(unsigned bucket)
{
    if (bucket < 2)
        return bucket + 1;
    return (UINT64_C(2) + bucket % 2 + 1) << (bucket / 2 - 1);
}

/* So many that took so long, each. */
static inline void histogram_add(struct histogram *h, uint64_t us, uint64_t how_many)
{
    atomic_fetch_add_explicit(&h->counts[histogram_bucket(us)], how_many, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us * how_many, memory_order_relaxed);
}

#endif
