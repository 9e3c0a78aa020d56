/* What is found, how it is told, and that nothing is told that is nobody's business. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha1.h"
#include "route/command.h"
#include "route/judge.h"
#include "session/tap.h"

/* Words are apart by spaces; one that is in "quotes" may have some. */
static int words_of(char *line, struct bytes *argv)
{
    int argc = 0;

    while (*line != '\0') {
        char end = *line == '"' ? '"' : ' ';

        line += *line == '"';
        argv[argc].data = line;
        argv[argc++].length = strcspn(line, (char[]){end, '\0'});
        line += argv[argc - 1].length;
        line += *line == '"';
        line += *line == ' ';
    }
    return argc;
}

static struct audit_entry judge(struct judge *j, const char *text)
{
    struct audit_entry e;
    struct bytes argv[32];
    char *line = strdup(text);

    judge_command(j, argv, words_of(line, argv), &e);
    free(line);
    return e;
}

/* "FINDING", or "FINDING detail" or "FINDING detail, detail". */
static void expect(struct judge *j, const char *text, const char *expected)
{
    struct audit_entry e = judge(j, text);
    char found[1024];

    snprintf(found, sizeof found, "%s%s%s%s%s", audit_finding_name(e.finding),
             e.detail[0][0] ? " " : "", e.detail[0], e.detail[1][0] ? ", " : "", e.detail[1]);
    if (strcmp(found, expected) != 0)
        fail_msg("%s: %s instead of %s", text, found, expected);
    assert_int_equal(e.count, 1);
}

static void single_commands(void **state)
{
    static const struct {
        const char *line, *finding;
    } cases[] = {
        {"GET a", "works"},
        {"get a", "works"},
        {"GET", "works"},
        {"GET a b", "works"},
        {"PING", "works"},
        {"PUBLISH news x", "works"},
        {"AUTH secret", "works"},
        {"HELLO 3 AUTH user secret", "works"},
        {"QUIT", "works"},
        {"READONLY", "works"},
        {"CLIENT REPLY OFF", "works"},
        {"MGET {t}a {t}b", "works"},
        {"MGET a b", "split a, b"},
        {"MGET a a b c", "split a, b"},
        {"MSET a 1 b 2", "split a, b"},
        {"MSET a 1 b", "works"},
        {"DEL a b", "split a, b"},
        {"RENAME a b", "crossslot a, b"},
        {"RENAME {t}a {t}b", "works"},
        {"MSETNX a 1 b 2", "crossslot a, b"},
        {"SINTER {t}a {t}b c", "crossslot {t}a, c"},
        {"BLPOP a b 0", "crossslot a, b"},
        {"ZUNIONSTORE out 2 a b", "crossslot out, a"},
        {"XREAD STREAMS s1 s2 0 0", "crossslot s1, s2"},
        {"SSUBSCRIBE a b", "crossslot a, b"},
        {"SSUBSCRIBE {t}a {t}b", "messages"},
        {"SUBSCRIBE a b", "messages"},
        {"PSUBSCRIBE __keyspace@0__:*", "messages"},
        {"UNSUBSCRIBE", "works"},
        {"MONITOR", "messages"},
        {"KEYS *", "fan-out arrays are put one behind the other"},
        {"DBSIZE", "fan-out the sum"},
        {"FLUSHALL", "fan-out all have to succeed"},
        {"SCAN 0", "fan-out cursors of the cluster"},
        {"INFO", "fan-out one report: counts are summed"},
        {"PUBSUB CHANNELS", "fan-out every element once"},
        {"CLIENT KILL ID 3", "one-node ID"},
        {"CLIENT KILL TYPE normal", "fan-out at all nodes"},
        {"CLIENT ID", "one-node"},
        {"CONFIG GET maxmemory", "one-node"},
        {"ROLE", "one-node"},
        {"CLIENT TRACKING ON", "works"},
        {"CLIENT TRACKING ON BCAST", "works"},
        {"CLIENT CACHING YES", "works"},
        {"CLIENT NOSUCH", "unknown"},
        {"CLIENT TRACKING ON REDIRECT 7", "refused REDIRECT"},
        {"DEBUG SLEEP 0", "refused"},
        {"REPLICAOF NO ONE", "refused"},
        {"SHUTDOWN NOSAVE", "refused"},
        {"SORT a BY nosort", "works"},
        {"SORT a LIMIT 0 1 DESC ALPHA", "works"},
        {"SORT a BY w_*", "refused BY a pattern"},
        {"SORT a GET w_*", "refused GET a pattern"},
        {"SORT a STORE b", "crossslot a, b"},
        {"SORT_RO a BY w_*", "refused BY a pattern"},
        {"MOVE a 1", "database"},
        {"SWAPDB 0 1", "database"},
        {"COPY {t}a {t}b", "works"},
        {"COPY {t}a {t}b DB 0", "works"},
        {"COPY {t}a {t}b DB 1 REPLACE", "database DB"},
        {"SELECT 0", "works"},
        {"SELECT 7", "database database 7"},
        {"SELECT secret", "works"},
        {"SELECT 99999999999999999999", "works"},
        {"FT.SEARCH idx x", "unknown"},
        {"FCALL f 1 a", "works"},
        {"FCALL f 2 a b", "crossslot a, b"},
        {"FCALL f 0", "script-without-keys"},
        {"FUNCTION LOAD \"#!lua name=l\"", "fan-out all have to succeed"},
        {"FUNCTION LOAD REPLACE \"#!lua name=l redis.call('get', 'config')\"",
         "script-keys 'config'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct judge j = {0};

        expect(&j, cases[i].line, cases[i].finding);
    }
}

/* Every row of the table, in and out of a transaction. */
static void all_commands(void **state)
{
    struct bytes argv[16];
    struct audit_entry e;
    char name[64];

    (void)state;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        int arity = c->arity < 0 ? -c->arity : c->arity;
        char *bar;

        snprintf(name, sizeof name, "%s", c->name);
        bar = strchr(name, '|');
        argv[0] = (struct bytes){name, strcspn(name, "|")};
        if (bar != NULL)
            argv[1] = (struct bytes){bar + 1, strlen(bar + 1)};
        for (int at = bar != NULL ? 2 : 1; at < 16; at++)
            argv[at] = (struct bytes){"1", 1};
        for (int in_transaction = 0; in_transaction < 2; in_transaction++) {
            struct judge j = {.in_transaction = in_transaction == 1};

            judge_command(&j, argv, arity, &e);
            assert_int_equal(strlen(e.name), strlen(c->name));
            if (in_transaction == 0)
                assert_int_equal(e.finding == AUDIT_REFUSED, c->klass == COMMAND_UNSUPPORTED);
        }
    }
}

static void scripts(void **state)
{
    struct judge j = {0};
    char sha[SHA1_HEX + 1], line[128];
    static const char loaded[] = "return redis.call('get', 'loaded')";

    (void)state;
    expect(&j, "EVAL \"return 1\" 0", "works");
    expect(&j, "EVAL \"return redis.call('time')\" 0", "script-without-keys");
    expect(&j, "EVAL \"local c = redis.call return c('get', 'a')\" 0", "script-without-keys");
    expect(&j, "EVAL \"return redis.call('get', KEYS[1])\" 1 a", "works");
    expect(&j, "EVAL \"return redis.call('get', KEYS[1])\" 2 a b", "crossslot a, b");
    expect(&j, "EVAL \"return redis.call('get', ARGV[1])\" 0 a", "script-keys ARGV[1]");
    expect(&j, "EVAL_RO \"return redis.call('get', 'x')\" 1 a", "script-keys 'x'");
    expect(&j, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", "works");
    expect(&j, "EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 2 a b", "crossslot a, b");
    expect(&j, "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0", "script-unseen");
    expect(&j, "EVALSHA secret 0", "script-unseen");
    expect(&j, "SCRIPT LOAD \"return redis.call('get', 'loaded')\"", "script-keys 'loaded'");
    expect(&j, "SCRIPT LOAD \"return 2\"", "fan-out all have to succeed");
    sha1_hex((struct bytes){loaded, strlen(loaded)}, sha);
    snprintf(line, sizeof line, "EVALSHA %s 1 a", sha);
    expect(&j, line, "script-keys 'loaded'");
}

/* More than are kept: the oldest is not known any more, and nothing else is wrong. */
static void many_scripts(void **state)
{
    struct judge j = {0};
    char line[64];

    (void)state;
    for (int i = 0; i < 1100; i++) {
        snprintf(line, sizeof line, "EVAL \"return 'many %d'\" 0", i);
        expect(&j, line, "works");
    }
    expect(&j, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", "script-unseen");
}

static void transactions(void **state)
{
    struct judge j = {0};

    (void)state;
    expect(&j, "MULTI", "works");
    expect(&j, "SET {t}a 1", "works");
    expect(&j, "MSET {t}a 1 {t}b 2", "works");
    expect(&j, "PING", "works");
    expect(&j, "EXEC", "works");
    expect(&j, "MULTI", "works");
    expect(&j, "SET a 1", "works");
    expect(&j, "SET b 1", "transaction a, b");
    expect(&j, "SET a 1", "works");
    expect(&j, "EXEC", "transaction a, b");
    expect(&j, "SET b 1", "works");
    expect(&j, "MULTI", "works");
    expect(&j, "MSET a 1 b 1", "transaction a, b");
    expect(&j, "DISCARD", "works");
    expect(&j, "MULTI", "works");
    expect(&j, "DBSIZE", "refused in a transaction");
    expect(&j, "EXEC", "refused a command of the transaction was");
    expect(&j, "EXEC", "works");
    expect(&j, "WATCH a", "works");
    expect(&j, "WATCH b", "transaction a, b");
    expect(&j, "MULTI", "works");
    expect(&j, "WATCH b", "works");
    expect(&j, "INCR a", "works");
    expect(&j, "INCR b", "transaction a, b");
    expect(&j, "EXEC", "transaction a, b");
    expect(&j, "WATCH a", "works");
    expect(&j, "UNWATCH", "works");
    expect(&j, "WATCH b", "works");
    expect(&j, "MULTI", "works");
    expect(&j, "GET b", "works");
    expect(&j, "RESET", "works");
    expect(&j, "MULTI", "works");
    expect(&j, "GET a", "works");
    expect(&j, "EXEC", "works");
}

static void databases(void **state)
{
    struct judge j = {0};

    (void)state;
    expect(&j, "SELECT 3", "database database 3");
    expect(&j, "GET a", "database database 3");
    expect(&j, "MGET a b", "database database 3");
    expect(&j, "RENAME a b", "crossslot a, b");
    expect(&j, "DBSIZE", "database database 3");
    expect(&j, "PING", "works");
    expect(&j, "SELECT nonsense", "works");
    expect(&j, "GET a", "database database 3");
    expect(&j, "SELECT 0", "works");
    expect(&j, "GET a", "works");
    expect(&j, "SELECT 3", "database database 3");
    expect(&j, "RESET", "works");
    expect(&j, "GET a", "works");
}

static void names(void **state)
{
    static const struct {
        const char *line, *name;
    } cases[] = {
        {"config get x", "CONFIG GET"},
        {"json.set k $ 1", "JSON.SET"},
        {"hunter2! x", "(no name)"},
        {"this-name-is-longer-than-that-of-any-command x", "(no name)"},
        {"1234 x", "(no name)"},
        {"\"\" x", "(no name)"},
        {"client no_such-thing", "CLIENT NO_SUCH-THING"},
        {"client \"no such\"", "CLIENT"},
        {"client this-name-is-longer-than-that-of-any-command", "CLIENT"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct judge j = {0};
        struct audit_entry e = judge(&j, cases[i].line);

        assert_string_equal(e.name, cases[i].name);
    }
}

/* --- the table --- */

static struct audit_entry entry(const char *name, enum audit_finding finding, uint64_t count)
{
    struct audit_entry e = {.count = count, .finding = finding};

    snprintf(e.name, sizeof e.name, "%s", name);
    return e;
}

static void add(struct audit *a, struct audit_entry e)
{
    assert_true(audit_add(a, &e));
}

static void the_table_is_bounded(void **state)
{
    struct audit a = {0};
    uint64_t sum = 0;
    char name[AUDIT_NAME];

    (void)state;
    for (int i = 0; i < 3 * AUDIT_ENTRIES_MOST; i++) {
        snprintf(name, sizeof name, "NAME%d", i);
        add(&a, entry(name, (enum audit_finding)(i % AUDIT_FINDINGS), 1));
    }
    assert_true(a.count <= AUDIT_ENTRIES_MOST);
    for (size_t i = 0; i < a.count; i++)
        sum += a.entries[i].count;
    assert_int_equal(sum, 3 * AUDIT_ENTRIES_MOST);
    assert_string_equal(a.entries[a.count - 1].name, AUDIT_OTHERS);
    audit_deinit(&a);
}

static char *text_of(const struct audit *a, bool (*append)(const struct audit *, struct buffer *))
{
    struct buffer out;

    buffer_init(&out);
    assert_true(append(a, &out));
    assert_true(buffer_append(&out, "", 1));
    return out.data;
}

static void lines_are_read_again(void **state)
{
    struct audit a = {0}, b = {0};
    struct audit_entry e = entry("RENAME", AUDIT_CROSSSLOT, 7);
    char *lines, *again;

    (void)state;
    audit_escape(e.detail[0], (struct bytes){"\"\\'\n\0 \x7f\xff", 8});
    assert_string_equal(e.detail[0], "\\x22\\x5c'\\x0a\\x00 \\x7f\\xff");
    audit_escape(e.detail[1], (struct bytes){"0123456789012345678901234567890123456789"
                                             "0123456789012345678901234567890123456789",
                                             80});
    assert_int_equal(strlen(e.detail[1]), AUDIT_KEY_BYTES + 3);
    add(&a, e);
    add(&a, entry("GET", AUDIT_WORKS, 1));
    add(&a, entry("GET", AUDIT_DATABASE, 2));
    memset(e.detail[0], 0, sizeof e.detail[0]);
    snprintf(e.name, sizeof e.name, "RENAMENX");
    add(&a, e); /* its first key is empty */
    lines = text_of(&a, audit_append_lines);
    assert_true(audit_read_lines(&b, lines, strlen(lines)));
    again = text_of(&b, audit_append_lines);
    assert_string_equal(lines, again);
    assert_true(audit_read_lines(&b, lines, strlen(lines)));
    free(again);
    again = text_of(&b, audit_append_lines);
    assert_non_null(strstr(again, "{\"redisroute_audit\":1,\"commands\":34,\"shapes\":3}\n"));
    assert_non_null(
        strstr(again, "{\"command\":\"RENAME\",\"finding\":\"crossslot\",\"count\":14,"));
    free(again);
    /* No beginning of it is taken for the whole, but at the end of a line. */
    for (size_t length = 0; length < strlen(lines); length++) {
        struct audit c = {0};
        char *copy = malloc(length + 1);

        memcpy(copy, lines, length);
        assert_int_equal(audit_read_lines(&c, copy, length),
                         length > 0 && lines[length - 1] == '\n');
        free(copy);
        audit_deinit(&c);
    }
    free(lines);
    audit_deinit(&a);
    audit_deinit(&b);
}

static void other_files_are_refused(void **state)
{
    static const char begin[] = "{\"redisroute_audit\":1,\"commands\":1,\"shapes\":1}\n";
    static const char *const texts[] = {
        "x",
        "{}",
        "{\"redisroute_audit\":2,\"commands\":1,\"shapes\":1}\n",
        "{\"redisroute_audit\":1,\"commands\":,\"shapes\":1}\n",
        "{\"command\":\"GET\",\"finding\":\"nosuch\",\"count\":1,\"details\":[]}\n",
        "{\"command\":\"GET\",\"finding\":\"works\",\"count\":-1,\"details\":[]}\n",
        "{\"command\":\"GET\",\"finding\":\"works\",\"count\":99999999999999999999,\"details\":[]}"
        "\n",
        "{\"command\":\"GET\",\"finding\":\"works\",\"count\":1,\"details\":[\"a\",\"b\",\"c\"]}\n",
        "{\"command\":\"GET\",\"finding\":\"works\",\"count\":1,\"details\":[\"a\"\"b\"]}\n",
        "{\"command\":\"GET\",\"finding\":\"works\",\"count\":1,\"details\":[\"\\n\"]}\n",
        "{\"command\":\"0123456789012345678901234567890123456789012345678\",\"finding\":\"works\","
        "\"count\":1,\"details\":[]}\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct audit a = {0};
        char text[512];

        snprintf(text, sizeof text, "%s%s", strstr(texts[i], "\"command\"") ? begin : "", texts[i]);
        if (audit_read_lines(&a, text, strlen(text)))
            fail_msg("%s was taken", text);
        audit_deinit(&a);
    }
}

/* --- the tap --- */

static struct audit taken(void)
{
    struct audit a = {0};

    (void)audit_take(&a);
    return a;
}

static void expect_lines(const char *expected)
{
    struct audit a = taken();
    char *lines = text_of(&a, audit_append_lines);

    assert_string_equal(strchr(lines, '\n') + 1, expected);
    free(lines);
    audit_deinit(&a);
}

static const char stream[] = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n\r\n*0\r\nset 'a' \"x\\ty\"\r\n"
                             "*3\r\n$6\r\nRENAME\r\n$1\r\na\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n";
static const char stream_lines[] =
    "{\"command\":\"GET\",\"finding\":\"works\",\"count\":1,\"details\":[]}\n"
    "{\"command\":\"PING\",\"finding\":\"works\",\"count\":1,\"details\":[]}\n"
    "{\"command\":\"RENAME\",\"finding\":\"crossslot\",\"count\":1,\"details\":[\"a\","
    "\"\\\\x0d\\\\x0a\"]}\n"
    "{\"command\":\"SET\",\"finding\":\"works\",\"count\":1,\"details\":[]}\n";

static void commands_are_cut_anywhere(void **state)
{
    size_t length = sizeof stream - 1;

    (void)state;
    for (size_t first = 0; first <= length; first++)
        for (size_t second = first; second <= length; second++) {
            struct tap tap = {0};

            tap_look(&tap, stream, first);
            tap_look(&tap, stream + first, second - first);
            tap_look(&tap, stream + second, length - second);
            expect_lines(stream_lines);
            tap_deinit(&tap);
        }
}

static void look_at_text(struct tap *tap, const char *text)
{
    tap_look(tap, text, strlen(text));
}

static void what_is_no_command_ends_it(void **state)
{
    struct tap tap = {0};

    (void)state;
    look_at_text(&tap, "*1\r\n$4\r\nPING\r\n*1\r\nsecret\r\n*1\r\n$4\r\nPING\r\n");
    look_at_text(&tap, "*1\r\n$4\r\nPING\r\n");
    expect_lines(
        "{\"command\":\"(no command)\",\"finding\":\"unreadable\",\"count\":1,\"details\":[]}\n"
        "{\"command\":\"PING\",\"finding\":\"works\",\"count\":1,\"details\":[]}\n");
    tap_deinit(&tap);
}

static void memory_of_a_tap_is_bounded(void **state)
{
    enum { PIECE = 1 << 20 };
    struct tap tap = {0};
    char *piece = calloc(1, PIECE);

    (void)state;
    look_at_text(&tap, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$400000000\r\n");
    for (int i = 0; i < 400; i++) {
        tap_look(&tap, piece, PIECE);
        assert_true(tap.in.capacity <= 2 * (TAP_COMMAND_MOST + PIECE));
    }
    assert_true(tap.blind);
    assert_null(tap.in.data);
    expect_lines(
        "{\"command\":\"(no command)\",\"finding\":\"unreadable\",\"count\":1,\"details\":[]}\n");
    tap_deinit(&tap);
    free(piece);
}

/* Passwords and values do not get anywhere, whatever is found. */
static void secrets_are_kept(void **state)
{
    static const char *const lines[] = {
        "AUTH hunter2",
        "AUTH user hunter2",
        "HELLO 3 AUTH user hunter2",
        "SET a hunter2",
        "MSET a hunter2 b hunter2",
        "CONFIG SET requirepass hunter2",
        "ACL SETUSER u >hunter2",
        "MULTI",
        "SET a hunter2",
        "SET b hunter2",
        "MSET a hunter2 b hunter2",
        "EXEC",
        "SELECT 1",
        "SET a hunter2",
        "SELECT hunter2",
        "CLIENT SETNAME hunter2",
        "PUBLISH a hunter2",
        "EVAL \"return redis.call('set', 'k', ARGV[1])\" 0 hunter2",
        "EVAL \"return redis.call('set', 'k', 'hunter2')\" 0",
        "EVALSHA hunter2 0 hunter2",
        "FCALL hunter2 0",
        "MIGRATE h 1 \"\" 0 10 AUTH hunter2 KEYS a b",
        "UNHEARD hunter2",
        "hunter2! x",
        "SORT a BY hunter2*",
        "CLIENT KILL ADDR hunter2",
        "SUBSCRIBE hunter2",
        "RESET",
        "AUTH",
        "auth hunter2 hunter2 hunter2",
        "COPY {t}a {t}b DB hunter2",
        "CLIENT TRACKING ON PREFIX hunter2 BCAST",
        "DEBUG hunter2",
        "GETSET a hunter2",
    };
    struct audit a = {0};
    struct judge j = {0};
    char *text;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        add(&a, judge(&j, lines[i]));
    text = text_of(&a, audit_append_lines);
    assert_null(strcasestr(text, "hunter2"));
    free(text);
    text = text_of(&a, audit_append_report);
    assert_null(strcasestr(text, "hunter2"));
    free(text);
    audit_deinit(&a);
}

/* --- the example of doc/audit.md --- */

/* Between the lines that begin a block of that kind and end it; freed by the caller. */
static char *block_of(const char *text, const char *kind)
{
    const char *start = strstr(text, kind), *end;

    assert_non_null(start);
    start = strchr(start, '\n') + 1;
    end = strstr(start, "```");
    assert_non_null(end);
    return strndup(start, (size_t)(end - start));
}

static char *read_doc(void)
{
    FILE *file = fopen(REDISROUTE_DOC "/audit.md", "r");
    char *text = calloc(1, 65536);

    assert_non_null(file);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

/* Lines as redis-cli takes them are inline commands. */
static void the_document_is_right(void **state)
{
    char *doc = read_doc(), *commands = block_of(doc, "```commands"), *text;
    char *report = block_of(doc, "```report"), *lines = block_of(doc, "```json");
    struct tap tap = {0};
    struct audit a;

    (void)state;
    look_at_text(&tap, commands);
    a = taken();
    text = text_of(&a, audit_append_report);
    if (strcmp(text, report) != 0)
        fprintf(stderr, "The report is\n\n%s\n", text); /* cmocka shows the beginning only */
    assert_string_equal(text, report);
    free(text);
    text = text_of(&a, audit_append_lines);
    assert_non_null(strstr(text, lines));
    free(text);
    for (int f = 0; f < AUDIT_FINDINGS; f++) {
        char cell[64];

        snprintf(cell, sizeof cell, "| `%s` |", audit_finding_name((enum audit_finding)f));
        if (strstr(doc, cell) == NULL)
            fail_msg("doc/audit.md does not explain %s", cell);
    }
    tap_deinit(&tap);
    audit_deinit(&a);
    free(doc);
    free(commands);
    free(report);
    free(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_commands),
        cmocka_unit_test(all_commands),
        cmocka_unit_test(scripts),
        cmocka_unit_test(transactions),
        cmocka_unit_test(databases),
        cmocka_unit_test(names),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(lines_are_read_again),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(commands_are_cut_anywhere),
        cmocka_unit_test(what_is_no_command_ends_it),
        cmocka_unit_test(memory_of_a_tap_is_bounded),
        cmocka_unit_test(secrets_are_kept),
        cmocka_unit_test(the_document_is_right),
        cmocka_unit_test(many_scripts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
