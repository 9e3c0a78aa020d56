/* Addresses of sockets as text. */
#ifndef REDISROUTE_SOCKET_SOCKADDR_H
#define REDISROUTE_SOCKET_SOCKADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* False: it is neither of IPv4 nor of IPv6. */
bool sockaddr_text(const struct sockaddr *, char host[INET6_ADDRSTRLEN], uint16_t *port);

#endif
