#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "die.h"

enum { SILENCE_LIMIT_S = 60, MAX_WORDS = 4096 };

struct wire {
    int fd;
    char *bytes; /* received and not yet handed out */
    size_t length;
    size_t capacity;
};

static struct wire *open_address(const struct sockaddr *address, socklen_t length)
{
    struct timeval limit = {.tv_sec = SILENCE_LIMIT_S};
    int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, address, length) < 0) {
        close(fd);
        return NULL;
    }
    struct wire *wire = calloc(1, sizeof *wire);
    MUST(wire);
    wire->fd = fd;
    return wire;
}

struct wire *wire_open(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return open_address((struct sockaddr *)&address, sizeof address);
}

struct wire *wire_open_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    MUST(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    return open_address((struct sockaddr *)&address, sizeof address);
}

void wire_close(struct wire *wire)
{
    if (!wire)
        return;
    close(wire->fd);
    free(wire->bytes);
    free(wire);
}

bool wire_send(struct wire *wire, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(wire->fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

bool wire_send_argv(struct wire *wire, int argc, const char *const *argv, const size_t *lengths)
{
    char *bytes;
    size_t length;
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
    bool is_sent = wire_send(wire, bytes, length);
    free(bytes);
    return is_sent;
}

const char *wire_reply_end(const char *at, const char *end)
{
    const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    if (!newline)
        return NULL;
    const char *rest = newline + 1;
    long count = strchr("$=!*~>%|", *at) ? strtol(at + 1, NULL, 10) : 0;
    if (strchr("$=!", *at) && count >= 0)
        return end - rest >= count + 2 ? rest + count + 2 : NULL;
    /* An attribute is followed by what it is about. */
    long values = strchr("$=!", *at) ? 0 : *at == '%' ? 2 * count : *at == '|' ? 2 * count + 1 : count;
    for (long i = 0; i < values && rest; i++)
        rest = wire_reply_end(rest, end);
    return rest;
}

static bool receive_more(struct wire *wire)
{
    if (wire->capacity - wire->length < 65536) {
        wire->capacity = wire->capacity * 2 + 65536;
        wire->bytes = realloc(wire->bytes, wire->capacity);
        MUST(wire->bytes);
    }
    ssize_t got = recv(wire->fd, wire->bytes + wire->length, wire->capacity - wire->length, 0);
    if (got == -1 && errno == EINTR)
        return true; /* an event loop's own signals */
    if (got <= 0)
        return false;
    wire->length += (size_t)got;
    return true;
}

char *wire_receive(struct wire *wire, size_t *length)
{
    const char *end;
    while (!wire->bytes || !(end = wire_reply_end(wire->bytes, wire->bytes + wire->length)))
        if (!receive_more(wire))
            return NULL;
    size_t size = (size_t)(end - wire->bytes);
    char *reply = malloc(size + 1);
    MUST(reply);
    memcpy(reply, wire->bytes, size);
    reply[size] = '\0';
    wire->length -= size;
    memmove(wire->bytes, end, wire->length);
    if (length)
        *length = size;
    return reply;
}

static const char *write_text(FILE *out, const char *reply, const char *separator)
{
    const char *rest = strchr(reply, '\n') + 1;
    long number = strtol(reply + 1, NULL, 10);
    if (*reply == '*' && number >= 0) {
        for (long i = 0; i < number; i++)
            rest = write_text(out, rest, i ? "\n" : separator);
        return rest;
    }
    fputs(separator, out);
    if (strchr("$*", *reply) && number < 0)
        fputs("(nil)", out);
    else if (*reply == '$')
        fwrite(rest, 1, (size_t)number, out);
    else
        fwrite(*reply == '-' ? reply : reply + 1, 1,
               (size_t)(rest - reply) - (*reply == '-' ? 2 : 3), out);
    return *reply == '$' && number >= 0 ? rest + number + 2 : rest;
}

char *wire_text(const char *reply)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    MUST(out);
    write_text(out, reply, "");
    fclose(out);
    return text;
}

char *wire_commandv(struct wire *wire, const char *format, va_list args)
{
    const char *words[MAX_WORDS];
    char *line;
    int argc = 0;
    MUST(vasprintf(&line, format, args) >= 0);
    for (char *rest = line, *word; (word = strsep(&rest, " "));) {
        MUST(argc < MAX_WORDS);
        words[argc++] = word;
    }
    char *reply = wire_send_argv(wire, argc, words, NULL) ? wire_receive(wire, NULL) : NULL;
    char *text = reply ? wire_text(reply) : NULL;
    free(reply);
    free(line);
    return text;
}

char *wire_command(struct wire *wire, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = wire_commandv(wire, format, args);
    va_end(args);
    return text;
}
