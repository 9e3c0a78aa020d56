#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/duration.h"

#define FIXTURE(name) REDISROUTE_FIXTURES "/" name

static struct config *load(const char *files)
{
    struct complaint complaint = {""};
    struct config *config = config_load(files, &complaint);

    if (config == NULL)
        fail_msg("%s", complaint.text);
    return config;
}

static void istios_documents_load_as_they_stand(void **state)
{
    struct config *config = load(FIXTURE("proxy.yaml") ":" FIXTURE("cluster.yaml"));
    const struct config_listener *l = config_listener(config, "127.0.0.9", 6379);
    const struct config_cluster *c;

    (void)state;
    assert_true(l != &config->elsewhere);
    assert_ptr_equal(config_listener(config, "127.0.0.9", 6380), &config->elsewhere);
    assert_ptr_equal(config_listener(config, "127.0.0.1", 6379), &config->elsewhere);
    assert_int_equal(l->op_timeout_ms, 5000);
    assert_true(l->redirection && l->command_stats && config->any_command_stats);
    assert_int_equal(l->read_policy, READ_REPLICA);
    assert_string_equal(l->stat_prefix, "redis_stats");
    assert_non_null(l->mirrors);
    assert_null(l->mirrors->next);
    assert_true(l->mirrors->exclude_reads && config->any_mirror);
    assert_int_equal(l->mirrors->fraction, 250000);
    assert_int_equal(l->mirrors->cluster->endpoint_count, 1);
    assert_string_equal(l->mirrors->cluster->endpoints[0].host,
                        "redis-mirror.redis.svc.cluster.local");
    assert_int_equal(l->mirrors->cluster->endpoints[0].port, 6379);
    c = l->cluster;
    assert_string_equal(c->name, "custom-redis-cluster");
    assert_int_equal(c->connect_timeout_ms, 500);
    assert_int_equal(c->endpoint_count, 6);
    assert_string_equal(c->endpoints[5].host, "::1");
    assert_int_equal(c->endpoints[5].port, 6380);
    assert_int_equal(c->refresh.rate_ms, 5000);
    assert_int_equal(c->refresh.timeout_ms, 3000);
    assert_int_equal(c->refresh.redirect_interval_ms, 5000);
    assert_int_equal(c->refresh.redirect_threshold, 5);
    config_destroy(config);
}

static void the_order_of_files_does_not_matter(void **state)
{
    (void)state;
    config_destroy(load(FIXTURE("cluster.yaml") "::" FIXTURE("proxy.yaml") ":"));
}

static void our_own_form_says_the_same(void **state)
{
    struct config *config = load(FIXTURE("own.yaml"));
    const struct config_listener *l = config_listener(config, "127.0.0.9", 6379);

    (void)state;
    assert_int_equal(config->failover_timeout_ms, 10000);
    assert_string_equal(config->zone, "eu-1a");
    assert_int_equal(config->descriptor, DESCRIPTOR_SOCKET);
    assert_int_equal(config->mirror_count, 2);
    assert_string_equal(config->mirrors[1].host, "::1");
    assert_int_equal(l->op_timeout_ms, 250);
    assert_int_equal(l->reconnect.rate, 30);
    assert_int_equal(l->reconnect.burst, 30);
    assert_int_equal(l->read_policy, READ_PREFER_REPLICA);
    assert_non_null(l->mirrors->next);
    assert_int_equal(l->cluster->endpoint_count, 2);
    assert_string_equal(l->cluster->endpoints[1].host, "fd00::2");
    l = config_listener(config, "10.9.8.7", 6400);
    assert_int_equal(l->read_policy, READ_MASTER);
    assert_int_equal(l->reconnect.rate, 20);
    assert_int_equal(config->elsewhere.reconnect.burst, 5);
    assert_string_equal(l->mirrors->cluster->name, "shadow");
    assert_null(l->mirrors->next);
    assert_string_equal(config->elsewhere.mirrors->cluster->name, "127.0.0.1:7100");
    config_destroy(config);
}

static void routes_by_prefix(void **state)
{
    struct config *config = load(FIXTURE("routes.yaml") ":" FIXTURE("routes_istio.yaml"));
    const struct config_listener *l = config_listener(config, "127.0.0.9", 6379);
    const struct config_route *r = l->routes;

    (void)state;
    assert_true(config_has_routes(l) && l->case_insensitive);
    assert_string_equal(r->prefix, "user:");
    assert_false(r->remove_prefix);
    assert_string_equal(r->all.cluster->name, "users");
    assert_null(r->reads.cluster);
    assert_string_equal(r->mirrors->cluster->name, "shadow");
    assert_true(r->mirrors->exclude_reads && config->any_mirror);
    r = r->next;
    assert_string_equal(r->prefix, "user:session:");
    assert_true(r->remove_prefix);
    assert_string_equal(r->all.cluster->name, "sessions");
    assert_string_equal(r->reads.cluster->name, "sessions_copy");
    r = r->next;
    assert_string_equal(r->prefix, "");
    assert_null(r->next);
    assert_string_equal(l->catch_all->all.cluster->name, "rest");
    assert_string_equal(l->cluster->name, "rest");
    l = config_listener(config, "127.0.0.9", 6380);
    assert_true(config_has_routes(l));
    assert_null(l->catch_all);
    assert_string_equal(l->cluster->name, "outbound|6379||a.redis.svc.cluster.local");
    assert_string_equal(l->routes->next->reads.cluster->endpoints[0].host,
                        "c.redis.svc.cluster.local");
    config_destroy(config);
}

static void nothing_is_a_configuration_too(void **state)
{
    struct config *config = load("");

    (void)state;
    assert_null(config->listeners);
    assert_false(config->any_mirror);
    assert_int_equal(config->failover_timeout_ms, 30000);
    assert_true(config->elsewhere.redirection);
    assert_int_equal(config->elsewhere.reconnect.rate, 500);
    assert_int_equal(config->elsewhere.reconnect.burst, 50);
    config_destroy(config);
}

#define IN_TLS(common)                                                                             \
    "clusters: [{name: a, endpoints: ['h:1'], transport_socket: {name: "                           \
    "envoy.transport_sockets.tls, typed_config: {'@type': a.UpstreamTlsContext, "                  \
    "common_tls_context: {" common "}}}}]"

static void wrong_is_refused_with_its_place_and_what_is_right(void **state)
{
    static const struct {
        const char *text, *complaint;
    } rows[] = {
        {"tls: yes please", "f:1:6: tls: \"yes please\" is not true or false"},
        {"tls: true\ntls_ca: /nowhere/ca.pem",
         "f:2:9: tls_ca: \"/nowhere/ca.pem\": No such file or directory"},
        {"tls: true\ntls_ca: /dev/null",
         "f:2:9: tls_ca: \"/dev/null\": there is no certificate here; expected is the PEM format"},
        {"tls_ca: /nowhere/ca.pem", "f:1:9: tls_ca: tls_ca is of no use without tls: true"},
        {"clusters: [{name: a, endpoints: ['h:1'], tls: true, tls_certificate: /nowhere/c.pem}]",
         "f:1:70: clusters[0].tls_certificate: \"/nowhere/c.pem\": the certificate has no key "
         "beside it"},
        {"clusters: [{name: a, endpoints: ['h:1'], transport_socket: {name: quic}}]",
         "clusters[0].transport_socket.name: the transport socket \"quic\" is not known here; "
         "possible are envoy.transport_sockets.tls and envoy.transport_sockets.raw_buffer"},
        {"clusters: [{name: a, endpoints: ['h:1'], tls: false, transport_socket: {name: "
         "envoy.transport_sockets.tls}}]",
         "clusters[0].transport_socket: the fields tls… say it already"},
        {IN_TLS("tls_params: {tls_minimum_protocol_version: TLSv1_4}"),
         "clusters[0].transport_socket.typed_config.common_tls_context.tls_params."
         "tls_minimum_protocol_version: \"TLSv1_4\" is not one of TLS_AUTO, TLSv1_0, TLSv1_1, "
         "TLSv1_2, TLSv1_3"},
        {IN_TLS("validation_context: {trusted_ca: {}}"),
         "clusters[0].transport_socket.typed_config.common_tls_context.validation_context."
         "trusted_ca: either a filename or an inline_string is needed"},
        {IN_TLS("validation_context: {trusted_ca: {inline_string: PEM}}"),
         "clusters[0].transport_socket.typed_config.common_tls_context.validation_context."
         "trusted_ca.inline_string: there is no certificate here"},
        {IN_TLS("validation_context: {match_typed_subject_alt_names: [{san_type: DNS, matcher: "
                "{safe_regex: a}}]}"),
         "clusters[0].transport_socket.typed_config.common_tls_context.validation_context."
         "match_typed_subject_alt_names[0].matcher.safe_regex: is not supported yet"},
        {"read_polcy: MASTER",
         "f:1:1: there is no field \"read_polcy\" here; is \"read_policy\" meant?"},
        {"a:\n  b: 1", "f:1:1: there is no field \"a\" here; possible are: "},
        {"read_policy: SLAVE",
         "f:1:14: read_policy: \"SLAVE\" is not one of MASTER, PREFER_MASTER, "},
        {"zone: x\nfailover_timeout: 5",
         "f:2:19: failover_timeout: \"5\" is not a duration: a number and its unit, such as 250ms"},
        {"failover_timeout: 5 sec", "f:1:19: failover_timeout: \"5 sec\" is not a duration"},
        {"failover_timeout: [5s]", "f:1:19: failover_timeout: is a list; expected is a duration"},
        {"failover_timeout:", "failover_timeout: has no value; expected is a duration"},
        {"failover_timeout: 5000h", "f:1:19: failover_timeout: 5000h is out of range"},
        {"mirror_exclude_read_commands: yes",
         "f:1:31: mirror_exclude_read_commands: \"yes\" is not true or false"},
        {"mirror_fraction: 101",
         "f:1:18: mirror_fraction: \"101\" is not a percentage from 0 to 100"},
        {"descriptor: pipe", "f:1:13: descriptor: \"pipe\" is not one of auto, epoll, socket"},
        {"reconnect_rate: -1", "f:1:17: reconnect_rate: "},
        {"reconnect_rate: 2000000",
         "f:1:17: reconnect_rate: 2000000 is out of range; from 0 to 1000000 is possible"},
        {"reconnect_burst: 0",
         "f:1:18: reconnect_burst: 0 is out of range; from 1 to 1000000 is possible"},
        {"listeners: [{address: '1.2.3.4:1', redis_proxy: {settings: {op_timeout: 1s, "
         "connection_rate_limit: {connection_rate_limit_per_sec: 0}}}}]",
         "listeners[0].redis_proxy.settings.connection_rate_limit.connection_rate_limit_per_sec: 0 "
         "is out of range; from 1 to 1000000 is possible"},
        {"mirror: nowhere", "f:1:9: mirror: \"nowhere\" is not HOST:PORT"},
        {"zone: a\nzone: b", "f:2:1: zone: is given twice"},
        {"zone: a\n---\nzone: b", "f:3:7: zone: is said already, in f:1"},
        {"- zone", "f:1:1: is a list; expected is a map of "},
        {"zone: [", "f:2:1: no YAML: "},
        {"kind: Service", "f:1:7: kind: the one kind of document that is known here"},
        {"listeners: [{address: host:1}]",
         "f:1:23: listeners[0].address: \"host\": an address is given "
         "by its number"},
        {"clusters: [{name: a}]", "f:1:12: clusters[0]: the cluster \"a\" has no endpoints"},
        {"clusters: [{name: a, endpoints: [x:1]}, {name: a, endpoints: [y:1]}]",
         "f:1:48: clusters[1].name: there is a cluster \"a\" already, in f:1"},
        {"clusters: [{name: a, endpoints: [x:0]}]", "endpoints[0]: an endpoint is HOST:PORT here"},
        {"listeners: [{address: 1.2.3.4:1, redis_proxy: {settings: {op_timeout: 1s}, "
         "prefix_routes: "
         "{catch_all_route: {cluster: gone}}}}]\nclusters: [{name: here, endpoints: [x:1]}]",
         "redis_proxy.prefix_routes.catch_all_route.cluster: there is no cluster \"gone\"; there "
         "are "
         "\"here\""},
        {"listeners: [{address: 1.2.3.4:1, redis_proxy: {prefix_routes: {catch_all_route: "
         "{cluster: "
         "a}}}}]",
         "redis_proxy: the field \"settings\" is missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct complaint complaint = {""};
        struct config *config = config_parse("f", rows[i].text, strlen(rows[i].text), &complaint);

        if (config != NULL)
            fail_msg("%s: was taken", rows[i].text);
        if (strstr(complaint.text, rows[i].complaint) == NULL)
            fail_msg("%s:\n    %s\nand not\n    %s", rows[i].text, complaint.text,
                     rows[i].complaint);
    }
}

#define WITH_PROXY(settings, more)                                                                 \
    "listeners: [{address: 1.2.3.4:1, redis_proxy: {settings: {op_timeout: 1s, " settings          \
    "}, prefix_routes: {catch_all_route: {cluster: 'outbound|1||h'}}, " more "}}]"
#define WITH_CLUSTER(more) "clusters: [{name: a, endpoints: [x:1], " more "}]"
#define WITH_PATCH(match)                                                                          \
    "{kind: EnvoyFilter, apiVersion: networking.istio.io/v1alpha3, spec: {configPatches: "         \
    "[{applyTo: NETWORK_FILTER, match: {listener: {portNumber: 1}, " match "}, patch: "            \
    "{operation: REPLACE, value: {name: envoy.redis_proxy, typed_config: {'@type': "               \
    "a.TypedStruct, type_url: a.RedisProxy, value: {settings: {op_timeout: 1s}, prefix_routes: "   \
    "{catch_all_route: {cluster: 'outbound|1||h'}}}}}}}]}}"

static void what_has_no_effect_is_checked_all_the_same(void **state)
{
    static const struct {
        const char *text, *complaint;
    } rows[] = {
        {WITH_PROXY("enable_hashtagging: 5s", ""),
         "settings.enable_hashtagging: \"5s\" is not true or false"},
        {WITH_PROXY("buffer_flush_timeout: 3", ""),
         "settings.buffer_flush_timeout: \"3\" is not a duration: a number and its unit"},
        {WITH_PROXY("max_upstream_unknown_connections: many", ""),
         "settings.max_upstream_unknown_connections: \"many\" is not a whole number"},
        {WITH_PROXY("max_buffer_size_before_flush: -1", ""),
         "max_buffer_size_before_flush: -1 is out of range; from 0 to 4294967295 is possible"},
        {WITH_PROXY("dns_cache_config: V4_ONLY", ""),
         "settings.dns_cache_config: \"V4_ONLY\" is not a map"},
        {WITH_PROXY("", "custom_commands: [{a: b}]"),
         "custom_commands[0]: is a map; expected is a text"},
        {WITH_PROXY("", "latency_in_micros: 1"), "latency_in_micros: \"1\" is not true or false"},
        {WITH_PROXY("", "faults: [{fault_type: ERROR}]"),
         "faults: faults are not injected here; leave it out"},
        {WITH_PROXY("", "downstream_auth_password: {inline_string: x}"),
         "downstream_auth_password: the program is not asked for a password here; what "
         "connections say to servers is typed_extension_protocol_options of a cluster"},
        {WITH_CLUSTER("lb_policy: BANANA"),
         "clusters[0].lb_policy: \"BANANA\" is not one of ROUND_ROBIN, "},
        {WITH_CLUSTER("dns_lookup_family: [V4_ONLY]"),
         "clusters[0].dns_lookup_family: is a list; expected is one of AUTO, V4_ONLY, "},
        {WITH_CLUSTER("health_checks: {timeout: 1s}"),
         "clusters[0].health_checks: is a map; expected is a list"},
        {WITH_CLUSTER("dns_refresh_rate: 5"), "clusters[0].dns_refresh_rate: \"5\" is not a "},
        {WITH_CLUSTER("load_assignment: {endpoints: [{lb_endpoints: [], locality: eu-1a}]}"),
         "endpoints[0].locality: \"eu-1a\" is not a map of zone, region, sub_zone"},
        {"clusters: [{name: a, endpoints: [{address: 'x:1'}]}]",
         "clusters[0].endpoints[0]: the field \"zone\" is missing"},
        {WITH_PATCH("context: OUTBOUND"), "match.context: \"OUTBOUND\" is not one of ANY, "},
        {"{kind: EnvoyFilter, apiVersion: networking.istio.io/v1alpha3, spec: {configPatches: "
         "[{applyTo: NETWORK_FILTER, match: {listener: {portNumber: 1}}, patch: {operation: ADD, "
         "value: {name: envoy.redis_proxy, typed_config: {'@type': a.TypedStruct, type_url: "
         "a.TcpProxy, value: {}}}}}]}}",
         "typed_config.type_url: the type \"a.TcpProxy\" is not known here; expected is "
         "type.googleapis"},
        {"{apiVersion: v1, kind: Service}",
         "f:1:14: apiVersion: the one kind of document that is known here"},
        {"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service}]}",
         "items[0].apiVersion: the one kind of document that is known here"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct complaint complaint = {""};
        struct config *config = config_parse("f", rows[i].text, strlen(rows[i].text), &complaint);

        if (config != NULL)
            fail_msg("%s: was taken", rows[i].text);
        if (strstr(complaint.text, rows[i].complaint) == NULL)
            fail_msg("%s:\n    %s\nand not\n    %s", rows[i].text, complaint.text,
                     rows[i].complaint);
    }
}

static void what_envoy_knows_and_needs_nothing_here_is_taken(void **state)
{
    static const char *const texts[] = {
        WITH_PROXY("enable_hashtagging: true, buffer_flush_timeout: 0.003s, "
                   "max_buffer_size_before_flush: 1024, max_upstream_unknown_connections: '5', "
                   "dns_cache_config: {name: cache, dns_lookup_family: V4_ONLY}",
                   "latency_in_micros: true, custom_commands: [FT.SEARCH], faults: []"),
        WITH_CLUSTER("type: STRICT_DNS, lb_policy: CLUSTER_PROVIDED, dns_lookup_family: V4_ONLY, "
                     "dns_failure_refresh_rate: {base_interval: 1s}, dns_jitter: 1s, "
                     "typed_dns_resolver_config: {name: cares}, common_lb_config: {}, "
                     "load_balancing_policy: {}, preconnect_policy: {}, metadata: , "
                     "health_checks: [{timeout: 1s}], respect_dns_ttl: true"),
        WITH_PATCH("context: SIDECAR_OUTBOUND, proxy: {metadata: {}}"),
        "{apiVersion: v1, kind: List, metadata: {}, items: [" WITH_PATCH("context: ANY") "]}",
        "{admin: {address: {}}, node: {id: a}, static_resources: {listeners: []}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct complaint complaint = {""};
        struct config *config = config_parse("f", texts[i], strlen(texts[i]), &complaint);

        if (config == NULL)
            fail_msg("%s:\n    %s", texts[i], complaint.text);
        config_destroy(config);
    }
}

static void zones_are_those_of_endpoints(void **state)
{
    static const char text[] =
        "clusters:\n- name: a\n  load_assignment:\n    endpoints:\n"
        "    - lb_endpoints:\n"
        "      - endpoint: {address: {socket_address: {address: x, port_value: 1}}}\n"
        "      - endpoint: {address: {socket_address: {address: y, port_value: 1}}}\n"
        "      locality: {region: eu, zone: eu-1a}\n"
        "    - lb_endpoints: [{endpoint: {address: {socket_address: {address: z, "
        "port_value: 1}}}}]\n"
        "- {name: b, endpoints: [{address: 'x:1', zone: eu-1b}, 'y:1']}\n";
    struct complaint complaint = {""};
    struct config *config = config_parse("f", text, strlen(text), &complaint);
    const struct config_zone *z;

    (void)state;
    assert_non_null(config);
    z = config->clusters->zones;
    assert_string_equal(z->address.host, "y");
    assert_string_equal(z->zone, "eu-1a");
    assert_string_equal(z->next->address.host, "x");
    assert_null(z->next->next);
    assert_int_equal(config->clusters->endpoint_count, 3);
    z = config->clusters->next->zones;
    assert_string_equal(z->zone, "eu-1b");
    assert_null(z->next);
    assert_int_equal(config->clusters->next->endpoint_count, 2);
    config_destroy(config);
}

#define IN_CLUSTER "clusters: [{name: a, endpoints: [x:1], "
#define IN_OPTIONS                                                                                 \
    IN_CLUSTER "typed_extension_protocol_options: {envoy.filters.network.redis_proxy: "            \
               "{'@type': type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3."    \
               "RedisProtocolOptions, "

static void the_spelling_is_the_users(void **state)
{
    static const struct {
        const char *text, *complaint;
    } rows[] = {
        {"readPolicy: SLAVE", "f:1:13: readPolicy: \"SLAVE\" is not one of MASTER, PREFER_MASTER, "
                              "REPLICA, PREFER_REPLICA, ANY, AZ_AFFINITY, "
                              "AZ_AFFINITY_REPLICAS_AND_PRIMARY"},
        {"readPolcy: MASTER",
         "f:1:1: there is no field \"readPolcy\" here; is \"readPolicy\" meant?"},
        {"zone: a\nzone: b", "f:2:1: zone: is given twice"},
        {"failoverTimeout: 1s\nfailover_timeout: 2s", "f:2:1: failover_timeout: is given twice"},
        {"staticResources: {listeners: [{address: 1.2.3.4:1, filterChains: [{filters: [{name: "
         "envoy.filters.network.redis_proxy, typedConfig: {'@type': x.RedisProxy, settings: "
         "{opTimeout: 5}}}]}]}]}",
         "f:1:179: staticResources.listeners[0].filterChains[0].filters[0].typedConfig.settings."
         "opTimeout: \"5\" is not a duration: a number and its unit, such as 250ms, 0.5s, 5s, 1m "
         "or "
         "1h"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct complaint complaint = {""};

        assert_null(config_parse("f", rows[i].text, strlen(rows[i].text), &complaint));
        assert_string_equal(complaint.text, rows[i].complaint);
    }
}

static void wrong_logins_are_refused_and_never_shown(void **state)
{
    static const struct {
        const char *text, *complaint;
    } rows[] = {
        {"password: [HUSH]", "f:1:11: password: is a list; expected is a text"},
        {"password: {HUSH: 1}", "f:1:11: password: is a map; expected is a text"},
        {"password: HUSH\npassword_file: /dev/null",
         "f:2:16: password_file: there is a password already"},
        {"username: me",
         "f:1:11: username: a password is missing: a user name alone logs nobody in"},
        {"mirror_username: me",
         "f:1:18: mirror_username: a password is missing: a user name alone logs nobody in"},
        {"password_file: /nowhere", "f:1:16: password_file: /nowhere: No such file or directory"},
        {"mirror: me:HUSH@host:1", "f:1:9: mirror: a mirror is HOST:PORT; mirror_username and "
                                   "mirror_password are settings of their own"},
        {IN_CLUSTER "username: me}]",
         "f:1:50: clusters[0].username: a password or a password_file is missing: a user name "
         "alone logs nobody in"},
        {IN_OPTIONS "auth_password: HUSH}}}]",
         "f:1:225: clusters[0].typed_extension_protocol_options.envoy.filters.network.redis_proxy."
         "auth_password: expected is a map of one of inline_string, filename and "
         "environment_variable"},
        {IN_OPTIONS "auth_password: {HUSH}}}}]",
         "f:1:226: clusters[0].typed_extension_protocol_options.envoy.filters.network.redis_proxy."
         "auth_password: there is no such field here; expected is a map of one of inline_string, "
         "filename and environment_variable"},
        {IN_OPTIONS "authPassword: {inline_string: [HUSH]}}}}]",
         "f:1:240: clusters[0].typed_extension_protocol_options.envoy.filters.network.redis_proxy."
         "authPassword.inline_string: is a list; expected is a text"},
        {IN_OPTIONS "auth_password: {environment_variable: NO_SUCH_VARIABLE}}}}]",
         "f:1:248: clusters[0].typed_extension_protocol_options.envoy.filters.network.redis_proxy."
         "auth_password.environment_variable: there is no variable NO_SUCH_VARIABLE in the "
         "environment"},
        {IN_OPTIONS "auth_username: {inline_string: me}}}}]",
         "f:1:110: clusters[0].typed_extension_protocol_options.envoy.filters.network.redis_proxy: "
         "the field \"auth_password\" is missing: a user name alone logs nobody in"},
        {IN_OPTIONS "credentials: [{auth_password: {inline_string: HUSH}}]}}}]",
         "f:1:224: clusters[0].typed_extension_protocol_options.envoy.filters.network.redis_proxy."
         "credentials[0]: the field \"address\" is missing"},
        {IN_CLUSTER "password: HUSH, typed_extension_protocol_options: "
                    "{envoy.filters.network.redis_proxy: {'@type': x.RedisProtocolOptions, "
                    "auth_password: {inline_string: HUSH}}}}]",
         "f:1:12: clusters[0]: a cluster has either a username and a password or "
         "typed_extension_protocol_options"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct complaint complaint = {""};

        if (config_parse("f", rows[i].text, strlen(rows[i].text), &complaint) != NULL)
            fail_msg("%s: was taken", rows[i].text);
        assert_string_equal(complaint.text, rows[i].complaint);
        assert_null(strstr(complaint.text, "HUSH"));
    }
}

static void logins_are_those_of_the_cluster_or_else_of_the_process(void **state)
{
    static const char text[] =
        "username: all\npassword: one\nlisteners:\n"
        "- {address: 1.2.3.4:1, redis_proxy: {settings: {op_timeout: 1s}, prefix_routes: "
        "{catch_all_route: {cluster: a}}}}\n"
        "- {address: 1.2.3.4:2, redis_proxy: {settings: {op_timeout: 1s}, prefix_routes: "
        "{catch_all_route: {cluster: b}}}}\n"
        "clusters:\n- {name: a, endpoints: [x:1]}\n"
        "- name: b\n  endpoints: [x:2]\n  typed_extension_protocol_options:\n"
        "    envoy.filters.network.redis_proxy:\n      '@type': x.RedisProtocolOptions\n"
        "      auth_password: {inline_string: two}\n      credentials:\n"
        "      - address: {socket_address: {address: '0:0::1', port_value: 7}}\n"
        "        auth_username: {inline_string: one}\n"
        "        auth_password: {inline_string: three}\n";
    struct complaint complaint = {""};
    struct config *config = config_parse("f", text, strlen(text), &complaint);
    const struct config_login *l;

    (void)state;
    assert_string_equal(complaint.text, "");
    l = login_find(config_listener(config, "1.2.3.4", 1)->logins, "1.1.1.1", 9);
    assert_string_equal(l->auth, "*3\r\n$4\r\nAUTH\r\n$3\r\nall\r\n$3\r\none\r\n");
    assert_int_equal(l->length, strlen(l->auth));
    assert_ptr_equal(config->elsewhere.logins, l);
    l = login_find(config_listener(config, "1.2.3.4", 2)->logins, "1.1.1.1", 7);
    assert_string_equal(l->auth, "*2\r\n$4\r\nAUTH\r\n$3\r\ntwo\r\n");
    l = login_find(config_listener(config, "1.2.3.4", 2)->logins, "::1", 7);
    assert_string_equal(l->auth, "*3\r\n$4\r\nAUTH\r\n$3\r\none\r\n$5\r\nthree\r\n");
    config_destroy(config);
}

static void routes_are_refused_with_their_place(void **state)
{
    static const struct {
        const char *text, *complaint;
    } rows[] = {
        {"routes: [{prefix: a, cluster: x}, {prefix: a, cluster: x}]",
         "f:6:50: listeners[0].redis_proxy.prefix_routes.routes[1].prefix: the prefix \"a\" has a "
         "route already, in f:6"},
        {"case_insensitive: true\n      routes: [{prefix: Ab, cluster: x}, {prefix: aB, cluster: "
         "x}]",
         "f:7:51: listeners[0].redis_proxy.prefix_routes.routes[1].prefix: the prefix \"aB\" has a "
         "route already, in f:7"},
        {"routes: [{prefix: a, cluster: gone}]",
         "f:6:37: listeners[0].redis_proxy.prefix_routes.routes[0].cluster: there is no cluster "
         "\"gone\"; there are \"x\""},
        {"routes: [{prefix: a, cluster: x, read_command_policy: {cluster: gone}}]",
         "f:6:71: listeners[0].redis_proxy.prefix_routes.routes[0].read_command_policy.cluster: "
         "there is no cluster \"gone\""},
        {"routes: [{prefix: a, cluster: x, request_mirror_policy: [{cluster: gone}]}]",
         "routes[0].request_mirror_policy[0].cluster: there is no cluster \"gone\""},
        {"routes: [{prefix: a, cluster: x, read_command_policy: {}}]",
         "routes[0].read_command_policy: the field \"cluster\" is missing"},
        {"routes: [{prefix: a}]", "routes[0]: the field \"cluster\" is missing"},
        {"routes: {prefix: a}", "f:6:15: listeners[0].redis_proxy.prefix_routes.routes: is a map"},
        {"routes: [{prefix: [a], cluster: x}]", "routes[0].prefix: is a list"},
        {"routes: [{prefix: a, cluster: x, remove_prefix: maybe}]",
         "routes[0].remove_prefix: \"maybe\" is not true or false"},
        {"routes: [{prefix: a, cluster: x, key_formatter: \"%KEY%-b\"}]",
         "f:6:55: listeners[0].redis_proxy.prefix_routes.routes[0].key_formatter: keys are not "
         "rewritten here, but for remove_prefix; possible is %KEY%"},
        {"routes: [{prefx: a, cluster: x}]",
         "f:6:17: listeners[0].redis_proxy.prefix_routes.routes[0]: there is no field \"prefx\" "
         "here; is \"prefix\" meant?"},
        {"catch_all_route: {prefix: a, cluster: x}",
         "catch_all_route.prefix: the catch_all_route has no prefix: it is for keys that no route "
         "has"},
        {"routes: []", "there is neither a catch_all_route nor a route: no key has a cluster"},
        {"case_insensitive: 2\n      routes: [{cluster: x}]",
         "case_insensitive: \"2\" is not true or false"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct complaint complaint = {""};
        struct config *config;
        char text[1024];

        snprintf(text, sizeof text,
                 "listeners:\n- address: 1.2.3.4:1\n  redis_proxy:\n"
                 "    settings: {op_timeout: 1s}\n    prefix_routes:\n      %s\n"
                 "clusters: [{name: x, endpoints: [h:1]}]\n",
                 rows[i].text);
        config = config_parse("f", text, strlen(text), &complaint);
        if (config != NULL)
            fail_msg("%s: was taken", text);
        if (strstr(complaint.text, rows[i].complaint) == NULL)
            fail_msg("%s:\n    %s\nand not\n    %s", text, complaint.text, rows[i].complaint);
    }
}

static void a_file_that_is_not_there_is_refused(void **state)
{
    struct complaint complaint = {""};

    (void)state;
    assert_null(config_load("/nowhere/at/all.yaml", &complaint));
    assert_string_equal(complaint.text, "/nowhere/at/all.yaml: No such file or directory");
}

/* Ten levels of ten aliases each are as many nodes as a few lines, and no more. */
static void aliases_do_not_explode(void **state)
{
    char text[4096] = "a0: &a0 [x]\n";
    struct complaint complaint = {""};

    (void)state;
    for (int i = 1; i < 30; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "a%d: &a%d [*a%d, *a%d]\n", i, i,
                 i - 1, i - 1);
    assert_null(config_parse("f", text, strlen(text), &complaint));
    assert_non_null(strstr(complaint.text, "there is no field \"a0\""));
}

static void durations(void **state)
{
    (void)state;
    assert_int_equal(duration_parse("250ms", false), 250);
    assert_int_equal(duration_parse("0.5s", false), 500);
    assert_int_equal(duration_parse("1.5m", false), 90000);
    assert_int_equal(duration_parse("2h", false), 7200000);
    assert_int_equal(duration_parse("0", false), 0);
    assert_int_equal(duration_parse("0.0001s", false), 1);
    assert_int_equal(duration_parse("250", true), 250);
    assert_int_equal(duration_parse("250", false), -1);
    assert_int_equal(duration_parse("-1s", true), -1);
    assert_int_equal(duration_parse("1 s", true), -1);
    assert_int_equal(duration_parse("", true), -1);
    assert_int_equal(duration_parse("1e3ms", true), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(istios_documents_load_as_they_stand),
        cmocka_unit_test(the_order_of_files_does_not_matter),
        cmocka_unit_test(our_own_form_says_the_same),
        cmocka_unit_test(routes_by_prefix),
        cmocka_unit_test(routes_are_refused_with_their_place),
        cmocka_unit_test(nothing_is_a_configuration_too),
        cmocka_unit_test(wrong_is_refused_with_its_place_and_what_is_right),
        cmocka_unit_test(the_spelling_is_the_users),
        cmocka_unit_test(zones_are_those_of_endpoints),
        cmocka_unit_test(what_has_no_effect_is_checked_all_the_same),
        cmocka_unit_test(what_envoy_knows_and_needs_nothing_here_is_taken),
        cmocka_unit_test(wrong_logins_are_refused_and_never_shown),
        cmocka_unit_test(logins_are_those_of_the_cluster_or_else_of_the_process),
        cmocka_unit_test(a_file_that_is_not_there_is_refused),
        cmocka_unit_test(aliases_do_not_explode),
        cmocka_unit_test(durations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
