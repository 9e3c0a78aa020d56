/* A session: one virtual connection to a cluster that looks like one server.
 *
 *   application's bytes                             application's replies
 *     │ session_accept                                     ▲ session_take
 *     ▼                                                    │
 *   parse ─> plan ─> dispatch ───────────────────────┐   order
 *              │        │ (slot in trouble)          │     ▲
 *              │        ▼                            │     │
 *              │     trouble ──(released)──> link    │   answer <── link
 *              ▼                              ▲      │     │
 *           requests, in the order of issue   └──────┘     └─> redirect, retry, merge
 *
 * The session does no I/O and knows no clock but the one it is given. Its owner
 * moves bytes between links and sockets, tells what became of connections, and
 * calls session_advance when session_due has come. What the session wants of its
 * owner it leaves on links: see session_next_dirty.
 *
 * A session belongs to one thread at a time; it shares nothing but its cluster. */
#ifndef REDISROUTE_SESSION_SESSION_H
#define REDISROUTE_SESSION_SESSION_H

#include "base/buffer.h"
#include "base/clock.h"
#include "config/config.h"
#include "config/read_policy.h"
#include "link/link.h"
#include "route/cluster.h"
#include "session/parse.h"
#include "session/shape.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum session_state {
    SESSION_DISCOVERING, /* what the dialled address is, is being asked */
    SESSION_LOCKED,      /* the server wants AUTH before it says: commands go to the dialled node */
    SESSION_PLAIN,       /* not a cluster: a pipe */
    SESSION_ROUTING,
    SESSION_TRANSACTING, /* routing, between MULTI and EXEC: every command is part of it */
    SESSION_ENDED,       /* no more bytes in either direction, but those that are deliverable */
};

struct session_settings {
    const char *host; /* the address that was dialled, as numbers */
    uint16_t port;
    const char *name;      /* that was looked up for it; NULL: none was. Outlives the session */
    int64_t op_timeout_ms; /* how long a command may take that does not block; 0: any time */
    int64_t failover_timeout_ms; /* how long a command waits for its slot to be served */
    int64_t connect_timeout_ms;
    int64_t link_idle_timeout_ms; /* 0: links are kept */
    struct config_reconnect reconnect;
    clock_fn *clock;
    enum read_policy read_policy;
    int64_t read_your_writes_ms; /* how long reads of a slot stay with the master after a write */
    const char *zone;            /* ours; NULL or empty: unknown. Outlives the session */
    struct tls_profile *tls;     /* NULL: none. The session takes a reference */
    const char *tls_dialled;     /* the name that was dialled; NULL: it was none. Copied */
    bool tls_is_own;             /* the program's, and not the configuration's */
    bool is_mirror;              /* of the keeper: what it sends is mirrored no further */
    bool is_inner;               /* of a front, for this upstream */
    bool is_seen;                /* no pipe, whatever the server is */
    bool has_routes; /* what the configuration says of its address: keys have several clusters */
    uint16_t upstream;
    const char *cluster_name; /* to be named by errors; NULL: nothing is. Outlives the session */
    bool no_redirection;      /* MOVED and ASK are the application's */
    struct config_mirror *mirrors;       /* what is copied to whom; outlives the session */
    struct config_refresh refresh;       /* for its cluster */
    const struct config_cluster *seeds;  /* where it is found when no node of it is; may be NULL */
    const struct config_cluster *led_by; /* … by which it was found; NULL: the dialled address */
    const struct config_login *logins;   /* what links say first; outlive the session */
    /* Puts what the configuration says now in these settings. NULL: they stay. The address is the
     * one that the program dialled. */
    void (*configure)(struct session_settings *);
    char dialled_host[46];
    uint16_t dialled_port;
};

/* Modes of the connection, bits of session.guards: while there is one, every command is looked at
 * before it is planned. */
enum session_guard {
    GUARD_SUBSCRIBED = 1 << 0, /* RESP2 with a subscription: few commands are allowed */
    GUARD_MONITOR = 1 << 1,    /* the keyspace is out of reach */
    GUARD_SILENT = 1 << 2,     /* CLIENT REPLY OFF: replies are not delivered … */
    GUARD_SKIP = 1 << 3,       /* … or that of the next command is not */
    GUARD_CONFIG = 1 << 4,     /* the configuration has changed; the next command looks */
    GUARD_CACHING = 1 << 5,    /* CLIENT CACHING: is about the next command */
    GUARD_ROUTES = 1 << 6,     /* a front: keys go by their prefixes */
};

/* What CLIENT TRACKING said, bits of session.tracking. */
enum session_tracking {
    TRACKING_ON = 1 << 0,
    TRACKING_BROADCAST = 1 << 1, /* masters tell of all keys, whether they were read or not */
    TRACKING_OPT_IN = 1 << 2,
    TRACKING_OPT_OUT = 1 << 3,
};

enum greeting_kind { GREETING_AUTH, GREETING_PROTOCOL, GREETING_OTHER };

/* What the session keeps of AUTH, HELLO, CLIENT SETNAME …: replayed on every new link, in the order
 * of the kinds. There is one of each of the first two at most. */
struct greeting {
    struct greeting *next;
    enum greeting_kind kind;
    const struct command *command;
    size_t length;
    char bytes[];
};

/* One command at a time is what most programs do. While nothing else is under way
 * such a command is not made a request: its bytes lie in the link's `out`, and its
 * reply goes from the socket to the application. Whatever is not that simple after
 * all is made an ordinary request first. */
struct express {
    struct link *link; /* NULL: none under way */
    const struct command *command;
    size_t length;
    uint64_t issued; /* stats_issue() */
    uint16_t slot;
};

/* Several commands at once are a pipeline, and most are as simple as those. Each link has its own
 * in its `out`; all that is kept is which link each reply comes from. */
struct volley {
    struct volley_entry *entries; /* the commands, in the order of issue */
    uint32_t capacity;
    uint32_t count;
    uint32_t next;   /* its reply is the next to be delivered; count: none is under way */
    uint64_t issued; /* stats_issue() */
};

struct session {
    enum session_state state;
    union {
        struct {
            bool careful;   /* a slot is in trouble or migrating: look before sending */
            bool stalled;   /* input waits: for what `probe` asks, or for the session to move */
            bool ending;    /* QUIT: ends when all is delivered */
            uint8_t guards; /* enum session_guard */
        };
        uint32_t obstacles; /* 0: none of these, and the short ways are open */
    };
    uint8_t tracking; /* enum session_tracking; 0: CLIENT TRACKING is off */
    bool caches;      /* GUARD_CACHING: what CLIENT CACHING said, yes or no */
    bool asks_mode;   /* the probe may not see the topology, and asks whether there is one; … */
    struct topology *learnt; /* … or it asks who else is in this one */
    bool single;             /* one server that is no cluster, and yet no pipe */
    bool homeless; /* where the home is is being looked up: until session_found_home nothing is
                      asked */
    struct link **link_of_node; /* by node of the snapshot; NULL where there is none yet */
    struct topology *topology;
    struct cluster *cluster;
    const struct stats_upstream *stats; /* of the cluster; stats_none: nothing was counted yet */
    uint64_t version;                   /* of the snapshot */
    struct argv argv;                   /* of the command being planned */
    struct reads *reads;                /* NULL: only the master is read from */
    struct express express;
    struct volley volley;
    struct shapes shapes;
    uint64_t scan_version; /* the snapshot that masters agreed with when asked for a SCAN, … */
    uint16_t scan_pass;    /* … and the pass that they agreed on */

    struct request *order_head; /* issued and not yet delivered */
    struct request *order_tail;
    struct request *spare; /* free requests */
    struct slab *slabs;
    size_t delivered; /* bytes of the head's reply that are delivered */
    uint64_t sequence;
    uint64_t planned; /* bytes of the application's stream; those of the short way do not count */
    struct override *overrides;     /* policies for what is not planned yet; in order */
    enum read_policy policy;        /* of what is planned next */
    enum read_policy policy_before; /* once: of what is planned after the next */
    bool once;
    bool policy_is_own;      /* was set in code: the configuration's does not matter */
    uint64_t configured;     /* version of the configuration that the settings are of */
    uint32_t unanswered;     /* requests without a reply */
    uint32_t troubles;       /* slots with a record */
    struct request *barrier; /* nothing behind it is planned before it is answered */

    struct buffer in; /* application's bytes that are not yet planned */
    size_t in_needed; /* parsing again is of no use below this length */
    struct link *links;
    struct link *dirty; /* those that want something, in the order in which they began to */
    struct link *dirty_last;
    struct link *probe;  /* asks what the session itself has to know; NULL: nothing is asked */
    struct link *home;   /* to the dialled node; may be NULL once routing */
    struct feeds *feeds; /* subscriptions and MONITOR; NULL: there never were any */
    struct trouble **trouble_of; /* hash by slot, allocated on first use */
    struct greeting *greetings;
    struct copies *copies;           /* for the mirror, of the open transaction; NULL: none */
    struct transaction *transaction; /* these three: allocated on first use */
    struct script_memo *script;
    struct lookup *lookup;
    int64_t tracking_tick_ms; /* TRACKING_BROADCAST: the next look whether there are new masters */
    int64_t locked_until_ms;  /* a login was refused, and is tried again then; 0: none was */
    int64_t probe_by_ms;      /* another endpoint is asked then; 0: there is none, or no need */
    uint16_t seeds_asked;     /* endpoints of the configuration that were asked what they are */
    bool unheard;             /* one that was asked is silent; locked: nobody has answered */
    int64_t blocked_since_ms; /* the barrier, when it is a command that blocks */
    struct front *front;      /* keys have several clusters; NULL: they have not */
    struct session *front_of; /* the front that this is an inner session of; NULL: none */
    struct session *next;     /* of a front: its inner sessions, one behind the other */
    struct session_settings settings;
    int fd;           /* the program's descriptor, for events; -1: it has none */
    int end_error;    /* 0: closed in order, as by QUIT */
    char *end_text;   /* more about it, in words; NULL: there is no more */
    bool ended_plain; /* was a pipe: what is left in the pipe is still deliverable */
    bool leaving;     /* move.c's: nothing more is issued here, … */
    bool awaits_lead; /* … or it is being found out whether that is to be so */
};

/* Takes copies of the settings. NULL: out of memory. */
struct session *session_create(const struct session_settings *);
void session_destroy(struct session *);

/* Takes over all the bytes, whatever the state of the cluster. False: out of
 * memory; the session has ended with ENOMEM. */
bool session_accept(struct session *, const char *bytes, size_t length);

/* Takes a single command the short way, if it is one: the bytes are then in the `out`
 * of the link that is returned, to be flushed. NULL: use session_accept. */
struct link *session_express(struct session *, const char *bytes, size_t length);
/* What the socket gave for it, into the application's own memory. True: it is the
 * whole reply, and the application's. False: use session_unexpress. */
bool session_express_answered(struct session *, const char *reply, size_t length);
/* Takes as many commands as can take the short way together: how many bytes they are. They are then
 * in the `out` of dirty links, to be flushed whole; if that does not succeed, or there are bytes
 * behind them, use session_unexpress. */
size_t session_volley(struct session *, const char *bytes, size_t length);
/* Moves replies to the application, whole ones only. When one is not all there, `waits_for` is the
 * link in whose `in` it is to be put. When there is no such link, nothing was taken, and there
 * still is a volley, use session_unexpress. */
size_t session_volley_take(struct session *, char *to, size_t size, struct link **waits_for);
static inline bool session_volleys(const struct session *s)
{
    return s->volley.next != s->volley.count;
}
/* What took the short way becomes ordinary requests; to be called before anything else than these
 * calls. Does nothing when nothing is under way. */
void session_unexpress(struct session *);

/* Moves up to `size` reply bytes to the application. */
size_t session_take(struct session *, char *to, size_t size);
bool session_deliverable(const struct session *);

/* The next link that wants something: state LINK_WANTED (open it), unflushed
 * bytes, or must_close. NULL: none. Takes it off the list. */
struct link *session_next_dirty(struct session *);

/* The socket to the dialled node cannot be had: errno value, or 0. */
int session_connect_error(const struct session *);

/* What became of connections. The home link may be connected by others, once. */
void session_home_connected(struct session *);
/* Where the home is, by the endpoints of the settings, is not known yet. */
void session_await_home(struct session *);
/* The home is to be opened by the owner, as any other link. */
void session_open_home(struct session *);
/* Of a homeless session: this is where its home is, an endpoint of that cluster (NULL: the dialled
 * address), by the name or number `said`, which outlives the session. False: out of memory. */
bool session_found_home(struct session *, const struct sockaddr_storage *, socklen_t,
                        const struct config_cluster *, const char *said);
/* A link that is wanted cannot be opened yet: it is wanted again in so many milliseconds. */
void session_link_delayed(struct session *, struct link *, int64_t ms);
/* False: the node was lost, and it is not this link's turn to connect to it; it is wanted again
 * when it is. */
bool session_link_may_open(struct session *, struct link *);
void session_link_opened(struct session *, struct link *);
/* `why` is an errno value, 0 for end of file; link->out_received is set. */
void session_link_lost(struct session *, struct link *, int why);
/* New bytes are in link->in. */
void session_link_received(struct session *, struct link *);

/* The next moment session_advance has something to do; -1: none. */
int64_t session_due(const struct session *);
/* The same without looks whether the cluster has changed, which the keeper takes as well. */
int64_t session_due_in_need(const struct session *);
/* The same without the time limit of answers, which whoever waits for one keeps. */
int64_t session_due_aside(const struct session *);
void session_advance(struct session *);

/* A wait of `waited_ms` for this link's next answer has just ended without one. */
void session_waited(struct session *, struct link *, int64_t waited_ms);

/* Takes a newer snapshot, when there is one. */
void session_adopt(struct session *);
/* Takes the settings of a newer configuration, when there is one. */
void session_configure(struct session *);

/* Ends the session: errno value, or 0. What is deliverable stays deliverable. */
void session_end(struct session *, int why);

/* Messages, or what servers execute, may arrive at any time. */
bool session_is_streaming(const struct session *);
/* Replies are read, and not delivered (CLIENT REPLY OFF). */
static inline bool session_is_silent(const struct session *s)
{
    return (s->guards & (GUARD_SILENT | GUARD_SKIP)) != 0;
}
/* The link whose next answer is the next to be delivered. NULL: it is not a single answer that is
 * missing. */
struct link *session_next_answer(const struct session *);
/* Nothing needs this link just because it is open. */
bool session_link_is_idle(const struct session *, const struct link *);

/* The policy of the commands behind the next `ahead` bytes that are accepted, or of the first of
 * them only. False: out of memory; nothing has changed. */
bool session_set_read_policy(struct session *, enum read_policy, size_t ahead, bool stays);

/* The policy of the commands that begin in the next `length` bytes that are accepted; behind them
 * it is what it was. False: out of memory; nothing has changed, or the session has ended. */
bool session_read_by(struct session *, enum read_policy, size_t length);

/* A command that blocks at the server (BLPOP …) is under way: its answer may never come. */
bool session_is_blocked(const struct session *);

/* The server at the other end keeps something that a new connection would not have (WATCH, an open
 * MULTI): the link must not be closed for being idle. */
bool session_holds(const struct session *, const struct link *);
/* Commands wait for a transaction to be opened. */
bool session_transaction_waits(const struct session *);

/* From now on connections are opened with this. */
void session_set_tls(struct session *, struct tls_profile *);

static inline bool session_routes(const struct session *s)
{
    return s->state == SESSION_ROUTING || s->state == SESSION_TRANSACTING;
}

/* Requests without a reply yet, and bytes not yet planned. */
static inline bool session_idle(const struct session *s)
{
    return s->order_head == NULL && s->in.head == s->in.tail;
}

#endif
