#include "base/clock.h"

#include "base/chance.h"

int64_t clock_jitter_ms(int64_t ms)
{
    return ms / 2 + (int64_t)(chance_draw() % (uint64_t)(ms / 2 + 1));
}
