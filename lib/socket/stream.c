#include "socket/stream.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "socket/words.h"

_Thread_local char stream_open_error[STREAM_ERROR_SIZE];

int stream_refuse(const char *why)
{
    snprintf(stream_open_error, sizeof stream_open_error, "redisroute: %s", why);
    errno = EINVAL;
    return -1;
}

/* --- opening --- */

static void say_open_error(const char *host, int port, const char *why)
{
    snprintf(stream_open_error, sizeof stream_open_error, "redisroute: %.64s port %d: %s", host,
             port, why);
}

static struct addrinfo *look_up(const char *host, int port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found = NULL;
    char service[8];
    int error;

    snprintf(service, sizeof service, "%d", port);
    seed_note_name(host);
    error = getaddrinfo(host, service, &hints, &found);
    if (error == EAI_NONAME) {
        hints.ai_flags = AI_ADDRCONFIG;
        error = getaddrinfo(host, service, &hints, &found);
    }
    if (error == 0)
        return found;
    say_open_error(host, port, gai_strerror(error));
    errno = error == EAI_MEMORY ? ENOMEM : EHOSTUNREACH;
    return NULL;
}

/* A socket on which connect() has begun; -1 and errno. */
static int begin_to_connect(const struct seed *seed)
{
    int on = 1, error;
    int fd = socket(seed->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (seed->pending || connect(fd, seed_address(seed), seed->length) == 0 || errno == EINPROGRESS)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static struct endpoint *open_endpoint(const struct addrinfo *address,
                                      const struct endpoint_wishes *wishes)
{
    static const struct wire_option no_delay = {IPPROTO_TCP, TCP_NODELAY, 1};
    struct endpoint *ep;
    struct seed seed;
    int fd;

    if (!seed_choose(&seed, address->ai_addr, address->ai_addrlen, -1, true) ||
        (fd = begin_to_connect(&seed)) == -1)
        return NULL;
    ep = endpoint_create_stream(fd, &seed, wishes);
    if (ep == NULL)
        errno = ENOMEM;
    else
        endpoint_set_option(ep, no_delay.level, no_delay.name, &no_delay.value,
                            sizeof no_delay.value);
    return ep;
}

/* Waits for what becomes of the connection. False: closed, and errno. */
static bool endpoint_accepted(struct endpoint *ep)
{
    int error;

    while ((error = endpoint_connect_error(ep)) == EINPROGRESS)
        if (endpoint_wait(ep, -1) == -1 && errno != EINTR)
            break;
    if (error == 0)
        return true;
    endpoint_close(ep);
    errno = error;
    return false;
}

/* The first address that accepts; a single one is not waited for. */
static struct endpoint *open_first(const struct addrinfo *addresses,
                                   const struct endpoint_wishes *wishes)
{
    for (const struct addrinfo *at = addresses; at != NULL; at = at->ai_next) {
        struct endpoint *ep = open_endpoint(at, wishes);

        if (ep != NULL && (addresses->ai_next == NULL || endpoint_accepted(ep)))
            return ep;
    }
    return NULL;
}

struct stream *stream_open(const char *host, int port, const struct endpoint_wishes *wishes)
{
    struct addrinfo *addresses;
    struct stream *stream;
    int error = errno;

    stream_open_error[0] = '\0';
    addresses = look_up(host, port);
    if (addresses == NULL)
        return NULL;
    stream = calloc(1, sizeof *stream);
    if (stream != NULL)
        stream->endpoint = open_first(addresses, wishes);
    freeaddrinfo(addresses);
    if (stream == NULL || stream->endpoint == NULL) {
        error = stream == NULL ? ENOMEM : errno;
        say_open_error(host, port, words_for(error));
        free(stream);
        errno = error;
        return NULL;
    }
    snprintf(stream->host, sizeof stream->host, "%s", host);
    stream->port = port;
    errno = error;
    return stream;
}

void stream_close(struct stream *stream)
{
    int error = errno;

    endpoint_close(stream->endpoint);
    free(stream);
    errno = error;
}

/* --- using --- */

static int failed(struct stream *stream)
{
    int error = errno;

    if (error == EAGAIN || error == EINTR)
        snprintf(stream->error, sizeof stream->error, "redisroute: %s", strerror(error));
    else
        snprintf(stream->error, sizeof stream->error, "redisroute: %s port %d: %s", stream->host,
                 stream->port, words_for(error));
    errno = error;
    return -1;
}

int stream_refuse_use(struct stream *stream, const char *why)
{
    snprintf(stream->error, sizeof stream->error, "redisroute: %s", why);
    errno = EINVAL;
    return -1;
}

int stream_connected(struct stream *stream)
{
    int saved = errno;
    int error = endpoint_connect_error(stream->endpoint);

    errno = saved;
    if (error == 0 || error == EINPROGRESS)
        return error == 0;
    errno = error;
    return failed(stream);
}

bool stream_set_read_policy(struct stream *stream, enum read_policy policy)
{
    return endpoint_set_read_policy(stream->endpoint, policy, 0, true);
}

int stream_write(struct stream *stream, const void *bytes, size_t length)
{
    struct tap *tap = stream->endpoint->tap;

    if (endpoint_write(stream->endpoint, bytes, length) == -1)
        return failed(stream);
    if (tap != NULL)
        tap_look(tap, bytes, length);
    return 0;
}

int stream_write_by(struct stream *stream, const void *bytes, size_t length,
                    enum read_policy policy)
{
    if (endpoint_read_by(stream->endpoint, policy, length))
        return stream_write(stream, bytes, length);
    errno = ENOMEM;
    return failed(stream);
}

ssize_t stream_read(struct stream *stream, void *to, size_t size)
{
    ssize_t n = endpoint_read(stream->endpoint, to, size);

    return n == -1 ? failed(stream) : n;
}

ssize_t stream_read_wait(struct stream *stream, void *to, size_t size, int timeout_ms)
{
    int error = errno;
    ssize_t n = endpoint_read_wait(stream->endpoint, to, size, timeout_ms);

    if (n == -1)
        return failed(stream);
    errno = error;
    return n;
}

int stream_wait(struct stream *stream, int timeout_ms)
{
    int error = errno;
    int result = endpoint_wait(stream->endpoint, timeout_ms);

    if (result == -1)
        return failed(stream);
    errno = error;
    return result;
}

void stream_interrupt(struct stream *stream)
{
    int error = errno;

    endpoint_interrupt(stream->endpoint);
    errno = error;
}
