/* Whole replies make one whole reply, whatever they are and however they are merged. The
 * input is the kind, a number of keys for each part, and replies one behind the other. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "link/frame.h"
#include "session/merge.h"

enum { PARTS_MAX = 4, KEYS_MAX = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static size_t take_parts(const char *data, size_t length, struct merge_part *parts)
{
    size_t count = 0, end = 0;

    for (; count < PARTS_MAX; count++, data += end, length -= end) {
        struct frame frame = {0};

        if (frame_scan(&frame, data, length, &end) != FRAME_WHOLE)
            break;
        parts[count].reply = (struct bytes){data, end};
        parts[count].server = "127.0.0.1:7001";
    }
    return count;
}

/* Up to three keys for each part, dealt out in turn. */
static void deal_keys(struct merge_part *parts, size_t count, unsigned keys,
                      uint32_t (*positions)[KEYS_MAX])
{
    uint32_t position = 0;

    for (size_t i = 0; i < count; i++) {
        parts[i].positions = positions[i];
        parts[i].count = keys >> (2 * i) & KEYS_MAX;
    }
    for (uint32_t j = 0; j < KEYS_MAX; j++)
        for (size_t i = 0; i < count; i++)
            if (j < parts[i].count)
                positions[i][j] = position++;
}

static void must_be_one_reply(const struct buffer *out)
{
    struct frame frame = {0};
    size_t end = 0;

    must(frame_scan(&frame, buffer_bytes(out), buffer_length(out), &end) == FRAME_WHOLE);
    must(end == buffer_length(out));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct merge_part parts[PARTS_MAX] = {{{0}, NULL, 0, NULL}};
    uint32_t positions[PARTS_MAX][KEYS_MAX];
    struct buffer out;
    size_t count;

    if (size < 2)
        return 0;
    count = take_parts((const char *)bytes + 2, size - 2, parts);
    deal_keys(parts, count, bytes[1], positions);
    buffer_init(&out);
    must(
        merge_replies((enum merge_kind)(bytes[0] % (MERGE_ONE_SUCCEEDED + 1)), parts, count, &out));
    must_be_one_reply(&out);
    buffer_deinit(&out);
    return 0;
}
