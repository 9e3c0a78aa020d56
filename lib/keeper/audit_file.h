/* The files of the audit: a report, and beside it the same as lines of JSON (.jsonl). Processes add
 * to what the files say, one at a time (.lock), so that any number of them may name the same file.
 */
#ifndef REDISROUTE_KEEPER_AUDIT_FILE_H
#define REDISROUTE_KEEPER_AUDIT_FILE_H

#include <stdbool.h>
#include <stdint.h>

/* The configuration wants an audit: the keeper has to run. Any thread. */
bool audit_file_is_wanted(void);
/* Adds to the files when it is time. Returns the next such moment, -1 for none. For the keeper's
 * thread, which holds no lock meanwhile: a disk may be slow. */
int64_t audit_file_advance(int64_t now_ms);

/* Held by the thread that forks: a child must not inherit the lock on the files. */
void audit_file_lock_all(void);
void audit_file_unlock_all(void);

#endif
