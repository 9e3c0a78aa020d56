#include "socket/sockaddr.h"

#include <arpa/inet.h>
#include <stddef.h>

bool sockaddr_text(const struct sockaddr *address, char host[INET6_ADDRSTRLEN], uint16_t *port)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

        *port = ntohs(in->sin_port);
        return inet_ntop(AF_INET, &in->sin_addr, host, INET6_ADDRSTRLEN) != NULL;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;

        *port = ntohs(in6->sin6_port);
        return inet_ntop(AF_INET6, &in6->sin6_addr, host, INET6_ADDRSTRLEN) != NULL;
    }
    return false;
}
