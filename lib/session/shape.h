/* Shapes: a program says the same few commands again and again, and only keys and values differ.
 * The bytes before the key of a command whose first argument is its only key are remembered with
 * its row; a command that begins with them needs no look-up, and it is enough to see where its
 * words end. Pure. */
#ifndef REDISROUTE_SESSION_SHAPE_H
#define REDISROUTE_SESSION_SHAPE_H

#include "base/bytes.h"
#include "route/command.h"

#include <stdint.h>

enum { SHAPES_BITS = 4, SHAPE_MACHINE_WORDS = 3 };

/* All zero: like no command. */
struct shape {
    const struct command *command;
    uint64_t beginning[SHAPE_MACHINE_WORDS]; /* "*2\r\n$3\r\nGET\r\n$", zeros behind */
    uint64_t mask[SHAPE_MACHINE_WORDS];      /* of its bytes */
    uint32_t length;                         /* of the beginning */
    int values;                              /* words of the command behind the key */
};

struct shapes {
    struct shape by_hash[1 << SHAPES_BITS];
};

/* The command at `bytes`, when it is whole, like one that was learned, and has no word of 10,000
 * bytes or more: its length, and its row and its key. 0: it has to be parsed. */
size_t shape_read(const struct shapes *, const char *bytes, size_t length,
                  const struct command **command, struct bytes *key);

/* Remembers the shape of a command, whole at `bytes` and parsed to `words`, if commands like it
 * always have one key, the first argument. */
void shape_learn(struct shapes *, const struct command *, const char *bytes,
                 const struct bytes *words, int count);

#endif
