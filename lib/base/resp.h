/* RESP2 and RESP3, one item at a time: what a type byte announces.
 *
 * An item is a scalar with all its bytes, or the header of an aggregate, whose
 * values are items that follow. A reply is one item and the items it announces;
 * counting those (`values`) is enough to find its end, however deep it is nested,
 * so nothing here needs a stack. Pure: no state, no allocation but the buffer's. */
#ifndef REDISROUTE_BASE_RESP_H
#define REDISROUTE_BASE_RESP_H

#include "base/buffer.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum resp_result { RESP_WHOLE, RESP_PARTIAL, RESP_BROKEN };

struct resp_item {
    char type;
    long long number;  /* the value of : and #; the length or count of others; -1: null */
    uint64_t values;   /* items directly inside that follow; a pair counts two */
    struct bytes text; /* the content of strings and lines, else empty */
};

/* Reads the item at `data`. Whole: *used is its length. Partial: *used is a length
 * below which reading again is of no use; more than `length`, and no more than what
 * the item has at least. Streamed strings and aggregates ("$?") are broken. */
enum resp_result resp_read(const char *data, size_t length, struct resp_item *item, size_t *used);

/* An attribute stands before the value that it is about, and is not a value itself. */
static inline bool resp_is_attribute(const struct resp_item *item)
{
    return item->type == '|';
}

static inline bool resp_is_error(const struct resp_item *item)
{
    return item->type == '-' || item->type == '!';
}

/* $-1, *-1 and _ */
static inline bool resp_is_null(const struct resp_item *item)
{
    return item->number == -1 && (item->type == '$' || item->type == '*' || item->type == '_');
}

/* A text that ends at the first CRLF: + - , ( */
bool resp_is_line(char type);

/* The offset of the first CRLF at or behind `from`, or `length`. As in hiredis, a CR
 * or an LF alone is part of the text. */
size_t resp_find_crlf(const char *data, size_t from, size_t length);

/* As resp_read, past attributes; what is not there yet counts as broken. */
bool resp_read_value(const char *data, size_t length, struct resp_item *item, size_t *used);

/* The length of `count` whole values at the start of the bytes, with all that is inside
 * them. False: they are not whole, or broken. */
bool resp_skip(const char *data, size_t length, uint64_t count, size_t *used);

/* "<type><number>\r\n" and "$<length>\r\n<bytes>\r\n". False: out of memory, nothing appended. */
bool resp_append_header(struct buffer *out, char type, long long number);
bool resp_append_bulk(struct buffer *out, struct bytes bytes);

#endif
