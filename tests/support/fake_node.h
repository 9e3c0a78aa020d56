/* A scripted server, for what a real one does not do on demand: redirect loops, half replies,
 * silence, garbage. It runs on a thread of its own and speaks RESP on a free loopback port.
 *
 *     the test --- fake_node_on("GET", …) ---> rules      +--> connection 1
 *                                                |        |
 *     client ===== commands =====> thread -- looks up ----+--> connection 2
 *
 * A rule says what is answered to a command; without one the node knows enough (CLUSTER SLOTS,
 * PING, READONLY, ASKING, INFO, …) to be taken for a healthy master. */
#ifndef SUPPORT_FAKE_NODE_H
#define SUPPORT_FAKE_NODE_H

#include <stdbool.h>
#include <stddef.h>

struct fake_node;

enum fake_action {
    FAKE_ANSWER,        /* the reply */
    FAKE_ANSWER_SPLIT,  /* the reply in two pieces, cut after `split` bytes, the second one late */
    FAKE_ANSWER_BYTES,  /* the reply byte for byte, each in a packet of its own */
    FAKE_SILENCE,       /* nothing, ever */
    FAKE_CLOSE,         /* the reply (may be empty or half of one), then an orderly close */
    FAKE_RESET,         /* the reply, then a TCP reset */
    FAKE_RELEASE_LATER, /* the reply, but not before fake_node_release() */
};

struct fake_rule {
    enum fake_action action;
    const char *reply; /* RESP text; kept by pointer, null is none */
    size_t length;     /* of the reply when it holds NULs; 0: strlen */
    int split;         /* FAKE_ANSWER_SPLIT */
    int times;         /* after so many uses the rule is gone; 0: it stays */
};

struct fake_node *fake_node_start(void);
void fake_node_stop(struct fake_node *node);

int fake_node_port(const struct fake_node *node);

/* What the node does with a command (upper case, "GET", or with the subcommand, "CLUSTER SLOTS";
 * "*" is any command without a rule). Rules for one name are used up in the order they were given.
 */
void fake_node_on(struct fake_node *node, const char *command, struct fake_rule rule);

/* The most used rule: that reply from now on. */
void fake_node_answer(struct fake_node *node, const char *command, const char *reply);

/* What CLUSTER SLOTS answers: RESP text, kept by pointer. A node that was told nothing says that
 * it owns every slot itself. */
void fake_node_slots(struct fake_node *node, const char *reply);

/* Sends everything that FAKE_RELEASE_LATER holds back. */
void fake_node_release(struct fake_node *node);

/* No new connections: the port is closed, the open ones live on. */
void fake_node_close_port(struct fake_node *node);

/* Resets every open connection. */
void fake_node_reset_all(struct fake_node *node);

/* --- what it saw --- */

/* Connections accepted so far, and how many of them are open. */
int fake_node_accepted(struct fake_node *node);
int fake_node_open(struct fake_node *node);

/* How often a command came, named as for fake_node_on. */
int fake_node_seen(struct fake_node *node, const char *command);

/* Every command so far, a line each, its words separated by spaces; freed by the caller. */
char *fake_node_log(struct fake_node *node);

/* --- CLUSTER SLOTS replies --- */

struct fake_range {
    int first, last; /* slots */
    int port;        /* of the master */
    int replica;     /* port of a replica, 0: none */
};

/* RESP text, freed by the caller. Node ids are made from the ports. */
char *fake_slots_reply(const struct fake_range *ranges, int count);

#endif
