/* The replay: what sessions put into the mirror's queue is said again to each target. A target, a
 * server or a cluster, is a session of the keeper's own; its replies are read and dropped.
 *
 *   queue ──> pending of each target, bounded ──> session ──> links ──> target
 *
 * For the keeper's thread, but for what says otherwise. */
#ifndef REDISROUTE_KEEPER_REPLAY_H
#define REDISROUTE_KEEPER_REPLAY_H

#include <stdint.h>

/* Turns the mirror on if the configuration has one. Any thread. `wake`: see mirror_turn_on. */
void replay_configure(void (*wake)(void));
/* Moves what can be moved. Returns the next moment at which it has to be called again, -1 for
 * none; events of `poller` with `data` are another reason to call it. */
int64_t replay_advance(int poller, uint64_t data, int64_t now_ms);
/* In the child of a fork. */
void replay_forget_all(void);
/* Waits for the queue at the end of the process, once, as long as the configuration says; what is
 * left then is dropped and counted. */
void replay_flush(void);

#endif
