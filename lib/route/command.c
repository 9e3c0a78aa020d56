/* Look-up and keys of commands.
 *
 * A name is compared as one or two machine words. Its first eight and its last eight bytes (or the
 * one word it fits in, with zeros behind) are hashed, the hash leads to the only row that it can
 * be, and that row's words are compared. generate_commands.py computes the same in hash_input(). */
#include "route/command.h"

#include <limits.h>
#include <string.h>

#include "base/word.h"
#include "route/command_table.inc"

#define APART __attribute__((noinline))

/* Sets the bit in which a letter's lower case differs from its upper case. */
#define FOLD UINT64_C(0x2020202020202020)

static inline char lower_of(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool equal_folded(const char *bytes, const char *lower, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (lower_of(bytes[i]) != lower[i])
            return false;
    return true;
}

bool bytes_equal_ignoring_case(struct bytes bytes, const char *lower)
{
    return strlen(lower) == bytes.length && equal_folded(bytes.data, lower, bytes.length);
}

/* --- look-up --- */

static inline const struct command *row_of(uint64_t hash_input)
{
    return &table[row_of_hash[hash_input * HASH_MULTIPLIER >> (64 - HASH_BITS)]];
}

/* Only letters may differ in a bit of FOLD; their bytes have that bit and the one above. */
static inline bool equal_word(uint64_t word, uint64_t lower)
{
    return (word | (lower >> 1 & FOLD & lower)) == lower;
}

/* The word that a row is looked up by, which is the end of its name. */
static const char *word_of(const struct command *c)
{
    return c->name + strlen(c->name) - c->length;
}

static bool is_named(const struct command *c, struct bytes name)
{
    return c->length == name.length && equal_folded(name.data, word_of(c), name.length);
}

APART const struct command *command_subcommand(const struct command *container,
                                               const struct bytes *argv, int argc)
{
    if (argc > 1)
        for (int i = 0; i < container->subcommand_count; i++)
            if (is_named(&container->subcommands[i], argv[1]))
                return &container->subcommands[i];
    return container;
}

/* Not two to eight bytes. */
static APART const struct command *lookup_long(const struct bytes *argv, int argc)
{
    struct bytes name = argv[0];
    const struct command *c;
    uint64_t head, tail;

    if (name.length <= WORD || name.length > LONGEST_NAME)
        return NULL;
    head = word_load(name.data);
    tail = word_load(name.data + name.length - WORD);
    c = row_of((head | FOLD) ^ ((tail | FOLD) << 3 | (tail | FOLD) >> 61));
    if (c->length != name.length || !equal_word(head, c->word[0]) || !equal_word(tail, c->word[1]))
        return NULL;
    if (name.length > 2 * WORD && !is_named(c, name))
        return NULL;
    return c->subcommand_count == 0 ? c : command_subcommand(c, argv, argc);
}

_Static_assert(SHORTEST_NAME >= 2, "word_load_short reads two bytes");

/* Run for every command; without a stack of its own, as the calls stand at its ends. */
const struct command *command_lookup(const struct bytes *argv, int argc)
{
    const struct command *c;
    size_t length;
    uint64_t word;

    if (argc < 1)
        return NULL;
    length = argv[0].length;
    if (length - SHORTEST_NAME > WORD - SHORTEST_NAME)
        return lookup_long(argv, argc);
    word = word_load_short(argv[0].data, length);
    c = row_of(word | FOLD);
    if (c->length != length || !equal_word(word, c->word[0]))
        return NULL;
    return c->subcommand_count == 0 ? c : command_subcommand(c, argv, argc);
}

/* --- keys --- */

struct line {
    const struct bytes *argv;
    int argc;
};

/* How many words belong to an option, 0 when the word is none. */
static int values_of(const struct command_option *options, struct bytes word)
{
    for (; options != NULL && options->word != NULL; options++)
        if (bytes_equal_ignoring_case(word, options->word))
            return options->values;
    return 0;
}

static bool is_word(const struct key_spec *spec, struct bytes word)
{
    return bytes_equal_ignoring_case(word, spec->word) ||
           (spec->other_word != NULL && bytes_equal_ignoring_case(word, spec->other_word));
}

/* Where a word of the specification stands, with something behind it, searching to the end; 0:
 * nowhere. */
static int find_word(const struct line *line, const struct key_spec *spec,
                     const struct command_option *options)
{
    int found = 0;

    for (int i = spec->start; i < line->argc - 1; i++) {
        if (is_word(spec, line->argv[i])) {
            found = i;
            if (spec->search != KEYS_AFTER_LAST_WORD)
                break;
        }
        i += values_of(options, line->argv[i]);
    }
    return found;
}

static int find_word_backwards(const struct line *line, const struct key_spec *spec)
{
    for (int i = line->argc + spec->start; i > 0; i--)
        if (is_word(spec, line->argv[i]))
            return i;
    return 0;
}

static int search_word(const struct command *c, const struct key_spec *spec,
                       const struct line *line)
{
    int at = spec->start < 0 ? find_word_backwards(line, spec) : find_word(line, spec, c->options);

    return at > 0 ? at + 1 : 0;
}

/* The index that the keys are found from; 0: there are none. `found` ranges were, before. */
static int search(const struct command *c, const struct key_spec *spec, const struct line *line,
                  int found)
{
    int at = 0;

    switch (spec->search) {
    case KEYS_AT_INDEX:
        at = spec->start;
        break;
    case KEYS_AT_INDEX_ELSE:
        at = found > 0 ? 0 : spec->start;
        break;
    case KEYS_AFTER_WORD:
    case KEYS_AFTER_LAST_WORD:
        at = search_word(c, spec, line);
        break;
    }
    return at < line->argc ? at : 0;
}

/* A count as the server reads it: digits, and what follows them does not matter. -1: none. */
static int count_of(struct bytes word)
{
    long count = 0;
    size_t i = word.length > 0 && word.data[0] == '+';

    if (i == word.length || word.data[i] < '0' || word.data[i] > '9')
        return -1;
    for (; i < word.length && word.data[i] >= '0' && word.data[i] <= '9'; i++) {
        count = count * 10 + (word.data[i] - '0');
        if (count > INT_MAX)
            return -1;
    }
    return (int)count;
}

static struct key_range find_to_last(const struct key_spec *spec, const struct line *line, int at)
{
    struct key_range range = {at, at + spec->last, spec->step};

    if (spec->last < 0 && spec->limit > 1)
        range.last = at + (line->argc - at) / spec->limit + spec->last;
    else if (spec->last < 0)
        range.last = line->argc + spec->last;
    return range;
}

static struct key_range find_by_count(const struct key_spec *spec, const struct line *line, int at)
{
    struct key_range range = {0, 0, spec->step};
    int count = at + spec->count_at < line->argc ? count_of(line->argv[at + spec->count_at]) : -1;

    if (count > 0 && count < line->argc) {
        range.first = at + spec->first;
        range.last = range.first + (count - 1) * spec->step;
    }
    return range;
}

static struct key_range find(const struct key_spec *spec, const struct line *line, int at)
{
    struct key_range range = {0, 0, 1};

    switch (spec->find) {
    case KEYS_TO_LAST:
        range = find_to_last(spec, line, at);
        break;
    case KEYS_BY_COUNT:
        range = find_by_count(spec, line, at);
        break;
    }
    return range;
}

int command_keys(const struct command *c, const struct bytes *argv, int argc,
                 struct key_range ranges[COMMAND_RANGES_MAX])
{
    struct line line = {argv, argc};
    int found = 0;

    for (int i = 0; i < c->key_spec_count && found < COMMAND_RANGES_MAX; i++) {
        const struct key_spec *spec = &c->key_specs[i];
        int at = search(c, spec, &line, found);
        struct key_range range;

        if (at == 0)
            continue;
        range = find(spec, &line, at);
        if (range.first < 1 || range.last < range.first || range.last >= argc)
            continue;
        range.last -= (range.last - range.first) % range.step;
        ranges[found++] = range;
    }
    return found;
}

/* --- the rest --- */

static bool asks_to_block(const struct command *c, const struct line *line)
{
    static const struct key_spec streams = {.search = KEYS_AFTER_WORD, .word = "streams", .start = 1};
    int keys = find_word(line, &streams, c->options);
    struct line before = {line->argv, keys > 0 ? keys : line->argc};

    for (int i = 1; i < before.argc; i += 1 + values_of(c->options, before.argv[i]))
        if (bytes_equal_ignoring_case(before.argv[i], "block"))
            return true;
    return false;
}

bool command_blocks(const struct command *c, const struct bytes *argv, int argc)
{
    struct line line = {argv, argc};

    if ((c->flags & COMMAND_BLOCKS_IF_ASKED) != 0)
        return asks_to_block(c, &line);
    return (c->flags & COMMAND_BLOCKING) != 0;
}

size_t command_count(void)
{
    return TABLE_ROWS - 1;
}

const struct command *command_at(size_t i)
{
    return i < command_count() ? &table[i + 1] : NULL;
}
