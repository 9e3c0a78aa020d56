/* A complaint: why a configuration is refused, in one line for a person. */
#ifndef REDISROUTE_CONFIG_COMPLAINT_H
#define REDISROUTE_CONFIG_COMPLAINT_H

#include <stdbool.h>
#include <stddef.h>

enum { COMPLAINT_MOST = 1024 };

/* All zero: none. */
struct complaint {
    char text[COMPLAINT_MOST];
};

/* The first one stays. Always false. */
bool complain(struct complaint *, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
