/* A loopback port that answers to no SYN, like a host that has gone from the network. */
#ifndef SUPPORT_SILENT_HOST_H
#define SUPPORT_SILENT_HOST_H

struct silent_host {
    int port;
    int listener, fillers[2];
};

/* A listener whose backlog is full: the kernel drops what else wants to connect. */
void silent_host_start(struct silent_host *host);
void silent_host_stop(struct silent_host *host);

#endif
