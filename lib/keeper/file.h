/* Files that the keeper writes: named by a pattern, and replaced whole. */
#ifndef REDISROUTE_KEEPER_FILE_H
#define REDISROUTE_KEEPER_FILE_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* "%p" in the pattern is the process id. False: too long. */
bool file_name(char *to, size_t size, const char *pattern);
/* Whoever reads the file finds the old text or the new one, never half of it. False: errno. */
bool file_replace(const char *path, const struct buffer *text);

#endif
