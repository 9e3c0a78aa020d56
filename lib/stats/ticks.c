#include "stats/ticks.h"

#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

bool ticks_counted;
uint64_t ticks_us;

uint64_t ticks_of_kernel(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Whether the counter runs at one pace, whatever the processor is doing. */
static bool is_steady(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1u << 8) != 0;
#elif defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

void ticks_begin(void)
{
    enum { MEASURED_NS = 1000000 };
    uint64_t from_ns = ticks_of_kernel(), from = ticks_of_processor(), ns;

    ticks_counted = is_steady();
    ticks_us = (UINT64_C(1) << 32) / 1000;
    if (!ticks_counted)
        return;
    do
        ns = ticks_of_kernel() - from_ns;
    while (ns < MEASURED_NS);
    ticks_us = (uint64_t)((double)ns / 1000 / (double)(ticks_of_processor() - from) * 4294967296.0);
}
