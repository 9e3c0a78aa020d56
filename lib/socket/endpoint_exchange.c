/* What passes through the descriptor: reading, writing, and waiting for either. */
#include <unistd.h>

#include "socket/endpoint_state.h"
#include "socket/face.h"
#include "socket/pump.h"
#include "socket/words.h"

/* How often a read from an event loop looks for the rest of a reply, before others have their turn.
 */
enum { READY_TURNS = 16 };

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

/* --- reading and writing --- */

/* What is known beside the number is said by whoever says the number in words. */
static int end_error(const struct endpoint *ep)
{
    words_set(ep->session->end_error, ep->session->end_text);
    return ep->session->end_error;
}

static ssize_t ended(const struct endpoint *ep)
{
    return ep->session->end_error == 0 ? 0 : endpoint_fail(end_error(ep));
}

/* A pipe through TLS has no socket that a program could use, either. */
static void enter_routing(struct endpoint *ep)
{
    bool is_pipe = ep->session->state == SESSION_PLAIN && ep->wire.tls != NULL;

    if (!ep->paired && (session_routes(ep->session) || is_pipe) && ep->kind != ENDPOINT_ASYNC)
        face_pair_up(ep);
}

/* The reply that was not waited for must reach no later command: nothing is read here again. A
 * message that did not come is no such reply. */
static ssize_t timed_out(struct endpoint *ep)
{
    if (ep->session->unanswered == 0 && session_is_streaming(ep->session))
        return endpoint_fail(EAGAIN);
    for (struct session *s = ep->session; s != NULL; s = s->next)
        if (s->cluster != NULL && s->front == NULL)
            cluster_suspect(s->cluster);
    session_end(ep->session, ECONNABORTED);
    endpoint_close_links(ep);
    return endpoint_fail(EAGAIN);
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
            face_settle(ep);
            return (ssize_t)n;
        }
        if (endpoint_may_step_aside(ep)) {
            int fd = ep->fd;

            endpoint_step_aside(ep);
            return read(fd, to, size);
        }
        if (s->state == SESSION_ENDED)
            return ended(ep);
        enter_routing(ep);
        if (first && (deadline = endpoint_deadline(ep->wire.receive_timeout)) >= 0)
            deadline -= waited_ms;
        first = false;
        switch (waited_ms > 0 ? pump_wait_any(ep, deadline) : pump_wait(ep, deadline)) {
        case PUMP_MOVED:
            break;
        case PUMP_INTERRUPTED:
            return endpoint_fail(EINTR);
        case PUMP_TIMEOUT:
            return timed_out(ep);
        }
    }
}

/* Who watches the descriptor edge-triggered is not told again of what was there before EAGAIN. */
static size_t take_ready(struct endpoint *ep, void *to, size_t size)
{
    bool moved = true;
    size_t n = 0;

    for (int turn = 0; n == 0 && moved && turn < READY_TURNS; turn++) {
        moved = pump_ready(ep);
        n = session_take(ep->session, to, size);
    }
    face_settle(ep);
    if (n == 0 && moved)
        poller_raise(ep->poller);
    return n;
}

static ssize_t read_ready(struct endpoint *ep, void *to, size_t size)
{
    size_t n = take_ready(ep, to, size);

    if (n > 0)
        return (ssize_t)n;
    return ep->session->state == SESSION_ENDED ? ended(ep) : endpoint_fail(EAGAIN);
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
        return endpoint_fail(EINTR);
    else if (n == -1 && error == EAGAIN && endpoint_is_blocking(ep) &&
             (*waited_ms = pump_waited(ep, link)) == 0)
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
            r = n == 0 ? pump_volley_wait(ep, link) : pump_volley_gather(link, &until);
    } while (link != NULL && r == WIRE_DONE);
    if (n > 0)
        return (ssize_t)n;
    if (r == WIRE_INTERRUPTED)
        return endpoint_fail(EINTR);
    session_unexpress(s);
    if (r == WIRE_AGAIN && (*waited_ms = pump_volley_waited(ep, link)) == 0)
        return timed_out(ep);
    return 0;
}

static ssize_t read_long(struct endpoint *ep, void *to, size_t size, int64_t waited_ms)
{
    ssize_t n;

    if (!endpoint_ready(ep))
        return ep->tap != NULL ? read(ep->fd, to, size) : -1;
    if (session_volleys(ep->session) && (n = read_volley(ep, to, size, &waited_ms)) != 0)
        return n;
    if (!endpoint_is_blocking(ep) && ep->poller != NULL)
        return read_ready(ep, to, size);
    /* What other servers have said meanwhile comes with what this one will. */
    if (ep->session->tracking != 0 && ep->poller != NULL)
        (void)pump_ready(ep);
    return read_waiting(ep, to, size, waited_ms);
}

/* An event loop looks for an answer that is not there yet. That may be because something else has
 * happened; who looks once more is served all that there is, and the answer wakes who does not. */
static bool may_look_again(struct endpoint *ep)
{
    bool may = !endpoint_is_blocking(ep) && !ep->looked && !session_is_streaming(ep->session);

    ep->looked = may;
    return may;
}

/* `express`: a command went the short way, and of its answer `n` bytes came; -1: errno says why
 * not. Programs look at errno after a read that succeeded, too: it is `error` then. */
static __attribute__((noinline)) ssize_t read_slowly(struct endpoint *ep, void *to, size_t size,
                                                     int error, bool express, ssize_t n)
{
    int64_t waited_ms = 0;
    ssize_t result;

    if (express && n == -1 && errno == EAGAIN && may_look_again(ep))
        return -1;
    result = express ? leave_express(ep, to, n, errno, &waited_ms) : 0;
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
    struct link *link = endpoint_is_as_it_was(ep) ? ep->session->express.link : NULL;
    ssize_t n = 0;

    if (link != NULL) {
        n = recv(link->fd, to, size, ep->receive_flags);
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
    bool connecting = endpoint_is_connecting(ep);
    enum pump_result r = PUMP_MOVED;

    for (;;) {
        if (atomic_load(&ep->interrupted) && atomic_exchange(&ep->interrupted, false))
            return -ECANCELED;
        if (session_deliverable(s) || s->state == SESSION_ENDED ||
            (connecting && !endpoint_is_connecting(ep)))
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

    if (!endpoint_ready(ep))
        return -1;
    session_unexpress(ep->session);
    result = wait_for_news(ep, deadline);
    face_settle(ep);
    return result < 0 ? (int)endpoint_fail(-result) : result;
}

/* Waits for the answer to an express command. 0: the long way has to be gone. */
static ssize_t read_express(struct endpoint *ep, void *to, size_t size, int64_t deadline)
{
    struct session *s = ep->session;
    struct link *link = s->express.link;
    enum wire_result r = WIRE_AGAIN;
    int64_t waited_ms;
    ssize_t n;

    if (!atomic_load(&ep->interrupted))
        r = pump_await_answer(ep, link, deadline);
    if (r == WIRE_INTERRUPTED)
        return endpoint_fail(EINTR);
    n = r == WIRE_DONE ? recv(link->fd, to, size, MSG_DONTWAIT) : endpoint_fail(EAGAIN);
    if (n > 0 && session_express_answered(s, to, (size_t)n))
        return n;
    return leave_express(ep, to, n, errno, &waited_ms);
}

ssize_t endpoint_read_wait(struct endpoint *ep, void *to, size_t size, int64_t timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? -1 : clock_now_ms() + timeout_ms;
    ssize_t express = 0;
    size_t n = 0;

    if (!endpoint_ready(ep))
        return -1;
    if (ep->session->express.link != NULL && (express = read_express(ep, to, size, deadline)) != 0)
        return express;
    while (n == 0) {
        int waited = wait_for_news(ep, deadline);

        if (waited == 1)
            n = session_take(ep->session, to, size);
        if (waited != 1 || (n == 0 && ep->session->state == SESSION_ENDED)) {
            face_settle(ep);
            return waited == 0  ? endpoint_fail(EAGAIN)
                   : waited < 0 ? endpoint_fail(-waited)
                                : ended(ep);
        }
    }
    face_settle(ep);
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
            deadline = endpoint_deadline(ep->wire.send_timeout);
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

/* The loop is going to read in any case, and all is settled then. */
static inline bool comes_round(const struct endpoint *ep)
{
    return ep->forward == NULL && poller_is_raised(ep->poller);
}

/* The first command goes out at once; what is issued before its answer is collected, if it comes
 * one by one, and goes out together when the event loop comes round. */
static void send_from_loop(struct endpoint *ep)
{
    struct session *s = ep->session;

    if (ep->prompt || s->unanswered <= 1 || !session_routes(s))
        pump_orders(ep);
    if (ep->poller != NULL && !comes_round(ep) &&
        (s->dirty != NULL || session_deliverable(s) || s->state == SESSION_ENDED ||
         timer_is_wanted(ep)))
        face_settle_unread(ep);
}

/* What of commands that were to go the short way the kernel did not take. */
static ssize_t write_rest(struct endpoint *ep, size_t length)
{
    session_unexpress(ep->session);
    if (!endpoint_is_blocking(ep)) {
        send_from_loop(ep);
        return (ssize_t)length;
    }
    pump_orders(ep);
    return flush_waiting(ep) == -1 ? -1 : (ssize_t)length;
}

static ssize_t write_long(struct endpoint *ep, const void *bytes, size_t length)
{
    struct session *s;
    size_t volley = 0;

    if (!endpoint_ready(ep))
        return ep->tap != NULL ? write_tapped(ep, bytes, length) : -1;
    s = ep->session;
    session_unexpress(s);
    if (s->state == SESSION_ENDED)
        return endpoint_fail(s->end_error == 0 ? EPIPE : end_error(ep));
    if (endpoint_is_blocking(ep) && ep->forward == NULL &&
        (volley = session_volley(s, bytes, length)) > 0) {
        if (volley == length)
            return pump_volley(ep) ? (ssize_t)length : write_rest(ep, length);
        session_unexpress(s);
    }
    if (!session_accept(s, (const char *)bytes + volley, length - volley))
        return endpoint_fail(end_error(ep));
    if (!endpoint_is_blocking(ep)) {
        send_from_loop(ep);
        return (ssize_t)length;
    }
    if (endpoint_may_step_aside(ep)) {
        endpoint_step_aside(ep);
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

/* From an event loop a command may go the short way when there is nothing else to do, and the time
 * limit of its answer is kept by the timer as it is. */
static bool loop_is_at_rest(struct endpoint *ep)
{
    const struct session *s = ep->session;

    ep->looked = false;
    return ep->kind == ENDPOINT_ASYNC && s->dirty == NULL && !poller_is_raised(ep->poller) &&
           (s->settings.op_timeout_ms == 0 || poller_is_lazy(ep->poller));
}

ssize_t endpoint_write(struct endpoint *ep, const void *bytes, size_t length)
{
    int error = errno;
    struct link *link = NULL;

    if (endpoint_is_as_it_was(ep) && ep->session->express.link == NULL && ep->forward == NULL &&
        (endpoint_is_blocking(ep) || loop_is_at_rest(ep)))
        link = session_express(ep->session, bytes, length);
    /* A link that was idle for long is looked at before it is used. */
    if (link != NULL && clock_seconds() == link->used_s) {
        ssize_t n = send(link->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            link->out_flushed += (uint64_t)n;
        if (n == (ssize_t)length)
            return n;
    }
    return write_slowly(ep, bytes, length, error, link != NULL);
}
