#include "statistic.h"

#include <string.h>

#include "die.h"
#include "redisroute/redisroute.h"

struct wanted {
    const char *name, *labels;
    unsigned long long sum;
};

static int add_matching(void *data, const char *name, const char *labels, unsigned long long value)
{
    struct wanted *wanted = data;

    if (!strcmp(name, wanted->name) && strstr(labels, wanted->labels))
        wanted->sum += value;
    return 0;
}

unsigned long long statistic(const char *name, const char *labels)
{
    struct wanted wanted = {.name = name, .labels = labels};

    MUST(redisRouteEachStat(add_matching, &wanted) == 0);
    return wanted.sum;
}
