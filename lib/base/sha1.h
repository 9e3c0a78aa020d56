/* SHA-1 (FIPS 180-4), by which servers name scripts. Not for secrets. Pure. */
#ifndef REDISROUTE_BASE_SHA1_H
#define REDISROUTE_BASE_SHA1_H

#include "base/bytes.h"

enum { SHA1_HEX = 40 };

/* 40 lower case hexadecimal digits, and a zero. */
void sha1_hex(struct bytes, char hex[SHA1_HEX + 1]);

#endif
