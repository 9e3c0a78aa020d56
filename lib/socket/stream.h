/* A stream: a session for those who speak the protocol themselves. An endpoint that is not under
 * hiredis, and the words for what went wrong with it. What redisroute.h says of sessions holds. */
#ifndef REDISROUTE_SOCKET_STREAM_H
#define REDISROUTE_SOCKET_STREAM_H

#include "socket/endpoint.h"

enum { STREAM_ERROR_SIZE = 320 };

struct stream {
    struct endpoint *endpoint;
    char host[64]; /* as dialled, shortened where it has to be: for messages */
    int port;
    char error[STREAM_ERROR_SIZE];
};

/* NULL: errno, and the words in stream_open_error. */
struct stream *stream_open(const char *host, int port, const struct endpoint_wishes *);
extern _Thread_local char stream_open_error[STREAM_ERROR_SIZE];
void stream_close(struct stream *);

/* 1, 0 or -1. */
int stream_connected(struct stream *);
/* For all that is written from here on. False: out of memory. */
bool stream_set_read_policy(struct stream *, enum read_policy);
int stream_write(struct stream *, const void *bytes, size_t length);
/* With a read policy of these bytes' own. */
int stream_write_by(struct stream *, const void *bytes, size_t length, enum read_policy);
ssize_t stream_read(struct stream *, void *to, size_t size);
ssize_t stream_read_wait(struct stream *, void *to, size_t size, int timeout_ms);
int stream_wait(struct stream *, int timeout_ms);
void stream_interrupt(struct stream *);

/* What is not the caller's to ask: EINVAL, and that in words. */
int stream_refuse(const char *why);
int stream_refuse_use(struct stream *, const char *why);

#endif
