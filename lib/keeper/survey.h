/* A survey: every node of the clusters whose replicas are read from is asked now and then how it
 * is. What it finds decides, in cluster.c, who answers reads. For the keeper's thread. */
#ifndef REDISROUTE_KEEPER_SURVEY_H
#define REDISROUTE_KEEPER_SURVEY_H

#include <stdint.h>

/* Asks who is due, and moves the bytes of those who were asked. Returns the next moment that
 * there is something to do; -1: none, until a cluster is to be surveyed. `poller` becomes readable
 * when there is something to do earlier. */
int64_t survey_advance(int poller, int64_t now_ms);
/* In the child of a fork: what is under way belongs to the parent. */
void survey_forget_all(void);

#endif
