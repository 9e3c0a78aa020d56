#include "keeper/replay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "keeper/keeper.h"
#include "link/resolver.h"
#include "link/wire.h"
#include "route/lead.h"
#include "route/mirror.h"
#include "session/request.h"

enum {
    LINGER_MS = 30, /* after the last command the queue is looked at: nobody has to wake us */
    LOOK_MS_LEAST = 2,
    LOOK_MS_MOST = 16,
    LOOK_FEW = 4,   /* commands: when a look finds no more of them, the next one is later … */
    LOOK_MANY = 16, /* … and when it finds more than these, it is sooner */
    RETRY_MS = 500,
    ASKED_MS = 20, /* a name is being looked up */
    LOCKED_MS = 1000,
    SILENCE_MS = 10000,         /* a target that answers nothing for so long is given up */
    UNANSWERED_MOST = 1000,     /* commands under way to a target … */
    WINDOW_BYTES = 1024 * 1024, /* … and bytes */
    REPLY_BYTES_MOST = 64 * 1024 * 1024,
    EVENTS_MOST = 64,
    COUNTING_MS = 50, /* at the end of the process, for what is left to be counted */
};

struct target {
    const struct config_cluster *cluster;
    const struct config_cluster *begun_by; /* whose endpoints the session was made for */
    bool leaving; /* the endpoints are those of another cluster now: nothing more is given to it */
    unsigned turn;           /* which of its endpoints is asked next */
    struct session *session; /* NULL: none at the moment */
    struct buffer pending;   /* entries */
    uint64_t pending_commands;
    uint64_t under_way; /* commands that the session has, and no reply to */
    size_t window;      /* bytes given to the session since it last was idle */
    int64_t retry_at_ms;
    int64_t heard_ms; /* the last sign of life, or the beginning of something under way */
};

static struct target targets[MIRROR_TARGETS_MOST];
static int target_count; /* that were heard of */
static int epoll_of_links = -1;
static struct buffer taken;
static _Atomic bool is_ending; /* the process: what is still there is dropped */

/* When the queue is looked at: the fewer commands there are, the less often, since to wake up takes
 * more than to send one. */
static struct {
    int64_t next_ms;
    int64_t every_ms;
    int64_t until_ms; /* then, when it is still empty, whoever puts something in wakes us */
    bool asleep;
} look = {.every_ms = LOOK_MS_MOST};

void replay_configure(void (*wake)(void))
{
    const struct config *config = config_get();

    if (!config->off && config->any_mirror)
        mirror_turn_on((size_t)config->mirror_queue_bytes, wake);
    else
        mirror_turn_off();
}

/* Until somebody answers at the new endpoints, it is mirrored where it was. */
static bool is_led_away(struct target *t)
{
    struct lead_end end;

    if (lead_is_same(t->begun_by, t->cluster) || !lead_find(t->cluster, "", 0, &end))
        return false;
    if (end.cluster == NULL || end.cluster != t->session->cluster)
        return true;
    t->begun_by = t->cluster;
    return false;
}

static void look_for_targets(void)
{
    const struct config_cluster *cluster;

    for (int i = 0; (cluster = mirror_target_cluster(i)) != NULL; i++) {
        targets[i].cluster = cluster;
        if (targets[i].session != NULL) {
            targets[i].session->settings.logins = cluster->logins;
            targets[i].leaving = is_led_away(&targets[i]);
        }
        target_count = i + 1;
    }
}

/* --- links --- */

static void watch(struct link *link)
{
    uint32_t events = wire_wants(link);
    struct epoll_event event = {.events = events, .data.ptr = link};

    if (link->fd == -1 || link->watched == (int)events)
        return;
    epoll_ctl(epoll_of_links, link->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, link->fd, &event);
    link->watched = (int)events;
}

static void close_link(struct link *link)
{
    if (link->watched != 0 && link->fd != -1)
        epoll_ctl(epoll_of_links, EPOLL_CTL_DEL, link->fd, NULL);
    link->watched = 0;
    wire_close(link);
}

static void lose(struct target *t, struct link *link)
{
    int why = link->error;

    if (!link->probe || why != 0)
        wire_doubt(link);
    close_link(link);
    session_link_lost(t->session, link, why);
    link->must_close = false;
}

static void open_link(struct target *t, struct link *link)
{
    const struct session_settings *s = &t->session->settings;
    const struct wire_settings settings = {.tls = s->tls, .tls_dialled = s->tls_dialled};

    if (!session_link_may_open(t->session, link))
        return;
    if (wire_look_up(link, &settings) == RESOLVER_PENDING) {
        session_link_delayed(t->session, link, RESOLVER_AGAIN_MS);
        return;
    }
    switch (wire_open(link, &settings)) {
    case WIRE_DONE:
        session_link_opened(t->session, link);
        break;
    case WIRE_AGAIN:
    case WIRE_INTERRUPTED:
        link->state = LINK_CONNECTING;
        link->connect_by_ms = clock_now_ms() + t->session->settings.connect_timeout_ms;
        break;
    case WIRE_LOST:
        lose(t, link);
        return;
    }
    watch(link);
}

static bool can_flush(const struct link *link)
{
    return link->fd != -1 && link_is_open(link) && link_unflushed(link);
}

static void flush(struct target *t, struct link *link)
{
    if (wire_flush(link) == WIRE_LOST)
        lose(t, link);
    else
        watch(link);
}

static void carry_out_orders(struct target *t)
{
    struct link *link;

    while ((link = session_next_dirty(t->session)) != NULL)
        if (link->must_close) {
            link->out_received = link->out_flushed;
            lose(t, link);
        } else if (link->state == LINK_WANTED) {
            open_link(t, link);
        } else if (can_flush(link)) {
            flush(t, link);
        }
}

static void finish_connecting(struct target *t, struct link *link)
{
    enum wire_result r = wire_connected(link);

    if (r == WIRE_LOST) {
        lose(t, link);
    } else if (r == WIRE_DONE) {
        session_link_opened(t->session, link);
        watch(link);
    } else {
        watch(link);
    }
}

static void on_ready(struct target *t, struct link *link, int64_t now_ms)
{
    enum wire_result r;

    if (link->fd == -1)
        return;
    if (link->state == LINK_CONNECTING) {
        finish_connecting(t, link);
        return;
    }
    r = wire_fill(link, false);
    if (r == WIRE_DONE) {
        t->heard_ms = now_ms;
        session_link_received(t->session, link);
        if (buffer_length(&link->in) > REPLY_BYTES_MOST)
            session_end(t->session, EMSGSIZE);
    } else if (r == WIRE_LOST) {
        lose(t, link);
        return;
    }
    if (can_flush(link))
        flush(t, link);
}

static struct target *target_of(const struct link *link)
{
    for (int i = 0; i < target_count; i++)
        for (const struct link *l = targets[i].session ? targets[i].session->links : NULL; l != NULL;
             l = l->next)
            if (l == link)
                return &targets[i];
    return NULL;
}

static void handle_events(int64_t now_ms)
{
    struct epoll_event events[EVENTS_MOST];
    int count = epoll_wait(epoll_of_links, events, EVENTS_MOST, 0);

    for (int i = 0; i < count; i++) {
        struct target *t = target_of(events[i].data.ptr);

        if (t != NULL)
            on_ready(t, events[i].data.ptr, now_ms);
    }
}

/* --- the session of a target --- */

static void begin(struct target *t, int64_t now_ms)
{
    const struct config *config = config_get();
    const struct config_address *address =
        &t->cluster->endpoints[t->turn % (unsigned)t->cluster->endpoint_count];
    enum resolver_result found;
    char host[INET6_ADDRSTRLEN];
    struct session_settings settings = {
        .host = host,
        .port = address->port,
        .failover_timeout_ms = config->failover_timeout_ms,
        .connect_timeout_ms = config->connect_timeout_ms,
        .reconnect = config->reconnect,
        .clock = clock_now_ms,
        .tls = config_tls_of(config, t->cluster),
        .tls_dialled = address->host,
        .name = resolver_is_name(address->host) ? address->host : NULL,
        .is_mirror = true,
        .refresh = t->cluster->refresh,
        .seeds = t->cluster,
        .logins = t->cluster->logins,
    };

    found = resolver_number(address->host, address->port, host);
    t->retry_at_ms = now_ms + (found == RESOLVER_PENDING ? ASKED_MS : clock_jitter_ms(RETRY_MS));
    if (found != RESOLVER_PENDING)
        t->turn++;
    if (found == RESOLVER_FOUND)
        t->session = session_create(&settings);
    t->begun_by = t->cluster;
    t->leaving = false;
    t->window = 0;
    t->heard_ms = now_ms;
}

static void hang_up(struct target *t)
{
    for (struct link *link = t->session->links; link != NULL; link = link->next)
        close_link(link);
    session_destroy(t->session);
    t->session = NULL;
}

/* All is answered: the next session is made where the endpoints are now. */
static void leave(struct target *t, int64_t now_ms)
{
    log_write(LOG_INFO, "mirror %s: goes to another cluster now", t->cluster->name);
    hang_up(t);
    t->leaving = false;
    t->retry_at_ms = now_ms;
}

static void give_up(struct target *t, int64_t now_ms)
{
    if (t->session->settings.name != NULL)
        resolver_doubt(t->session->settings.name, &t->session->home->address);
    if (t->session->end_text != NULL)
        log_write(LOG_WARNING, "mirror %s: %s", t->cluster->name, t->session->end_text);
    hang_up(t);
    mirror_count(MIRROR_DROPPED_LOST, t->under_way);
    t->under_way = 0;
    t->retry_at_ms = now_ms + clock_jitter_ms(RETRY_MS);
}

/* The session itself answers what it lost. */
static enum mirror_count outcome(const char *reply, size_t length)
{
    static const char lost[] = "-UNREACHABLE redisroute:";

    if (reply[0] != '-')
        return MIRROR_SENT;
    return length >= sizeof lost - 1 && memcmp(reply, lost, sizeof lost - 1) == 0
               ? MIRROR_DROPPED_LOST
               : MIRROR_REFUSED;
}

/* The reply at the head of the order is whole: how it begins is all that is of interest. */
static void drop_reply(struct target *t)
{
    struct session *s = t->session;
    char scratch[16384];
    size_t left = s->order_head->reply_length, n;
    bool first = true;

    while (left > 0 && (n = session_take(s, scratch, left < sizeof scratch ? left : sizeof scratch)) > 0) {
        if (first)
            mirror_count(outcome(scratch, n), 1);
        first = false;
        left -= n;
    }
    if (t->under_way > 0)
        t->under_way--;
}

static void drop_pending(struct target *t, enum mirror_count why)
{
    mirror_count(why, t->pending_commands);
    t->pending_commands = 0;
    buffer_deinit(&t->pending);
}

static bool has_room(const struct target *t)
{
    const struct session *s = t->session;

    if (t->leaving)
        return false;
    if (s->state == SESSION_DISCOVERING)
        return t->under_way == 0;
    return session_routes(s) && buffer_length(&s->in) == 0 && t->under_way < UNANSWERED_MOST &&
           t->window < WINDOW_BYTES;
}

static void feed(struct target *t, int64_t now_ms)
{
    if (t->under_way == 0) {
        t->window = 0;
        t->heard_ms = now_ms;
    }
    while (buffer_length(&t->pending) > 0 && has_room(t)) {
        struct mirror_entry entry;

        memcpy(&entry, buffer_bytes(&t->pending), sizeof entry);
        buffer_consume(&t->pending, sizeof entry);
        t->under_way += entry.commands;
        t->pending_commands -= entry.commands;
        t->window += entry.length;
        session_accept(t->session, buffer_bytes(&t->pending), entry.length);
        buffer_consume(&t->pending, entry.length);
    }
    buffer_relax(&t->pending, LINK_KEEP);
}

/* Not for ever: it may be given a password that is right, or need none any more. */
static void locked_out(struct target *t, int64_t now_ms)
{
    drop_pending(t, MIRROR_DROPPED_LOCKED);
    mirror_count(MIRROR_DROPPED_LOCKED, t->under_way);
    t->under_way = 0;
    give_up(t, now_ms);
    t->retry_at_ms = now_ms + LOCKED_MS;
}

static void end_target(struct target *t, int64_t now_ms)
{
    drop_pending(t, MIRROR_DROPPED_EXIT);
    if (t->session != NULL)
        give_up(t, now_ms);
}

static void advance_target(struct target *t, int64_t now_ms)
{
    struct session *s;
    int64_t due;

    if (t->session == NULL && buffer_length(&t->pending) > 0 && now_ms >= t->retry_at_ms)
        begin(t, now_ms);
    s = t->session;
    if (s == NULL)
        return;
    if (s->state == SESSION_LOCKED) {
        locked_out(t, now_ms);
        return;
    }
    feed(t, now_ms);
    due = session_due(s);
    if (due >= 0 && due <= now_ms)
        session_advance(s);
    carry_out_orders(t);
    while (s->order_head != NULL && s->order_head->done)
        drop_reply(t);
    if (s->state == SESSION_ENDED || (t->under_way > 0 && now_ms - t->heard_ms > SILENCE_MS))
        give_up(t, now_ms);
    else if (t->leaving && t->under_way == 0)
        leave(t, now_ms);
}

static int64_t due_of(const struct target *t, int64_t now_ms)
{
    if (t->session == NULL)
        return buffer_length(&t->pending) > 0 ? t->retry_at_ms : -1;
    if (buffer_length(&t->pending) > 0 && has_room(t))
        return now_ms;
    return clock_earlier(session_due(t->session), t->under_way > 0 ? t->heard_ms + SILENCE_MS + 1 : -1);
}

/* --- from the queue to the targets --- */

static void append_entry(struct target *t, const char *entry_bytes, const struct mirror_entry *entry)
{
    size_t length = sizeof *entry + entry->length;

    if (buffer_length(&t->pending) + length > (size_t)config_get()->mirror_queue_bytes ||
        !buffer_append(&t->pending, entry_bytes, length))
        mirror_count(MIRROR_DROPPED_FULL, entry->commands);
    else
        t->pending_commands += entry->commands;
}

/* How many commands that were. */
static uint64_t distribute(void)
{
    uint64_t commands = 0;

    while (buffer_length(&taken) > 0) {
        struct mirror_entry entry;

        memcpy(&entry, buffer_bytes(&taken), sizeof entry);
        commands += entry.commands;
        for (int i = 0; i < target_count; i++)
            if ((entry.targets >> i & 1) != 0)
                append_entry(&targets[i], buffer_bytes(&taken), &entry);
        buffer_consume(&taken, sizeof entry + entry.length);
    }
    buffer_relax(&taken, 64 * 1024);
    return commands;
}

static void adapt(uint64_t found)
{
    if (found <= LOOK_FEW && look.every_ms < LOOK_MS_MOST)
        look.every_ms *= 2;
    else if (found > LOOK_MANY && look.every_ms > LOOK_MS_LEAST)
        look.every_ms /= 2;
}

static void look_at_queue(int64_t now_ms)
{
    bool enough = now_ms >= look.until_ms, any;
    uint64_t found = 0;

    if (now_ms < look.next_ms && !mirror_is_urgent())
        return;
    any = mirror_take(&taken, enough);
    if (any) {
        look.until_ms = now_ms + LINGER_MS;
        look_for_targets();
        found = distribute();
    }
    look.asleep = !any && enough;
    adapt(found);
    look.next_ms = now_ms + look.every_ms;
}

static bool open_epoll(int poller, uint64_t data)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};

    if (epoll_of_links != -1)
        return true;
    epoll_of_links = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_of_links == -1)
        return false;
    epoll_of_links = wire_move_high(epoll_of_links);
    return epoll_ctl(poller, EPOLL_CTL_ADD, epoll_of_links, &event) == 0;
}

int64_t replay_advance(int poller, uint64_t data, int64_t now_ms)
{
    uint64_t outstanding = 0;
    int64_t due = -1;

    if (target_count == 0 && mirror_target_cluster(0) == NULL)
        return -1;
    if (!open_epoll(poller, data))
        return -1;
    look_at_queue(now_ms);
    handle_events(now_ms);
    for (int i = 0; i < target_count; i++) {
        advance_target(&targets[i], now_ms);
        if (atomic_load(&is_ending))
            end_target(&targets[i], now_ms);
        outstanding += targets[i].pending_commands + targets[i].under_way;
        due = clock_earlier(due, due_of(&targets[i], now_ms));
    }
    mirror_set_outstanding(outstanding);
    return look.asleep ? due : clock_earlier(due, look.next_ms);
}

void replay_forget_all(void)
{
    for (int i = 0; i < target_count; i++) {
        struct target *t = &targets[i];

        for (struct link *link = t->session ? t->session->links : NULL; link != NULL;
             link = link->next)
            wire_close(link);
        session_destroy(t->session);
        buffer_deinit(&t->pending);
        *t = (struct target){.cluster = t->cluster};
    }
    buffer_deinit(&taken);
    if (epoll_of_links != -1)
        close(epoll_of_links);
    epoll_of_links = -1;
    look.until_ms = look.next_ms = 0;
}

/* --- the end of the process --- */

static bool wait_for_queue(int64_t ms)
{
    static const struct timespec moment = {.tv_nsec = 500000};
    int64_t until = clock_now_ms() + ms;
    bool idle;

    while (!(idle = mirror_is_idle()) && clock_now_ms() < until) {
        keeper_turn();
        nanosleep(&moment, NULL);
    }
    return idle;
}

/* The keeper runs on while exit() runs this. It is the one who knows what is left. */
__attribute__((destructor)) void replay_flush(void)
{
    static _Atomic bool done;

    if (!mirror_is_on() || !(keeper_is_running() || keeper_is_by_hand()) ||
        atomic_exchange(&done, true))
        return;
    mirror_hurry();
    if (wait_for_queue(config_get()->mirror_flush_timeout_ms))
        return;
    atomic_store(&is_ending, true);
    mirror_hurry();
    wait_for_queue(COUNTING_MS);
}
