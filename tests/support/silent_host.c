#define _GNU_SOURCE
#include "silent_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "die.h"

void silent_host_start(struct silent_host *host)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    host->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(bind(host->listener, (struct sockaddr *)&address, size) == 0);
    MUST(listen(host->listener, 0) == 0);
    MUST(getsockname(host->listener, (struct sockaddr *)&address, &size) == 0);
    host->port = ntohs(address.sin_port);
    for (int i = 0; i < 2; i++) {
        host->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(host->fillers[i], (struct sockaddr *)&address, size);
    }
    struct pollfd first = {.fd = host->fillers[0], .events = POLLOUT};
    MUST(poll(&first, 1, 1000) == 1);
}

void silent_host_stop(struct silent_host *host)
{
    close(host->listener);
    close(host->fillers[0]);
    close(host->fillers[1]);
}
