#include "config/guest.h"

#include <stddef.h>
#include <string.h>

/* Both: by the name of the file that was executed. */

static const char *const wants_socket[] = {
    "turnserver", /* coturn peeks at it, recv(MSG_PEEK), before each redisAsyncHandleRead */
    NULL,
};

static const char *const has_one_thread[] = {
    "proftpd", /* mod_cap sets the capabilities of its own thread: setresuid() fails in any other
                  then, and the C library ends a process whose threads do not agree */
    "in.proftpd",
    NULL,
};

static bool is_among(const char *const *programs, const char *program)
{
    while (*programs != NULL && strcmp(*programs, program) != 0)
        programs++;
    return *programs != NULL;
}

bool guest_wants_socket(const char *program)
{
    return is_among(wants_socket, program);
}

bool guest_has_one_thread(const char *program)
{
    return is_among(has_one_thread, program);
}
