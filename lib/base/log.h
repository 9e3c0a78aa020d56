/* The log: silent unless REDISROUTE_LOG asks, as "LEVEL" (to stderr) or "LEVEL:FILE"
 * with a level of error, warning, info or debug. Thread-safe; one write a line. */
#ifndef REDISROUTE_BASE_LOG_H
#define REDISROUTE_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_NONE, LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

extern enum log_level log_level;

/* `setting` as in REDISROUTE_LOG; NULL: silent. */
void log_open(const char *setting);
void log_line(enum log_level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Held by the thread that forks, so that the child finds no lock taken, the C library's included. */
void log_lock_all(void);
void log_unlock_all(void);

#define log_write(level, ...)                                                                      \
    do {                                                                                           \
        if ((level) <= log_level)                                                                  \
            log_line((level), __VA_ARGS__);                                                        \
    } while (0)

#endif
