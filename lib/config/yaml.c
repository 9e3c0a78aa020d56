#include "config/yaml.h"

#include <string.h>
#include <strings.h>
#include <yaml.h>

static bool out_of_memory(struct complaint *complaint, const char *file)
{
    return complain(complaint, "%s: out of memory", file);
}

/* --- from libyaml's nodes, which are numbered from 1 --- */

struct copying {
    struct arena *arena;
    const char *file;
    const char *bytes;
    size_t length;
    struct complaint *complaint;
    struct yaml_node *nodes;
};

static bool copy_scalar(struct copying *c, const yaml_node_t *from, struct yaml_node *to)
{
    const char *text = (const char *)from->data.scalar.value;

    to->kind = YAML_SCALAR;
    to->quoted = from->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (strlen(text) != from->data.scalar.length)
        return complain(c->complaint, "%s:%d:%d: a text with a NUL in it", c->file, to->line,
                        to->column);
    to->text = arena_copy(c->arena, text, from->data.scalar.length);
    return to->text != NULL || out_of_memory(c->complaint, c->file);
}

static bool copy_list(struct copying *c, const yaml_node_t *from, struct yaml_node *to)
{
    const yaml_node_item_t *items = from->data.sequence.items.start;

    to->kind = YAML_LIST;
    to->count = (size_t)(from->data.sequence.items.top - items);
    to->items = arena_take(c->arena, (to->count + 1) * sizeof *to->items);
    if (to->items == NULL)
        return out_of_memory(c->complaint, c->file);
    for (size_t i = 0; i < to->count; i++)
        to->items[i] = &c->nodes[items[i] - 1];
    return true;
}

static bool copy_map(struct copying *c, const yaml_node_t *from, struct yaml_node *to)
{
    const yaml_node_pair_t *pairs = from->data.mapping.pairs.start;

    to->kind = YAML_MAP;
    to->count = (size_t)(from->data.mapping.pairs.top - pairs);
    to->items = arena_take(c->arena, (to->count + 1) * sizeof *to->items);
    to->keys = arena_take(c->arena, (to->count + 1) * sizeof *to->keys);
    if (to->items == NULL || to->keys == NULL)
        return out_of_memory(c->complaint, c->file);
    for (size_t i = 0; i < to->count; i++) {
        to->keys[i] = &c->nodes[pairs[i].key - 1];
        to->items[i] = &c->nodes[pairs[i].value - 1];
    }
    return true;
}

static bool copy_node(struct copying *c, const yaml_node_t *from, struct yaml_node *to)
{
    to->line = (int)from->start_mark.line + 1;
    to->column = (int)from->start_mark.column + 1;
    switch (from->type) {
    case YAML_NO_NODE:
    case YAML_SCALAR_NODE:
        return copy_scalar(c, from, to);
    case YAML_SEQUENCE_NODE:
        return copy_list(c, from, to);
    case YAML_MAPPING_NODE:
        return copy_map(c, from, to);
    }
    return false;
}

static struct yaml_node *copy_document(struct copying *c, yaml_document_t *document)
{
    size_t count = (size_t)(document->nodes.top - document->nodes.start);

    c->nodes = arena_take(c->arena, count * sizeof *c->nodes);
    if (c->nodes == NULL) {
        out_of_memory(c->complaint, c->file);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (!copy_node(c, &document->nodes.start[i], &c->nodes[i]))
            return NULL;
    return &c->nodes[0];
}

/* --- the documents of a text --- */

/* Of a text that is none, libyaml says how many bytes it has read. */
static void say_no_text(const yaml_parser_t *parser, struct copying *c)
{
    int line = 1, column = 1;

    for (size_t i = 0; i < parser->problem_offset && i < c->length; i++) {
        column = c->bytes[i] == '\n' ? 1 : column + 1;
        line += c->bytes[i] == '\n';
    }
    complain(c->complaint, "%s:%d:%d: no text in UTF-8 or UTF-16: %s", c->file, line, column,
             parser->problem);
}

static void say_problem(const yaml_parser_t *parser, struct copying *c)
{
    struct complaint *complaint = c->complaint;
    const char *file = c->file;

    if (parser->error == YAML_MEMORY_ERROR)
        out_of_memory(complaint, file);
    else if (parser->error == YAML_READER_ERROR)
        say_no_text(parser, c);
    else
        complain(complaint, "%s:%d:%d: no YAML: %s%s%s", file, (int)parser->problem_mark.line + 1,
                 (int)parser->problem_mark.column + 1,
                 parser->problem != NULL ? parser->problem : "it cannot be read",
                 parser->context != NULL ? ", " : "",
                 parser->context != NULL ? parser->context : "");
}

/* False: the text is over, or there is a complaint. */
static bool next_document(yaml_parser_t *parser, struct copying *c, struct yaml_node ***end)
{
    yaml_document_t document;
    struct yaml_node *root;
    bool more;

    if (!yaml_parser_load(parser, &document)) {
        say_problem(parser, c);
        return false;
    }
    more = yaml_document_get_root_node(&document) != NULL;
    if (more) {
        root = copy_document(c, &document);
        more = root != NULL;
        if (more && !yaml_is_null(root)) {
            **end = root;
            *end = &root->next;
        }
    }
    yaml_document_delete(&document);
    return more;
}

struct yaml_node *yaml_parse(struct arena *arena, const char *file, const char *bytes,
                             size_t length, struct complaint *complaint)
{
    struct copying copying = {
        .arena = arena, .file = file, .bytes = bytes, .length = length, .complaint = complaint};
    struct yaml_node *first = NULL, **end = &first;
    yaml_parser_t parser;

    if (!yaml_parser_initialize(&parser)) {
        out_of_memory(complaint, file);
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)bytes, length);
    while (next_document(&parser, &copying, &end))
        ;
    yaml_parser_delete(&parser);
    return complaint->text[0] == '\0' ? first : NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && !node->quoted &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcasecmp(node->text, "null") == 0);
}
