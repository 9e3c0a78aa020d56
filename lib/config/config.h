/* The configuration of the process, read once from the environment. */
#ifndef REDISROUTE_CONFIG_CONFIG_H
#define REDISROUTE_CONFIG_CONFIG_H

#include "config/read_policy.h"

#include <stdbool.h>
#include <stdint.h>

struct config {
    bool off; /* REDISROUTE_OFF=1: hiredis as it was */
    int64_t failover_timeout_ms;  /* REDISROUTE_FAILOVER_TIMEOUT */
    int64_t connect_timeout_ms;   /* REDISROUTE_CONNECT_TIMEOUT */
    int64_t link_idle_timeout_ms; /* REDISROUTE_LINK_IDLE_TIMEOUT; 0: links are kept */
    enum read_policy read_policy; /* REDISROUTE_READ_POLICY */
    int64_t read_your_writes_ms;  /* REDISROUTE_READ_YOUR_WRITES */
    const char *zone; /* REDISROUTE_ZONE: our availability zone; empty: unknown */
};

/* Thread-safe; the same structure at every call. A value that cannot be understood
 * is reported through the log, and its default stays. */
const struct config *config_get(void);

/* "250ms", "5s", "1m" (or a bare number of milliseconds) to milliseconds; -1: not a duration. */
int64_t config_duration_ms(const char *text);

#endif
