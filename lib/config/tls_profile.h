/* A profile: what the TLS connections to the servers of a cluster have in common. Certificates and
 * keys are loaded when it is made. Never changed then; counted by reference, and used by any
 * thread. */
#ifndef REDISROUTE_CONFIG_TLS_PROFILE_H
#define REDISROUTE_CONFIG_TLS_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

struct reader_place;
struct ssl_st;
struct x509_st;

/* Certificates or a key in the PEM format. */
struct tls_source {
    const char *file; /* NULL: none */
    const char *text; /* in place of a file */
    const struct reader_place *place;
};

/* A name that the certificate of a server may be for. */
struct tls_name {
    struct tls_name *next;
    int kind;  /* of subject alternative name: enum tls_name_kind */
    int match; /* enum tls_match */
    const char *text;
    bool ignore_case;
};
enum tls_name_kind { TLS_NAME_ANY, TLS_NAME_EMAIL, TLS_NAME_DNS, TLS_NAME_URI, TLS_NAME_IP };
enum tls_match { TLS_EXACT, TLS_PREFIX, TLS_SUFFIX, TLS_CONTAINS };

struct tls_settings {
    struct tls_source ca; /* none: the system's; a folder will do as well */
    struct tls_source certificate;
    struct tls_source key;
    const char *server_name; /* empty: the name that was dialled, or that of the node */
    struct tls_name *names;  /* NULL: the server name is to be in the certificate */
    bool no_verify;
    int least; /* version of the protocol, as OpenSSL has them; 0: not said */
    int most;
};

/* Why there is no profile. */
struct tls_fault {
    const struct reader_place *place; /* of the source that is wrong; NULL: it is about the whole */
    char text[256];
};

struct tls_profile;

/* With a reference for the caller. NULL: `fault` says why. Reads files. */
struct tls_profile *tls_profile_create(const struct tls_settings *, struct tls_fault *);
/* Stands in for one that could not be made: connections fail, and say why; none is made without TLS
 * for it. */
struct tls_profile *tls_profile_create_broken(const char *why);
/* Of a program that has a connection of its own ready, which it never opens: all others become
 * duplicates of it. What it verifies is the program's business. NULL: out of memory. */
struct tls_profile *tls_profile_create_like(struct ssl_st *prototype);

struct tls_profile *tls_profile_ref(struct tls_profile *); /* NULL is nothing */
void tls_profile_unref(struct tls_profile *);

/* A connection that is not opened yet, with its server's name set; NULL, and words in `why`. `host`
 * is the server's address or name, `dialled` what the program dialled, or empty. */
struct ssl_st *tls_profile_begin(const struct tls_profile *, const char *host, const char *dialled,
                                 char *why, size_t why_size);
/* Whether the certificate of a server is for that server. */
bool tls_profile_accepts(const struct tls_profile *, struct x509_st *certificate, const char *host,
                         const char *dialled, char *why, size_t why_size);

/* Held by the thread that forks, so that the child finds no lock taken. */
void tls_profile_lock_all(void);
void tls_profile_unlock_all(void);

#endif
