/* The audit: what the commands of a program that uses one server would meet on a cluster, counted
 * by the shape of the command (its name) and what was found.
 *
 *   tap ──judge──> verdict ──audit_record──> the process' table ──audit_take──> keeper ──> files
 *
 * Values never come here. Of keys, two of the first command of each kind are kept, escaped and cut.
 */
#ifndef REDISROUTE_ROUTE_AUDIT_H
#define REDISROUTE_ROUTE_AUDIT_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AUDIT_NAME = 48,                         /* with the zero */
    AUDIT_KEY_BYTES = 64,                    /* of a key, or what else is shown */
    AUDIT_ESCAPED = 4 * AUDIT_KEY_BYTES + 4, /* with the zero */
    AUDIT_DETAIL = AUDIT_ESCAPED,
    AUDIT_DETAILS = 2,
    AUDIT_ENTRIES_MOST = 2048, /* what is more is counted as AUDIT_OTHERS */
};
#define AUDIT_OTHERS "(others)"

/* From harmless to hopeless: of several the last counts. */
enum audit_finding {
    AUDIT_WORKS,
    AUDIT_ONE_NODE, /* answered by one node, for itself */
    AUDIT_MESSAGES, /* subscriptions */
    AUDIT_FAN_OUT,  /* asked of all, and merged */
    AUDIT_SPLIT,    /* over slots, and so not atomic */
    AUDIT_UNKNOWN,  /* not in the table */
    AUDIT_SCRIPT_UNSEEN,
    AUDIT_SCRIPT_WITHOUT_KEYS,
    AUDIT_UNREADABLE,  /* no command; nothing behind it on its connection was looked at */
    AUDIT_SCRIPT_KEYS, /* keys that are not among its KEYS */
    AUDIT_DATABASE,    /* another one than 0 */
    AUDIT_CROSSSLOT,
    AUDIT_TRANSACTION, /* its keys are in several slots */
    AUDIT_REFUSED,
    AUDIT_FINDINGS
};

enum audit_outcome { OUTCOME_WORKS, OUTCOME_DIFFERS, OUTCOME_LOOK, OUTCOME_FAILS, OUTCOMES };

struct audit_entry {
    uint64_t count;
    enum audit_finding finding;
    char name[AUDIT_NAME];                    /* "CONFIG GET" */
    char detail[AUDIT_DETAILS][AUDIT_DETAIL]; /* escaped; may be empty */
};

/* All zero: empty. */
struct audit {
    struct audit_entry *entries;
    size_t count, capacity;
};

/* Adds entry->count to the entry of its name and finding. False: out of memory. */
bool audit_add(struct audit *, const struct audit_entry *);
/* Everything of `from`. False: out of memory, and some of it may be missing. */
bool audit_merge(struct audit *, const struct audit *from);
void audit_deinit(struct audit *);

/* A key, or what else may be shown: printable, no quotes or backslashes but as escapes, and cut. */
void audit_escape(char to[AUDIT_ESCAPED], struct bytes);

/* "crossslot" … */
const char *audit_finding_name(enum audit_finding);

/* The report for people, and the lines for programs. False: out of memory. */
bool audit_append_report(const struct audit *, struct buffer *out);
bool audit_append_lines(const struct audit *, struct buffer *out);
/* Adds what such lines say. False: these are no such lines, or memory is out. */
bool audit_read_lines(struct audit *, const char *text, size_t length);

/* --- of the process; thread-safe --- */

void audit_record(const struct audit_entry *);
/* Moves everything that was recorded to `into`, which is empty. False: nothing was. */
bool audit_take(struct audit *into);
/* What was taken could not be written. */
void audit_give_back(struct audit *);
bool audit_is_empty(void);

/* Held by the thread that forks; in the child nothing is recorded yet. */
void audit_lock_all(void);
void audit_unlock_all(void);
void audit_forget_all(void);

#endif
