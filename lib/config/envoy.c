#include "config/envoy.h"

#include <string.h>
#include <strings.h>

#include "config/address.h"

enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS, MINUTE_MS = 60 * 1000 };
enum { ENDPOINTS_MOST = 1000, ROUTES_MOST = 1000 };

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

static const char no_downstream[] =
    "the program is not asked for a password here; what connections say to servers is "
    "typed_extension_protocol_options of a cluster, or the settings username and password";

/* --- typed_config --- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), wanted = strlen(end);

    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

/* A message without a type of its own: Struct, or TypedStruct, which says what it is. */
struct untyped {
    const char *type;
    const struct yaml_node *value;
};

static const struct field untyped_fields[] = {
    {"@type", take_any, 0, NULL, 0, 0, true},
    {"type_url", take_text, offsetof(struct untyped, type), NULL, 0, 0, false},
    {"value", take_node, offsetof(struct untyped, value), NULL, 0, 0, true},
    {0},
};

static bool refuse_type(struct reader *r, const struct yaml_node *named, const char *example)
{
    return reader_refuse(r, named, "the type \"%.200s\" is not known here; expected is %s",
                         named->text, example);
}

static bool take_untyped(struct reader *r, const struct yaml_node *node, const struct field *table,
                         const char *type, const char *example, void *into)
{
    struct untyped read = {NULL, NULL};

    if (!reader_map(r, node, untyped_fields, &read))
        return false;
    if (read.type != NULL && !ends_with(read.type, type))
        return reader_refuse_field(r, node, "type_url",
                                   "the type \"%.200s\" is not known here; expected is %s",
                                   read.type, example);
    return reader_deeper(r, "value", read.value, table, into);
}

bool envoy_take_typed(struct reader *r, const struct yaml_node *node, const struct field *table,
                      const char *type, const char *example, void *into)
{
    const struct yaml_node *named = reader_find(node, "@type");

    if (node->kind == YAML_MAP && named == NULL)
        return reader_refuse(r, node, "the field \"@type\" is missing, such as %s", example);
    if (named != NULL && named->kind != YAML_SCALAR)
        return reader_refuse(r, named, "\"@type\" is a text, such as %s", example);
    if (named != NULL && ends_with(named->text, "Struct"))
        return take_untyped(r, node, table, type, example, into);
    if (named != NULL && !ends_with(named->text, type))
        return refuse_type(r, named, example);
    return reader_map(r, node, table, into);
}

/* --- the proxy --- */

#define IN_LISTENER(member) offsetof(struct config_listener, member)

static const struct field rate_limit_fields[] = {
    {"connection_rate_limit_per_sec", take_number, IN_LISTENER(reconnect.rate), NULL, 1,
     CONFIG_RECONNECTS_MOST, true},
    {0},
};

static const struct field settings_fields_of_proxy[] = {
    {"op_timeout", take_duration, IN_LISTENER(op_timeout_ms), NULL, 1, DAY_MS, true},
    {"enable_redirection", take_switch, IN_LISTENER(redirection), NULL, 0, 0, false},
    {"enable_command_stats", take_switch, IN_LISTENER(command_stats), NULL, 0, 0, false},
    {"read_policy", take_choice, IN_LISTENER(read_policy), policies, 0, 0, false},
    READER_IGNORED("enable_hashtagging", reader_switch),
    READER_IGNORED("max_buffer_size_before_flush", reader_size),
    READER_IGNORED("buffer_flush_timeout", reader_duration),
    READER_IGNORED("max_upstream_unknown_connections", reader_size),
    {"dns_cache_config", take_any_map, 0, NULL, 0, 0, false},
    {"connection_rate_limit", take_map, 0, rate_limit_fields, 0, 0, false},
    {0},
};

/* runtime_fraction: {default_value: {numerator, denominator}, runtime_key} */

struct fraction {
    int64_t numerator;
    int denominator;
};

static const char *const denominators[] = {"HUNDRED", "TEN_THOUSAND", "MILLION", NULL};

static const struct field fraction_fields[] = {
    {"numerator", take_number, offsetof(struct fraction, numerator), NULL, 0, 1000000, false},
    {"denominator", take_choice, offsetof(struct fraction, denominator), denominators, 0, 0, false},
    {0},
};

static bool take_fraction(struct reader *r, const struct yaml_node *node, const struct field *f,
                          void *into)
{
    static const int64_t whole[] = {100, 10000, 1000000};
    struct fraction fraction = {0};

    (void)f;
    if (!reader_map(r, node, fraction_fields, &fraction))
        return false;
    if (fraction.numerator > whole[fraction.denominator])
        return reader_refuse(r, node, "the numerator %lld is more than the denominator, %lld",
                             (long long)fraction.numerator, (long long)whole[fraction.denominator]);
    *(uint32_t *)into = (uint32_t)(fraction.numerator * 1000000 / whole[fraction.denominator]);
    return true;
}

static const struct field runtime_fields[] = {
    {"default_value", take_fraction, 0, NULL, 0, 0, true},
    READER_IGNORED("runtime_key", reader_text),
    {0},
};

#define IN_MIRROR(member) offsetof(struct config_mirror, member)

static const struct field mirror_fields[] = {
    {"cluster", take_text, IN_MIRROR(cluster_name), NULL, 0, 0, true},
    {"exclude_read_commands", take_switch, IN_MIRROR(exclude_reads), NULL, 0, 0, false},
    {"runtime_fraction", take_map, IN_MIRROR(fraction), runtime_fields, 0, 0, false},
    {0},
};

static bool take_mirror(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    struct config_route *route = into;
    struct config_mirror *mirror = reader_make(r, sizeof *mirror), **end = &route->mirrors;
    int count = 0;

    (void)f;
    if (mirror == NULL)
        return false;
    mirror->fraction = 1000000;
    mirror->place = reader_place_field(r, node, "cluster");
    if (mirror->place == NULL || !reader_map(r, node, mirror_fields, mirror))
        return false;
    for (; *end != NULL; end = &(*end)->next)
        if (++count == CONFIG_MIRRORS_MOST)
            return reader_refuse(r, node, "there are more than %d mirrors", CONFIG_MIRRORS_MOST);
    *end = mirror;
    return true;
}

static bool take_mirrors(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    (void)f;
    return reader_list(r, node, take_mirror, into);
}

/* --- routes --- */

#define IN_ROUTE(member) offsetof(struct config_route, member)

static bool take_cluster_of(struct reader *r, const struct yaml_node *node, const struct field *f,
                            void *into)
{
    struct config_named_cluster *named = into;

    named->place = reader_place(r, node);
    return named->place != NULL && take_text(r, node, f, &named->name);
}

static const struct field read_command_fields[] = {
    {"cluster", take_cluster_of, IN_ROUTE(reads), NULL, 0, 0, true},
    {0},
};

static bool take_formatter(struct reader *r, const struct yaml_node *node, const struct field *f,
                           void *into)
{
    (void)f;
    (void)into;
    if (yaml_is_null(node) ||
        (node->kind == YAML_SCALAR && (node->text[0] == '\0' || strcmp(node->text, "%KEY%") == 0)))
        return true;
    return reader_refuse(r, node,
                         "keys are not rewritten here, but for remove_prefix; possible is %%KEY%%");
}

static bool take_no_prefix(struct reader *r, const struct yaml_node *node, const struct field *f,
                           void *into)
{
    (void)f;
    (void)into;
    if (yaml_is_null(node) || (node->kind == YAML_SCALAR && node->text[0] == '\0'))
        return true;
    return reader_refuse(r, node,
                         "the catch_all_route has no prefix: it is for keys that no route has");
}

static const struct field route_fields[] = {
    {"cluster", take_cluster_of, IN_ROUTE(all), NULL, 0, 0, true},
    {"request_mirror_policy", take_mirrors, 0, NULL, 0, 0, false},
    {"read_command_policy", take_map, 0, read_command_fields, 0, 0, false},
    {"key_formatter", take_formatter, 0, NULL, 0, 0, false},
    {0},
};

/* Without a prefix there is nothing to remove. */
static const struct field catch_all_fields[] = {
    {"prefix", take_no_prefix, 0, NULL, 0, 0, false},
    READER_IGNORED("remove_prefix", reader_switch),
    {NULL, NULL, 0, route_fields, 0, 0, false},
};

static const struct field prefix_route_fields[] = {
    {"prefix", take_text, IN_ROUTE(prefix), NULL, 0, 0, false},
    {"remove_prefix", take_switch, IN_ROUTE(remove_prefix), NULL, 0, 0, false},
    {NULL, NULL, 0, route_fields, 0, 0, false},
};

static struct config_route *make_route(struct reader *r, const struct yaml_node *node,
                                       const struct field *table)
{
    struct config_route *route = reader_make(r, sizeof *route);

    if (route == NULL)
        return NULL;
    route->prefix = "";
    route->place = reader_place_field(r, node, "prefix");
    return route->place != NULL && reader_map(r, node, table, route) ? route : NULL;
}

static bool take_catch_all(struct reader *r, const struct yaml_node *node, const struct field *f,
                           void *into)
{
    struct config_listener *listener = into;

    (void)f;
    listener->catch_all = make_route(r, node, catch_all_fields);
    return listener->catch_all != NULL;
}

static bool take_route(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *into)
{
    struct config_listener *listener = into;
    struct config_route *route = make_route(r, node, prefix_route_fields);
    struct config_route **end = &listener->routes;
    int count = 0;

    (void)f;
    for (; *end != NULL; end = &(*end)->next)
        count++;
    if (route != NULL && count == ROUTES_MOST)
        return reader_refuse(r, node, "there are more than %d routes", ROUTES_MOST);
    *end = route;
    return route != NULL;
}

static bool take_routes(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    (void)f;
    return reader_list(r, node, take_route, into);
}

static const struct field prefix_fields[] = {
    {"catch_all_route", take_catch_all, 0, NULL, 0, 0, false},
    {"routes", take_routes, 0, NULL, 0, 0, false},
    {"case_insensitive", take_switch, IN_LISTENER(case_insensitive), NULL, 0, 0, false},
    {0},
};

static bool same_prefix(const struct config_route *a, const struct config_route *b,
                        bool case_insensitive)
{
    return (case_insensitive ? strcasecmp(a->prefix, b->prefix) : strcmp(a->prefix, b->prefix)) ==
           0;
}

static bool take_prefix_routes(struct reader *r, const struct yaml_node *node,
                               const struct field *f, void *into)
{
    struct config_listener *listener = into;

    (void)f;
    if (!reader_map(r, node, prefix_fields, listener))
        return false;
    if (listener->routes == NULL && listener->catch_all == NULL)
        return reader_refuse(
            r, node, "there is neither a catch_all_route nor a route: no key has a cluster");
    for (const struct config_route *b = listener->routes; b != NULL; b = b->next)
        for (const struct config_route *a = listener->routes; a != b; a = a->next)
            if (same_prefix(a, b, listener->case_insensitive))
                return reader_refuse_place(r, b->place,
                                           "the prefix \"%.100s\" has a route already, in %s:%d",
                                           b->prefix, a->place->file, a->place->line);
    return true;
}

static bool take_faults(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    if (!take_any_list(r, node, f, into))
        return false;
    return node->count == 0 || reader_refuse(r, node, "faults are not injected here; leave it out");
}

const struct field envoy_proxy_fields[] = {
    {"stat_prefix", take_text, IN_LISTENER(stat_prefix), NULL, 0, 0, false},
    {"settings", take_map, 0, settings_fields_of_proxy, 0, 0, true},
    {"prefix_routes", take_prefix_routes, 0, NULL, 0, 0, true},
    READER_IGNORED("latency_in_micros", reader_switch),
    {"downstream_auth_password", take_refused, 0, no_downstream, 0, 0, false},
    {"downstream_auth_passwords", take_refused, 0, no_downstream, 0, 0, false},
    {"downstream_auth_username", take_refused, 0, no_downstream, 0, 0, false},
    {"external_auth_provider", take_refused, 0, no_downstream, 0, 0, false},
    {"custom_commands", take_any_texts, 0, NULL, 0, 0, false},
    {"faults", take_faults, 0, NULL, 0, 0, false},
    {"@type", take_any, 0, NULL, 0, 0, false},
    {0},
};

struct filter {
    const char *name;
    const struct yaml_node *typed;
};

static const struct field filter_fields[] = {
    {"name", take_text, offsetof(struct filter, name), NULL, 0, 0, false},
    {"typed_config", take_node, offsetof(struct filter, typed), NULL, 0, 0, true},
    {0},
};

static bool take_proxy(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *into)
{
    (void)f;
    return envoy_take_typed(
        r, node, envoy_proxy_fields, ".RedisProxy",
        "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy", into);
}

/* The same once more, now that the name is known to be right. */
static const struct field filter_fields_again[] = {
    {"name", take_any, 0, NULL, 0, 0, false},
    {"typed_config", take_proxy, 0, NULL, 0, 0, true},
    {0},
};

bool envoy_take_filter(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *into)
{
    struct filter filter = {0};

    (void)f;
    if (!reader_map(r, node, filter_fields, &filter))
        return false;
    if (filter.name != NULL && strstr(filter.name, "redis_proxy") == NULL)
        return reader_refuse_field(r, node, "name",
                                   "the filter \"%.100s\" is not known here; expected is "
                                   "envoy.filters.network.redis_proxy",
                                   filter.name);
    return reader_map(r, node, filter_fields_again, into);
}

struct config_listener *envoy_make_listener(struct reader *r)
{
    struct config_listener *listener = reader_make(r, sizeof *listener);

    if (listener != NULL)
        *listener = (struct config_listener){.host = "",
                                             .stat_prefix = "",
                                             .redirection = true,
                                             .read_policy = -1,
                                             .reconnect.rate = -1};
    return listener;
}

bool envoy_add_listener(struct reader *r, const struct yaml_node *node,
                        struct config_listener *listener)
{
    struct config *config = r->target;
    struct config_listener **end = &config->listeners;

    listener->place = reader_place(r, node);
    if (listener->place == NULL)
        return false;
    for (; *end != NULL; end = &(*end)->next)
        if ((*end)->port == listener->port && strcmp((*end)->host, listener->host) == 0)
            return reader_refuse(r, node, "%s port %u has a listener already, in %s:%d",
                                 listener->host[0] != '\0' ? listener->host : "any address,",
                                 listener->port, (*end)->place->file, (*end)->place->line);
    *end = listener;
    return true;
}

/* --- clusters --- */

struct socket_address {
    const char *address;
    int64_t port;
    int protocol;
};

static const char *const protocols[] = {"TCP", NULL};

static const struct field socket_fields[] = {
    {"address", take_text, offsetof(struct socket_address, address), NULL, 0, 0, true},
    {"port_value", take_number, offsetof(struct socket_address, port), NULL, 1, 65535, true},
    {"protocol", take_choice, offsetof(struct socket_address, protocol), protocols, 0, 0, false},
    {"resolver_name", take_refused, 0, "names are looked up as the system does it; leave it out", 0,
     0, false},
    READER_IGNORED("ipv4_compat", reader_switch),
    {0},
};

static bool take_socket_address(struct reader *r, const struct yaml_node *node,
                                const struct field *f, void *into)
{
    struct config_address *address = into;
    struct socket_address read = {0};

    (void)f;
    if (!reader_map(r, node, socket_fields, &read))
        return false;
    if (read.address[0] == '\0')
        return reader_refuse_field(r, node, "address",
                                   "is empty; expected is a name or a number, such as "
                                   "redis.example.com or 10.0.0.1");
    *address = (struct config_address){read.address, (uint16_t)read.port};
    return true;
}

static const struct field address_fields[] = {
    {"socket_address", take_socket_address, 0, NULL, 0, 0, true},
    {0},
};

bool envoy_take_address(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    (void)f;
    return reader_map(r, node, address_fields, into);
}

static bool add_endpoint(struct reader *r, const struct yaml_node *node,
                         struct config_cluster *cluster, struct config_address address)
{
    if (cluster->endpoint_count == ENDPOINTS_MOST)
        return reader_refuse(r, node, "there are more than %d endpoints", ENDPOINTS_MOST);
    /* At each power of two the old ones are left to the arena. */
    if ((cluster->endpoint_count & (cluster->endpoint_count - 1)) == 0) {
        size_t count = cluster->endpoint_count > 0 ? 2 * (size_t)cluster->endpoint_count : 1;
        struct config_address *more = reader_make(r, count * sizeof *more);

        if (more == NULL)
            return false;
        if (cluster->endpoint_count > 0)
            memcpy(more, cluster->endpoints, (size_t)cluster->endpoint_count * sizeof *more);
        cluster->endpoints = more;
    }
    cluster->endpoints[cluster->endpoint_count++] = address;
    return true;
}

static bool take_endpoint_address(struct reader *r, const struct yaml_node *node,
                                  const struct field *f, void *into)
{
    struct config_address address;

    return envoy_take_address(r, node, f, &address) && add_endpoint(r, node, into, address);
}

static const struct field endpoint_fields[] = {
    {"address", take_endpoint_address, 0, NULL, 0, 0, true},
    READER_IGNORED("hostname", reader_text),
    {"health_check_config", take_any_map, 0, NULL, 0, 0, false},
    {0},
};

static const char *const health_statuses[] = {"UNKNOWN", "HEALTHY",  "UNHEALTHY", "DRAINING",
                                              "TIMEOUT", "DEGRADED", NULL};
static const struct field health_status = {.take = take_choice, .type = health_statuses};

static const struct field lb_endpoint_fields[] = {
    {"endpoint", take_map, 0, endpoint_fields, 0, 0, true},
    READER_IGNORED("health_status", health_status),
    READER_IGNORED("load_balancing_weight", reader_size),
    {"metadata", take_any_map, 0, NULL, 0, 0, false},
    {0},
};

static bool take_lb_endpoint(struct reader *r, const struct yaml_node *node, const struct field *f,
                             void *into)
{
    (void)f;
    return reader_map(r, node, lb_endpoint_fields, into);
}

static bool take_lb_endpoints(struct reader *r, const struct yaml_node *node, const struct field *f,
                              void *into)
{
    (void)f;
    return reader_list(r, node, take_lb_endpoint, into);
}

/* --- where endpoints are --- */

struct locality {
    const char *zone;
};

static bool take_zone(struct reader *r, const struct yaml_node *node, const struct field *f,
                      void *into)
{
    const char **zone = into;

    if (!take_text(r, node, f, zone))
        return false;
    return strlen(*zone) < CONFIG_ZONE_SIZE ||
           reader_refuse(r, node, "the name of a zone has %d bytes at most", CONFIG_ZONE_SIZE - 1);
}

/* Of all endpoints but the first so many. */
static bool add_zones(struct reader *r, struct config_cluster *cluster, int first, const char *zone)
{
    for (int i = first; zone != NULL && zone[0] != '\0' && i < cluster->endpoint_count; i++) {
        struct config_zone *made = reader_make(r, sizeof *made);

        if (made == NULL)
            return false;
        *made = (struct config_zone){cluster->zones, cluster->endpoints[i], zone};
        cluster->zones = made;
    }
    return true;
}

static const struct field zone_fields[] = {
    {"zone", take_zone, offsetof(struct locality, zone), NULL, 0, 0, false},
    READER_IGNORED("region", reader_text),
    READER_IGNORED("sub_zone", reader_text),
    {0},
};

static const struct field locality_fields[] = {
    {"lb_endpoints", take_any, 0, NULL, 0, 0, true},
    {"locality", take_map, 0, zone_fields, 0, 0, false},
    READER_IGNORED("load_balancing_weight", reader_size),
    READER_IGNORED("priority", reader_size),
    {0},
};

/* The same once more, for the endpoints, now that their zone is known. */
static const struct field locality_fields_again[] = {
    {"lb_endpoints", take_lb_endpoints, 0, NULL, 0, 0, true},
    {"locality", take_any, 0, NULL, 0, 0, false},
    {"load_balancing_weight", take_any, 0, NULL, 0, 0, false},
    {"priority", take_any, 0, NULL, 0, 0, false},
    {0},
};

static bool take_locality(struct reader *r, const struct yaml_node *node, const struct field *f,
                          void *into)
{
    struct config_cluster *cluster = into;
    struct locality read = {NULL};
    int first = cluster->endpoint_count;

    (void)f;
    return reader_map(r, node, locality_fields, &read) &&
           reader_map(r, node, locality_fields_again, cluster) &&
           add_zones(r, cluster, first, read.zone);
}

static bool take_localities(struct reader *r, const struct yaml_node *node, const struct field *f,
                            void *into)
{
    (void)f;
    return reader_list(r, node, take_locality, into);
}

static const struct field assignment_fields[] = {
    {"endpoints", take_localities, 0, NULL, 0, 0, true},
    READER_IGNORED("cluster_name", reader_text),
    {"policy", take_any_map, 0, NULL, 0, 0, false},
    {0},
};

/* Ours: endpoints: [HOST:PORT, {address: HOST:PORT, zone: ZONE}, …] */
static bool take_short_address(struct reader *r, const struct yaml_node *node,
                               const struct field *f, void *into)
{
    struct address_text text;
    struct config_address address;

    (void)f;
    if (node->kind != YAML_SCALAR || !address_parse(node->text, strlen(node->text), &text))
        return reader_refuse(r, node,
                             "an endpoint is HOST:PORT here, with brackets around an IPv6 "
                             "address");
    address =
        (struct config_address){arena_copy(r->arena, text.host, strlen(text.host)), text.port};
    return address.host != NULL && add_endpoint(r, node, into, address);
}

static const struct field short_zone_fields[] = {
    {"address", take_any, 0, NULL, 0, 0, true},
    {"zone", take_zone, offsetof(struct locality, zone), NULL, 0, 0, true},
    {0},
};

static const struct field short_address_fields[] = {
    {"address", take_short_address, 0, NULL, 0, 0, true},
    {"zone", take_any, 0, NULL, 0, 0, false},
    {0},
};

static bool take_short_endpoint(struct reader *r, const struct yaml_node *node,
                                const struct field *f, void *into)
{
    struct config_cluster *cluster = into;
    struct locality read = {NULL};
    int first = cluster->endpoint_count;

    if (node->kind != YAML_MAP)
        return take_short_address(r, node, f, into);
    return reader_map(r, node, short_zone_fields, &read) &&
           reader_map(r, node, short_address_fields, cluster) &&
           add_zones(r, cluster, first, read.zone);
}

static bool take_short_endpoints(struct reader *r, const struct yaml_node *node,
                                 const struct field *f, void *into)
{
    (void)f;
    return reader_list(r, node, take_short_endpoint, into);
}

#define IN_CLUSTER(member) offsetof(struct config_cluster, member)

static const struct field refresh_fields[] = {
    {"cluster_refresh_rate", take_duration, IN_CLUSTER(refresh.rate_ms), NULL, 100, DAY_MS, false},
    {"cluster_refresh_timeout", take_duration, IN_CLUSTER(refresh.timeout_ms), NULL, 10, MINUTE_MS,
     false},
    {"redirect_refresh_interval", take_duration, IN_CLUSTER(refresh.redirect_interval_ms), NULL, 1,
     DAY_MS, false},
    {"redirect_refresh_threshold", take_number, IN_CLUSTER(refresh.redirect_threshold), NULL, 0,
     UINT32_MAX, false},
    READER_IGNORED("failure_refresh_threshold", reader_size),
    READER_IGNORED("host_degraded_refresh_threshold", reader_size),
    {"@type", take_any, 0, NULL, 0, 0, false},
    {0},
};

static bool take_refresh(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    (void)f;
    return envoy_take_typed(
        r, node, refresh_fields, ".RedisClusterConfig",
        "type.googleapis.com/envoy.extensions.clusters.redis.v3.RedisClusterConfig", into);
}

static bool take_type_name(struct reader *r, const struct yaml_node *node, const struct field *f,
                           void *into)
{
    (void)f;
    (void)into;
    if (node->kind == YAML_SCALAR && strcmp(node->text, "envoy.clusters.redis") == 0)
        return true;
    return reader_refuse(r, node, "the one type that is known here is envoy.clusters.redis");
}

static const struct field type_fields[] = {
    {"name", take_type_name, 0, NULL, 0, 0, true},
    {"typed_config", take_refresh, 0, NULL, 0, 0, false},
    {0},
};

static bool take_type(struct reader *r, const struct yaml_node *node, const struct field *f,
                      void *into)
{
    static const char *const types[] = {"STATIC", "STRICT_DNS", "LOGICAL_DNS", NULL};
    const struct field of = {.type = types};
    int ignored;

    (void)f;
    (void)into;
    return take_choice(r, node, &of, &ignored);
}

static const char *const lb_policies[] = {"ROUND_ROBIN",
                                          "LEAST_REQUEST",
                                          "RING_HASH",
                                          "RANDOM",
                                          "MAGLEV",
                                          "CLUSTER_PROVIDED",
                                          "LOAD_BALANCING_POLICY_CONFIG",
                                          NULL};
static const struct field lb_policy = {.take = take_choice, .type = lb_policies};

static const char *const dns_lookup_families[] = {"AUTO",         "V4_ONLY", "V6_ONLY",
                                                  "V4_PREFERRED", "ALL",     NULL};
static const struct field dns_lookup_family = {.take = take_choice, .type = dns_lookup_families};

static const struct field cluster_fields[] = {
    {"name", take_text, IN_CLUSTER(name), NULL, 0, 0, true},
    {"connect_timeout", take_duration, IN_CLUSTER(connect_timeout_ms), NULL, 1, HOUR_MS, false},
    {"load_assignment", take_map, 0, assignment_fields, 0, 0, false},
    {"endpoints", take_short_endpoints, 0, NULL, 0, 0, false},
    {"cluster_type", take_map, 0, type_fields, 0, 0, false},
    {"type", take_type, 0, NULL, 0, 0, false},
    READER_IGNORED("lb_policy", lb_policy),
    READER_IGNORED("alt_stat_name", reader_text),
    {"circuit_breakers", take_any_map, 0, NULL, 0, 0, false},
    READER_IGNORED("dns_lookup_family", dns_lookup_family),
    READER_IGNORED("dns_refresh_rate", reader_duration),
    {"dns_failure_refresh_rate", take_any_map, 0, NULL, 0, 0, false},
    READER_IGNORED("dns_jitter", reader_duration),
    {"dns_resolution_config", take_any_map, 0, NULL, 0, 0, false},
    {"typed_dns_resolver_config", take_any_map, 0, NULL, 0, 0, false},
    READER_IGNORED("use_tcp_for_dns_lookups", reader_switch),
    {"common_lb_config", take_any_map, 0, NULL, 0, 0, false},
    {"load_balancing_policy", take_any_map, 0, NULL, 0, 0, false},
    {"preconnect_policy", take_any_map, 0, NULL, 0, 0, false},
    {"track_cluster_stats", take_any_map, 0, NULL, 0, 0, false},
    READER_IGNORED("wait_for_warm_on_init", reader_switch),
    READER_IGNORED("ignore_health_on_host_removal", reader_switch),
    READER_IGNORED("close_connections_on_host_health_failure", reader_switch),
    {"health_checks", take_any_list, 0, NULL, 0, 0, false},
    {"metadata", take_any_map, 0, NULL, 0, 0, false},
    {"outlier_detection", take_any_map, 0, NULL, 0, 0, false},
    READER_IGNORED("per_connection_buffer_limit_bytes", reader_size),
    READER_IGNORED("respect_dns_ttl", reader_switch),
    {"upstream_connection_options", take_any_map, 0, NULL, 0, 0, false},
    {"transport_socket", take_transport_socket, IN_CLUSTER(tls), NULL, 0, 0, false},
    TLS_FIELDS(struct config_cluster, tls),
    {"transport_socket_matches", take_refused, 0, "is not supported; a transport_socket is", 0, 0,
     false},
    {"typed_extension_protocol_options", login_take_options, IN_CLUSTER(logins), NULL, 0, 0, false},
    {"username", take_text, IN_CLUSTER(login.username), NULL, 0, 0, false},
    {"password", login_take_password, IN_CLUSTER(login.password), NULL, 0, 0, false},
    {"password_file", login_take_password_file, IN_CLUSTER(login.password), NULL, 0, 0, false},
    {"eds_cluster_config", take_refused, 0,
     "there is no control plane here to ask; a load_assignment says where the servers are", 0, 0,
     false},
    {0},
};

/* The short form of a login, which is for all servers of the cluster. */
static bool add_login(struct reader *r, const struct yaml_node *node,
                      struct config_cluster *cluster)
{
    const struct login_text *text = &cluster->login;

    if (text->username == NULL && text->password == NULL)
        return true;
    if (cluster->logins != NULL)
        return reader_refuse(r, node,
                             "a cluster has either a username and a password or "
                             "typed_extension_protocol_options");
    if (text->password == NULL)
        return reader_refuse_field(r, node, "username",
                                   "a password or a password_file is missing: a user name alone "
                                   "logs nobody in");
    return !login_is_said(text) || login_add(r, &cluster->logins, text, "", 0);
}

bool envoy_add_cluster(struct reader *r, const struct yaml_node *node)
{
    struct config *config = r->target;
    struct config_cluster *cluster = reader_make(r, sizeof *cluster), **end = &config->clusters;

    if (cluster == NULL)
        return false;
    cluster->refresh.redirect_threshold = -1;
    tls_default(&cluster->tls);
    cluster->place = reader_place(r, node);
    if (cluster->place == NULL || !reader_map(r, node, cluster_fields, cluster))
        return false;
    if (cluster->name[0] == '\0')
        return reader_refuse_field(r, node, "name", "a cluster needs a name");
    if (!add_login(r, node, cluster))
        return false;
    if (cluster->endpoint_count == 0)
        return reader_refuse(r, node,
                             "the cluster \"%.100s\" has no endpoints: a load_assignment "
                             "with endpoints is needed",
                             cluster->name);
    for (; *end != NULL; end = &(*end)->next)
        if (strcmp((*end)->name, cluster->name) == 0)
            return reader_refuse_field(r, node, "name",
                                       "there is a cluster \"%.100s\" already, in %s:%d",
                                       cluster->name, (*end)->place->file, (*end)->place->line);
    *end = cluster;
    return tls_finish(r, node, &cluster->tls);
}
