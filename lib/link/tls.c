#include "link/tls.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/openssl.h"

enum { FILL_SMALL = 2048, FILL_LARGE = 17 * 1024, WHY_MOST = 256 };

struct tls {
    SSL *ssl; /* NULL: it could not be made, and the link's `trouble` says why */
    struct tls_profile *profile;
    pid_t owner;  /* a child that inherits the descriptor says nothing on it */
    bool is_open; /* the handshake is over */
    bool is_lost;
    bool waits;  /* recv may */
    bool sated;  /* recv is not to be called: something was read */
    bool at_end; /* the server closed its end */
    int error;   /* of the last system call; 0: it did what was asked */
    char dialled[];
};

static const struct openssl *openssl;

/* --- what OpenSSL reads from and writes to --- */

static int result_of(BIO *bio, struct link *link, ssize_t n, int retry)
{
    openssl->BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    link->tls->error = n == -1 ? errno : 0;
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        openssl->BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    return (int)n;
}

static int bio_read(BIO *bio, char *to, int size)
{
    struct link *link = openssl->BIO_get_data(bio);
    struct tls *tls = link->tls;
    ssize_t n = -1;

    if (tls->sated)
        errno = EAGAIN;
    else
        n = recv(link->fd, to, (size_t)size, tls->waits ? 0 : MSG_DONTWAIT);
    tls->at_end = n == 0;
    return result_of(bio, link, n, BIO_FLAGS_READ);
}

/* No SIGPIPE, which OpenSSL's own would raise. */
static int bio_write(BIO *bio, const char *bytes, int length)
{
    struct link *link = openssl->BIO_get_data(bio);

    return result_of(bio, link, send(link->fd, bytes, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT),
                     BIO_FLAGS_WRITE);
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    openssl = openssl_load(NULL);
    if (openssl == NULL)
        return;
    method =
        openssl->BIO_meth_new(openssl->BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "redisroute");
    if (method == NULL)
        return;
    openssl->BIO_meth_set_read(method, bio_read);
    openssl->BIO_meth_set_write(method, bio_write);
    openssl->BIO_meth_set_ctrl(method, bio_ctrl);
}

/* --- making and ending --- */

void tls_at_exit(void (*end)(void))
{
    openssl_at_exit(end);
}

static void set_trouble(struct link *link, const char *why)
{
    free(link->trouble);
    link->trouble = strdup(why);
}

static bool open_ssl(struct link *link)
{
    char why[WHY_MOST];
    SSL *ssl =
        tls_profile_begin(link->tls->profile, link->host, link->tls->dialled, why, sizeof why);
    BIO *bio;

    if (ssl == NULL) {
        set_trouble(link, why);
        return true;
    }
    bio = method != NULL ? openssl->BIO_new(method) : NULL;
    if (bio == NULL) {
        openssl->SSL_free(ssl);
        return false;
    }
    openssl->BIO_set_data(bio, link);
    openssl->BIO_set_init(bio, 1);
    openssl->SSL_set_bio(ssl, bio, bio);
    openssl->SSL_set_connect_state(ssl);
    link->tls->ssl = ssl;
    return true;
}

bool tls_begin(struct link *link, struct tls_profile *profile, const char *dialled)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    size_t length = dialled != NULL ? strlen(dialled) : 0;
    struct tls *tls;

    pthread_once(&once, make_method);
    tls_end(link);
    free(link->trouble);
    link->trouble = NULL;
    tls = calloc(1, sizeof *tls + length + 1);
    if (tls == NULL)
        return false;
    memcpy(tls->dialled, dialled != NULL ? dialled : "", length);
    tls->owner = getpid();
    tls->profile = tls_profile_ref(profile);
    link->tls = tls;
    link->tls_wants = POLLOUT;
    if (open_ssl(link))
        return true;
    tls_end(link);
    return false;
}

void tls_end(struct link *link)
{
    struct tls *tls = link->tls;

    if (tls == NULL)
        return;
    if (tls->ssl != NULL) {
        openssl->ERR_clear_error();
        tls->waits = false;
        if (tls->is_open && !tls->is_lost && link->fd != -1 && tls->owner == getpid())
            openssl->SSL_shutdown(tls->ssl);
        openssl->SSL_free(tls->ssl);
        openssl->ERR_clear_error();
    }
    tls_profile_unref(tls->profile);
    free(tls);
    link->tls = NULL;
    link->tls_wants = 0;
}

/* --- what went wrong --- */

static enum wire_result lost(struct link *link, int why)
{
    link->tls->is_lost = true;
    link->error = why;
    link->out_received = link->out_flushed;
    openssl->ERR_clear_error();
    return WIRE_LOST;
}

static enum wire_result refused(struct link *link, const char *why)
{
    char text[WHY_MOST + 16];

    snprintf(text, sizeof text, "no TLS: %s", why);
    set_trouble(link, text);
    return lost(link, EPROTO);
}

/* Broken off by OpenSSL, or by the server with an alert. */
static enum wire_result broken(struct link *link)
{
    long verdict = openssl->SSL_get_verify_result(link->tls->ssl);
    unsigned long code = openssl->ERR_peek_last_error();
    const char *why = openssl->ERR_reason_error_string(code);
    char text[WHY_MOST];

    if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK) {
        snprintf(text, sizeof text, "the server's certificate is not trusted (%s)",
                 openssl->X509_verify_cert_error_string(verdict));
        return refused(link, text);
    }
    if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER && !link->tls->is_open)
        return refused(link, "the server does not speak it");
    return refused(link, why != NULL ? why : "the connection broke");
}

/* After a call of OpenSSL's that gave `result`, which is not what was hoped for. */
static enum wire_result outcome(struct link *link, int result)
{
    struct tls *tls = link->tls;
    int what;

    if (tls->at_end)
        return lost(link, 0);
    what = openssl->SSL_get_error(tls->ssl, result);
    switch (what) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        link->tls_wants = what == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        return tls->error == EINTR ? WIRE_INTERRUPTED : WIRE_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return lost(link, 0);
    case SSL_ERROR_SYSCALL:
        return lost(link, tls->error != 0 ? tls->error : EPROTO);
    default:
        return broken(link);
    }
}

/* Before a call of OpenSSL's. */
static void prepare(struct link *link, bool wait)
{
    struct tls *tls = link->tls;

    openssl->ERR_clear_error();
    link->tls_wants = 0;
    tls->waits = wait;
    tls->sated = tls->at_end = false;
    tls->error = 0;
}

/* --- using --- */

static enum wire_result check_server(struct link *link)
{
    X509 *certificate = openssl->SSL_get1_peer_certificate(link->tls->ssl);
    char why[WHY_MOST] = "the server has no certificate";
    bool accepted =
        certificate != NULL && tls_profile_accepts(link->tls->profile, certificate, link->host,
                                                   link->tls->dialled, why, sizeof why);

    openssl->X509_free(certificate);
    if (!accepted)
        return refused(link, why);
    link->tls->is_open = true;
    openssl->SSL_set_read_ahead(link->tls->ssl, 1); /* not before: it may read what comes behind */
    return WIRE_DONE;
}

enum wire_result tls_connect(struct link *link)
{
    struct tls *tls = link->tls;
    enum wire_result r;
    int result;

    if (tls->is_open)
        return WIRE_DONE;
    if (tls->ssl == NULL) {
        link->error = EPROTO;
        link->out_received = link->out_flushed;
        return WIRE_LOST;
    }
    prepare(link, false);
    result = openssl->SSL_do_handshake(tls->ssl);
    if (result == 1)
        return check_server(link);
    r = outcome(link, result);
    return r == WIRE_LOST && link->error == 0 ? lost(link, ECONNRESET) : r;
}

/* A server that turns a connection down says why before it resets it: that is still there to be read,
 * and says more than the reset, which may be told to the send first. */
static enum wire_result write_failed(struct link *link, int result)
{
    struct tls *tls = link->tls;
    int error = tls->error;
    char byte;

    if (openssl->SSL_get_error(tls->ssl, result) != SSL_ERROR_SYSCALL)
        return outcome(link, result);
    prepare(link, false);
    result = openssl->SSL_peek(tls->ssl, &byte, 1);
    if (result <= 0 && openssl->SSL_get_error(tls->ssl, result) == SSL_ERROR_SSL)
        return broken(link);
    return lost(link, error != 0 ? error : EPROTO);
}

enum wire_result tls_flush(struct link *link)
{
    struct tls *tls = link->tls;

    while (!tls->is_lost && link_unflushed(link)) {
        size_t done = (size_t)(link->out_flushed - link->out_base);
        size_t left = buffer_length(&link->out) - done;
        int n;

        prepare(link, false);
        n = openssl->SSL_write(tls->ssl, buffer_bytes(&link->out) + done,
                               left < INT_MAX ? (int)left : INT_MAX);
        if (n <= 0)
            return write_failed(link, n);
        link->out_flushed += (uint64_t)n;
    }
    return tls->is_lost ? WIRE_LOST : WIRE_DONE;
}

/* All that has arrived, and no more than one recv beyond the first bytes. */
enum wire_result tls_fill(struct link *link, bool wait)
{
    struct tls *tls = link->tls;
    enum wire_result r;
    int n;

    if (tls->is_lost)
        return WIRE_LOST;
    prepare(link, wait);
    for (;;) {
        size_t room = link->in.capacity > FILL_SMALL ? FILL_LARGE : FILL_SMALL;
        char *to = buffer_reserve(&link->in, room);

        if (to == NULL)
            return lost(link, ENOMEM);
        room = link->in.capacity - link->in.tail;
        n = openssl->SSL_read(tls->ssl, to, room < INT_MAX ? (int)room : INT_MAX);
        if (n <= 0)
            break;
        link->in.tail += (size_t)n;
        tls->sated = true;
    }
    if (!tls->sated) {
        r = outcome(link, n);
        if (r != WIRE_LOST && link->tls_wants == POLLIN)
            link->tls_wants = 0; /* as always */
        return r;
    }
    (void)outcome(link, n); /* what else is wrong is told when what was read is dealt with */
    if (link->tls_wants == POLLIN)
        link->tls_wants = 0;
    openssl->ERR_clear_error();
    return WIRE_DONE;
}

bool tls_is_usable(struct link *link)
{
    enum wire_result r;
    char byte;
    int n;

    if (link->tls->is_lost || !link->tls->is_open)
        return false;
    prepare(link, false);
    n = openssl->SSL_peek(link->tls->ssl, &byte, 1);
    if (n > 0)
        return true;
    r = outcome(link, n);
    return r == WIRE_AGAIN || r == WIRE_INTERRUPTED;
}
