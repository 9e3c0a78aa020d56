/* Strong words about replies: a reply as text, and assertions that name command and reply when they
 * fail. The text form is that of wire_text: "OK", "-ERR …", "5", "(nil)", elements a line each. */
#ifndef SUPPORT_EXPECT_H
#define SUPPORT_EXPECT_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

/* Freed by the caller. */
char *reply_text(const redisReply *reply);
/* The text is what was expected. An error may be expected as a beginning and '*': servers of
 * different kinds and versions go on differently. */
bool reply_text_is(const char *text, const char *expected);

/* The reply as RESP, as a server would have sent it; nil arrays become nil strings, which hiredis
 * does not tell apart. Freed by the caller. */
char *reply_resp(const redisReply *reply, size_t *length);

/* redisCommand's reply is exactly this. */
#define EXPECT(context, expected, ...) expect_(__FILE__, __LINE__, context, expected, __VA_ARGS__)

/* It is an error whose text holds `part`. */
#define EXPECT_ERROR(context, part, ...)                                                           \
    expect_error_(__FILE__, __LINE__, context, part, __VA_ARGS__)

/* The next redisGetReply is exactly this; for pipelines. */
#define EXPECT_NEXT(context, expected) expect_next_(__FILE__, __LINE__, context, expected)

/* A reply at hand (not freed) is exactly this. */
#define EXPECT_REPLY(reply, expected) expect_reply_(__FILE__, __LINE__, reply, expected)

void expect_(const char *file, int line, redisContext *c, const char *expected, const char *format,
             ...);
void expect_error_(const char *file, int line, redisContext *c, const char *part,
                   const char *format, ...);
void expect_next_(const char *file, int line, redisContext *c, const char *expected);
void expect_reply_(const char *file, int line, const redisReply *reply, const char *expected);

#endif
