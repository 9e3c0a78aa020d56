/* The functions of OpenSSL, found when TLS is first wanted.
 *
 * libssl is no dependency of the library: a process that has no TLS never loads it, and one that
 * has it already gets its own. A value of a table is called as the function itself would be:
 *
 *     ssl->SSL_read(…)
 *
 * Its error queue belongs to the thread, and so to the program: whoever calls leaves it empty. */
#ifndef REDISROUTE_BASE_OPENSSL_H
#define REDISROUTE_BASE_OPENSSL_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdbool.h>
#include <stddef.h>

#define OPENSSL_FUNCTIONS(X)                                                                       \
    X(OPENSSL_init_ssl)                                                                            \
    X(ERR_clear_error)                                                                             \
    X(ERR_peek_error)                                                                              \
    X(ERR_peek_last_error)                                                                         \
    X(ERR_reason_error_string)                                                                     \
    X(BIO_get_new_index)                                                                           \
    X(BIO_meth_new)                                                                                \
    X(BIO_meth_set_read)                                                                           \
    X(BIO_meth_set_write)                                                                          \
    X(BIO_meth_set_ctrl)                                                                           \
    X(BIO_new)                                                                                     \
    X(BIO_new_mem_buf)                                                                             \
    X(BIO_free)                                                                                    \
    X(BIO_get_data)                                                                                \
    X(BIO_set_data)                                                                                \
    X(BIO_set_init)                                                                                \
    X(BIO_set_flags)                                                                               \
    X(BIO_clear_flags)                                                                             \
    X(PEM_read_bio_X509)                                                                           \
    X(PEM_read_bio_PrivateKey)                                                                     \
    X(EVP_PKEY_free)                                                                               \
    X(X509_free)                                                                                   \
    X(X509_STORE_add_cert)                                                                         \
    X(X509_verify_cert_error_string)                                                               \
    X(X509_check_host)                                                                             \
    X(X509_check_ip_asc)                                                                           \
    X(X509_check_private_key)                                                                      \
    X(X509_get_ext_d2i)                                                                            \
    X(GENERAL_NAMES_free)                                                                          \
    X(OPENSSL_sk_num)                                                                              \
    X(OPENSSL_sk_value)                                                                            \
    X(ASN1_STRING_get0_data)                                                                       \
    X(ASN1_STRING_length)                                                                          \
    X(TLS_client_method)                                                                           \
    X(SSL_CTX_new)                                                                                 \
    X(SSL_CTX_free)                                                                                \
    X(SSL_CTX_ctrl)                                                                                \
    X(SSL_CTX_set_options)                                                                         \
    X(SSL_CTX_set_verify)                                                                          \
    X(SSL_CTX_get_cert_store)                                                                      \
    X(SSL_CTX_set_default_verify_paths)                                                            \
    X(SSL_CTX_load_verify_dir)                                                                     \
    X(SSL_CTX_use_certificate)                                                                     \
    X(SSL_CTX_use_PrivateKey)                                                                      \
    X(SSL_new)                                                                                     \
    X(SSL_dup)                                                                                     \
    X(SSL_free)                                                                                    \
    X(SSL_up_ref)                                                                                  \
    X(SSL_ctrl)                                                                                    \
    X(SSL_set_bio)                                                                                 \
    X(SSL_set_connect_state)                                                                       \
    X(SSL_set_read_ahead)                                                                          \
    X(SSL_get_servername)                                                                          \
    X(SSL_do_handshake)                                                                            \
    X(SSL_read)                                                                                    \
    X(SSL_peek)                                                                                    \
    X(SSL_write)                                                                                   \
    X(SSL_shutdown)                                                                                \
    X(SSL_get_error)                                                                               \
    X(SSL_get_verify_result)                                                                       \
    X(SSL_get1_peer_certificate)

struct openssl {
#define X(name) __typeof__(name) *name;
    OPENSSL_FUNCTIONS(X)
#undef X
};

/* Any thread. NULL: there is none; *why, if it is not NULL, says so in words, a constant. */
const struct openssl *openssl_load(const char **why);

/* OpenSSL ends in the middle of exit(), while threads of ours may use it: `end` is called before.
 */
void openssl_at_exit(void (*end)(void));

#endif
