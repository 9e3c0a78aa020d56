/* The reply is an array with one command, which is an array of
 *
 *     name, arity, flags, first key, last key, step, ACL categories, tips, key specifications,
 *     subcommands
 *
 * Servers before Redis 7 say the first seven only. With RESP3 arrays may be sets, and
 * specifications maps.
 *
 * What is decided from it, in the order in which it is: a command that was renamed is treated as
 * the table treats the original, unless that needs its name; then the server's request policy;
 * then its keys. */
#include "route/command_info.h"

#include <stdlib.h>
#include <string.h>

#include "base/resp.h"
#include "base/word.h"

enum {
    SPECS_MAX = COMMAND_RANGES_MAX,
    KEYWORD_MAX = 64,
    STEP_MAX = 16,       /* nothing has more, and no product of it and a count overflows */
    PLACE_MAX = 1 << 14, /* of an index; it fits the row's fields */
    SUBCOMMANDS_MAX = UINT8_MAX,
};

/* --- reading --- */

struct reading {
    const char *at;
    size_t left;
    bool broken;
};

static struct resp_item next_item(struct reading *r)
{
    struct resp_item item = {0};
    size_t used;

    if (r->broken || !resp_read_value(r->at, r->left, &item, &used)) {
        r->broken = true;
        return (struct resp_item){.type = '_', .number = -1};
    }
    r->at += used;
    r->left -= used;
    return item;
}

static void skip_items(struct reading *r, uint64_t count)
{
    size_t used;

    if (r->broken || !resp_skip(r->at, r->left, count, &used)) {
        r->broken = true;
        return;
    }
    r->at += used;
    r->left -= used;
}

static void skip_inside(struct reading *r, const struct resp_item *item)
{
    skip_items(r, item->values);
}

/* A number within the limits; 0, and *ok false, when it is none. */
static int16_t read_place(struct reading *r, bool *ok)
{
    struct resp_item item = next_item(r);

    skip_inside(r, &item);
    if (item.type == ':' && item.number >= -PLACE_MAX && item.number <= PLACE_MAX)
        return (int16_t)item.number;
    *ok = false;
    return 0;
}

static struct bytes read_text(struct reading *r)
{
    struct resp_item item = next_item(r);

    skip_inside(r, &item);
    return item.text.length > 0 ? item.text : (struct bytes){"", 0};
}

typedef void pair_reader(struct reading *, struct bytes name, void *into);

/* Names and values in turn, as a map or as an array. The reader takes the value. */
static void read_pairs(struct reading *r, pair_reader *read, void *into)
{
    struct resp_item item = next_item(r);

    for (uint64_t i = 0; i + 1 < item.values && !r->broken; i += 2)
        read(r, read_text(r), into);
    if (item.values % 2 != 0)
        skip_items(r, 1);
}

typedef void word_reader(struct bytes word, void *into);

static void read_words(struct reading *r, word_reader *read, void *into)
{
    struct resp_item item = next_item(r);

    for (uint64_t i = 0; i < item.values && !r->broken; i++)
        read(read_text(r), into);
}

/* --- a key specification --- */

struct spec_reading {
    struct key_spec spec;
    struct bytes search_type;
    struct bytes find_type;
    struct bytes keyword;
    bool known;
    int16_t index, start, last, step, limit, count_at, first;
};

static void read_number_of_spec(struct reading *r, struct bytes name, void *into)
{
    struct spec_reading *s = into;
    const struct {
        const char *name;
        int16_t *to;
    } numbers[] = {
        {"index", &s->index},    {"startfrom", &s->start}, {"lastkey", &s->last},
        {"keystep", &s->step},   {"limit", &s->limit},     {"keynumidx", &s->count_at},
        {"firstkey", &s->first},
    };

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (bytes_equal_ignoring_case(name, numbers[i].name)) {
            *numbers[i].to = read_place(r, &s->known);
            return;
        }
    if (bytes_equal_ignoring_case(name, "keyword"))
        s->keyword = read_text(r);
    else
        skip_items(r, 1);
}

static void read_search(struct reading *r, struct bytes name, void *into)
{
    struct spec_reading *s = into;

    if (bytes_equal_ignoring_case(name, "type"))
        s->search_type = read_text(r);
    else if (bytes_equal_ignoring_case(name, "spec"))
        read_pairs(r, read_number_of_spec, s);
    else
        skip_items(r, 1);
}

static void read_find(struct reading *r, struct bytes name, void *into)
{
    struct spec_reading *s = into;

    if (bytes_equal_ignoring_case(name, "type"))
        s->find_type = read_text(r);
    else if (bytes_equal_ignoring_case(name, "spec"))
        read_pairs(r, read_number_of_spec, s);
    else
        skip_items(r, 1);
}

static void read_flag_of_spec(struct bytes word, void *into)
{
    struct spec_reading *s = into;

    if (bytes_equal_ignoring_case(word, "incomplete"))
        s->known = false;
}

static void read_field_of_spec(struct reading *r, struct bytes name, void *into)
{
    struct spec_reading *s = into;

    if (bytes_equal_ignoring_case(name, "begin_search"))
        read_pairs(r, read_search, s);
    else if (bytes_equal_ignoring_case(name, "find_keys"))
        read_pairs(r, read_find, s);
    else if (bytes_equal_ignoring_case(name, "flags"))
        read_words(r, read_flag_of_spec, s);
    else
        skip_items(r, 1);
}

static char *copy_lower(struct arena *arena, struct bytes text)
{
    char *copy = arena_copy(arena, text.data, text.length);

    for (size_t i = 0; copy != NULL && i < text.length; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] | 0x20);
    return copy;
}

/* False: it is of a kind that says nothing here. */
static bool set_search(struct spec_reading *s, struct arena *arena)
{
    if (bytes_equal_ignoring_case(s->search_type, "index")) {
        s->spec.search = KEYS_AT_INDEX;
        s->spec.start = s->index;
        return s->index > 0;
    }
    if (!bytes_equal_ignoring_case(s->search_type, "keyword") || s->keyword.length == 0 ||
        s->keyword.length > KEYWORD_MAX)
        return false;
    s->spec.search = KEYS_AFTER_WORD;
    s->spec.start = s->start == 0 ? 1 : s->start;
    s->spec.word = copy_lower(arena, s->keyword);
    return s->spec.word != NULL && strlen(s->spec.word) == s->keyword.length;
}

static bool set_find(struct spec_reading *s)
{
    s->spec.step = s->step;
    if (bytes_equal_ignoring_case(s->find_type, "range")) {
        s->spec.find = KEYS_TO_LAST;
        s->spec.last = s->last;
        s->spec.limit = s->limit;
    } else if (bytes_equal_ignoring_case(s->find_type, "keynum")) {
        s->spec.find = KEYS_BY_COUNT;
        s->spec.count_at = s->count_at;
        s->spec.first = s->first;
    } else {
        return false;
    }
    return s->step >= 1 && s->step <= STEP_MAX && s->limit >= 0 && s->count_at >= 0 &&
           s->first >= 0;
}

/* --- a command --- */

struct info {
    struct arena *arena;
    const struct command *own; /* the table's row by the name that the server gave; or NULL */
    struct command *row;
    unsigned rows;
    struct bytes request;
    struct bytes response;
    struct key_spec specs[SPECS_MAX];
    int spec_count;
    bool keys_unknown;
    bool has_specs; /* the server has them at all */
    bool no_memory;
};

static void read_flag(struct bytes word, void *into)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } flags[] = {
        {"write", COMMAND_WRITE},
        {"readonly", COMMAND_READONLY},
        {"blocking", COMMAND_BLOCKING},
        {"admin", COMMAND_ADMIN},
        {"pubsub", COMMAND_PUBSUB},
        {"noscript", COMMAND_NOSCRIPT},
        {"loading", COMMAND_LOADING},
        {"movablekeys", COMMAND_MOVABLE_KEYS},
        {"denyoom", COMMAND_DENYOOM},
        {"stale", COMMAND_STALE},
        {"fast", COMMAND_FAST},
        {"no_auth", COMMAND_NO_AUTH},
        {"may_replicate", COMMAND_MAY_REPLICATE},
    };
    struct info *info = into;

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (bytes_equal_ignoring_case(word, flags[i].name))
            info->row->flags |= flags[i].flag;
}

static bool starts_with(struct bytes text, const char *lower, struct bytes *rest)
{
    struct bytes head = {text.data, strlen(lower)};

    if (text.length < head.length || !bytes_equal_ignoring_case(head, lower))
        return false;
    *rest = (struct bytes){text.data + head.length, text.length - head.length};
    return true;
}

static void read_tip(struct bytes word, void *into)
{
    struct info *info = into;

    if (!starts_with(word, "request_policy:", &info->request))
        starts_with(word, "response_policy:", &info->response);
}

static void read_spec(struct reading *r, struct info *info)
{
    struct spec_reading s = {.known = true, .step = 1};

    read_pairs(r, read_field_of_spec, &s);
    info->has_specs = true;
    if (r->broken || !s.known || !set_search(&s, info->arena) || !set_find(&s) ||
        info->spec_count == SPECS_MAX)
        info->keys_unknown = true;
    else
        info->specs[info->spec_count++] = s.spec;
}

static void read_specs(struct reading *r, struct info *info)
{
    struct resp_item item = next_item(r);

    for (uint64_t i = 0; i < item.values && !r->broken; i++)
        read_spec(r, info);
}

/* First, last, step: all that older servers say. */
static void set_legacy(struct info *info, int16_t first, int16_t last, int16_t step)
{
    if (info->has_specs || first == 0)
        return;
    if (first < 0 || step < 1 || step > STEP_MAX) {
        info->keys_unknown = true;
        return;
    }
    info->specs[info->spec_count++] = (struct key_spec){
        .search = KEYS_AT_INDEX,
        .find = KEYS_TO_LAST,
        .start = first,
        .last = last < 0 ? last : (int16_t)(last - first),
        .step = step,
    };
}

static bool explains_movable(const struct info *info)
{
    for (int i = 0; i < info->spec_count; i++)
        if (info->specs[i].search != KEYS_AT_INDEX || info->specs[i].find == KEYS_BY_COUNT)
            return true;
    return false;
}

/* A single key that always stands in one place. */
static uint8_t only_key(const struct info *info)
{
    const struct key_spec *spec = &info->specs[0];

    return info->spec_count == 1 && spec->search == KEYS_AT_INDEX && spec->find == KEYS_TO_LAST &&
                   spec->last == 0 && spec->start <= UINT8_MAX
               ? (uint8_t)spec->start
               : 0;
}

static void set_keys(struct info *info)
{
    struct command *c = info->row;
    struct key_spec *specs;

    if (info->own != NULL) {
        c->key_specs = info->own->key_specs;
        c->key_spec_count = info->own->key_spec_count;
        c->only_key = info->own->only_key;
        return;
    }
    if ((c->flags & COMMAND_MOVABLE_KEYS) != 0 && !explains_movable(info))
        info->keys_unknown = true;
    if (info->keys_unknown) {
        c->flags |= COMMAND_ASK_KEYS | COMMAND_MOVABLE_KEYS;
        return;
    }
    if (info->spec_count == 0)
        return;
    specs = arena_take(info->arena, (size_t)info->spec_count * sizeof *specs);
    if (specs == NULL) {
        info->no_memory = true;
        return;
    }
    memcpy(specs, info->specs, (size_t)info->spec_count * sizeof *specs);
    c->key_specs = specs;
    c->key_spec_count = (uint8_t)info->spec_count;
    c->only_key = only_key(info);
}

static bool has_keys(const struct command *c)
{
    return c->key_spec_count > 0 || (c->flags & COMMAND_ASK_KEYS) != 0;
}

/* What can be split: keys from one place to the end of the line. */
static bool is_splittable(const struct command *c)
{
    const struct key_spec *spec = c->key_specs;

    return c->key_spec_count == 1 && spec->search == KEYS_AT_INDEX && spec->find == KEYS_TO_LAST &&
           spec->last == -1 && spec->limit <= 1;
}

static uint8_t response_of(const struct info *info)
{
    static const struct {
        const char *name;
        enum command_response response;
    } responses[] = {
        {"one_succeeded", RESPONSE_ONE_SUCCEEDED},
        {"all_succeeded", RESPONSE_ALL_SUCCEEDED},
        {"agg_logical_and", RESPONSE_AND},
        {"agg_logical_or", RESPONSE_OR},
        {"agg_min", RESPONSE_MIN},
        {"agg_max", RESPONSE_MAX},
        {"agg_sum", RESPONSE_SUM},
        {"special", RESPONSE_SPECIAL},
    };

    for (size_t i = 0; i < sizeof responses / sizeof responses[0]; i++)
        if (bytes_equal_ignoring_case(info->response, responses[i].name))
            return (uint8_t)responses[i].response;
    return info->row->key_spec_count > 0 ? RESPONSE_DEFAULT_KEYED : RESPONSE_DEFAULT_KEYLESS;
}

/* What the server's request policy means; COMMAND_UNSUPPORTED: it has none that can be followed. */
static enum command_class class_of_policy(const struct info *info)
{
    bool merges = info->row->response != RESPONSE_SPECIAL;

    if (bytes_equal_ignoring_case(info->request, "all_shards") && merges)
        return COMMAND_ALL_SHARDS;
    if (bytes_equal_ignoring_case(info->request, "all_nodes") && merges)
        return COMMAND_ALL_NODES;
    if (bytes_equal_ignoring_case(info->request, "multi_shard") && is_splittable(info->row))
        return COMMAND_SPLIT;
    return COMMAND_UNSUPPORTED;
}

/* It would change one server, which nobody has chosen; or the connection, of which there are
 * several. */
static bool is_for_one_server(const struct command *c)
{
    bool administers = (c->flags & COMMAND_ADMIN) != 0 && (c->flags & COMMAND_READONLY) == 0;
    bool subscribes = (c->flags & COMMAND_PUBSUB) != 0 && (c->flags & COMMAND_NOSCRIPT) != 0;

    return administers || subscribes;
}

/* Classes under which a command goes to servers as it is, whatever it is called. */
static bool needs_no_name(enum command_class klass)
{
    return klass <= COMMAND_MASTER;
}

static enum command_class class_of(const struct info *info, const struct command *container)
{
    const struct command *c = info->row;
    enum command_class policy = class_of_policy(info);

    if (policy != COMMAND_UNSUPPORTED)
        return policy;
    if (has_keys(c))
        return COMMAND_KEYED;
    if (container != NULL && container->klass != COMMAND_ANY_NODE)
        return container->klass;
    return is_for_one_server(c) ? COMMAND_UNSUPPORTED : COMMAND_ANY_NODE;
}

static void classify(struct info *info, const struct command *container)
{
    struct command *c = info->row;

    if (info->own != NULL) {
        c->klass = needs_no_name((enum command_class)info->own->klass) ? info->own->klass
                                                                       : COMMAND_UNSUPPORTED;
        c->response = info->own->response;
        c->options = info->own->options;
        c->flags |= info->own->flags & ~(uint32_t)COMMAND_SCRIPT;
        return;
    }
    c->response = response_of(info);
    c->klass = (uint8_t)class_of(info, container);
    if ((c->flags & COMMAND_READONLY) != 0)
        c->flags |= COMMAND_REPEATABLE;
    else if ((c->flags & COMMAND_WRITE) == 0)
        c->flags |= COMMAND_MAY_REPLICATE; /* it may run anything, as a script does */
}

/* The word that it is looked up by is what follows the container's name. */
static void set_name(struct command *c, const char *name)
{
    const char *bar = strchr(name, '|'), *word = bar != NULL ? bar + 1 : name;
    size_t length = strlen(word);
    char bytes[2 * WORD] = {0};

    memcpy(bytes, word, length < WORD ? length : WORD);
    if (length > WORD)
        memcpy(bytes + WORD, word + length - WORD, WORD);
    c->word[0] = word_load(bytes);
    c->word[1] = word_load(bytes + WORD);
    c->length = (uint8_t)length;
    c->name = name;
}

/* The table's row of that name, which may be "container|subcommand". */
static const struct command *find_own(struct bytes name)
{
    const char *bar = memchr(name.data, '|', name.length);
    struct bytes words[2] = {name, {"", 0}};
    const struct command *c;

    if (bar != NULL) {
        words[0].length = (size_t)(bar - name.data);
        words[1] = (struct bytes){bar + 1, name.length - words[0].length - 1};
    }
    c = command_lookup(words, bar != NULL ? 2 : 1);
    return c != NULL && bytes_equal_ignoring_case(name, c->name) ? c : NULL;
}

static bool read_command(struct reading *r, struct info *info, struct bytes name,
                         const struct command *container, bool is_inner);

static bool is_name(struct bytes name)
{
    if (name.length < 1 || name.length > COMMAND_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.length; i++)
        if (name.data[i] <= ' ' || name.data[i] > '~')
            return false;
    return true;
}

/* The name of an inner command, which the server gives as "container|subcommand"; the container may
 * have been asked for by another name. */
static struct bytes inner_name(struct info *info, const char *outer, struct bytes said)
{
    const char *bar = memchr(said.data, '|', said.length);
    struct bytes sub =
        bar != NULL ? (struct bytes){bar + 1, said.length - (size_t)(bar + 1 - said.data)} : said;
    size_t head = strlen(outer), length = head + 1 + sub.length;
    char *name = length <= COMMAND_NAME_MAX ? arena_take(info->arena, length + 1) : NULL;

    if (name == NULL)
        return (struct bytes){"", 0};
    memcpy(name, outer, head);
    name[head] = '|';
    memcpy(name + head + 1, sub.data, sub.length);
    return (struct bytes){name, length};
}

static void read_subcommands(struct reading *r, struct info *info)
{
    struct resp_item item = next_item(r);
    struct command *subs;

    if (item.values == 0 || item.values > SUBCOMMANDS_MAX) {
        skip_inside(r, &item);
        return;
    }
    subs = arena_take(info->arena, (size_t)item.values * sizeof *subs);
    if (subs == NULL) {
        info->no_memory = true;
        return;
    }
    info->row->subcommands = subs;
    for (uint64_t i = 0; i < item.values && !r->broken && !info->no_memory; i++) {
        struct info inner = {.arena = info->arena, .row = &subs[info->row->subcommand_count]};
        struct bytes name = {info->row->name, strlen(info->row->name)};

        if (read_command(r, &inner, name, NULL, true))
            info->row->subcommand_count++;
        info->no_memory |= inner.no_memory;
    }
    info->rows += info->row->subcommand_count;
}

/* What follows the name, as far as this server says it. */
static void read_fields(struct reading *r, struct info *info, uint64_t fields)
{
    bool legacy = true;
    int16_t first, last, step;

    info->row->arity = read_place(r, &legacy);
    read_words(r, read_flag, info);
    first = read_place(r, &legacy);
    last = read_place(r, &legacy);
    step = read_place(r, &legacy);
    if (fields > 6)
        skip_items(r, 1);
    if (fields > 7)
        read_words(r, read_tip, info);
    if (fields > 8)
        read_specs(r, info);
    set_legacy(info, legacy ? first : -1, last, step);
}

static bool read_command(struct reading *r, struct info *info, struct bytes name,
                         const struct command *container, bool is_inner)
{
    struct resp_item item = next_item(r);
    struct bytes said;
    char *own_name;

    if (r->broken || item.values < 6) {
        skip_inside(r, &item);
        return false;
    }
    said = read_text(r);
    if (is_inner)
        name = is_name(said) ? inner_name(info, name.data, said) : (struct bytes){"", 0};
    own_name = copy_lower(info->arena, name);
    if (own_name == NULL || name.length == 0) {
        info->no_memory = own_name == NULL;
        skip_items(r, item.values - 1);
        return false;
    }
    set_name(info->row, own_name);
    info->rows = 1;
    if (!bytes_equal_ignoring_case(said, own_name))
        info->own = find_own(said);
    read_fields(r, info, item.values);
    set_keys(info);
    classify(info, container);
    if (item.values > 9 && !is_inner)
        read_subcommands(r, info);
    else if (item.values > 9)
        skip_items(r, 1);
    if (item.values > 10)
        skip_items(r, item.values - 10);
    if (info->row->subcommand_count > 0)
        info->row->klass = COMMAND_ANY_NODE; /* the server says what is wrong with the rest */
    return !r->broken && !info->no_memory;
}

const struct command *command_info_parse(const char *reply, size_t length, struct bytes name,
                                         const struct command *container, struct arena *arena,
                                         unsigned *rows)
{
    struct reading r = {.at = reply, .left = length};
    struct info info = {.arena = arena};
    struct resp_item item = next_item(&r);

    *rows = 0;
    if (r.broken || item.type != '*' || item.values != 1 || !is_name(name))
        return NULL;
    info.row = arena_take(arena, sizeof *info.row);
    if (info.row == NULL || !read_command(&r, &info, name, container, false))
        return NULL;
    *rows = info.rows;
    return info.row;
}
