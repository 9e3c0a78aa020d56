/* What is mirrored, and the queue of it: sessions put copies of commands in, the keeper takes them
 * out and sends them. Nobody waits for anybody: what finds no room is dropped and counted.
 *
 *   session ──mirror_push──> queue ──mirror_take──> keeper ──> targets
 *
 * The queue keeps the order in which commands were issued, over all sessions of the process.
 * Thread-safe. */
#ifndef REDISROUTE_ROUTE_MIRROR_H
#define REDISROUTE_ROUTE_MIRROR_H

#include "base/buffer.h"
#include "config/config.h"
#include "route/command.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MIRROR_FRACTION_WHOLE = 1000000, MIRROR_TARGETS_MOST = 32 };

/* In the queue each entry is one of these and then its bytes: a command, or a transaction. */
struct mirror_entry {
    uint32_t length;
    uint32_t commands;
    uint32_t targets; /* a bit each */
};

enum mirror_count {
    MIRROR_QUEUED,
    MIRROR_SENT,
    MIRROR_REFUSED,          /* the target's reply was an error */
    MIRROR_DROPPED_FULL,     /* the queue, or that of a target, had no room */
    MIRROR_DROPPED_BLOCKING, /* a command that waits (BLPOP): it would hold up all behind it */
    MIRROR_DROPPED_DATABASE, /* issued while another database than 0 was selected */
    MIRROR_DROPPED_ABORTED,  /* of a transaction that was not executed, or may not have been */
    MIRROR_DROPPED_LOST,     /* under way to a target when that was given up */
    MIRROR_DROPPED_LOCKED,   /* the target wants a password */
    MIRROR_DROPPED_EXIT,     /* not sent yet when the process had waited long enough at its end */
    MIRROR_COUNTS
};

/* Nonzero while some listener has a mirror. */
extern _Atomic unsigned mirror_mode;

static inline bool mirror_is_on(void)
{
    return __builtin_expect(atomic_load_explicit(&mirror_mode, memory_order_relaxed) != 0, 0);
}

/* From now on. `wake` is called, with no lock held, when there is something to take for a keeper
 * that sleeps. */
void mirror_turn_on(size_t bytes_most, void (*wake)(void));
void mirror_turn_off(void);

/* Whether a command of that row (NULL: unknown) is mirrored: what changes data, or may (scripts,
 * PUBLISH, commands nobody knows), and what reads it unless that is excluded. Never what is about
 * the connection or the server. */
bool mirror_is_write(const struct command *);
bool mirror_wants(const struct config_mirror *, const struct command *);
/* Throws the dice for its fraction. */
bool mirror_is_chosen(const struct config_mirror *);

/* The bit of a mirror's target: of all mirrors that name the same cluster, the same, for as long as
 * the process lives. 0: there are MIRROR_TARGETS_MOST others. */
uint32_t mirror_target(struct config_mirror *);
/* Where a target is; by number, up to the first that is NULL. */
const struct config_cluster *mirror_target_cluster(int target);

void mirror_push(const char *bytes, size_t length, uint32_t commands, uint32_t targets);

/* Swaps the queue's content for the empty buffer `into`. When there is none, false, and the next
 * mirror_push wakes the keeper if `sleeping`. */
bool mirror_take(struct buffer *into, bool sleeping);
/* The keeper was woken and has not taken since: it is not to wait for its time. */
bool mirror_is_urgent(void);
/* Wakes it. */
void mirror_hurry(void);

void mirror_count(enum mirror_count, uint64_t how_many);

/* Entries that were taken and are not finished with; the queue's own are counted besides. */
void mirror_set_outstanding(uint64_t);
bool mirror_is_idle(void);

/* Held by the thread that forks; in the child the queue is empty. */
void mirror_lock_all(void);
void mirror_unlock_all(void);
void mirror_forget_all(void);

#endif
