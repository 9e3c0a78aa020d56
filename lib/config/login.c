#include "config/login.h"

#include <errno.h>
#include <string.h>

#include "base/resp.h"
#include "config/address.h"
#include "config/envoy.h"
#include "config/settings.h"

enum { SECRET_MOST = 64 * 1024 };

/* --- finding --- */

const struct config_login *login_find(const struct config_login *l, const char *host, uint16_t port)
{
    for (; l != NULL; l = l->next)
        if (l->host[0] == '\0' || (l->port == port && strcmp(l->host, host) == 0))
            return l;
    return NULL;
}

bool login_is_of_other(const struct config_login *a, const struct config_login *b)
{
    return a != b && (a == NULL || b == NULL || strcmp(a->username, b->username) != 0);
}

/* --- making --- */

static bool format(const struct login_text *text, struct buffer *out)
{
    bool named = text->username != NULL && text->username[0] != '\0';

    return resp_append_header(out, '*', named ? 3 : 2) &&
           resp_append_bulk(out, (struct bytes){"AUTH", 4}) &&
           (!named ||
            resp_append_bulk(out, (struct bytes){text->username, strlen(text->username)})) &&
           resp_append_bulk(out, (struct bytes){text->password, strlen(text->password)});
}

bool login_add(struct reader *r, struct config_login **list, const struct login_text *text,
               const char *host, uint16_t port)
{
    struct config_login *login = reader_make(r, sizeof *login);
    struct buffer command;
    bool ok;

    if (login == NULL)
        return false;
    buffer_init(&command);
    ok = format(text, &command);
    *login = (struct config_login){.host = host,
                                   .port = port,
                                   .length = buffer_length(&command),
                                   .username = text->username != NULL ? text->username : ""};
    login->auth = ok ? arena_copy(r->arena, buffer_bytes(&command), login->length) : NULL;
    buffer_deinit(&command);
    while (*list != NULL)
        list = &(*list)->next;
    *list = login;
    return login->auth != NULL || complain(r->complaint, "out of memory");
}

/* --- where a password is --- */

static bool watch(struct reader *r, const char *path)
{
    struct config *config = r->target;
    struct config_file *file = reader_make(r, sizeof *file);

    if (file == NULL)
        return false;
    *file = (struct config_file){config->watched, path};
    config->watched = file;
    return true;
}

/* Editors and `echo` end a file with a line feed, which is no part of a password. */
static size_t without_line_end(const char *text, size_t length)
{
    if (length > 0 && text[length - 1] == '\n')
        length--;
    if (length > 0 && text[length - 1] == '\r')
        length--;
    return length;
}

static bool take_file(struct reader *r, const struct yaml_node *node, const struct field *f,
                      void *into)
{
    const char *path, **secret = into;
    struct buffer text;
    size_t length;
    int error;

    if (!take_text(r, node, f, &path))
        return false;
    buffer_init(&text);
    error = config_read_file(path, SECRET_MOST, &text, r->target);
    if (error == 0) {
        length = without_line_end(buffer_bytes(&text), buffer_length(&text));
        *secret = arena_copy(r->arena, buffer_bytes(&text), length);
        error = *secret == NULL ? ENOMEM : 0;
        if (error == 0 && strlen(*secret) < length)
            error = EILSEQ;
    }
    buffer_deinit(&text);
    if (error != 0)
        return reader_refuse(r, node, "%.200s: %s", path, strerror(error));
    return watch(r, path);
}

static bool take_variable(struct reader *r, const struct yaml_node *node, const struct field *f,
                          void *into)
{
    const char *name, *value;

    if (!take_text(r, node, f, &name))
        return false;
    value = settings_variable(name);
    if (value == NULL)
        return reader_refuse(r, node, "there is no variable %.100s in the environment", name);
    *(const char **)into = value;
    return true;
}

static const struct field source_fields[] = {
    {"inline_string", take_text, 0, NULL, 0, 0, false},
    {"filename", take_file, 0, NULL, 0, 0, false},
    {"environment_variable", take_variable, 0, NULL, 0, 0, false},
    {"inline_bytes", take_refused, 0,
     "is not known here; possible are inline_string, filename and environment_variable", 0, 0,
     false},
    {"watched_directory", take_any_map, 0, NULL, 0, 0, false},
    {0},
};

/* What stands where a source should be may be the secret itself, and is not repeated. */
static bool take_source(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    static const char expected[] = "expected is a map of one of inline_string, filename and "
                                   "environment_variable";
    const char **secret = into;

    (void)f;
    for (size_t i = 0; node->kind == YAML_MAP && i < node->count; i++)
        if (!reader_knows(node->keys[i], source_fields))
            return reader_refuse(r, node->keys[i], "there is no such field here; %s", expected);
    if (node->kind != YAML_MAP)
        return reader_refuse(r, node, "%s", expected);
    if (!reader_map(r, node, source_fields, into))
        return false;
    return *secret != NULL || reader_refuse(r, node, "%s", expected);
}

static bool set_password(struct reader *r, const struct yaml_node *node, const char **secret,
                         const char *password)
{
    if (*secret != NULL && r->file != NULL)
        return reader_refuse(r, node, "there is a password already");
    *secret = password;
    return true;
}

bool login_take_password(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    const char *password = NULL;

    return take_text(r, node, f, &password) && set_password(r, node, into, password);
}

bool login_take_password_file(struct reader *r, const struct yaml_node *node, const struct field *f,
                              void *into)
{
    const char *password = NULL;

    return take_file(r, node, f, &password) && set_password(r, node, into, password);
}

/* --- RedisProtocolOptions --- */

struct credential {
    struct config_address address;
    struct login_text text;
};

static const struct field credential_fields[] = {
    {"address", envoy_take_address, offsetof(struct credential, address), NULL, 0, 0, true},
    {"auth_username", take_source, offsetof(struct credential, text.username), NULL, 0, 0, false},
    {"auth_password", take_source, offsetof(struct credential, text.password), NULL, 0, 0, true},
    {0},
};

static bool take_credential(struct reader *r, const struct yaml_node *node, const struct field *f,
                            void *into)
{
    struct credential read = {.text = {NULL, NULL}};
    char host[ADDRESS_HOST_MOST];
    const char *copy;

    (void)f;
    if (!reader_map(r, node, credential_fields, &read))
        return false;
    if (strlen(read.address.host) >= sizeof host)
        return reader_refuse(r, node, "the address is too long");
    strcpy(host, read.address.host);
    if (!address_normalize(host))
        return reader_refuse(r, node, "\"%.100s\": a server is named by its number here", host);
    copy = arena_copy(r->arena, host, strlen(host));
    return copy != NULL && login_add(r, into, &read.text, copy, read.address.port);
}

struct options {
    struct login_text text;
    struct config_login *logins;
};

static bool take_credentials(struct reader *r, const struct yaml_node *node, const struct field *f,
                             void *into)
{
    (void)f;
    return reader_list(r, node, take_credential, into);
}

static const struct field options_fields[] = {
    {"auth_username", take_source, offsetof(struct options, text.username), NULL, 0, 0, false},
    {"auth_password", take_source, offsetof(struct options, text.password), NULL, 0, 0, false},
    {"credentials", take_credentials, offsetof(struct options, logins), NULL, 0, 0, false},
    {"aws_iam", take_refused, 0, "is not supported: there is nobody here to ask for a token", 0, 0,
     false},
    {"@type", take_any, 0, NULL, 0, 0, false},
    {0},
};

static bool take_options(struct reader *r, const struct yaml_node *node, const struct field *f,
                         void *into)
{
    struct config_login **logins = into;
    struct options read = {.logins = NULL};

    (void)f;
    if (!envoy_take_typed(r, node, options_fields, ".RedisProtocolOptions",
                          "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3."
                          "RedisProtocolOptions",
                          &read))
        return false;
    *logins = read.logins;
    if (login_is_said(&read.text))
        return login_add(r, logins, &read.text, "", 0);
    if (read.text.username != NULL)
        return reader_refuse(r, node,
                             "the field \"auth_password\" is missing: a user name alone "
                             "logs nobody in");
    return true;
}

static const struct field extension_fields[] = {
    {"envoy.filters.network.redis_proxy", take_options, 0, NULL, 0, 0, true},
    {0},
};

bool login_take_options(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    (void)f;
    return reader_map(r, node, extension_fields, into);
}
