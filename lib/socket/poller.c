#include "socket/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "link/wire.h"

enum { COLLECT_MOST = 64 };

struct poller {
    int epoll;
    int event;
    int timer;
    bool raised;
    bool lazy;           /* it may pass before it has to */
    int64_t timer_at_ms; /* -1: not set */
};

/* Edge-triggered: collecting takes the event away without a read. */
static bool add(struct poller *p, int fd, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = tag};

    return epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

struct poller *poller_create(void)
{
    struct poller *p = malloc(sizeof *p);

    if (p == NULL)
        return NULL;
    *p = (struct poller){.timer_at_ms = -1};
    p->epoll = wire_move_high(epoll_create1(EPOLL_CLOEXEC));
    p->event = wire_move_high(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    p->timer = wire_move_high(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!add(p, p->event, &p->event) || !add(p, p->timer, &p->timer)) {
        poller_destroy(p);
        return NULL;
    }
    return p;
}

static void close_if_open(int fd)
{
    if (fd != -1)
        close(fd);
}

void poller_destroy(struct poller *p)
{
    if (p == NULL)
        return;
    close_if_open(p->epoll);
    close_if_open(p->event);
    close_if_open(p->timer);
    free(p);
}

int poller_descriptor(const struct poller *p)
{
    return p->epoll;
}

void poller_set_descriptor(struct poller *p, int fd)
{
    close_if_open(p->epoll);
    p->epoll = fd;
}

void poller_set_descriptor_quietly(struct poller *p, int fd)
{
    p->epoll = fd;
}

void poller_want(struct poller *p, struct link *link, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = link};

    if (link->watched == (int)events || link->fd == -1)
        return;
    epoll_ctl(p->epoll, link->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, link->fd, &event);
    link->watched = (int)events;
}

void poller_drop(struct poller *p, struct link *link)
{
    if (link->watched != 0 && link->fd != -1)
        epoll_ctl(p->epoll, EPOLL_CTL_DEL, link->fd, NULL);
    link->watched = 0;
}

void poller_raise(struct poller *p)
{
    static const uint64_t one = 1;

    if (!p->raised)
        p->raised = write(p->event, &one, sizeof one) == sizeof one;
}

void poller_lower(struct poller *p)
{
    uint64_t count;

    if (p->raised)
        p->raised = read(p->event, &count, sizeof count) == -1 && errno == EINTR;
}

bool poller_is_raised(const struct poller *p)
{
    return p->raised;
}

void poller_interrupt(const struct poller *p)
{
    static const uint64_t one = 1;

    (void)!write(p->event, &one, sizeof one);
}

void poller_set_timer(struct poller *p, int64_t at_ms)
{
    struct itimerspec when = {0};

    p->lazy = false;
    if (at_ms == p->timer_at_ms)
        return;
    p->timer_at_ms = at_ms;
    if (at_ms >= 0) {
        when.it_value.tv_sec = at_ms / 1000;
        when.it_value.tv_nsec = at_ms % 1000 * 1000000 + 1; /* never zero, which disarms */
    }
    timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

void poller_set_timer_lazily(struct poller *p, int64_t at_ms, int64_t late_ms)
{
    bool stays = p->lazy && p->timer_at_ms >= 0 && (late_ms < 0 || p->timer_at_ms <= late_ms) &&
                 (at_ms < 0 || p->timer_at_ms <= at_ms);

    if (stays)
        return;
    poller_set_timer(p, clock_earlier(at_ms, late_ms));
    p->lazy = late_ms != at_ms;
}

bool poller_is_lazy(const struct poller *p)
{
    return p->lazy && p->timer_at_ms >= 0;
}

int poller_collect(struct poller *p, struct link **ready, int size, int timeout_ms)
{
    struct epoll_event events[COLLECT_MOST];
    int most = size < COLLECT_MOST ? size : COLLECT_MOST, links = 0;
    int count = epoll_wait(p->epoll, events, most, timeout_ms);

    if (count == -1)
        return -1;

    for (int i = 0; i < count; i++)
        if (events[i].data.ptr == &p->event)
            p->raised = false;
        else if (events[i].data.ptr == &p->timer)
            p->timer_at_ms = -1;
        else
            ready[links++] = events[i].data.ptr;
    return links;
}
