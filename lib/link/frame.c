#include "link/frame.h"

#include "base/resp.h"

/* More values than any reply has: what keeps the count from overflowing. */
static const uint64_t behind_max = UINT64_MAX / 2;

/* The line at `scanned` has no CRLF in what is there so far: only what is new is searched. */
static bool still_open(struct frame *frame, const char *data, size_t length)
{
    size_t from = frame->searched;

    if (from == 0)
        return false;
    /* The last byte that was searched may be the CR. */
    if (resp_find_crlf(data, from - 1, length) != length)
        return false;
    frame->searched = length;
    frame->needed = length + 1;
    return true;
}

static enum frame_result partial(struct frame *frame, const char *data, size_t length,
                                 size_t needed)
{
    if (length > frame->scanned && resp_is_line(data[frame->scanned]))
        frame->searched = length;
    frame->needed = frame->scanned + needed;
    return FRAME_PARTIAL;
}

/* One value more. True: it was the last one of the reply. */
static bool count_value(struct frame *frame, uint64_t inside)
{
    frame->behind += inside;
    if (frame->behind == 0)
        return true;
    frame->behind--;
    return false;
}

/* One item at `scanned`. Whole: *last says whether the reply is whole with it. */
static enum frame_result scan_item(struct frame *frame, const char *data, size_t length, bool *last)
{
    struct resp_item item;
    size_t used;
    enum resp_result result =
        resp_read(data + frame->scanned, length - frame->scanned, &item, &used);

    if (result == RESP_PARTIAL)
        return partial(frame, data, length, used);
    if (result == RESP_BROKEN || frame->behind > behind_max)
        return FRAME_BROKEN;
    frame->scanned += used;
    if (resp_is_attribute(&item))
        frame->behind += item.values;
    else
        *last = count_value(frame, item.values);
    return FRAME_WHOLE;
}

enum frame_result frame_scan(struct frame *frame, const char *data, size_t length, size_t *end)
{
    enum frame_result result = FRAME_WHOLE;
    bool last = false;

    if (length < frame->needed || still_open(frame, data, length))
        return FRAME_PARTIAL;
    frame->searched = 0;
    while (result == FRAME_WHOLE && !last) {
        size_t quick = frame_quick(data + frame->scanned, length - frame->scanned);

        frame->scanned += quick;
        if (quick > 0)
            last = count_value(frame, 0);
        else
            result = scan_item(frame, data, length, &last);
    }
    *end = frame->scanned;
    return result;
}

static bool is_array(char type)
{
    return type == '*' || type == '~' || type == '%' || type == '>';
}

bool frame_array_header(const char *data, size_t length, char *type, long long *count,
                        size_t *header_length)
{
    struct resp_item item;

    if (!resp_read_value(data, length, &item, header_length) || !is_array(item.type))
        return false;
    *type = item.type;
    *count = item.number;
    return true;
}

size_t frame_quick_long_bulk(const char *data, size_t length)
{
    size_t size = 0, digit, at;

    if (memcmp(data, "$-1\r\n", 5) == 0)
        return 5;
    for (at = 1; at < 5 && (digit = (size_t)data[at] - '0') <= 9; at++)
        size = size * 10 + digit;
    if (at < 4 || length < at + size + 4 || !frame_is_crlf(data + at) ||
        !frame_is_crlf(data + at + size + 2))
        return 0;
    return at + size + 4;
}
