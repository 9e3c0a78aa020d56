#define _GNU_SOURCE
#include "expect.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"

/* Long replies are shown by their beginning. */
enum { SHOWN = 200 };

static void write_resp(FILE *out, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_STRING:
        fprintf(out, "$%zu\r\n", (size_t)reply->len);
        fwrite(reply->str, 1, (size_t)reply->len, out);
        fputs("\r\n", out);
        break;
    case REDIS_REPLY_ARRAY:
        fprintf(out, "*%zu\r\n", reply->elements);
        for (size_t i = 0; i < reply->elements; i++)
            write_resp(out, reply->element[i]);
        break;
    case REDIS_REPLY_INTEGER:
        fprintf(out, ":%lld\r\n", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        fputs("$-1\r\n", out);
        break;
    default:
        fprintf(out, "%c%s\r\n", reply->type == REDIS_REPLY_ERROR ? '-' : '+', reply->str);
        break;
    }
}

char *reply_resp(const redisReply *reply, size_t *length)
{
    char *resp;
    FILE *out = open_memstream(&resp, length);
    MUST(out);
    write_resp(out, reply);
    fclose(out);
    return resp;
}

static void write_text(FILE *out, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements; i++) {
            fputs(i ? "\n" : "", out);
            write_text(out, reply->element[i]);
        }
        break;
    case REDIS_REPLY_INTEGER:
        fprintf(out, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        fputs("(nil)", out);
        break;
    default:
        fputs(reply->type == REDIS_REPLY_ERROR ? "-" : "", out);
        fwrite(reply->str, 1, (size_t)reply->len, out);
        break;
    }
}

char *reply_text(const redisReply *reply)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    MUST(out);
    write_text(out, reply);
    fclose(out);
    return text;
}

static redisReply *must_reply(const char *file, int line, redisContext *c, const char *what,
                              redisReply *reply)
{
    if (!reply)
        ck_abort_msg("%s:%d: %.*s: no reply, err %d, %s", file, line, SHOWN, what, c->err,
                     c->errstr);
    return reply;
}

bool reply_text_is(const char *text, const char *expected)
{
    size_t length = strlen(expected);
    if (text[0] == '-' && length > 0 && expected[length - 1] == '*')
        return !strncmp(text, expected, length - 1);
    return !strcmp(text, expected);
}

static void compare(const char *file, int line, const char *what, const redisReply *reply,
                    const char *expected)
{
    char *text = reply_text(reply);
    if (!reply_text_is(text, expected))
        ck_abort_msg("%s:%d: %.*s: got \"%.*s\" instead of \"%.*s\"", file, line, SHOWN, what,
                     SHOWN, text, SHOWN, expected);
    free(text);
}

void expect_(const char *file, int line, redisContext *c, const char *expected, const char *format,
             ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = must_reply(file, line, c, format, redisvCommand(c, format, args));
    va_end(args);
    compare(file, line, format, reply, expected);
    freeReplyObject(reply);
}

void expect_error_(const char *file, int line, redisContext *c, const char *part,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = must_reply(file, line, c, format, redisvCommand(c, format, args));
    va_end(args);
    char *text = reply_text(reply);
    if (reply->type != REDIS_REPLY_ERROR || !strstr(text, part))
        ck_abort_msg("%s:%d: %s: got \"%.*s\" instead of an error with \"%s\"", file, line, format,
                     SHOWN, text, part);
    free(text);
    freeReplyObject(reply);
}

void expect_next_(const char *file, int line, redisContext *c, const char *expected)
{
    void *reply = NULL;
    redisGetReply(c, &reply);
    must_reply(file, line, c, "pipeline", reply);
    compare(file, line, "pipeline", reply, expected);
    freeReplyObject(reply);
}

void expect_reply_(const char *file, int line, const redisReply *reply, const char *expected)
{
    if (!reply)
        ck_abort_msg("%s:%d: a null reply instead of \"%.*s\"", file, line, SHOWN, expected);
    compare(file, line, "reply", reply, expected);
}
