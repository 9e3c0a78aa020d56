/* What servers say of commands, as rows; and that rows are remembered, but not without end. */
#include "route/command_info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "route/learned.h"

/* A description in words: lists in parentheses, numbers bare, the rest strings. '{' is a map, '<' a
 * set, both of RESP3. */
static size_t count_values(const char *at)
{
    size_t count = 0;
    int depth = 0;

    for (; depth >= 0 && *at != '\0'; at++) {
        bool opens = strchr("({<", *at) != NULL, closes = strchr(")}>", *at) != NULL;
        bool begins = *at != ' ' && !closes && (opens || at[-1] == ' ' || strchr("({<", at[-1]));

        count += depth == 0 && begins;
        depth += opens - closes;
    }
    return count;
}

static size_t to_resp(const char *text, char *out, size_t size)
{
    size_t length = 0;

    while (*text != '\0') {
        const char *opening = strchr("({<", *text);
        size_t word = strcspn(text, " (){}<>");

        if (opening != NULL) {
            size_t values = count_values(text + 1);

            length += (size_t)snprintf(out + length, size - length, "%c%zu\r\n",
                                       *text == '{'   ? '%'
                                       : *text == '<' ? '~'
                                                      : '*',
                                       *text == '{' ? values / 2 : values);
            text++;
        } else if (word == 0) {
            text++;
        } else {
            bool number = strspn(text, "-0123456789") == word;

            if (number)
                length +=
                    (size_t)snprintf(out + length, size - length, ":%.*s\r\n", (int)word, text);
            else
                length += (size_t)snprintf(out + length, size - length, "$%zu\r\n%.*s\r\n", word,
                                           (int)word, text);
            text += word;
        }
    }
    return length;
}

struct parsed {
    struct arena arena;
    const struct command *c;
    unsigned rows;
};

static struct parsed parse_for(const char *name, const char *text, const struct command *container)
{
    struct parsed p = {.c = NULL};
    char reply[4096], *exact;
    size_t length = to_resp(text, reply, sizeof reply);

    exact = malloc(length); /* for the sanitizer */
    assert_non_null(exact);
    memcpy(exact, reply, length);
    p.c = command_info_parse(exact, length, (struct bytes){name, strlen(name)}, container, &p.arena,
                             &p.rows);
    free(exact);
    return p;
}

static struct parsed parse(const char *text)
{
    return parse_for("m.x", text, NULL);
}

/* The indices of the keys of a line, as "1,3". */
static void expect_keys(const struct command *c, const char *line, const char *expected)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    struct bytes argv[16];
    char found[64] = "";
    int argc = 0, count;

    for (const char *at = line; *at != '\0'; argc++) {
        argv[argc] = (struct bytes){at, strcspn(at, " ")};
        at += argv[argc].length + (at[argv[argc].length] == ' ');
    }
    count = command_keys(c, argv, argc, ranges);
    for (int i = 0; i < count; i++)
        for (int k = ranges[i].first; k <= ranges[i].last; k += ranges[i].step)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%s%d", *found ? "," : "",
                     k);
    assert_string_equal(found, expected);
}

#define INDEX(n) "begin_search (type index spec (index " n "))"
#define WORD_AT(w, n) "begin_search (type keyword spec (keyword " w " startfrom " n "))"
#define RANGE(l, s, m) "find_keys (type range spec (lastkey " l " keystep " s " limit " m "))"
#define COUNT(c, f, s) "find_keys (type keynum spec (keynumidx " c " firstkey " f " keystep " s "))"

static void key_specifications(void **state)
{
    static const struct {
        const char *specs;
        const char *line;
        const char *keys;
    } cases[] = {
        {"((flags (RO) " INDEX("1") " " RANGE("0", "1", "0") "))", "m.x a b c", "1"},
        {"((flags (RO) " INDEX("2") " " RANGE("-1", "2", "0") "))", "m.x o a b c d", "2,4"},
        {"((flags (RO) " INDEX("1") " " RANGE("-1", "1", "2") "))", "m.x a b c d", "1,2"},
        {"((flags (RO) " INDEX("1") " " COUNT("0", "1", "1") "))", "m.x 2 a b c", "2,3"},
        {"((flags (RO) " WORD_AT("KEYS", "1") " " RANGE("-1", "1", "0") "))", "m.x a keys b c",
         "3,4"},
        {"((flags (RO) " WORD_AT("KEYS", "-2") " " RANGE("0", "1", "0") "))", "m.x keys a Keys b",
         "4"},
        {"((notes what flags (RO) " INDEX("1") " " RANGE("0", "1", "0") ") (" WORD_AT(
             "STORE", "2") " " RANGE("0", "1", "0") " flags (RW)))",
         "m.x a store d", "1,3"},
        {"<{flags <RO> begin_search {type index spec {index 1}} find_keys {type range spec "
         "{lastkey "
         "0 keystep 1 limit 0}}}>",
         "m.x a b", "1"},
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parsed p;

        snprintf(text, sizeof text, "((m.x -2 (readonly) 0 0 0 (@read) () %s ()))", cases[i].specs);
        p = parse(text);
        assert_non_null(p.c);
        assert_int_equal(p.rows, 1);
        assert_string_equal(p.c->name, "m.x");
        assert_int_equal(p.c->klass, COMMAND_KEYED);
        assert_int_equal(p.c->flags & COMMAND_ASK_KEYS, 0);
        expect_keys(p.c, cases[i].line, cases[i].keys);
        arena_deinit(&p.arena);
    }
}

/* Only a server can tell the keys then. */
static void unknown_keys(void **state)
{
    static const char *const specs[] = {
        "((flags (RO incomplete) " INDEX("1") " " RANGE("0", "1", "0") "))",
        "((flags (RO) begin_search (type unknown spec ()) " RANGE("0", "1", "0") "))",
        "((flags (RO) " INDEX("1") " find_keys (type unknown spec ())))",
        "((flags (RO) " INDEX("0") " " RANGE("0", "1", "0") "))",
        "((flags (RO) " INDEX("1") " " RANGE("0", "0", "0") "))",
        "((flags (RO) " INDEX("1") " " RANGE("0", "-1", "0") "))",
        "((flags (RO) " INDEX("1") " " RANGE("0", "9999", "0") "))",
        "((flags (RO) " INDEX("99999999") " " RANGE("0", "1", "0") "))",
        "((flags (RO) " INDEX("x") " " RANGE("0", "1", "0") "))",
        "((flags (RO) " WORD_AT("12", "1") " " RANGE("0", "1", "0") "))",
        "(1 2)",
        "(())",
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct parsed p;

        snprintf(text, sizeof text, "((m.x -2 (write) 0 0 0 () () %s ()))", specs[i]);
        p = parse(text);
        assert_non_null(p.c);
        assert_int_equal(p.c->klass, COMMAND_KEYED);
        assert_true((p.c->flags & COMMAND_ASK_KEYS) != 0);
        assert_int_equal(p.c->only_key, 0);
        expect_keys(p.c, "m.x a b", "");
        arena_deinit(&p.arena);
    }
}

static void legacy(void **state)
{
    static const struct {
        const char *text;
        const char *keys; /* of m.x a b c d */
        bool asks;
    } cases[] = {
        {"((m.x -2 (readonly) 1 1 1))", "1", false},
        {"((m.x -2 (readonly fast) 1 1 1 (@read)))", "1", false},
        {"((m.x -2 (write) 1 -1 2 ()))", "1,3", false},
        {"((m.x -2 (write) 1 -2 1 ()))", "1,2,3", false},
        {"((m.x -2 (write) 2 3 1 ()))", "2,3", false},
        {"((m.x -2 (write movablekeys) 0 0 0 ()))", "", true},
        {"((m.x -2 (write movablekeys) 1 1 1 ()))", "", true},
        {"((m.x -2 (write) -1 1 1 ()))", "", true},
        {"((m.x -2 (write) 1 1 0 ()))", "", true},
        {"((m.x -2 (write) 1 1 1 () () () ()))", "1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parsed p = parse(cases[i].text);

        assert_non_null(p.c);
        assert_int_equal((p.c->flags & COMMAND_ASK_KEYS) != 0, cases[i].asks);
        assert_int_equal(p.c->klass, COMMAND_KEYED);
        expect_keys(p.c, "m.x a b c d", cases[i].keys);
        arena_deinit(&p.arena);
    }
}

static void classes(void **state)
{
    static const char many[] = "((flags (RW) " INDEX("1") " " RANGE("-1", "1", "0") "))";
    static const struct {
        const char *flags, *tips, *specs;
        enum command_class klass;
        enum command_response response;
    } cases[] = {
        {"", "", "()", COMMAND_ANY_NODE, RESPONSE_DEFAULT_KEYLESS},
        {"write", "request_policy:multi_shard response_policy:agg_sum", many, COMMAND_SPLIT,
         RESPONSE_SUM},
        {"readonly", "REQUEST_POLICY:MULTI_SHARD", many, COMMAND_SPLIT, RESPONSE_DEFAULT_KEYED},
        {"write", "request_policy:multi_shard",
         "((flags (RW) " INDEX("1") " " COUNT("0", "1", "1") "))", COMMAND_KEYED,
         RESPONSE_DEFAULT_KEYED},
        {"readonly", "request_policy:all_shards response_policy:agg_min", "()", COMMAND_ALL_SHARDS,
         RESPONSE_MIN},
        {"write", "nondeterministic_output request_policy:all_nodes response_policy:all_succeeded",
         "()", COMMAND_ALL_NODES, RESPONSE_ALL_SUCCEEDED},
        {"readonly", "request_policy:all_shards response_policy:special", "()", COMMAND_ANY_NODE,
         RESPONSE_SPECIAL},
        {"readonly", "request_policy:special", "()", COMMAND_ANY_NODE, RESPONSE_DEFAULT_KEYLESS},
        {"readonly", "request_policy:new_one", "()", COMMAND_ANY_NODE, RESPONSE_DEFAULT_KEYLESS},
        {"admin noscript", "", "()", COMMAND_UNSUPPORTED, RESPONSE_DEFAULT_KEYLESS},
        {"admin readonly", "", "()", COMMAND_ANY_NODE, RESPONSE_DEFAULT_KEYLESS},
        {"pubsub noscript", "", "()", COMMAND_UNSUPPORTED, RESPONSE_DEFAULT_KEYLESS},
        {"pubsub loading", "", "()", COMMAND_ANY_NODE, RESPONSE_DEFAULT_KEYLESS},
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct parsed p;

        snprintf(text, sizeof text, "((m.x -1 (%s) 0 0 0 () (%s) %s ()))", cases[i].flags,
                 cases[i].tips, cases[i].specs);
        p = parse(text);
        assert_non_null(p.c);
        assert_int_equal(p.c->klass, cases[i].klass);
        assert_int_equal(p.c->response, cases[i].response);
        arena_deinit(&p.arena);
    }
}

static void flags(void **state)
{
    struct parsed p = parse("((m.x 3 (READONLY blocking fast of_the_future) 1 1 1 () () () ()))");

    (void)state;
    assert_non_null(p.c);
    assert_int_equal(p.c->flags,
                     COMMAND_READONLY | COMMAND_BLOCKING | COMMAND_FAST | COMMAND_REPEATABLE);
    assert_int_equal(p.c->arity, 3);
    arena_deinit(&p.arena);
    p = parse("((m.x 3 (write denyoom) 1 1 1 () () () ()))");
    assert_int_equal(p.c->flags, COMMAND_WRITE | COMMAND_DENYOOM);
    arena_deinit(&p.arena);
    p = parse("((m.x 3 (noscript) 1 1 1 () () () ()))");
    assert_int_equal(p.c->flags, COMMAND_NOSCRIPT | COMMAND_MAY_REPLICATE);
    arena_deinit(&p.arena);
}

static const struct command *sub_of(const struct command *c, const char *name)
{
    struct bytes argv[] = {{"m.x", 3}, {name, strlen(name)}};

    return command_subcommand(c, argv, 2);
}

static void containers(void **state)
{
    struct parsed p = parse("((m.x -2 (admin) 0 0 0 () () () ("
                            "(m.x|get -3 (readonly) 2 2 1 () () () ())"
                            "(M.X|All -2 (write) 0 0 0 () (request_policy:all_shards) () ())"
                            "(12 -2) (() -2 () 0 0 0)"
                            "(m.x|help 2 () 0 0 0 () () () ()))))");

    (void)state;
    assert_non_null(p.c);
    assert_int_equal(p.rows, 4);
    assert_int_equal(p.c->klass, COMMAND_ANY_NODE);
    assert_string_equal(sub_of(p.c, "GET")->name, "m.x|get");
    assert_int_equal(sub_of(p.c, "get")->klass, COMMAND_KEYED);
    assert_int_equal(sub_of(p.c, "ALL")->klass, COMMAND_ALL_SHARDS);
    assert_int_equal(sub_of(p.c, "help")->klass, COMMAND_ANY_NODE);
    assert_ptr_equal(sub_of(p.c, "none"), p.c);
    expect_keys(sub_of(p.c, "get"), "m.x get k", "2");
    arena_deinit(&p.arena);
}

static const struct command *table_row(const char *name, const char *sub)
{
    struct bytes argv[] = {{name, strlen(name)}, {sub, strlen(sub)}};

    return command_lookup(argv, *sub ? 2 : 1);
}

/* A server gives the name that a command was renamed from. */
static void renamed(void **state)
{
    static const struct {
        const char *text;
        enum command_class klass;
    } cases[] = {
        {"((get 2 (readonly fast) 1 1 1 () () () ()))", COMMAND_KEYED},
        {"((flushall -1 (write) 0 0 0 () () () ()))", COMMAND_ALL_SHARDS},
        {"((del -2 (write) 1 -1 1 () () () ()))", COMMAND_SPLIT},
        {"((multi 1 (noscript) 0 0 0 () () () ()))", COMMAND_UNSUPPORTED},
        {"((subscribe -2 (pubsub) 0 0 0 () () () ()))", COMMAND_UNSUPPORTED},
        {"((auth -2 (noscript) 0 0 0 () () () ()))", COMMAND_UNSUPPORTED},
        {"((scan -2 (readonly) 0 0 0 () () () ()))", COMMAND_UNSUPPORTED},
    };
    struct parsed p;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        p = parse(cases[i].text);
        assert_non_null(p.c);
        assert_string_equal(p.c->name, "m.x");
        assert_int_equal(p.c->number, 0); /* not the table's */
        assert_int_equal(p.c->klass, cases[i].klass);
        arena_deinit(&p.arena);
    }
    p = parse("((sort -2 (write movablekeys) 1 1 1 () () () ()))");
    assert_int_equal(p.c->flags & COMMAND_ASK_KEYS, 0);
    expect_keys(p.c, "m.x a STORE b", "1,3");
    arena_deinit(&p.arena);
    p = parse("((config -2 () 0 0 0 () () () ((config|set -4 (admin) 0 0 0 () () () ()))))");
    assert_string_equal(p.c->subcommands[0].name, "m.x|set");
    assert_int_equal(p.c->subcommands[0].klass, table_row("config", "set")->klass);
    arena_deinit(&p.arena);
}

/* A subcommand that the table lacks, of a command that it has. */
static void newer_subcommands(void **state)
{
    struct parsed p;

    (void)state;
    p = parse_for("client|new", "((client|new 2 (noscript) 0 0 0 () () () ()))",
                  table_row("client", ""));
    assert_int_equal(p.c->klass, COMMAND_CONNECTION);
    assert_string_equal(p.c->name, "client|new");
    assert_int_equal(p.c->length, 3);
    arena_deinit(&p.arena);
    p = parse_for("cluster|new", "((cluster|new 2 (admin) 0 0 0 () () () ()))",
                  table_row("cluster", ""));
    assert_int_equal(p.c->klass, COMMAND_UNSUPPORTED);
    arena_deinit(&p.arena);
    p = parse_for("cluster|stats",
                  "((cluster|stats 2 () 0 0 0 () (request_policy:all_shards) () ()))",
                  table_row("cluster", ""));
    assert_int_equal(p.c->klass, COMMAND_ALL_SHARDS);
    arena_deinit(&p.arena);
}

static void nonsense(void **state)
{
    static const char *const replies[] = {
        "",
        "*1\r\n$-1\r\n",
        "*1\r\n*-1\r\n",
        "*0\r\n",
        "*-1\r\n",
        "-ERR no\r\n",
        "$1\r\nx",
        "*1\r\n:1\r\n",
        "*1\r\n*0\r\n",
        "*1\r\n_\r\n",
        "*1\r\n*6\r\n",
        "*1\r\n*6\r\n+m.x\r\n:1\r\n*0\r\n:0\r\n:0\r\n",
        "*2\r\n*0\r\n*0\r\n",
        "\r\n",
    };
    struct parsed p;

    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct arena arena = {0};
        unsigned rows;

        assert_null(command_info_parse(replies[i], strlen(replies[i]), (struct bytes){"m.x", 3},
                                       NULL, &arena, &rows));
        assert_int_equal(rows, 0);
        arena_deinit(&arena);
    }
    p = parse_for("", "((m.x -2 (write) 1 1 1))", NULL);
    assert_null(p.c);
    arena_deinit(&p.arena);
    p = parse_for("m\x01", "((m.x -2 (write) 1 1 1))", NULL);
    assert_null(p.c);
    arena_deinit(&p.arena);
}

/* --- remembering --- */

static const char get[] = "*1\r\n*6\r\n+m.get\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n";

static struct bytes name_of(const char *text)
{
    return (struct bytes){text, strlen(text)};
}

static const struct command *take(struct learned *l, const char *name)
{
    return learned_take(l, name_of(name), NULL, get, sizeof get - 1);
}

static void remembered(void **state)
{
    struct learned *l = learned_create();
    const struct command *c;

    (void)state;
    assert_non_null(l);
    assert_null(learned_find(l, name_of("m.get")));
    c = take(l, "m.get");
    assert_non_null(c);
    assert_ptr_equal(learned_find(l, name_of("m.get")), c);
    assert_ptr_equal(take(l, "m.get"), c);
    assert_null(learned_find(l, name_of("m.ge")));
    assert_null(learned_take(l, name_of("m.no"), NULL, "*1\r\n$-1\r\n", 9));
    learned_destroy(l);
}

static void absent_for_a_while(void **state)
{
    struct learned *l = learned_create();
    char name[32];

    (void)state;
    assert_false(learned_is_absent(l, name_of("m.get"), 0));
    learned_set_absent(l, name_of("m.get"), 1000);
    assert_true(learned_is_absent(l, name_of("m.get"), 1000 + LEARNED_ABSENT_MS - 1));
    assert_false(learned_is_absent(l, name_of("m.get"), 1000 + LEARNED_ABSENT_MS));
    assert_false(learned_is_absent(l, name_of(""), 0));
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        learned_set_absent(l, name_of(name), 1000);
    }
    assert_true(learned_is_absent(l, name_of("n99999"), 1000));
    assert_false(learned_is_absent(l, name_of("n0"), 1000));
    learned_destroy(l);
}

static void not_without_end(void **state)
{
    struct learned *l = learned_create();
    char name[32];
    int known = 0;

    (void)state;
    for (int i = 0; i < 2 * LEARNED_ROWS_MAX; i++) {
        snprintf(name, sizeof name, "m.%d", i);
        known += take(l, name) != NULL;
    }
    assert_int_equal(known, LEARNED_ROWS_MAX);
    assert_non_null(learned_find(l, name_of("m.0")));
    assert_non_null(take(l, "m.0"));
    learned_destroy(l);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_specifications),
        cmocka_unit_test(unknown_keys),
        cmocka_unit_test(legacy),
        cmocka_unit_test(classes),
        cmocka_unit_test(flags),
        cmocka_unit_test(containers),
        cmocka_unit_test(renamed),
        cmocka_unit_test(newer_subcommands),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(remembered),
        cmocka_unit_test(absent_for_a_while),
        cmocka_unit_test(not_without_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
