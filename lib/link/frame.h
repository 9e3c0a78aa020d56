/* Framing: where does the reply end that begins here.
 *
 * No reply is ever built: hiredis does that, later, from the same bytes. All types
 * of RESP2 and RESP3 are known; an attribute belongs to the reply that it precedes.
 * How deep a reply may be nested is hiredis' own affair. Pure. */
#ifndef REDISROUTE_LINK_FRAME_H
#define REDISROUTE_LINK_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/word.h"

enum frame_result { FRAME_WHOLE, FRAME_PARTIAL, FRAME_BROKEN };

/* How far one reply was looked at. All zero: not yet. */
struct frame {
    size_t scanned;  /* whole items end here */
    size_t searched; /* the line that begins there has no CRLF before this; 0: not searched */
    size_t needed;   /* with fewer bytes than this the reply is not whole for sure */
    uint64_t behind; /* values to come behind the one that begins at `scanned` */
};

static inline void frame_reset(struct frame *frame)
{
    *frame = (struct frame){0};
}

/* Bytes of one reply begin at `data`; `length` of them are there now. Called again with
 * the same start and more bytes it goes on where it stopped: a reply that comes byte by
 * byte costs no more than a few looks at each. Whole: *end is the reply's length, and
 * the frame must be reset before the next one. */
enum frame_result frame_scan(struct frame *frame, const char *data, size_t length, size_t *end);

/* The header of an aggregate (* ~ % >), past attributes: its type, the number in it (-1:
 * null array; pairs, for a map) and where its first element begins. False: there is none. */
bool frame_array_header(const char *data, size_t length, char *type, long long *count,
                        size_t *header_length);

enum {
    FRAME_QUICK_DIGITS = 18, /* of an integer: cannot leave int64 */
    FRAME_QUICK_STATUS = 32, /* longer ones are for frame_scan */
};

static inline bool frame_is_crlf(const char *at)
{
    return memcmp(at, "\r\n", 2) == 0;
}

/* A bulk whose length has three or four digits, or the null bulk; five bytes are there. */
size_t frame_quick_long_bulk(const char *data, size_t length);

/* The same of any bulk; nearly all lengths have one digit or two. */
static inline size_t frame_quick_bulk(const char *data, size_t length)
{
    uint32_t header, first, second;
    size_t end;

    if (length < 5)
        return 0;
    header = (uint32_t)word_load_half(data + 1);
    first = (header & 0xFF) - '0';
    second = (header >> 8 & 0xFF) - '0';
    if (header >> 16 == WORD_CRLF && first < 10 && second < 10)
        end = 5 + first * 10 + second;
    else if ((header >> 8 & 0xFFFF) == WORD_CRLF && first < 10)
        end = 4 + first;
    else
        return frame_quick_long_bulk(data, length);
    return length >= end + 2 && frame_is_crlf(data + end) ? end + 2 : 0;
}

static inline size_t frame_quick_integer(const char *data, size_t length)
{
    size_t first = length > 1 && data[1] == '-' ? 2 : 1, at = first;
    size_t end = length < first + FRAME_QUICK_DIGITS ? length : first + FRAME_QUICK_DIGITS;

    while (at < end && (unsigned)data[at] - '0' < 10)
        at++;
    if (at == first || length < at + 2 || !frame_is_crlf(data + at) ||
        (data[first] == '0' && at != 2))
        return 0;
    return at + 2;
}

static inline size_t frame_quick_status(const char *data, size_t length)
{
    size_t end = length < FRAME_QUICK_STATUS ? length : FRAME_QUICK_STATUS;

    if (length >= 5 && memcmp(data, "+OK\r\n", 5) == 0)
        return 5;
    for (size_t at = 1; at + 1 < end; at++)
        if (frame_is_crlf(data + at))
            return at + 2;
    return 0;
}

/* The length of the reply at `data` when it is whole and one of the commonest, + : $ and
 * the null bulk; else 0, which says nothing: ask frame_scan. */
static inline size_t frame_quick(const char *data, size_t length)
{
    if (length == 0)
        return 0;
    if (data[0] == '$')
        return frame_quick_bulk(data, length);
    if (data[0] == '+')
        return frame_quick_status(data, length);
    if (data[0] == ':')
        return frame_quick_integer(data, length);
    return 0;
}

#endif
