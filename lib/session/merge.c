#include "session/merge.h"

#include "base/clock.h"
#include "base/resp.h"
#include "session/info.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_ROOM = 32 };

/* One merging. A merger that cannot go on returns false, and has set `refusal` unless it
 * is memory that ran out. */
struct merge {
    enum merge_kind kind;
    const struct merge_part *parts;
    size_t count;
    struct buffer *out;
    const char *refusal;
    const struct merge_part *guilty; /* whose reply the refusal is about; NULL: no one's */
};

typedef bool merger(struct merge *);

/* The inside of an aggregate. An element of a map is a key and its value. */
struct elements {
    const char *data;
    size_t length;
    size_t count;
    unsigned each; /* values of one element */
    char type;
};

static bool refuse(struct merge *m, const struct merge_part *guilty, const char *refusal)
{
    m->guilty = guilty;
    m->refusal = refusal;
    return false;
}

/* Every element has at least a byte: a count beyond that is no whole reply. */
static bool open_elements(struct merge *m, const struct merge_part *part, struct elements *e)
{
    struct resp_item item;
    size_t used;

    if (!resp_read_value(part->reply.data, part->reply.length, &item, &used) ||
        item.values > part->reply.length - used || resp_is_null(&item) ||
        (item.type != '*' && item.type != '~' && item.type != '%'))
        return refuse(m, part, "is not an array");
    *e = (struct elements){.data = part->reply.data + used,
                           .length = part->reply.length - used,
                           .count = (size_t)item.number,
                           .each = item.type == '%' ? 2 : 1,
                           .type = item.type};
    return true;
}

static bool next_element(struct elements *e, struct bytes *element)
{
    size_t used;

    if (!resp_skip(e->data, e->length, e->each, &used))
        return false;
    *element = (struct bytes){e->data, used};
    e->data += used;
    e->length -= used;
    return true;
}

/* The type of an aggregate made of both; 0 stands for none yet. Sets and arrays make an
 * array: what is in a set of one server may be in another's. */
static bool join_type(struct merge *m, const struct merge_part *part, char *type, char other)
{
    if (*type == 0 || *type == other)
        *type = other;
    else if (*type == '%' || other == '%')
        return refuse(m, part, "is of another type than the others");
    else
        *type = '*';
    return true;
}

/* No merged reply is longer than this, errors aside. */
static size_t bytes_of_all(const struct merge *m)
{
    size_t bytes = 0;

    for (size_t i = 0; i < m->count; i++)
        bytes += m->parts[i].reply.length;
    return bytes + HEADER_ROOM;
}

/* ---- an element for each key ---- */

static bool place_elements(struct merge *m, const struct merge_part *part, struct elements *e,
                           struct bytes *element_at, size_t total)
{
    if (e->count != part->count)
        return refuse(m, part, "has another number of elements than it was given keys");
    for (uint32_t i = 0; i < part->count; i++) {
        uint32_t position = part->positions[i];

        if (position >= total || element_at[position].data != NULL ||
            !next_element(e, &element_at[position]))
            return refuse(m, part, "does not fit the keys of the command");
    }
    return true;
}

static bool append_elements(struct merge *m, char type, const struct bytes *elements, size_t count)
{
    if (!resp_append_header(m->out, type, (long long)count))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!buffer_append(m->out, elements[i].data, elements[i].length))
            return false;
    return true;
}

static bool merge_positions(struct merge *m)
{
    size_t total = 0;
    struct bytes *element_at;
    struct elements e;
    char type = 0;
    bool ok;

    for (size_t i = 0; i < m->count; i++)
        total += m->parts[i].count;
    element_at = calloc(total + 1, sizeof *element_at);
    ok = element_at != NULL && buffer_reserve(m->out, bytes_of_all(m)) != NULL;
    for (size_t i = 0; ok && i < m->count; i++)
        ok = open_elements(m, &m->parts[i], &e) && join_type(m, &m->parts[i], &type, e.type) &&
             place_elements(m, &m->parts[i], &e, element_at, total);
    ok = ok && append_elements(m, type, element_at, total);
    free(element_at);
    return ok;
}

/* ---- one behind the other ---- */

static bool merge_concatenate(struct merge *m)
{
    size_t total = 0;
    struct elements e;
    char type = 0;

    for (size_t i = 0; i < m->count; i++) {
        if (!open_elements(m, &m->parts[i], &e) || !join_type(m, &m->parts[i], &type, e.type))
            return false;
        total += e.count;
    }
    if (buffer_reserve(m->out, bytes_of_all(m)) == NULL ||
        !resp_append_header(m->out, type, (long long)total))
        return false;
    for (size_t i = 0; i < m->count; i++)
        if (!open_elements(m, &m->parts[i], &e) || !buffer_append(m->out, e.data, e.length))
            return false;
    return true;
}

/* ---- every element once ---- */

static int compare_elements(const void *a, const void *b)
{
    const struct bytes *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int difference = memcmp(x->data, y->data, shorter);

    return difference != 0 ? difference : (x->length > y->length) - (x->length < y->length);
}

static size_t drop_repeated(struct bytes *elements, size_t count)
{
    size_t kept = 0;

    qsort(elements, count, sizeof *elements, compare_elements);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || compare_elements(&elements[i], &elements[kept - 1]) != 0)
            elements[kept++] = elements[i];
    return kept;
}

static bool merge_union(struct merge *m)
{
    size_t total = 0, count = 0;
    struct bytes *elements;
    struct elements e;
    char type = 0;
    bool ok;

    for (size_t i = 0; i < m->count; i++) {
        if (!open_elements(m, &m->parts[i], &e) || !join_type(m, &m->parts[i], &type, e.type))
            return false;
        total += e.count;
    }
    elements = calloc(total + 1, sizeof *elements);
    ok = elements != NULL;
    for (size_t i = 0; ok && i < m->count; i++) {
        ok = open_elements(m, &m->parts[i], &e);
        for (size_t k = 0; ok && k < e.count; k++)
            ok = next_element(&e, &elements[count++]) || refuse(m, &m->parts[i], "is broken");
    }
    ok = ok && append_elements(m, type, elements, drop_repeated(elements, count));
    free(elements);
    return ok;
}

/* ---- strings, one behind the other ---- */

static bool read_text(struct merge *m, const struct merge_part *part, struct resp_item *item)
{
    size_t used;

    return (resp_read_value(part->reply.data, part->reply.length, item, &used) &&
            !resp_is_null(item) && (item->type == '$' || item->type == '=')) ||
           refuse(m, part, "is not a text");
}

/* A verbatim string says in so many bytes what it is: "txt:". */
static size_t kind_length(const struct resp_item *item)
{
    return item->type == '=' ? 4 : 0;
}

static bool merge_text(struct merge *m)
{
    struct resp_item item;
    size_t total = 0;
    char type = 0;
    bool ok;

    for (size_t i = 0; i < m->count; i++) {
        if (!read_text(m, &m->parts[i], &item))
            return false;
        if (type != 0 && type != item.type)
            return refuse(m, &m->parts[i], "is of another type than the others");
        type = item.type;
        total += item.text.length - (i > 0 ? kind_length(&item) : 0);
    }
    ok = resp_append_header(m->out, type, (long long)total);
    for (size_t i = 0; ok && i < m->count; i++) {
        size_t skip;

        ok = read_text(m, &m->parts[i], &item);
        skip = ok && i > 0 ? kind_length(&item) : 0;
        ok = ok && buffer_append(m->out, item.text.data + skip, item.text.length - skip);
    }
    return ok && buffer_append(m->out, "\r\n", 2);
}

/* ---- reports ---- */

/* Of the type, and of the kind, of the first. */
static bool append_report(struct merge *m, const struct bytes *reports)
{
    struct resp_item first;
    struct buffer text;
    bool ok;

    buffer_init(&text);
    ok = read_text(m, &m->parts[0], &first) && buffer_reserve(&text, HEADER_ROOM) != NULL &&
         buffer_append(&text, first.text.data, kind_length(&first)) &&
         info_merge(reports, m->count, &text) &&
         resp_append_header(m->out, first.type, (long long)buffer_length(&text)) &&
         buffer_append(m->out, buffer_bytes(&text), buffer_length(&text)) &&
         buffer_append_text(m->out, "\r\n");
    buffer_deinit(&text);
    return ok;
}

static bool merge_info(struct merge *m)
{
    struct bytes *reports = calloc(m->count, sizeof *reports);
    struct resp_item item;
    bool ok = reports != NULL;

    for (size_t i = 0; ok && i < m->count; i++) {
        size_t skip;

        if (!(ok = read_text(m, &m->parts[i], &item)))
            break;
        skip = kind_length(&item);
        reports[i] = (struct bytes){item.text.data + skip, item.text.length - skip};
    }
    ok = ok && append_report(m, reports);
    free(reports);
    return ok;
}

/* ---- names and integers in turn ---- */

static bool is_integer(struct bytes element, long long *value)
{
    struct resp_item item;
    size_t used;

    if (!resp_read_value(element.data, element.length, &item, &used) || item.type != ':')
        return false;
    *value = item.number;
    return true;
}

/* The same place in all parts: the number of each is added, the name is the first part's. */
static bool sum_named(struct merge *m, struct elements *open, size_t place)
{
    struct bytes name = {0}, element;
    long long sum = 0, value;

    for (size_t i = 0; i < m->count; i++) {
        if (!next_element(&open[i], &element))
            return refuse(m, &m->parts[i], "is broken");
        if (place % 2 == 0 && i == 0)
            name = element;
        else if (place % 2 == 0 && compare_elements(&name, &element) != 0)
            return refuse(m, &m->parts[i], "has other names than the others");
        else if (place % 2 != 0 &&
                 (!is_integer(element, &value) || __builtin_add_overflow(sum, value, &sum)))
            return refuse(m, &m->parts[i], "has no number where one belongs");
    }
    return place % 2 == 0 ? buffer_append(m->out, name.data, name.length)
                          : resp_append_header(m->out, ':', sum);
}

static bool merge_sum_of_named(struct merge *m)
{
    struct elements *open = calloc(m->count, sizeof *open);
    bool ok = open != NULL;

    for (size_t i = 0; ok && i < m->count; i++) {
        ok = open_elements(m, &m->parts[i], &open[i]);
        if (ok && (open[i].count != open[0].count || open[i].type != '*'))
            ok = refuse(m, &m->parts[i], "has another shape than the others");
    }
    ok = ok && resp_append_header(m->out, '*', (long long)open[0].count);
    for (size_t place = 0; ok && place < open[0].count; place++)
        ok = sum_named(m, open, place);
    free(open);
    return ok;
}

/* ---- integers ---- */

/* False: out of range. */
typedef bool folder(long long *into, long long value);

static bool fold_sum(long long *into, long long value)
{
    return !__builtin_add_overflow(*into, value, into);
}

static bool fold_min(long long *into, long long value)
{
    *into = value < *into ? value : *into;
    return true;
}

static bool fold_max(long long *into, long long value)
{
    *into = value > *into ? value : *into;
    return true;
}

static bool fold_and(long long *into, long long value)
{
    *into = *into && value;
    return true;
}

static bool fold_or(long long *into, long long value)
{
    *into = *into || value;
    return true;
}

static const struct fold {
    folder *with;
    long long initial;
    bool booleans; /* makes sense for them too */
} fold_of[] = {
    [MERGE_SUM] = {fold_sum, 0, false},        [MERGE_MIN] = {fold_min, LLONG_MAX, true},
    [MERGE_MAX] = {fold_max, LLONG_MIN, true}, [MERGE_AND] = {fold_and, 1, true},
    [MERGE_OR] = {fold_or, 0, true},
};

/* Integers under way: a lone one, or the elements of an array. */
struct row {
    struct number {
        long long value;
        char type; /* : or # */
    } * numbers;
    size_t count;
    char type; /* of the array; 0: a lone one */
};

static bool is_lone(const struct merge_part *part)
{
    struct resp_item item;
    size_t used;

    return resp_read_value(part->reply.data, part->reply.length, &item, &used) &&
           (item.type == ':' || item.type == '#');
}

/* A lone integer is read as the one element of an array that has no type. */
static bool open_row(struct merge *m, const struct merge_part *part, struct elements *e)
{
    if (is_lone(part)) {
        *e = (struct elements){part->reply.data, part->reply.length, 1, 1, 0};
        return true;
    }
    if (!open_elements(m, part, e) || e->type == '%')
        return refuse(m, part, "is neither an integer nor an array of integers");
    return true;
}

/* The first part says how many integers there are, and of which types. */
static bool row_init(struct merge *m, struct row *row)
{
    struct elements e;

    *row = (struct row){0};
    if (!open_row(m, &m->parts[0], &e))
        return false;
    row->type = e.type;
    row->count = e.count;
    row->numbers = calloc(e.count + 1, sizeof *row->numbers);
    if (row->numbers == NULL)
        return false;
    for (size_t i = 0; i < row->count; i++)
        row->numbers[i].value = fold_of[m->kind].initial;
    return true;
}

static bool fold_number(struct merge *m, const struct merge_part *part, struct number *into,
                        struct bytes element)
{
    struct resp_item item;
    size_t used;

    if (!resp_read_value(element.data, element.length, &item, &used) ||
        (item.type != ':' && (item.type != '#' || !fold_of[m->kind].booleans)))
        return refuse(m, part, "is neither an integer nor an array of integers");
    if (into->type != 0 && into->type != item.type)
        return refuse(m, part, "is of another type than the others");
    into->type = item.type;
    return fold_of[m->kind].with(&into->value, item.number) ||
           refuse(m, NULL, "the sum of the replies is out of range");
}

static bool fold_part(struct merge *m, const struct merge_part *part, struct row *row)
{
    struct elements e;
    struct bytes element;

    if (!open_row(m, part, &e))
        return false;
    if (e.type != row->type || e.count != row->count)
        return refuse(m, part, "has another shape than the others");
    for (size_t i = 0; i < row->count; i++) {
        if (!next_element(&e, &element))
            return refuse(m, part, "is broken");
        if (!fold_number(m, part, &row->numbers[i], element))
            return false;
    }
    return true;
}

static bool append_row(struct merge *m, const struct row *row)
{
    if (row->type != 0 && !resp_append_header(m->out, row->type, (long long)row->count))
        return false;
    for (size_t i = 0; i < row->count; i++) {
        const struct number *n = &row->numbers[i];

        if (n->type == '#' ? !buffer_append_text(m->out, n->value ? "#t\r\n" : "#f\r\n")
                           : !resp_append_header(m->out, ':', n->value))
            return false;
    }
    return true;
}

static bool merge_fold(struct merge *m)
{
    struct row row;
    bool ok = row_init(m, &row);

    for (size_t i = 0; ok && i < m->count; i++)
        ok = fold_part(m, &m->parts[i], &row);
    ok = ok && append_row(m, &row);
    free(row.numbers);
    return ok;
}

/* ---- one for all ---- */

static bool append_part(struct merge *m, size_t index)
{
    return buffer_append(m->out, m->parts[index].reply.data, m->parts[index].reply.length);
}

static bool read_error(const struct merge_part *part, struct resp_item *item)
{
    size_t used;

    return resp_read_value(part->reply.data, part->reply.length, item, &used) &&
           resp_is_error(item);
}

static bool merge_all_succeeded(struct merge *m)
{
    return append_part(m, 0);
}

static bool is_nil(const struct merge_part *part)
{
    struct resp_item item;
    size_t used;

    return resp_read_value(part->reply.data, part->reply.length, &item, &used) &&
           resp_is_null(&item);
}

/* By chance: a program that asks again wants another one. */
static bool merge_any(struct merge *m)
{
    enum { RANGE_MS = 1 << 16 };
    size_t from = (size_t)clock_jitter_ms(RANGE_MS) % m->count;

    for (size_t i = 0; i < m->count; i++)
        if (!is_nil(&m->parts[(from + i) % m->count]))
            return append_part(m, (from + i) % m->count);
    return append_part(m, 0);
}

static bool merge_one_succeeded(struct merge *m)
{
    struct resp_item item;

    for (size_t i = 0; i < m->count; i++)
        if (!read_error(&m->parts[i], &item))
            return append_part(m, i);
    return append_part(m, 0);
}

static merger *const merger_of[] = {
    [MERGE_POSITIONS] = merge_positions,
    [MERGE_CONCATENATE] = merge_concatenate,
    [MERGE_SUM] = merge_fold,
    [MERGE_MIN] = merge_fold,
    [MERGE_MAX] = merge_fold,
    [MERGE_AND] = merge_fold,
    [MERGE_OR] = merge_fold,
    [MERGE_UNION] = merge_union,
    [MERGE_SUM_OF_NAMED] = merge_sum_of_named,
    [MERGE_TEXT] = merge_text,
    [MERGE_INFO] = merge_info,
    [MERGE_ANY] = merge_any,
    [MERGE_ALL_SUCCEEDED] = merge_all_succeeded,
    [MERGE_ONE_SUCCEEDED] = merge_one_succeeded,
};

/* ---- errors ---- */

/* The text of a RESP3 error may have line ends in it; in RESP2 it is a line. */
static bool append_line(struct buffer *out, struct bytes text)
{
    char *to = buffer_reserve(out, text.length + 1);

    if (to == NULL)
        return false;
    for (size_t i = 0; i < text.length; i++)
        to[i] = text.data[i] == '\r' || text.data[i] == '\n' ? ' ' : text.data[i];
    out->tail += text.length;
    return true;
}

/* Errors made here say themselves what they are about. */
static bool append_error(struct merge *m, const struct merge_part *part, struct bytes text)
{
    bool ok = buffer_append_text(m->out, "-") && append_line(m->out, text);

    if (part->server != NULL)
        ok = ok && buffer_append_text(m->out, " (redisroute: from ") &&
             buffer_append_text(m->out, part->server) && buffer_append_text(m->out, ")");
    return ok && buffer_append_text(m->out, "\r\n");
}

static bool append_refusal(struct merge *m)
{
    bool ok = buffer_append_text(m->out, "-ERR redisroute: ");

    if (m->guilty != NULL)
        ok = ok && buffer_append_text(m->out, "the reply of ") &&
             buffer_append_text(m->out, m->guilty->server ? m->guilty->server : "a server") &&
             buffer_append_text(m->out, " ");
    return ok && buffer_append_text(m->out, m->refusal) && buffer_append_text(m->out, "\r\n");
}

/* True: a part is an error, and so is the whole. *ok: whether there was memory for it. */
static bool failed(struct merge *m, bool *ok)
{
    struct resp_item item;

    if (m->kind == MERGE_ONE_SUCCEEDED)
        return false;
    for (size_t i = 0; i < m->count; i++)
        if (read_error(&m->parts[i], &item)) {
            *ok = append_error(m, &m->parts[i], item.text);
            return true;
        }
    return false;
}

bool merge_replies(enum merge_kind kind, const struct merge_part *parts, size_t count,
                   struct buffer *out)
{
    struct merge m = {.kind = kind, .parts = parts, .count = count, .out = out};
    size_t before = buffer_length(out);
    bool ok;

    if (!failed(&m, &ok))
        ok = count > 0 ? merger_of[kind](&m) : refuse(&m, NULL, "no server was asked");
    if (!ok)
        out->tail = out->head + before;
    if (m.refusal != NULL)
        ok = append_refusal(&m);
    if (!ok)
        out->tail = out->head + before;
    return ok;
}
