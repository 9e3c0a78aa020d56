#include "socket/face.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket/endpoint_state.h"
#include "socket/pump.h"
#include "socket/replace.h"

enum { READY_MOST = 64 };

bool face_put_pair(struct endpoint *ep, bool in_child)
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
    /* A link's own socket is a blocking one. */
    if (!endpoint_is_blocking(ep) || (status != -1 && (status & O_NONBLOCK) != 0))
        fcntl(ep->fd, F_SETFL, O_NONBLOCK | O_RDWR);
    if (ep->peer != -1)
        close(ep->peer);
    ep->peer = wire_move_high(pair[1]);
    return true;
}

void face_pair_up(struct endpoint *ep)
{
    struct link *home = endpoint_home(ep);
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
    if (!face_put_pair(ep, false)) {
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

void face_stuff(struct endpoint *ep)
{
    static const char filling[256];
    int smallest = 1; /* the kernel has a minimum of its own */

    setsockopt(ep->fd, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof smallest);
    while (send(ep->fd, filling, sizeof filling, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ep->stuffed = true;
    if (ep->forward != NULL)
        keeper_forward_stuffed(ep->forward);
}

static void unstuff(struct endpoint *ep)
{
    char filling[4096];

    while (recv(ep->peer, filling, sizeof filling, MSG_DONTWAIT) > 0)
        ;
    ep->stuffed = false;
}

void face_want_all(struct endpoint *ep)
{
    for (struct session *s = ep->session; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            if (link->fd != -1)
                poller_want(ep->poller, link, wire_wants(link));
}

void face_forward(struct endpoint *ep)
{
    if (ep->forward != NULL)
        return;
    face_pair_up(ep);
    if (!ep->paired)
        return;
    if (ep->poller == NULL)
        ep->poller = poller_create();
    if (ep->poller == NULL)
        return;
    face_want_all(ep);
    keeper_start();
    ep->forward = keeper_forward_create(poller_descriptor(ep->poller), ep->peer);
    if (ep->forward != NULL && ep->stuffed)
        keeper_forward_stuffed(ep->forward);
    if (ep->forward != NULL)
        keeper_forward_arm(ep->forward, ep->fd);
}

/* Messages arrive while the program waits on its descriptor, and it will. */
static void follow_stream(struct endpoint *ep)
{
    struct session *s = ep->session;

    if (!endpoint_is_blocking(ep) || !session_routes(s) || !session_is_streaming(s))
        return;
    face_forward(ep);
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
static void settle_poller(struct endpoint *ep)
{
    struct session *s = ep->session;

    if (s->feeds != NULL || s->tracking != 0)
        follow_stream(ep);
    if (ep->poller == NULL)
        return;
    if (ep->stuffed && (!endpoint_is_connecting(ep) || s->state == SESSION_ENDED))
        unstuff(ep);
    if (endpoint_is_blocking(ep))
        forget_served(ep);
    if (session_deliverable(s) || s->state == SESSION_ENDED || s->dirty != NULL)
        poller_raise(ep->poller);
    else if (ep->prompt)
        poller_lower(ep->poller);
    if (endpoint_is_blocking(ep))
        poller_set_timer(ep->poller, session_due_in_need(s));
    else
        pump_set_timer(ep);
}

void face_settle(struct endpoint *ep)
{
    settle_poller(ep);
    if (ep->forward != NULL)
        keeper_forward_arm(ep->forward, ep->fd);
}

void face_settle_unread(struct endpoint *ep)
{
    settle_poller(ep);
    if (ep->forward != NULL)
        keeper_forward_arm(ep->forward, -1);
}
