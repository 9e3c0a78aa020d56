/* Numbers that nobody can foretell: what keeps processes from doing the same at the same moment, and
 * what a fraction of commands is chosen by. Not for secrets. */
#ifndef REDISROUTE_BASE_CHANCE_H
#define REDISROUTE_BASE_CHANCE_H

#include <stdint.h>

/* Any 64 bits. No two threads and no two processes draw the same row of them, a child of a fork and
 * its parent included. Any thread; a system call the first time. */
uint64_t chance_draw(void);

#endif
