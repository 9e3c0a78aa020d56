/* Durations as they are written: "250ms", "0.5s", "1m", "1h". */
#ifndef REDISROUTE_CONFIG_DURATION_H
#define REDISROUTE_CONFIG_DURATION_H

#include <stdbool.h>
#include <stdint.h>

enum { DURATION_TEXT_SIZE = 32 };
#define DURATION_MOST_MS INT64_C(1000000000000000)

/* In milliseconds, DURATION_MOST_MS at most; -1: it is none, or has no unit (0 needs none) and
 * `bare` does not say that a number alone is of milliseconds. What is not zero is a millisecond at
 * least. */
int64_t duration_parse(const char *text, bool bare);

/* As a person writes it: "24h", "250ms". Not negative. */
const char *duration_text(int64_t ms, char text[DURATION_TEXT_SIZE]);

/* Digits with or without a point, whatever the program's locale. Returns where they end; `text`
 * when there are none. */
const char *duration_digits(const char *text, double *value);

#endif
