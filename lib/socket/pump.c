#include "socket/pump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "config/config.h"
#include "keeper/keeper.h"
#include "session/front.h"
#include "socket/endpoint_state.h"
#include "socket/inner.h"

enum { READY_MOST = 64, POLL_ON_STACK = 32 };

static void update_interest(struct endpoint *ep, struct link *link)
{
    if (ep->poller != NULL && link->fd != -1)
        poller_want(ep->poller, link, wire_wants(link));
}

void pump_close(struct endpoint *ep, struct link *link)
{
    if (ep->poller != NULL)
        poller_drop(ep->poller, link);
    keeper_unwatch(link);
    if (link->fd == ep->fd)
        wire_leave(link); /* the program's to close */
    else
        wire_close(link);
}

static void lose(struct endpoint *ep, struct link *link)
{
    int why = link->error;

    if (!link->probe || why != 0)
        wire_doubt(link);
    pump_close(ep, link);
    session_link_lost(link->session, link, why);
    link->must_close = false;
}

void pump_lose(struct endpoint *ep, struct link *link, int why)
{
    link->error = why;
    link->out_received = link->out_flushed;
    lose(ep, link);
}

static void opened(struct endpoint *ep, struct link *link)
{
    link->used_s = clock_seconds();
    session_link_opened(link->session, link);
    update_interest(ep, link);
}

static int64_t connect_timeout_ms(const struct endpoint *ep, const struct link *link)
{
    return ep->wire.connect_timeout_ms > 0 ? ep->wire.connect_timeout_ms
                                           : link->session->settings.connect_timeout_ms;
}

/* A name may have several addresses, with other servers behind them: as long as the program's own
 * connection is there, what belongs to it goes to the same. */
static void stay_with_home(struct link *link)
{
    const struct session *s = link->session;

    if (!s->single || s->settings.name == NULL || link == s->home)
        return;
    link->named = s->home->fd == -1;
    if (link->named)
        return;
    link->address = s->home->address;
    link->address_length = s->home->address_length;
}

/* The names among the endpoints were unknown when the program dialled. False: they still are. */
static bool find_home(struct endpoint *ep, struct session *s)
{
    struct seed seed = {.dialled = ep->address,
                        .dialled_length = ep->address_length,
                        .address = ep->address,
                        .length = ep->address_length,
                        .name = ep->name};
    enum seed_result result = seed_choose_again(&seed);
    char *said = result == SEED_CHOSEN ? strdup(seed.name) : ep->name;

    if (result == SEED_PENDING) {
        session_link_delayed(s, s->home, RESOLVER_AGAIN_MS);
        return false;
    }
    if (said == NULL || !session_found_home(s, &seed.address, seed.length, seed.cluster, said)) {
        session_end(s, ENOMEM);
        s->settings.name = NULL;
        if (said != ep->name)
            free(said);
        return false;
    }
    if (said != ep->name)
        free(ep->name);
    ep->name = said;
    ep->seed = seed.address;
    ep->seed_length = seed.length;
    ep->seed_cluster = seed.cluster;
    return true;
}

static void open_link(struct endpoint *ep, struct link *link)
{
    struct cluster *cluster = link->session->cluster;
    enum wire_result r = WIRE_LOST;

    if (link->session->homeless && !find_home(ep, link->session))
        return;
    ep->wire.may_look_up = endpoint_may_look_up(ep);
    stay_with_home(link);
    if (wire_look_up(link, &ep->wire) == RESOLVER_PENDING) {
        session_link_delayed(link->session, link, RESOLVER_AGAIN_MS);
        return;
    }
    ep->wire.tls = link->session->settings.tls;
    ep->wire.tls_dialled = link->session->settings.tls_dialled;
    if (cluster != NULL && cluster_is_dead(cluster, link->host, link->port))
        link->error = EHOSTDOWN;
    else if (session_link_may_open(link->session, link))
        r = wire_open(link, &ep->wire);
    else
        return;
    if (link->fd != -1) {
        if (!ep->wire.alone)
            keeper_start();
        keeper_watch(link, cluster);
    }
    switch (r) {
    case WIRE_DONE:
        opened(ep, link);
        break;
    case WIRE_AGAIN:
    case WIRE_INTERRUPTED:
        link->state = LINK_CONNECTING;
        link->connect_by_ms = clock_now_ms() + connect_timeout_ms(ep, link);
        update_interest(ep, link);
        break;
    case WIRE_LOST:
        lose(ep, link);
        break;
    }
}

static enum wire_result fill(struct endpoint *ep, struct link *link, bool wait)
{
    enum wire_result r = wire_fill(link, wait);

    if (r == WIRE_DONE)
        session_link_received(link->session, link);
    else if (r == WIRE_LOST)
        lose(ep, link);
    return r;
}

/* What the server said before it hung up is still to be heard. */
static void lose_after_reading(struct endpoint *ep, struct link *link)
{
    int why = link->error;

    while (wire_fill(link, false) == WIRE_DONE)
        session_link_received(link->session, link);
    if (link->trouble == NULL)
        link->error = why;
    lose(ep, link);
}

/* A link that was idle may be closed at the other end, or not be ours any more;
 * nothing has been said on it, so nothing is lost. */
static bool still_usable(struct link *link)
{
    uint32_t now_s = clock_seconds();

    if (link->used_s == now_s)
        return true;
    link->used_s = now_s;
    if (link->out_flushed != link->out_base || wire_is_usable(link))
        return true;
    link->error = 0;
    return false;
}

static void flush(struct endpoint *ep, struct link *link)
{
    enum wire_result r = WIRE_LOST;
    bool looked = link->tls != NULL && link->used_s != clock_seconds();

    if (still_usable(link)) {
        r = wire_flush(link);
        if (r == WIRE_LOST) {
            lose_after_reading(ep, link);
            return;
        }
    } else {
        lose(ep, link);
        return;
    }
    if (link->session->state == SESSION_PLAIN)
        link_forget_flushed(link);
    if (looked)
        fill(ep, link, false); /* what TLS has read then no descriptor tells of */
    update_interest(ep, link);
}

static bool can_flush(const struct link *link)
{
    return link->fd != -1 && link_is_open(link) && link_unflushed(link);
}

static void carry_out(struct endpoint *ep, struct session *s, struct link *link)
{
    link->session = s;
    if (link->must_close) {
        link->out_received = link->out_flushed;
        lose(ep, link);
    } else if (link->state == LINK_WANTED) {
        open_link(ep, link);
    } else if (can_flush(link)) {
        flush(ep, link);
    }
}

/* A session with links that cost the server a client, though nothing uses them. */
static void close_idle_of(struct endpoint *ep, struct session *s, uint32_t now_s)
{
    int64_t timeout_ms = s->settings.link_idle_timeout_ms;

    for (struct link *link = s->links; link != NULL && timeout_ms > 0; link = link->next)
        if (link->state == LINK_UP && link->fd != -1 && link != s->home &&
            !session_holds(s, link) && link->sent.head == NULL && link->waiting.head == NULL &&
            !link_unflushed(link) && session_link_is_idle(s, link) &&
            (int64_t)(now_s - link->used_s) * 1000 > timeout_ms) {
            pump_close(ep, link);
            link->state = LINK_IDLE;
        }
}

/* The configuration's time limit of operations is another one now. Where nobody waits in recv()
 * the session's own word is enough. */
static void take_op_timeout(struct endpoint *ep)
{
    ep->wire.op_timeout_ms = ep->session->settings.op_timeout_ms;
    if (ep->poller != NULL)
        poller_set_timer(ep->poller, -1);
    for (struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            wire_set_receive_timeout(link, &ep->wire);
}

/* Once a second at most, on an occasion. */
static void close_idle(struct endpoint *ep)
{
    uint32_t now_s = clock_seconds();

    if (ep->looked_s == now_s)
        return;
    ep->looked_s = now_s;
    for (struct session *s = ep->session; s != NULL; s = s->next)
        close_idle_of(ep, s, now_s);
}

static void lose_inner(struct endpoint *ep, struct link *link)
{
    int why;
    struct session *inner = front_detach(ep->session, link, &why);

    for (struct link *of = inner->links; of != NULL; of = of->next)
        pump_close(ep, of);
    session_destroy(inner);
    session_link_lost(ep->session, link, why);
}

/* No endpoint has an address: the one that was dialled may be right after all. */
static bool open_dialled(struct endpoint *ep, struct link *link)
{
    const struct seed seed = {
        .address = ep->address, .length = ep->address_length, .name = ep->name};

    return link->error != EAGAIN && inner_open_at(ep, link, &seed);
}

/* At the other end of a front's links are sessions. */
static void carry_out_front(struct endpoint *ep, struct link *link)
{
    bool is_first = ep->awaits_seed && link == ep->session->home && link->inner == NULL;

    if (link->must_close && link->inner != NULL) {
        lose_inner(ep, link);
    } else if (link->state == LINK_WANTED &&
               (inner_open(ep, link) || (is_first && open_dialled(ep, link)))) {
        session_link_opened(ep->session, link);
        if (is_first)
            session_open_home(link->inner);
    } else if (link->state == LINK_WANTED && link->error == EAGAIN) {
        session_link_delayed(ep->session, link, RESOLVER_AGAIN_MS);
    } else if (link->state == LINK_WANTED) {
        session_link_lost(ep->session, link, link->error);
    }
}

static bool carry_out_all(struct endpoint *ep)
{
    bool any = ep->session->front != NULL && front_exchange(ep->session);
    struct link *link;

    for (struct session *s = ep->session; s != NULL; s = s->next)
        while ((link = session_next_dirty(s)) != NULL) {
            any = true;
            if (s->front != NULL)
                carry_out_front(ep, link);
            else
                carry_out(ep, s, link);
        }
    return any;
}

void pump_orders(struct endpoint *ep)
{
    close_idle(ep);
    if (ep->wire.op_timeout_ms != ep->session->settings.op_timeout_ms)
        take_op_timeout(ep);
    do
        while (carry_out_all(ep) && ep->session->front != NULL)
            ;
    while ((ep->session->leaving || ep->session->next != NULL) && endpoint_move(ep));
}

bool pump_unflushed(const struct endpoint *ep)
{
    for (const struct session *s = ep->session; s != NULL; s = s->next)
        for (const struct link *link = s->links; link != NULL; link = link->next)
            if (can_flush(link))
                return true;
    return false;
}

static void finish_connecting(struct endpoint *ep, struct link *link)
{
    switch (wire_connected(link)) {
    case WIRE_DONE:
        opened(ep, link);
        break;
    case WIRE_LOST:
        lose(ep, link);
        break;
    case WIRE_AGAIN:
    case WIRE_INTERRUPTED:
        update_interest(ep, link);
        break;
    }
}

static void on_ready(struct endpoint *ep, struct link *link)
{
    if (link->fd == -1)
        return;
    if (link->state == LINK_CONNECTING) {
        finish_connecting(ep, link);
        return;
    }
    fill(ep, link, false);
    if (can_flush(link))
        flush(ep, link);
}

static void advance_if_due(struct endpoint *ep)
{
    bool later =
        ep->session->settings.op_timeout_ms > 0 && ep->poller != NULL && poller_is_lazy(ep->poller);
    int64_t due = later ? session_due_aside(ep->session) : session_due(ep->session);

    if (due >= 0 && due <= clock_now_ms())
        session_advance(ep->session);
}

/* -1: interrupted by a signal. */
static int handle_ready(struct endpoint *ep, int timeout_ms)
{
    struct link *ready[READY_MOST];
    int count;

    do {
        count = poller_collect(ep->poller, ready, READY_MOST, timeout_ms);
        if (count == -1)
            return -1;
        for (int i = 0; i < count; i++)
            on_ready(ep, ready[i]);
        advance_if_due(ep);
        pump_orders(ep);
        timeout_ms = 0;
    } while (count == READY_MOST);
    return count;
}

bool pump_ready(struct endpoint *ep)
{
    pump_orders(ep);
    return handle_ready(ep, 0) > 0;
}

/* --- waiting, for blocking contexts --- */

static void call_keeper(struct endpoint *ep)
{
    keeper_attend();
    ep->wire.alone = keeper_is_by_hand();
    for (struct session *s = ep->session; s != NULL; s = s->next) {
        for (struct link *link = s->links; link != NULL; link = link->next)
            wire_set_receive_timeout(link, &ep->wire);
        if (s->cluster != NULL)
            cluster_suspect(s->cluster);
    }
}

int64_t pump_waited(struct endpoint *ep, struct link *link)
{
    enum wire_limit limit;
    int64_t waited_ms = wire_wait_ms(&ep->wire, &limit);

    if (limit == WIRE_LIMIT_OF_PROGRAM)
        return 0;
    if (limit == WIRE_LIMIT_ALONE)
        call_keeper(ep);
    if (ep->wire.op_timeout_ms > 0)
        session_waited(link->session, link, waited_ms);
    return waited_ms;
}

/* Counts the links that can answer. False: there is something else to wait for. */
static bool count_answering(const struct session *s, struct link **last, int *count)
{
    for (struct link *link = s->links; link != NULL; link = link->next) {
        if (link->waiting.head != NULL || link->state == LINK_CONNECTING || can_flush(link))
            return false;
        if (link->fd == -1 || (link->sent.head == NULL && link->greetings == 0 && link != s->probe))
            continue;
        *last = link;
        ++*count;
    }
    return true;
}

static struct link *next_answer(const struct session *s)
{
    struct link *link = session_next_answer(s);

    return link != NULL && link->inner != NULL ? session_next_answer(link->inner) : link;
}

/* The link to wait for when nothing but an answer can come next: the one that can answer, or of
 * several the one whose answer is the next to be delivered. NULL: something else may have to be
 * done first. */
static struct link *next_to_answer(const struct endpoint *ep, bool of_several)
{
    struct link *lone = NULL;
    int count = 0;

    for (const struct session *s = ep->session; s != NULL; s = s->next)
        if (!count_answering(s, &lone, &count))
            return NULL;
    if (session_due_aside(ep->session) >= 0)
        return NULL;
    return count <= 1 ? lone : of_several ? next_answer(ep->session) : NULL;
}

static int milliseconds_until(int64_t at)
{
    int64_t now = clock_now_ms();

    if (at < 0)
        return -1;
    return at <= now ? 0 : at - now > 3600000 ? 3600000 : (int)(at - now);
}

void pump_set_timer(struct endpoint *ep)
{
    const struct session *s = ep->session;

    if (s->settings.op_timeout_ms == 0)
        poller_set_timer(ep->poller, session_due(s));
    else
        poller_set_timer_lazily(ep->poller, session_due_aside(s),
                                poller_is_lazy(ep->poller) ? -1 : session_due(s));
}

enum pump_result pump_wait_ready(struct endpoint *ep, int64_t deadline_ms)
{
    int count;

    pump_orders(ep);
    if (session_deliverable(ep->session) || ep->session->state == SESSION_ENDED)
        return PUMP_MOVED;
    pump_set_timer(ep);
    count = handle_ready(ep, milliseconds_until(deadline_ms));
    if (count == -1)
        return PUMP_INTERRUPTED;
    return count == 0 && deadline_ms >= 0 && clock_now_ms() >= deadline_ms ? PUMP_TIMEOUT
                                                                           : PUMP_MOVED;
}

enum wire_result pump_await_answer(struct endpoint *ep, const struct link *link,
                                   int64_t deadline_ms)
{
    struct link *ready = NULL;
    int count = poller_collect(ep->poller, &ready, 1, milliseconds_until(deadline_ms));

    if (count == -1)
        return WIRE_INTERRUPTED;
    return count == 1 && ready == link ? WIRE_DONE : WIRE_AGAIN;
}

static int count_open(const struct endpoint *ep)
{
    int count = 0;

    for (const struct session *s = ep->session; s != NULL; s = s->next)
        for (const struct link *link = s->links; link != NULL; link = link->next)
            count += link->fd != -1;
    return count;
}

static struct pollfd poll_for(const struct link *link)
{
    uint32_t wanted = wire_wants(link);

    return (struct pollfd){
        .fd = link->fd,
        .events = (short)((wanted & EPOLLIN ? POLLIN : 0) | (wanted & EPOLLOUT ? POLLOUT : 0))};
}

/* Parallel arrays: what is polled, and whose it is; with room for the keeper's own. */
static int gather(const struct endpoint *ep, struct pollfd *fds, struct link **links)
{
    int count = 0;

    for (const struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            if (link->fd != -1) {
                links[count] = link;
                fds[count++] = poll_for(link);
            }
    return count;
}

static enum pump_result poll_links(struct endpoint *ep, struct pollfd *fds, struct link **links,
                                   int64_t deadline_ms)
{
    int count = gather(ep, fds, links);
    int64_t until = clock_earlier(session_due(ep->session), deadline_ms);
    int64_t silent_at = ep->wire.alone ? clock_now_ms() + 1000 * WIRE_SILENCE_S : -1;
    int n;

    fds[count] = (struct pollfd){.fd = keeper_descriptor(), .events = POLLIN};
    until = clock_earlier(until, keeper_due());
    n = poll(fds, (nfds_t)count + 1, milliseconds_until(clock_earlier(until, silent_at)));

    if (n == -1)
        return errno == EINTR ? PUMP_INTERRUPTED : PUMP_TIMEOUT;
    for (int i = 0; n > 0 && i < count; i++)
        if (fds[i].revents != 0)
            on_ready(ep, links[i]);
    keeper_turn();
    if (n == 0 && silent_at >= 0 && clock_now_ms() >= silent_at && wire_waits_alone(&ep->wire))
        call_keeper(ep);
    advance_if_due(ep);
    pump_orders(ep);
    if (n == 0 && deadline_ms >= 0 && clock_now_ms() >= deadline_ms)
        return PUMP_TIMEOUT;
    return PUMP_MOVED;
}

static enum pump_result wait_for_many(struct endpoint *ep, int64_t deadline_ms)
{
    struct pollfd fds_on_stack[POLL_ON_STACK], *fds = fds_on_stack;
    struct link *links_on_stack[POLL_ON_STACK], **links = links_on_stack;
    int count = count_open(ep) + 1;
    enum pump_result r = PUMP_TIMEOUT;

    if (count > POLL_ON_STACK) {
        fds = malloc((size_t)count * sizeof *fds);
        links = malloc((size_t)count * sizeof *links);
    }
    if (fds != NULL && links != NULL)
        r = poll_links(ep, fds, links, deadline_ms);
    if (count > POLL_ON_STACK) {
        free(fds);
        free(links);
    }
    return r;
}

enum pump_result pump_wait_any(struct endpoint *ep, int64_t deadline_ms)
{
    pump_orders(ep);
    return wait_for_many(ep, deadline_ms);
}

/* --- volleys: the short way of a pipeline --- */

bool pump_volley(struct endpoint *ep)
{
    struct link *link;

    while ((link = session_next_dirty(ep->session)) != NULL)
        /* A link that was idle for long is looked at before it is used. */
        if (link->used_s != clock_seconds() || wire_flush(link) != WIRE_DONE)
            return false;
    return true;
}

/* To a keeper, a link that is not read from looks silent. */
static int64_t volley_wait_ms(const struct endpoint *ep)
{
    enum wire_limit limit;
    int64_t ms = wire_wait_ms(&ep->wire, &limit);

    return ms == 0 || ms > 1000 * WIRE_SILENCE_S ? 1000 * WIRE_SILENCE_S : ms;
}

enum wire_result pump_volley_wait(struct endpoint *ep, struct link *link)
{
    struct pollfd readable = {.fd = link->fd, .events = POLLIN};
    int n;

    if (ep->wire.alone)
        return wire_fill(link, true);
    n = poll(&readable, 1, (int)volley_wait_ms(ep));
    if (n == 1)
        return wire_fill(link, false);
    return n == 0 ? WIRE_AGAIN : WIRE_INTERRUPTED;
}

int64_t pump_volley_waited(struct endpoint *ep, struct link *link)
{
    int64_t waited_ms = volley_wait_ms(ep);

    if (ep->wire.alone)
        return pump_waited(ep, link);
    if (ep->wire.op_timeout_ms > 0)
        session_waited(ep->session, link, waited_ms);
    return waited_ms;
}

enum wire_result pump_volley_gather(struct link *link, int64_t *until_ms)
{
    struct pollfd readable = {.fd = link->fd, .events = POLLIN};
    enum wire_result r = wire_fill(link, false);

    if (r != WIRE_AGAIN)
        return r;
    if (*until_ms < 0)
        *until_ms = clock_now_ms() + PUMP_GATHER_MS;
    return poll(&readable, 1, milliseconds_until(*until_ms)) == 1 ? wire_fill(link, false)
                                                                  : WIRE_AGAIN;
}

/* --- waiting for an answer --- */

bool pump_next_answer(struct endpoint *ep)
{
    struct link *next = next_to_answer(ep, true);

    if (next == NULL || fill(ep, next, false) != WIRE_DONE)
        return false;
    pump_orders(ep);
    return true;
}

/* A wait in the kernel would last longer than what is left of an operation's time. */
static bool is_late_soon(const struct endpoint *ep)
{
    int64_t timeout_ms = ep->wire.op_timeout_ms, due;

    if (timeout_ms == 0)
        return false;
    due = session_due(ep->session);
    return due >= 0 && due < clock_now_ms() + timeout_ms - timeout_ms / 8;
}

/* Of several links one is waited for without a look at the others only for as long as a wait lasts
 * that no keeper watches over: to the keeper, a link that is not read from looks silent. */
enum pump_result pump_wait(struct endpoint *ep, int64_t deadline_ms)
{
    struct link *next;
    enum wire_result r;

    pump_orders(ep);
    if (session_deliverable(ep->session) || ep->session->state == SESSION_ENDED)
        return PUMP_MOVED;
    next = next_to_answer(ep, ep->wire.alone);
    if (next == NULL || keeper_is_by_hand() || is_late_soon(ep))
        return wait_for_many(ep, deadline_ms);
    r = fill(ep, next, true);
    pump_orders(ep);
    if (r == WIRE_AGAIN)
        return pump_waited(ep, next) > 0 ? wait_for_many(ep, deadline_ms) : PUMP_TIMEOUT;
    return r == WIRE_INTERRUPTED ? PUMP_INTERRUPTED : PUMP_MOVED;
}
