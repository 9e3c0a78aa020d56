#include "socket/seed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "route/cluster.h"

enum { TRIED_MOST = 16, ASYNC_MS = 100 };

struct candidate {
    struct sockaddr_storage address;
    socklen_t length;
    const char *name;
};

static _Thread_local char noted_name[SEED_NAME_SIZE];

void seed_note_name(const char *name)
{
    snprintf(noted_name, sizeof noted_name, "%s", name);
}

static bool text_of(const struct sockaddr *address, socklen_t length, char host[INET6_ADDRSTRLEN],
                    uint16_t *port)
{
    char service[8];

    if (getnameinfo(address, length, host, INET6_ADDRSTRLEN, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    *port = (uint16_t)strtoul(service, NULL, 10);
    return true;
}

/* The addresses of one endpoint, of the family that the program's socket is of. */
static size_t look_up(const struct config_address *endpoint, int family, struct candidate *to,
                      size_t room)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found;
    char port[8];
    size_t count = 0;
    int error;

    snprintf(port, sizeof port, "%u", endpoint->port);
    error = getaddrinfo(endpoint->host, port, &hints, &found);
    if (error != 0) {
        log_write(LOG_WARNING, "endpoint %s: %s", endpoint->host, gai_strerror(error));
        return 0;
    }
    for (const struct addrinfo *at = found; at != NULL && count < room; at = at->ai_next, count++) {
        memcpy(&to[count].address, at->ai_addr, at->ai_addrlen);
        to[count].length = at->ai_addrlen;
        to[count].name = endpoint->host;
    }
    freeaddrinfo(found);
    return count;
}

/* A node that the cluster itself does not call dead, of a cluster that is known. */
static bool is_known_alive(const struct candidate *c, bool secure)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;
    struct cluster *cluster;

    if (!text_of((const struct sockaddr *)&c->address, c->length, host, &port))
        return false;
    cluster = cluster_find(host, port, secure);
    return cluster != NULL && !cluster_is_dead(cluster, host, port);
}

static void close_all(const struct pollfd *tried, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tried[i].fd != -1)
            close(tried[i].fd);
}

/* The first that accepts; -1: none in time. */
static int race(const struct candidate *candidates, size_t count, int64_t limit_ms)
{
    struct pollfd tried[TRIED_MOST];
    int64_t until = clock_now_ms() + limit_ms;
    int winner = -1;
    size_t open = 0;

    for (size_t i = 0; i < count; i++) {
        tried[i] = (struct pollfd){.events = POLLOUT};
        tried[i].fd =
            socket(candidates[i].address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (tried[i].fd == -1)
            continue;
        open++;
        if (connect(tried[i].fd, (const struct sockaddr *)&candidates[i].address,
                    candidates[i].length) == 0)
            winner = (int)i;
    }
    while (winner == -1 && open > 0 && clock_now_ms() < until) {
        int ready = poll(tried, (nfds_t)count, (int)(until - clock_now_ms()));

        for (size_t i = 0; ready > 0 && winner == -1 && i < count; i++) {
            int error = 0;
            socklen_t size = sizeof error;

            if (tried[i].fd == -1 || tried[i].revents == 0)
                continue;
            getsockopt(tried[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error == 0) {
                winner = (int)i;
            } else {
                close(tried[i].fd);
                tried[i].fd = -1;
                open--;
            }
        }
    }
    close_all(tried, count);
    return winner;
}

static size_t choose(const struct candidate *candidates, size_t count, bool secure,
                     int64_t limit_ms)
{
    static _Atomic unsigned turn;
    size_t first = atomic_fetch_add(&turn, 1) % count;
    int winner;

    for (size_t i = 0; i < count; i++)
        if (is_known_alive(&candidates[(first + i) % count], secure))
            return (first + i) % count;
    winner = count > 1 ? race(candidates, count, limit_ms) : 0;
    return winner >= 0 ? (size_t)winner : first;
}

bool seed_choose_of(struct seed *seed, const struct config_cluster *cluster, int family,
                    int64_t limit_ms)
{
    struct candidate candidates[TRIED_MOST];
    size_t count = 0;

    for (int i = 0; i < cluster->endpoint_count && count < TRIED_MOST; i++)
        count += look_up(&cluster->endpoints[i], family, candidates + count, TRIED_MOST - count);
    if (count == 0)
        return false;
    count = choose(candidates, count, config_tls_of(config_get(), cluster) != NULL, limit_ms);
    seed->address = candidates[count].address;
    seed->length = candidates[count].length;
    seed->name = candidates[count].name;
    return true;
}

int64_t seed_limit_ms(const struct config_listener *l, bool async)
{
    return async && l->connect_timeout_ms > ASYNC_MS ? ASYNC_MS : l->connect_timeout_ms;
}

bool seed_choose(struct seed *seed, const struct sockaddr *dialled, socklen_t length, bool async)
{
    const struct config_listener *listener;
    char host[INET6_ADDRSTRLEN];
    uint16_t port;
    int error = errno;

    if (length > sizeof seed->dialled)
        return false;
    *seed = (struct seed){.dialled_length = length, .length = length, .name = noted_name};
    memcpy(&seed->dialled, dialled, length);
    memcpy(&seed->address, dialled, length);
    if (config_get()->listeners == NULL || !text_of(dialled, length, host, &port))
        return true;
    listener = config_listener(config_get(), host, port);
    /* Where no name is known, the dialled address may be right after all. */
    if (listener->cluster != NULL)
        (void)seed_choose_of(seed, listener->cluster, dialled->sa_family,
                             seed_limit_ms(listener, async));
    errno = error;
    return true;
}
