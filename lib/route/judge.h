/* The judge: what a command of a program that uses one server would meet on a cluster.
 *
 * It hears what one connection says, in order, and remembers what its verdicts need: an open MULTI,
 * what is watched, the database. What the server answers it does not hear: a command that fails on
 * one server counts as what it would have been. */
#ifndef REDISROUTE_ROUTE_JUDGE_H
#define REDISROUTE_ROUTE_JUDGE_H

#include "base/bytes.h"
#include "route/audit.h"

#include <stdbool.h>
#include <stdint.h>

/* A key that others have to share a slot with. */
struct judge_key {
    bool set;
    uint16_t slot;
    char text[AUDIT_ESCAPED];
};

/* What is known of a connection. All zero: it was just made. */
struct judge {
    bool in_transaction;
    bool broken;  /* the transaction, by `key` and `broken_by` */
    bool refused; /* … by a command that cannot be in one */
    int database;
    struct judge_key guard; /* of WATCH */
    struct judge_key key;   /* of the open transaction */
    char broken_by[AUDIT_ESCAPED];
};

/* The words of a whole command; argc > 0. The entry counts one. */
void judge_command(struct judge *, const struct bytes *argv, int argc, struct audit_entry *);
/* Bytes that are no command. */
void judge_unreadable(struct audit_entry *);

#endif
