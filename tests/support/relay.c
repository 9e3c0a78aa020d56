#define _GNU_SOURCE
#include "relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "die.h"

enum { PAIRS_MOST = 200, PIECE = 65536 };

/* A record is a byte for its type, two of version, two of length, and what these say. */
enum { HEADER = 5, TYPE_FIRST = 20, TYPE_LAST = 23, VERSION = 3 };

struct pair {
    int client, server;
    unsigned char header[HEADER];
    int have;  /* of the header */
    long left; /* of the record */
    bool has_spoken;
};

struct relay {
    int listener, port, server_port;
    int stop[2];
    pthread_t thread;
    struct pair pairs[PAIRS_MOST];
    int count;
    atomic_int connections;
    atomic_long plain_bytes;
};

static int loopback(int port, bool listens)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0);
    if (listens) {
        MUST(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 128) == 0);
    } else if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void look_at(struct relay *relay, struct pair *pair, const unsigned char *bytes, long length)
{
    if (!pair->has_spoken)
        relay->connections++;
    pair->has_spoken = true;
    while (length > 0) {
        if (pair->left > 0) {
            long n = length < pair->left ? length : pair->left;
            pair->left -= n;
            bytes += n;
            length -= n;
            continue;
        }
        pair->header[pair->have++] = *bytes++;
        length--;
        if (pair->have < HEADER)
            continue;
        pair->have = 0;
        pair->left = pair->header[3] << 8 | pair->header[4];
        if (pair->header[0] < TYPE_FIRST || pair->header[0] > TYPE_LAST ||
            pair->header[1] != VERSION)
            relay->plain_bytes += HEADER;
    }
}

static bool move(struct relay *relay, struct pair *pair, bool from_client)
{
    unsigned char bytes[PIECE];
    int from = from_client ? pair->client : pair->server;
    int to = from_client ? pair->server : pair->client;
    ssize_t got = recv(from, bytes, sizeof bytes, 0);
    if (got <= 0)
        return false;
    if (from_client)
        look_at(relay, pair, bytes, got);
    for (ssize_t sent = 0; sent < got;) {
        ssize_t n = send(to, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += n;
    }
    return true;
}

static void hang_up(struct relay *relay, int i)
{
    close(relay->pairs[i].client);
    close(relay->pairs[i].server);
    relay->pairs[i] = relay->pairs[--relay->count];
}

static void welcome(struct relay *relay)
{
    int client = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = client >= 0 ? loopback(relay->server_port, false) : -1;
    if (server < 0) {
        close(client);
        return;
    }
    MUST(relay->count < PAIRS_MOST);
    relay->pairs[relay->count++] = (struct pair){.client = client, .server = server};
}

static void *run(void *data)
{
    struct relay *relay = data;
    struct pollfd fds[2 + 2 * PAIRS_MOST];
    for (;;) {
        int count = relay->count;
        fds[0] = (struct pollfd){.fd = relay->stop[0], .events = POLLIN};
        fds[1] = (struct pollfd){.fd = relay->listener, .events = POLLIN};
        for (int i = 0; i < count; i++) {
            fds[2 + 2 * i] = (struct pollfd){.fd = relay->pairs[i].client, .events = POLLIN};
            fds[3 + 2 * i] = (struct pollfd){.fd = relay->pairs[i].server, .events = POLLIN};
        }
        MUST(poll(fds, (nfds_t)(2 + 2 * count), -1) > 0);
        if (fds[0].revents)
            return NULL;
        for (int i = count - 1; i >= 0; i--)
            if ((fds[2 + 2 * i].revents && !move(relay, &relay->pairs[i], true)) ||
                (fds[3 + 2 * i].revents && !move(relay, &relay->pairs[i], false)))
                hang_up(relay, i);
        if (fds[1].revents)
            welcome(relay);
    }
}

struct relay *relay_start(int server_port)
{
    struct relay *relay = calloc(1, sizeof *relay);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    MUST(relay);
    relay->server_port = server_port;
    relay->listener = loopback(0, true);
    MUST(getsockname(relay->listener, (struct sockaddr *)&address, &length) == 0);
    relay->port = ntohs(address.sin_port);
    MUST(pipe(relay->stop) == 0);
    MUST(pthread_create(&relay->thread, NULL, run, relay) == 0);
    return relay;
}

void relay_stop(struct relay *relay)
{
    MUST(write(relay->stop[1], "", 1) == 1);
    pthread_join(relay->thread, NULL);
    while (relay->count > 0)
        hang_up(relay, 0);
    close(relay->stop[0]);
    close(relay->stop[1]);
    close(relay->listener);
    free(relay);
}

int relay_port(const struct relay *relay)
{
    return relay->port;
}

int relay_connections(struct relay *relay)
{
    return relay->connections;
}

long relay_plain_bytes(struct relay *relay)
{
    return relay->plain_bytes;
}
