/* A borrowed run of bytes: one argument of a command, one element of a reply. */
#ifndef REDISROUTE_BASE_BYTES_H
#define REDISROUTE_BASE_BYTES_H

#include <stddef.h>

struct bytes {
    const char *data;
    size_t length;
};

#endif
