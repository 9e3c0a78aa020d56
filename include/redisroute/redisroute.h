/* redisroute: hiredis for a Redis Cluster.
 *
 * A program needs nothing of this header to be routed: redisConnect() and
 * redisAsyncConnect() of <hiredis/hiredis.h> do it. It is for programs that want
 * to know what they run on, and for those that speak the protocol themselves and
 * want a connection: bindings of other languages, proxies. Names grow only: what
 * is here stays. */
#ifndef REDISROUTE_REDISROUTE_H
#define REDISROUTE_REDISROUTE_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define REDISROUTE_VERSION_MAJOR 0
#define REDISROUTE_VERSION_MINOR 1
#define REDISROUTE_VERSION_PATCH 0
#define REDISROUTE_VERSION "0.1.0"

/* The version of the library that is loaded, as "MAJOR.MINOR.PATCH". A constant:
 * not to be freed. Any thread, any time. No errors. */
const char *redisRouteVersion(void);

/* The version of the hiredis inside, as "MAJOR.MINOR.PATCH": the library fits
 * programs that were compiled for this one and no other. A constant. Any thread. */
const char *redisRouteHiredisVersion(void);

/* --- read policies --- */

/* Which nodes answer commands that only read. A read follows an unanswered write to the same slot
 * to the master whatever the policy says, and so do reads in a transaction. */
enum redisRouteReadPolicy {
    REDISROUTE_READ_MASTER = 0,         /* the master */
    REDISROUTE_READ_PREFER_MASTER = 1,  /* the master; a replica while it cannot be reached */
    REDISROUTE_READ_REPLICA = 2,        /* a replica; an error reply when none can be read */
    REDISROUTE_READ_PREFER_REPLICA = 3, /* a replica; the master when none can be read */
    REDISROUTE_READ_ANY = 4,            /* all nodes alike */
    REDISROUTE_READ_AZ_AFFINITY = 5,    /* a replica of our zone, another, the master */
    REDISROUTE_READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY = 6, /* a replica of our zone, the master if
                                                             in our zone, another replica */
};

/* --- a session: the connection to one server that a cluster is made to look like ---
 *
 * Commands go in as bytes of the Redis protocol, replies come out as bytes, in the
 * order of the commands, RESP2 or after HELLO 3 RESP3. Commands and replies may be
 * cut anywhere. Of hiredis nothing is needed.
 *
 * Threads: a session is used by one thread at a time, any thread; different
 * sessions know nothing of each other. Fork: a session may be used on in the child
 * or in the parent, not in both; a child that closes one it inherited leaves the
 * parent's as it is.
 * Errors: functions that return -1 set errno, and redisRouteErrorText says more. A
 * call that succeeds leaves errno as it was. No signal is raised (SIGPIPE). */
typedef struct redisRouteSession redisRouteSession;

/* Zero means the default everywhere: {.size = sizeof(redisRouteOptions)} is the same
 * as no options at all. */
typedef struct redisRouteOptions {
    size_t size;            /* of this structure as the caller knows it: it grows */
    int connect_timeout_ms; /* for the connection to the dialled node; 0: the kernel's own limit */
    const char *read_policy; /* "MASTER", "PREFER_REPLICA" … as in the environment, in any case;
                                NULL: the configuration's */
    /* TLS on every connection of the session. Nonzero: as the following says, and nothing of what
     * the configuration says of TLS; 0: as the configuration says. The files are read here. */
    int tls;
    const char *tls_ca;          /* a file of PEM certificates, or a folder; NULL: the system's */
    const char *tls_certificate; /* files of the client's certificate and its key; NULL: none */
    const char *tls_key;
    const char *tls_server_name; /* that certificates have to be for; NULL: the host that was given,
                                    or the node's own address or name */
    int tls_no_verify;           /* nonzero: servers are not asked who they are */
    const char *descriptor; /* what redisRouteFd gives: "epoll", or "socket", which costs more, for
                             * programs that do to it what only a socket takes; NULL: as the
                             * configuration says, which by itself says epoll */
} redisRouteOptions;

/* Begins to connect to any node of a cluster, or to a server that is none, which
 * then is spoken to as it is. `host` is an IPv4 or IPv6 address or a name.
 *
 * An address: nothing blocks, and redisRouteConnected says what became of it. A
 * name is looked up here and now, which may block; when it has several addresses,
 * they are tried one after the other until one accepts, each for the connect
 * timeout. Commands may be written before the connection is up.
 *
 * The caller owns the session, and ends it with redisRouteClose. `options` may be
 * NULL and is not kept. NULL and errno: EINVAL for a host, port or options that
 * cannot be; EHOSTUNREACH for a name that is not found; what connect() and socket()
 * give; ENOMEM. redisRouteErrorText(NULL) tells the calling thread more. */
redisRouteSession *redisRouteOpen(const char *host, int port, const redisRouteOptions *options);

/* Whether the first connection is up: 1 yes, 0 not decided yet, -1 and errno it
 * failed (ECONNREFUSED, ETIMEDOUT …): the session is of no use then but to be closed.
 * Does not block. */
int redisRouteConnected(redisRouteSession *session);

/* A descriptor for poll, select, epoll or any event loop, constant for the session's
 * life and close-on-exec. It is readable when redisRouteRead should be called (replies
 * have come, the connection is decided, or there is work to do inside), and never
 * writable: writing needs no waiting. (With descriptor "socket" it is one end of a
 * socket pair, and writable as soon as the connection is decided.) To be watched level-triggered,
 * or else to be read until EAGAIN. Not to be read, written or closed by the caller. */
int redisRouteFd(const redisRouteSession *session);

/* Takes all the bytes, never some, and never blocks: what the kernel does not take is
 * kept, and sent while redisRouteRead or redisRouteWait are called. Bytes that end
 * inside a command are kept until its rest comes. The bytes are copied where needed
 * and remain the caller's.
 * 0, or -1 and errno: the session has ended (EPIPE, ECONNRESET …), or ENOMEM. */
int redisRouteWrite(redisRouteSession *session, const void *bytes, size_t length);

/* redisRouteWrite, and of the commands that begin in these bytes those that only read go where
 * `policy` says, whatever the session's own is; nothing changes for what is written behind them.
 * Errors are those of redisRouteWrite, and EINVAL: there is no such policy, and nothing was taken.
 */
int redisRouteWriteReading(redisRouteSession *session, const void *bytes, size_t length,
                           enum redisRouteReadPolicy policy);

/* About how many bytes of commands the session keeps because they are not sent or not answered
 * yet: who takes commands from others stops to do so when it grows. On a cluster 0 says that every
 * command is answered and every reply is read (messages of subscriptions are no replies); a server
 * that is no cluster is spoken to as it is, and nobody counts. Any time. */
size_t redisRouteKept(const redisRouteSession *session);

/* Moves up to `size` bytes of replies to the caller's memory, and does the session's
 * work. Never blocks. The number of bytes; 0 when the session ended in order (after
 * QUIT, or the server of a plain session hung up); -1 and errno: EAGAIN when there is
 * nothing now, else why the session has ended. */
ssize_t redisRouteRead(redisRouteSession *session, void *to, size_t size);

/* The same, but waits for the first byte, up to timeout_ms milliseconds (-1: without
 * limit), and fails with EAGAIN only when they have passed. Signal handlers run, and
 * end the wait with EINTR: call again to go on. Replies that come after a time-out
 * are still the next ones to be read: who does not want them closes the session. */
ssize_t redisRouteReadWait(redisRouteSession *session, void *to, size_t size, int timeout_ms);

/* Waits, in the same way, until redisRouteRead has something to say or the first
 * connection is decided. 1, or 0 when the time has passed, or -1 and EINTR. */
int redisRouteWait(redisRouteSession *session, int timeout_ms);

/* The one function that another thread may call while the session is in use: a
 * redisRouteReadWait or redisRouteWait that is under way, or else the next one, ends
 * with -1 and ECANCELED; the session is as it was. No errors. */
void redisRouteInterrupt(redisRouteSession *session);

/* Ends the session and frees it. Commands that were written before are sent, as by
 * the kernel after close(): that takes half a second at most, and mostly nothing.
 * NULL is allowed. errno is left alone. */
void redisRouteClose(redisRouteSession *session);

/* Why the last call on this session failed, in English; with NULL, why the calling
 * thread's last redisRouteOpen failed. Never NULL; empty when nothing failed. Valid
 * until the next call on the session (with NULL: on this thread). */
const char *redisRouteErrorText(const redisRouteSession *session);

/* --- TLS of hiredis' own --- */

struct redisContext;
struct ssl_st;

/* What redisInitiateSSL() and redisInitiateSSLWithContext() of hiredis 1.x call, when libredisroute_ssl
 * stands in for libhiredis_ssl; and what a program with an older hiredis may call. `ssl` is an SSL of
 * OpenSSL 3 that was made and not used: certificate, authorities, server name and verification as the
 * program wants them. Every connection of the context is opened like it. To be called before the first
 * command: nothing is sent before. A reference to `ssl` is kept; it is never connected itself.
 *
 * 1: the connection to the dialled server is up, or, of a non-blocking context, it will be, and the
 * connect callback says what became of it. 0: the context is not routed, and nothing was done.
 * -1: failed, and c->err and c->errstr say why. */
int redisRouteInitiateSSL(struct redisContext *, struct ssl_st *ssl);

/* --- read policies of contexts --- */

/* The policy of all commands that are issued on this context from here on: also of those that
 * redisAppendCommand() appends behind others that are not sent yet. For an asynchronous context
 * give `&ac->c`. Nothing happens on a server that is no cluster. To be called by the thread that
 * uses the context. 0 (REDIS_OK); -1 (REDIS_ERR): no such policy, or out of memory, and nothing has
 * changed. The context is usable either way. */
int redisRouteSetReadPolicy(struct redisContext *, enum redisRouteReadPolicy);

/* The same for the next command only. */
int redisRouteNextReadPolicy(struct redisContext *, enum redisRouteReadPolicy);

/* --- configuration --- */

/* Reads files as REDISROUTE_CONFIG names them, separated by ':' (NULL: as it does name them), and
 * says whether they would be taken; nothing changes. doc/configuration.md says what is in them.
 *
 * 0: they would. -1: they are refused, whole; `why`, if it is not NULL, then has one line of up to
 * `size` bytes with the zero: file, line, column, field, what is wrong and what would be right. Any
 * thread, any time. */
int redisRouteCheckConfig(const char *files, char *why, size_t size);

/* --- events --- */

enum redisRouteEvent {
    REDISROUTE_EVENT_GAP = 1,        /* a subscription, or MONITOR, is interrupted: its node was lost,
                                        or its slot moved. What is published now is missed */
    REDISROUTE_EVENT_RESUMED = 2,    /* every subscription of the context is in force again */
    REDISROUTE_EVENT_LINK_LOST = 3,  /* a connection to a node broke, or was not accepted */
    REDISROUTE_EVENT_REDIRECTED = 4, /* a node sent a command elsewhere (MOVED, ASK) */
    REDISROUTE_EVENT_FAILOVER = 5,   /* a replica has become a master */
    REDISROUTE_EVENT_TOPOLOGY = 6,   /* nodes, or their slots, are not what they were */
};

/* Is told what happens to a context or session: `fd` is its c->fd, or redisRouteFd(); `text` says it
 * in one line of English, with the node, and with the channel that an interruption is about. It is
 * valid during the call only. More kinds may come; ignore those you do not know.
 *
 * It is called by the thread that uses the context, from inside of the call that finds it out
 * (redisCommand, redisGetReply, a callback of the event loop, redisRouteRead …), possibly while a
 * reply is on its way. It may read and set the program's own data; it must not call hiredis or this
 * library with any context or session, must not free one, and should return soon. With several
 * threads it is called by several at a time. What the library does for itself in the background (the
 * mirror) is not reported. */
typedef void (*redisRouteEventFn)(void *data, enum redisRouteEvent event, int fd, const char *text);

/* Who is told, in the whole process, from now on; NULL: nobody. Any thread, any time; a call of the
 * function before that is under way goes on. 0, or -1: out of memory, and nothing has changed. */
int redisRouteSetEventFn(redisRouteEventFn each, void *data);

/* --- statistics --- */

/* Numbers of the whole process, which only grow. All these functions may be called by any thread
 * at any time; they take no lock that a command waits for. doc/statistics.md lists the names.
 *
 * What is rare is always counted: redirections, topology refreshes, connections, retries, waits,
 * the mirror. Commands are counted by cluster and name, with a histogram of their latency, when
 * REDISROUTE_COMMAND_STATS=1 or this function says so: 1 on, 0 off; what was counted stays. The
 * first time it measures the processor's clock for a millisecond. */
void redisRouteSetCommandStats(int on);

/* Is told one number: `name` and `labels` are as in Prometheus' text format (`kind="moved"`;
 * empty: none), and valid during the call only. Not 0: that was enough. */
typedef int (*redisRouteStatFn)(void *data, const char *name, const char *labels,
                                unsigned long long value);

/* Calls `each` for every number. What the last call of it gave back; -1: `each` is NULL. */
int redisRouteEachStat(redisRouteStatFn each, void *data);

/* Writes all numbers as Prometheus' text exposition format, up to `size` bytes with the zero at
 * the end, as snprintf does. Gives back the length of the whole text without the zero; 0: out of
 * memory. `to` may be NULL if `size` is 0. */
size_t redisRouteStatsText(char *to, size_t size);

#ifdef __cplusplus
}
#endif

#endif
