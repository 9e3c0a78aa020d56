/* Tokens, and no grammar: a call is found by its four tokens, its arguments by counting brackets.
 * What a variable holds is not known, and not guessed. */
#include "route/lua.h"

#include <string.h>

#include "route/command.h"

enum { ARGUMENTS_MOST = 32, CALL_MOST = 4096 };

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_STRING, TOKEN_OTHER };

struct token {
    enum token_kind kind;
    struct bytes whole; /* as it is written */
    struct bytes text;  /* of a string: without its quotes */
};

struct reader {
    const char *at, *end;
};

/* --- tokens --- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Of "[==[": the number of '=', or -1 when it is no such bracket. */
static int long_bracket(const char *at, const char *end)
{
    const char *p = at + 1;

    if (at == end || *at != '[')
        return -1;
    while (p < end && *p == '=')
        p++;
    return p < end && *p == '[' ? (int)(p - at - 1) : -1;
}

/* Behind "]==]", or the end; *closed is where it begins. */
static const char *skip_long(const char *at, const char *end, int level, const char **closed)
{
    for (; at < end; at++) {
        const char *p = at + 1;

        if (*at != ']')
            continue;
        while (p < end && *p == '=')
            p++;
        if (p < end && *p == ']' && p - at - 1 == level) {
            *closed = at;
            return p + 1;
        }
        at = p - 1; /* another level's, or none: its ']' may begin the right one */
    }
    *closed = end;
    return end;
}

static const char *skip_comment(const char *at, const char *end)
{
    int level = long_bracket(at + 2, end);
    const char *closed;

    if (level >= 0)
        return skip_long(at + 2 + level + 2, end, level, &closed);
    at = memchr(at, '\n', (size_t)(end - at));
    return at != NULL ? at : end;
}

static void skip_blank(struct reader *r)
{
    for (;;) {
        while (r->at < r->end && is_space(*r->at))
            r->at++;
        if (r->end - r->at < 2 || r->at[0] != '-' || r->at[1] != '-')
            return;
        r->at = skip_comment(r->at, r->end);
    }
}

static void read_quoted(struct reader *r, struct token *t)
{
    char quote = *r->at++;
    const char *start = r->at;

    while (r->at < r->end && *r->at != quote)
        r->at += *r->at == '\\' && r->end - r->at > 1 ? 2 : 1;
    t->text = (struct bytes){start, (size_t)(r->at - start)};
    r->at += r->at < r->end;
}

static void read_long(struct reader *r, struct token *t, int level)
{
    const char *start = r->at + level + 2, *closed;

    r->at = skip_long(start, r->end, level, &closed);
    t->text = (struct bytes){start, (size_t)(closed - start)};
}

static void read_word(struct reader *r)
{
    while (r->at < r->end && (is_letter(*r->at) || is_digit(*r->at)))
        r->at++;
}

static struct token next(struct reader *r)
{
    struct token t = {.kind = TOKEN_END};
    int level;

    skip_blank(r);
    t.whole.data = r->at;
    if (r->at == r->end)
        return t;
    if (*r->at == '"' || *r->at == '\'') {
        t.kind = TOKEN_STRING;
        read_quoted(r, &t);
    } else if ((level = long_bracket(r->at, r->end)) >= 0) {
        t.kind = TOKEN_STRING;
        read_long(r, &t, level);
    } else if (is_letter(*r->at) || is_digit(*r->at)) {
        t.kind = is_digit(*r->at) ? TOKEN_NUMBER : TOKEN_NAME;
        read_word(r);
    } else {
        t.kind = TOKEN_OTHER;
        r->at++;
    }
    t.whole.length = (size_t)(r->at - t.whole.data);
    return t;
}

static bool token_is(const struct token *t, const char *text)
{
    return t->kind != TOKEN_STRING && t->whole.length == strlen(text) &&
           memcmp(t->whole.data, text, t->whole.length) == 0;
}

/* --- calls --- */

struct argument {
    struct token first;
    const char *end;
    unsigned tokens;
    bool has_keys, has_argv;
};

struct call {
    struct argument arguments[ARGUMENTS_MOST];
    int count;
};

static void take(struct argument *a, const struct token *t)
{
    if (a->tokens++ == 0)
        a->first = *t;
    a->end = t->whole.data + t->whole.length;
    a->has_keys = a->has_keys || token_is(t, "KEYS");
    a->has_argv = a->has_argv || token_is(t, "ARGV");
}

static int depth_of(const struct token *t)
{
    if (t->kind != TOKEN_OTHER)
        return 0;
    return strchr("([{", *t->whole.data) != NULL   ? 1
           : strchr(")]}", *t->whole.data) != NULL ? -1
                                                   : 0;
}

/* What stands between the brackets of a call; the reader is behind the first. */
static void read_arguments(struct reader r, struct call *call)
{
    int depth = 1;
    struct token t;

    if (r.end - r.at > CALL_MOST)
        r.end = r.at + CALL_MOST;
    *call = (struct call){.count = 1};
    while ((t = next(&r)).kind != TOKEN_END && (depth += depth_of(&t)) > 0) {
        if (depth == 1 && token_is(&t, ",")) {
            if (call->count == ARGUMENTS_MOST)
                return;
            call->count++;
        } else {
            take(&call->arguments[call->count - 1], &t);
        }
    }
}

/* The words of the command, as far as they are written there. */
static void words_of(const struct call *call, struct bytes *words)
{
    for (int i = 0; i < call->count; i++) {
        const struct argument *a = &call->arguments[i];

        words[i] = (struct bytes){"?", 1};
        if (a->tokens == 1 && a->first.kind == TOKEN_STRING)
            words[i] = a->first.text;
        else if (a->tokens == 1 && a->first.kind == TOKEN_NUMBER)
            words[i] = a->first.whole;
    }
}

static bool is_outside(const struct argument *a)
{
    return a->tokens > 0 && !a->has_keys && (a->has_argv || a->first.kind == TOKEN_STRING);
}

static struct bytes key_outside(const struct call *call)
{
    struct bytes words[ARGUMENTS_MOST];
    struct key_range ranges[COMMAND_RANGES_MAX];
    const struct command *c;
    int count;

    words_of(call, words);
    c = command_lookup(words, call->count);
    count = c != NULL ? command_keys(c, words, call->count, ranges) : 0;
    for (int i = 0; i < count; i++)
        for (int at = ranges[i].first; at <= ranges[i].last; at += ranges[i].step) {
            const struct argument *a = &call->arguments[at];

            if (is_outside(a))
                return (struct bytes){a->first.whole.data, (size_t)(a->end - a->first.whole.data)};
        }
    return (struct bytes){NULL, 0};
}

/* "redis.call" begins the last four tokens, or redis["call"] does. Valkey knows "server" too. */
static bool is_call(const struct token t[4])
{
    return (token_is(&t[0], "redis") || token_is(&t[0], "server")) &&
           (token_is(&t[1], "[") || (token_is(&t[1], ".") && (token_is(&t[2], "call") ||
                                                              token_is(&t[2], "pcall"))));
}

struct lua_look lua_look(struct bytes text)
{
    size_t length = text.length < LUA_TEXT_MOST ? text.length : LUA_TEXT_MOST;
    struct reader r = {text.data, text.data + length};
    struct token last[4] = {{TOKEN_END, {"", 0}, {"", 0}}};
    struct lua_look look = {0};
    struct call call;

    if (length == 0)
        return look;
    do {
        memmove(last, last + 1, 3 * sizeof last[0]);
        last[3] = next(&r);
        if (!is_call(last))
            continue;
        look.calls++;
        /* Else it is given another name, and what that is called with is not seen. */
        if (look.outside.length == 0 && token_is(&last[3], "(")) {
            read_arguments(r, &call);
            look.outside = key_outside(&call);
        }
    } while (last[3].kind != TOKEN_END);
    return look;
}
