// Of C, since a file whose Go is exported to C may only declare.
#include <redisroute/redisroute.h>

#include "_cgo_export.h"

static void tell(void *data, enum redisRouteEvent event, int fd, const char *text)
{
    redisRouteGoEvent(data, (int)event, fd, (char *)text);
}

int redisRouteGoListen(int on)
{
    return redisRouteSetEventFn(on ? tell : NULL, NULL);
}
