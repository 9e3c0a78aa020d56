#include "keeper/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "config/tls_profile.h"
#include "keeper/audit_file.h"
#include "keeper/forward.h"
#include "keeper/refresh.h"
#include "keeper/reload.h"
#include "keeper/replay.h"
#include "keeper/report.h"
#include "keeper/scout.h"
#include "keeper/survey.h"
#include "keeper/watch.h"
#include "link/resolver.h"
#include "link/tls.h"
#include "link/wire.h"
#include "route/audit.h"
#include "route/lead.h"
#include "route/mirror.h"
#include "route/seen_scripts.h"
#include "route/upstream.h"
#include "stats/stats.h"

enum { TICK_MS = 1000, END_WAIT_S = 2, EVENTS_MOST = 32 };

/* Event data: forwards count up from 1; inquiries are pointers, which are larger. */
#define WAKE_DATA 0
#define FORWARD_DATA_MOST 0xFFFFFFFCu

_Atomic unsigned keeper_generation;

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t loop_lock = PTHREAD_MUTEX_INITIALIZER; /* held while the thread works */
static _Atomic int wake_descriptor = -1;
enum { KEEPER_NONE, KEEPER_BY_HAND, KEEPER_THREAD };
static _Atomic int working; /* one of these */
static _Atomic int64_t due_at_ms; /* when the next turn is due */
static int64_t tick_at_ms;
static atomic_flag turning = ATOMIC_FLAG_INIT; /* a thread of the program is the keeper just now */
static _Atomic bool is_over; /* the thread does nothing more */
static _Atomic int keeper_epoll = -1; /* threads that turn the keeper by hand wait for it */

/* An eventfd's write fails only when it is readable already. */
static void wake(void)
{
    static const uint64_t one = 1;
    int fd = atomic_load(&wake_descriptor);

    if (fd != -1 && write(fd, &one, sizeof one) == -1 && errno == EBADF)
        atomic_store(&wake_descriptor, -1);
}

static void on_alarm(void);

static void on_event(const struct epoll_event *event, int64_t now_ms)
{
    uint64_t drained;

    if (event->data.u64 == WAKE_DATA) {
        if (read(atomic_load(&wake_descriptor), &drained, sizeof drained) == -1)
            return;
    } else if (event->data.u64 == KEEPER_SURVEY_DATA || event->data.u64 == KEEPER_SCOUT_DATA) {
        return; /* survey_advance and scout_advance will see */
    } else if (event->data.u64 <= FORWARD_DATA_MOST) {
        forward_event(event->data.u64);
    } else if (event->data.u64 != KEEPER_REPLAY_DATA) {
        refresh_event(event->data.ptr, now_ms);
    }
}

/* Everything that is due. Under the loop's lock. */
static void advance_connections(int64_t now)
{
    int64_t due;

    if (now >= tick_at_ms) {
        watch_tick();
        forward_tick();
        tick_at_ms = now + TICK_MS;
    }
    due = clock_earlier(refresh_advance(keeper_epoll, now), tick_at_ms);
    due = clock_earlier(due, survey_advance(keeper_epoll, now));
    due = clock_earlier(due, scout_advance(keeper_epoll, KEEPER_SCOUT_DATA, now));
    due = clock_earlier(replay_advance(keeper_epoll, KEEPER_REPLAY_DATA, now), due);
    atomic_store(&due_at_ms, due);
}

static void advance_files(int64_t now)
{
    int64_t due = atomic_load(&due_at_ms);

    due = clock_earlier(report_advance(now), due);
    due = clock_earlier(audit_file_advance(now), due);
    due = clock_earlier(reload_advance(now, on_alarm), due);
    atomic_store(&due_at_ms, due);
}

static void *run(void *unused)
{
    struct epoll_event events[EVENTS_MOST];

    (void)unused;
    pthread_mutex_lock(&loop_lock);
    for (;;) {
        int64_t now = clock_now_ms(), due;
        int count;

        advance_connections(now);
        pthread_mutex_unlock(&loop_lock);
        advance_files(now);
        due = atomic_load(&due_at_ms);
        count = epoll_wait(keeper_epoll, events, EVENTS_MOST, due > now ? (int)(due - now) : 0);
        pthread_mutex_lock(&loop_lock);
        if (atomic_load(&is_over))
            break;
        if (count == -1 && errno != EINTR)
            break; /* the program closed our descriptor behind our back */
        for (int i = 0; i < count; i++)
            on_event(&events[i], clock_now_ms());
    }
    pthread_mutex_unlock(&loop_lock);
    return NULL;
}

/* --- without a thread --- */

bool keeper_is_by_hand(void)
{
    return atomic_load_explicit(&working, memory_order_relaxed) == KEEPER_BY_HAND;
}

int keeper_descriptor(void)
{
    return keeper_is_by_hand() ? keeper_epoll : -1;
}

int64_t keeper_due(void)
{
    return keeper_is_by_hand() ? atomic_load(&due_at_ms) : -1;
}

void keeper_turn(void)
{
    struct epoll_event events[EVENTS_MOST];
    int error = errno, count;
    int64_t now;

    if (!keeper_is_by_hand() || atomic_flag_test_and_set(&turning))
        return;
    pthread_mutex_lock(&loop_lock);
    count = epoll_wait(keeper_epoll, events, EVENTS_MOST, 0);
    now = clock_now_ms();
    for (int i = 0; i < count; i++)
        on_event(&events[i], now);
    advance_connections(now);
    pthread_mutex_unlock(&loop_lock);
    advance_files(now);
    atomic_flag_clear(&turning);
    errno = error;
}

static void before_fork(void)
{
    pthread_mutex_lock(&start_lock);
    pthread_mutex_lock(&loop_lock);
    audit_file_lock_all();
    upstreams_lock_all();
    lead_lock_all();
    cluster_lock_all();
    watch_lock_all();
    forward_lock_all();
    mirror_lock_all();
    seen_scripts_lock_all();
    audit_lock_all();
    resolver_lock_all();
    tls_profile_lock_all();
    log_lock_all();
}

static void unlock_all(void)
{
    log_unlock_all();
    tls_profile_unlock_all();
    audit_unlock_all();
    seen_scripts_unlock_all();
    mirror_unlock_all();
    forward_unlock_all();
    watch_unlock_all();
    cluster_unlock_all();
    lead_unlock_all();
    audit_file_unlock_all();
    upstreams_unlock_all();
    pthread_mutex_unlock(&loop_lock);
    pthread_mutex_unlock(&start_lock);
}

static void in_parent(void)
{
    resolver_unlock_all(false);
    unlock_all();
}

/* The thread is the parent's, and so are its descriptors: the copies are closed,
 * nothing is said on them. */
static void in_child(void)
{
    watch_forget_all();
    forward_forget_all();
    mirror_forget_all();
    audit_forget_all();
    report_forget_all();
    stats_forget_all();
    resolver_unlock_all(true);
    unlock_all();
    refresh_forget_all();
    survey_forget_all();
    scout_forget_all();
    replay_forget_all();
    if (atomic_load(&working) != KEEPER_NONE) {
        close(keeper_epoll);
        close(atomic_exchange(&wake_descriptor, -1));
    }
    atomic_store(&working, KEEPER_NONE);
    atomic_flag_clear(&turning);
    atomic_fetch_add(&keeper_generation, 1);
}

/* The keeper itself raises it too, under locks that come after start_lock. */
static void on_alarm(void)
{
    if (atomic_load(&working) == KEEPER_NONE)
        keeper_attend();
    wake();
}

/* Returns when the thread uses nothing any more that exit() takes away. It may be looking up a name,
 * which takes as long as it takes, and is not waited for to the end. */
static void end(void)
{
    struct timespec until;

    replay_flush();
    atomic_store(&is_over, true);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_WAIT_S;
    if (pthread_mutex_timedlock(&loop_lock, &until) == 0)
        pthread_mutex_unlock(&loop_lock);
}

static void register_once(void)
{
    tls_at_exit(end);
    pthread_atfork(before_fork, in_parent, in_child);
    cluster_set_alarm(on_alarm);
    lead_set_alarm(on_alarm);
    replay_configure(on_alarm);
    reload_configure();
    report_configure();
}

static void prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, register_once);
}

void keeper_prepare(void)
{
    prepare();
    if (atomic_load(&working) == KEEPER_NONE &&
        (report_is_wanted() || audit_file_is_wanted() || reload_is_wanted()))
        keeper_attend();
}

bool keeper_is_running(void)
{
    return atomic_load_explicit(&working, memory_order_relaxed) == KEEPER_THREAD;
}

static bool open_descriptors(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE_DATA};
    int epoll = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (epoll == -1 || fd == -1) {
        if (epoll != -1)
            close(epoll);
        if (fd != -1)
            close(fd);
        return false;
    }
    keeper_epoll = wire_move_high(epoll);
    fd = wire_move_high(fd);
    epoll_ctl(keeper_epoll, EPOLL_CTL_ADD, fd, &event);
    atomic_store(&wake_descriptor, fd);
    return true;
}

/* The program's signals are for the program's threads. */
static bool start_thread(void)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    bool started;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started = pthread_create(&thread, &attributes, run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (started)
        forward_set_poller(keeper_epoll);
    return started;
}

/* Under the lock. */
static void begin(bool by_hand)
{
    int before = atomic_load(&working);

    if (before == KEEPER_THREAD || (before == KEEPER_BY_HAND && by_hand) ||
        (before == KEEPER_NONE && !open_descriptors()))
        return;
    report_begin();
    tick_at_ms = clock_now_ms() + TICK_MS;
    atomic_store(&due_at_ms, 0);
    atomic_store(&working, KEEPER_BY_HAND);
    if (!by_hand && start_thread())
        atomic_store(&working, KEEPER_THREAD);
}

void keeper_start(void)
{
    prepare();
    pthread_mutex_lock(&start_lock);
    begin(false);
    pthread_mutex_unlock(&start_lock);
}

void keeper_attend(void)
{
    prepare();
    pthread_mutex_lock(&start_lock);
    begin(!config_get()->background_thread);
    pthread_mutex_unlock(&start_lock);
}
