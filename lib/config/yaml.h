/* YAML as a tree of values, each with its place in the text. */
#ifndef REDISROUTE_CONFIG_YAML_H
#define REDISROUTE_CONFIG_YAML_H

#include "base/arena.h"
#include "config/complaint.h"

#include <stdbool.h>
#include <stddef.h>

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

/* An alias is the node that it names: the same node may be found in several places, and even, since
 * YAML allows that, inside itself. Who walks has to know how deep the things are that it looks for.
 */
struct yaml_node {
    enum yaml_kind kind;
    int line; /* from 1 */
    int column;
    const char *text; /* of a scalar */
    bool quoted;
    size_t count;             /* of a list or a map */
    struct yaml_node **items; /* … the values */
    struct yaml_node **keys;  /* of a map only */
    struct yaml_node *next;   /* of a root: the next document's */
};

/* The root of the first document that is not empty, in the arena; NULL when there is none, or when
 * there is a complaint. `file` is for that only. */
struct yaml_node *yaml_parse(struct arena *, const char *file, const char *bytes, size_t length,
                             struct complaint *);

/* Nothing, as in "field:" or "field: null". */
bool yaml_is_null(const struct yaml_node *);

#endif
