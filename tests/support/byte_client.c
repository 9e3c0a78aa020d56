#define _GNU_SOURCE
#include "byte_client.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "redisroute/redisroute.h"
#include "until.h"
#include "wire.h"

enum { ROOM = 65536 };

struct byte_client {
    redisRouteSession *session;
    char *bytes; /* received and not yet handed out */
    size_t length;
    size_t capacity;
};

struct byte_client *byte_open(int port)
{
    struct byte_client *client = calloc(1, sizeof *client);
    MUST(client);
    client->session = redisRouteOpen("127.0.0.1", port, NULL);
    ck_assert_msg(client->session != NULL, "%s", redisRouteErrorText(NULL));
    return client;
}

void byte_close(struct byte_client *client)
{
    redisRouteClose(client->session);
    free(client->bytes);
    free(client);
}

void byte_say_argv(struct byte_client *client, int argc, const char *const *argv,
                   const size_t *lengths)
{
    char *bytes = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&bytes, &length);
    MUST(out);
    fprintf(out, "*%d\r\n", argc);
    for (int i = 0; i < argc; i++) {
        size_t n = lengths ? lengths[i] : strlen(argv[i]);
        fprintf(out, "$%zu\r\n", n);
        fwrite(argv[i], 1, n, out);
        fputs("\r\n", out);
    }
    fclose(out);
    ck_assert_msg(redisRouteWrite(client->session, bytes, length) == 0, "%s",
                  redisRouteErrorText(client->session));
    free(bytes);
}

void byte_say(struct byte_client *client, const char *format, ...)
{
    enum { WORDS = 64 };
    const char *words[WORDS];
    char *line;
    int count = 0;
    va_list args;
    va_start(args, format);
    MUST(vasprintf(&line, format, args) >= 0);
    va_end(args);
    for (char *rest = line, *word; (word = strsep(&rest, " "));) {
        MUST(count < WORDS);
        words[count++] = word;
    }
    byte_say_argv(client, count, words, NULL);
    free(line);
}

static bool receive(struct byte_client *client, int limit_ms)
{
    if (client->capacity - client->length < ROOM) {
        client->capacity = client->capacity * 2 + ROOM;
        client->bytes = realloc(client->bytes, client->capacity);
        MUST(client->bytes);
    }
    ssize_t n = redisRouteReadWait(client->session, client->bytes + client->length,
                                   client->capacity - client->length, limit_ms);
    if (n > 0)
        client->length += (size_t)n;
    return n > 0;
}

char *byte_hear(struct byte_client *client, size_t *length)
{
    const char *end;
    while (!client->length ||
           !(end = wire_reply_end(client->bytes, client->bytes + client->length)))
        if (!receive(client, UNTIL_LIMIT_MS))
            return NULL;
    size_t size = (size_t)(end - client->bytes);
    char *reply = malloc(size + 1);
    MUST(reply);
    memcpy(reply, client->bytes, size);
    reply[size] = '\0';
    client->length -= size;
    memmove(client->bytes, end, client->length);
    if (length)
        *length = size;
    return reply;
}

bool byte_is_silent(struct byte_client *client, int ms)
{
    return client->length == 0 && !receive(client, ms);
}

void byte_hears_(const char *file, int line, struct byte_client *client, const char *expected)
{
    size_t wanted = strlen(expected);
    bool is_beginning = wanted > 0 && expected[wanted - 1] == '*';
    char *reply = byte_hear(client, NULL);
    if (reply == NULL)
        ck_abort_msg("%s:%d: expected %s, heard nothing: %s", file, line, expected,
                     redisRouteErrorText(client->session));
    if (is_beginning ? strncmp(reply, expected, wanted - 1) != 0 : strcmp(reply, expected) != 0)
        ck_abort_msg("%s:%d: expected %s, heard %s", file, line, expected, reply);
    free(reply);
}
