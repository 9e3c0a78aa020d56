/* The cursor of a SCAN over a whole cluster: a plain number that says all there is to know, so that
 * any session of any process can go on with it. Pure.
 *
 *     bit 62        48 47       36 35                    0
 *     [ slot         ] [ pass    ] [ the node's own cursor ]
 *
 * A pass walks over the masters in the order of the lowest slot that each owns; `slot` is that of
 * the master under way, or SLOT_COUNT when all are done and the pass is to be checked. A cursor
 * of a node means nothing to another node, and keys move from node to node with their slots: a pass
 * counts only if nothing moved. `pass` is what the masters said of themselves when it began. */
#ifndef REDISROUTE_ROUTE_SCAN_CURSOR_H
#define REDISROUTE_ROUTE_SCAN_CURSOR_H

#include "base/bytes.h"
#include "route/slot.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SCAN_PASS_UNSETTLED = 1, /* slots were moving when it began: it can never count */
    SCAN_TEXT_SIZE = 24,
};

struct scan_cursor {
    uint16_t slot;
    uint16_t pass; /* never 0, so that small numbers are no cursors of ours */
    uint64_t node;
};

/* The text of the cursor. False: the node's own is too long. Redis 7 has as many bits there as its
 * hash table, later servers as the largest slot's and 14 more: 36 are enough for 4 million keys in
 * one slot. */
bool scan_cursor_write(const struct scan_cursor *, char text[SCAN_TEXT_SIZE]);
/* Any number that a SCAN can be given: decimal, without a sign. */
bool scan_number(struct bytes text, uint64_t *number);
/* False: none that scan_cursor_write gave. */
bool scan_cursor_read(uint64_t number, struct scan_cursor *);

/* What masters say of themselves: the line "myself" of each one's CLUSTER NODES. All zero: nobody
 * was asked. The order in which they are added does not matter. */
struct scan_census {
    uint64_t sum;
    uint32_t slots;
    bool moving;
};

/* `owner` and `node`: who is believed to own each slot, and which of them says this. */
void scan_census_add(struct scan_census *, struct bytes cluster_nodes,
                     const uint16_t owner[SLOT_COUNT], uint16_t node);
/* A number for who owns what, and since when. SCAN_PASS_UNSETTLED: slots are moving, or those who
 * were asked do not own just the `owned` slots that they are believed to. */
uint16_t scan_census_pass(const struct scan_census *, uint32_t owned);

#endif
