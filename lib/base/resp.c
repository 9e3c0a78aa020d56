#include "base/resp.h"

#include <stdint.h>

enum {
    DIGITS_MAX = 19,  /* of an int64; also what keeps leading zeros from going on for ever */
    HEADER_SIZE = 24, /* a type byte, a sign, the digits, CRLF */
    CRLF_LENGTH = 2,
    KIND_LENGTH = 4, /* of a verbatim string: "txt:" */
};

static const long long count_max = UINT32_MAX;

/* Longer than anything that memory could hold; also what keeps sums of lengths in range. */
static const uint64_t bulk_max = SIZE_MAX / 4;

static const char crlf[] = "\r\n";

/* Whether the bytes at `at` are just this text. *used is where it ends. */
static enum resp_result expect(const char *data, size_t length, size_t at, const char *text,
                               size_t *used)
{
    for (; *text != '\0'; text++, at++) {
        if (at == length) {
            *used = length + 1;
            return RESP_PARTIAL;
        }
        if (data[at] != *text)
            return RESP_BROKEN;
    }
    *used = at;
    return RESP_WHOLE;
}

/* The number behind the type byte, and its CRLF. */
static enum resp_result read_number(const char *data, size_t length, long long *number,
                                    size_t *used)
{
    bool negative = length > 1 && data[1] == '-';
    size_t first = negative ? 2 : 1, at = first;
    uint64_t limit = (uint64_t)INT64_MAX + negative, value = 0;

    for (; at < length && (unsigned)(data[at] - '0') < 10; at++) {
        unsigned digit = (unsigned)(data[at] - '0');

        if (at - first == DIGITS_MAX || value > (limit - digit) / 10)
            return RESP_BROKEN;
        value = value * 10 + digit;
    }
    *used = length + 1;
    if (at >= length)
        return RESP_PARTIAL;
    if (at == first || (negative && value == 0))
        return RESP_BROKEN;
    *number = negative ? (long long)(0 - value) : (long long)value;
    return expect(data, length, at, crlf, used);
}

static enum resp_result read_line(const char *data, size_t length, struct resp_item *item,
                                  size_t *used)
{
    size_t end = resp_find_crlf(data, 1, length);

    if (end == length) {
        *used = length + 1;
        return RESP_PARTIAL;
    }
    item->text = (struct bytes){data + 1, end - 1};
    item->number = (long long)item->text.length;
    *used = end + CRLF_LENGTH;
    return RESP_WHOLE;
}

static enum resp_result read_integer(const char *data, size_t length, struct resp_item *item,
                                     size_t *used)
{
    return read_number(data, length, &item->number, used);
}

static enum resp_result read_boolean(const char *data, size_t length, struct resp_item *item,
                                     size_t *used)
{
    item->number = length > 1 && data[1] == 't';
    return expect(data, length, 1, item->number ? "t\r\n" : "f\r\n", used);
}

static enum resp_result read_null(const char *data, size_t length, struct resp_item *item,
                                  size_t *used)
{
    item->number = -1;
    return expect(data, length, 1, crlf, used);
}

static enum resp_result read_bulk(const char *data, size_t length, struct resp_item *item,
                                  size_t *used)
{
    enum resp_result result = read_number(data, length, &item->number, used);
    size_t first = *used, size;

    if (result != RESP_WHOLE || resp_is_null(item))
        return result;
    if (item->number < 0 || (uint64_t)item->number > bulk_max)
        return RESP_BROKEN;
    size = (size_t)item->number;
    if (length - first < size + CRLF_LENGTH) {
        *used = first + size + CRLF_LENGTH;
        return RESP_PARTIAL;
    }
    item->text = (struct bytes){data + first, size};
    return expect(data, length, first + size, crlf, used);
}

/* Without its kind a verbatim string is broken for hiredis too. */
static enum resp_result read_verbatim(const char *data, size_t length, struct resp_item *item,
                                      size_t *used)
{
    enum resp_result result = read_bulk(data, length, item, used);

    if (result == RESP_WHOLE &&
        (item->text.length < KIND_LENGTH || item->text.data[KIND_LENGTH - 1] != ':'))
        return RESP_BROKEN;
    return result;
}

static enum resp_result read_aggregate(const char *data, size_t length, struct resp_item *item,
                                       size_t *used)
{
    enum resp_result result = read_number(data, length, &item->number, used);
    uint64_t each = item->type == '%' || item->type == '|' ? 2 : 1;

    if (result != RESP_WHOLE || resp_is_null(item))
        return result;
    if (item->number < 0 || item->number > count_max)
        return RESP_BROKEN;
    item->values = (uint64_t)item->number * each;
    return RESP_WHOLE;
}

typedef enum resp_result reader(const char *data, size_t length, struct resp_item *item,
                                size_t *used);

/* Streamed types (; and .) are left out: no server sends them, hiredis knows none. */
static reader *const reader_of[UINT8_MAX + 1] = {
    ['+'] = read_line,      ['-'] = read_line,      [','] = read_line,      ['('] = read_line,
    [':'] = read_integer,   ['#'] = read_boolean,   ['_'] = read_null,      ['$'] = read_bulk,
    ['='] = read_verbatim,  ['!'] = read_bulk,      ['*'] = read_aggregate, ['~'] = read_aggregate,
    ['%'] = read_aggregate, ['>'] = read_aggregate, ['|'] = read_aggregate,
};

enum resp_result resp_read(const char *data, size_t length, struct resp_item *item, size_t *used)
{
    reader *read;

    if (length == 0) {
        *used = 1;
        return RESP_PARTIAL;
    }
    read = reader_of[(unsigned char)data[0]];
    if (read == NULL)
        return RESP_BROKEN;
    *item = (struct resp_item){.type = data[0]};
    return read(data, length, item, used);
}

bool resp_is_line(char type)
{
    return reader_of[(unsigned char)type] == read_line;
}

size_t resp_find_crlf(const char *data, size_t from, size_t length)
{
    const char *at = data + from, *end = data + length;

    while (at < end && (at = memchr(at, '\r', (size_t)(end - at))) != NULL) {
        if (at + 1 < end && at[1] == '\n')
            return (size_t)(at - data);
        at++;
    }
    return length;
}

bool resp_read_value(const char *data, size_t length, struct resp_item *item, size_t *used)
{
    size_t at = 0, inside;

    for (;;) {
        if (resp_read(data + at, length - at, item, used) != RESP_WHOLE)
            return false;
        at += *used;
        if (!resp_is_attribute(item))
            break;
        if (!resp_skip(data + at, length - at, item->values, &inside))
            return false;
        at += inside;
    }
    *used = at;
    return true;
}

bool resp_skip(const char *data, size_t length, uint64_t count, size_t *used)
{
    struct resp_item item;
    size_t at = 0, step;

    while (count > 0) {
        /* A value takes more than a byte: with fewer bytes than values they cannot be whole. */
        if (count > length - at || resp_read(data + at, length - at, &item, &step) != RESP_WHOLE)
            return false;
        at += step;
        count += item.values - (resp_is_attribute(&item) ? 0 : 1);
    }
    *used = at;
    return true;
}

static size_t write_header(char *to, char type, long long number)
{
    char digits[DIGITS_MAX + 1];
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t count = 0, at = 0;

    to[at++] = type;
    if (number < 0)
        to[at++] = '-';
    do
        digits[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    while (count > 0)
        to[at++] = digits[--count];
    to[at++] = '\r';
    to[at++] = '\n';
    return at;
}

bool resp_append_header(struct buffer *out, char type, long long number)
{
    char *to = buffer_reserve(out, HEADER_SIZE);

    if (to == NULL)
        return false;
    out->tail += write_header(to, type, number);
    return true;
}

bool resp_append_bulk(struct buffer *out, struct bytes bytes)
{
    char *to = buffer_reserve(out, HEADER_SIZE + bytes.length + CRLF_LENGTH);

    if (to == NULL)
        return false;
    to += write_header(to, '$', (long long)bytes.length);
    if (bytes.length > 0)
        memcpy(to, bytes.data, bytes.length);
    memcpy(to + bytes.length, crlf, CRLF_LENGTH);
    out->tail = (size_t)(to - out->data) + bytes.length + CRLF_LENGTH;
    return true;
}
