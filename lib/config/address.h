/* Addresses as they are written: HOST:PORT, [HOST]:PORT, and the ADDRESS_PORT of a listener. */
#ifndef REDISROUTE_CONFIG_ADDRESS_H
#define REDISROUTE_CONFIG_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ADDRESS_HOST_MOST = 256 };

struct address_text {
    char host[ADDRESS_HOST_MOST];
    uint16_t port;
};

/* "HOST:PORT", IPv6 in brackets. */
bool address_parse(const char *text, size_t length, struct address_text *);

/* "ADDRESS_PORT" as Istio names its listeners. */
bool address_parse_listener(const char *text, struct address_text *);

/* Brings an IPv4 or IPv6 address into the one form that all others have (::1, not 0:0::1). False:
 * it is none. An address that stands for all (0.0.0.0, ::) becomes "". */
bool address_normalize(char host[ADDRESS_HOST_MOST]);

/* "outbound|PORT|SUBSET|HOST", Istio's name of a service's cluster. */
bool address_parse_outbound(const char *name, struct address_text *);

#endif
