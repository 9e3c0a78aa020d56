/* Framing gives one answer, in whatever pieces a reply comes, and all its ways agree. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/resp.h"
#include "link/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void in_pieces(const char *data, size_t length, size_t step, enum frame_result expected,
                      size_t expected_end)
{
    struct frame frame = {0};
    enum frame_result result = FRAME_PARTIAL;
    size_t end = 0, now = 0;

    while ((result = frame_scan(&frame, data, now, &end)) == FRAME_PARTIAL && now < length) {
        must(frame.needed > now);
        now = length - now < step ? length : now + step;
    }
    must(result == expected);
    must(result != FRAME_WHOLE || end == expected_end);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *data = (const char *)bytes + 1;
    size_t length = size - 1, end = 0, used = 0, quick;
    struct frame frame = {0};
    enum frame_result result;

    if (size == 0)
        return 0;
    result = frame_scan(&frame, data, length, &end);
    in_pieces(data, length, 1, result, end);
    in_pieces(data, length, 1u + bytes[0], result, end);
    quick = frame_quick(data, length);
    must(quick == 0 || (result == FRAME_WHOLE && quick == end));
    must(resp_skip(data, length, 1, &used) == (result == FRAME_WHOLE));
    must(result != FRAME_WHOLE || used == end);
    return 0;
}
