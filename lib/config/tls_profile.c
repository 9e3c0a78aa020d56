#include "config/tls_profile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/openssl.h"
#include "base/path.h"

enum { PEM_MOST = 4 << 20 };

struct tls_profile {
    _Atomic unsigned references;
    SSL_CTX *context;     /* NULL: broken, or a program's */
    SSL *prototype;       /* a program's, duplicated by one thread at a time */
    char *broken;         /* why no connection can be opened */
    char *server_name;    /* empty: none was said */
    struct tls_name *names;
    bool verifies;
};

static pthread_mutex_t duplicating = PTHREAD_MUTEX_INITIALIZER;

void tls_profile_lock_all(void)
{
    pthread_mutex_lock(&duplicating);
}

void tls_profile_unlock_all(void)
{
    pthread_mutex_unlock(&duplicating);
}

/* --- reading PEM --- */

static bool fault_at(struct tls_fault *fault, const struct tls_source *source, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

static bool fault_at(struct tls_fault *fault, const struct tls_source *source, const char *format,
                     ...)
{
    char what[sizeof fault->text - 100];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    fault->place = source->place;
    snprintf(fault->text, sizeof fault->text, "%s%.90s%s%s", source->file != NULL ? "\"" : "",
             source->file != NULL ? source->file : "", source->file != NULL ? "\": " : "", what);
    return false;
}

static const char *openssl_says(const struct openssl *ssl)
{
    const char *text = ssl->ERR_reason_error_string(ssl->ERR_peek_last_error());

    return text != NULL ? text : "OpenSSL refuses it";
}

static bool read_source(const struct tls_source *source, struct buffer *text,
                        struct tls_fault *fault)
{
    char path[PATH_MAX];
    FILE *file = source->file != NULL ? fopen(path_of(source->file, path), "re") : NULL;
    char *room = NULL;
    size_t n = 1;

    if (source->file == NULL)
        return buffer_append_text(text, source->text) || fault_at(fault, source, "out of memory");
    while (file != NULL && n > 0 && buffer_length(text) <= PEM_MOST &&
           (room = buffer_reserve(text, 8192)) != NULL) {
        n = fread(room, 1, 8192, file);
        text->tail += n;
    }
    if (file == NULL || ferror(file) || room == NULL)
        fault_at(fault, source, "%s", strerror(errno));
    if (file != NULL)
        fclose(file);
    return fault->text[0] == '\0';
}

/* A BIO over the text of a source, which `text` keeps. */
static BIO *open_source(const struct openssl *ssl, const struct tls_source *source,
                        struct buffer *text, struct tls_fault *fault)
{
    BIO *bio;

    buffer_init(text);
    if (!read_source(source, text, fault))
        return NULL;
    bio = ssl->BIO_new_mem_buf(buffer_length(text) > 0 ? buffer_bytes(text) : "",
                               (int)buffer_length(text));
    if (bio == NULL)
        fault_at(fault, source, "out of memory");
    return bio;
}

/* Nobody is there to be asked for a password. */
static int no_password(char *to, int size, int writing, void *data)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

typedef bool take_certificate(const struct openssl *, SSL_CTX *, X509 *, int number);

/* Each certificate of a source, in turn. */
static bool each_certificate(const struct openssl *ssl, SSL_CTX *context,
                             const struct tls_source *source, take_certificate *take,
                             struct tls_fault *fault)
{
    struct buffer text;
    BIO *bio = open_source(ssl, source, &text, fault);
    X509 *certificate;
    int number = 0;
    bool ok = bio != NULL;

    while (ok && (certificate = ssl->PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        ok = take(ssl, context, certificate, number++) ||
             fault_at(fault, source, "%s", openssl_says(ssl));
        ssl->X509_free(certificate);
    }
    if (ok && ERR_GET_REASON(ssl->ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        ok = fault_at(fault, source, "a certificate is not right: %s", openssl_says(ssl));
    else if (ok && number == 0)
        ok = fault_at(fault, source, "there is no certificate here; expected is the PEM format");
    if (bio != NULL)
        ssl->BIO_free(bio);
    buffer_deinit(&text);
    ssl->ERR_clear_error();
    return ok;
}

static bool trust(const struct openssl *ssl, SSL_CTX *context, X509 *certificate, int number)
{
    (void)number;
    return ssl->X509_STORE_add_cert(ssl->SSL_CTX_get_cert_store(context), certificate) == 1;
}

/* The first is ours, and the others lead to who signed it. */
static bool present(const struct openssl *ssl, SSL_CTX *context, X509 *certificate, int number)
{
    return number == 0 ? ssl->SSL_CTX_use_certificate(context, certificate) == 1
                       : ssl->SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, certificate) == 1;
}

static bool take_key(const struct openssl *ssl, SSL_CTX *context, const struct tls_source *source,
                     struct tls_fault *fault)
{
    struct buffer text;
    BIO *bio = open_source(ssl, source, &text, fault);
    EVP_PKEY *key = bio != NULL ? ssl->PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    bool ok = key != NULL;

    if (bio != NULL && !ok)
        fault_at(fault, source, "%s",
                 memmem(buffer_bytes(&text), buffer_length(&text), "ENCRYPTED", 9) != NULL
                     ? "the key is encrypted, and a password for it is not supported"
                     : "there is no private key here; expected is the PEM format");
    else if (ok && ssl->SSL_CTX_use_PrivateKey(context, key) != 1)
        ok = fault_at(fault, source, "the key does not belong to the certificate");
    ssl->EVP_PKEY_free(key);
    if (bio != NULL)
        ssl->BIO_free(bio);
    buffer_deinit(&text);
    ssl->ERR_clear_error();
    return ok;
}

/* --- making --- */

static bool is_given(const struct tls_source *source)
{
    return source->file != NULL || source->text != NULL;
}

static bool is_folder(const struct tls_source *source)
{
    char path[PATH_MAX];
    struct stat st;

    return source->file != NULL && stat(path_of(source->file, path), &st) == 0 &&
           S_ISDIR(st.st_mode);
}

static bool take_ca(const struct openssl *ssl, SSL_CTX *context, const struct tls_source *source,
                    struct tls_fault *fault)
{
    char path[PATH_MAX];

    if (!is_given(source))
        return ssl->SSL_CTX_set_default_verify_paths(context) == 1;
    if (is_folder(source))
        return ssl->SSL_CTX_load_verify_dir(context, path_of(source->file, path)) == 1 ||
               fault_at(fault, source, "%s", openssl_says(ssl));
    return each_certificate(ssl, context, source, trust, fault);
}

static bool take_identity(const struct openssl *ssl, SSL_CTX *context, const struct tls_settings *s,
                          struct tls_fault *fault)
{
    if (!is_given(&s->certificate) && !is_given(&s->key))
        return true;
    if (!is_given(&s->key))
        return fault_at(fault, &s->certificate, "the certificate has no key beside it");
    if (!is_given(&s->certificate))
        return fault_at(fault, &s->key, "the key has no certificate beside it");
    return each_certificate(ssl, context, &s->certificate, present, fault) &&
           take_key(ssl, context, &s->key, fault);
}

/* Flushed bytes leave the buffer they were in, so that it may have moved when the rest is sent. */
static void configure(const struct openssl *ssl, SSL_CTX *context, const struct tls_settings *s)
{
    ssl->SSL_CTX_ctrl(context, SSL_CTRL_MODE,
                      SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                          SSL_MODE_RELEASE_BUFFERS,
                      NULL);
    ssl->SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    ssl->SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION,
                      s->least != 0 ? s->least : TLS1_2_VERSION, NULL);
    ssl->SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, s->most, NULL);
    ssl->SSL_CTX_set_verify(context, s->no_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
}

static struct tls_profile *create(void)
{
    struct tls_profile *p = calloc(1, sizeof *p);

    if (p == NULL)
        return NULL;
    atomic_store(&p->references, 1);
    return p;
}

static bool copy_names(struct tls_profile *p, const struct tls_name *names)
{
    struct tls_name **end = &p->names;

    for (; names != NULL; names = names->next) {
        struct tls_name *copy = malloc(sizeof *copy);

        if (copy == NULL)
            return false;
        *copy = *names;
        copy->next = NULL;
        *end = copy;
        end = &copy->next;
        copy->text = strdup(names->text);
        if (copy->text == NULL)
            return false;
    }
    return true;
}

struct tls_profile *tls_profile_create(const struct tls_settings *s, struct tls_fault *fault)
{
    const char *why;
    const struct openssl *ssl = openssl_load(&why);
    struct tls_profile *p = ssl != NULL ? create() : NULL;

    *fault = (struct tls_fault){.text = ""};
    if (ssl == NULL) {
        snprintf(fault->text, sizeof fault->text, "there is no TLS: %.200s", why);
        return NULL;
    }
    ssl->ERR_clear_error();
    if (p != NULL) {
        p->verifies = !s->no_verify;
        p->server_name = strdup(s->server_name != NULL ? s->server_name : "");
        p->context = ssl->SSL_CTX_new(ssl->TLS_client_method());
    }
    if (p != NULL && p->server_name != NULL && p->context != NULL && copy_names(p, s->names)) {
        configure(ssl, p->context, s);
        if (take_ca(ssl, p->context, &s->ca, fault) && take_identity(ssl, p->context, s, fault))
            return p;
    }
    if (fault->text[0] == '\0')
        strcpy(fault->text, "out of memory");
    ssl->ERR_clear_error();
    tls_profile_unref(p);
    return NULL;
}

struct tls_profile *tls_profile_create_broken(const char *why)
{
    struct tls_profile *p = create();

    if (p != NULL)
        p->broken = strdup(why);
    if (p != NULL && p->broken != NULL)
        return p;
    tls_profile_unref(p);
    return NULL;
}

struct tls_profile *tls_profile_create_like(struct ssl_st *prototype)
{
    const struct openssl *ssl = openssl_load(NULL);
    struct tls_profile *p = ssl != NULL ? create() : NULL;
    const char *name =
        ssl != NULL ? ssl->SSL_get_servername(prototype, TLSEXT_NAMETYPE_host_name) : NULL;

    if (p == NULL || (p->server_name = strdup(name != NULL ? name : "")) == NULL) {
        tls_profile_unref(p);
        return NULL;
    }
    ssl->SSL_up_ref(prototype);
    p->prototype = prototype;
    return p;
}

struct tls_profile *tls_profile_ref(struct tls_profile *p)
{
    if (p != NULL)
        atomic_fetch_add(&p->references, 1);
    return p;
}

void tls_profile_unref(struct tls_profile *p)
{
    const struct openssl *ssl;

    if (p == NULL || atomic_fetch_sub(&p->references, 1) != 1)
        return;
    ssl = p->context != NULL || p->prototype != NULL ? openssl_load(NULL) : NULL;
    if (ssl != NULL) {
        ssl->SSL_CTX_free(p->context);
        ssl->SSL_free(p->prototype);
    }
    while (p->names != NULL) {
        struct tls_name *next = p->names->next;

        free((char *)p->names->text);
        free(p->names);
        p->names = next;
    }
    free(p->server_name);
    free(p->broken);
    free(p);
}

/* --- a connection --- */

static bool is_number(const char *host)
{
    struct in6_addr address;

    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* What a server is told that it is called: an address is no name. */
static const char *name_to_say(const struct tls_profile *p, const char *host, const char *dialled)
{
    if (p->server_name[0] != '\0')
        return is_number(p->server_name) ? NULL : p->server_name;
    if (!is_number(host))
        return host;
    return dialled[0] != '\0' && !is_number(dialled) ? dialled : NULL;
}

static SSL *duplicate(const struct openssl *ssl, struct tls_profile *p)
{
    SSL *made;

    pthread_mutex_lock(&duplicating);
    made = ssl->SSL_dup(p->prototype);
    pthread_mutex_unlock(&duplicating);
    if (made == NULL)
        return NULL;
    ssl->SSL_ctrl(made, SSL_CTRL_MODE,
                  SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                      SSL_MODE_RELEASE_BUFFERS,
                  NULL);
    return made;
}

struct ssl_st *tls_profile_begin(const struct tls_profile *p, const char *host, const char *dialled,
                                 char *why, size_t why_size)
{
    const struct openssl *ssl = openssl_load(NULL);
    const char *name;
    SSL *made = NULL;

    snprintf(why, why_size, "%s", p->broken != NULL ? p->broken : "out of memory");
    if (p->broken != NULL || ssl == NULL)
        return NULL;
    ssl->ERR_clear_error();
    made = p->context != NULL ? ssl->SSL_new(p->context) : duplicate(ssl, (struct tls_profile *)p);
    name = p->prototype != NULL && p->server_name[0] == '\0' ? NULL : name_to_say(p, host, dialled);
    if (made != NULL && name != NULL)
        ssl->SSL_ctrl(made, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)name);
    ssl->ERR_clear_error();
    return made;
}

/* --- who the server is --- */

static bool matches(const struct tls_name *name, const char *text, size_t length)
{
    size_t wanted = strlen(name->text);
    int (*compare)(const char *, const char *, size_t) = name->ignore_case ? strncasecmp : strncmp;

    if (length < wanted)
        return false;
    switch ((enum tls_match)name->match) {
    case TLS_EXACT:
        return length == wanted && compare(text, name->text, wanted) == 0;
    case TLS_PREFIX:
        return compare(text, name->text, wanted) == 0;
    case TLS_SUFFIX:
        return compare(text + length - wanted, name->text, wanted) == 0;
    case TLS_CONTAINS:
        for (size_t i = 0; i + wanted <= length; i++)
            if (compare(text + i, name->text, wanted) == 0)
                return true;
        return false;
    }
    return false;
}

/* The kind of a subject alternative name; -1: not one that is text. */
static int kind_of(int type)
{
    switch (type) {
    case GEN_EMAIL:
        return TLS_NAME_EMAIL;
    case GEN_DNS:
        return TLS_NAME_DNS;
    case GEN_URI:
        return TLS_NAME_URI;
    default:
        return -1;
    }
}

static bool text_matches(const struct openssl *ssl, X509 *certificate, const struct tls_name *name)
{
    GENERAL_NAMES *all = ssl->X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int count = all != NULL ? ssl->OPENSSL_sk_num((const OPENSSL_STACK *)all) : 0;
    bool found = false;

    for (int i = 0; i < count && !found; i++) {
        const GENERAL_NAME *one = ssl->OPENSSL_sk_value((const OPENSSL_STACK *)all, i);
        int kind = kind_of(one->type);

        found = kind >= 0 && (name->kind == TLS_NAME_ANY || name->kind == kind) &&
                matches(name, (const char *)ssl->ASN1_STRING_get0_data(one->d.ia5),
                        (size_t)ssl->ASN1_STRING_length(one->d.ia5));
    }
    if (all != NULL)
        ssl->GENERAL_NAMES_free(all);
    return found;
}

/* A name of the certificate may be that of a whole domain, *.example.com. */
static bool is_for(const struct openssl *ssl, X509 *certificate, const char *name)
{
    return is_number(name) ? ssl->X509_check_ip_asc(certificate, name, 0) == 1
                           : ssl->X509_check_host(certificate, name, 0, 0, NULL) == 1;
}

static bool is_named(const struct openssl *ssl, X509 *certificate, const struct tls_name *name)
{
    bool whole =
        name->match == TLS_EXACT &&
        (name->kind == TLS_NAME_DNS || name->kind == TLS_NAME_IP || name->kind == TLS_NAME_ANY);

    return (whole && is_for(ssl, certificate, name->text)) || text_matches(ssl, certificate, name);
}

bool tls_profile_accepts(const struct tls_profile *p, struct x509_st *certificate, const char *host,
                         const char *dialled, char *why, size_t why_size)
{
    const struct openssl *ssl = openssl_load(NULL);
    const char *wanted = p->server_name;
    bool accepted = false;

    if (!p->verifies)
        return true;
    if (p->names != NULL) {
        for (const struct tls_name *n = p->names; n != NULL && !accepted; n = n->next)
            accepted = is_named(ssl, certificate, n);
        wanted = "none of the names that were asked for";
    } else if (wanted[0] != '\0') {
        accepted = is_for(ssl, certificate, wanted);
    } else {
        wanted = dialled[0] != '\0' ? dialled : host;
        accepted = is_for(ssl, certificate, host) ||
                   (dialled[0] != '\0' && is_for(ssl, certificate, dialled));
    }
    ssl->ERR_clear_error();
    if (!accepted && p->names != NULL)
        snprintf(why, why_size, "the server's certificate has %s", wanted);
    else if (!accepted)
        snprintf(why, why_size, "the server's certificate is not for \"%.100s\"", wanted);
    return accepted;
}
