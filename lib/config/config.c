#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "redisroute/redisroute.h"

static struct config config = {
    .failover_timeout_ms = 30000, /* Redis' own failover needs 15 s and more by default */
    .connect_timeout_ms = 5000,   /* Envoy's connect_timeout */
    .link_idle_timeout_ms = 300000,
    .zone = "",
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
