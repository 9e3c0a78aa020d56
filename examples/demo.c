/* A plain hiredis program. It was written for one Redis server and has never heard of clusters:
 *
 *     cc demo.c $(pkg-config --cflags --libs hiredis) -o demo && ./demo 127.0.0.1 6379
 */
#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

static int command(redisContext *c, const char *text, const char *key)
{
    redisReply *reply = redisCommand(c, text, key, key);
    if (!reply) {
        printf("  %s: the connection broke: %s\n", key, c->errstr);
        return 1;
    }
    int failed = reply->type == REDIS_REPLY_ERROR;
    printf("  %s: %s\n", key, reply->str ? reply->str : "(nil)");
    freeReplyObject(reply);
    return failed;
}

static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s HOST PORT\n", argv[0]);
        return 2;
    }
    redisContext *c = redisConnect(argv[1], atoi(argv[2]));
    if (!c || c->err) {
        printf("cannot connect: %s\n", c ? c->errstr : "out of memory");
        return 1;
    }
    int failures = 0;
    printf(" SET\n");
    for (int i = 0; i < 8; i++)
        failures += command(c, "SET %s value-of-%s", keys[i]);
    printf(" GET\n");
    for (int i = 0; i < 8; i++)
        failures += command(c, "GET %s", keys[i]);
    redisFree(c);
    printf(" %d of 16 commands failed\n", failures);
    return failures > 0;
}
