#include "config/tls.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "config/config.h"
#include "config/envoy.h"

/* OpenSSL's numbers of them. */
enum { TLS_1_0 = 0x0301, TLS_1_1 = 0x0302, TLS_1_2 = 0x0303, TLS_1_3 = 0x0304 };

void tls_default(struct config_tls *tls)
{
    *tls = (struct config_tls){.settings.server_name = ""};
}

/* --- in our own words --- */

enum { FILE_MOST = 4 << 20 };

/* A new certificate under the same name is a change of the configuration. What is wrong with the
 * file is said when the profile is made. */
static bool watch(struct reader *r, const char *path)
{
    struct config *config = r->target;
    struct config_file *file = reader_make(r, sizeof *file);
    struct buffer text;

    if (file == NULL)
        return false;
    *file = (struct config_file){config->watched, path};
    config->watched = file;
    buffer_init(&text);
    (void)config_read_file(path, FILE_MOST, &text, config);
    buffer_deinit(&text);
    return true;
}

static bool take_file(struct reader *r, const struct yaml_node *node, const struct field *f,
                      void *into)
{
    struct tls_source *source = into;
    const char *file;

    if (!take_text(r, node, f, &file))
        return false;
    source->file = file[0] != '\0' ? file : NULL;
    source->text = NULL;
    source->place = reader_place(r, node);
    return source->place != NULL && (source->file == NULL || watch(r, source->file));
}

static bool take_server_name(struct reader *r, const struct yaml_node *node, const struct field *f,
                             void *into)
{
    struct config_tls *tls = into;

    tls->server_name = reader_place(r, node);
    return tls->server_name != NULL && take_text(r, node, f, &tls->settings.server_name);
}

static bool take_verify(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    bool verify;

    if (!take_switch(r, node, f, &verify))
        return false;
    *(bool *)into = !verify;
    return true;
}

#define IN_TLS(member) offsetof(struct config_tls, member)

const struct field tls_fields[] = {
    {"tls", take_switch, IN_TLS(on), NULL, 0, 0, false},
    {"tls_ca", take_file, IN_TLS(settings.ca), NULL, 0, 0, false},
    {"tls_certificate", take_file, IN_TLS(settings.certificate), NULL, 0, 0, false},
    {"tls_key", take_file, IN_TLS(settings.key), NULL, 0, 0, false},
    {"tls_server_name", take_server_name, 0, NULL, 0, 0, false},
    {"tls_verify", take_verify, IN_TLS(settings.no_verify), NULL, 0, 0, false},
    {0},
};

bool take_tls(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    const struct field *inner = f->type;
    struct config_tls *tls = into;

    if (tls->is_envoy)
        return reader_refuse(r, node, "the transport_socket says it already");
    tls->said = true;
    return inner->take(r, node, inner, (char *)into + inner->offset);
}

/* --- in Envoy's --- */

static const char not_yet[] = "is not supported yet, and has to be left out";
static const char by_files[] = "there is no control plane here to ask; tls_certificates says it by "
                               "files";
static const char ca_by_file[] = "there is no control plane here to ask; trusted_ca of a "
                                 "validation_context says it by a file";

static bool take_inline(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    struct tls_source *source = into;

    source->place = reader_place(r, node);
    return source->place != NULL && take_text(r, node, f, &source->text);
}

static const struct field source_fields[] = {
    {"filename", take_file, 0, NULL, 0, 0, false},
    {"inline_string", take_inline, 0, NULL, 0, 0, false},
    {"inline_bytes", take_refused, 0, "is not supported; a filename and an inline_string are", 0, 0,
     false},
    {"environment_variable", take_refused, 0,
     "is not supported; a filename and an inline_string are", 0, 0, false},
    {"watched_directory", take_any_map, 0, NULL, 0, 0, false},
    {0},
};

static bool take_source(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    struct tls_source *source = into;

    (void)f;
    if (!reader_map(r, node, source_fields, source))
        return false;
    if ((source->file == NULL) == (source->text == NULL))
        return reader_refuse(r, node, "either a filename or an inline_string is needed");
    return true;
}

/* A matcher of names: {exact: …, ignore_case} */

static bool set_match(struct reader *r, const struct yaml_node *node, const struct field *f,
                      void *into, enum tls_match match)
{
    struct tls_name *name = into;

    name->match = match;
    if (name->text != NULL)
        return reader_refuse(r, node, "a matcher has one of exact, prefix, suffix and contains");
    return take_text(r, node, f, &name->text);
}

#define MATCH(word, match)                                                                         \
    static bool take_##word(struct reader *r, const struct yaml_node *node, const struct field *f, \
                            void *into)                                                            \
    {                                                                                              \
        return set_match(r, node, f, into, match);                                                 \
    }
MATCH(exact, TLS_EXACT)
MATCH(prefix, TLS_PREFIX)
MATCH(suffix, TLS_SUFFIX)
MATCH(contains, TLS_CONTAINS)
#undef MATCH

static const struct field matcher_fields[] = {
    {"exact", take_exact, 0, NULL, 0, 0, false},
    {"prefix", take_prefix, 0, NULL, 0, 0, false},
    {"suffix", take_suffix, 0, NULL, 0, 0, false},
    {"contains", take_contains, 0, NULL, 0, 0, false},
    {"ignore_case", take_switch, offsetof(struct tls_name, ignore_case), NULL, 0, 0, false},
    {"safe_regex", take_refused, 0, not_yet, 0, 0, false},
    {"custom", take_refused, 0, not_yet, 0, 0, false},
    {0},
};

static bool take_matcher(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    struct tls_name *name = into;

    (void)f;
    if (!reader_map(r, node, matcher_fields, name))
        return false;
    if (name->text == NULL || name->text[0] == '\0')
        return reader_refuse(r, node, "a matcher needs one of exact, prefix, suffix and contains");
    return true;
}

static const char *const kinds[] = {
    [TLS_NAME_ANY] = "SAN_TYPE_UNSPECIFIED",
    [TLS_NAME_EMAIL] = "EMAIL",
    [TLS_NAME_DNS] = "DNS",
    [TLS_NAME_URI] = "URI",
    [TLS_NAME_IP] = "IP_ADDRESS",
    NULL,
};

static const struct field typed_name_fields[] = {
    {"san_type", take_choice, offsetof(struct tls_name, kind), kinds, 0, 0, true},
    {"matcher", take_matcher, 0, NULL, 0, 0, true},
    {"oid", take_refused, 0, not_yet, 0, 0, false},
    {0},
};

static struct tls_name *add_name(struct reader *r, struct config_tls *tls)
{
    struct tls_name *name = reader_make(r, sizeof *name), **end = &tls->settings.names;

    while (*end != NULL)
        end = &(*end)->next;
    *end = name;
    return name;
}

static bool take_typed_name(struct reader *r, const struct yaml_node *node, const struct field *f,
                            void *into)
{
    struct tls_name *name = add_name(r, into);

    (void)f;
    if (name == NULL || !reader_map(r, node, typed_name_fields, name))
        return false;
    if (name->kind == TLS_NAME_IP && name->match != TLS_EXACT)
        return reader_refuse(r, node, "an IP_ADDRESS is matched exactly");
    return true;
}

static bool take_name(struct reader *r, const struct yaml_node *node, const struct field *f,
                      void *into)
{
    struct tls_name *name = add_name(r, into);

    return name != NULL && take_matcher(r, node, f, name);
}

static bool take_typed_names(struct reader *r, const struct yaml_node *node, const struct field *f,
                             void *into)
{
    (void)f;
    return reader_list(r, node, take_typed_name, into);
}

static bool take_names(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *into)
{
    (void)f;
    return reader_list(r, node, take_name, into);
}

static bool take_trust(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *into)
{
    static const char *const trusts[] = {"VERIFY_TRUST_CHAIN", "ACCEPT_UNTRUSTED", NULL};
    const struct field of = {.type = trusts};
    int choice;

    (void)f;
    if (!take_choice(r, node, &of, &choice))
        return false;
    *(bool *)into = choice == 1;
    return true;
}

static const struct field validation_fields[] = {
    {"trusted_ca", take_source, IN_TLS(settings.ca), NULL, 0, 0, false},
    {"match_typed_subject_alt_names", take_typed_names, 0, NULL, 0, 0, false},
    {"match_subject_alt_names", take_names, 0, NULL, 0, 0, false},
    {"trust_chain_verification", take_trust, IN_TLS(settings.no_verify), NULL, 0, 0, false},
    {"ca_certificate_provider_instance", take_refused, 0, ca_by_file, 0, 0, false},
    {"watched_directory", take_any_map, 0, NULL, 0, 0, false},
    {"verify_certificate_spki", take_refused, 0, not_yet, 0, 0, false},
    {"verify_certificate_hash", take_refused, 0, not_yet, 0, 0, false},
    {"require_signed_certificate_timestamp", take_refused, 0, not_yet, 0, 0, false},
    {"crl", take_refused, 0, not_yet, 0, 0, false},
    {"allow_expired_certificate", take_refused, 0, not_yet, 0, 0, false},
    {"custom_validator_config", take_refused, 0, not_yet, 0, 0, false},
    {"only_verify_leaf_cert_crl", take_refused, 0, not_yet, 0, 0, false},
    {"max_verify_depth", take_refused, 0, not_yet, 0, 0, false},
    {0},
};

static const struct field certificate_fields[] = {
    {"certificate_chain", take_source, IN_TLS(settings.certificate), NULL, 0, 0, true},
    {"private_key", take_source, IN_TLS(settings.key), NULL, 0, 0, true},
    {"private_key_provider", take_refused, 0, not_yet, 0, 0, false},
    {"pkcs12", take_refused, 0, not_yet, 0, 0, false},
    {"password", take_refused, 0, not_yet, 0, 0, false},
    {"ocsp_staple", take_any_map, 0, NULL, 0, 0, false},
    {"watched_directory", take_any_map, 0, NULL, 0, 0, false},
    {0},
};

static bool take_certificate(struct reader *r, const struct yaml_node *node, const struct field *f,
                             void *into)
{
    (void)f;
    return reader_map(r, node, certificate_fields, into);
}

static bool take_certificates(struct reader *r, const struct yaml_node *node, const struct field *f,
                              void *into)
{
    (void)f;
    if (node->kind == YAML_LIST && node->count > 1)
        return reader_refuse(r, node, "a client shows one certificate");
    return reader_list(r, node, take_certificate, into);
}

static bool take_version(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    static const char *const names[] = {"TLS_AUTO", "TLSv1_0", "TLSv1_1",
                                        "TLSv1_2",  "TLSv1_3", NULL};
    static const int numbers[] = {0, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3};
    const struct field of = {.type = names};
    int choice;

    (void)f;
    if (!take_choice(r, node, &of, &choice))
        return false;
    *(int *)into = numbers[choice];
    return true;
}

static const struct field params_fields[] = {
    {"tls_minimum_protocol_version", take_version, IN_TLS(settings.least), NULL, 0, 0, false},
    {"tls_maximum_protocol_version", take_version, IN_TLS(settings.most), NULL, 0, 0, false},
    {"cipher_suites", take_refused, 0, not_yet, 0, 0, false},
    {"ecdh_curves", take_refused, 0, not_yet, 0, 0, false},
    {"signature_algorithms", take_refused, 0, not_yet, 0, 0, false},
    {"compliance_policies", take_refused, 0, not_yet, 0, 0, false},
    {0},
};

static const struct field common_fields[] = {
    {"tls_params", take_map, 0, params_fields, 0, 0, false},
    {"tls_certificates", take_certificates, 0, NULL, 0, 0, false},
    {"validation_context", take_map, 0, validation_fields, 0, 0, false},
    {"tls_certificate_sds_secret_configs", take_refused, 0, by_files, 0, 0, false},
    {"tls_certificate_provider_instance", take_refused, 0, by_files, 0, 0, false},
    {"validation_context_sds_secret_config", take_refused, 0, ca_by_file, 0, 0, false},
    {"combined_validation_context", take_refused, 0, ca_by_file, 0, 0, false},
    {"alpn_protocols", take_any_texts, 0, NULL, 0, 0, false},
    {"custom_handshaker", take_refused, 0, not_yet, 0, 0, false},
    {"key_log", take_refused, 0, not_yet, 0, 0, false},
    {0},
};

static const struct field context_fields[] = {
    {"sni", take_text, IN_TLS(settings.server_name), NULL, 0, 0, false},
    {"common_tls_context", take_map, 0, common_fields, 0, 0, false},
    READER_IGNORED("allow_renegotiation", reader_switch),
    READER_IGNORED("max_session_keys", reader_size),
    READER_IGNORED("enforce_rsa_key_usage", reader_switch),
    READER_IGNORED("auto_host_sni", reader_switch),
    READER_IGNORED("auto_sni_san_validation", reader_switch),
    {"@type", take_any, 0, NULL, 0, 0, false},
    {0},
};

struct transport_socket {
    const char *name;
    const struct yaml_node *typed;
};

static const struct field transport_fields[] = {
    {"name", take_text, offsetof(struct transport_socket, name), NULL, 0, 0, true},
    {"typed_config", take_node, offsetof(struct transport_socket, typed), NULL, 0, 0, false},
    {0},
};

static bool take_context(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    (void)f;
    return envoy_take_typed(
        r, node, context_fields, ".UpstreamTlsContext",
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", into);
}

/* Once more, now that the name says what the configuration is of. */
static const struct field tls_transport_fields[] = {
    {"name", take_any, 0, NULL, 0, 0, true},
    {"typed_config", take_context, 0, NULL, 0, 0, false},
    {0},
};

bool take_transport_socket(struct reader *r, const struct yaml_node *node, const struct field *f,
                           void *into)
{
    struct transport_socket socket = {NULL, NULL};
    struct config_tls *tls = into;

    (void)f;
    if (!reader_map(r, node, transport_fields, &socket))
        return false;
    if (tls->said)
        return reader_refuse(r, node, "the fields tls… say it already");
    tls->said = tls->is_envoy = true;
    if (strcmp(socket.name, "envoy.transport_sockets.raw_buffer") == 0)
        return true;
    if (strcmp(socket.name, "envoy.transport_sockets.tls") != 0)
        return reader_refuse_field(
            r, node, "name",
            "the transport socket \"%.100s\" is not known here; possible are "
            "envoy.transport_sockets.tls and envoy.transport_sockets.raw_buffer",
            socket.name);
    tls->on = true;
    return reader_map(r, node, tls_transport_fields, tls);
}

/* --- the whole --- */

/* What was said for nothing; NULL: nothing was. A certificate without TLS would be an oversight
 * with consequences. */
static const char *useless(const struct config_tls *tls, const struct reader_place **place)
{
    const struct tls_settings *s = &tls->settings;
    const struct {
        const char *name;
        const struct tls_source *source;
    } sources[] = {{"tls_ca", &s->ca}, {"tls_certificate", &s->certificate}, {"tls_key", &s->key}};

    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
        if (sources[i].source->file != NULL) {
            *place = sources[i].source->place;
            return sources[i].name;
        }
    *place = tls->server_name;
    return s->server_name[0] != '\0' ? "tls_server_name" : NULL;
}

static bool refuse(struct reader *r, const struct yaml_node *node, const struct reader_place *place,
                   const char *what)
{
    if (place != NULL)
        return reader_refuse_place(r, place, "%s", what);
    return node != NULL ? reader_refuse(r, node, "%s", what) : complain(r->complaint, "%s", what);
}

bool tls_finish(struct reader *r, const struct yaml_node *node, struct config_tls *tls)
{
    struct tls_fault fault = {.text = ""};
    const struct reader_place *place = NULL;
    const char *name = tls->on || tls->is_envoy ? NULL : useless(tls, &place);
    char what[64];

    if (name != NULL) {
        snprintf(what, sizeof what, "%s is of no use without tls: true", name);
        return refuse(r, node, place, what);
    }
    if (!tls->on)
        return true;
    tls->profile = tls_profile_create(&tls->settings, &fault);
    return tls->profile != NULL || refuse(r, node, fault.place, fault.text);
}
