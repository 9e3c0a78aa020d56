/* Names of nodes and their addresses, for the whole process. A look-up may take seconds: it is
 * made by a thread of its own, and nobody waits for it who has other things to do.
 *
 * What was found is good for a while, and after that until something newer is found: a name server
 * that is away takes no node away. Thread-safe. */
#ifndef REDISROUTE_LINK_RESOLVER_H
#define REDISROUTE_LINK_RESOLVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum resolver_result {
    RESOLVER_FOUND,
    RESOLVER_PENDING, /* being looked up: ask again in RESOLVER_AGAIN_MS */
    RESOLVER_UNKNOWN,
};

enum {
    RESOLVER_AGAIN_MS = 5,
    RESOLVER_FRESH_MS = 5000, /* what was found is not looked up again before */
    RESOLVER_FAILED_MS = 1000, /* nor what was not found */
};

/* The host's address, of that family if it has one of it (AF_UNSPEC: its first); a number is its own.
 * With `wait` the calling thread looks up itself what is not known. */
enum resolver_result resolver_look_up(const char *host, uint16_t port, sa_family_t family, bool wait,
                                      struct sockaddr_storage *address, socklen_t *length);

/* The same as a number, whatever its family; waits for nobody. */
enum resolver_result resolver_number(const char *host, uint16_t port, char number[INET6_ADDRSTRLEN]);

/* Held by the thread that forks. The child's look-ups begin anew. */
void resolver_lock_all(void);
void resolver_unlock_all(bool in_child);

#endif
