#define _GNU_SOURCE
#include "port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "die.h"

enum { FIRST_PORT = 11000, LAST_PORT = 22700, TRIES = 10000 };

static bool is_free(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0);
    bool is_bound = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is_bound;
}

/* Test processes start at the same moment: each has to walk the range in its own order. */
static unsigned *seed(void)
{
    static unsigned state;
    static pid_t owner;
    if (owner != getpid()) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        owner = getpid();
        state = (unsigned)owner * 2654435761u ^ (unsigned)t.tv_nsec;
    }
    return &state;
}

int port_free(void)
{
    for (int i = 0; i < TRIES; i++) {
        int port = FIRST_PORT + rand_r(seed()) % (LAST_PORT - FIRST_PORT);
        if (is_free(port) && is_free(port + PORT_BUS_OFFSET))
            return port;
    }
    die("no free port on the loopback address");
}
