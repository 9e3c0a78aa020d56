/* The reload: the files of the configuration are looked at, and a good new version is put in force
 * for all sessions. For the keeper's thread, but for reload_is_wanted. */
#ifndef REDISROUTE_KEEPER_RELOAD_H
#define REDISROUTE_KEEPER_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

/* There is a file to look at: the keeper has to run. Any thread. */
bool reload_is_wanted(void);
/* Counts the version that the process has begun with. Once. */
void reload_configure(void);
/* Looks when it is time, with no lock held. Returns the next such moment, -1 for never. */
int64_t reload_advance(int64_t now_ms, void (*wake)(void));

#endif
