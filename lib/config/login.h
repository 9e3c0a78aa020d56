/* Logins: the user name and the password that a connection to a server says first, as AUTH. A
 * password is in no complaint and in no line of the log, whatever is wrong with it. */
#ifndef REDISROUTE_CONFIG_LOGIN_H
#define REDISROUTE_CONFIG_LOGIN_H

#include "config/reader.h"

#include <stddef.h>
#include <stdint.h>

/* All NULL: none. */
struct login_text {
    const char *username;
    const char *password;
};

/* An empty password is none. */
static inline bool login_is_said(const struct login_text *text)
{
    return text->password != NULL && text->password[0] != '\0';
}

struct config_login {
    struct config_login *next;
    const char *host; /* of the one server that it is for, in the form of inet_ntop; empty: any */
    uint16_t port;
    size_t length;        /* of AUTH */
    const char *auth;     /* the command, as it is sent */
    const char *username; /* empty: the default user */
};

/* The one for a server, out of a list. NULL: none. */
const struct config_login *login_find(const struct config_login *, const char *host, uint16_t port);
/* Whether another user is logged in by one than by the other. */
bool login_is_of_other(const struct config_login *, const struct config_login *);

/* Adds one to the end of the list. False: out of memory. */
bool login_add(struct reader *, struct config_login **list, const struct login_text *,
               const char *host, uint16_t port);

/* A field that is a password (const char *), or the name of a file that contains one: a second word
 * on the same password is refused. The file's name is added to the configuration's `watched`. */
reader_take login_take_password;
reader_take login_take_password_file;

/* Envoy's RedisProtocolOptions, {"envoy.filters.network.redis_proxy": …}, into a list. */
reader_take login_take_options;

#endif
