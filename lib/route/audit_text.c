/* The audit in words, and as lines of JSON, which are read again: processes add to one file. */
#include "route/audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct finding_row {
    const char *name;
    enum audit_outcome outcome;
    const char *title;
    const char *advice; /* may be NULL */
    bool names_keys;    /* its details are keys */
} rows[AUDIT_FINDINGS] = {
    [AUDIT_WORKS] = {"works", OUTCOME_WORKS, "the same as on one server", NULL},
    [AUDIT_ONE_NODE] = {"one-node", OUTCOME_DIFFERS, "answered by one node, and about that node",
                        NULL},
    [AUDIT_MESSAGES] = {"messages", OUTCOME_DIFFERS, "messages, over connections that are replaced",
                        "What is published while a node is being replaced is missed."},
    [AUDIT_FAN_OUT] = {"fan-out", OUTCOME_DIFFERS, "asked of all, and merged",
                       "Not at one moment. A node that cannot be reached may make it an error."},
    [AUDIT_SPLIT] = {"split", OUTCOME_DIFFERS, "keys in several slots: split, and not atomic",
                     "Another client may see one part done and another not; one part may fail.",
                     true},
    [AUDIT_UNKNOWN] =
        {"unknown", OUTCOME_LOOK, "not in the table of commands",
         "A module's, a newer server's, or none. A cluster will be asked where its keys are."},
    [AUDIT_SCRIPT_UNSEEN] = {"script-unseen", OUTCOME_LOOK,
                             "scripts whose text was not seen, by their SHA-1",
                             "They were loaded before the audit began, or by another program."},
    [AUDIT_SCRIPT_WITHOUT_KEYS] = {"script-without-keys", OUTCOME_LOOK,
                                   "scripts and functions that are given no keys",
                                   "They run on any node: keys have to be given in KEYS."},
    [AUDIT_UNREADABLE] = {"unreadable", OUTCOME_LOOK, "no commands",
                          "Nothing behind this was looked at on its connection."},
    [AUDIT_SCRIPT_KEYS] = {"script-keys", OUTCOME_FAILS, "scripts that name keys outside of KEYS",
                           "A node refuses keys that another one has. Give all keys in KEYS."},
    [AUDIT_DATABASE] = {"database", OUTCOME_FAILS, "another database than 0",
                        "A cluster has one database. Put its number into the names of keys."},
    [AUDIT_CROSSSLOT] = {"crossslot", OUTCOME_FAILS, "keys in several slots: CROSSSLOT",
                         "Give keys that belong together one hash tag: {user:1}:a and {user:1}:b.",
                         true},
    [AUDIT_TRANSACTION] = {"transaction", OUTCOME_FAILS, "transactions with keys in several slots",
                           "The command gets CROSSSLOT, and EXEC gets EXECABORT: nothing is run.",
                           true},
    [AUDIT_REFUSED] = {"refused", OUTCOME_FAILS, "refused", NULL},
};

static const char *const outcomes[OUTCOMES] = {
    [OUTCOME_WORKS] = "work as they are",
    [OUTCOME_DIFFERS] = "work with a difference",
    [OUTCOME_LOOK] = "have to be looked at",
    [OUTCOME_FAILS] = "fail",
};

const char *audit_finding_name(enum audit_finding finding)
{
    return rows[finding].name;
}

/* --- sums --- */

static uint64_t count_of(const struct audit *a, enum audit_outcome outcome)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < a->count; i++)
        if (rows[a->entries[i].finding].outcome == outcome)
            sum += a->entries[i].count;
    return sum;
}

static uint64_t count_of_all(const struct audit *a)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < a->count; i++)
        sum += a->entries[i].count;
    return sum;
}

static int compare_names(const void *a, const void *b)
{
    const struct audit_entry *const *left = a, *const *right = b;
    int names = strcmp((*left)->name, (*right)->name);

    if (names != 0)
        return names;
    return (*left)->finding < (*right)->finding ? -1 : (*left)->finding > (*right)->finding;
}

/* The most frequent first. */
static int compare_counts(const void *a, const void *b)
{
    const struct audit_entry *const *left = a, *const *right = b;

    if ((*left)->count != (*right)->count)
        return (*left)->count > (*right)->count ? -1 : 1;
    return compare_names(a, b);
}

/* By name. NULL: out of memory. At least one element, to be freed. */
static const struct audit_entry **sorted(const struct audit *a)
{
    const struct audit_entry **order = malloc((a->count + 1) * sizeof *order);

    if (order == NULL)
        return NULL;
    for (size_t i = 0; i < a->count; i++)
        order[i] = &a->entries[i];
    if (a->count > 0)
        qsort(order, a->count, sizeof order[0], compare_names);
    return order;
}

static size_t shapes_of(const struct audit_entry **order, size_t count)
{
    size_t shapes = 0;

    for (size_t i = 0; i < count; i++)
        shapes += i == 0 || strcmp(order[i]->name, order[i - 1]->name) != 0;
    return shapes;
}

/* --- the report --- */

static bool say(struct buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool say(struct buffer *out, const char *format, ...)
{
    char line[AUDIT_NAME + (AUDIT_DETAILS + 1) * AUDIT_DETAIL];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return buffer_append_text(out, line);
}

static bool say_summary(struct buffer *out, const struct audit *a, size_t shapes)
{
    bool ok =
        say(out, "redisroute audit: %" PRIu64 " commands of %zu shapes", count_of_all(a), shapes);

    for (int o = 0; ok && o < OUTCOMES; o++)
        ok = say(out, "%s%" PRIu64 " %s", o == 0 ? ": " : ", ", count_of(a, (enum audit_outcome)o),
                 outcomes[o]);
    return ok && buffer_append_text(out, ".\n");
}

static bool say_entry(struct buffer *out, const struct audit_entry *e)
{
    bool ok = say(out, "%12" PRIu64 "  %s", e->count, e->name);
    /* Of the others there are none. */
    bool keys = rows[e->finding].names_keys && strcmp(e->name, AUDIT_OTHERS) != 0;
    int width = (int)strlen(e->name) < 24 ? 24 - (int)strlen(e->name) : 1;

    for (int i = 0; ok && i < AUDIT_DETAILS; i++) {
        if (keys)
            ok = say(out, "%*s'%s'", width, "", e->detail[i]);
        else if (e->detail[i][0] != '\0')
            ok = say(out, "%*s%s", width, "", e->detail[i]);
        width = 2;
    }
    return ok && buffer_append_text(out, "\n");
}

static bool say_finding(struct buffer *out, const struct audit_entry **order, size_t count,
                        enum audit_finding finding)
{
    bool ok = true, begun = false;

    for (size_t i = 0; ok && i < count; i++) {
        if (order[i]->finding != finding)
            continue;
        if (!begun)
            ok = say(out, "\n%s\n", rows[finding].title) &&
                 (rows[finding].advice == NULL || say(out, "    %s\n", rows[finding].advice));
        begun = true;
        ok = ok && say_entry(out, order[i]);
    }
    return ok;
}

static bool say_outcome(struct buffer *out, const struct audit *a, const struct audit_entry **order,
                        enum audit_outcome outcome)
{
    bool ok = count_of(a, outcome) == 0 ||
              say(out, "\n=== %" PRIu64 " %s\n", count_of(a, outcome), outcomes[outcome]);

    for (int f = AUDIT_FINDINGS - 1; ok && f >= 0; f--)
        if (rows[f].outcome == outcome)
            ok = say_finding(out, order, a->count, (enum audit_finding)f);
    return ok;
}

bool audit_append_report(const struct audit *a, struct buffer *out)
{
    const struct audit_entry **order = sorted(a);
    bool ok = order != NULL && say_summary(out, a, shapes_of(order, a->count));

    if (ok && a->count > 0)
        qsort(order, a->count, sizeof order[0], compare_counts);
    for (int o = OUTCOMES - 1; ok && o >= 0; o--)
        ok = say_outcome(out, a, order, (enum audit_outcome)o);
    free(order);
    return ok;
}

/* --- the lines --- */

/* Names and details hold no quotes, and backslashes only where a byte is escaped. */
static bool append_string(struct buffer *out, const char *text)
{
    bool ok = buffer_append_text(out, "\"");

    for (; ok && *text != '\0'; text++)
        ok = buffer_append(out, *text == '\\' ? "\\\\" : text, *text == '\\' ? 2 : 1);
    return ok && buffer_append_text(out, "\"");
}

static const char head[] = "{\"redisroute_audit\":1,\"commands\":", shapes_key[] = ",\"shapes\":";
static const char command_key[] = "{\"command\":", finding_key[] = ",\"finding\":",
                  count_key[] = ",\"count\":", details_key[] = ",\"details\":[";

/* A key may be empty, and counts all the same when there is one behind it. */
static int details_of(const struct audit_entry *e)
{
    int count = AUDIT_DETAILS;

    while (count > 0 && e->detail[count - 1][0] == '\0')
        count--;
    return count;
}

static bool append_line(struct buffer *out, const struct audit_entry *e)
{
    bool ok = buffer_append_text(out, command_key) && append_string(out, e->name) &&
              buffer_append_text(out, finding_key) && append_string(out, rows[e->finding].name) &&
              say(out, "%s%" PRIu64, count_key, e->count) && buffer_append_text(out, details_key);

    for (int i = 0; ok && i < details_of(e); i++)
        ok = buffer_append_text(out, i > 0 ? "," : "") && append_string(out, e->detail[i]);
    return ok && buffer_append_text(out, "]}\n");
}

bool audit_append_lines(const struct audit *a, struct buffer *out)
{
    const struct audit_entry **order = sorted(a);
    bool ok = order != NULL && say(out, "%s%" PRIu64 "%s%zu}\n", head, count_of_all(a), shapes_key,
                                   shapes_of(order, a->count));

    for (size_t i = 0; ok && i < a->count; i++)
        ok = append_line(out, order[i]);
    free(order);
    return ok;
}

/* --- reading them --- */

struct cursor {
    const char *at, *end;
};

static bool expect(struct cursor *c, const char *text)
{
    size_t length = strlen(text);

    if ((size_t)(c->end - c->at) < length || memcmp(c->at, text, length) != 0)
        return false;
    c->at += length;
    return true;
}

/* What append_string writes, and nothing that a report could not show. */
static bool read_string(struct cursor *c, char *to, size_t size)
{
    size_t n = 0;

    if (!expect(c, "\""))
        return false;
    for (; c->at < c->end && *c->at != '"'; c->at++) {
        if (*c->at < ' ' || *c->at > '~' || n + 1 == size)
            return false;
        if (*c->at == '\\' && (++c->at == c->end || *c->at != '\\'))
            return false;
        to[n++] = *c->at;
    }
    to[n] = '\0';
    return expect(c, "\"");
}

static bool read_number(struct cursor *c, uint64_t *number)
{
    const char *start = c->at;

    for (*number = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (*number > (UINT64_MAX >> 2) / 10)
            return false;
        *number = *number * 10 + (uint64_t)(*c->at - '0');
    }
    return c->at > start;
}

static bool read_finding(struct cursor *c, enum audit_finding *finding)
{
    char name[AUDIT_NAME];

    if (!read_string(c, name, sizeof name))
        return false;
    for (int f = 0; f < AUDIT_FINDINGS; f++)
        if (strcmp(rows[f].name, name) == 0) {
            *finding = (enum audit_finding)f;
            return true;
        }
    return false;
}

static bool read_details(struct cursor *c, struct audit_entry *e)
{
    for (int i = 0; i < AUDIT_DETAILS && !expect(c, "]"); i++)
        if ((i > 0 && !expect(c, ",")) || !read_string(c, e->detail[i], AUDIT_DETAIL))
            return false;
    return c->at[-1] == ']' || expect(c, "]");
}

static bool read_line(struct audit *a, struct cursor *c)
{
    struct audit_entry e = {0};

    return expect(c, command_key) && read_string(c, e.name, sizeof e.name) &&
           expect(c, finding_key) && read_finding(c, &e.finding) && expect(c, count_key) &&
           read_number(c, &e.count) && expect(c, details_key) && read_details(c, &e) &&
           expect(c, "}\n") && audit_add(a, &e);
}

bool audit_read_lines(struct audit *a, const char *text, size_t length)
{
    struct cursor c = {text, text + length};
    uint64_t ignored;
    bool ok = expect(&c, head) && read_number(&c, &ignored) && expect(&c, shapes_key) &&
              read_number(&c, &ignored) && expect(&c, "}\n");

    while (ok && c.at < c.end)
        ok = read_line(a, &c);
    return ok;
}
