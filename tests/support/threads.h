/* The threads of the test's own process. */
#ifndef SUPPORT_THREADS_H
#define SUPPORT_THREADS_H

#include <stdbool.h>

/* A child of a process of several threads may not start its own under ThreadSanitizer. */
#ifdef __SANITIZE_THREAD__
enum { CAN_FORK = 0 };
#else
enum { CAN_FORK = 1 };
#endif

/* Every other thread waits for something. To be waited for before a fork: a thread that is just
 * being started holds locks of AddressSanitizer's malloc, which a child, other than with the C
 * library's, finds taken for ever. */
bool threads_are_asleep(void);

#endif
