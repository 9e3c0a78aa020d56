/* The command table, the keys and the slots, with a real server as the oracle: what it says to
 * COMMAND LIST, COMMAND GETKEYS and CLUSTER KEYSLOT is right.
 *
 * redisroute-test: plain
 *
 * What is tested is not exported by the library, so its sources are part of this program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../support/die.h"
#include "../support/server.h"
#include "../support/stream.h"
#include "../support/suite.h"
#include "../support/wire.h"

#include "base/arena.c"
#include "base/buffer.c"
#include "base/resp.c"
#include "route/command.c"
#include "route/command_info.c"
#include "route/slot.c"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

enum { WORDS_MAX = 64, TEXT_MAX = 512, KEYS = 20000, BATCH = 500, CHANGES_PER_LINE = 300 };

static struct server *server;
static struct wire *wire;

static void oracle_setup(void)
{
    server = server_start(&(struct server_options){.is_cluster = true});
    wire = wire_open(server_port(server));
    MUST(wire);
}

static void oracle_teardown(void)
{
    wire_close(wire);
    server_stop(server);
}

static uint32_t next_random(void)
{
    static uint32_t state = 1;
    state = state * 1664525 + 1013904223;
    return state >> 8;
}

/* --- slots --- */

struct key {
    char bytes[48];
    size_t length;
};

/* Braces are frequent, every byte is possible. */
static void make_key(struct key *key)
{
    key->length = next_random() % sizeof key->bytes;
    for (size_t i = 0; i < key->length; i++)
        key->bytes[i] = next_random() % 4 ? (char)next_random() : "{}"[next_random() % 2];
}

static void ask_slot(const struct key *key)
{
    const char *words[] = {"CLUSTER", "KEYSLOT", key->bytes};
    const size_t lengths[] = {7, 7, key->length};
    MUST(wire_send_argv(wire, 3, words, lengths));
}

static void expect_slot(const struct key *key)
{
    char *reply = wire_receive(wire, NULL);
    MUST(reply);
    ck_assert_int_eq(reply[0], ':');
    ck_assert_int_eq(slot_of_key(key->bytes, key->length), atoi(reply + 1));
    free(reply);
}

START_TEST(test_slots_are_those_of_the_server)
{
    static struct key keys[BATCH];
    for (int batch = 0; batch < KEYS / BATCH; batch++) {
        for (int i = 0; i < BATCH; i++) {
            make_key(&keys[i]);
            ask_slot(&keys[i]);
        }
        for (int i = 0; i < BATCH; i++)
            expect_slot(&keys[i]);
    }
}
END_TEST

/* --- command lines --- */

struct words {
    char text[TEXT_MAX];
    const char *word[WORDS_MAX];
    struct bytes argv[WORDS_MAX];
    int argc;
};

/* Words apart by spaces; "''" is the empty word. */
static void to_words(const char *line, struct words *words)
{
    char *rest = words->text, *word;
    MUST(strlen(line) < sizeof words->text);
    strcpy(words->text, line);
    words->argc = 0;
    while ((word = strsep(&rest, " "))) {
        MUST(words->argc < WORDS_MAX);
        if (!strcmp(word, "''"))
            *word = '\0';
        words->word[words->argc] = word;
        words->argv[words->argc++] = (struct bytes){word, strlen(word)};
    }
}

/* The keys as the server's reply would have them, or null when there are none. */
static char *our_keys(const struct words *words)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    const struct command *c = command_lookup(words->argv, words->argc);
    int count = c ? command_keys(c, words->argv, words->argc, ranges) : 0, total = 0;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    MUST(out);
    for (int i = 0; i < count; i++)
        total += (ranges[i].last - ranges[i].first) / ranges[i].step + 1;
    fprintf(out, "*%d\r\n", total);
    for (int i = 0; i < count; i++)
        for (int k = ranges[i].first; k <= ranges[i].last; k += ranges[i].step)
            fprintf(out, "$%zu\r\n%s\r\n", words->argv[k].length, words->word[k]);
    fclose(out);
    return text;
}

static char *servers_keys(const struct words *words)
{
    const char *argv[WORDS_MAX + 2] = {"COMMAND", "GETKEYS"};
    memcpy(argv + 2, words->word, sizeof *argv * (size_t)words->argc);
    MUST(wire_send_argv(wire, words->argc + 2, argv, NULL));
    char *reply = wire_receive(wire, NULL);
    MUST(reply);
    return reply;
}

/* Which words after the first key are keys as well, the table reads as these commands do themselves,
 * and as Redis 8 says; older servers and Valkey take the first STORE of GEORADIUS for the only one,
 * and a key called STORE for another STORE of SORT. The first key decides about the node. */
static const char *const read_better[] = {"georadius", "georadiusbymember", "sort"};

static bool have_same_first_key(const struct words *words, const char *theirs)
{
    const char *key = strchr(strchr(theirs, '\n') + 1, '\n') + 1;
    size_t length = strlen(words->word[1]);
    bool is_read_better = false;
    for (size_t i = 0; i < COUNT_OF(read_better); i++)
        is_read_better |= !strcasecmp(words->word[0], read_better[i]);
    return is_read_better && !strncmp(key, words->word[1], length) && key[length] == '\r';
}

/* False when the server finds the line malformed, or without a key. */
static bool agree_on_keys(const char *line)
{
    struct words words;
    to_words(line, &words);
    char *theirs = servers_keys(&words), *ours = our_keys(&words);
    bool is_answered = theirs[0] == '*';
    ck_assert_msg(!is_answered || !strcmp(theirs, ours) || have_same_first_key(&words, theirs),
                  "%s: the server says\n%sand not\n%s", line, theirs, ours);
    bool has_key = is_answered && strcmp(theirs, "*0\r\n") != 0;
    free(theirs);
    free(ours);
    return has_key;
}

/* --- every command --- */

static const struct command *row_named(const char *name, size_t length)
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        if (strlen(c->name) == length && !strncasecmp(c->name, name, length))
            return c;
    }
    return NULL;
}

/* COMMAND LIST has the names of subcommands as well. */
START_TEST(test_every_command_of_the_server_has_a_row)
{
    char *list = wire_command(wire, "COMMAND LIST"), *rest = list, *name;
    int count = 0;
    MUST(list);
    for (; (name = strsep(&rest, "\n")); count++)
        ck_assert_msg(row_named(name, strlen(name)) != NULL, "%s has no row", name);
    ck_assert_int_gt(count, 300);
    free(list);
}
END_TEST

static bool server_knows(const struct command *c)
{
    char *reply = wire_command(wire, "COMMAND INFO %s", c->name);
    MUST(reply);
    bool is_known = strcmp(reply, "(nil)") != 0;
    free(reply);
    return is_known;
}

/* Command lines of every shape whose keys are not simply where the first words are. */
static const char *const lines[] = {
    "get k",
    "set k v EX 10 NX GET",
    "getex k PERSIST",
    "mget a b c",
    "mset a 1 b 2 c 3",
    "msetnx a 1 b 2",
    "del a b c",
    "lcs a b IDX WITHMATCHLEN",
    "bitop AND d a b c",
    "bitfield k GET u8 0 SET u8 0 1",
    "copy a b DB 1 REPLACE",
    "rename a b",
    "blmove a b LEFT RIGHT 0",
    "blpop a b c 0",
    "bzpopmin a 0",
    "blmpop 0 2 a b LEFT COUNT 3",
    "bzmpop 0 1 a MIN",
    "lmpop 2 a b LEFT",
    "zmpop 3 a b c MAX COUNT 1",
    "zmpop 02 a b MAX",
    "eval script +2 a b x",
    "eval script 2x a b x",
    "sintercard 2 a b LIMIT 1",
    "zintercard 2 a b LIMIT 1",
    "zinter 2 a b WEIGHTS 1 2 AGGREGATE MAX WITHSCORES",
    "zunion 1 a WITHSCORES",
    "zdiff 2 a b",
    "zdiffstore d 2 a b",
    "zinterstore d 2 a b WEIGHTS 1 2",
    "zunionstore d 3 a b c AGGREGATE MIN",
    "zrangestore d k 0 -1",
    "sunionstore d a b",
    "pfmerge d a b",
    "smove a b m",
    "geoadd k 1 2 m",
    "georadius k 1 2 3 m",
    "georadius k 1 2 3 m STORE d",
    "georadius k 1 2 3 m COUNT 3 ANY ASC STOREDIST d",
    "georadius k 1 2 3 m STORE d STOREDIST e",
    "georadiusbymember k m 3 km STORE d",
    "georadiusbymember k store 3 km storedist d",
    "geosearchstore d k FROMMEMBER m BYRADIUS 1 km",
    "sort k",
    "sort k BY w_* LIMIT 0 5 GET # GET o_* ASC ALPHA STORE d",
    "sort k STORE d STORE e",
    "sort k GET store BY store STORE d",
    "sort_ro k BY store GET store",
    "migrate h 1 k 0 10",
    "migrate h 1 k 0 10 COPY REPLACE AUTH keys",
    "migrate h 1 '' 0 10 KEYS a b",
    "migrate h 1 '' 0 10 AUTH keys KEYS a",
    "migrate h 1 '' 0 10 COPY AUTH2 keys keys KEYS a b c",
    "eval script 2 a b x y",
    "eval script 0 x",
    "eval_ro script 1 a x",
    "evalsha sha 2 a b",
    "evalsha_ro sha 1 a",
    "fcall f 2 a b x",
    "fcall_ro f 1 a",
    "object ENCODING k",
    "memory USAGE k SAMPLES 5",
    "pfdebug encode k",
    "restore-asking k 0 v",
    "watch a b",
    "xadd k MAXLEN ~ 5 * f v",
    "xread STREAMS a 0",
    "xread COUNT 2 BLOCK 5 STREAMS a b c 0 0 0",
    "xreadgroup GROUP g c STREAMS k >",
    "xreadgroup GROUP streams c COUNT 1 NOACK STREAMS a b > >",
    "xgroup CREATE k g $ MKSTREAM",
    "xinfo STREAM k FULL",
    "georadius k 1 2 3 m STORE storedist STOREDIST e",
    "georadiusbymember k m 3 km STORE d STORE e",
    "hgetex k EX 10 FIELDS 2 a b",
    "hsetex k FNX EX 10 FIELDS 1 a b",
    "vadd k REDUCE 2 VALUES 3 1 2 3 element",
    "vsim k ELE element WITHSCORES COUNT 3",
    "vlinks k element WITHSCORES",
    "set k v IFEQ w GET",
};

/* What a row promises to be enough: its least number of words, with a count of one where one is
 * read, and the word where one is looked for. */
static void line_from_row(const struct command *c, char line[TEXT_MAX])
{
    char *bar, word[32];
    snprintf(line, TEXT_MAX, "%s", c->name);
    bar = strchr(line, '|');
    if (bar)
        *bar = ' ';
    for (int at = bar ? 2 : 1; at < abs(c->arity); at++) {
        snprintf(word, sizeof word, " w%d", at);
        for (int i = 0; i < c->key_spec_count; i++)
            if (c->key_specs[i].find == KEYS_BY_COUNT &&
                c->key_specs[i].start + c->key_specs[i].count_at == at)
                strcpy(word, " 1");
        strcat(line, word);
    }
}

static bool has_agreed_line(const struct command *c)
{
    char line[TEXT_MAX];
    bool is_agreed;
    line_from_row(c, line);
    is_agreed = agree_on_keys(line);
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct words words;
        to_words(lines[i], &words);
        if (command_lookup(words.argv, words.argc) == c)
            is_agreed |= agree_on_keys(lines[i]);
    }
    return is_agreed;
}

/* COMMAND GETKEYS does not count channels as keys, although they have slots. */
static bool has_channels(const struct command *c)
{
    return (c->flags & COMMAND_PUBSUB) != 0;
}

START_TEST(test_every_command_with_keys_agrees_with_the_server)
{
    int count = 0;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        if (c->key_spec_count == 0 || has_channels(c) || !server_knows(c))
            continue;
        ck_assert_msg(has_agreed_line(c), "%s: no line with keys", c->name);
        count++;
    }
    ck_assert_int_gt(count, 150);
}
END_TEST

START_TEST(test_commands_without_keys_have_none_for_the_server)
{
    char line[TEXT_MAX];
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        if (c->key_spec_count == 0 && c->subcommand_count == 0) {
            line_from_row(c, line);
            ck_assert_msg(!agree_on_keys(line), "%s has keys", line);
        }
    }
}
END_TEST

/* --- lines that are nearly right --- */

static const char *const odd_words[] = {"store", "STOREDIST", "keys",  "limit", "get", "by",
                                        "auth",  "AUTH2",     "count", "copy",  "0",   "1",
                                        "2",     "3",         "-1",    "99",    "x",   "''"};

/* Replaces, removes or inserts a word, of the words after the first `kept`. */
static void change(const struct words *words, int kept, char line[TEXT_MAX])
{
    int at = kept + (int)(next_random() % (uint32_t)(words->argc - kept + 1));
    uint32_t way = next_random() % 3;
    line[0] = '\0';
    for (int i = 0; i <= words->argc; i++) {
        if (i == at && way > 0)
            sprintf(line + strlen(line), " %s", odd_words[next_random() % COUNT_OF(odd_words)]);
        if (i < words->argc && (i != at || way == 2))
            sprintf(line + strlen(line), " %s", *words->word[i] ? words->word[i] : "''");
    }
    memmove(line, line + 1, strlen(line));
}

/* The table reads XREAD better than COMMAND GETKEYS does, which takes the first STREAMS. */
static bool is_read_alike(const struct command *c)
{
    return !(c->flags & COMMAND_BLOCKS_IF_ASKED);
}

static void agree_on_changes_of(const char *origin)
{
    struct words words;
    char line[TEXT_MAX];
    to_words(origin, &words);
    const struct command *c = command_lookup(words.argv, words.argc);
    int kept = strchr(c->name, '|') ? 2 : 1;
    for (int i = 0; i < CHANGES_PER_LINE && is_read_alike(c); i++) {
        change(&words, kept, line);
        if (i % 2) {
            struct words changed;
            to_words(line, &changed);
            change(&changed, kept < changed.argc ? kept : changed.argc, line);
        }
        agree_on_keys(line);
    }
}

START_TEST(test_lines_that_are_nearly_right_have_the_servers_keys)
{
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        agree_on_changes_of(lines[i]);
}
END_TEST

/* --- what the server says of its commands --- */

/* As if the table did not have it. Null: the server does not know it. */
static const struct command *described(const char *name, struct arena *arena)
{
    const char *argv[] = {"COMMAND", "INFO", name};
    const struct command *c;
    size_t length;
    unsigned rows;
    MUST(wire_send_argv(wire, 3, argv, NULL));
    char *reply = wire_receive(wire, &length);
    MUST(reply);
    c = command_info_parse(reply, length, (struct bytes){name, strlen(name)}, NULL, arena, &rows);
    free(reply);
    return c;
}

/* Rules of ours that are not the server's are not looked up either: they are for commands that the
 * table knows. */
static bool is_ruled_otherwise(const struct command *row, const struct command *c)
{
    return row->klass != c->klass && row->klass != COMMAND_KEYED &&
           row->klass != COMMAND_SPLIT;
}

START_TEST(test_a_description_is_as_good_as_a_row)
{
    int compared = 0, asking = 0;
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *row = command_at(i);
        struct arena arena = {0};
        const struct command *c = described(row->name, &arena);
        ck_assert_msg((c != NULL) == server_knows(row), "%s", row->name);
        if (c && (c->flags & COMMAND_ASK_KEYS)) {
            asking++;
        } else if (c) {
            ck_assert_msg(c->klass == row->klass || is_ruled_otherwise(row, c) ||
                              !strcmp(c->name, "msetnx"),
                          "%s", c->name);
            ck_assert_msg((c->key_spec_count > 0) == (row->key_spec_count > 0), "%s", c->name);
            ck_assert_int_eq(c->subcommand_count > 0, row->subcommand_count > 0);
            compared++;
        }
        arena_deinit(&arena);
    }
    ck_assert_int_gt(compared, 300);
    ck_assert_int_lt(asking, 10);
}
END_TEST

/* Where the server itself cannot say it, COMMAND GETKEYS is asked for each line. */
START_TEST(test_a_description_finds_the_keys)
{
    struct key_range ours[COMMAND_RANGES_MAX], theirs[COMMAND_RANGES_MAX];
    int compared = 0;
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct arena arena = {0};
        struct words words;
        to_words(lines[i], &words);
        const struct command *row = command_lookup(words.argv, words.argc);
        const struct command *c = described(row->name, &arena);
        /* Of two destinations the last one counts, which specifications cannot say. */
        bool is_described = strncmp(lines[i], "georadius", 9) != 0;
        if (c && !(c->flags & COMMAND_ASK_KEYS) && is_read_alike(row) && is_described) {
            int count = command_keys(row, words.argv, words.argc, theirs);
            ck_assert_msg(command_keys(c, words.argv, words.argc, ours) == count, "%s", lines[i]);
            ck_assert_mem_eq(ours, theirs, (size_t)count * sizeof *ours);
            compared++;
        }
        arena_deinit(&arena);
    }
    ck_assert_int_gt(compared, 40);
}
END_TEST

/* --- the differential test --- */

/* Commands that the stream cannot have. A name may end in '*'. Those that the library refuses need
 * no entry. */
static const struct {
    const char *name, *reason;
} not_in_stream[] = {
    {"acl|genpass", "random"},
    {"acl|load", "fails without a file, at every node, and the error names one"},
    {"acl|save", "fails without a file, at every node, and the error names one"},
    {"asking", "a server without a cluster refuses it"},
    {"bgrewriteaof", "is done in the background, or fails"},
    {"bgsave", "is done in the background, or fails"},
    {"client|capa", "not of every server, and asks for redirections"},
    {"client|id", "a number of one server"},
    {"client|import-source", "not of every server, and needs a setting"},
    {"client|info", "about one connection: client_test"},
    {"client|list", "about all connections: client_test"},
    {"client|reply", "is not answered: client_test"},
    {"cluster*", "a server without a cluster refuses it: commands_test"},
    {"command", "in the order of a hash table"},
    {"commandlog|get", "what was slow"},
    {"commandlog|len", "what was slow"},
    {"commandlog|reset", "not of every server, and of several nodes the error names one"},
    {"config|rewrite", "writes the server's file"},
    {"function|delete", "fails when there is none, at every node, and the error names one"},
    {"function|restore", "takes what FUNCTION DUMP said: script_test"},
    {"info", "numbers of one server: info_test"},
    {"lastsave", "a time"},
    {"lolwut", "random"},
    {"memory|doctor", "how much memory there is"},
    {"memory|malloc-stats", "how much memory there is"},
    {"memory|stats", "how much memory there is"},
    {"monitor", "no command is answered as usual behind it: monitor_test"},
    {"move", "one server has 16 databases, a cluster one"},
    {"pfdebug", "shows the server's insides, and changes them"},
    {"pfselftest", "takes long"},
    {"psubscribe", "no command is answered as usual behind it: pubsub_test"},
    {"punsubscribe", "no command is answered as usual behind it: pubsub_test"},
    {"quit", "the last command: client_test"},
    {"randomkey", "random: scan_test"},
    {"readonly", "a server without a cluster refuses it"},
    {"readwrite", "a server without a cluster refuses it"},
    {"reset", "forgets the database that a test of one server uses: client_test"},
    {"role", "how much was replicated"},
    {"save", "fails while it is done in the background"},
    {"scan", "in the order of a hash table: scan_test"},
    {"script|show", "not of every server, and of several nodes the error names one"},
    {"select", "one server has 16 databases, a cluster one: commands_test"},
    {"slowlog|get", "what was slow"},
    {"slowlog|len", "what was slow"},
    {"ssubscribe", "no command is answered as usual behind it: pubsub_test"},
    {"subscribe", "no command is answered as usual behind it: pubsub_test"},
    {"sunsubscribe", "no command is answered as usual behind it: pubsub_test"},
    {"swapdb", "one server has 16 databases, a cluster one"},
    {"time", "a time"},
    {"unsubscribe", "no command is answered as usual behind it: pubsub_test"},
    {"waitaof", "not of every server, and of several nodes the error names one: wait_test"},
    {"discard", "in the stream, around transactions only"},
    {"exec", "in the stream, around transactions only"},
    {"multi", "in the stream, around transactions only"},
    {"unwatch", "in the stream, around transactions only"},
    {"watch", "in the stream, around transactions only"},
};

static bool is_in_stream(const struct command *c)
{
    struct words words;
    const char *template;
    for (size_t i = 0; (template = stream_template(i)); i++) {
        to_words(template, &words);
        if (command_lookup(words.argv, words.argc) == c)
            return true;
    }
    return false;
}

static bool is_like(const char *name, const char *pattern)
{
    size_t length = strlen(pattern) - 1;
    return pattern[length] == '*' ? !strncmp(name, pattern, length) : !strcmp(name, pattern);
}

static const char *exception_of(const struct command *c)
{
    if (c->klass == COMMAND_UNSUPPORTED)
        return "refused by the library: commands_test";
    for (size_t i = 0; i < COUNT_OF(not_in_stream); i++)
        if (is_like(c->name, not_in_stream[i].name))
            return not_in_stream[i].reason;
    return NULL;
}

START_TEST(test_every_command_is_in_the_stream)
{
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        const char *reason = exception_of(c);
        ck_assert_msg(reason || is_in_stream(c), "%s: no template and no exception", c->name);
        ck_assert_msg(!reason || !is_in_stream(c), "%s: is no exception (%s)", c->name, reason);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("command_oracle");
    TCase *tc = suite_case(suite, "slots", oracle_setup, oracle_teardown);
    tcase_add_test(tc, test_slots_are_those_of_the_server);
    tc = suite_case(suite, "commands", oracle_setup, oracle_teardown);
    tcase_add_test(tc, test_every_command_of_the_server_has_a_row);
    tcase_add_test(tc, test_every_command_with_keys_agrees_with_the_server);
    tcase_add_test(tc, test_commands_without_keys_have_none_for_the_server);
    tcase_add_test(tc, test_lines_that_are_nearly_right_have_the_servers_keys);
    tcase_add_test(tc, test_a_description_is_as_good_as_a_row);
    tcase_add_test(tc, test_a_description_finds_the_keys);
    tc = suite_case(suite, "stream", NULL, NULL);
    tcase_add_test(tc, test_every_command_is_in_the_stream);
    return suite_run(suite);
}
