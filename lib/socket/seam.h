/* What the copy of hiredis calls in place of the system calls of these names; the
 * map is seam_syscalls.syms. */
#ifndef REDISROUTE_SOCKET_SEAM_H
#define REDISROUTE_SOCKET_SEAM_H

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

int seam_connect(int fd, const struct sockaddr *address, socklen_t length);
ssize_t seam_read(int fd, void *to, size_t size);
ssize_t seam_write(int fd, const void *bytes, size_t length);
ssize_t seam_recv(int fd, void *to, size_t size, int flags);
ssize_t seam_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t seam_send(int fd, const void *bytes, size_t length, int flags);
int seam_close(int fd);
int seam_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int seam_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int seam_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int seam_fcntl(int fd, int command, ...);
int seam_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                     struct addrinfo **found);
/* In words.c. The C library has two strerror_r; this is POSIX'. */
int seam_strerror_r(int error, char *to, size_t size);
char *seam_strerror(int error);

#endif
