/* Any bytes as what a program writes, cut anywhere; as a script; and as the lines of an audit. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "route/lua.h"
#include "session/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool rule)
{
    if (!rule)
        abort();
}

/* Printable ASCII, and what separates lines: whoever reads it on a terminal is safe. */
static void expect_printable(const struct buffer *text)
{
    for (size_t i = 0; i < buffer_length(text); i++)
        expect(buffer_bytes(text)[i] == '\n' ||
               (buffer_bytes(text)[i] >= ' ' && buffer_bytes(text)[i] <= '~'));
}

static void append_lines(const struct audit *a, struct buffer *lines)
{
    buffer_init(lines);
    expect(audit_append_lines(a, lines));
    expect_printable(lines);
}

/* What is written can be read, and is the same when it is written again. */
static void write_and_read(const struct audit *a)
{
    struct buffer lines, again, report;
    struct audit read = {0};

    append_lines(a, &lines);
    expect(audit_read_lines(&read, buffer_bytes(&lines), buffer_length(&lines)));
    append_lines(&read, &again);
    expect(buffer_length(&lines) == buffer_length(&again) &&
           memcmp(buffer_bytes(&lines), buffer_bytes(&again), buffer_length(&lines)) == 0);
    buffer_init(&report);
    expect(audit_append_report(&read, &report));
    expect_printable(&report);
    buffer_deinit(&lines);
    buffer_deinit(&again);
    buffer_deinit(&report);
    audit_deinit(&read);
}

/* A piece in memory of its own, for the sanitizer. */
static void look(struct tap *tap, const char *bytes, size_t length)
{
    char *copy = malloc(length + !length);

    memcpy(copy, bytes, length);
    tap_look(tap, copy, length);
    free(copy);
}

static void tap_in_pieces(const char *bytes, size_t length, size_t piece)
{
    struct audit found = {0};
    struct tap tap = {0};

    for (size_t at = 0; at < length; at += piece)
        look(&tap, bytes + at, length - at < piece ? length - at : piece);
    tap_deinit(&tap);
    (void)audit_take(&found);
    write_and_read(&found);
    audit_deinit(&found);
}

static void look_at_script(const char *text, size_t length)
{
    struct lua_look found = lua_look((struct bytes){text, length});

    expect(found.outside.length == 0 ||
           (found.outside.data >= text && found.calls > 0 &&
            found.outside.data + found.outside.length <= text + length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct audit read = {0};
    char *bytes;

    if (size < 2)
        return 0;
    size--;
    bytes = malloc(size);
    memcpy(bytes, data + 1, size);
    tap_in_pieces(bytes, size, data[0] > 0 ? data[0] : size);
    look_at_script(bytes, size);
    if (audit_read_lines(&read, bytes, size))
        write_and_read(&read);
    audit_deinit(&read);
    free(bytes);
    return 0;
}
