/* The hash slot of a key: CRC16 (XMODEM) of the key, or of its hash tag, as the cluster
 * specification has it. */
#ifndef REDISROUTE_ROUTE_SLOT_H
#define REDISROUTE_ROUTE_SLOT_H

#include <stddef.h>
#include <stdint.h>

enum { SLOT_COUNT = 16384 };

/* No slot: what a command without a key has. */
#define SLOT_NONE 0xFFFF

/* The key may hold any bytes and may be empty. */
uint16_t slot_of_key(const char *key, size_t length);

/* The same on any processor; slot_of_key has a shorter way on most. */
uint16_t slot_by_tables(const char *key, size_t length);

#endif
