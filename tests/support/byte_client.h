/* A byte session of the library in the words of tests: commands with their words separated by single
 * spaces, replies exactly as they came. */
#ifndef SUPPORT_BYTE_CLIENT_H
#define SUPPORT_BYTE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct byte_client;

struct byte_client *byte_open(int port);
void byte_close(struct byte_client *client);

void byte_say(struct byte_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void byte_say_argv(struct byte_client *client, int argc, const char *const *argv,
                   const size_t *lengths);

/* One reply, or one push, whole; freed by the caller. Null when there is none for a minute, or the
 * session has ended. */
char *byte_hear(struct byte_client *client, size_t *length);

/* Nothing comes for so long. */
bool byte_is_silent(struct byte_client *client, int ms);

/* What comes next is exactly this; or begins so, when `expected` ends in '*'. */
#define BYTE_HEARS(client, expected) byte_hears_(__FILE__, __LINE__, client, expected)

/* A command, and what is said to it. */
#define BYTE_EXPECT(client, expected, ...)                                                         \
    do {                                                                                           \
        byte_say(client, __VA_ARGS__);                                                             \
        BYTE_HEARS(client, expected);                                                              \
    } while (0)

void byte_hears_(const char *file, int line, struct byte_client *client, const char *expected);

#endif
