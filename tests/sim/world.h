/* The world around sessions: their sockets, their clock, the keeper, the application, and the
 * model cluster. Everything that happens is one step, chosen by a generator of random numbers
 * or by a test; nothing runs by itself. What the application was answered, and what the servers
 * executed, is checked when the world ends. */
#ifndef REDISROUTE_TESTS_SIM_WORLD_H
#define REDISROUTE_TESTS_SIM_WORLD_H

#include "model.h"
#include "session/move.h"

#include <stdbool.h>
#include <stdint.h>

enum { WORLD_SESSIONS_MAX = 2, WORLD_REQUEST_KEYS = 6, WORLD_CONNECT_MS = 1000 };

enum asked_kind {
    ASKED_SET,
    ASKED_GET,
    ASKED_INCR,
    ASKED_DEL,
    ASKED_MGET,
    ASKED_MSET,
    ASKED_PING,
    ASKED_BLPOP,
    ASKED_SETNAME,
    ASKED_DBSIZE,
    ASKED_WATCH,
    ASKED_MULTI,
    ASKED_QUEUED, /* INCR, between MULTI and EXEC */
    ASKED_INSIDE, /* PING there */
    ASKED_EXEC,
    ASKED_DISCARD,
    ASKED_KINDS,
};

/* One command of the application. */
struct asked {
    enum asked_kind kind;
    int session;
    int keys;
    int name; /* of SETNAME */
    uint32_t tags[WORLD_REQUEST_KEYS];
    uint8_t slots[WORLD_REQUEST_KEYS]; /* of the model */
    uint8_t index[WORLD_REQUEST_KEYS];
    int begin; /* of what is in a transaction: its MULTI, and … */
    int end;   /* … its EXEC or DISCARD, among all that was asked; else 0 */
    int watch; /* of EXEC: the WATCH before it, or -1 */
    bool done;
    int64_t asked_ms;
    int64_t done_ms;
    char *reply;
    size_t reply_length;
};

/* One connection, both ends of it. */
struct conn {
    struct link *link; /* NULL: our end is closed */
    int session;
    int node;
    bool connecting;
    bool hangs;         /* connecting never ends */
    bool dead;          /* its server died, even if it is back by now */
    bool closed;        /* the server's end */
    bool hangs_up;      /* the server closes when all it said has arrived */
    uint64_t start;     /* position of the link's stream where this connection began */
    struct buffer sent; /* all that was flushed */
    size_t parsed;      /* of it: whole commands that were looked at */
    size_t received;    /* by the server */
    size_t executed;
    struct buffer back; /* all that the server said */
    size_t delivered;   /* of it */
    struct model_client client;
};

struct sim {
    struct session *session;
    struct buffer unsent;   /* what the application has yet to write */
    struct buffer answered; /* what it has read, up to the last whole reply */
    int *requests;          /* indices of the world's, in order */
    int asked;
    int done;
    int last_blocking; /* -1: none */
};

struct world {
    uint64_t seed;
    uint64_t random;
    struct model model;
    struct sim sims[WORLD_SESSIONS_MAX];
    int sim_count;
    struct cluster *cluster; /* of its own; NULL: discovered */
    struct asked *asked;
    int asked_count;
    struct conn **conns;
    int conn_count;
    struct argv argv;
    uint32_t evidence_seen;
    int64_t refresh_at_ms;  /* -1: none is due */
    int64_t refresh_end_ms; /* -1: none is under way */
    uint64_t refresh_begun;
    struct topology *refresh_view;
    bool settled[MODEL_SLOTS]; /* in that view: not migrating */
    int64_t failover_timeout_ms;
    /* What may happen. */
    bool hazard;   /* one did so at another moment: order is not promised */
    bool strict;   /* nodes begin to serve slots only when world_quiet says so */
    bool migrated; /* a slot did */
    bool rude;     /* servers may refuse clients, and talk nonsense */
    bool polite;   /* … but not any more */
    bool discovers;
    bool broken;    /* memory ran out: nothing is promised but that nothing breaks */
    bool deaf;      /* servers hang up on whoever connects */
    bool unbound;   /* slots may be nobody's */
    bool in_pieces; /* what moves, moves in pieces of a random size */
    uint64_t moves;   /* of sessions */
    uint64_t volleys; /* pipelines that took the short way */
    bool express;   /* single commands may take the short way */
    enum read_policy policy; /* of the sessions, in the beginning */
    bool policies; /* … and they change */
    bool trace;
};

extern int64_t world_now_ms;
/* Of the worlds that are made next. */
extern enum read_policy world_policy;
extern bool world_policies;

uint32_t world_random(struct world *, uint32_t below);
bool world_chance(struct world *, uint32_t percent);

void world_init(struct world *, uint64_t seed, int shards, int sessions, bool discovers,
                int64_t failover_timeout_ms);
void world_deinit(struct world *);

/* The application asks. Its bytes are written by world_write, in pieces if so wanted. */
struct asked *world_ask(struct world *, int session, enum asked_kind, int keys, const int *slots,
                        const int *index);
/* WATCH perhaps, MULTI, INCRs of one slot, EXEC or DISCARD. */
void world_ask_transaction(struct world *, int session);
void world_ask_random(struct world *, int session, bool blocking);
/* Simple commands in a row, written at once. */
void world_pipeline(struct world *, int session);
void world_write(struct world *, int session, size_t most);
void world_read(struct world *, int session, size_t most);

/* One thing that can happen on a connection. False: nothing can. */
bool world_move(struct world *, struct conn *);
void world_flush(struct world *, struct conn *);
void world_orders(struct world *);
/* The connection is lost; `executes`: what the server has received already still runs. */
void world_lose(struct world *, struct conn *, int why, bool executes);
void world_advance(struct world *, int64_t ms);
/* Moves everything that can move, without any time. */
void world_settle(struct world *);
/* … and then time, to the next moment that is due, until all is answered. False: not by then. */
bool world_finish(struct world *, int64_t within_ms);
bool world_all_answered(const struct world *);
/* All sessions have ended. */
bool world_is_over(const struct world *);

/* The configuration leads the session to another cluster. */
void world_lead_away(struct world *, int session);

/* Events of the cluster. */

/* Is nothing of the slot on the wire to this node behind another command of it that is still
 * unanswered? Else a node that begins to serve the slot now executes the later one first, if
 * it has refused the earlier: nobody can promise an order then. */
bool world_quiet(const struct world *, int slot, int node);
bool world_quiet_node(const struct world *, int node);
void world_kill(struct world *, int node);
void world_heal(struct world *);

/* Fails the test, and says with which seed. */
#define world_fail(w, ...)                                                                         \
    do {                                                                                           \
        print_error("seed %llu: ", (unsigned long long)(w)->seed);                                 \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

/* Fails the test when a rule was broken. */
void world_check(struct world *);

#endif
