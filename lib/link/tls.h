/* TLS: what lies between a link's `out` and `in` and the wire's descriptor, when a connection is
 * secured. Used by wire.c, which answers for everybody else.
 *
 *     out ──tls_flush──> SSL ──> send        in <──tls_fill── SSL <── recv
 *
 * Whoever waits for the descriptor misses nothing: after tls_fill what OpenSSL still keeps is no
 * whole record. */
#ifndef REDISROUTE_LINK_TLS_H
#define REDISROUTE_LINK_TLS_H

#include "config/tls_profile.h"
#include "link/wire.h"

struct tls;

/* From now on nothing is sent or received but by TLS. False: out of memory. Takes a reference to
 * the profile, and a copy of `dialled`, which may be NULL. */
bool tls_begin(struct link *, struct tls_profile *, const char *dialled);
/* Goes on with the handshake; WIRE_AGAIN: link->tls_wants says what it waits for. */
enum wire_result tls_connect(struct link *);
enum wire_result tls_flush(struct link *);
enum wire_result tls_fill(struct link *, bool wait);
/* See wire_is_usable. */
bool tls_is_usable(struct link *);
/* OpenSSL ends in the middle of exit(): `end` is called before, if it was ever used. */
void tls_at_exit(void (*end)(void));
/* Says goodbye, where the connection is this process' own, and frees what tls_begin made. */
void tls_end(struct link *);

#endif
