#include "config/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/address.h"
#include "config/document.h"
#include "config/guest.h"

enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS };

/* A TLS handshake takes a server 0.65 ms, so that it has most of its time left for commands; and
 * ten processes at once fit into the 511 connections that it lets wait (tcp-backlog). */
enum { RECONNECTS_A_SECOND = 500, RECONNECTS_AT_ONCE = 50 };

/* --- HOST:PORT,… or a list of them --- */

/* Who writes a URL there may write a password. */
static bool refuse_address(struct reader *r, const struct yaml_node *node, const char *text,
                           size_t length)
{
    if (memchr(text, '@', length) != NULL)
        return reader_refuse(r, node,
                             "a mirror is HOST:PORT; mirror_username and mirror_password "
                             "are settings of their own");
    return reader_refuse(r, node, "\"%.*s\" is not HOST:PORT", (int)(length < 100 ? length : 100),
                         text);
}

static bool add_mirror(struct reader *r, const struct yaml_node *node, struct config *config,
                       const char *text, size_t length)
{
    struct config_address *mirror = &config->mirrors[config->mirror_count];
    struct address_text address;

    if (config->mirror_count == CONFIG_MIRRORS_MOST)
        return reader_refuse(r, node, "there are more than %d", CONFIG_MIRRORS_MOST);
    if (!address_parse(text, length, &address) || memchr(text, '@', length) != NULL)
        return refuse_address(r, node, text, length);
    *mirror = (struct config_address){arena_copy(r->arena, address.host, strlen(address.host)),
                                      address.port};
    config->mirror_count++;
    return mirror->host != NULL || complain(r->complaint, "out of memory");
}

static bool take_mirror(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    (void)f;
    if (node->kind != YAML_SCALAR)
        return reader_refuse(r, node, "a mirror is HOST:PORT");
    return add_mirror(r, node, into, node->text, strlen(node->text));
}

/* All or none of them. */
static bool take_mirrors(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    struct config *config = into;
    struct config before = {.mirror_count = config->mirror_count};
    const char *at;
    bool ok = true;

    (void)f;
    memcpy(before.mirrors, config->mirrors, sizeof before.mirrors);
    config->mirror_count = 0;
    if (node->kind != YAML_SCALAR) {
        ok = reader_list(r, node, take_mirror, config);
    } else {
        for (at = node->text; ok && *at != '\0'; at += *at == ',') {
            size_t length = strcspn(at, ",");

            ok = add_mirror(r, node, config, at, length);
            at += length;
        }
    }
    if (!ok) {
        config->mirror_count = before.mirror_count;
        memcpy(config->mirrors, before.mirrors, sizeof before.mirrors);
    }
    return ok;
}

/* --- the table --- */

/* In the order of enum config_descriptor. */
static const char *const descriptors[] = {"auto", "epoll", "socket", NULL};

static const char *const policies[] = {
    "MASTER",
    "PREFER_MASTER",
    "REPLICA",
    "PREFER_REPLICA",
    "ANY",
    "AZ_AFFINITY",
    "AZ_AFFINITY_REPLICAS_AND_PRIMARY",
    NULL,
};

#define AT(member) offsetof(struct config, member)

const struct field settings_fields[] = {
    {"op_timeout", take_duration, AT(op_timeout_ms), NULL, 0, DAY_MS, false},
    {"failover_timeout", take_duration, AT(failover_timeout_ms), NULL, 0, DAY_MS, false},
    {"connect_timeout", take_duration, AT(connect_timeout_ms), NULL, 1, HOUR_MS, false},
    {"link_idle_timeout", take_duration, AT(link_idle_timeout_ms), NULL, 0, 365LL * DAY_MS, false},
    {"reconnect_rate", take_number, AT(reconnect.rate), NULL, 0, CONFIG_RECONNECTS_MOST, false},
    {"reconnect_burst", take_number, AT(reconnect.burst), NULL, 1, CONFIG_RECONNECTS_MOST, false},
    {"read_policy", take_choice, AT(read_policy), policies, 0, 0, false},
    {"read_your_writes", take_duration, AT(read_your_writes_ms), NULL, 0, DAY_MS, false},
    {"zone", take_text, AT(zone), NULL, 0, 0, false},
    {"background_thread", take_switch, AT(background_thread), NULL, 0, 0, false},
    {"descriptor", take_choice, AT(descriptor), descriptors, 0, 0, false},
    {"mirror", take_mirrors, 0, NULL, 0, 0, false},
    {"mirror_exclude_read_commands", take_switch, AT(mirror_exclude_reads), NULL, 0, 0, false},
    {"mirror_fraction", take_percent, AT(mirror_fraction), NULL, 0, 0, false},
    {"mirror_flush_timeout", take_duration, AT(mirror_flush_timeout_ms), NULL, 0, HOUR_MS, false},
    {"command_stats", take_switch, AT(command_stats), NULL, 0, 0, false},
    {"stats_file", take_text, AT(stats_file), NULL, 0, 0, false},
    {"stats_interval", take_duration, AT(stats_interval_ms), NULL, 100, DAY_MS, false},
    {"username", take_text, AT(login.username), NULL, 0, 0, false},
    {"password", login_take_password, AT(login.password), NULL, 0, 0, false},
    {"password_file", login_take_password_file, AT(login.password), NULL, 0, 0, false},
    {"mirror_username", take_text, AT(mirror_login.username), NULL, 0, 0, false},
    {"mirror_password", login_take_password, AT(mirror_login.password), NULL, 0, 0, false},
    {"mirror_password_file", login_take_password_file, AT(mirror_login.password), NULL, 0, 0,
     false},
    {"audit", take_text, AT(audit), NULL, 0, 0, false},
    {"audit_interval", take_duration, AT(audit_interval_ms), NULL, 100, DAY_MS, false},
    {"mirror_queue_bytes", take_number, AT(mirror_queue_bytes), NULL, 1024, INT64_C(1) << 32,
     false},
    TLS_FIELDS(struct config, tls),
    {0},
};

void settings_default(struct config *config)
{
    config->background_thread = !guest_has_one_thread(program_invocation_short_name);
    config->failover_timeout_ms = 30000; /* Redis' own failover needs 15 s and more by default */
    config->connect_timeout_ms = 5000;   /* Envoy's connect_timeout */
    config->link_idle_timeout_ms = 300000;
    config->reconnect =
        (struct config_reconnect){.rate = RECONNECTS_A_SECOND, .burst = RECONNECTS_AT_ONCE};
    config->zone = "";
    tls_default(&config->tls);
    config->mirror_fraction = 1000000;
    config->mirror_flush_timeout_ms = 200;
    config->mirror_queue_bytes = 16 << 20;
    config->stats_file = "";
    config->stats_interval_ms = 10000;
    config->audit = "";
    config->audit_interval_ms = 10000;
}

/* --- the environment --- */

static const char *variable_of(const char *name, char to[64])
{
    size_t length = (size_t)snprintf(to, 64, "REDISROUTE_%s", name);

    for (size_t i = 0; i < length && i < 63; i++)
        to[i] = (char)toupper((unsigned char)to[i]);
    return to;
}

/* The program may change its environment at any time, which no other thread may read then. */
static char *remembered[DOCUMENT_SETTINGS_MOST];
static char **environment; /* all of it, where there are files that may ask for a part */
extern char **environ;

static void remember_all(void)
{
    size_t count = 0;

    while (environ != NULL && environ[count] != NULL)
        count++;
    environment = calloc(count + 1, sizeof *environment);
    for (size_t i = 0; environment != NULL && i < count; i++)
        if ((environment[i] = strdup(environ[i])) == NULL)
            return;
}

const char *settings_variable(const char *name)
{
    size_t length = strlen(name);

    if (environment == NULL)
        return secure_getenv(name);
    for (char **at = environment; *at != NULL; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return *at + length + 1;
    return NULL;
}

void settings_remember_environment(void)
{
    for (size_t i = 0; settings_fields[i].name != NULL; i++) {
        char name[64];
        const char *text = secure_getenv(variable_of(settings_fields[i].name, name));

        remembered[i] = text != NULL ? strdup(text) : NULL;
    }
    if (secure_getenv("REDISROUTE_CONFIG") != NULL)
        remember_all();
}

/* False: what it names cannot be read. */
static bool read_variable(struct config *config, const struct field *f, const char *text,
                          struct complaint *complaint)
{
    struct reader r = {.arena = config->arena, .complaint = complaint, .target = config};
    struct yaml_node node = {.kind = YAML_SCALAR, .text = text};

    return text == NULL || f->take(&r, &node, f, (char *)config + f->offset);
}

bool settings_read_environment(struct config *config, bool again, struct complaint *complaint)
{
    for (size_t i = 0; settings_fields[i].name != NULL; i++) {
        const struct field *f = &settings_fields[i];
        struct complaint why = {""};
        char name[64];

        if (read_variable(config, f, remembered[i], &why))
            continue;
        if (again && f->take == login_take_password_file)
            return complain(complaint, "%s: %s", variable_of(f->name, name), why.text);
        log_write(LOG_WARNING, "%s: %s; it is as if it were not set", variable_of(f->name, name),
                  why.text);
    }
    return true;
}

bool settings_tls_in_environment(void)
{
    for (size_t i = 0; settings_fields[i].name != NULL; i++)
        if (settings_fields[i].take == take_tls && remembered[i] != NULL)
            return true;
    return false;
}

bool settings_in_environment(const char *name)
{
    for (size_t i = 0; settings_fields[i].name != NULL; i++)
        if (strcmp(settings_fields[i].name, name) == 0)
            return remembered[i] != NULL;
    return false;
}
