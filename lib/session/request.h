/* A request: one command of the application, from its issue to the delivery of
 * its reply. Requests form one list in the order of issue; replies leave from its
 * head only, which is what keeps them in order. */
#ifndef REDISROUTE_SESSION_REQUEST_H
#define REDISROUTE_SESSION_REQUEST_H

#include "base/event.h"
#include "link/part.h"
#include "route/command.h"
#include "route/scan_cursor.h"
#include "session/merge.h"
#include "session/session.h"
#include "session/split.h"

/* What is done with the reply besides delivering it. */
enum request_kind {
    REQUEST_ORDINARY,
    REQUEST_STATE, /* success is remembered and replayed on every link */
    REQUEST_QUIT,  /* the session ends behind it */
    REQUEST_WATCH, /* success is remembered as a guard of the next transaction */
    /* From here on: transaction.c's own. */
    REQUEST_OPENING, /* said by the session: MULTI and what was queued already */
    REQUEST_LEAVING, /* said by the session: DISCARD or UNWATCH at a server that is left */
    REQUEST_QUEUED,  /* a command between MULTI and EXEC */
    REQUEST_EXEC,
    REQUEST_DISCARD,
};

struct fanout_part {
    struct part part;
    char *reply;
    size_t reply_length;
    const char *server;
};

struct fanout {
    uint32_t count;
    uint32_t pending;
    enum merge_kind merge;
    struct split split;
    struct scan_cursor scan; /* MERGE_SCAN: where it goes on; … */
    bool scan_asks_all;      /* … whether the first parts ask the masters who they are, … */
    uint64_t scan_version;   /* … and by which snapshot it walks */
    struct fanout_part parts[];
};

struct request {
    struct request *next;
    const struct command *command; /* NULL: not in the table */
    struct fanout *fanout;         /* NULL: `part` is all of it */
    char *reply;                   /* its own copy of the reply, or NULL while it lies in a link */
    size_t reply_length;
    struct link *in_link;
    uint64_t in_position;
    uint64_t issued; /* stats_issue() */
    enum request_kind kind;
    bool done;
    bool mute; /* its reply is not delivered */
    struct part part;
};

/* A new request at the end of the order. NULL: out of memory, the session has ended. */
struct request *order_issue(struct session *, const struct command *);
/* Completes a request with a copy of the bytes. */
void order_complete(struct session *, struct request *, const char *reply, size_t length);
/* Completes a request with malloc'ed bytes that it takes over. */
void order_complete_with(struct session *, struct request *, char *reply, size_t length);
/* Completes a request whose reply lies in link->in at `position`. */
void order_complete_in_place(struct session *, struct request *, struct link *, uint64_t position,
                             size_t length);
/* "-CODE redisroute: …": `format` gives all but the CRLF. */
void order_complete_error(struct session *, struct request *, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Bytes that arrived unasked, lying in link->in: delivered behind all replies that are complete,
 * and before those that are not. */
void order_push(struct session *, struct link *, uint64_t position, size_t length);
/* The same, copied, and behind everything that was answered over that link: an invalidation must
 * not overtake the value that it is about. */
void order_push_behind(struct session *, const struct link *, const char *bytes, size_t length);
/* What is not delivered needs no link any more; all of it is done. False: out of memory. */
bool order_leave(struct session *);
/* Drops replies at the head that the application does not want (CLIENT REPLY). */
void order_purge(struct session *);
/* For the statistics: a command (NULL: one that is not in the table) that was issued then is
 * answered now. */
void order_count_slowly(struct session *, const struct command *, uint64_t issued,
                        uint64_t how_many, bool success);
/* The same, of a command that is known. */
static inline void order_count(struct session *s, const struct command *c, uint64_t issued,
                               uint64_t how_many, bool success)
{
    struct stats_command *stats =
        atomic_load_explicit(&s->stats->commands[c->number], memory_order_acquire);

    if (__builtin_expect(stats == NULL, 0))
        order_count_slowly(s, c, issued, how_many, success);
    else
        stats_answered(stats, issued, ticks_of_processor(), how_many, success);
}
void order_destroy(struct session *);

/* The reply of one part, and what follows from it for its request. */
void answer_complete(struct session *, struct part *, struct link *, const char *reply,
                     size_t length, uint64_t position);
void answer_fail(struct session *, struct part *, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The replies in the link's `in`, as far as they are whole, of the commonest kinds, no errors, and
 * to parts of which nothing but the reply is wanted: what is said many times over in a pipeline. */
void answer_run(struct session *, struct link *);
/* The part, which is on no link, has its own bytes, and was refused by that link with that error,
 * is sent again where the error says. False: the error is the answer. */
bool answer_redirect(struct session *, struct link *, struct part *, const char *reply,
                     size_t length);
/* One reply from a link, for its oldest part. */
void answer_reply(struct session *, struct link *, const char *reply, size_t length,
                  uint64_t position);

/* Input that is complete is planned, until there is none or it has to wait. */
void plan_input(struct session *);
/* Plans bytes that are not in `in`; returns how many were taken. */
size_t plan_bytes(struct session *, const char *bytes, size_t length);

/* The link of a slot's owner. NULL: there is none, or not yet. */
static inline struct link *dispatch_owner(const struct session *s, uint16_t slot)
{
    uint16_t node = s->topology->owner[slot];

    return node != NODE_NONE ? s->link_of_node[node] : NULL;
}

/* … when that is all there is to say: nothing is in trouble, only masters are read from, and the
 * link is up. Else NULL, and dispatch_part knows. */
static inline struct link *dispatch_quick(const struct session *s, uint16_t slot)
{
    struct link *link = !s->careful && s->reads == NULL ? dispatch_owner(s, slot) : NULL;

    return link != NULL && link->state == LINK_UP ? link : NULL;
}

/* Nothing is under way, and nothing has to be done first. */
static inline bool session_is_quiet(const struct session *s)
{
    return s->state == SESSION_ROUTING && s->obstacles == 0 && s->order_head == NULL &&
           !session_volleys(s) && s->in.head == s->in.tail &&
           cluster_version(s->cluster) == s->version;
}

/* Sends a part to where it belongs now, or queues it where it has to wait. The
 * bytes are those of its command; the part's own, when it has its own. */
void dispatch_part(struct session *, struct part *, const char *bytes, size_t length);
/* … in the queue of its slot, whatever the state of the slot. */
void dispatch_hold(struct session *, struct part *, const char *bytes, size_t length);
/* Chooses the link for a part. NULL: out of memory. */
struct link *dispatch_route(struct session *, struct part *);
/* Puts the part on that link: into its stream, or into its waiting queue. */
void dispatch_to(struct session *, struct link *, struct part *, const char *bytes, size_t length);
struct link *dispatch_link_to(struct session *, const char *host, size_t host_length, uint16_t port);
struct link *dispatch_link_of_node(struct session *, uint16_t node);
/* Sends what waited for the link. */
void dispatch_waiting(struct session *, struct link *);
/* A slot that some node owns, else 0: where a keyless command queues while it waits. */
uint16_t dispatch_any_slot(const struct session *);

/* Slots in trouble: see trouble.c. */
struct trouble *trouble_find(const struct session *, uint16_t slot);
struct trouble *trouble_open(struct session *, uint16_t slot);
void trouble_count(struct trouble *, struct part *);
void trouble_hold(struct session *, struct trouble *, struct part *);
void trouble_answered(struct session *, struct part *);
/* The part is not in flight any more, and was not answered either. */
void trouble_left(struct session *, struct part *);
/* Takes the reads off the queue of the slot that were issued before `before`, as a chain. */
struct part *trouble_take_reads(struct session *, uint16_t slot, uint64_t before);
void trouble_delay(struct session *, struct trouble *);
void trouble_release(struct session *, struct trouble *);
void trouble_release_all(struct session *);
int64_t trouble_due(const struct session *);
void trouble_advance(struct session *);
void trouble_destroy(struct session *);



/* Puts a part back that has its own bytes: through its slot's trouble, if any. */
void recover_requeue(struct session *, struct part *);
/* Ends the session for what happened to a link. */
void recover_end(struct session *, const struct link *, int why);

/* Connection state. */
void greet_remember(struct session *, struct request *, const char *command, size_t length);
bool greet_link(struct session *, struct link *);
/* Something is to be said before anything else; the configuration's login among it. */
bool greet_is_due(const struct session *, const struct link *);
bool greet_is_login(const struct session *, const struct link *);
/* The server refuses the login because it takes everybody. */
bool greet_needs_no_login(const struct session *, const struct link *, const char *reply,
                          size_t length);
/* The configuration's login is refused: for a while what is for this link is answered with the
 * server's own words, but for what may be a better login. */
void greet_refused(struct session *, struct link *, const char *reply, size_t length);
void greet_refused_part(struct session *, struct link *, struct part *);
/* An error that answers who we were: it decides nothing, and is nobody's. */
bool greet_is_outdated(struct link *, const char *reply);
/* All is answered, and more is to be said. */
bool greet_goes_on(struct session *, struct link *);
/* A link that refused is asked once more. False: it is too early. */
bool greet_again(struct session *, struct link *);
/* The configuration has other logins than before. */
void greet_changed(struct session *, const struct config_login *before);
/* Of RESP, as the application asked for it: 2 or 3. */
int greet_protocol(const struct session *);
/* The cluster is told by whom it may be asked. */
void greet_credentials(const struct session *);
/* AUTH and HELLO, which a server answers whoever we are. */
bool greet_says_who(const struct command *);
/* Forgets everything, and has the links forget it. */
void greet_reset(struct session *);
void greet_destroy(struct session *);

/* CLIENT TRACKING was taken. False: it adds to what was said before it. */
bool client_tracks(struct session *, const struct argv *);
/* What was read over the link is tracked no more: the application is told to forget everything. */
void client_forget(struct session *, const struct link *);
/* The link is needed though no command waits for it: its server tells of all keys. */
bool client_listens(const struct session *, const struct link *);
/* Opens what is needed. */
void client_listen(struct session *);
int64_t client_due(const struct session *);
void client_advance(struct session *);

/* Discovery. */
void discover_begin(struct session *);
void discover_reply(struct session *, const char *reply, size_t length);
void discover_lost(struct session *);
void discover_ask(struct session *, struct link *);
int64_t discover_due(const struct session *);
void discover_advance(struct session *, int64_t now_ms);
size_t discover_take_plain(struct session *, char *to, size_t size);

void session_touch(struct session *, struct link *);

/* Its configuration may change under it, and nobody tells a session that issues nothing. */
static inline bool session_has_files(const struct session *s)
{
    return s->settings.configure != NULL && config_files() != NULL;
}

/* Input goes on, unless the session is leaving; a transaction that is open is finished first. */
static inline void session_unstall(struct session *s)
{
    s->stalled = s->leaving && s->state != SESSION_TRANSACTING;
}

/* Tells the program what happens to this session, when it wants to know. */
#define session_raise(s, kind, ...)                                                                \
    do {                                                                                           \
        if (event_is_on() && !(s)->settings.is_mirror)                                             \
            event_raise((kind), (s)->fd, __VA_ARGS__);                                             \
    } while (0)
int64_t session_now(const struct session *);

#endif
