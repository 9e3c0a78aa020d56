/* A Redis module for tests: commands that no table knows, each with its keys in another place. It
 * declares the few functions of the module interface that it uses, so that no header is needed. */
#include <stddef.h>
#include <stdint.h>

struct context;
struct string;
struct command;
struct call_reply;

enum { OK = 0, ERR = 1, INTERFACE = 1 };

typedef int command_function(struct context *, struct string **argv, int argc);

struct info_version {
    int version;
    size_t history_size, spec_size, argument_size;
};

enum search { SEARCH_INDEX = 2, SEARCH_KEYWORD = 3 };
enum find { FIND_RANGE = 2, FIND_COUNT = 3 };

struct spec {
    const char *notes;
    uint64_t flags;
    int search;
    union {
        int index;
        struct {
            const char *word;
            int from;
        } keyword;
    } begin;
    int find;
    union {
        struct {
            int last, step, limit;
        } range;
        struct {
            int count_at, first, step;
        } count;
    } keys;
};

struct info {
    const struct info_version *version;
    const char *summary, *complexity, *since;
    const void *history;
    const char *tips;
    int arity;
    const struct spec *specs;
    const void *arguments;
};

enum { READS = 1 << 0, CHANGES = 1 << 1 }; /* of keys; the lowest of their bits */

static void (*set_attributes)(struct context *, const char *name, int version, int interface);
static int (*create_command)(struct context *, const char *name, command_function *,
                             const char *flags, int first, int last, int step);
static int (*create_subcommand)(struct command *, const char *name, command_function *,
                                const char *flags, int first, int last, int step);
static struct command *(*get_command)(struct context *, const char *name);
static int (*set_command_info)(struct command *, const struct info *);
static struct call_reply *(*call)(struct context *, const char *name, const char *format, ...);
static void (*free_reply)(struct call_reply *);
static int (*answer)(struct context *, struct call_reply *);
static int (*answer_text)(struct context *, const char *);
static int (*wrong_arity)(struct context *);
static int (*asks_for_keys)(struct context *);
static void (*key_at)(struct context *, int at);

static int pass_on(struct context *c, struct call_reply *reply)
{
    if (reply == NULL)
        return answer_text(c, "the server refused it");
    answer(c, reply);
    free_reply(reply);
    return OK;
}

static int get(struct context *c, struct string **argv, int argc)
{
    return argc == 2 ? pass_on(c, call(c, "GET", "s", argv[1])) : wrong_arity(c);
}

static int set(struct context *c, struct string **argv, int argc)
{
    return argc == 3 ? pass_on(c, call(c, "SET", "!ss", argv[1], argv[2])) : wrong_arity(c);
}

static int drop(struct context *c, struct string **argv, int argc)
{
    return argc > 1 ? pass_on(c, call(c, "DEL", "!v", argv + 1, (size_t)argc - 1)) : wrong_arity(c);
}

static int count(struct context *c, struct string **argv, int argc)
{
    (void)argv;
    return argc == 1 ? pass_on(c, call(c, "DBSIZE", "")) : wrong_arity(c);
}

/* … TO key FROM key */
static int carry(struct context *c, struct string **argv, int argc)
{
    if (argc != 5)
        return wrong_arity(c);
    return pass_on(c, call(c, "COPY", "!ssc", argv[4], argv[2], "REPLACE"));
}

/* … count key … */
static int exist(struct context *c, struct string **argv, int argc)
{
    return argc > 2 ? pass_on(c, call(c, "EXISTS", "v", argv + 2, (size_t)argc - 2))
                    : wrong_arity(c);
}

/* Its key is the last word, which only it knows itself. */
static int last(struct context *c, struct string **argv, int argc)
{
    if (asks_for_keys(c)) {
        if (argc > 1)
            key_at(c, argc - 1);
        return OK;
    }
    return argc > 1 ? pass_on(c, call(c, "INCR", "!s", argv[argc - 1])) : wrong_arity(c);
}

/* Two keys, the first and the last word. */
static int ends(struct context *c, struct string **argv, int argc)
{
    if (asks_for_keys(c)) {
        if (argc > 2) {
            key_at(c, 1);
            key_at(c, argc - 1);
        }
        return OK;
    }
    return argc > 2 ? pass_on(c, call(c, "EXISTS", "ss", argv[1], argv[argc - 1])) : wrong_arity(c);
}

static int nothing(struct context *c, struct string **argv, int argc)
{
    (void)argv, (void)argc;
    return answer_text(c, "nothing");
}

/* … PUT key value */
static int put(struct context *c, struct string **argv, int argc)
{
    return argc == 4 ? pass_on(c, call(c, "SET", "!ss", argv[2], argv[3])) : wrong_arity(c);
}

static int size(struct context *c, struct string **argv, int argc)
{
    (void)argv;
    return argc == 2 ? pass_on(c, call(c, "DBSIZE", "")) : wrong_arity(c);
}

static const struct info_version version = {1, 2 * sizeof(char *), sizeof(struct spec), 64};

static int describe(struct context *c, const char *name, const char *tips, const struct spec *specs)
{
    struct info info = {.version = &version, .tips = tips, .specs = specs};

    return set_command_info(get_command(c, name), &info);
}

static int describe_all(struct context *c)
{
    const struct spec many[] = {{.flags = CHANGES,
                                 .search = SEARCH_INDEX,
                                 .begin.index = 1,
                                 .find = FIND_RANGE,
                                 .keys.range = {-1, 1, 0}},
                                {0}};
    const struct spec words[] = {
        {.flags = CHANGES, .search = SEARCH_KEYWORD, .begin.keyword = {"TO", 1}},
        {.flags = READS, .search = SEARCH_KEYWORD, .begin.keyword = {"FROM", -2}},
        {0},
    };
    const struct spec counted[] = {{.flags = READS,
                                    .search = SEARCH_INDEX,
                                    .begin.index = 1,
                                    .find = FIND_COUNT,
                                    .keys.count = {0, 1, 1}},
                                   {0}};

    return describe(c, "goods.drop", "request_policy:multi_shard response_policy:agg_sum", many) ||
           describe(c, "goods.count", "request_policy:all_shards response_policy:agg_sum", NULL) ||
           describe(c, "goods.carry", NULL, words) || describe(c, "goods.exist", NULL, counted) ||
           describe(c, "goods.box|size", "request_policy:all_shards response_policy:agg_sum", NULL);
}

static int create_all(struct context *c)
{
    static const struct {
        const char *name;
        command_function *function;
        const char *flags;
        int first, last, step;
    } commands[] = {
        {"goods.get", get, "readonly fast", 1, 1, 1},
        {"goods.set", set, "write deny-oom", 1, 1, 1},
        {"goods.drop", drop, "write", 1, -1, 1},
        {"goods.count", count, "readonly", 0, 0, 0},
        {"goods.carry", carry, "write", 0, 0, 0},
        {"goods.exist", exist, "readonly", 0, 0, 0},
        {"goods.last", last, "write getkeys-api", 0, 0, 0},
        {"goods.ends", ends, "readonly getkeys-api", 0, 0, 0},
        {"goods.nothing", nothing, "", 0, 0, 0},
        {"goods.admin", nothing, "admin", 0, 0, 0},
        {"goods.box", NULL, "", 0, 0, 0},
    };

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (create_command(c, commands[i].name, commands[i].function, commands[i].flags,
                           commands[i].first, commands[i].last, commands[i].step) == ERR)
            return ERR;
    return create_subcommand(get_command(c, "goods.box"), "put", put, "write", 2, 2, 1) ||
           create_subcommand(get_command(c, "goods.box"), "size", size, "readonly", 0, 0, 0);
}

int RedisModule_OnLoad(struct context *, struct string **argv, int argc);

int RedisModule_OnLoad(struct context *c, struct string **argv, int argc)
{
    int (*get_function)(const char *, void *) = *(int (**)(const char *, void *))(void *)c;
    const struct {
        const char *name;
        void *to;
    } functions[] = {
        {"RedisModule_SetModuleAttribs", &set_attributes},
        {"RedisModule_CreateCommand", &create_command},
        {"RedisModule_CreateSubcommand", &create_subcommand},
        {"RedisModule_GetCommand", &get_command},
        {"RedisModule_SetCommandInfo", &set_command_info},
        {"RedisModule_Call", &call},
        {"RedisModule_FreeCallReply", &free_reply},
        {"RedisModule_ReplyWithCallReply", &answer},
        {"RedisModule_ReplyWithSimpleString", &answer_text},
        {"RedisModule_WrongArity", &wrong_arity},
        {"RedisModule_IsKeysPositionRequest", &asks_for_keys},
        {"RedisModule_KeyAtPos", &key_at},
    };

    (void)argv, (void)argc;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (get_function(functions[i].name, functions[i].to) == ERR)
            return ERR;
    set_attributes(c, "goods", 1, INTERFACE);
    return create_all(c) == ERR || describe_all(c) == ERR ? ERR : OK;
}
