/* An endpoint: what stands behind a descriptor number that hiredis holds.
 *
 * It owns a session and moves its bytes: it opens, fills, flushes and closes the
 * sockets under the session's links, and gives the program a descriptor that
 * behaves as the one socket it believes in. Which descriptor that is, depends on
 * the kind of context:
 *
 *   blocking      the real socket, until the session routes; then one end of a
 *                 socket pair, always writable, made readable by the keeper when
 *                 the program is going to poll it
 *   asynchronous  an epoll descriptor over all links, a timer and an eventfd; or, for programs
 *                 that need a socket there, one end of a pair with the keeper always at it
 *   non-blocking  the real socket until the first read or write, then as blocking
 *                 but with the keeper always at it
 *
 * An endpoint is used by one thread at a time, as a hiredis context is. */
#ifndef REDISROUTE_SOCKET_ENDPOINT_H
#define REDISROUTE_SOCKET_ENDPOINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "link/wire.h"
#include "session/session.h"
#include "session/tap.h"
#include "socket/descriptor.h"
#include "socket/poller.h"
#include "socket/seed.h"

enum endpoint_kind {
    ENDPOINT_BLOCKING,
    ENDPOINT_ASYNC,
    ENDPOINT_NONBLOCK,
};

/* What whoever opens an endpoint wants beside what the configuration says. All zero: nothing. */
struct endpoint_wishes {
    int64_t connect_timeout_ms; /* 0: none */
    struct tls_profile *tls;    /* NULL: the configuration's */
    int descriptor;             /* enum config_descriptor; DESCRIPTOR_AUTO: the configuration's */
};

struct endpoint {
    int fd; /* the number that the program holds */
    enum endpoint_kind kind;
    int receive_flags;        /* of recv(), for the answer to an express command */
    bool paired;              /* fd is one end of a socket pair, … */
    bool stuffed;             /* … and not writable yet, as the first connection is not decided */
    _Atomic bool interrupted; /* by another thread; the next wait takes it */
    bool prompt;       /* writes are batches: each is sent at once, not when the loop comes round */
    bool looked;       /* from an event loop, for the answer to an express command; in vain */
    uint32_t looked_s; /* clock_seconds() when links were last looked at for idleness */
    unsigned generation; /* keeper_generation under which everything here was made */
    int peer;            /* the other end of the pair; -1 */
    struct tap *tap;     /* an audit: what is written is looked at. Without a session, nothing else
                            stands between the program and its socket. NULL: none */
    struct session *session;
    struct poller *poller; /* NULL: links are waited for with poll() */
    struct forward *forward;
    struct wire_settings wire;
    struct sockaddr_storage address; /* that the program dialled */
    socklen_t address_length;
    struct sockaddr_storage seed; /* that was connected to */
    socklen_t seed_length;
    const struct config_cluster *seed_cluster; /* whose endpoint that is; NULL: the dialled address */
    char *name;                  /* that was looked up for it, or the number; NULL: an audit's */
    bool awaits_seed;            /* where its first connection goes is being looked up */
    struct tls_profile *own_tls; /* the program's; NULL: the configuration's counts */
};

/* For a socket on which connect() was called, with what was asked of it before; `async` when hiredis' asynchronous
 * layer did. NULL: the descriptor stays an ordinary one. */
struct endpoint *endpoint_create(int fd, const struct seed *, const struct wire_settings *,
                                 bool async);

/* For the audit: the descriptor stays what it is, what is written to it is looked at. Any address, or
 * none (NULL). False: it is not looked at. */
bool endpoint_create_tapped(int fd, const struct sockaddr *, socklen_t);

/* connect() to the same address was called before, on the same open file. */
bool endpoint_is_connecting_to(const struct endpoint *, const struct sockaddr *, socklen_t);

/* As the asynchronous kind, but for those who write and read bytes themselves: a server that is no
 * cluster is a pipe through the session. The descriptor is the endpoint's, also when this fails. */
struct endpoint *endpoint_create_stream(int fd, const struct seed *, const struct endpoint_wishes *);

/* As the system calls of the same name: -1 and errno. */
ssize_t endpoint_write(struct endpoint *, const void *bytes, size_t length);
ssize_t endpoint_read(struct endpoint *, void *to, size_t size);
int endpoint_close(struct endpoint *);
int endpoint_set_option(struct endpoint *, int level, int name, const void *value, socklen_t size);
/* Waits until endpoint_read has something to say, or the first connection is decided. 1, or 0 when
 * timeout_ms (-1: none) have passed, or -1: EINTR, or ECANCELED by endpoint_interrupt. Asynchronous
 * kind only. */
int endpoint_wait(struct endpoint *, int64_t timeout_ms);
/* By any thread: a wait that is under way, or else the next, ends. */
void endpoint_interrupt(struct endpoint *);
/* endpoint_read after endpoint_wait, in fewer system calls; EAGAIN when the time has passed. */
ssize_t endpoint_read_wait(struct endpoint *, void *to, size_t size, int64_t timeout_ms);
/* Bytes of commands that are kept: not sent yet, or not answered. */
size_t endpoint_kept(const struct endpoint *);
/* SO_ERROR of an asynchronous context: 0, an errno value, or EINPROGRESS. */
int endpoint_connect_error(struct endpoint *);
/* An event loop was told that the descriptor is writable, and the connection is not decided. */
void endpoint_is_not_writable(struct endpoint *);

/* Does what an asynchronous context has to do. True: the next read says something. */
bool endpoint_has_news(struct endpoint *);

/* From now on by TLS, with the program's own profile; before anything was written. A blocking context
 * waits until the first connection is up. -1 and errno; words_for() may say more. */
int endpoint_secure(struct endpoint *, struct tls_profile *);

/* See session_set_read_policy. False: out of memory. */
bool endpoint_set_read_policy(struct endpoint *, enum read_policy, size_t ahead, bool stays);

/* Sessions that the configuration leads elsewhere go there, as far as nothing is unanswered. True: some
 * did. For the pump. */
bool endpoint_move(struct endpoint *);

/* See session_read_by. False: out of memory. */
bool endpoint_read_by(struct endpoint *, enum read_policy, size_t length);

/* The program is going to wait on the descriptor, not in read(). */
void endpoint_expect_poll(struct endpoint *);
/* The program keeps the descriptor without the context: it gets the real socket. */
void endpoint_let_go(struct endpoint *);
/* The number was closed behind our back, and means something else by now. */
void endpoint_forget(struct endpoint *);

#endif
