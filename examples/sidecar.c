/* A server that makes a Redis Cluster look like one Redis server, to clients of any language:
 *
 *     cc sidecar.c $(pkg-config --cflags --libs redisroute) -o sidecar
 *     ./sidecar 6379 10.0.0.1 7000 &
 *     redis-cli -p 6379 set key value
 *
 * Each client has a session of its own, and an event loop carries bytes between the two:
 *
 *     client ──read──> redisRouteWrite ─┐
 *                                       ├ session ── links ── cluster
 *     client <──send── redisRouteRead  ─┘
 *
 * Nobody has to be fast: who does not read its replies is not read from, and neither are the
 * servers on its behalf. A client that shut down its sending side still gets all its replies.
 *
 * It listens on the loopback address: as a sidecar it belongs to the programs of one machine. A
 * client and its session need about eight descriptors; the limit is raised as far as is allowed,
 * and clients beyond it wait until others leave. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <redisroute/redisroute.h>

enum {
    CHUNK = 64 * 1024,
    KEPT_MOST = 1024 * 1024, /* bytes of commands without an answer, for each client */
    LINGER_S = 10,           /* at the end, for who gets no replies any more */
    ALIVE_S = 15,            /* how often a silent client's machine is asked whether it is there */
    EVENTS = 256,
};

/* What an event is about: the listener, signals, or one of a client's two descriptors. */
struct watch {
    int fd;
    unsigned events;
    struct client *client;
};

/* Counts the values of RESP that pass: commands one way, replies the other. */
struct tally {
    uint64_t whole;
    uint64_t body;   /* bytes of a bulk string still to come, its end of line included */
    uint64_t inside; /* values still to come of an array that has begun */
    bool is_push;    /* what has begun is nobody's reply */
    char line[32];   /* as far as it has come; of a longer one the beginning */
    size_t length;
};

struct client {
    struct client *previous, *next;
    struct watch socket, session_watch;
    redisRouteSession *session; /* opened with the first bytes */
    struct tally asked, answered;
    char *replies; /* what the client has not taken yet; NULL: it took all */
    size_t replies_at, replies_end;
    bool sent_all; /* its sending side is shut down */
    bool ended;    /* the session is; what it said last is on its way */
    bool gone;
    time_t moved; /* when bytes went either way */
};

static struct {
    int poller;
    const char *host;
    int port;
    struct watch listener, signals;
    struct client *clients, *gone;
    bool ending;
} sidecar;

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "sidecar: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static time_t now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec;
}

static bool watch_for(struct watch *watch, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    unsigned before = watch->events;

    if (events == before)
        return true;
    watch->events = events;
    if (events == 0)
        return epoll_ctl(sidecar.poller, EPOLL_CTL_DEL, watch->fd, NULL) == 0;
    return epoll_ctl(sidecar.poller, before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, watch->fd,
                     &event) == 0;
}

/* --- counting --- */

static void tally_line(struct tally *t)
{
    char kind = t->line[0];
    uint64_t count = (uint64_t)strtoull(t->line + 1, NULL, 10);
    bool is_null = t->line[1] == '-';

    if (t->inside > 0)
        t->inside--;
    else
        t->is_push = kind == '>';
    if (strchr("*~>", kind) && !is_null)
        t->inside += count;
    else if (strchr("%|", kind))
        t->inside += 2 * count + (kind == '|'); /* what has the attributes comes behind them */
    else if (strchr("$=!", kind) && !is_null)
        t->body = count + 2;
}

static void tally_count(struct tally *t)
{
    if (t->body == 0 && t->inside == 0 && !t->is_push)
        t->whole++;
}

/* One line, or as much of it as there is. How many bytes that was. */
static size_t tally_some(struct tally *t, const char *bytes, size_t length)
{
    const char *end = memchr(bytes, '\n', length);
    size_t taken = end ? (size_t)(end - bytes) + 1 : length;

    for (size_t i = 0; i < taken && t->length < sizeof t->line - 1; i++)
        if (bytes[i] != '\r' && bytes[i] != '\n')
            t->line[t->length++] = bytes[i];
    if (end && t->length > 0) {
        t->line[t->length] = '\0';
        t->length = 0;
        tally_line(t);
        tally_count(t);
    }
    return taken;
}

static void tally_add(struct tally *t, const char *bytes, size_t length)
{
    while (length > 0) {
        size_t taken = t->body < length ? (size_t)t->body : length;

        if (taken > 0) {
            t->body -= taken;
            tally_count(t);
        } else {
            taken = tally_some(t, bytes, length);
        }
        bytes += taken;
        length -= taken;
    }
}

/* --- clients --- */

/* Freed later: events that are under way may still name it. */
static void drop(struct client *c)
{
    if (c->gone)
        return;
    c->gone = true;
    watch_for(&c->session_watch, 0);
    watch_for(&c->socket, 0);
    redisRouteClose(c->session);
    close(c->socket.fd);
    if (c->previous)
        c->previous->next = c->next;
    else
        sidecar.clients = c->next;
    if (c->next)
        c->next->previous = c->previous;
    c->next = sidecar.gone;
    sidecar.gone = c;
}

static void free_gone(void)
{
    while (sidecar.gone) {
        struct client *c = sidecar.gone;

        sidecar.gone = c->next;
        free(c->replies);
        free(c);
    }
}

/* How many bytes the client took; the socket's fault drops it. */
static size_t send_some(struct client *c, const char *bytes, size_t length)
{
    size_t done = 0;

    while (done < length) {
        ssize_t sent = send(c->socket.fd, bytes + done, length - done, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            drop(c);
        if (sent < 0)
            break;
        done += (size_t)sent;
        c->moved = now();
    }
    return done;
}

/* To be called when nothing is kept. */
static void send_or_keep(struct client *c, const char *bytes, size_t length)
{
    size_t sent = send_some(c, bytes, length);

    if (c->gone || sent == length)
        return;
    c->replies = malloc(length - sent);
    if (!c->replies) {
        drop(c);
        return;
    }
    memcpy(c->replies, bytes + sent, length - sent);
    c->replies_at = 0;
    c->replies_end = length - sent;
}

/* False: the client has not taken all that is kept for it. */
static bool send_kept(struct client *c)
{
    if (!c->replies)
        return true;
    c->replies_at += send_some(c, c->replies + c->replies_at, c->replies_end - c->replies_at);
    if (c->gone || c->replies_at < c->replies_end)
        return false;
    free(c->replies);
    c->replies = NULL;
    return true;
}

/* The last thing a client hears when its session cannot go on. Replies that it was owed are said
 * by then, or lost with the session. */
static void end_with_error(struct client *c, const char *why)
{
    char error[512];
    int length = snprintf(error, sizeof error, "-ERR sidecar: %.400s\r\n", why);

    c->ended = true;
    if (!c->replies)
        send_or_keep(c, error, (size_t)length);
}

static void open_session(struct client *c)
{
    static const redisRouteOptions options = {.size = sizeof options};

    c->session = redisRouteOpen(sidecar.host, sidecar.port, &options);
    if (!c->session) {
        end_with_error(c, redisRouteErrorText(NULL));
        return;
    }
    c->session_watch.fd = redisRouteFd(c->session);
}

/* One piece at a time, so that one busy client does not keep the others waiting. */
static void read_commands(struct client *c)
{
    static char commands[CHUNK];
    ssize_t length = read(c->socket.fd, commands, sizeof commands);

    if (length < 0) {
        if (errno != EAGAIN && errno != EINTR)
            drop(c);
        return;
    }
    c->moved = now();
    if (length == 0) {
        c->sent_all = true;
        return;
    }
    tally_add(&c->asked, commands, (size_t)length);
    if (!c->session)
        open_session(c);
    if (!c->ended && redisRouteWrite(c->session, commands, (size_t)length) != 0)
        end_with_error(c, redisRouteErrorText(c->session));
}

/* Replies go on as long as the client takes them. */
static void carry_replies(struct client *c)
{
    enum { ROUNDS = 16 };
    static char replies[CHUNK];

    for (int i = 0; i < ROUNDS && !c->gone && send_kept(c) && !c->ended && c->session; i++) {
        ssize_t length = redisRouteRead(c->session, replies, sizeof replies);

        if (length > 0) {
            tally_add(&c->answered, replies, (size_t)length);
            send_or_keep(c, replies, (size_t)length);
        } else if (length == 0)
            c->ended = true;
        else if (errno == EAGAIN || errno == EINTR)
            break;
        else
            end_with_error(c, redisRouteErrorText(c->session));
    }
}

static bool tally_is_between(const struct tally *t)
{
    return t->body == 0 && t->inside == 0 && t->length == 0;
}

/* On a cluster redisRouteKept says so, and counts what was sent of a command without an end; a
 * server that is no cluster is spoken to as it is, and there the replies are counted. */
static bool has_all_replies(const struct client *c)
{
    return !c->session || (c->answered.whole >= c->asked.whole &&
                           (redisRouteKept(c->session) == 0 || !tally_is_between(&c->asked)));
}

static bool is_done(const struct client *c)
{
    if (c->replies)
        return false;
    return c->ended || ((c->sent_all || sidecar.ending) && has_all_replies(c));
}

static void serve(struct client *c, bool readable)
{
    bool takes, full;

    if (readable)
        read_commands(c);
    if (!c->gone)
        carry_replies(c);
    if (c->gone)
        return;
    if (is_done(c)) {
        drop(c);
        return;
    }
    takes = !c->replies;
    full = !takes || (c->session && redisRouteKept(c->session) > KEPT_MOST);
    if (!watch_for(&c->socket, (takes ? 0u : EPOLLOUT) |
                                   (c->sent_all || sidecar.ending || full ? 0u : EPOLLIN)) ||
        (c->session && !watch_for(&c->session_watch, takes ? EPOLLIN : 0u)))
        drop(c);
}

/* A client that closed its socket looks like one that shut down its sending side, until its machine
 * is asked. */
static void set_options(int fd)
{
    int one = 1, alive_s = ALIVE_S;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &alive_s, sizeof alive_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &alive_s, sizeof alive_s);
}

static void accept_clients(void)
{
    int fd;

    while ((fd = accept4(sidecar.listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *c = calloc(1, sizeof *c);

        if (!c) {
            close(fd);
            return;
        }
        set_options(fd);
        c->socket = (struct watch){.fd = fd, .client = c};
        c->session_watch = (struct watch){.fd = -1, .client = c};
        c->moved = now();
        c->next = sidecar.clients;
        if (c->next)
            c->next->previous = c;
        sidecar.clients = c;
        if (!watch_for(&c->socket, EPOLLIN))
            drop(c);
    }
    /* Out of descriptors: they wait in the kernel's queue until somebody leaves. */
    if (errno == EMFILE || errno == ENFILE)
        watch_for(&sidecar.listener, 0);
}

/* Once a second. */
static void look_around(void)
{
    struct client *next;

    for (struct client *c = sidecar.clients; c; c = next) {
        next = c->next;
        if (sidecar.ending && now() - c->moved > LINGER_S)
            drop(c);
    }
    if (!sidecar.ending)
        watch_for(&sidecar.listener, EPOLLIN);
}

/* --- the loop --- */

/* New clients are refused, and those that are there get the replies they wait for. */
static void begin_to_end(void)
{
    struct client *next;

    sidecar.ending = true;
    watch_for(&sidecar.listener, 0);
    watch_for(&sidecar.signals, 0);
    close(sidecar.listener.fd);
    for (struct client *c = sidecar.clients; c; c = next) {
        next = c->next;
        c->moved = now();
        serve(c, false);
    }
}

static void turn(void)
{
    enum { TURN_MS = 1000 };
    static time_t looked;
    struct epoll_event events[EVENTS];
    int count = epoll_wait(sidecar.poller, events, EVENTS, TURN_MS);

    for (int i = 0; i < count; i++) {
        struct watch *watch = events[i].data.ptr;

        if (watch == &sidecar.listener)
            accept_clients();
        else if (watch == &sidecar.signals)
            begin_to_end();
        else if (!watch->client->gone)
            serve(watch->client, watch == &watch->client->socket &&
                                     (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0);
    }
    if (now() != looked) {
        looked = now();
        look_around();
    }
    free_gone();
}

static void listen_on(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(port))};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    must(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
             bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 4096) == 0,
         "cannot listen");
    sidecar.listener.fd = fd;
    must(watch_for(&sidecar.listener, EPOLLIN), "epoll_ctl");
}

static void watch_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sidecar.signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    must(sidecar.signals.fd >= 0 && watch_for(&sidecar.signals, EPOLLIN), "signalfd");
}

static void raise_the_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A name is looked up once, here: for each client it would hold up the loop. */
static const char *address_of(const char *host)
{
    static char text[NI_MAXHOST];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(host, NULL, &hints, &found);

    if (error == 0)
        error = getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0,
                            NI_NUMERICHOST);
    if (error != 0) {
        fprintf(stderr, "sidecar: %s: %s\n", host, gai_strerror(error));
        exit(1);
    }
    freeaddrinfo(found);
    return text;
}

static bool is_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);

    return *text && !*end && port > 0 && port < 65536;
}

int main(int argc, char **argv)
{
    if (argc != 4 || !is_port(argv[1]) || !is_port(argv[3])) {
        fprintf(stderr,
                "usage: %s LISTEN-PORT HOST PORT\n"
                "HOST and PORT are those of any node of a cluster, or of one server.\n",
                argv[0]);
        return 2;
    }
    sidecar.host = address_of(argv[2]);
    sidecar.port = atoi(argv[3]);
    raise_the_limit();
    sidecar.poller = epoll_create1(EPOLL_CLOEXEC);
    must(sidecar.poller >= 0, "epoll_create1");
    watch_signals();
    listen_on(argv[1]);
    while (!sidecar.ending || sidecar.clients)
        turn();
    return 0;
}
