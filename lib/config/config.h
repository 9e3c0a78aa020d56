/* The configuration of the process, read once from the environment. */
#ifndef REDISROUTE_CONFIG_CONFIG_H
#define REDISROUTE_CONFIG_CONFIG_H

#include "config/read_policy.h"

#include <stdbool.h>
#include <stdint.h>

enum { CONFIG_MIRRORS_MOST = 8, CONFIG_HOST_MOST = 256 };

struct config_address {
    char host[CONFIG_HOST_MOST];
    uint16_t port;
};

struct config {
    bool off; /* REDISROUTE_OFF=1: hiredis as it was */
    int64_t failover_timeout_ms;  /* REDISROUTE_FAILOVER_TIMEOUT */
    int64_t connect_timeout_ms;   /* REDISROUTE_CONNECT_TIMEOUT */
    int64_t link_idle_timeout_ms; /* REDISROUTE_LINK_IDLE_TIMEOUT; 0: links are kept */
    enum read_policy read_policy; /* REDISROUTE_READ_POLICY */
    int64_t read_your_writes_ms;  /* REDISROUTE_READ_YOUR_WRITES */
    const char *zone; /* REDISROUTE_ZONE: our availability zone; empty: unknown */
    struct config_address mirrors[CONFIG_MIRRORS_MOST]; /* REDISROUTE_MIRROR=HOST:PORT,… */
    int mirror_count;
    bool mirror_exclude_reads;       /* REDISROUTE_MIRROR_EXCLUDE_READ_COMMANDS */
    uint32_t mirror_fraction;        /* of a million; REDISROUTE_MIRROR_FRACTION, in percent */
    int64_t mirror_flush_timeout_ms; /* REDISROUTE_MIRROR_FLUSH_TIMEOUT */
    int64_t mirror_queue_bytes;      /* REDISROUTE_MIRROR_QUEUE_BYTES, for each target */
    bool command_stats;              /* REDISROUTE_COMMAND_STATS */
    const char *stats_file;          /* REDISROUTE_STATS_FILE; empty: none */
    int64_t stats_interval_ms;       /* REDISROUTE_STATS_INTERVAL */
};

/* Thread-safe; the same structure at every call. A value that cannot be understood
 * is reported through the log, and its default stays. */
const struct config *config_get(void);

/* "250ms", "5s", "1m" (or a bare number of milliseconds) to milliseconds; -1: not a duration. */
int64_t config_duration_ms(const char *text);

#endif
