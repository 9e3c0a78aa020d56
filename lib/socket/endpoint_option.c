/* Options of the program's socket, which are those of every link. */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "socket/endpoint_state.h"
#include "socket/pump.h"

static void remember_option(struct wire_settings *wire, int level, int name, int value)
{
    int i = 0;

    while (i < wire->option_count &&
           (wire->options[i].level != level || wire->options[i].name != name))
        i++;
    if (i == WIRE_OPTIONS_MAX)
        return;
    wire->options[i] = (struct wire_option){level, name, value};
    if (i == wire->option_count)
        wire->option_count++;
}

static bool same_time(struct timeval a, struct timeval b)
{
    return a.tv_sec == b.tv_sec && a.tv_usec == b.tv_usec;
}

/* Programs set this before every command: only a change costs anything. */
static int set_timeout(struct endpoint *ep, int name, struct timeval timeout)
{
    struct timeval *known =
        name == SO_RCVTIMEO ? &ep->wire.receive_timeout : &ep->wire.send_timeout;

    if (same_time(*known, timeout))
        return 0;
    if (timeout.tv_sec < 0 || timeout.tv_usec < 0 || timeout.tv_usec >= 1000000) {
        errno = EDOM;
        return -1;
    }
    *known = timeout;
    if (ep->session == NULL)
        return setsockopt(ep->fd, SOL_SOCKET, name, &timeout, sizeof timeout);
    for (struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            if (name == SO_RCVTIMEO)
                wire_set_receive_timeout(link, &ep->wire);
            else if (link->fd != -1)
                setsockopt(link->fd, SOL_SOCKET, name, &timeout, sizeof timeout);
    return 0;
}

int endpoint_set_option(struct endpoint *ep, int level, int name, const void *value, socklen_t size)
{
    struct timeval timeout;
    int number, result = 0;

    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO) &&
        size == sizeof timeout) {
        memcpy(&timeout, value, sizeof timeout);
        return set_timeout(ep, name, timeout);
    }
    if (size == sizeof number) {
        memcpy(&number, value, sizeof number);
        remember_option(&ep->wire, level, name, number);
    }
    if (ep->session == NULL)
        return setsockopt(ep->fd, level, name, value, size);
    for (struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            if (link->fd != -1)
                result |= setsockopt(link->fd, level, name, value, size);
    return result;
}
