/* Splitting the application's bytes into commands: RESP arrays of bulk strings,
 * and inline commands as the server takes them. */
#ifndef REDISROUTE_SESSION_PARSE_H
#define REDISROUTE_SESSION_PARSE_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stddef.h>

/* The words of one command, borrowed from the bytes that were parsed. */
struct argv {
    struct bytes *words;
    int count;
    int capacity;
    char *inline_words; /* unquoted words of an inline command */
};

void argv_deinit(struct argv *);

enum parse_result {
    PARSE_WHOLE,
    PARSE_PARTIAL, /* *used: the length below which trying again is of no use */
    PARSE_EMPTY,   /* an empty command: skip *used bytes, no reply */
    PARSE_BROKEN,  /* *why: the server's words for it */
    PARSE_NO_MEMORY,
};

/* One command at `data`. PARSE_WHOLE: *used is its length in the stream. */
enum parse_result parse_command(struct argv *, const char *data, size_t length, size_t *used,
                                const char **why);

/* Appends the command in RESP. False: out of memory. */
bool argv_format(const struct argv *, struct buffer *out);

#endif
