/* The wire: the socket under a link. All calls return at once, but wire_fill when
 * it is told to wait. errno is not preserved. */
#ifndef REDISROUTE_LINK_WIRE_H
#define REDISROUTE_LINK_WIRE_H

#include "config/tls_profile.h"
#include "link/link.h"
#include "link/resolver.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/time.h>

/* Socket options that the application set on its context, for every link. */
enum { WIRE_OPTIONS_MAX = 12 };

struct wire_option {
    int level;
    int name;
    int value;
};

struct wire_settings {
    struct sockaddr_storage source; /* that the application bound its socket to */
    socklen_t source_length;        /* 0: it did not */
    sa_family_t family;             /* of names that have addresses of both; AF_UNSPEC: any */
    int64_t connect_timeout_ms;     /* the application's own; 0: the configuration's */
    struct wire_option options[WIRE_OPTIONS_MAX];
    int option_count;
    struct timeval receive_timeout; /* zero: none */
    struct timeval send_timeout;
    struct tls_profile *tls; /* NULL: bytes go as they are. The owner's */
    const char *tls_dialled; /* the name that was dialled; NULL or empty: it was no name */
    bool may_look_up; /* names, in the thread that opens links: it waits for its sockets, too, and
                         there is no other thread */
    bool alone; /* no keeper notices a silent server: a wait ends after WIRE_SILENCE_S */
    int64_t op_timeout_ms; /* a wait ends after that; 0: it need not */
};

enum { WIRE_SILENCE_S = 1 };

/* Whether a wait ends before its time limit, because it is one without a keeper. */
static inline bool wire_waits_alone(const struct wire_settings *w)
{
    return w->alone && ((w->receive_timeout.tv_sec == 0 && w->receive_timeout.tv_usec == 0) ||
                        w->receive_timeout.tv_sec >= WIRE_SILENCE_S);
}

/* How long a wait for bytes lasts; 0: for ever. *limit is what ends it. */
enum wire_limit { WIRE_LIMIT_OF_PROGRAM, WIRE_LIMIT_ALONE, WIRE_LIMIT_OF_OPERATION };
int64_t wire_wait_ms(const struct wire_settings *, enum wire_limit *limit);

enum wire_result {
    WIRE_DONE,
    WIRE_AGAIN,       /* nothing more can be moved now */
    WIRE_INTERRUPTED, /* by a signal, while waiting */
    WIRE_LOST,        /* link->error says why; 0: closed by the server */
};

/* What the application asked of a socket that is not connected yet is asked of all. */
void wire_settings_learn(struct wire_settings *, int fd);

/* Puts the address of link->host in the link, unless that was given. */
enum resolver_result wire_look_up(struct link *, const struct wire_settings *);

/* The connection failed or was lost: the name it was opened by, if any, may lead elsewhere now. */
void wire_doubt(const struct link *);

/* Begins to connect to link->host, or to link->address when it is set. WIRE_AGAIN: under way. */
enum wire_result wire_open(struct link *, const struct wire_settings *);
/* Takes over a connected or connecting socket. WIRE_AGAIN: with TLS, it is to be connected once
 * more in that sense; or WIRE_LOST, and the socket is the link's all the same. */
enum wire_result wire_adopt(struct link *, int fd, const struct wire_settings *);
/* What became of connect(), and of the handshake: WIRE_AGAIN while they are under way. */
enum wire_result wire_connected(struct link *);
enum wire_result wire_flush(struct link *);
/* Reads what is there into link->in; with `wait`, at least one byte or until the
 * receive timeout, which is WIRE_AGAIN. */
enum wire_result wire_fill(struct link *, bool wait);
/* A system call on the link's socket, made elsewhere, failed with that error, which the kernel
 * tells once. */
void wire_note_error(struct link *, int error);
/* Closes the socket, unless the number means something else by now. */
void wire_close(struct link *);
/* The same, but the socket is somebody else's to close. */
void wire_leave(struct link *);
/* For a link that was not used for a second or more: false when the program closed
 * its descriptor behind our back, or the server its end. */
bool wire_is_usable(struct link *);

/* What the link is to be waited for: POLLIN, POLLOUT, which epoll calls by the same numbers. */
static inline uint32_t wire_wants(const struct link *link)
{
    if (link->state == LINK_CONNECTING)
        return link->tls != NULL ? (uint32_t)link->tls_wants : POLLOUT;
    return POLLIN | (link_unflushed(link) ? POLLOUT : 0) | (uint32_t)link->tls_wants;
}

void wire_set_option(struct link *, const struct wire_option *);
/* As long as the settings say. */
void wire_set_receive_timeout(struct link *, const struct wire_settings *);

/* A descriptor number that leaves the low ones to the program: it may use
 * select(). Close-on-exec. Closes `fd`; returns it where there is no room. */
int wire_move_high(int fd);

#endif
