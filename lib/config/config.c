#include "config/config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/log.h"
#include "base/path.h"
#include "config/document.h"
#include "config/envoy.h"
#include "config/settings.h"
#include "redisroute/redisroute.h"

enum { FILE_MOST = 16 * 1024 * 1024 };

/* --- making --- */

static struct config *create(struct complaint *complaint)
{
    struct config *config = calloc(1, sizeof *config);

    if (config != NULL)
        config->arena = calloc(1, sizeof *config->arena);
    if (config == NULL || config->arena == NULL) {
        free(config);
        complain(complaint, "out of memory");
        return NULL;
    }
    settings_default(config);
    return config;
}

void config_destroy(struct config *config)
{
    if (config == NULL)
        return;
    tls_profile_unref(config->tls.profile);
    for (struct config_cluster *c = config->clusters; c != NULL; c = c->next)
        tls_profile_unref(c->tls.profile);
    arena_deinit(config->arena);
    free(config->arena);
    free(config);
}

static bool read_documents(struct reader *r, const char *bytes, size_t length,
                           struct document_given *given)
{
    const struct yaml_node *root = yaml_parse(r->arena, r->file, bytes, length, r->complaint);

    for (; root != NULL; root = root->next)
        if (!document_read(r, root, given))
            return false;
    return r->complaint->text[0] == '\0';
}

/* FNV-1a of its path and its content. Those of several files are added, in any order. */
static uint64_t sum_of(const char *path, const struct buffer *text)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (const char *at = path; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    for (size_t i = 0; i < buffer_length(text); i++)
        hash = (hash ^ (unsigned char)buffer_bytes(text)[i]) * UINT64_C(1099511628211);
    return hash;
}

int config_read_file(const char *path, size_t most, struct buffer *text, struct config *config)
{
    enum { PIECE = 16384 };
    char whole[PATH_MAX];
    FILE *file = fopen(path_of(path, whole), "re");
    int error = file != NULL ? 0 : errno;
    size_t n = 1;

    while (error == 0 && n > 0 && buffer_length(text) <= most) {
        char *room = buffer_reserve(text, PIECE);

        errno = EIO; /* what reading sets, if anything */
        n = room != NULL ? fread(room, 1, PIECE, file) : 0;
        text->tail += n;
        error = room == NULL ? ENOMEM : ferror(file) ? errno : 0;
    }
    if (file != NULL)
        fclose(file);
    if (error == 0 && buffer_length(text) > most)
        error = EFBIG;
    if (error == 0 && config != NULL)
        config->sum += sum_of(path, text);
    return error;
}

static bool read_file(struct reader *r, const char *path, struct document_given *given)
{
    struct buffer text;
    int error;
    bool ok;

    r->file = path;
    buffer_init(&text);
    error = config_read_file(path, FILE_MOST, &text, r->target);
    ok = error == 0 ? buffer_length(&text) == 0 ||
                          read_documents(r, buffer_bytes(&text), buffer_length(&text), given)
                    : complain(r->complaint, "%s: %s", path, strerror(error));
    buffer_deinit(&text);
    return ok;
}

static bool read_files(struct reader *r, const char *files, struct document_given *given)
{
    while (*files != '\0') {
        size_t length = strcspn(files, ":");
        const char *path = length > 0 ? arena_copy(r->arena, files, length) : NULL;

        if (length > 0 && (path == NULL || !read_file(r, path, given)))
            return path != NULL ? false : complain(r->complaint, "out of memory");
        files += length + (files[length] == ':');
    }
    return document_resolve(r);
}

static const char *name_address(struct reader *r, const struct config_address *address)
{
    size_t size = strlen(address->host) + 16;
    char *name = reader_make(r, size);

    if (name != NULL)
        snprintf(name, size, "%s:%u", address->host, address->port);
    return name;
}

/* REDISROUTE_MIRROR and the setting of that name, as the mirrors of a listener. */
static struct config_mirror *mirrors_of_settings(struct reader *r, const struct config *config)
{
    struct config_mirror *first = NULL, **end = &first;

    for (int i = 0; i < config->mirror_count; i++) {
        struct config_mirror *mirror = reader_make(r, sizeof *mirror);
        struct config_cluster *cluster = reader_make(r, sizeof *cluster);

        if (mirror == NULL || cluster == NULL)
            return NULL;
        *cluster = (struct config_cluster){
            .name = name_address(r, &config->mirrors[i]),
            .endpoints = (struct config_address *)&config->mirrors[i],
            .endpoint_count = 1,
        };
        if (cluster->name == NULL)
            return NULL;
        *mirror = (struct config_mirror){.cluster = cluster,
                                         .exclude_reads = config->mirror_exclude_reads,
                                         .fraction = config->mirror_fraction};
        if (login_is_said(&config->mirror_login) &&
            !login_add(r, &cluster->logins, &config->mirror_login, "", 0))
            return NULL;
        *end = mirror;
        end = &mirror->next;
    }
    return first;
}

/* Waiting is a part of an operation. */
static int64_t shorter_timeout(const struct config *config)
{
    int64_t op_ms = config->op_timeout_ms, failover_ms = config->failover_timeout_ms;

    return op_ms > 0 && op_ms < failover_ms ? op_ms : failover_ms;
}

static void set_timeouts(const struct config *config, struct config_listener *l)
{
    if (settings_in_environment("op_timeout"))
        l->op_timeout_ms = config->op_timeout_ms;
    l->failover_timeout_ms = config->failover_timeout_ms;
    if (l->op_timeout_ms > 0 && !settings_in_environment("failover_timeout"))
        l->failover_timeout_ms = l->op_timeout_ms;
    l->connect_timeout_ms = config->connect_timeout_ms;
    if (l->cluster->connect_timeout_ms > 0 && !settings_in_environment("connect_timeout"))
        l->connect_timeout_ms = l->cluster->connect_timeout_ms;
}

/* Envoy's bucket holds what falls into it in a second. */
static void set_reconnect(const struct config *config, struct config_listener *l)
{
    if (l->reconnect.rate < 0 || settings_in_environment("reconnect_rate"))
        l->reconnect = config->reconnect;
    else
        l->reconnect.burst = l->reconnect.rate;
}

/* A name without a password is a mistake; in the environment it is as if it were not set. */
static bool check_login(struct reader *r, const struct document_given *given,
                        const struct login_text *text, const char *of)
{
    if (text->username == NULL || text->password != NULL)
        return true;
    if (settings_in_environment(of)) {
        log_write(LOG_WARNING, "a user name alone logs nobody in: a %spassword is missing",
                  strncmp(of, "mirror_", 7) == 0 ? "mirror_" : "");
        return true;
    }
    return reader_refuse_place(r, document_place(given, of),
                               "a password is missing: a user name alone logs nobody in");
}

static bool check_logins(struct reader *r, const struct document_given *given,
                         const struct config *config)
{
    return check_login(r, given, &config->login, "username") &&
           check_login(r, given, &config->mirror_login, "mirror_username");
}

static bool login_in_environment(void)
{
    return settings_in_environment("username") || settings_in_environment("password") ||
           settings_in_environment("password_file");
}

static void set_mirrors(struct config *config, struct config_route *route, bool environment,
                        struct config_mirror *of_process)
{
    if (route->mirrors == NULL || environment)
        route->mirrors = of_process;
    config->any_mirror |= route->mirrors != NULL;
}

/* The connection itself is to the catch-all's cluster, or else to that of the first route. */
static void set_routes(struct config *config, struct config_listener *l, bool environment,
                       struct config_mirror *of_process)
{
    const struct config_route *own = l->catch_all != NULL ? l->catch_all : l->routes;

    if (l->catch_all != NULL)
        set_mirrors(config, l->catch_all, environment, of_process);
    for (struct config_route *route = l->routes; route != NULL; route = route->next)
        set_mirrors(config, route, environment, of_process);
    l->cluster = own->all.cluster;
    l->mirrors = own->mirrors;
}

const struct config_login *config_logins(const struct config *config,
                                         const struct config_cluster *cluster)
{
    const struct config_login *of_process = config->elsewhere.logins;

    return cluster->logins == NULL || (of_process != NULL && config->logins_are_environments)
               ? of_process
               : cluster->logins;
}

struct tls_profile *config_tls_of(const struct config *config, const struct config_cluster *cluster)
{
    return cluster != NULL && cluster->tls.said ? cluster->tls.profile : config->tls.profile;
}

/* A variable of the environment that is wrong refuses no file; but whoever asked for TLS there gets
 * no connections without it. */
static bool complete_tls(struct reader *r, struct config *config)
{
    struct complaint complaint = {""};
    struct reader of_environment = {.arena = r->arena, .complaint = &complaint, .target = config};

    if (!r->with_environment || !settings_tls_in_environment())
        return tls_finish(r, NULL, &config->tls);
    if (tls_finish(&of_environment, NULL, &config->tls))
        return true;
    log_write(LOG_ERROR, "REDISROUTE_TLS: %s%s", complaint.text,
              config->tls.on ? "; no connection will be opened" : "; it is as if it were not set");
    if (config->tls.on)
        config->tls.profile = tls_profile_create_broken(complaint.text);
    return !config->tls.on || config->tls.profile != NULL ||
           complain(r->complaint, "out of memory");
}

/* What listeners leave open is the process', and so is what the environment says. */
static bool complete(struct reader *r, struct config *config, const struct document_given *given)
{
    bool policy = settings_in_environment("read_policy"),
         mirror = settings_in_environment("mirror");
    struct config_mirror *mirrors = mirrors_of_settings(r, config);
    struct config_login *logins = NULL;

    if ((config->mirror_count > 0 && mirrors == NULL) || !check_logins(r, given, config) ||
        (login_is_said(&config->login) && !login_add(r, &logins, &config->login, "", 0)) ||
        !complete_tls(r, config))
        return false;
    config->elsewhere = (struct config_listener){.host = "",
                                                 .stat_prefix = "",
                                                 .redirection = true,
                                                 .read_policy = config->read_policy,
                                                 .mirrors = mirrors,
                                                 .logins = logins,
                                                 .op_timeout_ms = config->op_timeout_ms,
                                                 .failover_timeout_ms = shorter_timeout(config),
                                                 .connect_timeout_ms = config->connect_timeout_ms,
                                                 .reconnect = config->reconnect,
                                                 .tls = config->tls.profile};
    config->logins_are_environments = login_in_environment();
    config->any_mirror = mirrors != NULL;
    config->any_command_stats = config->command_stats;
    for (struct config_listener *l = config->listeners; l != NULL; l = l->next) {
        if (l->read_policy < 0 || policy)
            l->read_policy = config->read_policy;
        set_routes(config, l, mirror, mirrors);
        l->logins = config_logins(config, l->cluster);
        set_timeouts(config, l);
        set_reconnect(config, l);
        l->tls = config_tls_of(config, l->cluster);
        config->any_command_stats |= l->command_stats;
    }
    return true;
}

enum environment { ENVIRONMENT_NOT, ENVIRONMENT_FIRST, ENVIRONMENT_AGAIN };

static struct config *make(const char *files, enum environment environment,
                           struct complaint *complaint)
{
    struct config *config = create(complaint);
    struct reader r = {
        .complaint = complaint, .target = config, .with_environment = environment};
    struct document_given given = {{NULL}};

    if (config == NULL)
        return NULL;
    r.arena = config->arena;
    if (!read_files(&r, files, &given)) {
        config_destroy(config);
        return NULL;
    }
    if ((environment == ENVIRONMENT_NOT ||
         settings_read_environment(config, environment == ENVIRONMENT_AGAIN, complaint)) &&
        complete(&r, config, &given))
        return config;
    config_destroy(config);
    return NULL;
}

struct config *config_load(const char *files, struct complaint *complaint)
{
    return make(files, ENVIRONMENT_NOT, complaint);
}

struct config *config_parse(const char *file, const char *bytes, size_t length,
                            struct complaint *complaint)
{
    struct config *config = create(complaint);
    struct document_given given = {{NULL}};
    struct reader r = {.complaint = complaint, .target = config, .file = file};

    if (config == NULL)
        return NULL;
    r.arena = config->arena;
    if (read_documents(&r, bytes, length, &given) && document_resolve(&r) &&
        complete(&r, config, &given))
        return config;
    config_destroy(config);
    return NULL;
}

/* --- in force --- */

static const struct config *_Atomic current;
static uint64_t sum_in_force; /* of the files, when they were read last */

static const char *files_in_force; /* a copy: the program may change its environment */

static const char *files_in_environment(void)
{
    const char *files = secure_getenv("REDISROUTE_CONFIG");

    return files != NULL && *files != '\0' ? files : NULL;
}

const char *config_files(void)
{
    return config_get() != NULL ? files_in_force : NULL;
}

static bool is_off(void)
{
    const char *off = secure_getenv("REDISROUTE_OFF");

    return off != NULL && strcmp(off, "") != 0 && strcmp(off, "0") != 0;
}

static uint64_t sum_now(const char *path)
{
    struct config sum = {.sum = 0};
    struct buffer text;

    buffer_init(&text);
    (void)config_read_file(path, FILE_MOST, &text, &sum);
    buffer_deinit(&text);
    return sum.sum;
}

/* As config.sum, of what the files contain now. */
static uint64_t sum_of_files(const char *files, const struct config_file *watched)
{
    uint64_t sum = 0;

    while (files != NULL && *files != '\0') {
        size_t length = strcspn(files, ":");
        char *path = strndup(files, length);

        sum += path != NULL && length > 0 ? sum_now(path) : 0;
        free(path);
        files += length + (files[length] == ':');
    }
    for (; watched != NULL; watched = watched->next)
        sum += sum_now(watched->path);
    return sum;
}

void config_say_active(const struct config *config)
{
    log_write(LOG_INFO,
              "active, version " REDISROUTE_VERSION ", configuration %s, version %llu"
              ", failover_timeout %lld ms, connect_timeout %lld ms, link_idle_timeout %lld ms, "
              "read_policy %s",
              files_in_force != NULL ? files_in_force : "by the environment",
              (unsigned long long)config->version, (long long)config->failover_timeout_ms,
              (long long)config->connect_timeout_ms, (long long)config->link_idle_timeout_ms,
              read_policy_name((enum read_policy)config->read_policy));
}

/* What an audit looks at stays as it is: nothing is said of connections, to whatever address. */
static void begin_audit(struct config *config)
{
    if (!config_audits(config))
        return;
    config->listeners = NULL;
    config->elsewhere.mirrors = NULL;
    config->elsewhere.logins = NULL;
    config->elsewhere.tls = NULL;
    config->any_mirror = false;
}

static void read_first(void)
{
    static struct config last_resort;
    struct complaint complaint = {""};
    const char *files = is_off() ? NULL : files_in_environment();
    struct config *config;

    path_begin();
    log_open(secure_getenv("REDISROUTE_LOG"));
    settings_remember_environment();
    if (files != NULL)
        files = files_in_force = strdup(files);
    sum_in_force = sum_of_files(files, NULL);
    config = make(files != NULL ? files : "", ENVIRONMENT_FIRST, &complaint);
    if (config == NULL) {
        log_write(LOG_ERROR, "%s; it is as if there were no configuration file", complaint.text);
        complaint.text[0] = '\0';
        config = make("", ENVIRONMENT_FIRST, &complaint);
        if (config != NULL)
            config->is_makeshift = true;
    } else {
        sum_in_force = config->sum;
    }
    if (config == NULL) {
        config = &last_resort; /* out of memory at the very beginning */
        config->off = true;
    }
    config->off |= is_off();
    config->version = 1;
    begin_audit(config);
    atomic_store(&current, config);
    if (!config->off)
        config_say_active(config);
}

const struct config *config_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct config *config = atomic_load_explicit(&current, memory_order_acquire);

    if (config != NULL)
        return config;
    pthread_once(&once, read_first);
    return atomic_load(&current);
}

int config_reload(struct complaint *complaint)
{
    const struct config *before = config_get();
    const char *files = files_in_force;
    uint64_t sum = sum_of_files(files, before->watched);
    struct config *config;

    if ((files == NULL && before->watched == NULL) || sum == sum_in_force)
        return 0;
    config = make(files != NULL ? files : "", ENVIRONMENT_AGAIN, complaint);
    sum_in_force = config != NULL ? config->sum : sum; /* a bad version is complained of once */
    if (config == NULL)
        return -1;
    config->off = before->off;
    config->audit = before->audit;
    begin_audit(config);
    config->version = before->version + 1;
    config->before = before;
    atomic_store_explicit(&current, config, memory_order_release);
    return 1;
}

const struct config_listener *config_listener(const struct config *config, const char *host,
                                              uint16_t port)
{
    const struct config_listener *any = NULL;

    for (const struct config_listener *l = config->listeners; l != NULL; l = l->next) {
        if (l->port != port)
            continue;
        if (strcmp(l->host, host) == 0)
            return l;
        if (l->host[0] == '\0')
            any = l;
    }
    return any != NULL ? any : &config->elsewhere;
}
