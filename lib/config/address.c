#include "config/address.h"

#include <arpa/inet.h>
#include <string.h>

/* Digits and nothing else; 0: no port. */
static uint16_t port_of(const char *text, size_t length)
{
    unsigned port = 0;

    if (length == 0 || length > 5)
        return 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

static bool fill(struct address_text *address, const char *host, size_t length, uint16_t port)
{
    if (length == 0 || length >= sizeof address->host || port == 0)
        return false;
    memcpy(address->host, host, length);
    address->host[length] = '\0';
    address->port = port;
    return true;
}

static bool split(const char *text, size_t length, char separator, struct address_text *address)
{
    const char *at = memrchr(text, separator, length);
    size_t host = at != NULL ? (size_t)(at - text) : 0;

    if (at == NULL)
        return false;
    if (host > 2 && text[0] == '[' && text[host - 1] == ']')
        return fill(address, text + 1, host - 2, port_of(at + 1, length - host - 1));
    if (separator == ':' && memchr(text, ':', host) != NULL)
        return false;
    return fill(address, text, host, port_of(at + 1, length - host - 1));
}

bool address_parse(const char *text, size_t length, struct address_text *address)
{
    return split(text, length, ':', address);
}

bool address_parse_listener(const char *text, struct address_text *address)
{
    return split(text, strlen(text), '_', address) && address_normalize(address->host);
}

bool address_normalize(char host[ADDRESS_HOST_MOST])
{
    static const struct in6_addr any6 = IN6ADDR_ANY_INIT;
    struct in_addr in;
    struct in6_addr in6;

    if (inet_pton(AF_INET, host, &in) == 1) {
        if (in.s_addr == INADDR_ANY)
            host[0] = '\0';
        return true;
    }
    if (inet_pton(AF_INET6, host, &in6) != 1)
        return false;
    if (memcmp(&in6, &any6, sizeof any6) == 0)
        host[0] = '\0';
    else
        inet_ntop(AF_INET6, &in6, host, ADDRESS_HOST_MOST);
    return true;
}

bool address_parse_outbound(const char *name, struct address_text *address)
{
    static const char outbound[] = "outbound|";
    const char *port = name + sizeof outbound - 1, *subset, *host;

    if (strncmp(name, outbound, sizeof outbound - 1) != 0)
        return false;
    subset = strchr(port, '|');
    host = subset != NULL ? strchr(subset + 1, '|') : NULL;
    return host != NULL && strchr(host + 1, '|') == NULL &&
           fill(address, host + 1, strlen(host + 1), port_of(port, (size_t)(subset - port)));
}
