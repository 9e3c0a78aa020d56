/* A model of a cluster: nodes in shards, a few slots that can migrate, masters that die and
 * are succeeded, a store of numbers, and a log of what was executed, where, and in which order.
 *
 * It knows nothing of sessions and of sockets: commands go in, replies come out. A key is
 * "{t12}k3#456": its hash tag names one of the model's slots, k3 one of the few keys there,
 * and 456 is the tag, by which the log knows which command of the test this was. The model
 * strips it, so two commands for k3 meet in the same value although their words differ.
 * "{t12}l0#7" is a list, on which BLPOP waits for model_push. */
#ifndef REDISROUTE_TESTS_SIM_MODEL_H
#define REDISROUTE_TESTS_SIM_MODEL_H

#include "base/buffer.h"
#include "route/topology.h"
#include "session/parse.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MODEL_SHARDS_MAX = 4,
    MODEL_NODES_MAX = 2 * MODEL_SHARDS_MAX, /* a master and a replica each */
    MODEL_SLOTS = 5,
    MODEL_KEYS = 4,
    MODEL_NOWHERE = -1,
};

struct model_value {
    bool exists;
    long long number;
};

struct model_slot {
    char tag[16];
    uint16_t slot;
    int owner;     /* shard; MODEL_NOWHERE: nobody serves it */
    int target;    /* shard that it migrates to */
    int announced; /* shard that the others believe to be the owner */
    int pushed;    /* elements in its list, wherever the slot lives */
    struct model_value values[MODEL_SHARDS_MAX][MODEL_KEYS];
};

struct model_node {
    bool alive;
    bool minority; /* sees no majority */
    bool loading;
    int shard;
    uint16_t port;
};

struct model_shard {
    int master;
    int announced; /* the node that the others believe to be its master */
};

struct model_entry {
    uint32_t tag;
    int node;
    int name; /* that the client had set */
    bool null;
    long long result;
};

struct model {
    char host[24];
    int shard_count;
    int node_count;
    struct model_shard shards[MODEL_SHARDS_MAX];
    struct model_node nodes[MODEL_NODES_MAX];
    struct model_slot slots[MODEL_SLOTS];
    struct model_entry *log;
    size_t log_count;
    size_t log_capacity;
    long long next_element;
    uint32_t touched[MODEL_SLOTS][MODEL_KEYS]; /* how often: what WATCH looks at */
};

/* What a node knows of one connection. */
struct model_client {
    int node;
    bool asking;
    bool readonly;
    int name;      /* CLIENT SETNAME's number; 0: none */
    int waits_for; /* slot whose list it waits on; MODEL_NOWHERE: it does not wait */
    char key[32];
    uint32_t tag;
    bool multi; /* between MULTI and EXEC */
    bool multi_asking;
    bool dirty; /* EXEC will be aborted */
    struct buffer queue;
    int watched[2]; /* slot and key; MODEL_NOWHERE: none */
    uint32_t watched_at;
};

enum model_outcome { MODEL_ANSWERED, MODEL_BLOCKED };

/* A cluster at `host` with ports from `first_port`; each shard has a replica. */
void model_init(struct model *, const char *host, uint16_t first_port, int shards);
void model_deinit(struct model *);

void model_client_init(struct model_client *, int node);
void model_client_deinit(struct model_client *);
/* Somebody else writes a key that is watched, perhaps. It is in the log with the tag 0. */
void model_touch(struct model *, int slot, int key);
enum model_outcome model_execute(struct model *, struct model_client *, const struct argv *,
                                 struct buffer *reply);
/* A waiting client gets an element, or a null when there is none: its time is up. */
void model_wake(struct model *, struct model_client *, struct buffer *reply);
/* A waiting client whose slot is served by another node now. True: it was answered so. */
bool model_evict(struct model *, struct model_client *, struct buffer *reply);

/* The node that listens on this port, or -1. */
int model_node_at(const struct model *, uint16_t port);
bool model_is_master(const struct model *, int node);

/* CLUSTER SLOTS, as the cluster announces itself now. */
void model_slots_reply(const struct model *, struct buffer *reply);
struct topology *model_topology(const struct model *);

void model_migrate(struct model *, int slot, int to);
/* Moves one key of a migrating slot. False: all have moved. */
bool model_migrate_key(struct model *, int slot);
void model_migrate_end(struct model *, int slot);
/* The other node of the shard becomes its master. */
void model_fail_over(struct model *, int shard);
/* All nodes learn what is true. */
void model_announce(struct model *);

#endif
