/* Feeds: links over which servers speak unasked, beside those that commands go over. In RESP2 a
 * connection that is subscribed, or monitors, is of no use for anything else.
 *
 *   SUBSCRIBE ──> topics ──(settle: who lacks a place?)──> feed ──> server
 *                                                            │
 *   order <── in place, behind complete replies <── messages ┘
 *
 * Which feeds there are, and why:
 *
 *   primary    one master. A message that is published anywhere reaches every node, so one is
 *              enough, and only its copy of a message is delivered.
 *   notifying  every other master, for topics that keyspace notifications may match: those stay
 *              at the server where the key is. Nothing else is delivered from there.
 *   shard      the owner of a shard channel's slot.
 *   monitor    every master.
 *
 * A feed that is lost takes its places in topics with it. What lacks a place gets a new one at the
 * next settling, and the confirmations of such repetitions stay here. */
#ifndef REDISROUTE_SESSION_FEED_H
#define REDISROUTE_SESSION_FEED_H

#include "session/request.h"
#include "session/topic.h"

enum feed_kind { FEED_MESSAGES, FEED_MONITOR };

struct feed {
    struct feed *next;
    struct link *link;
    enum feed_kind kind;
    uint64_t asked;         /* names in subscriptions and their opposites, on this connection */
    uint64_t answered;      /* of them */
    struct buffer commands; /* names (uint32_t) of each command that is not answered whole */
    bool monitors;          /* MONITOR was taken */
};

/* What a session allocates with the first subscription, or MONITOR. */
struct feeds {
    struct topics topics;
    struct feed *list;
    struct feed *primary;
    bool monitoring;
    bool unsettled; /* topics may lack a place */
    bool restless;  /* something is missing and will be tried again soon */
    /* The application's SUBSCRIBE or MONITOR that servers have yet to take, its reply when they
     * have, and what is new with it. It is a barrier: there is one at a time. */
    struct request *asked;
    int64_t asked_ms;
    struct buffer asked_reply;
    struct topic **fresh;
    size_t fresh_count;
    int64_t tick_ms;  /* the next look */
    int64_t settled_ms; /* the last one at the cluster */
    int64_t gap_ms;   /* since when messages may be missed; 0: they are not */
};

/* The session's, made on first use. NULL: out of memory, the session has ended. */
struct feeds *feeds_of(struct session *);
void feeds_destroy(struct session *);
/* Forgets all subscriptions and the monitor, and closes the feeds. */
void feeds_reset(struct session *);
/* Forgets the feeds, and keeps what the application is subscribed to, … */
void feeds_leave(struct session *);
/* … which is made again at the cluster that the session has now. */
void feeds_arrived(struct session *);

/* The feed of that kind to a node of the snapshot, made when there is none; not opened. NULL: out
 * of memory, the session has ended. */
struct feed *feed_of_node(struct session *, enum feed_kind, uint16_t node);
/* There already, or NULL. */
struct feed *feed_find(const struct session *, enum feed_kind, uint16_t node);
/* Wants a connection, unless it is too early for another attempt. */
void feed_open(struct session *, struct feed *);
void feed_close(struct session *, struct feed *);
bool feed_is_up(const struct feed *);
/* Refused or lost, and not to be tried again yet. */
bool feed_is_down(const struct session *, const struct feed *);
/* To a master that owns slots. */
bool feed_is_masters(const struct session *, const struct feed *);
bool node_is_masters(const struct session *, uint16_t node);
/* Sends a command about `count` names. False: out of memory, the session has ended. */
bool feed_ask(struct session *, struct feed *, const char *word, const struct bytes *names,
              size_t count);
/* One name, or all names of the oldest command, are answered. How many. */
uint32_t feed_answered(struct feed *, bool whole);

/* The request that waited is answered with what was prepared, or with other bytes. */
void feeds_complete(struct session *);
void feeds_fail(struct session *, const char *reply, size_t length);

/* Opens what is needed and not there, and subscribes what has no place. */
void feeds_settle(struct session *);
/* Whether nothing is missed any more. */
void feeds_look_at_gap(struct session *);

/* What happens to feeds' links. */
void feeds_opened(struct session *, struct link *);
void feeds_lost(struct session *, struct link *, int why);
void feeds_refused(struct session *, const char *reply, size_t length);
void feeds_received(struct session *, struct link *, const char *reply, size_t length,
                    uint64_t position);
/* … to the snapshot, and to the time. */
void feeds_adopted(struct session *);
int64_t feeds_due(const struct session *);
void feeds_advance(struct session *);

/* subscribe.c and monitor.c, each about its own feeds. */
void subscribe_settle(struct session *);
void subscribe_received(struct session *, struct feed *, const char *reply, size_t length,
                        uint64_t position);
/* `why` is told to the program. */
void subscribe_lost(struct session *, struct feed *, const char *why);
/* Every topic is subscribed to where it belongs, and a server has said so. */
bool subscribe_is_in_force(const struct session *);
void subscribe_guard(struct session *);
void monitor_settle(struct session *);
void monitor_received(struct session *, struct feed *, const char *reply, size_t length,
                      uint64_t position);

#endif
