/* A link: the pipelined byte streams between a session and one server.
 *
 *   parts ──> waiting ──> sent ──> answered
 *                 │         │ ▲
 *                 ▼         ▼ │ in order
 *               `out` ─> socket ─> `in`
 *
 * This file does no I/O: `out` is filled and `in` is emptied here; wire.h moves
 * the bytes. A link belongs to one session and to its thread.
 *
 * Positions are counted from the first byte of the link's life and never
 * restart, so that a reply that lies in `in` keeps its address while the
 * connection under the link is replaced. */
#ifndef REDISROUTE_LINK_LINK_H
#define REDISROUTE_LINK_LINK_H

#include "base/buffer.h"
#include "link/frame.h"
#include "link/part.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>

enum link_state {
    LINK_IDLE,       /* no socket, none wanted */
    LINK_WANTED,     /* the owner of the session is to open a socket */
    LINK_CONNECTING, /* connect() is under way */
    LINK_GREETING,   /* the connection state of the session is being replayed */
    LINK_UP,
    LINK_REFUSED, /* open, but the server does not take what logs in; asked again at retry_at_ms */
    LINK_BACKOFF, /* refused or lost; wanted again at retry_at_ms */
};

struct watch;
struct feed;
struct session;

struct link {
    struct link *next; /* of the session's links */
    struct link *dirty_next;
    struct part_queue waiting;
    struct part_queue sent;
    struct buffer out;
    struct buffer in;
    uint64_t out_base;     /* position of out's head: all before it is answered */
    uint64_t out_flushed;  /* what the kernel has taken */
    uint64_t out_received; /* of a lost connection: what may have reached the server */
    uint64_t resumed;      /* volley.c's: commands before this position were looked at */
    uint64_t in_base;      /* position of in's head */
    uint64_t in_scanned;   /* what framing has seen */
    struct frame frame;
    uint32_t in_place; /* replies that lie in `in` until they are delivered */
    enum link_state state;
    int fd; /* -1: none. The wire's. */
    int error;
    int watched; /* the owner's: what it waits for on fd */
    bool dirty;  /* in the session's list of links with something to do */
    bool named;  /* its address was looked up, and may be another one the next time */
    bool probe;  /* asks for the topology, carries nothing of the application's */
    bool must_close;
    bool lost;     /* its connection was, or could not be had: the next needs a token of its node */
    bool reader;   /* said READONLY: carries reads that a replica may answer, and nothing else */
    uint16_t node; /* in the session's snapshot; NODE_NONE: not a node of it */
    uint16_t port;
    uint32_t greetings;  /* answers of the greeting still to come */
    uint64_t greeted_at; /* … and where in the stream it began: what is before is answered first */
    uint32_t outdated;   /* so many of them, the first, are to who we were; … */
    bool greets_anew;    /* … and when all are there, it is said once more */
    bool knocked;        /* was refused, and is up for an AUTH alone */
    uint32_t failures;   /* in a row */
    int64_t retry_at_ms;
    int64_t connect_by_ms;  /* -1: no limit */
    int64_t owing_since_ms; /* deadline.c's: its oldest answer is waited for since then; 0: not */
    uint64_t owing_at;      /* … and how far it had come then */
    uint32_t used_s;        /* clock_seconds() at the last use */
    uint64_t inode;         /* of the socket: what tells it from a reused number */
    _Atomic uint32_t asked; /* parts sent, parts answered: by these the keeper sees silence */
    _Atomic uint32_t replied;
    _Atomic bool cut;        /* by the keeper: its end of file is not the server's */
    bool broken;             /* an error was seen, as a reset: its end of file is no FIN */
    _Atomic bool silent;     /* by the keeper: owes an answer for a while */
    int64_t shun_until_ms;   /* a reader: its server refused to read until then; 0: it did not */
    struct watch *watch;     /* the keeper's */
    struct session *session; /* the owner's: whose it is, while it has a socket */
    struct session *inner;   /* at the other end, in place of a server: see session/front.h */
    struct feed *feed;       /* the session's: messages arrive here, no part is sent. For life. */
    struct tls *tls;         /* the wire's; NULL: bytes go as they are */
    int tls_wants; /* POLLIN or POLLOUT, that TLS waits for beside what the link does; 0: none */
    char *trouble; /* why TLS failed, in words; NULL: it did not */
    struct sockaddr_storage address;
    socklen_t address_length;
    char *host;
    char *name;    /* "host:port", for errors */
    char *refusal; /* while LINK_REFUSED: the server's own words, an error reply */
    size_t refusal_length;
};

/* Bytes may be sent. */
static inline bool link_is_open(const struct link *link)
{
    return link->state >= LINK_GREETING && link->state <= LINK_REFUSED;
}

/* An idle link keeps no more memory than this in each direction. */
enum { LINK_KEEP = 2048 };

/* NULL: out of memory. */
struct link *link_create(const char *host, uint16_t port);
void link_destroy(struct link *);
/* What it leads to is called so from now on. False: out of memory. */
bool link_rename(struct link *, const char *host);

/* Puts the part at the end of the stream. `bytes` may be the part's own. False: out of memory. */
bool link_send(struct link *, struct part *, const char *bytes, size_t length);
/* The bytes at that position of `out` turn out to be this part's command. */
void link_resume(struct link *, struct part *, uint64_t at, size_t length);
/* Bytes that no part accounts for: the greeting, the probe, a plain pipe. */
bool link_send_raw(struct link *, const char *bytes, size_t length);
/* Bytes of the greeting, that are answered so many times. */
bool link_send_greeting(struct link *, const char *bytes, size_t length, uint32_t answers);
/* The next answer is one to the greeting. */
static inline bool link_is_greeted_next(const struct link *link)
{
    return link->greetings > 0 &&
           (link->sent.head == NULL || link->sent.head->at >= link->greeted_at);
}

/* Takes the oldest sent part, whose reply has arrived. The bytes of its command
 * stay readable until the next link_send. NULL: none. */
struct part *link_answered(struct link *);
/* The parts before `position` in the stream were answered and taken off, `count` of them. */
void link_answered_up_to(struct link *, uint64_t position, uint32_t count);
/* The command of a sent part. */
const char *link_command(const struct link *, const struct part *);
/* Gives the part its own copy of its command. False: out of memory. */
bool link_detach(const struct link *, struct part *);

static inline bool link_unflushed(const struct link *link)
{
    return link->out_flushed < link->out_base + buffer_length(&link->out);
}

static inline const char *link_reply(const struct link *link, uint64_t position)
{
    return link->in.data + link->in.head + (position - link->in_base);
}

/* The length of the next whole reply in `in`, behind in_scanned; 0: it is not all there; -1:
 * garbage. */
int64_t link_next_reply(struct link *);

/* Nothing is under way, as `out` keeps what is not answered, and nothing wanted; and bytes go to
 * the socket as they are. */
static inline bool link_is_at_rest(const struct link *link)
{
    return !link->dirty && link->tls == NULL && link->out.head == link->out.tail &&
           link->in.head == link->in.tail;
}

static inline void link_count(_Atomic uint32_t *counter, uint32_t count)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count,
                          memory_order_relaxed);
}

/* Everything flushed so far is of no use any more: a plain pipe gets no answers. */
void link_forget_flushed(struct link *);
/* The connection is gone: what was half received is dropped, `out` is empty, positions stay. */
void link_cut(struct link *);
/* Everything before `position` was delivered or is of no use any more. */
void link_release(struct link *, uint64_t position);

/* Its address as a number. False: it has none yet. */
bool link_number(const struct link *, char number[INET6_ADDRSTRLEN]);

bool link_is(const struct link *, const char *host, size_t host_length, uint16_t port);

#endif
