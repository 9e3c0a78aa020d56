/* A front: a session whose keys have several clusters, by their prefixes.
 *
 *   application ─> front ─┬─ link ═ inner session ─ links ─> servers of one cluster
 *                         ├─ link ═ inner session ─ links ─> servers of another
 *                         └─ …
 *
 * It is a session like any other, but that what is a node to others is a cluster to it (see
 * route/upstream.h), and that at the other end of its links are sessions and not servers: order,
 * splitting, merging, transactions and subscriptions are the same code. A key's slot is the number
 * of its upstream. An error that an inner session answers is an answer: all that can be done about
 * it was done there.
 *
 * Inner sessions are made by the owner of the front, which has addresses and sockets, when a link
 * is to be opened, and belong to the front. They are chained behind it: see session.next. */
#ifndef REDISROUTE_SESSION_FRONT_H
#define REDISROUTE_SESSION_FRONT_H

#include "route/upstream.h"
#include "session/plan.h"

/* The policy of what is planned, as long as the application has not said one. */
#define FRONT_POLICY_UNSAID READ_POLICIES

struct front {
    bool connected;    /* some server has been reached */
    int connect_error; /* why none was, when that ended it */
    uint16_t slot;     /* these two: of the keys that front_transaction found; SLOT_NONE: none */
    bool crosses;      /* they are in several */
};

static inline const struct upstreams *front_upstreams(const struct session *s)
{
    return s->topology->upstreams;
}

/* The session, just made, becomes a front. False: out of memory. */
bool front_begin(struct session *, struct cluster *upstreams);
void front_destroy(struct session *);
/* Takes the routes of a newer configuration. */
void front_configure(struct session *);

/* The inner session is the other end of the front's link from now on, and the front's own. */
void front_attach(struct session *front, struct link *, struct session *inner);
/* The session at the other end of the link ends here: it is the caller's again, and what became of
 * what was sent there is noted in the link. `why` is what session_link_lost is to be told. */
struct session *front_detach(struct session *front, struct link *, int *why);
/* Moves commands to inner sessions and their replies back. False: there was nothing to move. */
bool front_exchange(struct session *);

/* Plans a line, by the routes of its keys. False: it goes the way of its class. */
bool front_plan(struct session *, const struct line *);
void front_transaction(struct session *, const struct line *);
/* The slots of the line that front_transaction plans. */
bool front_slot_of_line(const struct session *, uint16_t *slot);
/* Said by the program of the part's command: the inner session is told. */
void front_pass_policy(struct session *, struct link *, const struct part *);

/* The upstream takes part in what all nodes, or all shards, are asked. */
bool front_asks(const struct session *, uint16_t node, bool shards);
void front_scan_answered(struct session *, struct request *);

/* The first of what session_due, or one of its kind, says of the inner sessions. */
int64_t front_due(const struct session *, int64_t (*due_of)(const struct session *));
void front_advance(struct session *);

#endif
