/* What a configuration says of TLS: for the process, and for a cluster; in words of our own, and in
 * Envoy's. */
#ifndef REDISROUTE_CONFIG_TLS_H
#define REDISROUTE_CONFIG_TLS_H

#include "config/reader.h"
#include "config/tls_profile.h"

#include <stdbool.h>

struct config_tls {
    bool said; /* anything */
    bool on;
    bool is_envoy; /* said by a transport_socket */
    struct tls_settings settings;
    const struct reader_place *server_name; /* where that was said; NULL: it was not */
    struct tls_profile *profile; /* made of them; NULL: not on */
};

void tls_default(struct config_tls *);

/* tls, tls_ca, tls_certificate, tls_key, tls_server_name, tls_verify, as fields of a structure that
 * has a struct config_tls as its `member`. */
#define TLS_FIELDS(structure, member)                                                              \
    {"tls", take_tls, offsetof(structure, member), &tls_fields[0], 0, 0, false},                   \
        {"tls_ca", take_tls, offsetof(structure, member), &tls_fields[1], 0, 0, false},            \
        {"tls_certificate", take_tls, offsetof(structure, member), &tls_fields[2], 0, 0, false},   \
        {"tls_key", take_tls, offsetof(structure, member), &tls_fields[3], 0, 0, false},           \
        {"tls_server_name", take_tls, offsetof(structure, member), &tls_fields[4], 0, 0, false},   \
    {                                                                                              \
        "tls_verify", take_tls, offsetof(structure, member), &tls_fields[5], 0, 0, false           \
    }

extern const struct field tls_fields[];
reader_take take_tls;

/* A cluster's transport_socket {name, typed_config}, into a struct config_tls. */
reader_take take_transport_socket;

/* When all is read: makes the profile. `node` is where it was said, for what is about the whole. */
bool tls_finish(struct reader *, const struct yaml_node *node, struct config_tls *);

#endif
