/* The keeper: the one background thread of the process. It refreshes topologies,
 * notices nodes that fell silent, and makes descriptors readable for programs that
 * wait on something else than the links.
 *
 * It never touches a session. What it does to a link is shutdown(), under the lock
 * under which links get and lose their descriptors.
 *
 * All functions are thread-safe. None waits for I/O. */
#ifndef REDISROUTE_KEEPER_KEEPER_H
#define REDISROUTE_KEEPER_KEEPER_H

#include "link/link.h"
#include "route/cluster.h"

#include <stdbool.h>

/* Event data of the survey's own poller; see keeper.c. */
#define KEEPER_SURVEY_DATA 0xFFFFFFFFu
#define KEEPER_REPLAY_DATA 0xFFFFFFFEu
#define KEEPER_SCOUT_DATA 0xFFFFFFFDu

/* Starts the thread if this process has none yet. The first cluster_suspect() does it too.
 *
 * A process that uses nothing but blocking contexts of a healthy cluster never has one, and stays
 * a process of one thread, for which the C library's locks cost nothing and some system calls are
 * reserved (unshare, setns). */
void keeper_start(void);
bool keeper_is_running(void);

/* As keeper_start, unless the configuration wants no thread. Then the program's own threads do the
 * keeper's work, while they wait for something: as long as they do, and when it is due or the
 * descriptor is readable, they call keeper_turn(), which does what there is to do. Of several threads
 * one does it. */
void keeper_attend(void);
bool keeper_is_by_hand(void);
int keeper_descriptor(void); /* -1: there is a thread, or no keeper */
int64_t keeper_due(void);    /* as clock_now_ms(); -1: never */
void keeper_turn(void);

/* To be called before a link is opened: what the keeper needs without its thread; and the thread,
 * where files are to be written or looked at. */
void keeper_prepare(void);

/* Grows with every fork: what was made under another number belongs to the parent too. */
extern _Atomic unsigned keeper_generation;

/* From now on the link's descriptor is looked after; from keeper_unwatch on it is
 * not, and may be closed. `cluster` may be NULL. */
void keeper_watch(struct link *, struct cluster *);
void keeper_unwatch(struct link *);

/* When `poller`, an epoll descriptor, becomes readable, one byte is written to
 * `signal`: once for each keeper_forward_arm. NULL: out of memory. */
struct forward *keeper_forward_create(int poller, int signal);
/* Takes the bytes out of `signalled`, the other end of `signal`, and begins anew: a byte that is on
 * its way for what was served by now reaches nobody. -1: they stay there. */
void keeper_forward_arm(struct forward *, int signalled);
/* The other end of `signal` was filled, so that it is not writable: with the first byte that is
 * written there, what fills it is taken out. */
void keeper_forward_stuffed(struct forward *);
/* From now on a byte is written, too, when the cluster has another version than this. */
void keeper_forward_follow(struct forward *, struct cluster *, uint64_t version);
/* After this returns neither descriptor is used any more. */
void keeper_forward_destroy(struct forward *);

#endif
