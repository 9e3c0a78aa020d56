#include "link/wire.h"

#include "link/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* hiredis reads 16 KiB at a time; a deep pipeline gains from more. */
enum { FILL_SMALL = 2048, FILL_LARGE = 64 * 1024, HIGH_DESCRIPTOR = 1024 };

int wire_move_high(int fd)
{
    struct rlimit limit;
    int base = HIGH_DESCRIPTOR, high;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 2 * HIGH_DESCRIPTOR)
        base = (int)(limit.rlim_cur / 2);
    high = fcntl(fd, F_DUPFD_CLOEXEC, base);
    if (high == -1)
        return fd;
    close(fd);
    return high;
}

/* Programs close descriptors that they do not know (closefrom in a daemon), and the
 * numbers come back as their files: the inode tells. */
static void remember_identity(struct link *link)
{
    struct stat st;

    link->inode = fstat(link->fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static bool is_ours(const struct link *link)
{
    struct stat st;

    return fstat(link->fd, &st) == 0 && S_ISSOCK(st.st_mode) && (uint64_t)st.st_ino == link->inode;
}

bool wire_is_usable(struct link *link)
{
    char byte;
    ssize_t n;

    if (link->fd == -1 || !is_ours(link))
        return false;
    if (link->tls != NULL)
        return tls_is_usable(link);
    n = recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 || (n == -1 && (errno == EAGAIN || errno == EINTR));
}

static void remember_reuse(struct wire_settings *settings, int fd)
{
    struct wire_option reuse = {.level = SOL_SOCKET, .name = SO_REUSEADDR};
    socklen_t size = sizeof reuse.value;

    if (getsockopt(fd, reuse.level, reuse.name, &reuse.value, &size) == 0 && reuse.value != 0 &&
        settings->option_count < WIRE_OPTIONS_MAX)
        settings->options[settings->option_count++] = reuse;
}

/* An address that was bound has a port, too. */
void wire_settings_learn(struct wire_settings *settings, int fd)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } source = {0};
    socklen_t length = sizeof source;

    if (getsockname(fd, (struct sockaddr *)&source, &length) != 0 || length > sizeof source.any)
        return;
    settings->family = source.any.ss_family;
    if (source.any.ss_family == AF_INET ? source.in.sin_port == 0 : source.in6.sin6_port == 0)
        return;
    /* The port is that socket's own. */
    source.in.sin_port = 0; /* at the same place in both */
    settings->source = source.any;
    settings->source_length = length;
    remember_reuse(settings, fd);
}

_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "one assignment is for both");

/* Ports are chosen by connect(), which knows what is free for that destination. */
static bool bind_source(const struct link *link, const struct wire_settings *settings)
{
    static const struct wire_option late = {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1};

    if (settings->source_length == 0 || settings->source.ss_family != link->address.ss_family)
        return true;
    setsockopt(link->fd, late.level, late.name, &late.value, sizeof late.value);
    return bind(link->fd, (const struct sockaddr *)&settings->source, settings->source_length) == 0;
}

enum resolver_result wire_look_up(struct link *link, const struct wire_settings *settings)
{
    enum resolver_result result;

    if (link->address_length > 0 && !link->named)
        return RESOLVER_FOUND;
    result = resolver_look_up(link->host, link->port, settings->family, settings->may_look_up,
                              &link->address, &link->address_length);
    link->named = true;
    return result;
}

void wire_doubt(const struct link *link)
{
    if (link->named && link->address_length > 0)
        resolver_doubt(link->host, &link->address);
}

void wire_set_option(struct link *link, const struct wire_option *option)
{
    if (link->fd != -1)
        setsockopt(link->fd, option->level, option->name, &option->value, sizeof option->value);
}

int64_t wire_wait_ms(const struct wire_settings *settings, enum wire_limit *limit)
{
    const struct timeval *of_program = &settings->receive_timeout;
    int64_t ms = (int64_t)of_program->tv_sec * 1000 + (of_program->tv_usec + 999) / 1000;

    *limit = WIRE_LIMIT_OF_PROGRAM;
    if (wire_waits_alone(settings)) {
        *limit = WIRE_LIMIT_ALONE;
        ms = 1000 * WIRE_SILENCE_S;
    }
    if (settings->op_timeout_ms > 0 && (ms == 0 || settings->op_timeout_ms < ms)) {
        *limit = WIRE_LIMIT_OF_OPERATION;
        ms = settings->op_timeout_ms;
    }
    return ms;
}

void wire_set_receive_timeout(struct link *link, const struct wire_settings *settings)
{
    struct timeval timeout = settings->receive_timeout;
    enum wire_limit limit;
    int64_t ms = wire_wait_ms(settings, &limit);

    if (limit != WIRE_LIMIT_OF_PROGRAM)
        timeout = (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (link->fd != -1)
        setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
}

static void apply(struct link *link, const struct wire_settings *settings)
{
    static const struct wire_option no_delay = {IPPROTO_TCP, TCP_NODELAY, 1};

    wire_set_option(link, &no_delay);
    for (int i = 0; i < settings->option_count; i++)
        wire_set_option(link, &settings->options[i]);
    if (settings->alone || settings->op_timeout_ms > 0 || settings->receive_timeout.tv_sec != 0 ||
        settings->receive_timeout.tv_usec != 0)
        wire_set_receive_timeout(link, settings);
}

/* Later reads say themselves whether they wait. */
static void make_blocking(struct link *link)
{
    int flags = fcntl(link->fd, F_GETFL);

    if (flags != -1 && (flags & O_NONBLOCK) != 0)
        fcntl(link->fd, F_SETFL, flags & ~O_NONBLOCK);
}

void wire_note_error(struct link *link, int error)
{
    if (error != EPIPE) /* which says that a FIN had come before the reset */
        link->broken = true;
}

static enum wire_result lost(struct link *link, int why)
{
    if (why != 0)
        wire_note_error(link, why);
    link->error = why;
    link->out_received = link->out_flushed;
    return WIRE_LOST;
}

/* The server closed its end. The FIN acknowledged what it had received by then, and
 * a socket that is closed delivers nothing any more: what is not acknowledged was
 * never seen by the server. A reset proves nothing of that kind, and is seen once: what follows it
 * looks like a FIN. */
static enum wire_result closed_by_server(struct link *link)
{
    int unacknowledged = 0;

    lost(link, 0);
    if (!atomic_load(&link->cut) && !link->broken &&
        ioctl(link->fd, SIOCOUTQ, &unacknowledged) == 0)
        link->out_received -= (uint64_t)unacknowledged;
    return WIRE_LOST;
}

enum wire_result wire_open(struct link *link, const struct wire_settings *settings)
{
    int fd;

    free(link->trouble);
    link->trouble = NULL;
    if (wire_look_up(link, settings) != RESOLVER_FOUND)
        return lost(link, EHOSTUNREACH);
    if (settings->tls != NULL && !tls_begin(link, settings->tls, settings->tls_dialled))
        return lost(link, ENOMEM);
    fd = socket(link->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return lost(link, errno);
    link->fd = wire_move_high(fd);
    atomic_store(&link->cut, false);
    link->broken = false;
    remember_identity(link);
    apply(link, settings);
    if (!bind_source(link, settings))
        return lost(link, errno);
    if (connect(link->fd, (struct sockaddr *)&link->address, link->address_length) == 0) {
        make_blocking(link);
        return link->tls != NULL ? tls_connect(link) : WIRE_DONE;
    }
    return errno == EINPROGRESS ? WIRE_AGAIN : lost(link, errno);
}

enum wire_result wire_adopt(struct link *link, int fd, const struct wire_settings *settings)
{
    link->fd = fd;
    remember_identity(link);
    apply(link, settings);
    if (settings->tls == NULL)
        return WIRE_DONE;
    return tls_begin(link, settings->tls, settings->tls_dialled) ? WIRE_AGAIN : lost(link, ENOMEM);
}

enum wire_result wire_connected(struct link *link)
{
    struct pollfd ready = {.fd = link->fd, .events = POLLOUT};
    socklen_t length = sizeof link->error;
    int error = 0;

    if (link->tls != NULL && link->tls_wants == POLLIN)
        return tls_connect(link); /* which has begun */
    if (poll(&ready, 1, 0) == 0)
        return WIRE_AGAIN;
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
        error = errno;
    if (error != 0)
        return lost(link, error);
    make_blocking(link);
    return link->tls != NULL ? tls_connect(link) : WIRE_DONE;
}

enum wire_result wire_flush(struct link *link)
{
    if (link->tls != NULL)
        return tls_flush(link);
    while (link_unflushed(link)) {
        size_t done = (size_t)(link->out_flushed - link->out_base);
        ssize_t n = send(link->fd, buffer_bytes(&link->out) + done,
                         buffer_length(&link->out) - done, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0)
            link->out_flushed += (uint64_t)n;
        else if (errno == EAGAIN)
            return WIRE_AGAIN;
        else if (errno != EINTR)
            return lost(link, errno);
    }
    return WIRE_DONE;
}

enum wire_result wire_fill(struct link *link, bool wait)
{
    size_t room = link->in.capacity > FILL_SMALL ? FILL_LARGE : FILL_SMALL;
    char *to;
    ssize_t n;

    if (link->tls != NULL)
        return tls_fill(link, wait);
    to = buffer_reserve(&link->in, room);
    if (to == NULL)
        return lost(link, ENOMEM);
    room = link->in.capacity - link->in.tail;
    n = recv(link->fd, to, room, wait ? 0 : MSG_DONTWAIT);
    if (n > 0) {
        link->in.tail += (size_t)n;
        /* A full read says that more is coming: the next one takes more. */
        if ((size_t)n == room)
            (void)buffer_reserve(&link->in, FILL_LARGE);
        return WIRE_DONE;
    }
    if (n == 0)
        return closed_by_server(link);
    if (errno == EAGAIN)
        return WIRE_AGAIN;
    return errno == EINTR ? WIRE_INTERRUPTED : lost(link, errno);
}

void wire_leave(struct link *link)
{
    if (link->tls != NULL)
        tls_end(link);
    link->fd = -1;
}

void wire_close(struct link *link)
{
    int fd = link->fd != -1 && is_ours(link) ? link->fd : -1;

    link->fd = fd;
    wire_leave(link);
    if (fd != -1)
        close(fd);
}
