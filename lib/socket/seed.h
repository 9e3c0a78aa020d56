/* A seed: where a connection goes that the program dials. That is the dialled address, unless the
 * configuration has a listener there whose cluster has endpoints: then any of those that is alive.
 */
#ifndef REDISROUTE_SOCKET_SEED_H
#define REDISROUTE_SOCKET_SEED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct seed {
    struct sockaddr_storage dialled; /* by the program */
    socklen_t dialled_length;
    struct sockaddr_storage address; /* to be connected to */
    socklen_t length;
    const char *name; /* what was looked up for it: valid until this thread looks up another */
};

enum { SEED_NAME_SIZE = 256 };

/* This thread has looked up a name, and is going to dial one of its addresses. */
void seed_note_name(const char *);

/* Names among the endpoints are looked up here, which may block as hiredis' own look-up does. Until
 * the cluster is known, endpoints are tried side by side: for the connect timeout, or, where that
 * would hold up an event loop (`async`), a tenth of a second. False: an address that is none. */
bool seed_choose(struct seed *, const struct sockaddr *dialled, socklen_t length, bool async);

struct config_cluster;
struct config_listener;

/* Any endpoint of a cluster that is alive; `address` of the seed is set. They are tried for
 * `limit_ms`. False: none has an address of that family (AF_UNSPEC: of any). */
bool seed_choose_of(struct seed *, const struct config_cluster *, int family, int64_t limit_ms);
int64_t seed_limit_ms(const struct config_listener *, bool async);

static inline const struct sockaddr *seed_address(const struct seed *seed)
{
    return (const struct sockaddr *)&seed->address;
}

#endif
