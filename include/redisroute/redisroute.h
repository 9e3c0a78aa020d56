/* redisroute: hiredis for a Redis Cluster.
 *
 * A program needs nothing of this header to be routed: redisConnect() and
 * redisAsyncConnect() of <hiredis/hiredis.h> do it. It is for programs that want
 * to know what they run on. Names grow only: what is here stays. */
#ifndef REDISROUTE_REDISROUTE_H
#define REDISROUTE_REDISROUTE_H

#ifdef __cplusplus
extern "C" {
#endif

#define REDISROUTE_VERSION_MAJOR 0
#define REDISROUTE_VERSION_MINOR 1
#define REDISROUTE_VERSION_PATCH 0
#define REDISROUTE_VERSION "0.1.0"

/* The version of the library that is loaded, as "MAJOR.MINOR.PATCH". A constant:
 * not to be freed. Any thread, any time. No errors. */
const char *redisRouteVersion(void);

/* The version of the hiredis inside, as "MAJOR.MINOR.PATCH": the library fits
 * programs that were compiled for this one and no other. A constant. Any thread. */
const char *redisRouteHiredisVersion(void);

#ifdef __cplusplus
}
#endif

#endif
