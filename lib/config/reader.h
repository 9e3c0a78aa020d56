/* A reader of a configuration: takes values out of the tree of a file and puts them into a
 * structure, by a table of fields. What does not fit is refused with its place, its path, and what
 * would fit. */
#ifndef REDISROUTE_CONFIG_READER_H
#define REDISROUTE_CONFIG_READER_H

#include "config/complaint.h"
#include "config/yaml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { READER_PATH_MOST = 256 };

struct reader {
    struct arena *arena;
    const char *file; /* NULL: the environment, where a value is one text, and may be terser */
    struct complaint *complaint;
    void *target; /* what is being read; the users' own */
    bool with_environment; /* which has its say after the files */
    char path[READER_PATH_MOST];
};

/* Where a value came from, for what is found out later. */
struct reader_place {
    const char *file;
    const char *path;
    int line;
    int column;
};

struct field;

/* Puts a value where `into` points. False: refused. */
typedef bool reader_take(struct reader *, const struct yaml_node *, const struct field *,
                         void *into);

/* A table of fields ends with one that has no name, whose `type` may be another table that goes on.
 */
struct field {
    const char *name; /* a name_of_words may be given as nameOfWords as well */
    reader_take *take;
    size_t offset;    /* of what it sets, in the structure of its map */
    const void *type; /* what more `take` has to know */
    int64_t least;    /* the range of a number or a duration; 0 to 0: any */
    int64_t most;
    bool needed;
};

/* The values, by what they are put into. */
reader_take take_duration; /* int64_t, milliseconds */
reader_take take_number;   /* int64_t */
reader_take take_percent;  /* uint32_t, millionths of the whole */
reader_take take_switch;   /* bool */
reader_take take_text;     /* const char *, in the arena */
reader_take take_choice;   /* int; `type` is a NULL-terminated list of names */
reader_take take_map;      /* the structure itself; `type` is its table */
reader_take take_node;     /* const struct yaml_node *, for later */
reader_take take_any;      /* nothing: it has no meaning here, or was looked at before */
reader_take take_ignored;  /* nothing, but it is checked: `type` is a field that it could be */
reader_take take_any_map;  /* nothing, but a map it has to be, … */
reader_take take_any_list; /* … or a list, … */
reader_take take_any_texts; /* … of texts */
reader_take take_refused;  /* nothing; `type` says why */

/* A field that is done the library's own way, or has no meaning here, and is checked all the same.
 * To leave the value out is always right. */
#define READER_IGNORED(name, as)                                                                   \
    {                                                                                              \
        name, take_ignored, 0, &(as), 0, 0, false                                                  \
    }
extern const struct field reader_switch, reader_duration, reader_size, reader_text;

bool reader_map(struct reader *, const struct yaml_node *, const struct field *, void *into);
/* Each item of a list, by `take`, which makes its own place for it. */
bool reader_list(struct reader *, const struct yaml_node *, reader_take *take, void *into);
/* A value whose path is `name` deeper. */
bool reader_deeper(struct reader *, const char *name, const struct yaml_node *,
                   const struct field *table, void *into);
/* The key of a map is the name of a field of the table. */
bool reader_knows(const struct yaml_node *key, const struct field *table);
/* The value of a map's field; NULL: none. */
const struct yaml_node *reader_find(const struct yaml_node *map, const char *name);

/* Always false. */
bool reader_refuse(struct reader *, const struct yaml_node *, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool reader_refuse_place(struct reader *, const struct reader_place *, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* About a field of the map, if it has it; else about the map. */
bool reader_refuse_field(struct reader *, const struct yaml_node *map, const char *name,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));
/* In the arena; NULL, and a complaint: out of memory. */
const struct reader_place *reader_place(struct reader *, const struct yaml_node *);
const struct reader_place *reader_place_field(struct reader *, const struct yaml_node *map,
                                              const char *name);
void *reader_make(struct reader *, size_t size);

#endif
