#include "route/scan_cursor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NODE_BITS = 36, PASS_BITS = 12, SLOT_SHIFT = NODE_BITS + PASS_BITS, DIGITS_MOST = 19 };

bool scan_cursor_write(const struct scan_cursor *c, char text[SCAN_TEXT_SIZE])
{
    if (c->node >> NODE_BITS != 0)
        return false;
    snprintf(text, SCAN_TEXT_SIZE, "%" PRIu64,
             (uint64_t)c->slot << SLOT_SHIFT | (uint64_t)c->pass << NODE_BITS | c->node);
    return true;
}

bool scan_number(struct bytes text, uint64_t *number)
{
    *number = 0;
    if (text.length == 0 || text.length > DIGITS_MOST)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        unsigned digit = (unsigned)(text.data[i] - '0');

        if (digit > 9)
            return false;
        *number = *number * 10 + digit;
    }
    return true;
}

bool scan_cursor_read(uint64_t number, struct scan_cursor *c)
{
    *c = (struct scan_cursor){
        .slot = (uint16_t)(number >> SLOT_SHIFT & 0xFFFF),
        .pass = (uint16_t)(number >> NODE_BITS & ((1u << PASS_BITS) - 1)),
        .node = number & ((UINT64_C(1) << NODE_BITS) - 1),
    };
    return number >> (SLOT_SHIFT + 15) == 0 && c->slot <= SLOT_COUNT && c->pass != 0;
}

/* --- census --- */

static struct bytes take_until(struct bytes *text, char end)
{
    const char *at = text->length ? memchr(text->data, end, text->length) : NULL;
    size_t length = at ? (size_t)(at - text->data) : text->length;
    struct bytes taken = {text->data, length};

    text->data += length + (at != NULL);
    text->length -= length + (at != NULL);
    return taken;
}

static uint64_t mix(uint64_t hash, struct bytes word)
{
    for (size_t i = 0; i < word.length; i++)
        hash = (hash ^ (unsigned char)word.data[i]) * UINT64_C(0x100000001B3);
    return (hash ^ ' ') * UINT64_C(0x100000001B3);
}

static bool holds(struct bytes text, const char *part)
{
    return text.length > 0 && memmem(text.data, text.length, part, strlen(part)) != NULL;
}

/* "5461", or "0-5460"; what is neither, and a slot that is believed to be another's, is moving. */
static void add_slots(struct scan_census *census, struct bytes range, const uint16_t *owner,
                      uint16_t node)
{
    struct bytes first = take_until(&range, '-');
    uint64_t low, high;

    if (first.length == 0)
        return;
    if (!scan_number(first, &low)) {
        census->moving = true;
        return;
    }
    high = low;
    if (low >= SLOT_COUNT || (range.length > 0 && !scan_number(range, &high)) || high < low ||
        high >= SLOT_COUNT) {
        census->moving = true;
        return;
    }
    census->slots += (uint32_t)(high - low + 1);
    for (uint64_t slot = low; slot <= high; slot++)
        if (owner[slot] != node)
            census->moving = true;
}

/* "id address flags master ping pong epoch state slots…" */
enum { WORD_ID, WORD_ADDRESS, WORD_FLAGS, WORD_MASTER, WORD_PING, WORD_PONG, WORD_EPOCH };

static bool add_line(struct scan_census *census, struct bytes line, const uint16_t *owner,
                     uint16_t node)
{
    struct bytes words[WORD_EPOCH + 2];
    uint64_t hash = UINT64_C(0xCBF29CE484222325);

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        words[i] = take_until(&line, ' ');
    if (!holds(words[WORD_FLAGS], "myself"))
        return false;
    hash = mix(mix(hash, words[WORD_ID]), words[WORD_EPOCH]);
    while (line.length > 0) {
        struct bytes range = take_until(&line, ' ');

        add_slots(census, range, owner, node); /* "[5->-id]" is no number, but moving */
        hash = mix(hash, range);
    }
    census->sum += hash ^ hash >> 29;
    return true;
}

void scan_census_add(struct scan_census *census, struct bytes text,
                     const uint16_t owner[SLOT_COUNT], uint16_t node)
{
    while (text.length > 0) {
        struct bytes line = take_until(&text, '\n');

        if (line.length > 0 && line.data[line.length - 1] == '\r')
            line.length--;
        if (add_line(census, line, owner, node))
            return;
    }
    census->moving = true;
}

uint16_t scan_census_pass(const struct scan_census *census, uint32_t owned)
{
    enum { FIRST = SCAN_PASS_UNSETTLED + 1 };

    if (census->moving || census->slots != owned)
        return SCAN_PASS_UNSETTLED;
    return (uint16_t)(FIRST + census->sum % ((1u << PASS_BITS) - FIRST));
}
