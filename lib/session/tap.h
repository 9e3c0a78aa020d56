/* A tap on what a program writes to a server: nothing is taken away or changed, a copy is split
 * into commands and judged for the audit. One for each connection; it belongs to one thread at a
 * time. */
#ifndef REDISROUTE_SESSION_TAP_H
#define REDISROUTE_SESSION_TAP_H

#include "base/buffer.h"
#include "route/judge.h"
#include "session/parse.h"

#include <stdbool.h>
#include <stddef.h>

/* A command that is longer is not looked at, and neither is what follows it. */
enum { TAP_COMMAND_MOST = 32 << 20 };

/* All zero: of a connection that was just made. */
struct tap {
    struct buffer in; /* the beginning of a command */
    size_t needed;    /* of it, before another look is of use */
    struct argv argv;
    struct judge judge;
    bool blind; /* where commands begin is not known any more */
};

/* Bytes that the server was sent, cut anywhere. */
void tap_look(struct tap *, const char *bytes, size_t length);
void tap_deinit(struct tap *);

#endif
