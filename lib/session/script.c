#include "session/script.h"

#include <errno.h>
#include <stdlib.h>

#include "base/word.h"
#include "route/scripts.h"
#include "route/slot.h"

enum { SEEN = 16, PROVEN = 32 };

/* What this session need not look up again. Zero is no script's. */
struct script_memo {
    uint64_t version;    /* of the cluster's scripts */
    uint64_t seen[SEEN]; /* texts that are remembered */
    struct {
        uint64_t sha;
        const struct link *link;
    } proven[PROVEN]; /* links that this EVALSHA was said on */
    unsigned seen_next;
    unsigned proven_next;
};

enum verb { VERB_EVAL, VERB_EVALSHA, VERB_LOAD, VERB_FLUSH, VERB_NONE };

static enum verb verb_of(const struct session *s, const struct command *c)
{
    static const struct {
        const char *name;
        enum verb verb;
        int words;
    } table[] = {
        {"eval", VERB_EVAL, 3},          {"eval_ro", VERB_EVAL, 3},
        {"evalsha", VERB_EVALSHA, 3},    {"evalsha_ro", VERB_EVALSHA, 3},
        {"script|load", VERB_LOAD, 3},   {"script|flush", VERB_FLUSH, 2},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(c->name, table[i].name) == 0)
            return s->argv.count >= table[i].words ? table[i].verb : VERB_NONE;
    return VERB_NONE;
}

static struct script_memo *memo_of(struct session *s)
{
    uint64_t version = scripts_version(cluster_scripts(s->cluster));

    if (s->script == NULL)
        s->script = calloc(1, sizeof *s->script);
    if (s->script != NULL && s->script->version != version)
        *s->script = (struct script_memo){.version = version};
    return s->script;
}

static uint64_t hash_of(struct bytes text)
{
    uint64_t hash = text.length + 1;
    size_t at = 0;

    for (; text.length - at >= sizeof(uint64_t); at += sizeof(uint64_t))
        hash = (hash ^ word_load(text.data + at)) * UINT64_C(0x9e3779b97f4a7c15) ^ hash >> 29;
    for (; at < text.length; at++)
        hash = (hash ^ (unsigned char)text.data[at]) * UINT64_C(0x9e3779b97f4a7c15);
    return hash | 1;
}

/* Its digits, in whatever case they were written. */
static uint64_t sha_hash(struct bytes sha)
{
    static const uint64_t lower = UINT64_C(0x2020202020202020);

    if (sha.length < 2 * sizeof(uint64_t))
        return 0;
    return ((word_load(sha.data) | lower) * UINT64_C(0x9e3779b97f4a7c15) ^
            (word_load(sha.data + sizeof(uint64_t)) | lower)) | 1;
}

static void remember(struct session *s, struct bytes text)
{
    struct script_memo *memo = memo_of(s);
    uint64_t hash = hash_of(text);

    if (memo == NULL)
        return;
    for (int i = 0; i < SEEN; i++)
        if (memo->seen[i] == hash)
            return;
    scripts_remember(cluster_scripts(s->cluster), text);
    memo->seen[memo->seen_next++ % SEEN] = hash;
}

/* The link to the owner of its key's slot; NULL: there is none yet, or it has no key. */
static const struct link *link_of(const struct session *s, const struct command *c)
{
    struct key_range ranges[COMMAND_RANGES_MAX];
    const struct bytes *key;
    uint16_t node;

    if (command_keys(c, s->argv.words, s->argv.count, ranges) == 0)
        return NULL;
    key = &s->argv.words[ranges[0].first];
    node = s->topology->owner[slot_of_key(key->data, key->length)];
    return node != NODE_NONE ? s->link_of_node[node] : NULL;
}

static bool is_proven(const struct script_memo *memo, uint64_t sha, const struct link *link)
{
    for (int i = 0; i < PROVEN; i++)
        if (memo->proven[i].sha == sha && memo->proven[i].link == link)
            return true;
    return false;
}

static void prove(struct session *s, const struct command *c)
{
    struct script_memo *memo = memo_of(s);
    const struct link *link = link_of(s, c);
    uint64_t sha = sha_hash(s->argv.words[1]);
    unsigned at;

    if (memo == NULL || link == NULL || is_proven(memo, sha, link))
        return;
    at = memo->proven_next++ % PROVEN;
    memo->proven[at].sha = sha;
    memo->proven[at].link = link;
}

void script_note(struct session *s, const struct command *c)
{
    switch (verb_of(s, c)) {
    case VERB_EVAL:
        remember(s, s->argv.words[1]);
        break;
    case VERB_LOAD:
        remember(s, s->argv.words[2]);
        break;
    case VERB_FLUSH:
        scripts_forget(cluster_scripts(s->cluster));
        break;
    case VERB_EVALSHA:
        if (s->state == SESSION_ROUTING)
            prove(s, c);
        break;
    case VERB_NONE:
        break;
    }
}

static bool may_be_missing(struct session *s, const struct command *c)
{
    struct script_memo *memo = memo_of(s);
    const struct link *link;

    if (memo == NULL)
        return true;
    link = link_of(s, c);
    return link == NULL || !is_proven(memo, sha_hash(s->argv.words[1]), link);
}

bool script_waits(struct session *s, const struct command *c)
{
    return verb_of(s, c) == VERB_EVALSHA && may_be_missing(s, c) &&
           scripts_know(cluster_scripts(s->cluster), s->argv.words[1]);
}

/* The words are those of an EVALSHA. */
static bool append_eval(struct session *s, struct argv *argv, struct buffer *out)
{
    struct bytes name = argv->words[0], sha = argv->words[1];
    bool reads = name.length > strlen("evalsha"), ok;
    size_t length = 0;
    char *text = scripts_text(cluster_scripts(s->cluster), sha, &length);

    if (text == NULL)
        return false;
    argv->words[0] = reads ? (struct bytes){"EVAL_RO", 7} : (struct bytes){"EVAL", 4};
    argv->words[1] = (struct bytes){text, length};
    ok = argv_format(argv, out);
    argv->words[0] = name;
    argv->words[1] = sha;
    free(text);
    return ok;
}

bool script_expand(struct session *s, const struct command *c, struct buffer *out)
{
    return verb_of(s, c) == VERB_EVALSHA && may_be_missing(s, c) && append_eval(s, &s->argv, out);
}

bool script_repair(struct session *s, struct part *part)
{
    const struct command *c = part->request->command;
    struct argv argv = {0};
    struct buffer eval;
    const char *why;
    size_t used;
    bool ok;

    if (c == NULL || (c->flags & COMMAND_SCRIPT) == 0)
        return false;
    buffer_init(&eval);
    ok = parse_command(&argv, part->bytes, part->length, &used, &why) == PARSE_WHOLE &&
         argv.count > 2 && command_lookup(argv.words, argv.count) == c &&
         append_eval(s, &argv, &eval);
    argv_deinit(&argv);
    if (!ok) {
        buffer_deinit(&eval);
        return false;
    }
    free(part->bytes);
    part->bytes = eval.data;
    part->length = buffer_length(&eval);
    return true;
}

void script_link_lost(struct session *s, const struct link *link)
{
    if (s->script == NULL)
        return;
    for (int i = 0; i < PROVEN; i++)
        if (s->script->proven[i].link == link)
            s->script->proven[i].sha = 0;
}

void script_destroy(struct session *s)
{
    free(s->script);
    s->script = NULL;
}
