#include "config/document.h"

#include <stdio.h>
#include <string.h>

#include "config/address.h"
#include "config/envoy.h"
#include "config/settings.h"

/* --- listeners of our own, and of Envoy's static form --- */

static const char by_number[] = "an address is given by its number, which is what a program dials "
                                "when it has looked up the name";

static bool take_listener_address(struct reader *r, const struct yaml_node *node,
                                  const struct field *f, void *into)
{
    struct config_listener *listener = into;
    struct config_address address;
    struct address_text text;

    if (node->kind == YAML_MAP) {
        if (!envoy_take_address(r, node, f, &address))
            return false;
        if (strlen(address.host) >= sizeof text.host)
            return reader_refuse(r, node, "the address is too long");
        strcpy(text.host, address.host);
        text.port = address.port;
    } else if (node->kind != YAML_SCALAR || !address_parse(node->text, strlen(node->text), &text)) {
        return reader_refuse(r, node,
                             "an address is HOST:PORT, with brackets around an IPv6 "
                             "address, or a map with a socket_address");
    }
    if (!address_normalize(text.host))
        return reader_refuse(r, node, "\"%.100s\": %s", text.host, by_number);
    listener->host = arena_copy(r->arena, text.host, strlen(text.host));
    listener->port = text.port;
    return listener->host != NULL || complain(r->complaint, "%s: out of memory", r->file);
}

static bool take_filters(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    (void)f;
    if (node->kind == YAML_LIST && node->count != 1)
        return reader_refuse(r, node, "one filter is known here, the Redis proxy");
    return reader_list(r, node, envoy_take_filter, into);
}

static const struct field chain_fields[] = {
    {"filters", take_filters, 0, NULL, 0, 0, true},
    {"filter_chain_match", take_any_map, 0, NULL, 0, 0, false},
    READER_IGNORED("name", reader_text),
    {0},
};

static bool take_chain(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *into)
{
    (void)f;
    return reader_map(r, node, chain_fields, into);
}

static bool take_chains(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    (void)f;
    if (node->kind == YAML_LIST && node->count != 1)
        return reader_refuse(r, node, "a listener has one filter chain here");
    return reader_list(r, node, take_chain, into);
}

static const char *const directions[] = {"UNSPECIFIED", "INBOUND", "OUTBOUND", NULL};
static const struct field traffic_direction = {.take = take_choice, .type = directions};

static const struct field listener_fields[] = {
    {"address", take_listener_address, 0, NULL, 0, 0, true},
    {"redis_proxy", take_map, 0, envoy_proxy_fields, 0, 0, false},
    {"filter_chains", take_chains, 0, NULL, 0, 0, false},
    READER_IGNORED("name", reader_text),
    READER_IGNORED("stat_prefix", reader_text),
    READER_IGNORED("traffic_direction", traffic_direction),
    READER_IGNORED("per_connection_buffer_limit_bytes", reader_size),
    {0},
};

static bool take_listener(struct reader *r, const struct yaml_node *node, const struct field *f,
                          void *into)
{
    struct config_listener *listener = envoy_make_listener(r);
    bool proxy = reader_find(node, "redis_proxy") != NULL;

    (void)f;
    (void)into;
    if (listener == NULL || !reader_map(r, node, listener_fields, listener))
        return false;
    if (proxy == (reader_find(node, "filter_chains") != NULL))
        return reader_refuse(r, node, "a listener has either a redis_proxy or filter_chains");
    return envoy_add_listener(r, node, listener);
}

static bool take_listeners(struct reader *r, const struct yaml_node *node, const struct field *f,
                           void *into)
{
    (void)f;
    return reader_list(r, node, take_listener, into);
}

static bool take_cluster(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    (void)f;
    (void)into;
    return envoy_add_cluster(r, node);
}

static bool take_clusters(struct reader *r, const struct yaml_node *node, const struct field *f,
                          void *into)
{
    (void)f;
    return reader_list(r, node, take_cluster, into);
}

static const struct field static_fields[] = {
    {"listeners", take_listeners, 0, NULL, 0, 0, false},
    {"clusters", take_clusters, 0, NULL, 0, 0, false},
    {0},
};

static const struct field own_fields[] = {
    {"admin", take_any_map, 0, NULL, 0, 0, false},
    {"node", take_any_map, 0, NULL, 0, 0, false},
    {"static_resources", take_map, 0, static_fields, 0, 0, false},
    {"listeners", take_listeners, 0, NULL, 0, 0, false},
    {"clusters", take_clusters, 0, NULL, 0, 0, false},
    {.type = settings_fields},
};

/* --- EnvoyFilter --- */

enum operation { MERGE, ADD, REMOVE, INSERT_BEFORE, INSERT_AFTER, INSERT_FIRST, REPLACE };

static const char *const operations[] = {
    [MERGE] = "MERGE",
    [ADD] = "ADD",
    [REMOVE] = "REMOVE",
    [INSERT_BEFORE] = "INSERT_BEFORE",
    [INSERT_AFTER] = "INSERT_AFTER",
    [INSERT_FIRST] = "INSERT_FIRST",
    [REPLACE] = "REPLACE",
    NULL,
};

static bool take_operation(struct reader *r, const struct yaml_node *node, const struct field *f,
                           void *into)
{
    const struct field of = {.type = operations};
    int operation;

    (void)f;
    (void)into;
    if (!take_choice(r, node, &of, &operation))
        return false;
    if (operation == MERGE || operation == REMOVE)
        return reader_refuse(r, node,
                             "there is nothing here that %s could change; possible are ADD, "
                             "REPLACE and the INSERT operations",
                             operations[operation]);
    return true;
}

static const struct field filter_patch_fields[] = {
    {"operation", take_operation, 0, NULL, 0, 0, true},
    {"value", envoy_take_filter, 0, NULL, 0, 0, true},
    READER_IGNORED("filter_class", reader_text),
    {0},
};

static const struct field cluster_patch_fields[] = {
    {"operation", take_operation, 0, NULL, 0, 0, true},
    {"value", take_cluster, 0, NULL, 0, 0, true},
    {0},
};

static bool take_listener_name(struct reader *r, const struct yaml_node *node,
                               const struct field *f, void *into)
{
    struct config_listener *listener = into;
    struct address_text text;
    const char *name;

    if (!take_text(r, node, f, &name))
        return false;
    if (!address_parse_listener(name, &text))
        return reader_refuse(r, node, "\"%.100s\" is not ADDRESS_PORT, such as 10.0.0.1_6379",
                             name);
    listener->host = arena_copy(r->arena, text.host, strlen(text.host));
    listener->port = text.port;
    return listener->host != NULL || complain(r->complaint, "%s: out of memory", r->file);
}

static bool take_listener_port(struct reader *r, const struct yaml_node *node,
                               const struct field *f, void *into)
{
    struct config_listener *listener = into;
    int64_t port;

    if (!take_number(r, node, f, &port))
        return false;
    if (listener->port == 0)
        listener->port = (uint16_t)port;
    return true;
}

static const struct field listener_match_fields[] = {
    {"name", take_listener_name, 0, NULL, 0, 0, false},
    {"port_number", take_listener_port, 0, NULL, 1, 65535, false},
    {"filter_chain", take_any_map, 0, NULL, 0, 0, false},
    READER_IGNORED("listener_filter", reader_text),
    {0},
};

static const char *const contexts[] = {"ANY",     "SIDECAR_INBOUND", "SIDECAR_OUTBOUND",
                                       "GATEWAY", "WAYPOINT",        NULL};
static const struct field patch_context = {.take = take_choice, .type = contexts};

static const struct field filter_match_fields[] = {
    {"listener", take_map, 0, listener_match_fields, 0, 0, true},
    READER_IGNORED("context", patch_context),
    {"proxy", take_any_map, 0, NULL, 0, 0, false},
    {0},
};

static const struct field filter_fields[] = {
    {"apply_to", take_any, 0, NULL, 0, 0, true},
    {"match", take_map, 0, filter_match_fields, 0, 0, true},
    {"patch", take_map, 0, filter_patch_fields, 0, 0, true},
    {0},
};

static const struct field cluster_fields[] = {
    {"apply_to", take_any, 0, NULL, 0, 0, true},
    {"match", take_any_map, 0, NULL, 0, 0, false},
    {"patch", take_map, 0, cluster_patch_fields, 0, 0, true},
    {0},
};

static bool read_filter_patch(struct reader *r, const struct yaml_node *node)
{
    struct config_listener *listener = envoy_make_listener(r);

    if (listener == NULL || !reader_map(r, node, filter_fields, listener))
        return false;
    if (listener->port == 0)
        return reader_refuse(r, reader_find(node, "match"),
                             "match.listener needs a name, ADDRESS_PORT, or a portNumber");
    return envoy_add_listener(r, node, listener);
}

static bool take_patch(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *into)
{
    const struct yaml_node *to = reader_find(node, "apply_to");

    (void)f;
    if (to == NULL || to->kind != YAML_SCALAR)
        return reader_refuse(r, node,
                             "the field \"applyTo\" is missing: NETWORK_FILTER or CLUSTER");
    if (strcmp(to->text, "NETWORK_FILTER") == 0)
        return read_filter_patch(r, node);
    if (strcmp(to->text, "CLUSTER") == 0)
        return reader_map(r, node, cluster_fields, into);
    return reader_refuse_field(r, node, "apply_to",
                               "what is applied to \"%.60s\" has no meaning here; possible are "
                               "NETWORK_FILTER and CLUSTER",
                               to->text);
}

static bool take_patches(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    (void)f;
    return reader_list(r, node, take_patch, into);
}

static const struct field patch_priority = {
    .take = take_number, .least = INT32_MIN, .most = INT32_MAX};

static const struct field spec_fields[] = {
    {"config_patches", take_patches, 0, NULL, 0, 0, true},
    {"workload_selector", take_any_map, 0, NULL, 0, 0, false},
    {"target_refs", take_any_list, 0, NULL, 0, 0, false},
    READER_IGNORED("priority", patch_priority),
    {0},
};

static bool take_kind(struct reader *r, const struct yaml_node *node, const struct field *f,
                      void *into)
{
    (void)f;
    (void)into;
    if (node->kind == YAML_SCALAR && strcmp(node->text, "EnvoyFilter") == 0)
        return true;
    return reader_refuse(r, node,
                         "the one kind of document that is known here, besides those that "
                         "have none, is EnvoyFilter");
}

static bool take_version(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    static const char prefix[] = "networking.istio.io/";

    (void)f;
    (void)into;
    if (node->kind == YAML_SCALAR && strncmp(node->text, prefix, sizeof prefix - 1) == 0)
        return true;
    return reader_refuse(r, node,
                         "the one kind of document that is known here, besides those that "
                         "have none, is EnvoyFilter, which is of networking.istio.io/v1alpha3");
}

static const struct field istio_fields[] = {
    {"api_version", take_version, 0, NULL, 0, 0, true},
    {"kind", take_kind, 0, NULL, 0, 0, true},
    {"metadata", take_any_map, 0, NULL, 0, 0, false},
    {"spec", take_map, 0, spec_fields, 0, 0, true},
    {"status", take_any_map, 0, NULL, 0, 0, false},
    {0},
};

/* --- documents --- */

/* The same setting in two documents: which of them is meant? */
static bool note_settings(struct reader *r, const struct yaml_node *root,
                          struct document_given *given)
{
    for (size_t i = 0; settings_fields[i].name != NULL && i < DOCUMENT_SETTINGS_MOST; i++) {
        const struct yaml_node *node = reader_find(root, settings_fields[i].name);

        if (node == NULL)
            continue;
        if (given->settings[i] != NULL)
            return reader_refuse_field(r, root, settings_fields[i].name,
                                       "is said already, in %s:%d", given->settings[i]->file,
                                       given->settings[i]->line);
        given->settings[i] = reader_place_field(r, root, settings_fields[i].name);
        if (given->settings[i] == NULL)
            return false;
    }
    return true;
}

/* What a server of Kubernetes says when it is asked for several. */
static bool take_item(struct reader *r, const struct yaml_node *node, const struct field *f,
                      void *into)
{
    (void)f;
    return reader_map(r, node, istio_fields, into);
}

static bool take_items(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *into)
{
    (void)f;
    return reader_list(r, node, take_item, into);
}

static const struct field list_fields[] = {
    READER_IGNORED("api_version", reader_text),
    READER_IGNORED("kind", reader_text),
    {"metadata", take_any_map, 0, NULL, 0, 0, false},
    {"items", take_items, 0, NULL, 0, 0, true},
    {0},
};

static bool is_list(const struct yaml_node *root)
{
    const struct yaml_node *kind = reader_find(root, "kind");

    return kind != NULL && kind->kind == YAML_SCALAR && strcmp(kind->text, "List") == 0;
}

const struct reader_place *document_place(const struct document_given *given, const char *setting)
{
    for (size_t i = 0; settings_fields[i].name != NULL && i < DOCUMENT_SETTINGS_MOST; i++)
        if (strcmp(settings_fields[i].name, setting) == 0)
            return given->settings[i];
    return NULL;
}

bool document_read(struct reader *r, const struct yaml_node *root, struct document_given *given)
{
    r->path[0] = '\0';
    if (is_list(root))
        return reader_map(r, root, list_fields, r->target);
    if (reader_find(root, "kind") != NULL || reader_find(root, "api_version") != NULL)
        return reader_map(r, root, istio_fields, r->target);
    return note_settings(r, root, given) && reader_map(r, root, own_fields, r->target);
}

/* --- names of clusters --- */

static const struct config_cluster *find_cluster(const struct config *config, const char *name)
{
    const struct config_cluster *c = config->clusters;

    while (c != NULL && strcmp(c->name, name) != 0)
        c = c->next;
    return c;
}

/* "outbound|PORT|SUBSET|HOST" is at HOST:PORT, if no document says anything else. */
static const struct config_cluster *make_outbound(struct reader *r, const char *name)
{
    struct config *config = r->target;
    struct config_cluster *cluster;
    struct address_text text;

    if (!address_parse_outbound(name, &text))
        return NULL;
    cluster = reader_make(r, sizeof *cluster);
    if (cluster == NULL ||
        (cluster->endpoints = reader_make(r, sizeof *cluster->endpoints)) == NULL)
        return NULL;
    cluster->name = name;
    cluster->endpoints[0] =
        (struct config_address){arena_copy(r->arena, text.host, strlen(text.host)), text.port};
    cluster->endpoint_count = 1;
    cluster->refresh.redirect_threshold = -1;
    cluster->next = config->clusters;
    config->clusters = cluster;
    return cluster;
}

static const struct config_cluster *resolve(struct reader *r, const char *name,
                                            const struct reader_place *place)
{
    const struct config *config = r->target;
    const struct config_cluster *cluster = find_cluster(config, name);
    char known[512] = "";
    size_t length = 0;

    if (cluster == NULL)
        cluster = make_outbound(r, name);
    if (cluster != NULL || r->complaint->text[0] != '\0')
        return cluster;
    for (const struct config_cluster *c = config->clusters; c != NULL && length < sizeof known;
         c = c->next)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s\"%.100s\"",
                                   length > 0 ? ", " : "", c->name);
    reader_refuse_place(r, place, "there is no cluster \"%.100s\"; %s%s", name,
                        length > 0 ? "there are " : "no cluster is defined", known);
    return NULL;
}

static bool resolve_named(struct reader *r, struct config_named_cluster *named)
{
    if (named->name == NULL)
        return true;
    named->cluster = resolve(r, named->name, named->place);
    return named->cluster != NULL;
}

static bool resolve_route(struct reader *r, struct config_route *route)
{
    if (!resolve_named(r, &route->all) || !resolve_named(r, &route->reads))
        return false;
    for (struct config_mirror *m = route->mirrors; m != NULL; m = m->next) {
        m->cluster = resolve(r, m->cluster_name, m->place);
        if (m->cluster == NULL)
            return false;
    }
    return true;
}

bool document_resolve(struct reader *r)
{
    struct config *config = r->target;

    for (struct config_listener *l = config->listeners; l != NULL; l = l->next) {
        if (l->catch_all != NULL && !resolve_route(r, l->catch_all))
            return false;
        for (struct config_route *route = l->routes; route != NULL; route = route->next)
            if (!resolve_route(r, route))
                return false;
    }
    return true;
}
