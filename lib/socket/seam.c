/* The seam: the system calls of the hiredis inside end here. A descriptor that is no
 * endpoint's goes straight to the kernel, and so does everything when
 * REDISROUTE_OFF is set, since no endpoint is ever made then. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "socket/endpoint.h"
#include "socket/hooks.h"
#include "socket/replace.h"
#include "socket/seam.h"

/* hiredis 1.x asks whether a connection is up by calling connect() again. */
static int connect_again(struct endpoint *ep, const struct sockaddr *address, socklen_t length)
{
    int error;

    if (ep->kind != ENDPOINT_ASYNC)
        return connect(ep->fd, address, length);
    error = endpoint_connect_error(ep);
    errno = error == 0 ? EISCONN : error == EINPROGRESS ? EALREADY : error;
    return -1;
}

/* Whatever the address is, and whatever the configuration makes of it. */
static int connect_tapped(int fd, const struct sockaddr *address, socklen_t length)
{
    int result = connect(fd, address, length), error = errno;

    if (result == 0 || error == EINPROGRESS)
        (void)endpoint_create_tapped(fd, address, length);
    errno = error;
    return result;
}

/* hiredis looks a host up with its port, and the address to come from without one. */
int seam_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                     struct addrinfo **found)
{
    if (host != NULL && service != NULL)
        seed_note_name(host);
    return getaddrinfo(host, service, hints, found);
}

/* An endpoint may be of another family than the address that was dialled. The program holds the
 * number, not the socket. */
static bool change_family(int fd, sa_family_t family)
{
    int flags = fcntl(fd, F_GETFL), other = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = other != -1 && flags != -1 && fcntl(other, F_SETFL, flags) == 0 &&
              replace_descriptor(fd, other, O_CLOEXEC);

    if (other != -1)
        close(other);
    return ok;
}

static int connect_to(int fd, const struct seed *seed)
{
    if (seed->address.ss_family != seed->dialled.ss_family &&
        !change_family(fd, seed->address.ss_family))
        return -1;
    return connect(fd, seed_address(seed), seed->length);
}

int seam_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct endpoint *ep = descriptor_find(fd);
    bool routed = (address->sa_family == AF_INET || address->sa_family == AF_INET6) &&
                  !config_get()->off;
    bool async = hooks_connecting_async();
    struct wire_settings wire = {.connect_timeout_ms = hooks_connect_timeout_ms()};
    struct seed seed;
    int result, error;

    if (ep != NULL && endpoint_is_connecting_to(ep, address, length))
        return connect_again(ep, address, length);
    if (ep != NULL)
        endpoint_forget(ep);
    if (config_audits(config_get()))
        return connect_tapped(fd, address, length);
    if (!routed || !seed_choose(&seed, address, length, fd, async))
        return connect(fd, address, length);
    wire_settings_learn(&wire, fd);
    result = seed.pending ? -1 : connect_to(fd, &seed);
    error = seed.pending ? EINPROGRESS : errno;
    if (result == 0 || error == EINPROGRESS)
        endpoint_create(fd, &seed, &wire, async);
    errno = error;
    return result;
}

ssize_t seam_read(int fd, void *to, size_t size)
{
    struct endpoint *ep = descriptor_find(fd);

    return ep != NULL ? endpoint_read(ep, to, size) : read(fd, to, size);
}

ssize_t seam_write(int fd, const void *bytes, size_t length)
{
    struct endpoint *ep = descriptor_find(fd);

    return ep != NULL ? endpoint_write(ep, bytes, length) : write(fd, bytes, length);
}

ssize_t seam_recv(int fd, void *to, size_t size, int flags)
{
    struct endpoint *ep = descriptor_find(fd);

    return ep != NULL ? endpoint_read(ep, to, size) : recv(fd, to, size, flags);
}

/* hiredis 1.5 reads the queue of a socket's errors and nothing else by it. The program's descriptor
 * has none, and the kernel says so. */
ssize_t seam_recvmsg(int fd, struct msghdr *message, int flags)
{
    if ((flags & MSG_ERRQUEUE) != 0 || descriptor_find(fd) == NULL)
        return recvmsg(fd, message, flags);
    errno = EOPNOTSUPP;
    return -1;
}

ssize_t seam_send(int fd, const void *bytes, size_t length, int flags)
{
    struct endpoint *ep = descriptor_find(fd);

    return ep != NULL ? endpoint_write(ep, bytes, length) : send(fd, bytes, length, flags);
}

int seam_close(int fd)
{
    struct endpoint *ep = descriptor_find(fd);

    return ep != NULL ? endpoint_close(ep) : close(fd);
}

int seam_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    return poll(fds, count, timeout_ms);
}

int seam_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    struct endpoint *ep = descriptor_find(fd);

    if (ep == NULL || ep->session == NULL || level != SOL_SOCKET || name != SO_ERROR ||
        *size < sizeof(int))
        return getsockopt(fd, level, name, value, size);
    *(int *)value = endpoint_connect_error(ep);
    *size = sizeof(int);
    return 0;
}

int seam_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    struct endpoint *ep = descriptor_find(fd);

    return ep != NULL ? endpoint_set_option(ep, level, name, value, size)
                      : setsockopt(fd, level, name, value, size);
}

/* hiredis makes every socket non-blocking to connect, and only a blocking context's
 * blocking again. */
int seam_fcntl(int fd, int command, ...)
{
    struct endpoint *ep = descriptor_find(fd);
    va_list arguments;
    int value;

    if (command != F_SETFL)
        return fcntl(fd, command); /* F_GETFL: hiredis knows no other */
    va_start(arguments, command);
    value = va_arg(arguments, int);
    va_end(arguments);
    if (ep != NULL && ep->kind != ENDPOINT_ASYNC)
        ep->kind = value & O_NONBLOCK ? ENDPOINT_NONBLOCK : ENDPOINT_BLOCKING;
    return fcntl(fd, command, value);
}
