#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "redisroute/redisroute.h"

enum { STATS_INTERVAL_LEAST_MS = 100 };

static struct config config = {
    .failover_timeout_ms = 30000, /* Redis' own failover needs 15 s and more by default */
    .connect_timeout_ms = 5000,   /* Envoy's connect_timeout */
    .link_idle_timeout_ms = 300000,
    .zone = "",
    .mirror_fraction = 1000000,
    .mirror_flush_timeout_ms = 200,
    .mirror_queue_bytes = 16 << 20,
    .stats_file = "",
    .stats_interval_ms = 10000,
};

int64_t config_duration_ms(const char *text)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    char *end;
    double value;

    if (!isdigit((unsigned char)*text))
        return -1;
    errno = 0;
    value = strtod(text, &end);
    for (size_t i = 0; errno == 0 && i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].unit) == 0 && value * units[i].ms < 1e15)
            return (int64_t)(value * units[i].ms);
    return -1;
}

/* A set-uid program's environment is its caller's: it configures nothing. */
static void duration_from(const char *name, int64_t *value)
{
    const char *text = secure_getenv(name);
    int64_t ms;

    if (text == NULL)
        return;
    ms = config_duration_ms(text);
    if (ms >= 0)
        *value = ms;
    else
        log_write(LOG_WARNING, "%s=%s is not a duration such as 250ms or 5s; %lld ms stays", name,
                  text, (long long)*value);
}

static void read_policy_from(const char *name, enum read_policy *policy)
{
    const char *text = secure_getenv(name);
    int parsed = text != NULL ? read_policy_parse(text) : -1;

    if (parsed >= 0)
        *policy = (enum read_policy)parsed;
    else if (text != NULL)
        log_write(LOG_WARNING,
                  "%s=%s is none of MASTER, PREFER_MASTER, REPLICA, PREFER_REPLICA, ANY, "
                  "AZ_AFFINITY, AZ_AFFINITY_REPLICAS_AND_PRIMARY; %s stays",
                  name, text, read_policy_name(*policy));
}

/* The environment may change under us: a copy, for the life of the process. */
static void text_from(const char *name, const char **value)
{
    const char *text = secure_getenv(name);
    char *copy = text != NULL ? strdup(text) : NULL;

    if (copy != NULL)
        *value = copy;
}

static bool is_true(const char *text)
{
    return text != NULL && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0 ||
                            strcmp(text, "yes") == 0 || strcmp(text, "on") == 0);
}

static bool is_false(const char *text)
{
    return text == NULL || strcmp(text, "") == 0 || strcmp(text, "0") == 0 ||
           strcmp(text, "false") == 0 || strcmp(text, "no") == 0 || strcmp(text, "off") == 0;
}

static void switch_from(const char *name, bool *value)
{
    const char *text = secure_getenv(name);

    if (is_true(text))
        *value = true;
    else if (!is_false(text))
        log_write(LOG_WARNING, "%s=%s is neither true nor false; false stays", name, text);
}

/* HOST:PORT, or [HOST]:PORT for IPv6. */
static bool address_of(const char *text, size_t length, struct config_address *address)
{
    const char *colon = memrchr(text, ':', length);
    size_t host_length = colon != NULL ? (size_t)(colon - text) : 0;
    char *end;
    long port;

    if (host_length > 2 && text[0] == '[' && text[host_length - 1] == ']') {
        text++;
        host_length -= 2;
    } else if (memchr(text, ':', host_length) != NULL) {
        return false;
    }
    if (host_length == 0 || host_length >= sizeof address->host || !isdigit((unsigned char)colon[1]))
        return false;
    port = strtol(colon + 1, &end, 10);
    if (port < 1 || port > 65535 || (*end != ',' && *end != '\0'))
        return false;
    memcpy(address->host, text, host_length);
    address->host[host_length] = '\0';
    address->port = (uint16_t)port;
    return true;
}

static void mirrors_from(const char *name)
{
    const char *text = secure_getenv(name);

    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");

        if (config.mirror_count == CONFIG_MIRRORS_MOST)
            log_write(LOG_WARNING, "%s: more than %d targets; %.*s is not mirrored to", name,
                      CONFIG_MIRRORS_MOST, (int)length, text);
        else if (address_of(text, length, &config.mirrors[config.mirror_count]))
            config.mirror_count++;
        else
            log_write(LOG_WARNING, "%s: %.*s is not HOST:PORT; it is not mirrored to", name,
                      (int)length, text);
        text += length + (text[length] == ',');
    }
}

static void fraction_from(const char *name)
{
    const char *text = secure_getenv(name);
    char *end;
    double percent;

    if (text == NULL)
        return;
    percent = strtod(text, &end);
    if (end != text && *end == '\0' && percent >= 0 && percent <= 100)
        config.mirror_fraction = (uint32_t)(percent * 10000 + 0.5);
    else
        log_write(LOG_WARNING, "%s=%s is not a percentage from 0 to 100; 100 stays", name, text);
}

static void bytes_from(const char *name, int64_t *value)
{
    const char *text = secure_getenv(name);
    char *end;
    long long bytes;

    if (text == NULL)
        return;
    bytes = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && bytes >= 1024 && bytes <= INT64_C(1) << 32)
        *value = bytes;
    else
        log_write(LOG_WARNING, "%s=%s is not a number of bytes from 1024 on; %lld stays", name, text,
                  (long long)*value);
}

static void read_environment(void)
{
    const char *off = secure_getenv("REDISROUTE_OFF");

    log_open(secure_getenv("REDISROUTE_LOG"));
    config.off = off != NULL && strcmp(off, "") != 0 && strcmp(off, "0") != 0;
    duration_from("REDISROUTE_FAILOVER_TIMEOUT", &config.failover_timeout_ms);
    duration_from("REDISROUTE_CONNECT_TIMEOUT", &config.connect_timeout_ms);
    duration_from("REDISROUTE_LINK_IDLE_TIMEOUT", &config.link_idle_timeout_ms);
    duration_from("REDISROUTE_READ_YOUR_WRITES", &config.read_your_writes_ms);
    read_policy_from("REDISROUTE_READ_POLICY", &config.read_policy);
    text_from("REDISROUTE_ZONE", &config.zone);
    mirrors_from("REDISROUTE_MIRROR");
    switch_from("REDISROUTE_MIRROR_EXCLUDE_READ_COMMANDS", &config.mirror_exclude_reads);
    fraction_from("REDISROUTE_MIRROR_FRACTION");
    duration_from("REDISROUTE_MIRROR_FLUSH_TIMEOUT", &config.mirror_flush_timeout_ms);
    bytes_from("REDISROUTE_MIRROR_QUEUE_BYTES", &config.mirror_queue_bytes);
    switch_from("REDISROUTE_COMMAND_STATS", &config.command_stats);
    text_from("REDISROUTE_STATS_FILE", &config.stats_file);
    duration_from("REDISROUTE_STATS_INTERVAL", &config.stats_interval_ms);
    if (config.stats_interval_ms < STATS_INTERVAL_LEAST_MS)
        config.stats_interval_ms = STATS_INTERVAL_LEAST_MS;
    if (!config.off)
        log_write(LOG_INFO,
                  "active, version " REDISROUTE_VERSION
                  ", failover_timeout %lld ms, connect_timeout %lld ms, link_idle_timeout %lld ms, "
                  "read_policy %s",
                  (long long)config.failover_timeout_ms, (long long)config.connect_timeout_ms,
                  (long long)config.link_idle_timeout_ms, read_policy_name(config.read_policy));
}

const struct config *config_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, read_environment);
    return &config;
}
