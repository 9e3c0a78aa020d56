/* Certificates for tests of TLS, made by the openssl command in a temporary folder:
 *
 *     ca.pem         who signed all of these but the last two
 *     server         for localhost, 127.0.0.1 and redis.test
 *     elsewhere      for elsewhere.test, and nothing else
 *     expired        as server, until yesterday
 *     client         of a client
 *     other-ca.pem   another authority …
 *     stranger       … and a client's certificate that it signed
 *
 * each as NAME.pem and NAME.key. */
#ifndef SUPPORT_CERTIFICATES_H
#define SUPPORT_CERTIFICATES_H

struct certificates;

/* As folder_create. */
struct certificates *certificates_create(void);
void certificates_remove(struct certificates *);

/* The folder. */
const char *certificates_path(const struct certificates *);
/* "FOLDER/NAME", valid as long as the certificates. */
const char *certificates_file(const struct certificates *, const char *name);

#endif
