#include "socket/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "keeper/keeper.h"
#include "link/tls.h"
#include "session/front.h"
#include "socket/inner.h"
#include "socket/pump.h"
#include "socket/replace.h"
#include "socket/words.h"

enum { READY_MOST = 64 };

/* How long a close waits at most: for what could not be sent yet, and for answers, so
 * that a redirect of the last commands is still followed. An event loop waits less. */
struct patience {
    int64_t unsent_ms;
    int64_t answers_ms;
};
static const struct patience patience_of[] = {
    [ENDPOINT_BLOCKING] = {2000, 1000},
    [ENDPOINT_ASYNC] = {500, 50},
    [ENDPOINT_NONBLOCK] = {500, 50},
};

static bool address_text(const struct sockaddr *address, char host[INET6_ADDRSTRLEN],
                         uint16_t *port)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;

        *port = ntohs(in->sin_port);
        return inet_ntop(AF_INET, &in->sin_addr, host, INET6_ADDRSTRLEN) != NULL;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;

        *port = ntohs(in6->sin6_port);
        return inet_ntop(AF_INET6, &in6->sin6_addr, host, INET6_ADDRSTRLEN) != NULL;
    }
    return false;
}

static bool is_blocking(const struct endpoint *ep)
{
    return ep->kind == ENDPOINT_BLOCKING;
}

/* --- making --- */

/* What the configuration says of connections to the dialled address. */
static void configure(struct session_settings *settings)
{
    const struct config *config = config_get();
    const struct config_listener *l =
        config_listener(config, settings->dialled_host, settings->dialled_port);

    settings->op_timeout_ms = l->op_timeout_ms;
    settings->failover_timeout_ms = l->failover_timeout_ms;
    settings->connect_timeout_ms = l->connect_timeout_ms;
    settings->link_idle_timeout_ms = config->link_idle_timeout_ms;
    settings->read_policy = (enum read_policy)l->read_policy;
    settings->read_your_writes_ms = config->read_your_writes_ms;
    settings->zone = config->zone;
    settings->no_redirection = !l->redirection;
    settings->logins = config->off ? NULL : l->logins;
    settings->mirrors = l->mirrors;
    settings->tls = l->tls;
    settings->refresh = (struct config_refresh){.redirect_threshold = -1};
    if (l->cluster != NULL)
        settings->refresh = l->cluster->refresh;
    settings->seeds = l->cluster;
}

/* The link under which the program's own connection is. NULL: it is gone. */
static struct link *home_of(const struct endpoint *ep)
{
    const struct session *s = ep->session;

    if (s->front == NULL)
        return s->home;
    return s->home->inner != NULL ? s->home->inner->home : NULL;
}

static bool is_connecting(const struct endpoint *ep)
{
    const struct link *home = home_of(ep);

    return home != NULL && home->state == LINK_CONNECTING;
}

/* Keys of connections to this address have several clusters. */
static bool has_routes(const struct sockaddr *address)
{
    const struct config *config = config_get();
    char host[INET6_ADDRSTRLEN];
    uint16_t port;

    return !config->off && config->listeners != NULL &&
           address_text(address, host, &port) &&
           config_has_routes(config_listener(config, host, port));
}

/* The program's own connection is that of the first inner session. */
static bool make_front(struct endpoint *ep, struct session_settings *settings)
{
    struct cluster *upstreams = upstreams_cluster(settings->dialled_host, settings->dialled_port);
    const struct seed seed = {.address = ep->seed, .length = ep->seed_length, .name = ep->name};
    struct topology *t;
    uint64_t version;

    if (upstreams == NULL)
        return false;
    t = cluster_topology(upstreams, &version);
    settings->host = UPSTREAM_HOST;
    settings->port = (uint16_t)(t->upstreams->own + 1);
    topology_unref(t);
    settings->configure = inner_configure_front;
    inner_configure_front(settings);
    ep->session = session_create(settings);
    if (ep->session == NULL || !front_begin(ep->session, upstreams))
        return false;
    ep->session->fd = ep->fd;
    if (!inner_open_at(ep, ep->session->home, &seed))
        return false;
    session_link_opened(ep->session, ep->session->home);
    return true;
}

static bool make_session(struct endpoint *ep)
{
    char host[INET6_ADDRSTRLEN];
    struct session_settings settings = {.host = host, .clock = clock_now_ms, .configure = configure};

    keeper_prepare();
    address_text((struct sockaddr *)&ep->address, settings.dialled_host, &settings.dialled_port);
    if (has_routes((struct sockaddr *)&ep->address))
        return make_front(ep, &settings);
    address_text((struct sockaddr *)&ep->seed, host, &settings.port);
    configure(&settings);
    settings.tls_dialled = ep->name;
    settings.tls_is_own = ep->own_tls != NULL;
    if (settings.tls_is_own)
        settings.tls = ep->own_tls;
    ep->session = session_create(&settings);
    if (ep->session == NULL)
        return false;
    ep->session->fd = ep->fd;
    ep->session->home->address = ep->seed;
    ep->session->home->address_length = ep->seed_length;
    return true;
}

static int64_t handshake_by_ms(const struct endpoint *ep, const struct session *s)
{
    return clock_now_ms() + (ep->wire.connect_timeout_ms > 0 ? ep->wire.connect_timeout_ms
                                                             : s->settings.connect_timeout_ms);
}

/* A socket of the program's becomes the link to the dialled node: connected, or `connecting`. With
 * TLS that takes a handshake. */
static void adopt_home(struct endpoint *ep, int fd, bool connecting)
{
    struct link *home = home_of(ep);
    enum wire_result r;

    home->session = ep->session->front != NULL ? ep->session->home->inner : ep->session;
    ep->wire.tls = home->session->settings.tls;
    ep->wire.tls_dialled = home->session->settings.tls_dialled;
    r = wire_adopt(home, fd, &ep->wire);
    keeper_watch(home, NULL);
    home->state = connecting || r != WIRE_DONE ? LINK_CONNECTING : LINK_UP;
    home->connect_by_ms = -1; /* hiredis sets no limit here */
    if (r == WIRE_AGAIN)
        home->connect_by_ms = handshake_by_ms(ep, home->session);
    else if (r == WIRE_LOST)
        session_end(home->session, home->error);
}

static bool is_secured(const struct sockaddr *dialled)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;

    return address_text(dialled, host, &port) &&
           config_listener(config_get(), host, port)->tls != NULL;
}

/* By TLS or without: a program that has a TLS of its own shows that only later. */
static bool plain_by_now(const struct sockaddr *address)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;
    int64_t now = clock_now_ms();

    return !address_text(address, host, &port) || cluster_is_plain(host, port, false, now) ||
           cluster_is_plain(host, port, true, now);
}

/* Something has to be said there before the program may speak. */
static bool logs_in(const struct seed *seed)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;

    return address_text((const struct sockaddr *)&seed->dialled, host, &port) &&
           config_listener(config_get(), host, port)->logins != NULL;
}

/* The number becomes a poller; the socket under it moves to another and goes on connecting. */
static bool become_poller(struct endpoint *ep)
{
    struct link *home = home_of(ep);
    int real;

    ep->poller = poller_create();
    if (ep->poller == NULL)
        return false;
    real = wire_move_high(fcntl(ep->fd, F_DUPFD_CLOEXEC, 0));
    if (real == -1 || dup3(poller_descriptor(ep->poller), ep->fd, O_CLOEXEC) == -1) {
        if (real != -1)
            close(real);
        return false;
    }
    poller_set_descriptor(ep->poller, ep->fd);
    adopt_home(ep, real, true);
    poller_want(ep->poller, home, POLLER_WRITABLE);
    return true;
}

static void free_endpoint(struct endpoint *ep)
{
    keeper_forward_destroy(ep->forward);
    poller_destroy(ep->poller);
    session_destroy(ep->session);
    if (ep->peer != -1)
        close(ep->peer);
    if (ep->tap != NULL)
        tap_deinit(ep->tap);
    free(ep->tap);
    tls_profile_unref(ep->own_tls);
    free(ep->name);
    free(ep);
}

static struct endpoint *create(int fd, const struct seed *seed, const struct wire_settings *wire,
                               bool async)
{
    struct endpoint *ep = calloc(1, sizeof *ep);

    if (ep == NULL)
        return NULL;
    ep->fd = fd;
    ep->peer = -1;
    ep->kind = async ? ENDPOINT_ASYNC : ENDPOINT_NONBLOCK;
    ep->generation = atomic_load(&keeper_generation);
    ep->address = seed->dialled;
    ep->address_length = seed->dialled_length;
    ep->seed = seed->address;
    ep->seed_length = seed->length;
    ep->wire = *wire;
    ep->own_tls = tls_profile_ref(wire->tls);
    if (ep->own_tls != NULL || is_secured((const struct sockaddr *)&seed->dialled) ||
        has_routes((const struct sockaddr *)&seed->dialled))
        ep->name = strdup(seed->name);
    if ((async && (!make_session(ep) || !become_poller(ep))) || !descriptor_set(fd, ep)) {
        free_endpoint(ep);
        return NULL;
    }
    return ep;
}

/* The program may have closed the number behind our back, and this is another socket: never where
 * an epoll descriptor should be; and one that nothing was said on is as good as the one before. */
bool endpoint_is_connecting_to(const struct endpoint *ep, const struct sockaddr *address,
                               socklen_t length)
{
    struct stat st;

    if (length != ep->address_length || memcmp(address, &ep->address, length) != 0)
        return false;
    if (ep->kind != ENDPOINT_ASYNC)
        return ep->session == NULL;
    return fstat(ep->fd, &st) == 0 && !S_ISSOCK(st.st_mode);
}

struct endpoint *endpoint_create(int fd, const struct seed *seed, const struct wire_settings *wire,
                                 bool async)
{
    const struct sockaddr *dialled = (const struct sockaddr *)&seed->dialled;

    if (!is_secured(dialled) && !logs_in(seed) && !has_routes(dialled) &&
        plain_by_now(seed_address(seed)))
        return NULL;
    return create(fd, seed, wire, async);
}

bool endpoint_create_tapped(int fd, const struct sockaddr *address, socklen_t length)
{
    struct endpoint *ep = calloc(1, sizeof *ep);

    if (ep == NULL)
        return false;
    keeper_prepare();
    ep->fd = fd;
    ep->peer = -1;
    ep->kind = ENDPOINT_NONBLOCK;
    ep->generation = atomic_load(&keeper_generation);
    if (address != NULL && length <= sizeof ep->address) {
        memcpy(&ep->address, address, length);
        ep->address_length = length;
    }
    ep->tap = calloc(1, sizeof *ep->tap);
    if (ep->tap != NULL && descriptor_set(fd, ep))
        return true;
    free_endpoint(ep);
    return false;
}

/* --- the descriptor that the program sees --- */

/* Puts one end of a socket pair under the program's number. In a child its epoll sets are the
 * parent's too, and stay as they are. */
static bool put_pair(struct endpoint *ep, bool in_child)
{
    int pair[2], status = fcntl(ep->fd, F_GETFL);

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
        return false;
    if (in_child ? dup3(pair[0], ep->fd, O_CLOEXEC) == -1
                 : !replace_descriptor(ep->fd, pair[0], O_CLOEXEC)) {
        close(pair[0]);
        close(pair[1]);
        return false;
    }
    close(pair[0]);
    if (status != -1 && (status & O_NONBLOCK) != 0)
        fcntl(ep->fd, F_SETFL, O_NONBLOCK | O_RDWR);
    if (ep->peer != -1)
        close(ep->peer);
    ep->peer = wire_move_high(pair[1]);
    return true;
}

static void pair_up(struct endpoint *ep)
{
    struct link *home = home_of(ep);
    bool home_is_here = home != NULL && home->fd == ep->fd;
    int real = -1;

    if (ep->paired)
        return;
    if (home_is_here) {
        real = fcntl(ep->fd, F_DUPFD_CLOEXEC, 0);
        if (real == -1)
            return;
        real = wire_move_high(real);
    }
    if (!put_pair(ep, false)) {
        if (real != -1)
            close(real);
        return;
    }
    ep->paired = true;
    if (home_is_here) {
        keeper_unwatch(home);
        home->fd = real;
        keeper_watch(home, home->session->cluster);
    }
}

static void want_all(struct endpoint *ep)
{
    for (struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            if (link->fd != -1)
                poller_want(ep->poller, link, wire_wants(link));
}

/* From here on the keeper makes the descriptor readable when there is something to do. */
static void start_forwarding(struct endpoint *ep)
{
    if (ep->forward != NULL)
        return;
    pair_up(ep);
    if (!ep->paired)
        return;
    if (ep->poller == NULL)
        ep->poller = poller_create();
    if (ep->poller == NULL)
        return;
    want_all(ep);
    keeper_start();
    ep->forward = keeper_forward_create(poller_descriptor(ep->poller), ep->peer);
    if (ep->forward != NULL)
        keeper_forward_arm(ep->forward, ep->fd);
}

/* Messages arrive while the program waits on its descriptor, and it will. */
static void follow_stream(struct endpoint *ep)
{
    struct session *s = ep->session;

    if (!is_blocking(ep) || !session_routes(s) || !session_is_streaming(s))
        return;
    start_forwarding(ep);
    if (s->front != NULL)
        s = s->home->inner != NULL ? s->home->inner : s;
    if (ep->forward != NULL && s->cluster != NULL)
        keeper_forward_follow(ep->forward, s->cluster, s->version);
}

/* What was served without the poller is not to be announced by it. */
static void forget_served(struct endpoint *ep)
{
    struct link *ready[READY_MOST];

    (void)poller_collect(ep->poller, ready, READY_MOST, 0);
}

/* The poller is readable exactly while there is something for the program to fetch. A blocking
 * context is not woken for a look that is a mere precaution: it would wait in its next read. */
static void settle(struct endpoint *ep)
{
    struct session *s = ep->session;

    if (s->feeds != NULL || s->tracking != 0)
        follow_stream(ep);
    if (ep->poller == NULL)
        return;
    if (is_blocking(ep))
        forget_served(ep);
    if (session_deliverable(s) || s->state == SESSION_ENDED || s->dirty != NULL)
        poller_raise(ep->poller);
    else if (ep->prompt)
        poller_lower(ep->poller);
    if (is_blocking(ep))
        poller_set_timer(ep->poller, session_due_in_need(s));
    else if (s->settings.op_timeout_ms == 0)
        poller_set_timer(ep->poller, session_due(s));
    else
        poller_set_timer_lazily(ep->poller, session_due_aside(s),
                                poller_is_lazy(ep->poller) ? -1 : session_due(s));
    if (ep->forward != NULL)
        keeper_forward_arm(ep->forward, ep->fd);
}

struct endpoint *endpoint_create_stream(int fd, const struct seed *seed,
                                        const struct endpoint_wishes *wishes)
{
    struct wire_settings wire = {.family = seed->address.ss_family,
                                 .connect_timeout_ms = wishes->connect_timeout_ms,
                                 .tls = wishes->tls};
    struct endpoint *ep = create(fd, seed, &wire, true);

    if (ep == NULL) {
        close(fd);
        return NULL;
    }
    ep->prompt = true;
    if (config_audits(config_get()))
        ep->tap = calloc(1, sizeof *ep->tap);
    if (config_get()->off || ep->tap != NULL)
        ep->session->state = SESSION_PLAIN;
    if (wishes->connect_timeout_ms > 0)
        home_of(ep)->connect_by_ms = clock_now_ms() + wishes->connect_timeout_ms;
    settle(ep);
    return ep;
}

/* --- a fork --- */

/* Two processes cannot share a TLS stream, as they could a socket, when both are careful: the child
 * leaves its parent's alone and opens its own. A pipe to a server that is no cluster cannot be opened
 * anew without its program. */
static void renew_secured(struct endpoint *ep, struct session *s)
{
    for (struct link *link = s->links; link != NULL; link = link->next) {
        if (link->tls == NULL || link->fd == -1 || s->state == SESSION_PLAIN)
            continue;
        if (link == s->home && s->topology == NULL && s->order_head == NULL) {
            pump_close(ep, link);
            link_cut(link);
            link->state = LINK_IDLE;
        } else {
            pump_lose(ep, link, ECONNABORTED);
        }
    }
}

/* Everything here is the parent's too. The links are kept, as plain hiredis keeps
 * its socket; what would reach into the parent (its epoll set, its socket pair) is
 * made anew under the same numbers. */
static void inherit(struct endpoint *ep)
{
    ep->generation = atomic_load(&keeper_generation);
    if (ep->session == NULL)
        return;
    if (!ep->wire.alone)
        keeper_start();
    for (struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next) {
            link->watched = 0;
            if (link->fd != -1)
                keeper_watch(link, s->cluster);
        }
    keeper_forward_destroy(ep->forward);
    ep->forward = NULL;
    if (ep->poller != NULL) {
        struct poller *fresh = poller_create();

        if (fresh == NULL)
            return;
        if (ep->kind == ENDPOINT_ASYNC) {
            dup3(poller_descriptor(fresh), ep->fd, O_CLOEXEC);
            poller_set_descriptor(fresh, ep->fd);
            poller_set_descriptor_quietly(ep->poller, -1);
        }
        poller_destroy(ep->poller);
        ep->poller = fresh;
        want_all(ep);
    }
    if (ep->paired && put_pair(ep, true) && ep->kind == ENDPOINT_NONBLOCK)
        start_forwarding(ep);
    for (struct session *s = ep->session; s != NULL; s = s->next)
        renew_secured(ep, s);
}

/* --- the first use --- */

/* The first read or write: the socket is the program's connection to the dialled node. */
static bool begin(struct endpoint *ep)
{
    if (!make_session(ep))
        return false;
    ep->wire.alone = is_blocking(ep) && !keeper_is_running();
    ep->wire.may_look_up = is_blocking(ep);
    ep->wire.op_timeout_ms = ep->session->settings.op_timeout_ms;
    adopt_home(ep, ep->fd, false);
    if (!is_blocking(ep) && home_of(ep)->state == LINK_UP &&
        wire_connected(home_of(ep)) == WIRE_AGAIN)
        home_of(ep)->state = LINK_CONNECTING;
    if (home_of(ep)->state == LINK_UP)
        session_home_connected(home_of(ep)->session);
    if (is_blocking(ep))
        return true;
    start_forwarding(ep);
    return true;
}

static bool make_ready(struct endpoint *ep)
{
    if (ep->tap != NULL && ep->session == NULL)
        return false;
    if (ep->generation != atomic_load_explicit(&keeper_generation, memory_order_relaxed))
        inherit(ep);
    if (ep->session != NULL || begin(ep))
        return true;
    errno = ENOMEM;
    return false;
}

/* There is a session, and no fork since it was last used. */
static inline bool is_as_it_was(const struct endpoint *ep)
{
    return ep->session != NULL &&
           ep->generation == atomic_load_explicit(&keeper_generation, memory_order_relaxed);
}

static inline bool ready(struct endpoint *ep)
{
    return is_as_it_was(ep) || make_ready(ep);
}

/* --- a plain server: the real socket is the program's again --- */

static void flush_to_plain(int fd, struct link *home)
{
    size_t done = (size_t)(home->out_flushed - home->out_base), left = buffer_length(&home->out);

    while (done < left) {
        ssize_t n = send(fd, buffer_bytes(&home->out) + done, left - done, MSG_NOSIGNAL);

        if (n == -1 && errno != EINTR)
            return; /* the read that follows says what happened */
        if (n > 0)
            done += (size_t)n;
    }
}

/* Nothing of ours is left between the program and a server that is no cluster. */
static void step_aside(struct endpoint *ep)
{
    struct link *home = ep->session->home;
    int fd = ep->fd;

    ep->wire.alone = false;
    ep->wire.op_timeout_ms = 0;
    wire_set_receive_timeout(home, &ep->wire);
    flush_to_plain(home->fd, home);
    keeper_unwatch(home);
    if (ep->paired)
        (void)replace_descriptor(fd, home->fd, 0);
    descriptor_set(fd, NULL);
    for (struct link *link = ep->session->links; link != NULL; link = link->next)
        if (link->fd != -1 && link->fd != fd)
            pump_close(ep, link);
    free_endpoint(ep);
}

static bool may_step_aside(const struct endpoint *ep)
{
    const struct session *s = ep->session;

    return is_blocking(ep) && s->state == SESSION_PLAIN && s->order_head == NULL &&
           buffer_length(&s->home->in) == 0 && s->home->greetings == 0 && ep->wire.tls == NULL;
}

/* --- an audit --- */

static ssize_t write_tapped(struct endpoint *ep, const void *bytes, size_t length)
{
    ssize_t n = write(ep->fd, bytes, length);
    int error = errno;

    if (ep->generation != atomic_load(&keeper_generation))
        keeper_prepare();
    ep->generation = atomic_load(&keeper_generation);
    if (n > 0)
        tap_look(ep->tap, bytes, (size_t)n);
    errno = error;
    return n;
}

/* --- read and write --- */

static ssize_t fail(int error)
{
    errno = error;
    return -1;
}

/* What is known beside the number is said by whoever says the number in words. */
static int end_error(const struct endpoint *ep)
{
    words_set(ep->session->end_error, ep->session->end_text);
    return ep->session->end_error;
}

static ssize_t ended(const struct endpoint *ep)
{
    return ep->session->end_error == 0 ? 0 : fail(end_error(ep));
}

/* A pipe through TLS has no socket that a program could use, either. */
static void enter_routing(struct endpoint *ep)
{
    bool is_pipe = ep->session->state == SESSION_PLAIN && ep->wire.tls != NULL;

    if (!ep->paired && (session_routes(ep->session) || is_pipe) && ep->kind != ENDPOINT_ASYNC)
        pair_up(ep);
}

static int64_t deadline_of(struct timeval timeout)
{
    if (timeout.tv_sec == 0 && timeout.tv_usec == 0)
        return -1;
    return clock_now_ms() + (int64_t)timeout.tv_sec * 1000 + (timeout.tv_usec + 999) / 1000;
}

static void close_links(struct endpoint *ep)
{
    for (struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            pump_close(ep, link);
}

/* The reply that was not waited for must reach no later command: nothing is read here again. A
 * message that did not come is no such reply. */
static ssize_t timed_out(struct endpoint *ep)
{
    if (ep->session->unanswered == 0 && session_is_streaming(ep->session))
        return fail(EAGAIN);
    for (struct session *s = ep->session; s != NULL; s = s->next)
        if (s->cluster != NULL && s->front == NULL)
            cluster_suspect(s->cluster);
    session_end(ep->session, ECONNABORTED);
    close_links(ep);
    return fail(EAGAIN);
}

/* One server answers a pipeline in one go, and programs rely on it: they read once,
 * and take all replies to what they wrote from what was read. So the replies that are
 * on their way are waited for, as far as the memory goes, and for a moment only. */
static size_t gather(struct endpoint *ep, char *to, size_t size)
{
    struct session *s = ep->session;
    size_t n = 0;
    int64_t until = -1;

    while (n < size && s->unanswered > 0 && session_routes(s) && !session_is_blocked(s)) {
        if (!pump_next_answer(ep)) {
            if (until < 0)
                until = clock_now_ms() + PUMP_GATHER_MS;
            if (pump_wait_any(ep, until) != PUMP_MOVED)
                break;
        }
        n += session_take(s, to + n, size - n);
    }
    return n;
}

/* `waited_ms` of its time limit have passed. */
static ssize_t read_waiting(struct endpoint *ep, void *to, size_t size, int64_t waited_ms)
{
    struct session *s = ep->session;
    int64_t deadline = -1;
    bool first = true;

    for (;;) {
        size_t n = session_take(s, to, size);

        if (n > 0) {
            n += gather(ep, (char *)to + n, size - n);
            settle(ep);
            return (ssize_t)n;
        }
        if (may_step_aside(ep)) {
            int fd = ep->fd;

            step_aside(ep);
            return read(fd, to, size);
        }
        if (s->state == SESSION_ENDED)
            return ended(ep);
        enter_routing(ep);
        if (first && (deadline = deadline_of(ep->wire.receive_timeout)) >= 0)
            deadline -= waited_ms;
        first = false;
        switch (waited_ms > 0 ? pump_wait_any(ep, deadline) : pump_wait(ep, deadline)) {
        case PUMP_MOVED:
            break;
        case PUMP_INTERRUPTED:
            return fail(EINTR);
        case PUMP_TIMEOUT:
            return timed_out(ep);
        }
    }
}

static ssize_t read_ready(struct endpoint *ep, void *to, size_t size)
{
    size_t n;

    pump_ready(ep);
    n = session_take(ep->session, to, size);
    settle(ep);
    if (n > 0)
        return (ssize_t)n;
    return ep->session->state == SESSION_ENDED ? ended(ep) : fail(EAGAIN);
}

/* What came instead of the whole reply to an express command: the long way has to be gone. 0: it
 * goes on; *waited_ms have passed then. */
static ssize_t leave_express(struct endpoint *ep, const void *got, ssize_t n, int error,
                             int64_t *waited_ms)
{
    struct session *s = ep->session;
    struct link *link = s->express.link;

    session_unexpress(s);
    if (n > 0 && !buffer_append(&link->in, got, (size_t)n))
        session_end(s, ENOMEM);
    else if (n > 0)
        session_link_received(s, link);
    else if (n == -1 && error == EINTR)
        return fail(EINTR);
    else if (n == -1 && error == EAGAIN && (*waited_ms = pump_waited(ep, link)) == 0)
        return timed_out(ep);
    else if (n == -1 && error != EAGAIN)
        wire_note_error(link, error);
    return 0; /* what is wrong with the connection shows at the next look at it */
}

/* The answers to a volley that come together: one server would give them in one go (see gather). 0:
 * the long way has to be gone; *waited_ms have passed then. */
static ssize_t read_volley(struct endpoint *ep, char *to, size_t size, int64_t *waited_ms)
{
    struct session *s = ep->session;
    enum wire_result r = WIRE_DONE;
    int64_t until = -1;
    struct link *link;
    size_t n = 0;

    do {
        n += session_volley_take(s, to + n, size - n, &link);
        if (link != NULL)
            r = n == 0 ? pump_volley_wait(ep, link)
                       : pump_volley_gather(link, &until);
    } while (link != NULL && r == WIRE_DONE);
    if (n > 0)
        return (ssize_t)n;
    if (r == WIRE_INTERRUPTED)
        return fail(EINTR);
    session_unexpress(s);
    if (r == WIRE_AGAIN && (*waited_ms = pump_volley_waited(ep, link)) == 0)
        return timed_out(ep);
    return 0;
}

static ssize_t read_long(struct endpoint *ep, void *to, size_t size, int64_t waited_ms)
{
    ssize_t n;

    if (!ready(ep))
        return ep->tap != NULL ? read(ep->fd, to, size) : -1;
    if (session_volleys(ep->session) && (n = read_volley(ep, to, size, &waited_ms)) != 0)
        return n;
    if (!is_blocking(ep) && ep->poller != NULL)
        return read_ready(ep, to, size);
    /* What other servers have said meanwhile comes with what this one will. */
    if (ep->session->tracking != 0 && ep->poller != NULL)
        pump_ready(ep);
    return read_waiting(ep, to, size, waited_ms);
}

/* `express`: a command went the short way, and of its answer `n` came, with `recv_error` when that
 * is -1. Programs look at errno after a read that succeeded, too. */
static __attribute__((noinline)) ssize_t read_slowly(struct endpoint *ep, void *to, size_t size,
                                                     int error, bool express, ssize_t n)
{
    int64_t waited_ms = 0;
    ssize_t result = express ? leave_express(ep, to, n, errno, &waited_ms) : 0;

    if (result == 0)
        result = read_long(ep, to, size, waited_ms);
    if (result >= 0)
        errno = error;
    return result;
}

/* An express command is answered straight into the program's memory. */
ssize_t endpoint_read(struct endpoint *ep, void *to, size_t size)
{
    int error = errno;
    struct link *link = is_as_it_was(ep) ? ep->session->express.link : NULL;
    ssize_t n = 0;

    if (link != NULL) {
        n = recv(link->fd, to, size, 0);
        if (n > 0 && session_express_answered(ep->session, to, (size_t)n))
            return n;
    }
    return read_slowly(ep, to, size, error, link != NULL, n);
}

void endpoint_interrupt(struct endpoint *ep)
{
    atomic_store(&ep->interrupted, true);
    poller_interrupt(ep->poller);
}

/* 1 or 0 as endpoint_wait; else an errno value, negative. */
static int wait_for_news(struct endpoint *ep, int64_t deadline)
{
    const struct session *s = ep->session;
    bool connecting = is_connecting(ep);
    enum pump_result r = PUMP_MOVED;

    for (;;) {
        if (atomic_load(&ep->interrupted) && atomic_exchange(&ep->interrupted, false))
            return -ECANCELED;
        if (session_deliverable(s) || s->state == SESSION_ENDED ||
            (connecting && !is_connecting(ep)))
            return 1;
        if (r != PUMP_MOVED)
            return r == PUMP_TIMEOUT ? 0 : -EINTR;
        r = pump_wait_ready(ep, deadline);
    }
}

int endpoint_wait(struct endpoint *ep, int64_t timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? -1 : clock_now_ms() + timeout_ms;
    int result;

    if (!ready(ep))
        return -1;
    result = wait_for_news(ep, deadline);
    settle(ep);
    return result < 0 ? (int)fail(-result) : result;
}

ssize_t endpoint_read_wait(struct endpoint *ep, void *to, size_t size, int64_t timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? -1 : clock_now_ms() + timeout_ms;
    size_t n = 0;

    if (!ready(ep))
        return -1;
    while (n == 0) {
        int waited = wait_for_news(ep, deadline);

        if (waited == 1)
            n = session_take(ep->session, to, size);
        if (waited != 1 || (n == 0 && ep->session->state == SESSION_ENDED)) {
            settle(ep);
            return waited == 0 ? fail(EAGAIN) : waited < 0 ? fail(-waited) : ended(ep);
        }
    }
    settle(ep);
    return (ssize_t)n;
}

size_t endpoint_kept(const struct endpoint *ep)
{
    size_t kept = buffer_length(&ep->session->in);

    for (const struct link *link = ep->session->links; link != NULL; link = link->next)
        if (link->sent.head != NULL || link_unflushed(link))
            kept += buffer_length(&link->out);
    if (kept == 0 && (!session_idle(ep->session) || ep->session->express.link != NULL))
        kept = 1;
    return kept;
}

/* Reads while it writes: a pipeline larger than every buffer must not wait for a
 * server that waits for us to read. */
static ssize_t flush_waiting(struct endpoint *ep)
{
    int64_t deadline = -1;
    bool first = true;

    while (pump_unflushed(ep) && ep->session->state != SESSION_ENDED) {
        if (first)
            deadline = deadline_of(ep->wire.send_timeout);
        first = false;
        if (pump_wait_any(ep, deadline) == PUMP_TIMEOUT)
            return timed_out(ep);
    }
    return 0;
}

static inline bool timer_is_wanted(const struct endpoint *ep)
{
    int64_t due = session_due(ep->session);

    if (ep->session->settings.op_timeout_ms == 0)
        return due >= 0;
    return due >= 0 && (!poller_is_lazy(ep->poller) || session_due_aside(ep->session) >= 0);
}

/* The first command goes out at once; what is issued before its answer is collected
 * and goes out together when the event loop comes round. */
static void send_from_loop(struct endpoint *ep)
{
    struct session *s = ep->session;

    if (s->unanswered <= 1 || !session_routes(s))
        pump_orders(ep);
    if (ep->poller != NULL && (s->dirty != NULL || session_deliverable(s) ||
                               s->state == SESSION_ENDED || timer_is_wanted(ep)))
        settle(ep);
}

/* What of commands that were to go the short way the kernel did not take. */
static ssize_t write_rest(struct endpoint *ep, size_t length)
{
    session_unexpress(ep->session);
    pump_orders(ep);
    return flush_waiting(ep) == -1 ? -1 : (ssize_t)length;
}

static ssize_t write_long(struct endpoint *ep, const void *bytes, size_t length)
{
    struct session *s;
    size_t volley = 0;

    if (!ready(ep))
        return ep->tap != NULL ? write_tapped(ep, bytes, length) : -1;
    s = ep->session;
    session_unexpress(s);
    if (s->state == SESSION_ENDED)
        return fail(s->end_error == 0 ? EPIPE : end_error(ep));
    if (is_blocking(ep) && ep->forward == NULL && (volley = session_volley(s, bytes, length)) > 0) {
        if (volley == length)
            return pump_volley(ep) ? (ssize_t)length : write_rest(ep, length);
        session_unexpress(s);
    }
    if (!session_accept(s, (const char *)bytes + volley, length - volley))
        return fail(end_error(ep));
    if (!is_blocking(ep)) {
        send_from_loop(ep);
        return (ssize_t)length;
    }
    if (may_step_aside(ep)) {
        step_aside(ep);
        return (ssize_t)length;
    }
    enter_routing(ep);
    pump_orders(ep);
    if (flush_waiting(ep) == -1)
        return -1;
    if (session_is_silent(s))
        (void)pump_wait_any(ep, clock_now_ms()); /* nobody is going to read the replies */
    return (ssize_t)length;
}

/* `express`: the command has begun to go the short way. */
static __attribute__((noinline)) ssize_t write_slowly(struct endpoint *ep, const void *bytes,
                                                      size_t length, int error, bool express)
{
    ssize_t n = express ? write_rest(ep, length) : write_long(ep, bytes, length);

    if (n >= 0)
        errno = error;
    return n;
}

ssize_t endpoint_write(struct endpoint *ep, const void *bytes, size_t length)
{
    int error = errno;
    struct link *link = NULL;

    if (is_as_it_was(ep) && is_blocking(ep) && ep->forward == NULL &&
        ep->session->express.link == NULL)
        link = session_express(ep->session, bytes, length);
    /* A link that was idle for long is looked at before it is used. */
    if (link != NULL && link->used_s == clock_seconds()) {
        ssize_t n = send(link->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            link->out_flushed += (uint64_t)n;
        if (n == (ssize_t)length)
            return n;
    }
    return write_slowly(ep, bytes, length, error, link != NULL);
}

/* --- closing --- */

static bool anything_unsent_of(const struct session *s)
{
    if (buffer_length(&s->in) > 0 || s->troubles > 0 || session_transaction_waits(s))
        return true;
    for (const struct link *link = s->links; link != NULL; link = link->next)
        if (link->waiting.head != NULL || link_unflushed(link))
            return true;
    return false;
}

static bool anything_unsent(const struct session *s)
{
    while (s != NULL && !anything_unsent_of(s))
        s = s->next;
    return s != NULL;
}

/* Under hiredis, too, nothing is sent that was written before the connection was up. */
static bool never_connected(const struct session *s)
{
    return s->front != NULL ? !s->front->connected
                            : s->topology == NULL && s->home->state < LINK_GREETING;
}

/* What was accepted is sent, as by a kernel that closes a socket: also what waits
 * behind a connection, a redirect, or the question what the server is. */
static void linger(struct endpoint *ep)
{
    struct session *s = ep->session;
    int64_t now = clock_now_ms();
    int64_t until_sent = now + patience_of[ep->kind].unsent_ms;
    int64_t until_answered = now + patience_of[ep->kind].answers_ms;
    char discarded[4096];

    while (s->state != SESSION_ENDED && !session_is_blocked(s) && !never_connected(s)) {
        bool unsent = anything_unsent(s), unanswered = s->unanswered > 0;
        int64_t until = unsent ? until_sent : until_answered;

        if ((!unsent && !unanswered) || now >= until)
            return;
        (void)pump_wait_any(ep, until);
        while (session_take(s, discarded, sizeof discarded) > 0)
            ;
        now = clock_now_ms();
    }
}

static bool is_parents(const struct endpoint *ep)
{
    return ep->generation != atomic_load(&keeper_generation);
}

static void tear_down(struct endpoint *ep)
{
    descriptor_set(ep->fd, NULL);
    if (ep->session != NULL) {
        /* The epoll set may be the parent's: closing our copy must not empty it. */
        struct poller *poller = ep->poller;

        ep->poller = NULL;
        close_links(ep);
        ep->poller = poller;
    }
}

int endpoint_close(struct endpoint *ep)
{
    bool poller_is_fd = ep->kind == ENDPOINT_ASYNC;
    int fd = ep->fd;

    if (ep->session != NULL)
        session_unexpress(ep->session);
    if (ep->session != NULL && !is_parents(ep))
        linger(ep);
    tear_down(ep);
    free_endpoint(ep);
    return poller_is_fd ? 0 : close(fd);
}

void endpoint_forget(struct endpoint *ep)
{
    if (ep->kind == ENDPOINT_ASYNC && ep->poller != NULL)
        poller_set_descriptor_quietly(ep->poller, -1);
    tear_down(ep);
    free_endpoint(ep);
}

void endpoint_let_go(struct endpoint *ep)
{
    struct link *home;
    int fd = ep->fd;

    if (ep->session != NULL)
        session_unexpress(ep->session);
    if (ep->session != NULL && !is_parents(ep))
        linger(ep);
    ep->wire.alone = false;
    ep->wire.op_timeout_ms = 0;
    home = ep->session != NULL ? home_of(ep) : NULL;
    if (home != NULL)
        wire_set_receive_timeout(home, &ep->wire);
    if (home != NULL && home->fd != -1 && home->fd != fd)
        (void)replace_descriptor(fd, home->fd, 0);
    if (ep->kind == ENDPOINT_ASYNC && ep->poller != NULL)
        poller_set_descriptor_quietly(ep->poller, -1);
    tear_down(ep);
    free_endpoint(ep);
}

/* --- the rest of what a socket is asked --- */

bool endpoint_has_news(struct endpoint *ep)
{
    if (!ready(ep))
        return true;
    pump_ready(ep);
    settle(ep);
    return session_deliverable(ep->session) || ep->session->state == SESSION_ENDED;
}

static bool is_untouched(const struct endpoint *ep)
{
    for (const struct session *s = ep->session; s != NULL; s = s->next)
        if (!session_idle(s) || s->probe != NULL ||
            (s->front == NULL && s->state != SESSION_DISCOVERING))
            return false;
    return true;
}

/* The session is there, and its first connection is open or being opened. */
static int secure_home(struct endpoint *ep)
{
    struct link *home = home_of(ep);
    struct session *s = home != NULL ? home->session : NULL;

    if (s == NULL || s->state == SESSION_ENDED || home->fd == -1)
        return 0; /* the next look at it says why */
    s->settings.tls_is_own = true;
    session_set_tls(s, ep->own_tls);
    if (!tls_begin(home, ep->own_tls, NULL))
        return (int)fail(ENOMEM);
    home->state = LINK_CONNECTING;
    home->connect_by_ms = handshake_by_ms(ep, s);
    if (ep->poller != NULL)
        poller_want(ep->poller, home, wire_wants(home));
    return 0;
}

static int await_home(struct endpoint *ep)
{
    int64_t deadline = deadline_of(ep->wire.receive_timeout);
    int error;

    while (is_connecting(ep) && ep->session->state != SESSION_ENDED)
        if (pump_wait_any(ep, deadline) == PUMP_TIMEOUT && deadline >= 0 &&
            clock_now_ms() >= deadline)
            return (int)fail(ETIMEDOUT);
    if (ep->session->state != SESSION_ENDED)
        return 0;
    error = endpoint_connect_error(ep);
    return (int)fail(error != 0 ? error : ECONNRESET);
}

int endpoint_secure(struct endpoint *ep, struct tls_profile *profile)
{
    if (ep->generation != atomic_load(&keeper_generation))
        inherit(ep);
    if (!is_untouched(ep)) {
        words_set(EISCONN, "TLS comes before the first command");
        return (int)fail(EISCONN);
    }
    tls_profile_ref(profile);
    tls_profile_unref(ep->own_tls);
    ep->own_tls = profile;
    if (ep->session == NULL ? !begin(ep) : secure_home(ep) == -1)
        return (int)fail(ENOMEM);
    return is_blocking(ep) ? await_home(ep) : 0;
}

bool endpoint_set_read_policy(struct endpoint *ep, enum read_policy policy, size_t ahead, bool stays)
{
    if (!ready(ep))
        return ep->tap != NULL; /* there is one node */
    return session_set_read_policy(ep->session, policy, ahead, stays);
}

void endpoint_expect_poll(struct endpoint *ep)
{
    if (ep->session == NULL || (ep->session->state == SESSION_PLAIN && ep->wire.tls == NULL))
        return;
    session_unexpress(ep->session);
    start_forwarding(ep);
    settle(ep);
}

int endpoint_connect_error(struct endpoint *ep)
{
    if (is_connecting(ep) && ep->poller != NULL) {
        pump_ready(ep);
        settle(ep);
    }
    if (is_connecting(ep))
        return EINPROGRESS;
    words_set(session_connect_error(ep->session), ep->session->end_text);
    return session_connect_error(ep->session);
}

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
