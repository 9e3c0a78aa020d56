/* The report: the statistics, written to a file at an interval and at the end of the process. */
#ifndef REDISROUTE_KEEPER_REPORT_H
#define REDISROUTE_KEEPER_REPORT_H

#include <stdbool.h>
#include <stdint.h>

/* Begins to count what the configuration wants counted. Any thread. */
void report_configure(void);
/* The configuration names a file: the keeper has to run. Any thread. */
bool report_is_wanted(void);
/* This process is to have a file, also if it ends before the keeper gets to it. Before the keeper's
 * thread begins, or in it. */
void report_begin(void);
/* Writes the file when it is time. Returns the next such moment, -1 for none. For the keeper's
 * thread, which holds no lock meanwhile: a disk may be slow. */
int64_t report_advance(int64_t now_ms);
/* In the child of a fork: what is under way is the parent's. */
void report_forget_all(void);

#endif
