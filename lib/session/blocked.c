#include "session/blocked.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { TIMEOUT_DIGITS = 12 };

/* Where a command has its timeout. A command that is not here is sent as it was. */
static const struct {
    const char *name;
    int at;       /* of the words; < 0: from the end; 0: behind the word BLOCK */
    int unit_ms;
} timeouts[] = {
    {"blpop", -1, 1000},    {"brpop", -1, 1000},  {"brpoplpush", -1, 1000}, {"blmove", -1, 1000},
    {"bzpopmin", -1, 1000}, {"bzpopmax", -1, 1000}, {"blmpop", 1, 1000},    {"bzmpop", 1, 1000},
    {"xread", 0, 1},        {"xreadgroup", 0, 1}, {"wait", 2, 1},         {"waitaof", 3, 1},
};

static int behind_block(const struct argv *argv)
{
    for (int i = 1; i + 1 < argv->count; i++)
        if (bytes_equal_ignoring_case(argv->words[i], "block"))
            return i + 1;
    return 0;
}

/* The index of the timeout; 0: there is none. */
static int find_timeout(const struct command *c, const struct argv *argv, int *unit_ms)
{
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int at = timeouts[i].at;

        if (strcmp(c->name, timeouts[i].name) != 0)
            continue;
        *unit_ms = timeouts[i].unit_ms;
        return at < 0 ? argv->count + at : at > 0 ? at : behind_block(argv);
    }
    return 0;
}

/* A decimal number in milliseconds; what the locale takes for a decimal point does not matter.
 * 0: it is none, or too long for one to come back from. */
static int64_t milliseconds(struct bytes number, int unit_ms)
{
    int64_t whole = 0, part = 0, scale = unit_ms;
    size_t at = 0;

    for (; at < number.length && at < TIMEOUT_DIGITS && isdigit((unsigned char)number.data[at]); at++)
        whole = whole * 10 + (number.data[at] - '0');
    if (at < number.length && number.data[at] == '.')
        for (at++; at < number.length && isdigit((unsigned char)number.data[at]); at++) {
            scale /= 10;
            part += (number.data[at] - '0') * scale;
        }
    return at == number.length ? whole * unit_ms + part : 0;
}

/* The time that is left, in the unit of the command, and never 0, which is for ever. */
static int format_left(struct bytes timeout, int unit_ms, int64_t elapsed_ms, char *text,
                       size_t size)
{
    int64_t left_ms = milliseconds(timeout, unit_ms);

    if (left_ms <= 0)
        return 0;
    left_ms = left_ms > elapsed_ms ? left_ms - elapsed_ms : 1;
    if (unit_ms == 1)
        return snprintf(text, size, "%lld", (long long)left_ms);
    return snprintf(text, size, "%lld.%03d", (long long)(left_ms / unit_ms),
                    (int)(left_ms % unit_ms));
}

static void shorten(struct session *s, struct part *part, struct argv *argv, int64_t elapsed_ms)
{
    char text[64];
    struct buffer out;
    int unit_ms = 1, at = find_timeout(part->request->command, argv, &unit_ms);
    int length = at > 0 && at < argv->count
                     ? format_left(argv->words[at], unit_ms, elapsed_ms, text, sizeof text)
                     : 0;

    if (length <= 0 || length >= (int)sizeof text)
        return;
    argv->words[at] = (struct bytes){text, (size_t)length};
    buffer_init(&out);
    if (!argv_format(argv, &out)) {
        session_end(s, ENOMEM);
        return;
    }
    free(part->bytes);
    part->bytes = out.data;
    part->length = buffer_length(&out);
}

void blocked_shorten(struct session *s, struct part *part)
{
    struct argv argv = {0};
    int64_t now = session_now(s), elapsed_ms = now - s->blocked_since_ms;
    const char *why;
    size_t used;

    if (elapsed_ms <= 0)
        return;
    s->blocked_since_ms = now;
    if (parse_command(&argv, part->bytes, part->length, &used, &why) == PARSE_WHOLE)
        shorten(s, part, &argv, elapsed_ms);
    argv_deinit(&argv);
}
