/* Any bytes as a command line: no look-up reads outside of it, and no key is outside of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "route/command.h"
#include "route/slot.h"

enum { WORDS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Words of the command line are apart by newlines; each is a block of its own, for the sanitizer.
 */
static int words_of(const uint8_t *data, size_t size, struct bytes *argv)
{
    int argc = 0;

    while (size > 0 && argc < WORDS_MAX) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) : size;
        char *word = malloc(length + !length);

        if (word == NULL)
            abort();
        memcpy(word, data, length);
        argv[argc++] = (struct bytes){word, length};
        data += length + (end != NULL);
        size -= length + (end != NULL);
    }
    return argc;
}

static void expect(bool rule)
{
    if (!rule)
        abort();
}

static void look_at_range(const struct bytes *argv, int argc, const struct key_range *range)
{
    expect(range->first >= 1 && range->first <= range->last && range->last < argc);
    expect(range->step >= 1 && (range->last - range->first) % range->step == 0);
    for (int i = range->first; i <= range->last; i += range->step)
        expect(slot_of_key(argv[i].data, argv[i].length) < SLOT_COUNT);
}

static void look_at_keys(const struct command *c, const struct bytes *argv, int argc)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    int count = command_keys(c, argv, argc, ranges);

    expect(count >= 0 && count <= c->key_spec_count && count <= COMMAND_RANGES_MAX);
    for (int i = 0; i < count; i++)
        look_at_range(argv, argc, &ranges[i]);
    if (c->only_key != 0)
        expect(count == (c->only_key < argc) && (count == 0 || ranges[0].first == c->only_key));
    expect(!command_blocks(c, argv, argc) || (c->flags & COMMAND_BLOCKING) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes argv[WORDS_MAX];
    int argc = words_of(data, size, argv);
    const struct command *c = command_lookup(argv, argc);

    if (c != NULL)
        look_at_keys(c, argv, argc);
    for (int i = 0; i < argc; i++)
        free((char *)argv[i].data);
    return 0;
}
