/* A random stream of Redis commands, the same for the same seed. Their replies depend on nothing
 * but the commands before them, so that two servers, or a server and a cluster, must agree on each.
 */
#ifndef SUPPORT_STREAM_H
#define SUPPORT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STREAM_MAX_ARGS = 32 };

struct stream_command {
    int argc;
    const char *argv[STREAM_MAX_ARGS];
    size_t lengths[STREAM_MAX_ARGS];
    char *bytes; /* what argv points into */
};

struct stream {
    uint64_t state;
    bool is_moving; /* the cluster migrates slots meanwhile: no commands then that count a key twice,
                     * or that say how it is encoded, which MIGRATE does not keep */
    bool is_one_slot; /* all keys have one hash tag, and there are transactions */
    bool is_queueing; /* behind a MULTI */
};

/* The seed in REDISROUTE_TEST_SEED, else one of the moment; it is printed either way. */
uint64_t stream_seed(void);

void stream_init(struct stream *stream, uint64_t seed);
/* What commands are made from, the name first; NULL behind the last. */
const char *stream_template(size_t i);

void stream_next(struct stream *stream, struct stream_command *command);
void stream_command_deinit(struct stream_command *command);

/* Between 0 and limit - 1. */
unsigned stream_random(struct stream *stream, unsigned limit);

/* For messages: the command in words, cut short; freed by the caller. */
char *stream_command_text(const struct stream_command *command);

#endif
