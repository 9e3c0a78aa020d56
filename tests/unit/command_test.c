/* The command table: every row holds together, names are found, keys stand where they should. */
#include "route/command.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stats/stats.h"

enum { WORDS_MAX = 32 };

/* A command line; its words stand in blocks of exactly their size, so that a sanitizer sees a byte
 * too many read. */
struct line {
    struct bytes argv[WORDS_MAX];
    int argc;
};

static void add_word(struct line *line, const char *word, size_t length)
{
    char *copy = malloc(length + !length);

    assert_non_null(copy);
    assert_true(line->argc < WORDS_MAX);
    memcpy(copy, word, length);
    line->argv[line->argc++] = (struct bytes){copy, length};
}

/* Words apart by single spaces; "''" is the empty word. */
static struct line line_of(const char *text)
{
    struct line line = {.argc = 0};

    while (*text != '\0') {
        size_t length = strcspn(text, " ");

        if (length == 2 && memcmp(text, "''", 2) == 0)
            add_word(&line, "", 0);
        else
            add_word(&line, text, length);
        text += length + (text[length] == ' ');
    }
    return line;
}

static void free_line(struct line *line)
{
    for (int i = 0; i < line->argc; i++)
        free((char *)line->argv[i].data);
}

static const struct command *look_up(const char *text)
{
    struct line line = line_of(text);
    const struct command *c = command_lookup(line.argv, line.argc);

    free_line(&line);
    return c;
}

static const struct command *row(const char *text)
{
    const struct command *c = look_up(text);

    if (c == NULL)
        fail_msg("%s is not in the table", text);
    return c;
}

/* "xinfo|stream" as it is sent: "xinfo stream". */
static void to_line(const char *name, char line[64])
{
    char *bar;

    snprintf(line, 64, "%s", name);
    bar = strchr(line, '|');
    if (bar != NULL)
        *bar = ' ';
}

/* --- every row --- */

static void test_every_row_is_found_by_its_name(void **state)
{
    char line[64];

    (void)state;
    assert_true(command_count() > 300);
    assert_null(command_at(command_count()));
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);

        to_line(c->name, line);
        assert_ptr_equal(look_up(line), c);
        for (char *p = line; *p != '\0'; p++)
            *p = (char)toupper((unsigned char)*p);
        assert_ptr_equal(look_up(line), c);
        for (char *p = line; *p != '\0'; p += 1 + (p[1] != '\0'))
            *p = (char)tolower((unsigned char)*p);
        assert_ptr_equal(look_up(line), c);
    }
}

/* Counters of commands are kept in an array by these. */
static void test_rows_are_numbered_in_their_order(void **state)
{
    (void)state;
    assert_true(command_count() < STATS_ROWS);
    for (size_t i = 0; i < command_count(); i++)
        assert_int_equal(command_at(i)->number, i + 1);
}

/* One bit of a name changed is another name, unless it is the case of a letter. */
static void test_no_row_is_found_by_a_name_that_is_nearly_its_own(void **state)
{
    char line[64];

    (void)state;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);

        to_line(c->name, line);
        for (char *p = line; *p != '\0' && *p != ' '; p++)
            for (int bit = 0; bit < 8; bit++) {
                char before = *p;

                *p = (char)(before ^ 1 << bit);
                if (*p != '\0' && *p != ' ' && tolower((unsigned char)*p) != before)
                    assert_ptr_not_equal(look_up(line), c);
                *p = before;
            }
    }
}

/* Names the row that breaks the rule. */
#define EXPECT_OF(c, rule)                                                                         \
    do {                                                                                           \
        if (!(rule))                                                                               \
            fail_msg("%s: %s", (c)->name, #rule);                                                  \
    } while (0)

static void expect_sound_keys(const struct command *c)
{
    EXPECT_OF(c, c->key_spec_count <= COMMAND_RANGES_MAX);
    for (int i = 0; i < c->key_spec_count; i++) {
        const struct key_spec *spec = &c->key_specs[i];
        bool after = spec->search == KEYS_AFTER_WORD || spec->search == KEYS_AFTER_LAST_WORD;

        EXPECT_OF(c, after == (spec->word != NULL));
        EXPECT_OF(c, spec->start > 0 || (after && spec->start < 0));
        EXPECT_OF(c, spec->step > 0);
        EXPECT_OF(c, spec->find == KEYS_TO_LAST || spec->first > spec->count_at);
    }
    if (c->only_key != 0) {
        EXPECT_OF(c, c->key_spec_count == 1);
        EXPECT_OF(c, c->only_key == c->key_specs[0].start);
        EXPECT_OF(c, c->only_key < abs(c->arity));
    }
}

static void expect_sound_class(const struct command *c)
{
    bool has_keys = c->key_spec_count > 0;
    bool by_keys = c->klass == COMMAND_KEYED || c->klass == COMMAND_SPLIT;
    bool to_many = c->klass == COMMAND_SPLIT || c->klass == COMMAND_ALL_SHARDS ||
                   c->klass == COMMAND_ALL_NODES;

    EXPECT_OF(c, c->klass <= COMMAND_UNSUPPORTED && c->response <= RESPONSE_SPECIAL);
    EXPECT_OF(c, has_keys || !by_keys);
    EXPECT_OF(c, by_keys || !has_keys || c->klass == COMMAND_TRANSACTION ||
                     c->klass == COMMAND_SUBSCRIBE || c->klass == COMMAND_UNSUBSCRIBE ||
                     c->klass == COMMAND_UNSUPPORTED);
    EXPECT_OF(c, c->klass != COMMAND_SPLIT || c->only_key == 0);
    EXPECT_OF(c, !to_many || c->response != RESPONSE_SPECIAL);
}

static void expect_sound_flags(const struct command *c)
{
    bool changes = (c->flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE)) != 0;
    bool reads = (c->flags & COMMAND_READONLY) != 0;

    EXPECT_OF(c, !(reads && changes));
    EXPECT_OF(c, !(command_repeatable(c) && changes));
    EXPECT_OF(c, command_repeatable(c) || !reads);
    EXPECT_OF(c, !(c->flags & COMMAND_BLOCKS_IF_ASKED) || (c->flags & COMMAND_BLOCKING));
}

static void test_every_row_holds_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);

        EXPECT_OF(c, c->arity != 0);
        expect_sound_keys(c);
        expect_sound_class(c);
        expect_sound_flags(c);
    }
}

/* --- look-up --- */

static void test_unknown_names_have_no_row(void **state)
{
    static const char *const names[] = {"g",
                                        "ge",
                                        "gett",
                                        "getx",
                                        "hgetal",
                                        "nonsense",
                                        "zrangebyscor",
                                        "zrangebyscores",
                                        "georadiusbymember_r0",
                                        "georadiusbymember_row",
                                        "get|",
                                        "xinfo|stream",
                                        "''",
                                        "averyveryverylongnamethatnobodyhas"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_null(look_up(names[i]));
    assert_null(command_lookup(NULL, 0));
}

/* A name is compared to its end, also when what stands there is zero. */
static void test_zero_bytes_are_part_of_a_name(void **state)
{
    static const struct bytes names[] = {
        {"get\0", 4}, {"get\0\0\0\0\0", 8}, {"\0\0\0\0", 4}, {"\0\0\0\0\0\0\0\0\0\0", 10}};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_null(command_lookup(&names[i], 1));
}

static void test_subcommands(void **state)
{
    (void)state;
    assert_string_equal(row("XINFO Stream k")->name, "xinfo|stream");
    assert_string_equal(row("cluster COUNT-FAILURE-REPORTS id")->name,
                        "cluster|count-failure-reports");
    assert_string_equal(row("CommandLog GET 1 slow")->name, "commandlog|get");
    assert_string_equal(row("COMMANDLOG NONE")->name, "commandlog");
    assert_string_equal(row("COMMANDLOG")->name, "commandlog");
    assert_string_equal(row("XINFO")->name, "xinfo");
    assert_string_equal(row("XINFO STREAMS k")->name, "xinfo");
    assert_string_equal(row("XINFO ''")->name, "xinfo");
    assert_string_equal(row("command")->name, "command");
    assert_string_equal(row("get stream")->name, "get");
}

/* --- classes --- */

static void test_classes(void **state)
{
    static const struct {
        const char *line;
        enum command_class klass;
    } rows[] = {
        {"get", COMMAND_KEYED},
        {"msetnx", COMMAND_KEYED},
        {"eval", COMMAND_KEYED},
        {"spublish", COMMAND_KEYED},
        {"mget", COMMAND_SPLIT},
        {"unlink", COMMAND_SPLIT},
        {"dbsize", COMMAND_ALL_SHARDS},
        {"keys", COMMAND_ALL_SHARDS},
        {"flushall", COMMAND_ALL_SHARDS},
        {"config set", COMMAND_ALL_NODES},
        {"script load", COMMAND_ALL_NODES},
        {"ping", COMMAND_ANY_NODE},
        {"publish", COMMAND_ANY_NODE},
        {"cluster slots", COMMAND_ANY_NODE},
        {"role", COMMAND_MASTER},
        {"info", COMMAND_ALL_SHARDS},
        {"wait", COMMAND_ALL_SHARDS},
        {"role", COMMAND_MASTER},
        {"auth", COMMAND_STATE},
        {"client setname", COMMAND_STATE},
        {"client setinfo", COMMAND_STATE},
        {"asking", COMMAND_READ_MODE},
        {"client id", COMMAND_CONNECTION},
        {"client nonsense", COMMAND_CONNECTION},
        {"quit", COMMAND_QUIT},
        {"multi", COMMAND_TRANSACTION},
        {"scan", COMMAND_SCAN},
        {"ssubscribe", COMMAND_SUBSCRIBE},
        {"client capa", COMMAND_STATE},
        {"client import-source", COMMAND_STATE},
        {"commandlog reset", COMMAND_ALL_NODES},
        {"cluster slot-stats", COMMAND_ALL_SHARDS},
        {"script show", COMMAND_ALL_SHARDS},
        {"vsim", COMMAND_KEYED},
        {"cluster meet", COMMAND_UNSUPPORTED},
        {"cluster nonsense", COMMAND_ANY_NODE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (row(rows[i].line)->klass != rows[i].klass)
            fail_msg("%s has class %d", rows[i].line, row(rows[i].line)->klass);
}

static void test_responses(void **state)
{
    static const struct {
        const char *line;
        enum command_response response;
    } rows[] = {
        {"mget", RESPONSE_DEFAULT_KEYED},
        {"keys", RESPONSE_DEFAULT_KEYLESS},
        {"mset", RESPONSE_ALL_SUCCEEDED},
        {"script load", RESPONSE_ALL_SUCCEEDED},
        {"script kill", RESPONSE_ONE_SUCCEEDED},
        {"script exists", RESPONSE_AND},
        {"lastsave", RESPONSE_MIN},
        {"del", RESPONSE_SUM},
        {"dbsize", RESPONSE_SUM},
        {"slowlog len", RESPONSE_SUM},
        {"commandlog len", RESPONSE_SUM},
        {"latency reset", RESPONSE_SUM},
        {"script show", RESPONSE_ONE_SUCCEEDED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(row(rows[i].line)->response, rows[i].response);
}

static void test_repeatable(void **state)
{
    static const char *const yes[] = {"get",     "mget",  "ping",          "echo",
                                      "time",    "info",  "dbsize",        "keys",
                                      "eval_ro", "xread", "cluster slots", "config get"};
    static const char *const no[] = {"set",      "incr",    "del",         "eval",       "evalsha",
                                     "fcall",    "publish", "script load", "config set", "acl log",
                                     "flushall", "xinfo",   "bgsave",      "xreadgroup", "config"};

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        assert_true(command_repeatable(row(yes[i])));
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        assert_false(command_repeatable(row(no[i])));
}

static void test_blocking(void **state)
{
    static const struct {
        const char *line;
        bool blocks;
    } lines[] = {
        {"get k", false},
        {"blpop k 0", true},
        {"wait 1 0", true},
        {"xread streams k 0", false},
        {"xread block 0 streams k 0", true},
        {"XREAD COUNT 1 BLOCK 0 STREAMS k 0", true},
        {"xread count 1 streams block 0", false},
        {"xread streams streams block 0 0", false},
        {"xreadgroup group block g streams k >", false},
        {"xreadgroup group g block streams k >", false},
        {"xreadgroup noack block 5 group g c streams k >", true},
        {"xreadgroup group g c", false},
        {"xread block", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct line line = line_of(lines[i].line);
        const struct command *c = command_lookup(line.argv, line.argc);

        if (command_blocks(c, line.argv, line.argc) != lines[i].blocks)
            fail_msg("%s", lines[i].line);
        free_line(&line);
    }
}

/* --- keys --- */

static void append_keys(const struct line *line, const struct key_range *range, char *text)
{
    assert_in_range(range->first, 1, line->argc - 1);
    assert_in_range(range->last, range->first, line->argc - 1);
    assert_int_equal((range->last - range->first) % range->step, 0);
    for (int i = range->first; i <= range->last; i += range->step)
        sprintf(text + strlen(text), "%s%.*s", *text ? " " : "", (int)line->argv[i].length,
                line->argv[i].data);
}

static void expect_keys_of(const struct command *c, const char *text, const char *keys)
{
    struct line line = line_of(text);
    struct key_range ranges[COMMAND_RANGES_MAX];
    char found[256] = "";
    int count;

    if (c == NULL)
        c = command_lookup(line.argv, line.argc);
    count = command_keys(c, line.argv, line.argc, ranges);
    for (int i = 0; i < count; i++)
        append_keys(&line, &ranges[i], found);
    if (strcmp(found, keys) != 0)
        fail_msg("%s: keys \"%s\", not \"%s\"", text, found, keys);
    free_line(&line);
}

static void test_keys(void **state)
{
    static const struct {
        const char *line, *keys;
    } lines[] = {
        {"get k", "k"},
        {"set k v ex 10", "k"},
        {"mset a 1 b 2 c 3", "a b c"},
        {"mset a 1 b", "a b"},
        {"del a b c", "a b c"},
        {"blpop a b 0", "a b"},
        {"rename a b", "a b"},
        {"lcs a b idx", "a b"},
        {"object encoding k", "k"},
        {"spublish channel m", "channel"},
        {"bitop and d a b", "d a b"},
        {"eval x 2 a b c", "a b"},
        {"eval x 0 a", ""},
        {"zunionstore d 2 a b weights 1 2", "d a b"},
        {"zmpop 2 a b min", "a b"},
        {"xread count 2 streams a b 0 0", "a b"},
        {"xread count 2 block 1 STREAMS streams 0", "streams"},
        {"xreadgroup group streams c streams k >", "k"},
        {"xreadgroup count 1 group streams streams streams k >", "k"},
        {"sort k store store limit 0 5", "k store"},
        {"georadius k 1 2 3 m store d", "k d"},
        {"georadius k 1 2 3 m store d STOREDIST e", "k e"},
        {"georadius k 1 2 3 m storedist e store store", "k store"},
        {"georadiusbymember k store 3 m asc", "k"},
        {"VADD k VALUES 1 1 e", "k"},
        {"hgetex k FIELDS 1 f", "k"},
        {"sort k by w_* get store store d", "k d"},
        {"sort k store d store e", "k e"},
        {"sort_ro k by store get x", "k"},
        {"migrate h 1 k 0 10", "k"},
        {"migrate h 1 '' 0 10 auth keys keys a b", "a b"},
        {"migrate h 1 '' 0 10 copy auth2 keys keys keys a b", "a b"},
        {"hexpire k 10 fields 1 f", "k"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        expect_keys_of(NULL, lines[i].line, lines[i].keys);
}

static void test_malformed_lines_have_no_keys(void **state)
{
    static const char *const lines[] = {
        "get",
        "del",
        "mset",
        "blpop",
        "blpop a",
        "lcs a",
        "eval x",
        "eval",
        "eval x 3 a b",
        "eval x -1 a",
        "eval x '' a",
        "eval x no a",
        "eval x 99999999999999999999 a",
        "eval x 2147483647 a",
        "eval x 4294967297 a",
        "xread",
        "xread streams",
        "xread block 0 streams",
        "xread streams k",
        "xread count streams k 0",
        "zmpop 1",
        "sort",
        "migrate h 1",
        "object encoding",
        "eval x + a",
        "xinfo nonsense k",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        expect_keys_of(NULL, lines[i], "");
}

/* The server has no command left that is searched from its end, but modules may. */
static void test_search_from_the_end(void **state)
{
    static const struct key_spec spec = {
        .search = KEYS_AFTER_WORD, .word = "keys", .start = -2, .last = -1, .step = 1};
    static const struct command c = {.name = "x", .key_specs = &spec, .key_spec_count = 1};

    (void)state;
    expect_keys_of(&c, "x keys a keys b c", "b c");
    expect_keys_of(&c, "x KEYS a", "a");
    expect_keys_of(&c, "x a keys", "");
    expect_keys_of(&c, "keys a", "");
    expect_keys_of(&c, "x", "");
}

static void test_equal_ignoring_case(void **state)
{
    (void)state;
    assert_true(bytes_equal_ignoring_case((struct bytes){"NoAck", 5}, "noack"));
    assert_false(bytes_equal_ignoring_case((struct bytes){"NoAck", 4}, "noack"));
    assert_false(bytes_equal_ignoring_case((struct bytes){"NoAck", 5}, "noac"));
    assert_false(bytes_equal_ignoring_case((struct bytes){"@", 1}, "`"));
    assert_true(bytes_equal_ignoring_case((struct bytes){NULL, 0}, ""));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_found_by_its_name),
        cmocka_unit_test(test_rows_are_numbered_in_their_order),
        cmocka_unit_test(test_no_row_is_found_by_a_name_that_is_nearly_its_own),
        cmocka_unit_test(test_every_row_holds_together),
        cmocka_unit_test(test_unknown_names_have_no_row),
        cmocka_unit_test(test_zero_bytes_are_part_of_a_name),
        cmocka_unit_test(test_subcommands),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_repeatable),
        cmocka_unit_test(test_blocking),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_malformed_lines_have_no_keys),
        cmocka_unit_test(test_search_from_the_end),
        cmocka_unit_test(test_equal_ignoring_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
