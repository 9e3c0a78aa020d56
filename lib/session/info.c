#include "session/info.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the rules ---- */

enum rule {
    ONE,  /* as one master says it: what it is, and what is the same everywhere */
    SAID, /* `of` itself: what one server would say that is no member of a cluster */
    SUM,  /* of integers, or of decimals */
    MIN,
    MAX,
    WORST,   /* the first that is not "ok" */
    HUMAN,   /* the field without "_human", for people to read */
    RATIO,   /* the sum of `of`, divided by that of `by` */
    PERCENT, /* the same of a hundred; from `by`, `less` is taken away first */
    MEAN,    /* of the values, each as heavy as its `of` */
    EACH,    /* the value is a row of fields itself: name=value,name=value */
};

struct field_rule {
    const char *section;
    const char *field; /* a '*' at an end stands for anything; NULL: all others of the section */
    enum rule rule;
    const char *of, *by, *less;
};

/* The first that fits counts. A section that is not here is ONE's: what it says is not known to add
 * up. Durations of the last save or rewrite, and sizes that were the largest of their kind, are
 * those of the master where it was worst; the time of the last save is that of the master whose
 * data is the oldest on disk. Scripts and functions are the same on all masters. */
static const struct field_rule rules[] = {
    {"Server", "redis_mode", SAID, "standalone", NULL, NULL},
    {"Server", "server_mode", SAID, "standalone", NULL, NULL}, /* Valkey's name for it */
    {"Cluster", "cluster_enabled", SAID, "0", NULL, NULL},

    {"Clients", "client_recent_max_*", MAX, NULL, NULL, NULL},
    {"Clients", "paused_*", MAX, NULL, NULL, NULL},
    {"Clients", NULL, SUM, NULL, NULL, NULL},

    {"Memory", "*_human", HUMAN, NULL, NULL, NULL},
    {"Memory", "maxmemory_policy", ONE, NULL, NULL, NULL},
    {"Memory", "mem_allocator", ONE, NULL, NULL, NULL},
    {"Memory", "number_of_*", MAX, NULL, NULL, NULL},
    {"Memory", "active_defrag_running", MAX, NULL, NULL, NULL},
    {"Memory", "used_memory_peak_perc", PERCENT, "used_memory", "used_memory_peak", NULL},
    {"Memory", "used_memory_dataset_perc", PERCENT, "used_memory_dataset", "used_memory",
     "used_memory_startup"},
    {"Memory", "allocator_frag_ratio", RATIO, "allocator_active", "allocator_allocated", NULL},
    {"Memory", "allocator_rss_ratio", RATIO, "allocator_resident", "allocator_active", NULL},
    {"Memory", "rss_overhead_ratio", RATIO, "used_memory_rss", "allocator_resident", NULL},
    {"Memory", "mem_fragmentation_ratio", RATIO, "used_memory_rss", "used_memory", NULL},
    {"Memory", NULL, SUM, NULL, NULL, NULL},

    {"Persistence", "*_status", WORST, NULL, NULL, NULL},
    {"Persistence", "rdb_last_save_time", MIN, NULL, NULL, NULL},
    {"Persistence", "aof_enabled", MIN, NULL, NULL, NULL},
    {"Persistence", "current_save_keys_*", SUM, NULL, NULL, NULL},
    {"Persistence", "rdb_changes_since_last_save", SUM, NULL, NULL, NULL},
    {"Persistence", "rdb_saves", SUM, NULL, NULL, NULL},
    {"Persistence", "rdb_last_load_keys_*", SUM, NULL, NULL, NULL},
    {"Persistence", "aof_rewrites*", SUM, NULL, NULL, NULL},
    {"Persistence", "*_size", SUM, NULL, NULL, NULL},
    {"Persistence", "aof_buffer_length", SUM, NULL, NULL, NULL},
    {"Persistence", "aof_pending_*", SUM, NULL, NULL, NULL},
    {"Persistence", "aof_delayed_fsync", SUM, NULL, NULL, NULL},
    {"Persistence", "loading_total_bytes", SUM, NULL, NULL, NULL},
    {"Persistence", "loading_loaded_bytes", SUM, NULL, NULL, NULL},
    {"Persistence", "loading_start_time", MIN, NULL, NULL, NULL},
    {"Persistence", NULL, MAX, NULL, NULL, NULL},

    {"Stats", "expired_stale_perc", MAX, NULL, NULL, NULL},
    {"Stats", "latest_fork_usec", MAX, NULL, NULL, NULL},
    {"Stats", "instantaneous_eventloop_duration_usec", MAX, NULL, NULL, NULL},
    {"Stats", "current_*_time", MAX, NULL, NULL, NULL},
    {"Stats", NULL, SUM, NULL, NULL, NULL},

    {"CPU", NULL, SUM, NULL, NULL, NULL},

    {"Commandstats", "usec_per_call", RATIO, "usec", "calls", NULL},
    {"Commandstats", "cmdstat_*", EACH, NULL, NULL, NULL},
    {"Commandstats", NULL, SUM, NULL, NULL, NULL},
    {"Errorstats", "errorstat_*", EACH, NULL, NULL, NULL},
    {"Errorstats", NULL, SUM, NULL, NULL, NULL},
    {"Latencystats", "latency_percentiles_*", EACH, NULL, NULL, NULL},
    {"Latencystats", NULL, MAX, NULL, NULL, NULL},
    {"Keyspace", "db*", EACH, NULL, NULL, NULL},
    {"Keyspace", "avg_ttl", MEAN, "expires", NULL, NULL},
    {"Keyspace", NULL, SUM, NULL, NULL, NULL},
    {"Keysizes", "db*", EACH, NULL, NULL, NULL},
    {"Keysizes", NULL, SUM, NULL, NULL, NULL},
};

/* A master lists here what it has; others may have more. */
static const char *const lists[] = {"Commandstats", "Errorstats", "Latencystats", "Keyspace",
                                    "Keysizes"};

static bool is_text(struct bytes bytes, const char *text)
{
    return bytes.length == strlen(text) && memcmp(bytes.data, text, bytes.length) == 0;
}

static bool fits(const char *pattern, struct bytes name)
{
    size_t length = pattern != NULL ? strlen(pattern) : 0;
    const char *star = pattern != NULL ? strchr(pattern, '*') : NULL;
    size_t before = star != NULL ? (size_t)(star - pattern) : 0;

    if (pattern == NULL)
        return true;
    if (star == NULL)
        return is_text(name, pattern);
    return name.length + 1 >= length && memcmp(name.data, pattern, before) == 0 &&
           memcmp(name.data + name.length - (length - before - 1), star + 1, length - before - 1) ==
               0;
}

static const struct field_rule *rule_of(struct bytes section, struct bytes name)
{
    static const struct field_rule as_one_says = {NULL, NULL, ONE, NULL, NULL, NULL};

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (is_text(section, rules[i].section) && fits(rules[i].field, name))
            return &rules[i];
    return &as_one_says;
}

static bool is_list(struct bytes section)
{
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (is_text(section, lists[i]))
            return true;
    return false;
}

/* ---- reading ---- */

/* Fields one behind the other: the body of a section, or a value that is a row. */
struct row {
    struct bytes text;
    size_t at; /* what is looked up next is mostly behind what was found last */
};

struct field {
    struct bytes name, value;
};

/* What separates fields, and a name from its value. */
struct form {
    const char *between;
    char is;
};

static const struct form lines = {"\r\n", ':'};
static const struct form pairs = {",", '='};

/* False: there is none any more. */
static bool next_field(const struct form *form, struct bytes text, size_t *at, struct field *field)
{
    size_t gap = strlen(form->between);
    const char *from = text.data + *at, *end, *is;

    if (*at >= text.length)
        return false;
    end = memmem(from, text.length - *at, form->between, gap);
    *at = end != NULL ? (size_t)(end - text.data) + gap : text.length;
    if (end == NULL)
        end = text.data + text.length;
    is = memchr(from, form->is, (size_t)(end - from));
    field->name = (struct bytes){from, (size_t)((is != NULL ? is : end) - from)};
    field->value = (struct bytes){NULL, 0};
    if (is != NULL)
        field->value = (struct bytes){is + 1, (size_t)(end - is - 1)};
    return true;
}

static bool find_until(const struct form *form, struct row *row, size_t end, struct bytes name,
                       struct bytes *value)
{
    struct field field;

    while (row->at < end && next_field(form, row->text, &row->at, &field))
        if (field.name.length == name.length && field.value.data != NULL &&
            memcmp(field.name.data, name.data, name.length) == 0) {
            *value = field.value;
            return true;
        }
    return false;
}

static bool find_field(const struct form *form, struct row *row, struct bytes name,
                       struct bytes *value)
{
    size_t began = row->at;

    if (find_until(form, row, row->text.length, name, value))
        return true;
    row->at = 0;
    return find_until(form, row, began, name, value);
}

/* What stands between a title, "# Name", and the next. */
static struct bytes find_section(struct bytes report, struct bytes title)
{
    struct bytes body = {report.data, 0}, line;
    size_t at = 0;
    bool inside = false;

    while (at < report.length) {
        const char *from = report.data + at;
        const char *end = memmem(from, report.length - at, "\r\n", 2);

        line = (struct bytes){from, end != NULL ? (size_t)(end - from) : report.length - at};
        at += line.length + (end != NULL ? 2 : 0);
        if (line.length >= 2 && line.data[0] == '#') {
            if (inside)
                break;
            inside = line.length - 2 == title.length &&
                     memcmp(line.data + 2, title.data, title.length) == 0;
            body.data = report.data + at;
        } else if (inside && line.length > 0) {
            body.length = (size_t)(line.data + line.length - body.data);
        }
    }
    return inside ? body : (struct bytes){report.data, 0};
}

/* ---- numbers ---- */

enum { NUMBER_MOST = 40 };

struct number {
    bool known;
    int decimals;
    long long integer; /* without decimals */
    double value;
};

static struct number number_of(struct bytes text)
{
    struct number n = {0};
    char copy[NUMBER_MOST + 1], *end;
    const char *point;

    if (text.length == 0 || text.length > NUMBER_MOST ||
        !(isdigit((unsigned char)text.data[0]) || text.data[0] == '-'))
        return n;
    memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    errno = 0;
    n.integer = strtoll(copy, &end, 10);
    n.value = (double)n.integer;
    n.known = end != copy && *end == '\0' && errno == 0;
    if (n.known || *end != '.' || end == copy)
        return n;
    point = end;
    n.known = true;
    n.value = 0;
    for (const char *digit = point + 1; *digit != '\0'; digit++)
        n.known = n.known && isdigit((unsigned char)*digit);
    n.decimals = (int)strlen(point + 1);
    /* Not strtod: the program's locale may want a comma. */
    for (int i = n.decimals; i > 0; i--)
        n.value = (n.value + (point[i] - '0')) / 10;
    n.value = (double)llabs(n.integer) + n.value;
    if (copy[0] == '-')
        n.value = -n.value;
    return n;
}

/* As printf's %.*f, whatever the locale's decimal point is. */
static bool append_decimal(struct buffer *out, double value, int decimals)
{
    char text[400];
    int length = snprintf(text, sizeof text, "%.*f", decimals, value);

    for (int i = 0; i < length; i++)
        if (text[i] != '-' && !isdigit((unsigned char)text[i]))
            text[i] = '.';
    return buffer_append(out, text, (size_t)length);
}

static bool append_integer(struct buffer *out, long long value)
{
    char text[NUMBER_MOST];
    int length = snprintf(text, sizeof text, "%lld", value);

    return buffer_append(out, text, (size_t)length);
}

static bool append_number(struct buffer *out, const struct number *n)
{
    return n->decimals > 0 ? append_decimal(out, n->value, n->decimals)
                           : append_integer(out, n->integer);
}

static void add(struct number *to, const struct number *n)
{
    to->value += n->value;
    to->decimals = to->decimals > n->decimals ? to->decimals : n->decimals;
    if (__builtin_add_overflow(to->integer, n->integer, &to->integer))
        to->integer = n->integer < 0 ? LLONG_MIN : LLONG_MAX;
}

/* ---- merging ---- */

/* The same section, or the same value, in all reports; the first is the one that is followed. */
struct rows {
    const struct form *form;
    struct bytes section;
    struct row *rows;
    size_t count;
};

static bool append_fields(struct rows *, struct buffer *out);

static struct number sum_of(struct rows *r, struct bytes name)
{
    struct number sum = {.known = true};
    struct bytes value;

    for (size_t i = 0; i < r->count; i++)
        if (find_field(r->form, &r->rows[i], name, &value)) {
            struct number n = number_of(value);

            sum.known = sum.known && n.known;
            add(&sum, &n);
        }
    return sum;
}

static struct number sum_of_text(struct rows *r, const char *name)
{
    return sum_of(r, (struct bytes){name, strlen(name)});
}

/* `sign` 1: the greatest, -1: the smallest. */
static struct number extreme_of(struct rows *r, struct bytes name, int sign)
{
    struct number best = {0};
    struct bytes value;

    for (size_t i = 0; i < r->count; i++)
        if (find_field(r->form, &r->rows[i], name, &value)) {
            struct number n = number_of(value);

            if (!n.known)
                return n;
            if (!best.known || (n.value - best.value) * sign > 0)
                best = n;
        }
    return best;
}

static struct number mean_of(struct rows *r, struct bytes name, const char *weight)
{
    struct number sum = {.known = true};
    struct bytes value, heavy = {weight, strlen(weight)};
    double total = 0;

    for (size_t i = 0; i < r->count; i++)
        if (find_field(r->form, &r->rows[i], name, &value)) {
            struct number n = number_of(value), w = {0};

            if (find_field(r->form, &r->rows[i], heavy, &value))
                w = number_of(value);
            sum.known = sum.known && n.known;
            sum.value += n.value * w.value;
            total += w.value;
        }
    sum.integer = total > 0 ? (long long)(sum.value / total) : 0;
    return sum;
}

static struct bytes worst_of(struct rows *r, struct bytes name, struct bytes first)
{
    struct bytes value;

    for (size_t i = 0; i < r->count; i++)
        if (find_field(r->form, &r->rows[i], name, &value) && !is_text(value, "ok"))
            return value;
    return first;
}

/* "1.56M", as servers write sizes. */
static bool append_human(struct buffer *out, long long bytes)
{
    static const char units[] = "KMGTPE";
    double value = (double)bytes;
    size_t unit = 0;

    if (bytes < 1024)
        return append_integer(out, bytes) && buffer_append_text(out, "B");
    for (value /= 1024; value >= 1024 && units[unit + 1] != '\0'; value /= 1024)
        unit++;
    return append_decimal(out, value, 2) && buffer_append(out, &units[unit], 1);
}

static bool append_share(struct rows *r, const struct field_rule *rule, struct buffer *out)
{
    enum { DECIMALS = 2 };
    double of = sum_of_text(r, rule->of).value, by = sum_of_text(r, rule->by).value;

    if (rule->less != NULL)
        by -= sum_of_text(r, rule->less).value;
    of = by != 0 ? of / by : 0;
    return rule->rule == RATIO
               ? append_decimal(out, of, DECIMALS)
               : append_decimal(out, of * 100, DECIMALS) && buffer_append_text(out, "%");
}

static bool append_row(struct rows *r, struct bytes name, struct buffer *out)
{
    struct rows inner = {.form = &pairs, .section = r->section};
    bool ok;

    inner.rows = calloc(r->count, sizeof *inner.rows);
    if (inner.rows == NULL)
        return false;
    for (size_t i = 0; i < r->count; i++)
        if (find_field(r->form, &r->rows[i], name, &inner.rows[inner.count].text))
            inner.count++;
    ok = append_fields(&inner, out);
    free(inner.rows);
    return ok;
}

/* Numbers that are none are said as one master says them. */
static bool append_known(struct buffer *out, struct number n, struct bytes value)
{
    return n.known ? append_number(out, &n) : buffer_append(out, value.data, value.length);
}

static bool append_value(struct rows *r, const struct field *f, struct buffer *out)
{
    enum { HUMAN_END = 6 };
    const struct field_rule *rule = rule_of(r->section, f->name);
    struct bytes value = f->value;

    switch (rule->rule) {
    case ONE:
        break;
    case SAID:
        return buffer_append_text(out, rule->of);
    case SUM:
        return append_known(out, sum_of(r, f->name), value);
    case MIN:
        return append_known(out, extreme_of(r, f->name, -1), value);
    case MAX:
        return append_known(out, extreme_of(r, f->name, 1), value);
    case MEAN:
        return append_known(out, mean_of(r, f->name, rule->of), value);
    case WORST:
        value = worst_of(r, f->name, value);
        break;
    case HUMAN:
        return append_human(
            out, sum_of(r, (struct bytes){f->name.data, f->name.length - HUMAN_END}).integer);
    case RATIO:
    case PERCENT:
        return append_share(r, rule, out);
    case EACH:
        return append_row(r, f->name, out);
    }
    return buffer_append(out, value.data, value.length);
}

static bool append_field(struct rows *r, const struct field *f, struct buffer *out)
{
    if (!buffer_append(out, f->name.data, f->name.length))
        return false;
    return f->value.data == NULL ||
           (buffer_append(out, &r->form->is, 1) && append_value(r, f, out));
}

static bool is_in_an_earlier(struct rows *r, size_t index, struct bytes name)
{
    struct bytes value;

    for (size_t i = 0; i < index; i++)
        if (find_field(r->form, &r->rows[i], name, &value))
            return true;
    return false;
}

/* All fields of the first row; in lists, what only others have as well. */
static bool append_fields(struct rows *r, struct buffer *out)
{
    size_t last = is_list(r->section) ? r->count : 1;
    bool first = true;
    struct field f;

    for (size_t i = 0; i < last && i < r->count; i++) {
        size_t at = 0;

        while (next_field(r->form, r->rows[i].text, &at, &f)) {
            if (i > 0 && is_in_an_earlier(r, i, f.name))
                continue;
            if ((!first && !buffer_append_text(out, r->form->between)) || !append_field(r, &f, out))
                return false;
            first = false;
        }
    }
    return true;
}

/* ---- sections ---- */

/* Asked while masters change places one may be none any more: the others speak for the cluster. */
static size_t find_master(const struct bytes *reports, size_t count)
{
    static const struct bytes replication = {"Replication", 11}, role = {"role", 4};

    for (size_t i = 0; i < count; i++) {
        struct row row = {.text = find_section(reports[i], replication)};
        struct bytes value;

        if (find_field(&lines, &row, role, &value) && is_text(value, "master"))
            return i;
    }
    return 0;
}

static bool append_section(struct rows *r, const struct bytes *reports, size_t first,
                           struct buffer *out)
{
    size_t before;

    for (size_t i = 0; i < r->count; i++) {
        size_t from = i == 0 ? first : i <= first ? i - 1 : i;

        r->rows[i] = (struct row){.text = find_section(reports[from], r->section)};
    }
    if (!buffer_append_text(out, "# ") || !buffer_append(out, r->section.data, r->section.length) ||
        !buffer_append_text(out, "\r\n"))
        return false;
    before = buffer_length(out);
    return append_fields(r, out) &&
           (buffer_length(out) == before || buffer_append_text(out, "\r\n"));
}

static bool append_sections(struct rows *r, const struct bytes *reports, size_t first,
                            struct buffer *out)
{
    struct bytes report = reports[first];
    bool is_first = true;

    for (size_t at = 0; at < report.length;) {
        const char *from = report.data + at;
        const char *end = memmem(from, report.length - at, "\r\n", 2);
        size_t length = end != NULL ? (size_t)(end - from) : report.length - at;

        at += length + (end != NULL ? 2 : 0);
        if (length < 2 || from[0] != '#')
            continue;
        r->section = (struct bytes){from + 2, length - 2};
        if ((!is_first && !buffer_append_text(out, "\r\n")) ||
            !append_section(r, reports, first, out))
            return false;
        is_first = false;
    }
    return true;
}

bool info_merge(const struct bytes *reports, size_t count, struct buffer *out)
{
    struct rows r = {.form = &lines, .count = count};
    size_t before = buffer_length(out);
    bool ok;

    r.rows = calloc(count, sizeof *r.rows);
    ok = r.rows != NULL && append_sections(&r, reports, find_master(reports, count), out);
    free(r.rows);
    if (!ok)
        out->tail = out->head + before;
    return ok;
}
