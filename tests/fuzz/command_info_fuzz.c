/* Whatever a server says of a command: nothing, or a row that finds its keys inside of any command
 * line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "route/command_info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool rule)
{
    if (!rule)
        abort();
}

static void look_at_line(const struct command *c, const struct bytes *argv, int argc)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    int count = command_keys(c, argv, argc, ranges);

    expect(count >= 0 && count <= c->key_spec_count && count <= COMMAND_RANGES_MAX);
    for (int i = 0; i < count; i++) {
        expect(ranges[i].first >= 1 && ranges[i].first <= ranges[i].last && ranges[i].last < argc);
        expect(ranges[i].step >= 1);
    }
    if (c->only_key != 0 && argc > c->only_key)
        expect(count == 1 && ranges[0].first == c->only_key);
    command_blocks(c, argv, argc);
}

static void look_at(const struct command *c)
{
    static const struct bytes argv[] = {{"name", 4}, {"3", 1},    {"keys", 4}, {"2", 1},
                                        {"key", 3},  {"from", 4}, {"b", 1},    {"", 0}};

    expect(c->name != NULL && strlen(c->name) <= COMMAND_NAME_MAX);
    expect(c->length > 0 && c->length <= strlen(c->name));
    expect(c->klass <= COMMAND_UNSUPPORTED);
    expect((c->flags & (COMMAND_WRITE | COMMAND_REPEATABLE)) !=
               (COMMAND_WRITE | COMMAND_REPEATABLE) ||
           (c->flags & COMMAND_READONLY) != 0);
    for (int argc = 1; argc <= (int)(sizeof argv / sizeof argv[0]); argc++)
        look_at_line(c, argv, argc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    unsigned rows = 0;
    const struct command *c = command_info_parse((const char *)data, size,
                                                 (struct bytes){"my.own", 6}, NULL, &arena, &rows);

    expect((c == NULL) == (rows == 0));
    if (c != NULL) {
        expect(rows == 1U + c->subcommand_count);
        look_at(c);
        for (int i = 0; i < c->subcommand_count; i++)
            look_at(&c->subcommands[i]);
    }
    arena_deinit(&arena);
    return 0;
}
