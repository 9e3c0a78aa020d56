#include "session/parse.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The server's own limits: proto-max-bulk-len's default, PROTO_INLINE_MAX_SIZE. */
static const long long bulk_max = 512LL * 1024 * 1024;
enum { INLINE_MAX = 64 * 1024, FIRST_CAPACITY = 8, NUMBER_MAX = 20 };

void argv_deinit(struct argv *argv)
{
    free(argv->words);
    free(argv->inline_words);
    *argv = (struct argv){0};
}

static bool argv_room(struct argv *argv, int count)
{
    int capacity = argv->capacity ? argv->capacity : FIRST_CAPACITY;
    struct bytes *words;

    if (count <= argv->capacity)
        return true;
    while (capacity < count)
        capacity *= 2;
    words = realloc(argv->words, (size_t)capacity * sizeof *words);
    if (words == NULL)
        return false;
    argv->words = words;
    argv->capacity = capacity;
    return true;
}

/* A number and its CRLF. Moves *at behind them. */
static enum parse_result number(const char **at, const char *end, long long *value)
{
    const char *p = *at;
    long long n = 0;
    bool negative = p < end && *p == '-';
    const char *digits;

    p += negative;
    digits = p;
    while (p < end && (unsigned)(*p - '0') < 10 && p - digits < NUMBER_MAX - 2)
        n = n * 10 + (*p++ - '0');
    if (p == end || (*p == '\r' && p + 1 == end))
        return PARSE_PARTIAL;
    if (p == digits || p[0] != '\r' || p[1] != '\n')
        return PARSE_BROKEN;
    *value = negative ? -n : n;
    *at = p + 2;
    return PARSE_WHOLE;
}

/* Lengths of one and two digits, which nearly all are, in a few instructions. */
static inline bool short_number(const char **at, const char *end, long long *value)
{
    const char *p = *at;
    unsigned first, second;

    if (end - p < 4)
        return false;
    first = (unsigned)(p[0] - '0');
    second = (unsigned)(p[1] - '0');
    if (first < 10 && p[1] == '\r' && p[2] == '\n') {
        *value = first;
        *at = p + 3;
        return true;
    }
    if (first < 10 && second < 10 && p[2] == '\r' && p[3] == '\n') {
        *value = first * 10 + second;
        *at = p + 4;
        return true;
    }
    return false;
}

static inline enum parse_result bulk(const char **at, const char *start, const char *end,
                              struct bytes *word, size_t *needed, const char **why)
{
    long long length;
    enum parse_result r;

    if (*at == end)
        return PARSE_PARTIAL;
    if (**at != '$') {
        *why = "Protocol error: expected '$'";
        return PARSE_BROKEN;
    }
    ++*at;
    if (!short_number(at, end, &length)) {
        r = number(at, end, &length);
        if (r == PARSE_PARTIAL)
            return r;
        if (r == PARSE_BROKEN || length < 0 || length > bulk_max) {
            *why = "Protocol error: invalid bulk length";
            return PARSE_BROKEN;
        }
    }
    if (end - *at < length + 2) {
        *needed = (size_t)(*at - start) + (size_t)length + 2;
        return PARSE_PARTIAL;
    }
    *word = (struct bytes){*at, (size_t)length};
    *at += length + 2;
    return PARSE_WHOLE;
}

/* Words whose length has one or two digits, which nearly all have, as far as they go.
 * What is left, or odd, is for the careful way. */
static int short_words(struct argv *argv, const char **at, const char *end, long long count)
{
    const char *p = *at;
    int limit = count < argv->capacity ? (int)count : argv->capacity, done = 0;

    while (done < limit && end - p >= 6 && p[0] == '$') {
        unsigned length = (unsigned)(p[1] - '0'), second = (unsigned)(p[2] - '0');
        const char *word = p;

        if (length > 9)
            break;
        if (p[2] == '\r' && p[3] == '\n') {
            p += 4;
        } else if (second < 10 && p[3] == '\r' && p[4] == '\n') {
            length = length * 10 + second;
            p += 5;
        } else {
            break;
        }
        if ((size_t)(end - p) < length + 2) {
            p = word; /* the careful way says how much is missing */
            break;
        }
        argv->words[done++] = (struct bytes){p, length};
        p += length + 2;
    }
    *at = p;
    return done;
}

static enum parse_result parse_array(struct argv *argv, const char *data, size_t length,
                                     size_t *used, const char **why)
{
    const char *at = data + 1, *end = data + length;
    size_t needed = length + 1;
    long long count = 0;
    enum parse_result r =
        short_number(&at, end, &count) ? PARSE_WHOLE : number(&at, end, &count);

    if (r == PARSE_BROKEN || count > INT_MAX / 2) {
        *why = "Protocol error: invalid multibulk length";
        return PARSE_BROKEN;
    }
    argv->count = 0;
    if (r == PARSE_WHOLE)
        argv->count = short_words(argv, &at, end, count);
    for (long long i = argv->count; r == PARSE_WHOLE && i < count; i++) {
        /* Room grows with the words that are really there, not with what a header claims. */
        if (i == argv->capacity && !argv_room(argv, (int)i + 1))
            return PARSE_NO_MEMORY;
        r = bulk(&at, data, end, &argv->words[i], &needed, why);
        argv->count += r == PARSE_WHOLE;
    }
    *used = r == PARSE_PARTIAL ? needed : (size_t)(at - data);
    return r == PARSE_WHOLE && count <= 0 ? PARSE_EMPTY : r;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash between double quotes; *p is at the backslash. */
static char escaped(const char **p, const char *end)
{
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *known;

    if (end - *p >= 4 && (*p)[1] == 'x' && hex((*p)[2]) >= 0 && hex((*p)[3]) >= 0) {
        char c = (char)(hex((*p)[2]) * 16 + hex((*p)[3]));

        *p += 4;
        return c;
    }
    known = (*p)[1] ? strchr(from, (*p)[1]) : NULL;
    *p += 2;
    return known ? to[known - from] : (*p)[-1];
}

/* Unquotes one word to `to`. Returns where the word ends in the input, or NULL
 * when its quotes do not balance. */
static const char *inline_word(const char *p, const char *end, char **to)
{
    char quote = 0;

    for (; p < end; ) {
        if (quote == 0 && isspace((unsigned char)*p))
            return p;
        if (quote == 0 && (*p == '"' || *p == '\'')) {
            quote = *p++;
        } else if (quote != 0 && *p == quote) {
            p++;
            return p == end || isspace((unsigned char)*p) ? p : NULL;
        } else if (quote == '"' && *p == '\\' && p + 1 < end) {
            *(*to)++ = escaped(&p, end);
        } else if (quote == '\'' && *p == '\\' && p + 1 < end && p[1] == '\'') {
            *(*to)++ = '\'';
            p += 2;
        } else {
            *(*to)++ = *p++;
        }
    }
    return quote == 0 ? p : NULL;
}

static enum parse_result parse_inline(struct argv *argv, const char *data, size_t length,
                                      size_t *used, const char **why)
{
    const char *newline = memchr(data, '\n', length), *end, *p = data;
    char *to;

    if (newline == NULL) {
        *used = length + 1;
        *why = "Protocol error: too big inline request";
        return length > INLINE_MAX ? PARSE_BROKEN : PARSE_PARTIAL;
    }
    *used = (size_t)(newline + 1 - data);
    end = newline > data && newline[-1] == '\r' ? newline - 1 : newline;
    free(argv->inline_words);
    to = argv->inline_words = malloc((size_t)(end - data) + 1);
    if (to == NULL)
        return PARSE_NO_MEMORY;
    for (argv->count = 0;; argv->count++) {
        char *word = to;

        while (p < end && isspace((unsigned char)*p))
            p++;
        if (p == end)
            return argv->count ? PARSE_WHOLE : PARSE_EMPTY;
        if (!argv_room(argv, argv->count + 1))
            return PARSE_NO_MEMORY;
        p = inline_word(p, end, &to);
        if (p == NULL) {
            *why = "Protocol error: unbalanced quotes in request";
            return PARSE_BROKEN;
        }
        argv->words[argv->count] = (struct bytes){word, (size_t)(to - word)};
    }
}

enum parse_result parse_command(struct argv *argv, const char *data, size_t length, size_t *used,
                                const char **why)
{
    if (length == 0) {
        *used = 1;
        return PARSE_PARTIAL;
    }
    if (data[0] == '*')
        return parse_array(argv, data, length, used, why);
    return parse_inline(argv, data, length, used, why);
}

bool argv_format(const struct argv *argv, struct buffer *out)
{
    char header[32];

    snprintf(header, sizeof header, "*%d\r\n", argv->count);
    if (!buffer_append_text(out, header))
        return false;
    for (int i = 0; i < argv->count; i++) {
        snprintf(header, sizeof header, "$%zu\r\n", argv->words[i].length);
        if (!buffer_append_text(out, header) ||
            !buffer_append(out, argv->words[i].data, argv->words[i].length) ||
            !buffer_append(out, "\r\n", 2))
            return false;
    }
    return true;
}
