#include "config/guest.h"

#include <stddef.h>
#include <string.h>

/* By the name of the file that was executed. */
static const char *const wants_socket[] = {
    "turnserver", /* coturn peeks at it, recv(MSG_PEEK), before each redisAsyncHandleRead */
    NULL,
};

bool guest_wants_socket(const char *program)
{
    for (size_t i = 0; wants_socket[i] != NULL; i++)
        if (strcmp(wants_socket[i], program) == 0)
            return true;
    return false;
}
