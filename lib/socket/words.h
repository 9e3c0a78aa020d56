/* Words for an error of ours that the C library has none for: what hiredis says of errno goes by
 * here. Each thread has its own. */
#ifndef REDISROUTE_SOCKET_WORDS_H
#define REDISROUTE_SOCKET_WORDS_H

#include <stddef.h>

/* The next who asks what this errno value means is told `text`; NULL: what strerror says. */
void words_set(int error, const char *text);
/* Valid until the next call. */
const char *words_for(int error);

#endif
