/* The settings of the process: each a field of the file and a variable of the environment. */
#ifndef REDISROUTE_CONFIG_SETTINGS_H
#define REDISROUTE_CONFIG_SETTINGS_H

#include "config/config.h"
#include "config/reader.h"

/* Into a struct config; REDISROUTE_READ_POLICY is read_policy, and so on. */
extern const struct field settings_fields[];

void settings_default(struct config *);
/* The environment as it is now is the environment from now on. Once, at the first look at the
 * configuration, in the program's own thread. */
void settings_remember_environment(void);
/* What is wrong there is said in the log, and stays as it was. A set-uid program's environment is
 * its caller's: it configures nothing. */
/* `again`: a password that cannot be read any more is no reason to go on without one: false. */
bool settings_read_environment(struct config *, bool again, struct complaint *);
/* Any variable of that environment; NULL: there is none. */
const char *settings_variable(const char *name);
/* More than what is said by default or by files: it holds for all listeners and clusters. */
bool settings_in_environment(const char *name);
/* One of the settings of TLS is. */
bool settings_tls_in_environment(void);

#endif
