/* Names of files as a user gives them. A relative one means the folder in which the process was when
 * it first asked what it is configured to do: daemons move to another one. */
#ifndef REDISROUTE_BASE_PATH_H
#define REDISROUTE_BASE_PATH_H

#include <limits.h>

/* Remembers the folder. Once, before the others are used. */
void path_begin(void);

/* What open() and the like are to be given: the name itself, or `to`. Any thread. */
const char *path_of(const char *name, char to[PATH_MAX]);

#endif
