/* What an error of a server asks the client to do. One table; no error is judged anywhere
 * else. Pure. */
#ifndef REDISROUTE_ROUTE_REDIRECT_H
#define REDISROUTE_ROUTE_REDIRECT_H

#include "base/bytes.h"

#include <stddef.h>
#include <stdint.h>

enum redirect_action {
    REDIRECT_NONE,        /* an ordinary error: the application's */
    REDIRECT_MOVED,       /* the slot lives at host:port */
    REDIRECT_ASK,         /* this once, with ASKING, at host:port */
    REDIRECT_TRYAGAIN,    /* the slot is migrating, its keys are on both sides */
    REDIRECT_CLUSTERDOWN, /* the node sees no majority */
    REDIRECT_UNBOUND,     /* no node owns the slot */
    REDIRECT_LOADING,     /* the node reads its data from disk */
    REDIRECT_MASTERDOWN,  /* a replica without its master */
    REDIRECT_READONLY,    /* a replica that was taken for a master */
    REDIRECT_UNBLOCKED,   /* a master became a replica while the command waited there */
    REDIRECT_NOSCRIPT,    /* the node does not know the script */
};

struct redirect {
    enum redirect_action action;
    uint16_t slot;     /* of MOVED and ASK, else SLOT_NONE */
    uint16_t port;     /* of MOVED and ASK, else 0 */
    struct bytes host; /* inside the error; empty: the host that was asked */
};

/* The error begins behind its '-' and ends before its CRLF. MOVED and ASK that cannot be
 * understood are REDIRECT_NONE. */
void redirect_parse(const char *error, size_t length, struct redirect *out);

#endif
