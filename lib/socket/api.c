/* The public functions: check, delegate, translate. */
#include <hiredis/hiredis.h>

#include "redisroute/redisroute.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

__attribute__((visibility("default"))) const char *redisRouteVersion(void)
{
    return REDISROUTE_VERSION;
}

__attribute__((visibility("default"))) const char *redisRouteHiredisVersion(void)
{
    return TEXT(HIREDIS_MAJOR) "." TEXT(HIREDIS_MINOR) "." TEXT(HIREDIS_PATCH);
}
