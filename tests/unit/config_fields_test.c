/* Every field of every table that a configuration is read by has a row here, which says what is
 * taken, what is refused, and with what advice; file, line, column and path are always looked at.
 * Whether there is a row for each is found out in the sources of the tables themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
enum { WRONG_MOST = 8, NAMES_MOST = 64, TABLES_MOST = 96, TEXT_MOST = 4096 };

enum kind {
    DURATION, /* from `least` to `most` milliseconds */
    NUMBER,   /* from `least` to `most` */
    PERCENT,
    SWITCH,
    TEXT,
    CHOICE, /* one of `advice` */
    MAP,    /* whose fields are another context's, that of the tables `advice` */
    LIST,
    ANY,     /* taken without effect, whatever it is */
    ANY_MAP, /* taken without effect, … */
    ANY_LIST,
    REFUSED, /* with `advice`, whatever it is */
    OTHER,   /* what `wrong` says */
};

enum presence {
    OPTIONAL,
    NEEDED,
    IGNORED, /* has no effect, and so may be null */
};

struct wrong {
    const char *value; /* the complaint is about what a '^' is before, about the map ('<'), or else
                          the value */
    const char *advice;
    const char *path; /* NULL: that of the field */
};

struct row {
    const char *field;
    enum kind kind;
    const char *good;
    int64_t least, most;
    const char *advice;
    enum presence presence;
    struct wrong wrong[WRONG_MOST];
};

/* A map somewhere in a document. */
struct context {
    const char *tables;   /* that its fields are in, "FILE:TABLE …" */
    const char *path;     /* empty: the document itself */
    const char *document; /* with its last '@' where the map is */
    const struct row *rows;
    bool hides_keys;    /* a key may be a secret that is in the wrong place */
    const char *extra;  /* what the map has besides the fields that it needs, … */
    const char *unless; /* … unless it is one of these that is looked at */
};

#include "config_fields_table.inc"

enum { CONTEXTS = sizeof contexts / sizeof contexts[0] };

/* --- the sources --- */

struct table {
    char name[64]; /* "FILE:TABLE" */
    int count;
    char fields[NAMES_MOST][64];
    bool refused[NAMES_MOST];
};

static struct table tables[TABLES_MOST];
static int table_count;

static char *read_source(const char *file)
{
    char path[512], *text = calloc(1, 1 << 20);
    FILE *in;

    snprintf(path, sizeof path, "%s/%s", REDISROUTE_CONFIG_SOURCES, file);
    in = fopen(path, "r");
    if (in == NULL || fread(text, 1, (1 << 20) - 1, in) == 0)
        fail_msg("%s cannot be read", path);
    fclose(in);
    return text;
}

/* {"name", … or READER_IGNORED("name", … */
static const char *next_field(const char *at, char name[64])
{
    const char *plain = strstr(at, "{\""), *ignored = strstr(at, "READER_IGNORED(\"");
    const char *found = plain == NULL || (ignored != NULL && ignored < plain) ? ignored : plain;

    if (found == NULL)
        return NULL;
    found = strchr(found, '"') + 1;
    snprintf(name, 64, "%.*s", (int)strcspn(found, "\""), found);
    return found;
}

static void read_table(const char *file, const char *name, const char *body, const char *end)
{
    struct table *t = &tables[table_count++];
    char next[64];

    assert_true(table_count < TABLES_MOST);
    snprintf(t->name, sizeof t->name, "%s:%.*s", file, (int)strcspn(name, "["), name);
    for (const char *at = next_field(body, next); at != NULL && at < end;) {
        const char *refused = strstr(at, "take_refused"), *after;

        assert_true(t->count < NAMES_MOST);
        strcpy(t->fields[t->count], next);
        after = next_field(at, next);
        t->refused[t->count++] =
            refused != NULL && (after == NULL || refused < after) && refused < end;
        at = after;
    }
}

static int read_sources(void **state)
{
    static const char *const files[] = {"document.c", "envoy.c", "settings.c", "tls.c", "login.c"};
    static const char begin[] = "const struct field ";

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *text = read_source(files[i]);

        for (const char *at = text; (at = strstr(at, begin)) != NULL; at++) {
            const char *name = at + sizeof begin - 1;

            if (strncmp(name + strcspn(name, "[ ;)*"), "[] = {", 6) == 0)
                read_table(files[i], name, name, strstr(name, "\n};"));
        }
        free(text);
    }
    assert_true(table_count > 40);
    return 0;
}

static const struct table *find_table(const char *name, size_t length)
{
    for (int i = 0; i < table_count; i++)
        if (strlen(tables[i].name) == length && memcmp(tables[i].name, name, length) == 0)
            return &tables[i];
    fail_msg("there is no table %.*s", (int)length, name);
    return NULL;
}

/* Calls for each of the tables that a text names. */
static const struct table *next_table(const char **names)
{
    size_t length;
    const struct table *t;

    *names += strspn(*names, " ");
    length = strcspn(*names, " ");
    t = length > 0 ? find_table(*names, length) : NULL;
    *names += length;
    return t;
}

/* What can be said there, as a complaint lists it. */
static void list_possible(const char *names, char to[TEXT_MOST])
{
    const struct table *t;

    to[0] = '\0';
    while ((t = next_table(&names)) != NULL)
        for (int i = 0; i < t->count; i++)
            if (!t->refused[i])
                snprintf(to + strlen(to), TEXT_MOST - strlen(to), "%s%s", to[0] != '\0' ? ", " : "",
                         t->fields[i]);
}

static bool has_row(const struct context *c, const char *field)
{
    const struct row *row = c->rows;

    while (row->field != NULL && strcmp(row->field, field) != 0)
        row++;
    return row->field != NULL;
}

static bool names_table(const struct context *c, const struct table *table)
{
    const char *names = c->tables;
    const struct table *t;

    while ((t = next_table(&names)) != NULL && t != table)
        ;
    return t != NULL;
}

static void every_field_has_a_row(void **state)
{
    (void)state;
    for (int i = 0; i < table_count; i++) {
        int times = 0;

        for (int c = 0; c < CONTEXTS; c++)
            for (int f = 0; names_table(&contexts[c], &tables[i]) && f < tables[i].count; f++) {
                times++;
                if (!has_row(&contexts[c], tables[i].fields[f]))
                    fail_msg("%s: the field %s has no row", tables[i].name, tables[i].fields[f]);
            }
        if (times == 0)
            fail_msg("the table %s has no context", tables[i].name);
    }
}

static bool is_in_tables(const char *names, const char *field)
{
    const struct table *t;

    while ((t = next_table(&names)) != NULL)
        for (int i = 0; i < t->count; i++)
            if (strcmp(t->fields[i], field) == 0)
                return true;
    return false;
}

static void every_row_is_of_a_field(void **state)
{
    (void)state;
    for (int c = 0; c < CONTEXTS; c++)
        for (const struct row *row = contexts[c].rows; row->field != NULL; row++)
            if (!is_in_tables(contexts[c].tables, row->field))
                fail_msg("%s: there is no field %s any more", contexts[c].tables, row->field);
}

/* --- documents --- */

struct document {
    char text[TEXT_MOST];
    size_t map; /* where they begin */
    size_t key; /* the last one */
    size_t value;
};

static void append(struct document *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(struct document *d, const char *format, ...)
{
    size_t length = strlen(d->text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(d->text + length, sizeof d->text - length, format, arguments);
    va_end(arguments);
    assert_true(strlen(d->text) < sizeof d->text - 1);
}

static bool is_unless(const struct context *c, const char *field)
{
    char word[80];

    snprintf(word, sizeof word, " %s ", field);
    return c->unless != NULL && strstr(c->unless, word) != NULL;
}

static const char *quotes(const char *key)
{
    return key[0] == '@' ? "'" : "";
}

static void begin_map(struct document *d, const struct context *c, const struct row *of)
{
    d->text[0] = '\0';
    append(d, "# a configuration\n%.*s", (int)(strrchr(c->document, '@') - c->document),
           c->document);
    d->map = strlen(d->text);
    append(d, "{");
    if (c->extra != NULL && (of == NULL || !is_unless(c, of->field)))
        append(d, "%s, ", c->extra);
    for (const struct row *row = c->rows; row->field != NULL; row++)
        if (row->presence == NEEDED && row != of && row->good != NULL)
            append(d, "%s: %s, ", row->field, row->good);
}

/* The '^' in a value is where the complaint is to be. */
static void append_pair(struct document *d, const char *key, const char *value)
{
    const char *mark = strchr(value, '^');
    bool is_about_map = value[0] == '<';

    value += is_about_map;
    d->key = strlen(d->text);
    append(d, "%s%s%s:", quotes(key), key, quotes(key));
    append(d, " ");
    d->value = strlen(d->text);
    if (mark != NULL) {
        append(d, "%.*s", (int)(mark - value), value);
        d->value = strlen(d->text);
        value = mark + 1;
    }
    append(d, "%s", value);
    if (is_about_map)
        d->value = d->map;
}

static void end_map(struct document *d, const struct context *c)
{
    append(d, "}%s", strrchr(c->document, '@') + 1);
}

/* `row`: of the field that is looked at; NULL: it is none. */
static void make(struct document *d, const struct context *c, const struct row *row,
                 const char *key, const char *value)
{
    begin_map(d, c, row);
    append_pair(d, key, value);
    end_map(d, c);
}

/* All of them are said, and not the first alone. */
static int failures;

static void assert_refused(const struct document *d, size_t at, const char *path,
                           const char *advice)
{
    struct complaint complaint = {""};
    struct config *config = config_parse("f", d->text, strlen(d->text), &complaint);
    char expected[TEXT_MOST];
    int line = 1, column = 1;

    for (size_t i = 0; i < at; i++) {
        column = d->text[i] == '\n' ? 1 : column + 1;
        line += d->text[i] == '\n';
    }
    snprintf(expected, sizeof expected, "f:%d:%d: %s%s%s", line, column, path,
             path[0] != '\0' ? ": " : "", advice);
    expected[COMPLAINT_MOST - 1] = '\0';
    if (config == NULL && strcmp(complaint.text, expected) == 0)
        return;
    failures++;
    print_error("of\n%s\nis said\n%s\nand not\n%s\n", d->text,
                config != NULL ? "nothing" : complaint.text, expected);
    config_destroy(config);
}

static void assert_taken(const struct document *d)
{
    struct complaint complaint = {""};
    struct config *config = config_parse("f", d->text, strlen(d->text), &complaint);

    if (config == NULL)
        fail_msg("refused:\n%s\n%s", d->text, complaint.text);
    config_destroy(config);
}

static const char *path_of(const struct context *c, const char *key)
{
    static char path[512];

    snprintf(path, sizeof path, "%s%s%s", c->path, c->path[0] != '\0' ? "." : "", key);
    return path;
}

static void assert_wrong(const struct context *c, const struct row *row, const char *value,
                         const char *advice, ...) __attribute__((format(printf, 4, 5)));

static void assert_wrong(const struct context *c, const struct row *row, const char *value,
                         const char *advice, ...)
{
    struct document d;
    char text[TEXT_MOST];
    va_list arguments;

    va_start(arguments, advice);
    vsnprintf(text, sizeof text, advice, arguments);
    va_end(arguments);
    make(&d, c, row, row->field, value);
    assert_refused(&d, d.value, path_of(c, row->field), text);
}

/* --- what is refused, by kind --- */

static void assert_kind(const struct context *c, const struct row *row, const char *expected)
{
    assert_wrong(c, row, "[x]", "is a list; expected is %s", expected);
    assert_wrong(c, row, "{x: 1}", "is a map; expected is %s", expected);
    if (row->presence != IGNORED)
        assert_wrong(c, row, "", "has no value; expected is %s", expected);
}

#define A_DURATION "a duration: a number and its unit, such as 250ms, 0.5s, 5s, 1m or 1h"

static const char *duration(int64_t ms)
{
    static char texts[4][32];
    static int turn;
    char *text = texts[turn++ % 4];

    if (ms % HOUR == 0 && ms > 0)
        snprintf(text, 32, "%lldh", (long long)(ms / HOUR));
    else if (ms % MINUTE == 0 && ms > 0)
        snprintf(text, 32, "%lldm", (long long)(ms / MINUTE));
    else if (ms % SECOND == 0)
        snprintf(text, 32, "%llds", (long long)(ms / SECOND));
    else
        snprintf(text, 32, "%lldms", (long long)ms);
    return text;
}

static void check_duration(const struct context *c, const struct row *row)
{
    static const char *const wrong[] = {"5", "x", "-1s", "5 sec", "1e3ms", "''"};
    char value[32];

    assert_kind(c, row, A_DURATION);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_wrong(c, row, wrong[i], "\"%s\" is not " A_DURATION,
                     strcmp(wrong[i], "''") == 0 ? "" : wrong[i]);
    if (row->most == 0)
        return;
    snprintf(value, sizeof value, "%lldms", (long long)row->most + 1);
    assert_wrong(c, row, value, "%s is out of range; from %s to %s is possible", value,
                 duration(row->least), duration(row->most));
    assert_wrong(c, row, "99999999999999999999h",
                 "99999999999999999999h is out of range; from %s to %s is possible",
                 duration(row->least), duration(row->most));
    if (row->least == 0)
        return;
    snprintf(value, sizeof value, "%lldms", (long long)row->least - 1);
    assert_wrong(c, row, value, "%s is out of range; from %s to %s is possible", value,
                 duration(row->least), duration(row->most));
}

static void check_number(const struct context *c, const struct row *row)
{
    const char *const huge[] = {"99999999999999999999", "-99999999999999999999"};
    char value[32];

    assert_kind(c, row, "a whole number");
    assert_wrong(c, row, "x", "\"x\" is not a whole number");
    assert_wrong(c, row, "1.5", "\"1.5\" is not a whole number");
    assert_wrong(c, row, "5s", "\"5s\" is not a whole number");
    for (int i = 0; i < 2; i++)
        assert_wrong(c, row, huge[i], "%s is out of range; from %lld to %lld is possible", huge[i],
                     (long long)row->least, (long long)row->most);
    for (int i = 0; i < 2; i++) {
        snprintf(value, sizeof value, "%lld", (long long)(i ? row->most + 1 : row->least - 1));
        assert_wrong(c, row, value, "%s is out of range; from %lld to %lld is possible", value,
                     (long long)row->least, (long long)row->most);
    }
}

static void check_percent(const struct context *c, const struct row *row)
{
    assert_kind(c, row, "a percentage from 0 to 100");
    assert_wrong(c, row, "101", "\"101\" is not a percentage from 0 to 100");
    assert_wrong(c, row, "-1", "\"-1\" is not a percentage from 0 to 100");
    assert_wrong(c, row, "5%", "\"5%%\" is not a percentage from 0 to 100");
}

static void check_switch(const struct context *c, const struct row *row)
{
    assert_kind(c, row, "true or false");
    assert_wrong(c, row, "yes", "\"yes\" is not true or false");
    assert_wrong(c, row, "'true'", "\"true\" is not true or false");
    assert_wrong(c, row, "1", "\"1\" is not true or false");
}

static void check_text(const struct context *c, const struct row *row)
{
    assert_kind(c, row, "a text");
}

static void check_choice(const struct context *c, const struct row *row)
{
    char expected[TEXT_MOST];

    snprintf(expected, sizeof expected, "one of %s", row->advice);
    assert_kind(c, row, expected);
    assert_wrong(c, row, "x", "\"x\" is not %s", expected);
}

static void check_map(const struct context *c, const struct row *row)
{
    char possible[TEXT_MOST], expected[TEXT_MOST + 16];

    list_possible(row->advice, possible);
    snprintf(expected, sizeof expected, "a map of %s", possible);
    assert_wrong(c, row, "x", "\"x\" is not %s", expected);
    assert_wrong(c, row, "[x]", "is a list; expected is %s", expected);
    assert_wrong(c, row, "", "has no value; expected is %s", expected);
}

static void check_list(const struct context *c, const struct row *row)
{
    assert_wrong(c, row, "x", "\"x\" is not a list");
    assert_wrong(c, row, "{x: 1}", "is a map; expected is a list");
    if (row->presence != IGNORED)
        assert_wrong(c, row, "", "has no value; expected is a list");
}

static void check_any_map(const struct context *c, const struct row *row)
{
    assert_wrong(c, row, "x", "\"x\" is not a map");
    assert_wrong(c, row, "[x]", "is a list; expected is a map");
}

static void check_any(const struct context *c, const struct row *row)
{
    static const char *const values[] = {"x", "[x]", "{x: 1}", ""};
    struct document d;

    for (int i = 0; row->good == NULL && i < 4; i++) {
        make(&d, c, row, row->field, values[i]);
        assert_taken(&d);
    }
}

static void check_refused(const struct context *c, const struct row *row)
{
    assert_wrong(c, row, "x", "%s", row->advice);
    assert_wrong(c, row, "{x: 1}", "%s", row->advice);
}

static void check_other(const struct context *c, const struct row *row)
{
    struct document d;

    if (row->wrong[0].value == NULL)
        fail_msg("%s: nothing is wrong for %s", c->tables, row->field);
    for (const struct wrong *w = row->wrong; w < row->wrong + WRONG_MOST && w->value != NULL; w++) {
        make(&d, c, row, row->field, w->value);
        assert_refused(&d, d.value, w->path != NULL ? w->path : path_of(c, row->field), w->advice);
    }
}

static void (*const check_of[])(const struct context *, const struct row *) = {
    [DURATION] = check_duration, [NUMBER] = check_number, [PERCENT] = check_percent,
    [SWITCH] = check_switch,     [TEXT] = check_text,     [CHOICE] = check_choice,
    [MAP] = check_map,           [LIST] = check_list,     [ANY] = check_any,
    [ANY_MAP] = check_any_map,   [ANY_LIST] = check_list, [REFUSED] = check_refused,
    [OTHER] = check_other,
};

/* --- what holds for all --- */

typedef void check(const struct context *, const struct row *);

static void for_all(check *one)
{
    failures = 0;
    for (int c = 0; c < CONTEXTS; c++)
        for (const struct row *row = contexts[c].rows; row->field != NULL; row++)
            one(&contexts[c], row);
    assert_int_equal(failures, 0);
}

static void check_wrong(const struct context *c, const struct row *row)
{
    check_of[row->kind](c, row);
}

static void what_is_wrong_is_refused_with_what_is_right(void **state)
{
    (void)state;
    for_all(check_wrong);
}

static const char *in_camel_case(const char *name)
{
    static char camel[64];
    char *to = camel;

    for (; *name != '\0'; name++)
        *to++ =
            *name == '_' && name[1] >= 'a' && name[1] <= 'z' ? (char)(*++name - 'a' + 'A') : *name;
    *to = '\0';
    return camel;
}

static void check_good(const struct context *c, const struct row *row)
{
    struct document d;

    if (row->good == NULL)
        return;
    make(&d, c, row, row->field, row->good);
    assert_taken(&d);
    make(&d, c, row, in_camel_case(row->field), row->good);
    assert_taken(&d);
}

static void what_is_right_is_taken_in_both_spellings(void **state)
{
    (void)state;
    for_all(check_good);
}

/* What is refused in any case is not offered. */
static void check_unknown(const struct context *c, const struct row *row)
{
    struct document d;
    char key[80], advice[TEXT_MOST];

    if (row->kind == REFUSED)
        return;
    snprintf(key, sizeof key, "%sq", row->field);
    snprintf(advice, sizeof advice, "there is no field \"%s\" here; is \"%s\" meant?", key,
             row->field);
    if (c->hides_keys)
        snprintf(advice, sizeof advice, "there is no such field here; " A_SOURCE);
    make(&d, c, NULL, key, "x");
    assert_refused(&d, d.key, c->path, advice);
}

static void a_field_that_is_misspelt_is_refused_with_the_right_one(void **state)
{
    (void)state;
    for_all(check_unknown);
}

static void check_twice(const struct context *c, const struct row *row)
{
    struct document d;

    if (row->good == NULL || strcmp(row->good, "List") == 0)
        return;
    begin_map(&d, c, row);
    append_pair(&d, row->field, row->good);
    append(&d, ", ");
    append_pair(&d, row->field, row->good);
    end_map(&d, c);
    assert_refused(&d, d.key, path_of(c, row->field), "is given twice");
}

static void a_field_that_is_given_twice_is_refused(void **state)
{
    (void)state;
    for_all(check_twice);
}

static void check_missing(const struct context *c, const struct row *row)
{
    struct document d;
    char advice[128];

    if (row->presence != NEEDED)
        return;
    begin_map(&d, c, row);
    end_map(&d, c);
    snprintf(advice, sizeof advice, "the field \"%s\" is missing", row->field);
    assert_refused(&d, d.map, c->path, advice);
}

static void a_field_that_is_missing_is_asked_for(void **state)
{
    (void)state;
    for_all(check_missing);
}

static void check_key(const struct context *c, const struct row *row)
{
    struct document d;

    (void)row;
    make(&d, c, NULL, "[x]", "x");
    if (!c->hides_keys)
        assert_refused(&d, d.key, c->path, "the name of a field is a text");
    make(&d, c, NULL, "<<", "{x: 1}");
    if (!c->hides_keys)
        assert_refused(&d, d.key, c->path,
                       "a merge key (<<) is not known here; say the fields themselves");
}

static void the_names_of_fields_are_texts(void **state)
{
    (void)state;
    for_all(check_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_has_a_row),
        cmocka_unit_test(every_row_is_of_a_field),
        cmocka_unit_test(what_is_right_is_taken_in_both_spellings),
        cmocka_unit_test(what_is_wrong_is_refused_with_what_is_right),
        cmocka_unit_test(a_field_that_is_misspelt_is_refused_with_the_right_one),
        cmocka_unit_test(a_field_that_is_given_twice_is_refused),
        cmocka_unit_test(a_field_that_is_missing_is_asked_for),
        cmocka_unit_test(the_names_of_fields_are_texts),
    };

    return cmocka_run_group_tests(tests, read_sources, NULL);
}
