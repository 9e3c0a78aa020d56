/* What is known of every command: where its keys stand, which servers it goes to, how their
 * replies become one, and whether it may be sent twice.
 *
 * The table is command_table.inc, which generate_commands.py writes from what real servers say
 * (commands/) and command_rules.json. All names of enumerators here are names in that file too.
 * What the table lacks is asked of servers: see learned.h. */
#ifndef REDISROUTE_ROUTE_COMMAND_H
#define REDISROUTE_ROUTE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum command_class {
    COMMAND_KEYED,       /* as is, to the node of its keys' slot; to any node when it has no key */
    COMMAND_SPLIT,       /* by the slots of its keys */
    COMMAND_ALL_SHARDS,  /* to every master */
    COMMAND_ALL_NODES,   /* to every node */
    COMMAND_ANY_NODE,    /* to one healthy node */
    COMMAND_SLOT,        /* to the owner of the slot whose number is argv[2] */
    COMMAND_MASTER,      /* to one master */
    COMMAND_STATE,       /* sets what every link has to be told again */
    COMMAND_READ_MODE,   /* answered here: reads go where the configuration says */
    COMMAND_CONNECTION,  /* about this very connection: always to the same node */
    COMMAND_QUIT,        /* answered here, and then the connection ends */
    COMMAND_TRANSACTION, /* MULTI, EXEC, DISCARD, WATCH, UNWATCH */
    COMMAND_RESET,       /* as QUIT, but the connection begins anew */
    COMMAND_SUBSCRIBE,   /* messages begin to arrive unasked, over links of their own */
    COMMAND_UNSUBSCRIBE,
    COMMAND_MONITOR,     /* the same for what the masters execute */
    COMMAND_REPLY_MODE,  /* CLIENT REPLY: whether replies are delivered */
    COMMAND_TRACKING,    /* CLIENT TRACKING: as COMMAND_STATE, where that is possible */
    COMMAND_CACHING,     /* CLIENT CACHING: goes with the next command */
    COMMAND_KILL,        /* CLIENT KILL: at all nodes, but for an id, which is one node's */
    COMMAND_SCAN,        /* from master to master, by a cursor of ours */
    COMMAND_UNSUPPORTED, /* refused */
};

/* How the replies of several servers become one; the server's response_policy. */
enum command_response {
    RESPONSE_DEFAULT_KEYLESS, /* arrays are concatenated */
    RESPONSE_DEFAULT_KEYED,   /* an element for each key, in the order of the keys */
    RESPONSE_ONE_SUCCEEDED,
    RESPONSE_ALL_SUCCEEDED,
    RESPONSE_AND,
    RESPONSE_OR,
    RESPONSE_MIN,
    RESPONSE_MAX,
    RESPONSE_SUM,
    RESPONSE_ANY,     /* one that is not nil */
    RESPONSE_UNION,   /* of arrays: every element once */
    RESPONSE_SUM_OF_NAMED, /* names and numbers in turn: the numbers are summed */
    RESPONSE_TEXT,    /* texts, one behind the other */
    RESPONSE_INFO,    /* reports of INFO become one */
    RESPONSE_SPECIAL, /* no policy fits; such commands are asked of one server only */
};

/* Bits of command.flags. Those that the server names so, and then our own. */
enum command_flag {
    COMMAND_WRITE = 1 << 0,
    COMMAND_READONLY = 1 << 1,
    COMMAND_BLOCKING = 1 << 2, /* it may, command_blocks says whether it does */
    COMMAND_ADMIN = 1 << 3,
    COMMAND_PUBSUB = 1 << 4,
    COMMAND_NOSCRIPT = 1 << 5,
    COMMAND_LOADING = 1 << 6,
    COMMAND_MOVABLE_KEYS = 1 << 7,
    COMMAND_DENYOOM = 1 << 8,
    COMMAND_STALE = 1 << 9,
    COMMAND_FAST = 1 << 10,
    COMMAND_NO_AUTH = 1 << 11,
    COMMAND_MAY_REPLICATE = 1 << 12,   /* no write by itself, but replicas may have to see it */
    COMMAND_REPEATABLE = 1 << 13,      /* see command_repeatable */
    COMMAND_BLOCKS_IF_ASKED = 1 << 14, /* only with its option BLOCK */
    COMMAND_SCRIPT = 1 << 15,          /* runs, loads or forgets Lua scripts */
    COMMAND_ASK_KEYS = 1 << 16,        /* only a server can tell the keys of a command line */
};

/* A word that may stand before the keys, and how many words belong to it. */
struct command_option {
    const char *word; /* lower case; NULL ends the list */
    uint8_t values;
};

enum key_search {
    KEYS_AT_INDEX,        /* at argv[start] */
    KEYS_AT_INDEX_ELSE,   /* the same, when the specifications before found no key */
    KEYS_AFTER_WORD,      /* after the first `word` from argv[start] on; start < 0: from the end
                             backwards */
    KEYS_AFTER_LAST_WORD, /* the last one counts */
};

enum key_find {
    KEYS_TO_LAST,  /* up to `last` */
    KEYS_BY_COUNT, /* as many as the number at `count_at` says */
};

/* A key specification of the server. Indices are of argv, or relative to where the search ended
 * when the name says so. */
struct key_spec {
    enum key_search search;
    enum key_find find;
    const char *word; /* lower case */
    const char *other_word; /* means the same; or NULL */
    int16_t start;
    int16_t last;     /* relative; < 0: from the end of argv, -1 is its last word */
    int16_t limit;    /* > 1: only the first limit-th part of what is left */
    int16_t count_at; /* relative */
    int16_t first;    /* relative; of the first key */
    int16_t step;
};

/* One row. What a look-up touches stands in its first half. */
struct command {
    uint64_t word[2]; /* the beginning and the end of the word that is looked up */
    uint8_t length;   /* of that word */
    uint8_t klass;    /* enum command_class */
    uint8_t response; /* enum command_response */
    uint8_t only_key; /* argv index of the key, when there is always exactly this one; or 0 */
    uint32_t flags;
    int16_t arity; /* words, the name included; -n: at least n */
    uint8_t key_spec_count;
    uint8_t subcommand_count;
    uint16_t number;  /* of the row, its index in the table; 0: it is not the table's */
    const char *name; /* lower case; a subcommand's is "container|subcommand" */
    const struct command *subcommands;
    const struct key_spec *key_specs;
    const struct command_option *options; /* what a search after a word skips; may be NULL */
};

/* argv[0] is the name in any case, and argv[1] that of a subcommand, if there is one. An unknown
 * subcommand gets the row of its container; an unknown command, and argc 0, gets NULL. */
const struct command *command_lookup(const struct bytes *argv, int argc);

/* The row of the subcommand that argv[1] names, else the container's own. */
const struct command *command_subcommand(const struct command *container, const struct bytes *argv,
                                         int argc);

/* Argv indices of keys, both ends included. */
struct key_range {
    int first, last, step;
};

enum { COMMAND_RANGES_MAX = 8 };

/* Where this command line's keys are; how many ranges that is. Every index is one of argv, and not
 * that of the name. A part of the line that is malformed has no key: the server will say so. */
int command_keys(const struct command *c, const struct bytes *argv, int argc,
                 struct key_range ranges[COMMAND_RANGES_MAX]);

/* Whether the server may keep this command line waiting. */
bool command_blocks(const struct command *c, const struct bytes *argv, int argc);

/* Whether it may be sent again although it may have run: it changes nothing, or the same thing
 * once more. */
static inline bool command_repeatable(const struct command *c)
{
    return (c->flags & COMMAND_REPEATABLE) != 0;
}

/* All rows, containers followed by their subcommands, for tests and documentation. */
size_t command_count(void);
const struct command *command_at(size_t i);

/* ASCII only, as Redis itself compares. */
bool bytes_equal_ignoring_case(struct bytes bytes, const char *lower);

#endif
