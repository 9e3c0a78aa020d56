/* What a node says of the others: the text of CLUSTER NODES. Pure. */
#ifndef REDISROUTE_ROUTE_MEMBERS_H
#define REDISROUTE_ROUTE_MEMBERS_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

struct member {
    struct bytes id;
    struct bytes master; /* of a replica: the id of its master */
    struct bytes name;   /* its host name; empty: it has none */
    struct bytes host; /* as announced; may be empty for `myself` */
    uint16_t port;
    bool myself;
    bool replica;
    bool absent;        /* "noaddr" or "handshake": not to be connected to */
    bool suspected;     /* "fail?": this node cannot reach it */
    bool failed;        /* "fail": the majority cannot */
    struct bytes slots; /* the rest of the line: ranges and [slot->-node] entries */
};

/* Takes the next line off `text`. False: no more. Lines that are not members are passed over. */
bool members_next(struct bytes *text, struct member *);

/* Takes the next slot that the member is migrating away off member->slots. False: no more. */
bool members_next_migrating(struct member *, uint16_t *slot);

#endif
