/* A seed: where a connection goes that the program dials. That is the dialled address, unless the
 * configuration has a listener there whose cluster has endpoints: then any of those that is alive;
 * or unless it is a node that its cluster calls dead: then any other that is alive. */
#ifndef REDISROUTE_SOCKET_SEED_H
#define REDISROUTE_SOCKET_SEED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct config_cluster;

struct seed {
    struct sockaddr_storage dialled; /* by the program */
    socklen_t dialled_length;
    struct sockaddr_storage address; /* to be connected to */
    socklen_t length;
    const char *name; /* what was looked up for it: valid until this thread looks up another */
    bool pending;     /* the endpoints' names are still being looked up: there is no address yet */
    const struct config_cluster *cluster; /* whose endpoint it is; NULL: that was dialled */
};

/* Whom the seed is for. */
struct seed_wishes {
    int family;       /* AF_UNSPEC: any; else addresses of that family come first */
    bool bound;       /* … and no other will do */
    bool async;       /* an event loop would stand still: names are not waited for */
    int64_t limit_ms; /* so long endpoints are tried side by side */
};

enum seed_result { SEED_CHOSEN, SEED_NONE, SEED_PENDING };

enum { SEED_NAME_SIZE = 256 };

/* This thread has looked up a name, and is going to dial one of its addresses. */
void seed_note_name(const char *);

/* Names among the endpoints are looked up here, which may block as hiredis' own look-up does; not
 * where that would hold up an event loop (`async`): then the seed may be pending. Until the cluster
 * is known, endpoints are tried side by side: for the connect timeout, or a tenth of a second in an
 * event loop. `fd` is the socket that will be connected; -1: there is none yet. False: an address
 * that is none. */
bool seed_choose(struct seed *, const struct sockaddr *dialled, socklen_t length, int fd,
                 bool async);
/* A pending seed, once more. SEED_NONE: it is the dialled address. */
enum seed_result seed_choose_again(struct seed *);

struct config_listener;

/* Any endpoint of a cluster that is alive; `address` of the seed is set. SEED_NONE: none has an
 * address. */
enum seed_result seed_choose_of(struct seed *, const struct config_cluster *,
                                const struct seed_wishes *);
int64_t seed_limit_ms(const struct config_listener *, bool async);

static inline const struct sockaddr *seed_address(const struct seed *seed)
{
    return (const struct sockaddr *)&seed->address;
}

#endif
