/* A part: one command on its way to one server, and the answer to it.
 *
 * A request of the application is one part, or one a slot or shard. A part is in
 * exactly one place at a time, which its state names; `next` chains it there:
 *
 *     held     in the queue of its slot, behind a redirect or a retry
 *     waiting  on a link that is not up
 *     sent     written to a link, its bytes still in that link's `out`
 *     answered nowhere: the request has the reply
 *
 * The bytes of a command live in the link's `out` while the part is sent and was
 * never detached, else in `bytes`, which the part owns. */
#ifndef REDISROUTE_LINK_PART_H
#define REDISROUTE_LINK_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;
struct request;

enum part_state { PART_NEW, PART_HELD, PART_WAITING, PART_SENT, PART_ANSWERED };

/* What CLIENT CACHING said of it. */
enum part_caching { PART_AS_TRACKED, PART_CACHED, PART_UNCACHED };

struct part {
    struct part *next;
    struct request *request;
    struct link *link;   /* waiting or sent: where */
    struct link *target; /* where a redirect, or a fan-out to every node, wants it; NULL: by slot */
    char *bytes;         /* its own copy of the command, or NULL */
    size_t length;
    uint64_t at;       /* sent: offset of the command in the stream of the link */
    int64_t wait_since; /* when it began to wait for a slot or a node to be served; 0: it did not */
    uint64_t sequence; /* issue order within the session */
    uint16_t slot;     /* SLOT_NONE: any node will do */
    uint8_t state;     /* enum part_state */
    uint8_t redirects; /* followed so far */
    uint8_t skip;      /* replies to swallow before its own: that of ASKING or CLIENT CACHING */
    uint8_t caching;   /* enum part_caching: the next sending says CLIENT CACHING first */
    bool untracked;    /* was sent without the CLIENT CACHING YES that belongs to it */
    bool asking;       /* the next sending says ASKING first */
    bool repeatable;   /* may run twice without harm */
    bool troubled;     /* counted in the trouble record of its slot */
    bool out_of_order; /* was held or moved: its reply cannot stay in the link's `in` */
    bool impatient;    /* fails at once when its node cannot be reached */
    uint8_t policy;    /* enum read_policy: which nodes may answer it */
    bool enlisted;     /* reads.c has looked at it */
    bool late;         /* not answered within the time limit */
    bool away;         /* counted as a read that another node than the slot's owner is answering */
    bool writes;       /* counted as a write that is unanswered */
};

/* First in, first out. */
struct part_queue {
    struct part *head;
    struct part *tail;
};

static inline void part_push(struct part_queue *queue, struct part *part)
{
    part->next = NULL;
    if (queue->head == NULL)
        queue->head = part;
    else
        queue->tail->next = part;
    queue->tail = part;
}

static inline struct part *part_pop(struct part_queue *queue)
{
    struct part *part = queue->head;

    if (part != NULL)
        queue->head = part->next;
    return part;
}

/* The whole queue as a chain; the queue is empty afterwards. */
static inline struct part *part_take_all(struct part_queue *queue)
{
    struct part *chain = queue->head;

    queue->head = queue->tail = NULL;
    return chain;
}

#endif
