#include "config/reader.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/duration.h"

enum { FIELDS_MOST = 64, NAMES_MOST = 1024, NAME_MOST = 64 };

/* --- refusing --- */

static bool refuse(struct reader *r, const struct reader_place *place, const char *format,
                   va_list arguments)
{
    char what[COMPLAINT_MOST];

    vsnprintf(what, sizeof what, format, arguments);
    if (place->file == NULL)
        return complain(r->complaint, "%s", what);
    if (place->path[0] == '\0')
        return complain(r->complaint, "%s:%d:%d: %s", place->file, place->line, place->column,
                        what);
    return complain(r->complaint, "%s:%d:%d: %s: %s", place->file, place->line, place->column,
                    place->path, what);
}

bool reader_refuse(struct reader *r, const struct yaml_node *node, const char *format, ...)
{
    struct reader_place place = {r->file, r->path, node->line, node->column};
    va_list arguments;

    va_start(arguments, format);
    refuse(r, &place, format, arguments);
    va_end(arguments);
    return false;
}

bool reader_refuse_place(struct reader *r, const struct reader_place *place, const char *format,
                         ...)
{
    va_list arguments;

    va_start(arguments, format);
    refuse(r, place, format, arguments);
    va_end(arguments);
    return false;
}

void *reader_make(struct reader *r, size_t size)
{
    void *made = arena_take(r->arena, size);

    if (made == NULL)
        complain(r->complaint, "%s: out of memory", r->file);
    return made;
}

const struct reader_place *reader_place(struct reader *r, const struct yaml_node *node)
{
    struct reader_place *place = reader_make(r, sizeof *place);

    if (place == NULL)
        return NULL;
    *place = (struct reader_place){r->file, arena_copy(r->arena, r->path, strlen(r->path)),
                                   node->line, node->column};
    if (place->path != NULL)
        return place;
    complain(r->complaint, "%s: out of memory", r->file);
    return NULL;
}

/* What stands there instead of what is expected. */
static bool refuse_kind(struct reader *r, const struct yaml_node *node, const char *expected)
{
    if (yaml_is_null(node))
        return reader_refuse(r, node, "has no value; expected is %s", expected);
    switch (node->kind) {
    case YAML_SCALAR:
        return reader_refuse(r, node, "\"%.100s\" is not %s", node->text, expected);
    case YAML_LIST:
        return reader_refuse(r, node, "is a list; expected is %s", expected);
    case YAML_MAP:
        return reader_refuse(r, node, "is a map; expected is %s", expected);
    }
    return false;
}

/* --- values --- */

static bool is_value(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !yaml_is_null(node);
}

bool take_duration(struct reader *r, const struct yaml_node *node, const struct field *f,
                   void *into)
{
    int64_t ms = is_value(node) ? duration_parse(node->text, r->file == NULL) : -1;
    char least[DURATION_TEXT_SIZE], most[DURATION_TEXT_SIZE];

    if (ms < 0)
        return refuse_kind(r, node,
                           "a duration: a number and its unit, such as 250ms, 0.5s, 5s, "
                           "1m or 1h");
    if (ms < f->least || (f->most > 0 && ms > f->most))
        return reader_refuse(r, node, "%.100s is out of range; from %s to %s is possible",
                             node->text, duration_text(f->least, least),
                             duration_text(f->most, most));
    *(int64_t *)into = ms;
    return true;
}

/* Of the decimal digits, as JSON has them, and as text: "6379" is a number to Envoy, too. What is
 * beyond an int64_t is the outermost, which is out of every range. */
static bool number_of(const char *text, int64_t *value)
{
    char *end;

    if ((text[0] < '0' || text[0] > '9') && (text[0] != '-' || text[1] < '0' || text[1] > '9'))
        return false;
    *value = strtoll(text, &end, 10);
    return *end == '\0';
}

bool take_number(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    int64_t value;

    if (!is_value(node) || !number_of(node->text, &value))
        return refuse_kind(r, node, "a whole number");
    if (value < f->least || (f->most > f->least && value > f->most))
        return reader_refuse(r, node, "%.100s is out of range; from %lld to %lld is possible",
                             node->text, (long long)f->least, (long long)f->most);
    *(int64_t *)into = value;
    return true;
}

bool take_percent(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    const char *end = "?";
    double percent = 0;

    (void)f;
    if (is_value(node) && node->text[0] >= '0' && node->text[0] <= '9')
        end = duration_digits(node->text, &percent);
    if (*end != '\0' || percent > 100)
        return refuse_kind(r, node, "a percentage from 0 to 100");
    *(uint32_t *)into = (uint32_t)(percent * 10000 + 0.5);
    return true;
}

static bool is_one_of(const char *text, const char *const *names)
{
    while (*names != NULL && strcasecmp(*names, text) != 0)
        names++;
    return *names != NULL;
}

bool take_switch(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    static const char *const yes[] = {"true", NULL}, *const no[] = {"false", NULL};
    static const char *const on[] = {"true", "1", "yes", "on", NULL};
    static const char *const off[] = {"false", "0", "no", "off", "", NULL};
    bool terse = r->file == NULL, scalar = terse || (is_value(node) && !node->quoted);

    (void)f;
    if (scalar && is_one_of(node->text, terse ? on : yes))
        *(bool *)into = true;
    else if (scalar && is_one_of(node->text, terse ? off : no))
        *(bool *)into = false;
    else
        return refuse_kind(r, node, "true or false");
    return true;
}

bool take_text(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    const char *copy;

    (void)f;
    if (node->kind != YAML_SCALAR || (r->file != NULL && yaml_is_null(node)))
        return refuse_kind(r, node, "a text");
    copy = arena_copy(r->arena, node->text, strlen(node->text));
    if (copy == NULL)
        return complain(r->complaint, "%s: out of memory", r->file);
    *(const char **)into = copy;
    return true;
}

static void list_names(char *to, size_t size, const char *const *names)
{
    size_t length = 0;

    for (; *names != NULL && length < size; names++)
        length +=
            (size_t)snprintf(to + length, size - length, "%s%s", length > 0 ? ", " : "", *names);
}

bool take_choice(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    const char *const *names = f->type;
    char expected[NAMES_MOST] = "one of ";

    for (int i = 0; is_value(node) && names[i] != NULL; i++)
        if (strcasecmp(names[i], node->text) == 0) {
            *(int *)into = i;
            return true;
        }
    list_names(expected + 7, sizeof expected - 7, names);
    return refuse_kind(r, node, expected);
}

bool take_map(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    return reader_map(r, node, f->type, into);
}

bool take_node(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    (void)r;
    (void)f;
    *(const struct yaml_node **)into = node;
    return true;
}

bool take_any(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    (void)r;
    (void)node;
    (void)f;
    (void)into;
    return true;
}

bool take_ignored(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    const struct field *as = f->type;
    union {
        int64_t number;
        const char *text;
        int choice;
        bool on;
    } ignored;

    (void)into;
    return yaml_is_null(node) || as->take(r, node, as, &ignored);
}

const struct field reader_switch = {.take = take_switch};
const struct field reader_duration = {.take = take_duration};
const struct field reader_size = {.take = take_number, .least = 0, .most = UINT32_MAX};
const struct field reader_text = {.take = take_text};

bool take_any_map(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    (void)f;
    (void)into;
    return node->kind == YAML_MAP || yaml_is_null(node) || refuse_kind(r, node, "a map");
}

bool take_any_list(struct reader *r, const struct yaml_node *node, const struct field *f,
                   void *into)
{
    (void)f;
    (void)into;
    return node->kind == YAML_LIST || yaml_is_null(node) || refuse_kind(r, node, "a list");
}

static bool ignore_text(struct reader *r, const struct yaml_node *node, const struct field *f,
                        void *into)
{
    static const struct field text = {.take = take_ignored, .type = &reader_text};

    (void)f;
    return take_ignored(r, node, &text, into);
}

bool take_any_texts(struct reader *r, const struct yaml_node *node, const struct field *f,
                    void *into)
{
    (void)f;
    return reader_list(r, node, ignore_text, into);
}

bool take_refused(struct reader *r, const struct yaml_node *node, const struct field *f, void *into)
{
    (void)into;
    return reader_refuse(r, node, "%s", (const char *)f->type);
}

/* --- maps and lists --- */

/* How long the path was, to be given back to leave(). */
static size_t enter(struct reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static size_t enter(struct reader *r, const char *format, ...)
{
    size_t length = strlen(r->path);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(r->path + length, sizeof r->path - length, format, arguments);
    va_end(arguments);
    return length;
}

static void leave(struct reader *r, size_t length)
{
    r->path[length] = '\0';
}

/* A name_of_words as such, or as nameOfWords: JSON's form of the same field. */
static bool is_name(const char *name, const char *given)
{
    const char *camel = given;

    if (strcmp(name, given) == 0)
        return true;
    for (; *name != '\0'; name++, camel++) {
        if (*name == '_' && name[1] >= 'a' && name[1] <= 'z') {
            name++;
            if (*camel != *name - 'a' + 'A')
                return false;
        } else if (*camel != *name) {
            return false;
        }
    }
    return *camel == '\0';
}

static size_t enter_field(struct reader *r, const char *name)
{
    return enter(r, "%s%s", r->path[0] != '\0' ? "." : "", name);
}

/* By number, over a table and those that go on from it; NULL: behind the last. */
static const struct field *field_at(const struct field *table, size_t number)
{
    for (;; table++) {
        while (table->name == NULL) {
            if (table->type == NULL)
                return NULL;
            table = table->type;
        }
        if (number-- == 0)
            return table;
    }
}

/* Edits from one name to the other, as far as they are few. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], length = strlen(b);

    if (length >= 63 || strlen(a) >= 63)
        return SIZE_MAX;
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);

            best = above + 1 < best ? above + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = above;
        }
    }
    return row[length];
}

/* As JSON has it. */
static const char *in_camel_case(const char *name, char to[NAME_MOST])
{
    size_t length = 0;

    for (; *name != '\0' && length < NAME_MOST - 1; name++)
        to[length++] =
            *name == '_' && name[1] != '\0' ? (char)toupper((unsigned char)*++name) : *name;
    to[length] = '\0';
    return to;
}

static bool is_camel_case(const char *name)
{
    return strchr(name, '_') == NULL && strpbrk(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL;
}

/* Those that are not refused whatever they say. */
static void names_of(const struct field *table, const char *names[FIELDS_MOST + 1])
{
    const struct field *f;
    size_t count = 0;

    for (size_t i = 0; i < FIELDS_MOST && (f = field_at(table, i)) != NULL; i++)
        if (f->take != take_refused)
            names[count++] = f->name;
    names[count] = NULL;
}

static bool refuse_unknown(struct reader *r, const struct yaml_node *key, const struct field *table)
{
    const char *names[FIELDS_MOST + 1], *near = NULL;
    char list[NAMES_MOST], camel[NAME_MOST], near_camel[NAME_MOST];
    bool is_camel = is_camel_case(key->text);
    size_t best = 4, distance_now;

    if (strcmp(key->text, "<<") == 0)
        return reader_refuse(r, key,
                             "a merge key (<<) is not known here; say the fields themselves");
    names_of(table, names);
    for (size_t i = 0; names[i] != NULL; i++) {
        distance_now = distance(key->text, is_camel ? in_camel_case(names[i], camel) : names[i]);
        if (distance_now < best && distance_now < strlen(names[i])) {
            best = distance_now;
            near = names[i];
        }
    }
    list_names(list, sizeof list, names);
    if (near != NULL)
        return reader_refuse(r, key, "there is no field \"%.100s\" here; is \"%s\" meant?",
                             key->text, is_camel ? in_camel_case(near, near_camel) : near);
    return reader_refuse(r, key, "there is no field \"%.100s\" here; possible are: %s", key->text,
                         list);
}

bool reader_knows(const struct yaml_node *key, const struct field *table)
{
    const struct field *f;

    for (size_t i = 0; key->kind == YAML_SCALAR && (f = field_at(table, i)) != NULL; i++)
        if (is_name(f->name, key->text))
            return true;
    return false;
}

/* Its number in the table; -1: refused. */
static int find_field(struct reader *r, const struct yaml_node *key, const struct field *table)
{
    const struct field *f;

    if (key->kind != YAML_SCALAR) {
        reader_refuse(r, key, "the name of a field is a text");
        return -1;
    }
    for (int i = 0; i < FIELDS_MOST && (f = field_at(table, (size_t)i)) != NULL; i++)
        if (is_name(f->name, key->text))
            return i;
    refuse_unknown(r, key, table);
    return -1;
}

static bool take_pair(struct reader *r, const struct yaml_node *map, size_t pair,
                      const struct field *table, uint64_t *given, void *into)
{
    int number = find_field(r, map->keys[pair], table);
    const struct field *f = number >= 0 ? field_at(table, (size_t)number) : NULL;
    size_t length;
    bool ok;

    if (f == NULL)
        return false;
    length = enter_field(r, map->keys[pair]->text);
    if ((*given >> number & 1) != 0)
        ok = reader_refuse(r, map->keys[pair], "is given twice");
    else
        ok = f->take(r, map->items[pair], f, (char *)into + f->offset);
    *given |= UINT64_C(1) << number;
    leave(r, length);
    return ok;
}

bool reader_map(struct reader *r, const struct yaml_node *node, const struct field *table,
                void *into)
{
    const struct field *f;
    uint64_t given = 0;

    if (node->kind != YAML_MAP) {
        const char *names[FIELDS_MOST + 1];
        char expected[NAMES_MOST] = "a map of ";

        names_of(table, names);
        list_names(expected + 9, sizeof expected - 9, names);
        return refuse_kind(r, node, expected);
    }
    for (size_t i = 0; i < node->count; i++)
        if (!take_pair(r, node, i, table, &given, into))
            return false;
    for (int i = 0; i < FIELDS_MOST && (f = field_at(table, (size_t)i)) != NULL; i++)
        if (f->needed && (given >> i & 1) == 0)
            return reader_refuse(r, node, "the field \"%s\" is missing", f->name);
    return true;
}

bool reader_list(struct reader *r, const struct yaml_node *node, reader_take *take, void *into)
{
    if (node->kind != YAML_LIST)
        return refuse_kind(r, node, "a list");
    for (size_t i = 0; i < node->count; i++) {
        size_t length = enter(r, "[%zu]", i);
        bool ok = take(r, node->items[i], NULL, into);

        leave(r, length);
        if (!ok)
            return false;
    }
    return true;
}

bool reader_deeper(struct reader *r, const char *name, const struct yaml_node *node,
                   const struct field *table, void *into)
{
    size_t length = enter(r, ".%s", name);
    bool ok = reader_map(r, node, table, into);

    leave(r, length);
    return ok;
}

/* The number of a map's pair; its count: there is none. */
static size_t find_pair(const struct yaml_node *map, const char *name)
{
    size_t i = 0;

    while (map->kind == YAML_MAP && i < map->count &&
           (map->keys[i]->kind != YAML_SCALAR || !is_name(name, map->keys[i]->text)))
        i++;
    return i;
}

const struct yaml_node *reader_find(const struct yaml_node *map, const char *name)
{
    size_t pair = find_pair(map, name);

    return map->kind == YAML_MAP && pair < map->count ? map->items[pair] : NULL;
}

bool reader_refuse_field(struct reader *r, const struct yaml_node *map, const char *name,
                         const char *format, ...)
{
    const struct yaml_node *value = reader_find(map, name);
    size_t length = strlen(r->path);
    struct reader_place place = {r->file, r->path, map->line, map->column};
    va_list arguments;

    if (value != NULL) {
        enter_field(r, map->keys[find_pair(map, name)]->text);
        place.line = value->line;
        place.column = value->column;
    }
    va_start(arguments, format);
    refuse(r, &place, format, arguments);
    va_end(arguments);
    leave(r, length);
    return false;
}

const struct reader_place *reader_place_field(struct reader *r, const struct yaml_node *map,
                                              const char *name)
{
    const struct yaml_node *value = reader_find(map, name);
    const struct reader_place *place;
    size_t length = strlen(r->path);

    if (value != NULL)
        enter_field(r, map->keys[find_pair(map, name)]->text);
    place = reader_place(r, value != NULL ? value : map);
    leave(r, length);
    return place;
}
