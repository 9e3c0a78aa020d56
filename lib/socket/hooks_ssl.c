/* Hooks into hiredis' TLS layer, for the libraries beside ours: libredisroute_ssl.so, and the one to
 * preload under the name of libhiredis_ssl.
 *
 * hiredis gives c->fd to OpenSSL, which knows nothing of the seam. On a descriptor of ours its
 * handshake is caught at SSL_connect: by then there is an SSL with all that the program wants, and no
 * byte was sent. It becomes the pattern for every connection of the session, and the context is what
 * it was: its bytes go through the seam as they are, and TLS is under it. */
#pragma GCC visibility push(default)
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#pragma GCC visibility pop

#include <openssl/ssl.h>

#include "redisroute/redisroute.h"

/* NOLINTBEGIN: the linker's names */
int hiredis_redisInitiateSSL(redisContext *c, SSL *ssl);
int hiredis_redisInitiateSSLWithContext(redisContext *c, redisSSLContext *context);
int seam_SSL_connect(SSL *ssl);
/* NOLINTEND */

/* Not there, when this library came without the other: all is as hiredis does it. */
extern __typeof__(redisRouteInitiateSSL) redisRouteInitiateSSL __attribute__((weak));

static _Thread_local redisContext *initiating;
static _Thread_local int taken; /* what redisRouteInitiateSSL said */

int seam_SSL_connect(SSL *ssl)
{
    if (initiating != NULL && redisRouteInitiateSSL != NULL)
        taken = redisRouteInitiateSSL(initiating, ssl);
    return taken == 0 ? SSL_connect(ssl) : taken;
}

static void begin(redisContext *c)
{
    initiating = c;
    taken = 0;
}

/* What hiredis has put over the context for the SSL goes away again. */
static int end(redisContext *c, const redisContextFuncs *before, int result)
{
    initiating = NULL;
    if (taken != 0) {
        if (c->privctx != NULL)
            c->funcs->free_privctx(c->privctx);
        c->privctx = NULL;
        c->funcs = before;
    }
    taken = 0;
    return result;
}

int redisInitiateSSL(redisContext *c, SSL *ssl)
{
    const redisContextFuncs *before = c->funcs;

    begin(c);
    return end(c, before, hiredis_redisInitiateSSL(c, ssl));
}

int redisInitiateSSLWithContext(redisContext *c, redisSSLContext *context)
{
    const redisContextFuncs *before = c->funcs;

    begin(c);
    return end(c, before, hiredis_redisInitiateSSLWithContext(c, context));
}
