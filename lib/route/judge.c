#include "route/judge.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "route/command.h"
#include "route/seen_scripts.h"
#include "route/slot.h"

enum { UNKNOWN_NAME_MOST = 32 };

struct line {
    const struct command *command;
    const struct bytes *argv;
    int argc;
};

typedef void judgement(struct judge *, const struct line *, struct audit_entry *);

/* --- names --- */

static void name_known(struct audit_entry *e, const char *name)
{
    size_t i = 0;

    for (; name[i] != '\0' && i + 1 < AUDIT_NAME; i++)
        e->name[i] = name[i] == '|' ? ' ' : (char)toupper((unsigned char)name[i]);
    e->name[i] = '\0';
}

static bool is_name(struct bytes word)
{
    for (size_t i = 0; i < word.length; i++)
        if (!isalnum((unsigned char)word.data[i]) && strchr("._-", word.data[i]) == NULL)
            return false;
    return word.length > 0 && word.length <= UNKNOWN_NAME_MOST &&
           isalpha((unsigned char)*word.data);
}

static void append_name(struct audit_entry *e, struct bytes word)
{
    size_t at = strlen(e->name);

    for (size_t i = 0; i < word.length && at + 1 < AUDIT_NAME; i++)
        e->name[at++] = (char)toupper((unsigned char)word.data[i]);
}

/* What is no name may be anything, and is not shown. */
static void name_unknown(struct audit_entry *e, struct bytes word)
{
    if (is_name(word))
        append_name(e, word);
    else
        strcpy(e->name, "(no name)");
}

/* One that the table lacks, behind its container. */
static void name_subcommand(struct audit_entry *e, struct bytes word)
{
    if (!is_name(word))
        return;
    append_name(e, (struct bytes){" ", 1});
    append_name(e, word);
}

/* --- what is found --- */

/* The worst counts. */
static bool find(struct audit_entry *e, enum audit_finding finding)
{
    if (finding < e->finding)
        return false;
    e->finding = finding;
    memset(e->detail, 0, sizeof e->detail);
    return true;
}

static void find_with(struct audit_entry *e, enum audit_finding finding, const char *detail)
{
    if (find(e, finding))
        snprintf(e->detail[0], AUDIT_DETAIL, "%s", detail);
}

static void find_database(struct audit_entry *e, int database)
{
    char text[32];

    snprintf(text, sizeof text, "database %d", database);
    find_with(e, AUDIT_DATABASE, text);
}

static void find_keys(struct audit_entry *e, enum audit_finding finding, const char *first,
                      const char *second)
{
    if (!find(e, finding))
        return;
    snprintf(e->detail[0], AUDIT_DETAIL, "%s", first);
    snprintf(e->detail[1], AUDIT_DETAIL, "%s", second);
}

static bool word_is(const struct line *line, int i, const char *lower)
{
    return i < line->argc && bytes_equal_ignoring_case(line->argv[i], lower);
}

static int find_word(const struct line *line, int from, const char *lower)
{
    for (int i = from; i < line->argc; i++)
        if (word_is(line, i, lower))
            return i;
    return 0;
}

static bool is_named(const struct line *line, const char *name)
{
    return strcmp(line->command->name, name) == 0;
}

/* -1: no number that a database could have. */
static int number_of(struct bytes word)
{
    int number = 0;

    if (word.length == 0 || word.length > 6)
        return -1;
    for (size_t i = 0; i < word.length; i++) {
        if (!isdigit((unsigned char)word.data[i]))
            return -1;
        number = number * 10 + (word.data[i] - '0');
    }
    return number;
}

/* --- keys --- */

static void remember(struct judge_key *key, struct bytes word, uint16_t slot)
{
    key->set = true;
    key->slot = slot;
    audit_escape(key->text, word);
}

/* The first key that is in another slot than `key`, which the first key of all becomes. NULL: none.
 */
static const struct bytes *stray_key(const struct line *line, struct judge_key *key)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    int count = command_keys(line->command, line->argv, line->argc, ranges);

    for (int i = 0; i < count; i++)
        for (int at = ranges[i].first; at <= ranges[i].last; at += ranges[i].step) {
            const struct bytes *word = &line->argv[at];
            uint16_t slot = slot_of_key(word->data, word->length);

            if (!key->set)
                remember(key, *word, slot);
            else if (key->slot != slot)
                return word;
        }
    return NULL;
}

static bool has_keys(const struct line *line)
{
    struct key_range ranges[COMMAND_RANGES_MAX];

    return command_keys(line->command, line->argv, line->argc, ranges) > 0;
}

/* Of a command by itself. */
static void judge_keys(const struct line *line, struct audit_entry *e, enum audit_finding finding)
{
    struct judge_key key = {0};
    const struct bytes *stray = stray_key(line, &key);
    char text[AUDIT_ESCAPED];

    if (stray == NULL)
        return;
    audit_escape(text, *stray);
    find_keys(e, finding, key.text, text);
}

/* --- scripts --- */

static void judge_text(const struct line *line, const struct seen_script *script,
                       struct audit_entry *e)
{
    if (script->outside[0] != '\0')
        find_with(e, AUDIT_SCRIPT_KEYS, script->outside);
    else if (script->calls && !has_keys(line))
        find(e, AUDIT_SCRIPT_WITHOUT_KEYS);
}

static void judge_eval(const struct line *line, struct audit_entry *e)
{
    struct seen_script script = seen_script_look(line->argv[1]);

    judge_text(line, &script, e);
}

static void judge_evalsha(const struct line *line, struct audit_entry *e)
{
    struct seen_script script;

    if (seen_script_find(line->argv[1], &script))
        judge_text(line, &script, e);
    else
        find(e, AUDIT_SCRIPT_UNSEEN);
}

static void judge_fcall(const struct line *line, struct audit_entry *e)
{
    if (!has_keys(line))
        find(e, AUDIT_SCRIPT_WITHOUT_KEYS);
}

/* SCRIPT LOAD and FUNCTION LOAD: the text is the last word. */
static void judge_load(const struct line *line, struct audit_entry *e)
{
    struct seen_script script = seen_script_look(line->argv[line->argc - 1]);

    if (script.outside[0] != '\0')
        find_with(e, AUDIT_SCRIPT_KEYS, script.outside);
}

/* --- what single commands have of their own --- */

static void judge_copy(const struct line *line, struct audit_entry *e)
{
    int at = find_word(line, 3, "db");

    if (at > 0 && at + 1 < line->argc && number_of(line->argv[at + 1]) != 0)
        find_with(e, AUDIT_DATABASE, "DB");
}

static void judge_database(const struct line *line, struct audit_entry *e)
{
    (void)line;
    find(e, AUDIT_DATABASE);
}

/* A cluster's node does not look up keys that a pattern names. */
static void judge_sort(const struct line *line, struct audit_entry *e)
{
    for (int i = 2; i < line->argc; i++) {
        if (word_is(line, i, "by") && i + 1 < line->argc &&
            memchr(line->argv[i + 1].data, '*', line->argv[i + 1].length) != NULL)
            find_with(e, AUDIT_REFUSED, "BY a pattern");
        else if (word_is(line, i, "get") && i + 1 < line->argc)
            find_with(e, AUDIT_REFUSED, "GET a pattern");
        i += word_is(line, i, "limit")
                 ? 2
                 : word_is(line, i, "by") || word_is(line, i, "get") || word_is(line, i, "store");
    }
}

static void judge_ssubscribe(const struct line *line, struct audit_entry *e)
{
    judge_keys(line, e, AUDIT_CROSSSLOT);
}

static const struct {
    const char *name;
    void (*judge)(const struct line *, struct audit_entry *);
} special[] = {
    {"eval", judge_eval},          {"eval_ro", judge_eval},          {"evalsha", judge_evalsha},
    {"evalsha_ro", judge_evalsha}, {"fcall", judge_fcall},           {"fcall_ro", judge_fcall},
    {"script|load", judge_load},   {"function|load", judge_load},    {"copy", judge_copy},
    {"move", judge_database},      {"swapdb", judge_database},       {"sort", judge_sort},
    {"sort_ro", judge_sort},       {"ssubscribe", judge_ssubscribe},
};

static void judge_special(const struct line *line, struct audit_entry *e)
{
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
        if (is_named(line, special[i].name))
            special[i].judge(line, e);
}

/* --- by class --- */

static void judge_nothing(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    (void)line;
    (void)e;
}

static void judge_keyed(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    judge_keys(line, e, AUDIT_CROSSSLOT);
}

/* A key without its value is the same error everywhere. */
static bool is_odd(const struct line *line)
{
    struct key_range keys[COMMAND_RANGES_MAX];

    return command_keys(line->command, line->argv, line->argc, keys) == 1 &&
           (line->argc - keys[0].first) % keys[0].step != 0;
}

static void judge_split(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    if (!is_odd(line))
        judge_keys(line, e, AUDIT_SPLIT);
}

static void judge_fan_out(struct judge *j, const struct line *line, struct audit_entry *e)
{
    static const char *const merged[] = {
        [RESPONSE_DEFAULT_KEYLESS] = "arrays are put one behind the other",
        [RESPONSE_DEFAULT_KEYED] = "an element for each key",
        [RESPONSE_ONE_SUCCEEDED] = "one success is enough",
        [RESPONSE_ALL_SUCCEEDED] = "all have to succeed",
        [RESPONSE_AND] = "logical and",
        [RESPONSE_OR] = "logical or",
        [RESPONSE_MIN] = "the smallest number",
        [RESPONSE_MAX] = "the greatest number",
        [RESPONSE_SUM] = "the sum",
        [RESPONSE_ANY] = "of any master",
        [RESPONSE_UNION] = "every element once",
        [RESPONSE_SUM_OF_NAMED] = "the sum for each name",
        [RESPONSE_TEXT] = "texts are put one behind the other",
        [RESPONSE_INFO] = "one report: counts are summed",
        [RESPONSE_SPECIAL] = "all have to succeed",
    };

    (void)j;
    find_with(e, AUDIT_FAN_OUT, merged[line->command->response]);
}

static void judge_scan(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    (void)line;
    find_with(e, AUDIT_FAN_OUT, "cursors of the cluster");
}

static void judge_one_node(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    (void)line;
    find(e, AUDIT_ONE_NODE);
}

static void judge_kill(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    if (find_word(line, 2, "id") > 0)
        find_with(e, AUDIT_ONE_NODE, "ID");
    else
        find_with(e, AUDIT_FAN_OUT, "at all nodes");
}

static void judge_messages(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    (void)line;
    find(e, AUDIT_MESSAGES);
}

static void judge_refused(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    (void)line;
    find(e, AUDIT_REFUSED);
}

static void judge_tracking(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)j;
    if (find_word(line, 2, "redirect") > 0)
        find_with(e, AUDIT_REFUSED, "REDIRECT");
}

static void judge_reset(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)line;
    (void)e;
    *j = (struct judge){0};
}

/* SELECT, and what else is about the connection: AUTH, HELLO, CLIENT SETNAME … */
static void judge_state(struct judge *j, const struct line *line, struct audit_entry *e)
{
    int database = is_named(line, "select") ? number_of(line->argv[1]) : -1;

    if (database >= 0)
        j->database = database;
    if (database > 0)
        find_database(e, database);
}

/* --- transactions --- */

/* Keys of the line beside those that were named before, of which `key` is the first. */
static bool judge_against(struct judge *j, const struct line *line, struct judge_key *key,
                          struct audit_entry *e)
{
    const struct bytes *stray = stray_key(line, key);
    char text[AUDIT_ESCAPED];

    if (stray == NULL)
        return true;
    audit_escape(text, *stray);
    find_keys(e, AUDIT_TRANSACTION, key->text, text);
    memcpy(j->broken_by, text, sizeof text);
    return false;
}

static void judge_watch(struct judge *j, const struct line *line, struct audit_entry *e)
{
    struct judge_key before = j->guard;

    /* A WATCH that is refused guards nothing. */
    if (!judge_against(j, line, &j->guard, e))
        j->guard = before;
}

static void begin(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)line;
    (void)e;
    j->in_transaction = true;
    j->broken = j->refused = false;
    j->key = j->guard;
}

static void end(struct judge *j, const struct line *line, struct audit_entry *e)
{
    if (j->broken && is_named(line, "exec"))
        find_keys(e, AUDIT_TRANSACTION, j->key.text, j->broken_by);
    if (j->refused && is_named(line, "exec"))
        find_with(e, AUDIT_REFUSED, "a command of the transaction was");
    j->in_transaction = false;
    j->guard.set = j->key.set = false;
}

static void judge_unwatch(struct judge *j, const struct line *line, struct audit_entry *e)
{
    (void)line;
    (void)e;
    j->guard.set = j->in_transaction && j->guard.set;
}

/* What has no meaning inside, or outside, of a transaction is the same error everywhere. */
static void judge_transaction(struct judge *j, const struct line *line, struct audit_entry *e)
{
    static const struct {
        const char *name;
        judgement *outside, *inside;
    } verbs[] = {
        {"multi", begin, judge_nothing},           {"exec", judge_nothing, end},
        {"discard", judge_nothing, end},           {"watch", judge_watch, judge_nothing},
        {"unwatch", judge_unwatch, judge_unwatch},
    };

    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (is_named(line, verbs[i].name))
            (j->in_transaction ? verbs[i].inside : verbs[i].outside)(j, line, e);
}

/* A transaction runs on one node, so nothing in it is about several. */
static void judge_queued(struct judge *j, const struct line *line, struct audit_entry *e)
{
    static const bool allowed[COMMAND_UNSUPPORTED + 1] = {
        [COMMAND_KEYED] = true,  [COMMAND_SPLIT] = true,   [COMMAND_ANY_NODE] = true,
        [COMMAND_MASTER] = true, [COMMAND_CACHING] = true,
    };

    if (!allowed[line->command->klass]) {
        if (line->command->klass == COMMAND_STATE)
            judge_state(j, line, e);
        find_with(e, AUDIT_REFUSED, "in a transaction");
        j->refused = true;
        return;
    }
    if (line->command->klass == COMMAND_MASTER)
        find(e, AUDIT_ONE_NODE);
    if (!judge_against(j, line, &j->key, e))
        j->broken = true;
}

/* --- all of it --- */

static judgement *const judgement_of[] = {
    [COMMAND_KEYED] = judge_keyed,
    [COMMAND_SPLIT] = judge_split,
    [COMMAND_ALL_SHARDS] = judge_fan_out,
    [COMMAND_ALL_NODES] = judge_fan_out,
    [COMMAND_ANY_NODE] = judge_nothing,
    [COMMAND_SLOT] = judge_nothing,
    [COMMAND_MASTER] = judge_one_node,
    [COMMAND_STATE] = judge_state,
    [COMMAND_READ_MODE] = judge_nothing,
    [COMMAND_CONNECTION] = judge_one_node,
    [COMMAND_QUIT] = judge_nothing,
    [COMMAND_TRANSACTION] = judge_transaction,
    [COMMAND_RESET] = judge_reset,
    [COMMAND_SUBSCRIBE] = judge_messages,
    [COMMAND_UNSUBSCRIBE] = judge_nothing,
    [COMMAND_MONITOR] = judge_messages,
    [COMMAND_REPLY_MODE] = judge_nothing,
    [COMMAND_TRACKING] = judge_tracking,
    [COMMAND_CACHING] = judge_nothing,
    [COMMAND_KILL] = judge_kill,
    [COMMAND_SCAN] = judge_scan,
    [COMMAND_UNSUPPORTED] = judge_refused,
};

static bool has_arity(const struct line *line)
{
    const struct command *c = line->command;

    return c->arity >= 0 ? line->argc == c->arity : line->argc >= -c->arity;
}

static bool is_queued(const struct judge *j, const struct command *c)
{
    return j->in_transaction && c->klass != COMMAND_TRANSACTION && c->klass != COMMAND_QUIT &&
           c->klass != COMMAND_RESET;
}

static bool touches_data(const struct command *c)
{
    return (c->flags & (COMMAND_READONLY | COMMAND_WRITE | COMMAND_SCRIPT)) != 0;
}

static void judge_line(struct judge *j, const struct line *line, struct audit_entry *e)
{
    if (is_queued(j, line->command))
        judge_queued(j, line, e);
    else
        judgement_of[line->command->klass](j, line, e);
    judge_special(line, e);
    if (j->database > 0 && touches_data(line->command))
        find_database(e, j->database);
}

void judge_command(struct judge *j, const struct bytes *argv, int argc, struct audit_entry *e)
{
    struct line line = {command_lookup(argv, argc), argv, argc};

    *e = (struct audit_entry){.count = 1};
    if (line.command == NULL) {
        name_unknown(e, argv[0]);
        find(e, AUDIT_UNKNOWN);
        return;
    }
    name_known(e, line.command->name);
    if (line.command->subcommand_count > 0 && argc > 1) {
        name_subcommand(e, argv[1]);
        find(e, AUDIT_UNKNOWN);
        return;
    }
    /* The number of words is wrong on every server. */
    if (has_arity(&line))
        judge_line(j, &line, e);
}

void judge_unreadable(struct audit_entry *e)
{
    *e = (struct audit_entry){.count = 1, .name = "(no command)"};
    find(e, AUDIT_UNREADABLE);
}
