/* A plain hiredis program that goes on: twenty times a second it writes a key and reads it back.
 * SIGTERM ends it; it says then how many of its commands failed.
 *
 *     cc loop.c $(pkg-config --cflags --libs hiredis) -o loop && ./loop 127.0.0.1 6379 key
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static int answers(redisContext *c, const char *command, const char *key, const char *expected)
{
    redisReply *reply = redisCommand(c, command, key);
    int right = reply && reply->str && !strcmp(reply->str, expected);

    freeReplyObject(reply);
    return right;
}

int main(int argc, char **argv)
{
    enum { PAUSE_US = 50000 };
    long commands = 0, failed = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: %s HOST PORT KEY\n", argv[0]);
        return 2;
    }
    redisContext *c = redisConnect(argv[1], atoi(argv[2]));
    if (!c || c->err) {
        printf("cannot connect: %s\n", c ? c->errstr : "out of memory");
        return 1;
    }
    signal(SIGTERM, stop);
    failed += !answers(c, "SET %s value", argv[3], "OK");
    for (int i = 0; i < 200 && !answers(c, "GET %s", argv[3], "value"); i++)
        usleep(PAUSE_US); /* a replica may be a moment behind */
    for (commands = 1; !stopped && !c->err; commands += 2) {
        failed += !answers(c, "SET %s value", argv[3], "OK");
        failed += !answers(c, "GET %s", argv[3], "value");
        usleep(PAUSE_US);
    }
    redisFree(c);
    printf("%ld of %ld commands failed\n", failed, commands);
    return failed > 0;
}
