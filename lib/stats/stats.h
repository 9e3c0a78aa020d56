/* What happened, counted: for the whole process, and, when asked for, by cluster and command.
 *
 * Counting takes no lock and never waits; numbers only grow. Any thread. */
#ifndef REDISROUTE_STATS_STATS_H
#define REDISROUTE_STATS_STATS_H

#include "base/buffer.h"
#include "stats/histogram.h"
#include "stats/ticks.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stats_counter {
    STATS_MOVED, /* these ten: what servers said to commands */
    STATS_ASK,
    STATS_TRYAGAIN,
    STATS_CLUSTERDOWN,
    STATS_UNBOUND,
    STATS_LOADING,
    STATS_MASTERDOWN,
    STATS_READONLY,
    STATS_UNBLOCKED,
    STATS_NOSCRIPT,
    STATS_REFRESHES,        /* of topologies, ended well, … */
    STATS_REFRESHES_FAILED, /* … and not: no node answered */
    STATS_LINKS_OPENED,
    STATS_LINKS_LOST,    /* of those that were open */
    STATS_LINKS_FAILED,  /* that could not be opened */
    STATS_LINKS_DELAYED, /* that were to be opened anew, and waited for a token of their node */
    STATS_RETRIES,       /* commands sent once more: refused, or on a connection that was lost */
    STATS_WAITS,         /* … after a pause */
    STATS_CONFIG_IN_FORCE, /* versions of the configuration that were put in force, … */
    STATS_CONFIG_REFUSED,  /* … and that were not */
    STATS_MIRROR_QUEUED, /* in the order of enum mirror_count */
    STATS_MIRROR_SENT,
    STATS_MIRROR_REFUSED,
    STATS_MIRROR_DROPPED_FULL,
    STATS_MIRROR_DROPPED_BLOCKING,
    STATS_MIRROR_DROPPED_DATABASE,
    STATS_MIRROR_DROPPED_ABORTED,
    STATS_MIRROR_DROPPED_LOST,
    STATS_MIRROR_DROPPED_LOCKED,
    STATS_MIRROR_DROPPED_EXIT,
    STATS_COUNTERS
};

extern _Atomic uint64_t stats_counters[STATS_COUNTERS];

static inline void stats_add(enum stats_counter counter, uint64_t how_many)
{
    atomic_fetch_add_explicit(&stats_counters[counter], how_many, memory_order_relaxed);
}

static inline uint64_t stats_read(enum stats_counter counter)
{
    return atomic_load_explicit(&stats_counters[counter], memory_order_relaxed);
}

/* --- by cluster and command --- */

enum { STATS_ROWS = 1024, STATS_NAME_MOST = 256 };

struct stats_command {
    const char *name;
    struct histogram latency; /* of all answers */
    _Atomic uint64_t failures;
};

/* Of one cluster. Lives as long as the process. */
struct stats_upstream {
    struct stats_upstream *next;
    struct stats_command *_Atomic commands[STATS_ROWS]; /* NULL: not used yet */
    char name[STATS_NAME_MOST];
};

/* In place of one where nothing was counted yet: it stays empty. */
extern const struct stats_upstream stats_none;

/* Whether commands are counted. */
extern _Atomic bool stats_commands_on;

void stats_set_commands(bool on);

/* The moment at which a command was issued; 0: nobody wants to know. */
static inline uint64_t stats_issue(void)
{
    return __builtin_expect(atomic_load_explicit(&stats_commands_on, memory_order_relaxed), 0)
               ? ticks_now()
               : 0;
}

/* The one of that name: made when there is none. NULL: out of memory. */
struct stats_upstream *stats_upstream(const char *name);

/* The counters of a command: made when there are none. `row` is below STATS_ROWS, and `name`, which
 * is kept, is the row's. NULL: out of memory. */
struct stats_command *stats_command(struct stats_upstream *, unsigned row, const char *name);

/* So many were issued and answered together. */
static inline void stats_answered(struct stats_command *c, uint64_t issued, uint64_t answered,
                                  uint64_t how_many, bool success)
{
    histogram_add(&c->latency, ticks_to_us(issued, answered), how_many);
    if (!success)
        atomic_fetch_add_explicit(&c->failures, how_many, memory_order_relaxed);
}

/* In the child of a fork: what its parent did is counted there. */
void stats_forget_all(void);

/* --- reading --- */

/* Calls `each` for every number. `labels` are as in Prometheus' format, or empty. Ends, and gives
 * back what `each` did, as soon as that is not 0. */
typedef int stats_visitor(void *data, const char *name, const char *labels,
                          unsigned long long value);
int stats_each(stats_visitor *each, void *data);

/* Appends Prometheus' text exposition format. False: out of memory. */
bool stats_append_text(struct buffer *out);

#endif
