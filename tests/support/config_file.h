/* A configuration file, and a log, in a temporary folder of the test's own. Every test of Check is
 * a process of its own, whose configuration is read at its first context. */
#ifndef SUPPORT_CONFIG_FILE_H
#define SUPPORT_CONFIG_FILE_H

#include <stdbool.h>

/* Sets REDISROUTE_CONFIG and REDISROUTE_LOG. */
void config_begin(void);
void config_end(void);

/* In one step, as tools that care do it. */
void config_write(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Another file in the folder; its path stays valid until the same name is written again. */
const char *config_write_beside(const char *name, const char *text);

const char *config_folder(void);
const char *config_path(void);
bool config_log_says(const char *words);

#endif
