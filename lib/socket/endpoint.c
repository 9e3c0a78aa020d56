#include "socket/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "config/guest.h"
#include "keeper/keeper.h"
#include "link/tls.h"
#include "session/front.h"
#include "socket/endpoint_state.h"
#include "socket/face.h"
#include "socket/pump.h"
#include "socket/replace.h"
#include "socket/sockaddr.h"
#include "socket/words.h"

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

/* --- making --- */

struct link *endpoint_home(const struct endpoint *ep)
{
    const struct session *s = ep->session;

    if (s->front == NULL)
        return s->home;
    return s->home->inner != NULL ? s->home->inner->home : NULL;
}

bool endpoint_is_connecting(const struct endpoint *ep)
{
    const struct link *home = endpoint_home(ep);

    if (ep->awaits_seed)
        return home == NULL || home->state == LINK_WANTED || home->state == LINK_CONNECTING;
    return home != NULL && home->state == LINK_CONNECTING;
}

static bool is_secured(const struct sockaddr *dialled)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;

    return sockaddr_text(dialled, host, &port) &&
           config_listener(config_get(), host, port)->tls != NULL;
}

/* By TLS or without: a program that has a TLS of its own shows that only later. */
static bool plain_by_now(const struct sockaddr *address)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;
    int64_t now = clock_now_ms();

    return !sockaddr_text(address, host, &port) || cluster_is_plain(host, port, false, now) ||
           cluster_is_plain(host, port, true, now);
}

/* Something has to be said there before the program may speak. */
static bool logs_in(const struct seed *seed)
{
    char host[INET6_ADDRSTRLEN];
    uint16_t port;

    return sockaddr_text((const struct sockaddr *)&seed->dialled, host, &port) &&
           config_listener(config_get(), host, port)->logins != NULL;
}

/* The pump opens it, when it is known where. */
static bool await_seed(struct endpoint *ep)
{
    if (dup3(poller_descriptor(ep->poller), ep->fd, O_CLOEXEC) == -1)
        return false;
    poller_set_descriptor(ep->poller, ep->fd);
    session_open_home(ep->session);
    face_settle(ep);
    return true;
}

/* The number becomes a poller; the socket under it moves to another and goes on connecting. */
static bool become_poller(struct endpoint *ep)
{
    struct link *home = endpoint_home(ep);
    int real;

    ep->poller = poller_create();
    if (ep->poller == NULL)
        return false;
    if (ep->awaits_seed)
        return await_seed(ep);
    real = wire_move_high(fcntl(ep->fd, F_DUPFD_CLOEXEC, 0));
    if (real == -1 || dup3(poller_descriptor(ep->poller), ep->fd, O_CLOEXEC) == -1) {
        if (real != -1)
            close(real);
        return false;
    }
    poller_set_descriptor(ep->poller, ep->fd);
    endpoint_adopt_home(ep, real, true);
    poller_want(ep->poller, home, POLLER_WRITABLE);
    return true;
}

/* For programs to which the number has to be a socket: one end of a pair, which the keeper makes
 * readable. It becomes writable when the connection is decided. */
static bool become_pair(struct endpoint *ep)
{
    int real = ep->awaits_seed ? -1 : wire_move_high(fcntl(ep->fd, F_DUPFD_CLOEXEC, 0));

    if ((real == -1 && !ep->awaits_seed) || !face_put_pair(ep, false)) {
        if (real != -1)
            close(real);
        return false;
    }
    ep->paired = true;
    if (ep->awaits_seed)
        session_open_home(ep->session); /* by the pump, when it is known where */
    else
        endpoint_adopt_home(ep, real, true);
    face_stuff(ep);
    face_forward(ep);
    if (ep->awaits_seed)
        face_settle(ep);
    if (ep->forward == NULL)
        endpoint_close_links(ep); /* what is under the number is a connection that was closed */
    return ep->forward != NULL;
}

/* What becomes of the number of an asynchronous context of hiredis'. */
static bool become_what_is_wanted(struct endpoint *ep)
{
    const struct config *config = config_get();
    bool socket = config->descriptor == DESCRIPTOR_SOCKET ||
                  (config->descriptor == DESCRIPTOR_AUTO &&
                   guest_wants_socket(program_invocation_short_name));

    return socket ? become_pair(ep) : become_poller(ep);
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

/* `become` makes the descriptor of an asynchronous context of it; NULL: it is no such. */
static struct endpoint *create(int fd, const struct seed *seed, const struct wire_settings *wire,
                               bool (*become)(struct endpoint *))
{
    struct endpoint *ep = calloc(1, sizeof *ep);

    if (ep == NULL)
        return NULL;
    ep->fd = fd;
    ep->peer = -1;
    ep->kind = become != NULL ? ENDPOINT_ASYNC : ENDPOINT_NONBLOCK;
    ep->receive_flags = become != NULL ? MSG_DONTWAIT : 0;
    ep->generation = atomic_load(&keeper_generation);
    ep->address = seed->dialled;
    ep->address_length = seed->dialled_length;
    ep->seed = seed->address;
    ep->seed_length = seed->length;
    ep->awaits_seed = seed->pending;
    ep->seed_cluster = seed->cluster;
    ep->wire = *wire;
    ep->own_tls = tls_profile_ref(wire->tls);
    ep->name = strdup(seed->name);
    if (ep->name == NULL || (become != NULL && (!endpoint_make_session(ep) || !become(ep))) ||
        !descriptor_set(fd, ep)) {
        free_endpoint(ep);
        return NULL;
    }
    return ep;
}

/* What a socket that connects to an address of the internet never is. */
static bool is_no_internet_socket(int fd)
{
    struct stat st;
    int domain;
    socklen_t size = sizeof domain;

    if (fstat(fd, &st) == -1)
        return false;
    return !S_ISSOCK(st.st_mode) ||
           (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX);
}

/* The program may have closed the number behind our back, and this is another socket: never where
 * an epoll descriptor or a pair should be; and one that nothing was said on is as good as the one
 * before. */
bool endpoint_is_connecting_to(const struct endpoint *ep, const struct sockaddr *address,
                               socklen_t length)
{
    if (length != ep->address_length || memcmp(address, &ep->address, length) != 0)
        return false;
    if (ep->kind != ENDPOINT_ASYNC)
        return ep->session == NULL;
    return is_no_internet_socket(ep->fd);
}

struct endpoint *endpoint_create(int fd, const struct seed *seed, const struct wire_settings *wire,
                                 bool async)
{
    const struct sockaddr *dialled = (const struct sockaddr *)&seed->dialled;

    if (!seed->pending && !is_secured(dialled) && !logs_in(seed) && !endpoint_has_routes(dialled) &&
        plain_by_now(seed_address(seed)))
        return NULL;
    return create(fd, seed, wire, async ? become_what_is_wanted : NULL);
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

struct endpoint *endpoint_create_stream(int fd, const struct seed *seed,
                                        const struct endpoint_wishes *wishes)
{
    struct wire_settings wire = {.family = seed->address.ss_family,
                                 .connect_timeout_ms = wishes->connect_timeout_ms,
                                 .tls = wishes->tls};
    int descriptor =
        wishes->descriptor != DESCRIPTOR_AUTO ? wishes->descriptor : config_get()->descriptor;
    struct endpoint *ep =
        create(fd, seed, &wire, descriptor == DESCRIPTOR_SOCKET ? become_pair : become_poller);

    if (ep == NULL) {
        close(fd);
        return NULL;
    }
    ep->prompt = true;
    if (config_audits(config_get()))
        ep->tap = calloc(1, sizeof *ep->tap);
    if (config_get()->off || ep->tap != NULL)
        ep->session->state = SESSION_PLAIN;
    if (wishes->connect_timeout_ms > 0 && !ep->awaits_seed)
        endpoint_home(ep)->connect_by_ms = clock_now_ms() + wishes->connect_timeout_ms;
    face_settle(ep);
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
    session_unexpress(ep->session);
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
        if (endpoint_is_poller(ep)) {
            dup3(poller_descriptor(fresh), ep->fd, O_CLOEXEC);
            poller_set_descriptor(fresh, ep->fd);
            poller_set_descriptor_quietly(ep->poller, -1);
        }
        poller_destroy(ep->poller);
        ep->poller = fresh;
        face_want_all(ep);
    }
    if (ep->paired && face_put_pair(ep, true) && !endpoint_is_blocking(ep)) {
        face_forward(ep);
        if (ep->kind == ENDPOINT_ASYNC && endpoint_is_connecting(ep))
            face_stuff(ep);
    }
    for (struct session *s = ep->session; s != NULL; s = s->next)
        renew_secured(ep, s);
}

/* --- the first use --- */

/* The first read or write: the socket is the program's connection to the dialled node. */
static bool begin(struct endpoint *ep)
{
    if (!endpoint_make_session(ep))
        return false;
    ep->wire.alone = endpoint_is_blocking(ep) && !keeper_is_running();
    ep->wire.op_timeout_ms = ep->session->settings.op_timeout_ms;
    endpoint_adopt_home(ep, ep->fd, false);
    if (!endpoint_is_blocking(ep) && endpoint_home(ep)->state == LINK_UP &&
        wire_connected(endpoint_home(ep)) == WIRE_AGAIN)
        endpoint_home(ep)->state = LINK_CONNECTING;
    if (endpoint_home(ep)->state == LINK_UP)
        session_home_connected(endpoint_home(ep)->session);
    if (endpoint_is_blocking(ep))
        return true;
    face_forward(ep);
    return true;
}

bool endpoint_make_ready(struct endpoint *ep)
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

void endpoint_step_aside(struct endpoint *ep)
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

bool endpoint_may_step_aside(const struct endpoint *ep)
{
    const struct session *s = ep->session;

    return endpoint_is_blocking(ep) && s->state == SESSION_PLAIN && s->order_head == NULL &&
           buffer_length(&s->home->in) == 0 && s->home->greetings == 0 && ep->wire.tls == NULL;
}

/* --- closing --- */

void endpoint_close_links(struct endpoint *ep)
{
    for (struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            pump_close(ep, link);
}


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
                            : s->topology == NULL && s->home->state < LINK_GREETING &&
                                  !s->settings.is_seen;
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
        endpoint_close_links(ep);
        ep->poller = poller;
    }
}

int endpoint_close(struct endpoint *ep)
{
    bool poller_is_fd = endpoint_is_poller(ep);
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
    if (endpoint_is_poller(ep))
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
    home = ep->session != NULL ? endpoint_home(ep) : NULL;
    if (home != NULL)
        wire_set_receive_timeout(home, &ep->wire);
    if (home != NULL && home->fd != -1 && home->fd != fd)
        (void)replace_descriptor(fd, home->fd, 0);
    if (endpoint_is_poller(ep))
        poller_set_descriptor_quietly(ep->poller, -1);
    tear_down(ep);
    free_endpoint(ep);
}

/* --- the rest of what a socket is asked --- */

bool endpoint_has_news(struct endpoint *ep)
{
    if (!endpoint_ready(ep))
        return true;
    session_unexpress(ep->session);
    (void)pump_ready(ep);
    face_settle(ep);
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

static void secure_session(const struct endpoint *ep, struct session *s)
{
    s->settings.tls_is_own = true;
    session_set_tls(s, ep->own_tls);
}

/* The session is there, and its first connection is open or being opened. */
static int secure_home(struct endpoint *ep)
{
    struct link *home = endpoint_home(ep);
    struct session *s = home != NULL ? home->session : NULL;

    if (ep->awaits_seed && endpoint_is_connecting(ep)) {
        secure_session(ep, ep->session);
        return 0;
    }
    if (s == NULL || s->state == SESSION_ENDED || home->fd == -1)
        return 0; /* the next look at it says why */
    secure_session(ep, s);
    if (!tls_begin(home, ep->own_tls, NULL))
        return (int)endpoint_fail(ENOMEM);
    home->state = LINK_CONNECTING;
    home->connect_by_ms = endpoint_handshake_by_ms(ep, s);
    if (ep->poller != NULL)
        poller_want(ep->poller, home, wire_wants(home));
    return 0;
}

static int await_home(struct endpoint *ep)
{
    int64_t deadline = endpoint_deadline(ep->wire.receive_timeout);
    int error;

    while (endpoint_is_connecting(ep) && ep->session->state != SESSION_ENDED)
        if (pump_wait_any(ep, deadline) == PUMP_TIMEOUT && deadline >= 0 &&
            clock_now_ms() >= deadline)
            return (int)endpoint_fail(ETIMEDOUT);
    if (ep->session->state != SESSION_ENDED)
        return 0;
    error = endpoint_connect_error(ep);
    return (int)endpoint_fail(error != 0 ? error : ECONNRESET);
}

int endpoint_secure(struct endpoint *ep, struct tls_profile *profile)
{
    if (ep->generation != atomic_load(&keeper_generation))
        inherit(ep);
    if (!is_untouched(ep)) {
        words_set(EISCONN, "TLS comes before the first command");
        return (int)endpoint_fail(EISCONN);
    }
    tls_profile_ref(profile);
    tls_profile_unref(ep->own_tls);
    ep->own_tls = profile;
    if (ep->session == NULL ? !begin(ep) : secure_home(ep) == -1)
        return (int)endpoint_fail(ENOMEM);
    return endpoint_is_blocking(ep) ? await_home(ep) : 0;
}

bool endpoint_set_read_policy(struct endpoint *ep, enum read_policy policy, size_t ahead, bool stays)
{
    if (!endpoint_ready(ep))
        return ep->tap != NULL; /* there is one node */
    return session_set_read_policy(ep->session, policy, ahead, stays);
}

bool endpoint_read_by(struct endpoint *ep, enum read_policy policy, size_t length)
{
    if (!endpoint_ready(ep))
        return ep->tap != NULL;
    return session_read_by(ep->session, policy, length);
}

void endpoint_expect_poll(struct endpoint *ep)
{
    if (ep->session == NULL || (ep->session->state == SESSION_PLAIN && ep->wire.tls == NULL))
        return;
    session_unexpress(ep->session);
    face_forward(ep);
    face_settle(ep);
}

int endpoint_connect_error(struct endpoint *ep)
{
    if (endpoint_is_connecting(ep) && ep->poller != NULL) {
        session_unexpress(ep->session);
        (void)pump_ready(ep);
        face_settle(ep);
    }
    if (endpoint_is_connecting(ep))
        return EINPROGRESS;
    words_set(session_connect_error(ep->session), ep->session->end_text);
    return session_connect_error(ep->session);
}

void endpoint_is_not_writable(struct endpoint *ep)
{
    if (ep->paired)
        face_stuff(ep);
}
