/* What of Envoy's own configuration is understood: the Redis proxy filter, and clusters. */
#ifndef REDISROUTE_CONFIG_ENVOY_H
#define REDISROUTE_CONFIG_ENVOY_H

#include "config/config.h"
#include "config/reader.h"

/* The fields of a RedisProxy, into a struct config_listener. */
extern const struct field envoy_proxy_fields[];

/* A network filter {name, typed_config} into a struct config_listener. */
reader_take envoy_take_filter;

/* A typed_config: fields beside "@type", or in a Struct's `value`. `type` is the end of the
 * message's name, `example` a whole one. */
bool envoy_take_typed(struct reader *, const struct yaml_node *, const struct field *table,
                      const char *type, const char *example, void *into);

/* {socket_address: {address, port_value}} into a struct config_address. */
reader_take envoy_take_address;

/* Adds a cluster to reader->target. */
bool envoy_add_cluster(struct reader *, const struct yaml_node *);

/* Adds a listener whose fields are set to reader->target, at a place of its own. */
bool envoy_add_listener(struct reader *, const struct yaml_node *, struct config_listener *);

struct config_listener *envoy_make_listener(struct reader *);

#endif
