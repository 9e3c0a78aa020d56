#include "base/clock.h"

#include <stdatomic.h>
#include <unistd.h>

int64_t clock_jitter_ms(int64_t ms)
{
    static _Atomic uint64_t state;
    uint64_t x = atomic_fetch_add_explicit(&state, 0x9E3779B97F4A7C15u, memory_order_relaxed);

    x ^= (uint64_t)getpid() << 32;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    return ms / 2 + (int64_t)(x % (uint64_t)(ms / 2 + 1));
}
