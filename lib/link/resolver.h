/* Names of servers and their addresses, for the whole process. A look-up may take seconds: it is
 * made by a thread of its own, and nobody waits for it who has other things to do.
 *
 * What was found is good for a while, or until a connection to it is lost (resolver_doubt), and
 * after that until something newer is found: a name server that is away takes no node away. Of
 * several addresses those that failed lately come last. Thread-safe. */
#ifndef REDISROUTE_LINK_RESOLVER_H
#define REDISROUTE_LINK_RESOLVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum resolver_result {
    RESOLVER_FOUND,
    RESOLVER_PENDING, /* being looked up: ask again in RESOLVER_AGAIN_MS */
    RESOLVER_UNKNOWN,
};

enum {
    RESOLVER_ADDRESSES_MOST = 16, /* of one name */
    RESOLVER_AGAIN_MS = 5,
    RESOLVER_FRESH_MS = 5000,  /* what was found is not looked up again before, … */
    RESOLVER_FAILED_MS = 1000, /* … nor what was not found, … */
    RESOLVER_DOUBTED_MS = 250, /* … nor what is doubted */
    RESOLVER_PATIENCE_MS = 200, /* then a doubted address is used again, if there is no newer one */
    RESOLVER_SHUNNED_MS = 10000, /* an address that failed stands behind the others for so long */
};

struct resolver_address {
    struct sockaddr_storage address; /* its port is that of whom it is found for */
    socklen_t length;
    int64_t failed_ms; /* when a connection to it failed; 0: none did */
};

/* The host's best address, of that family if it has one of it (AF_UNSPEC: any); a number is its
 * own. With `wait` the calling thread looks up itself what is not known. */
enum resolver_result resolver_look_up(const char *host, uint16_t port, sa_family_t family, bool wait,
                                      struct sockaddr_storage *address, socklen_t *length);

/* All of them, the best first; at least one when they are found. With `wait` a look-up is made here
 * and now, unless one was made within RESOLVER_DOUBTED_MS; without, one is begun under the same
 * condition, and what was known before is returned meanwhile. */
enum resolver_result resolver_list(const char *host, uint16_t port, sa_family_t family, bool wait,
                                   struct resolver_address list[RESOLVER_ADDRESSES_MOST],
                                   size_t *count);

/* The best as a number, whatever its family; waits for nobody. */
enum resolver_result resolver_number(const char *host, uint16_t port, char number[INET6_ADDRSTRLEN]);

/* A connection to that address of the name failed or was lost: the name may lead elsewhere by now.
 * Nothing happens for a number, and for a name that was never asked for. */
void resolver_doubt(const char *host, const struct sockaddr_storage *address);

/* Whether it has to be looked up at all. */
bool resolver_is_name(const char *host);

/* Held by the thread that forks. The child's look-ups begin anew. */
void resolver_lock_all(void);
void resolver_unlock_all(bool in_child);

#endif
