/* Waiting for conditions: tests never sleep for a fixed time and hope. */
#ifndef SUPPORT_UNTIL_H
#define SUPPORT_UNTIL_H

#include <stdint.h>

#include "die.h"

/* Generous, because a loaded machine with sanitizers is slow and only a failing test waits it out.
 */
#define UNTIL_LIMIT_MS 60000

/* Milliseconds of the monotonic clock. */
int64_t now_ms(void);

void pause_ms(int ms);

/* Looks at `condition` every few milliseconds; dies when it does not come true. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        int64_t until_limit_ = now_ms() + UNTIL_LIMIT_MS;                                          \
        while (!(condition)) {                                                                     \
            if (now_ms() > until_limit_)                                                           \
                die("%s:%d: never came true: %s", __FILE__, __LINE__, #condition);                 \
            pause_ms(5);                                                                           \
        }                                                                                          \
    } while (0)

#endif
