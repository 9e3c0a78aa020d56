/* A Redis client of a few lines: sends one command, waits for one reply. The tests look at servers
 * through it and not through hiredis, because the hiredis in their process is what they test. */
#ifndef SUPPORT_WIRE_H
#define SUPPORT_WIRE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct wire;

/* Null when nobody listens on that loopback port. */
struct wire *wire_open(int port);
struct wire *wire_open_unix(const char *path);
void wire_close(struct wire *wire);

/* Bytes exactly as given; false when the connection broke. */
bool wire_send(struct wire *wire, const char *bytes, size_t length);
bool wire_send_argv(struct wire *wire, int argc, const char *const *argv, const size_t *lengths);

/* One reply as it came, its length in *length (may be null), with a NUL behind it that does not
 * count; the caller frees it. Null when the connection broke or stayed silent for a minute. */
char *wire_receive(struct wire *wire, size_t *length);

/* The end of the reply that starts at `at`, or null while it is not all there. */
const char *wire_reply_end(const char *at, const char *end);

/* One command, its words separated by single spaces, and its reply as text (wire_text). Null when
 * the connection broke. */
char *wire_command(struct wire *wire, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
char *wire_commandv(struct wire *wire, const char *format, va_list args);

/* A reply as text, freed by the caller: strings and numbers bare, errors with their '-', nil as
 * "(nil)", the elements of arrays (nested ones too) a line each. */
char *wire_text(const char *reply);

#endif
