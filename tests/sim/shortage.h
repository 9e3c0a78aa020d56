/* Memory that runs out inside of sessions, and a count of what is not freed. The linker sends
 * the allocations of the library and of these tests here (--wrap). */
#ifndef REDISROUTE_TESTS_SIM_SHORTAGE_H
#define REDISROUTE_TESTS_SIM_SHORTAGE_H

#include <stdbool.h>

/* While `inside`, the n-th allocation from now on fails; 0: none does. */
void shortage_set(long n);
/* It has come to that. */
bool shortage_happened(void);
void shortage_inside(bool inside);

/* Blocks that were allocated and not freed. */
long shortage_blocks(void);

#endif
