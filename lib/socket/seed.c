#include "socket/seed.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/config.h"
#include "link/resolver.h"
#include "route/cluster.h"
#include "socket/sockaddr.h"

enum { TRIED_MOST = 16, ASYNC_MS = 100, ALIVE_WITHIN_MS = 100 };

struct candidate {
    struct sockaddr_storage address;
    socklen_t length;
    const char *name;
};

struct candidates {
    size_t count;
    struct candidate list[TRIED_MOST];
};

static _Thread_local char noted_name[SEED_NAME_SIZE];

void seed_note_name(const char *name)
{
    snprintf(noted_name, sizeof noted_name, "%s", name);
}

/* The addresses of one endpoint, the best first. */
static enum resolver_result look_up(const struct config_address *endpoint,
                                    const struct seed_wishes *wishes, struct candidates *to)
{
    struct resolver_address list[RESOLVER_ADDRESSES_MOST];
    size_t found;
    enum resolver_result result = resolver_list(
        endpoint->host, endpoint->port, (sa_family_t)wishes->family, !wishes->async, list, &found);

    for (size_t i = 0; i < found && to->count < TRIED_MOST; i++)
        if (!wishes->bound || list[i].address.ss_family == wishes->family)
            to->list[to->count++] = (struct candidate){
                .address = list[i].address, .length = list[i].length, .name = endpoint->host};
    return result;
}

/* Those whose names are known by now. True: others are being looked up. */
static bool look_up_all(const struct config_cluster *cluster, const struct seed_wishes *wishes,
                        struct candidates *to)
{
    bool pending = false;

    to->count = 0;
    for (int i = 0; i < cluster->endpoint_count && to->count < TRIED_MOST; i++)
        pending |= look_up(&cluster->endpoints[i], wishes, to) == RESOLVER_PENDING;
    return pending;
}

/* A node that the cluster itself does not call dead, of a cluster that is known. */
static bool is_known_alive(const struct candidate *c, bool secure)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;
    struct cluster *cluster;

    if (!sockaddr_text((const struct sockaddr *)&c->address, host, &port))
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

static void give_up(const struct candidate *c, struct pollfd *tried)
{
    resolver_doubt(c->name, &c->address);
    close(tried->fd);
    tried->fd = -1;
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
                    candidates[i].length) == 0) {
            winner = (int)i;
        } else if (errno != EINPROGRESS) { /* no way leads there, and poll() would not say so */
            give_up(&candidates[i], &tried[i]);
            open--;
        }
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
                give_up(&candidates[i], &tried[i]);
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

enum seed_result seed_choose_of(struct seed *seed, const struct config_cluster *cluster,
                                const struct seed_wishes *wishes)
{
    struct candidates of;
    bool pending = look_up_all(cluster, wishes, &of);
    const struct candidate *chosen;

    if (of.count == 0)
        return pending ? SEED_PENDING : SEED_NONE;
    chosen = &of.list[choose(of.list, of.count, config_tls_of(config_get(), cluster) != NULL,
                             wishes->limit_ms)];
    seed->address = chosen->address;
    seed->length = chosen->length;
    seed->name = chosen->name;
    seed->cluster = cluster;
    return SEED_CHOSEN;
}

int64_t seed_limit_ms(const struct config_listener *l, bool async)
{
    return async && l->connect_timeout_ms > ASYNC_MS ? ASYNC_MS : l->connect_timeout_ms;
}

static const struct config_listener *listener_of(const struct seed *seed)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;

    if (config_get()->listeners == NULL ||
        !sockaddr_text((const struct sockaddr *)&seed->dialled, host, &port))
        return &config_get()->elsewhere;
    return config_listener(config_get(), host, port);
}

/* Nodes that the cluster itself does not call dead. */
static void look_up_living(struct cluster *cluster, const struct topology *t,
                           const struct seed_wishes *wishes, struct candidates *to)
{
    to->count = 0;
    for (uint16_t i = 0; i < t->node_count && to->count < TRIED_MOST; i++) {
        const struct config_address node = {.host = t->nodes[i].host, .port = t->nodes[i].port};

        if (!cluster_is_dead(cluster, node.host, node.port))
            (void)look_up(&node, wishes, to);
    }
}

/* NULL: the dialled address is none of a node that its cluster calls dead. */
static struct cluster *cluster_of_dead(const struct seed *seed)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;
    struct cluster *cluster = NULL;

    if (sockaddr_text((const struct sockaddr *)&seed->dialled, host, &port))
        cluster = cluster_find(host, port, config_get()->tls.profile != NULL);
    return cluster != NULL && cluster_is_dead(cluster, host, port) ? cluster : NULL;
}

/* A cluster may as well be reached by another node than a dead one. Which is alive is tried, since
 * not everything that is dead is known to be. */
static void pass_by_dead(struct seed *seed, struct cluster *cluster,
                         const struct seed_wishes *wishes)
{
    struct candidates living;
    uint64_t version;
    struct topology *t = cluster_topology(cluster, &version);
    int winner;

    look_up_living(cluster, t, wishes, &living);
    winner = race(living.list, living.count, ALIVE_WITHIN_MS);
    if (winner >= 0) {
        seed->address = living.list[winner].address;
        seed->length = living.list[winner].length;
    }
    topology_unref(t);
}

static bool is_bound(int fd)
{
    struct sockaddr_storage source = {0};
    socklen_t length = sizeof source;

    /* The port is at the same place in both kinds. */
    return fd != -1 && getsockname(fd, (struct sockaddr *)&source, &length) == 0 &&
           ((const struct sockaddr_in *)(const void *)&source)->sin_port != 0;
}

bool seed_choose(struct seed *seed, const struct sockaddr *dialled, socklen_t length, int fd,
                 bool async)
{
    struct seed_wishes wishes = {.family = dialled->sa_family, .async = async};
    const struct config_listener *listener;
    struct cluster *dead_of;
    int error = errno;

    if (length > sizeof seed->dialled)
        return false;
    *seed = (struct seed){.dialled_length = length, .length = length, .name = noted_name};
    memcpy(&seed->dialled, dialled, length);
    memcpy(&seed->address, dialled, length);
    listener = listener_of(seed);
    dead_of = listener->cluster == NULL ? cluster_of_dead(seed) : NULL;
    if (listener->cluster == NULL && dead_of == NULL)
        return true;
    wishes.bound = is_bound(fd);
    wishes.limit_ms = seed_limit_ms(listener, async);
    if (dead_of != NULL)
        pass_by_dead(seed, dead_of, &wishes);
    else /* where no name is known, the dialled address may be right after all */
        seed->pending = seed_choose_of(seed, listener->cluster, &wishes) == SEED_PENDING;
    errno = error;
    return true;
}

enum seed_result seed_choose_again(struct seed *seed)
{
    const struct config_listener *listener = listener_of(seed);
    struct seed_wishes wishes = {.family = seed->dialled.ss_family, .async = true};

    if (listener->cluster == NULL)
        return SEED_NONE;
    wishes.limit_ms = seed_limit_ms(listener, true);
    return seed_choose_of(seed, listener->cluster, &wishes);
}
