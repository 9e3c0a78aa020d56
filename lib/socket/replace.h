/* Another open file under a number that the program holds.
 *
 * An epoll set of the program's knows a file, not a number: dup3() alone would leave it watching the
 * old file, and the program could not take it out any more. */
#ifndef REDISROUTE_SOCKET_REPLACE_H
#define REDISROUTE_SOCKET_REPLACE_H

#include <stdbool.h>

/* As dup3(with, number, flags); wherever `number` was registered with epoll in this process, it
 * still is, with the same events and data. False: errno, and nothing has changed. */
bool replace_descriptor(int number, int with, int flags);

#endif
