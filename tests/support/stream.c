#define _GNU_SOURCE
#include "stream.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "die.h"

enum { KEYS = 30, TAGS = 8, KEYS_OF_TAG = 4, LONG_VALUE = 100000, SHOWN = 40 };

/* @k any key, @t a key of this command's tag (all @t of a command lie in one slot), @v a value, @n
 * a small number, @f a field. @k and @t keys are of all types, so WRONGTYPE is common. */
static const char *const templates[] = {
    "SET @k @v",
    "SET @k @n",
    "SET @k @v NX",
    "GET @k",
    "GET @k",
    "GETSET @k @v",
    "GETDEL @k",
    "APPEND @k @v",
    "STRLEN @k",
    "INCR @k",
    "INCRBY @k @n",
    "DECRBY @k @n",
    "SETRANGE @k @n @v",
    "GETRANGE @k @n -1",
    "SETBIT @k @n 1",
    "BITCOUNT @k",
    "LPUSH @k @v @v",
    "RPUSH @k @v",
    "LPOP @k",
    "RPOP @k @n",
    "LRANGE @k 0 -1",
    "LLEN @k",
    "LINDEX @k @n",
    "SADD @k @f @f @f",
    "SREM @k @f",
    "SISMEMBER @k @f",
    "SCARD @k",
    "SORT @k ALPHA",
    "HSET @k @f @s",
    "HGET @k @f",
    "HDEL @k @f",
    "HGETALL @k",
    "HINCRBY @k @f @n",
    "HMGET @k @f @f @f",
    "ZADD @k @n @f",
    "ZINCRBY @k @n @f",
    "ZRANGE @k 0 -1 WITHSCORES",
    "ZSCORE @k @f",
    "ZREM @k @f",
    "XADD @k @n-1 @f @v",
    "XLEN @k",
    "XRANGE @k - +",
    "PFADD @k @f @f",
    "GEOADD @k 13.5 38.1 @f",
    "GEODIST @k @f @f",
    "TYPE @k",
    "OBJECT ENCODING @k",
    "PERSIST @k",
    "EXISTS @k",
    "DEL @k",
    "DEL @k",
    "MGET @k @k @k @k @k",
    "MGET @k @k",
    "MSET @k @v @k @v @k @n",
    "DEL @k @k @k",
    "UNLINK @k @k",
    "EXISTS @k @k @k @k",
    "TOUCH @k @k @k",
    "MGET @t @t @t",
    "MSET @t @v @t @n",
    "RENAME @t @t",
    "RENAMENX @t @t",
    "COPY @t @t REPLACE",
    "MSETNX @t @v @t @v",
    "LMOVE @t @t LEFT RIGHT",
    "SMOVE @t @t @f",
    "SADD @t @f @f",
    "SINTERCARD 2 @t @t",
    "SUNIONSTORE @t @t @t",
    "ZADD @t @n @f @n @f",
    "ZUNIONSTORE @t 2 @t @t",
    "ZRANGESTORE @t @t 0 -1",
    "BITOP OR @t @t @t",
    "PFADD @t @f",
    "PFCOUNT @t @t",
    "LMPOP 2 @t @t LEFT",
    "RPUSH @t @v @v",
    "DEL @t",
    "EVAL return{KEYS[1],ARGV[1],redis.call('exists',KEYS[2])} 2 @t @t @v",
    "EVAL return#ARGV 0 @v @v",
    "PING",
    "PING @v",
    "ECHO @v",
    "GET",
    "SET @k",
    "MSET @k",
    "DEL",
    "INCRBY @k @f",
    "NOSUCHCOMMAND @f",
    "DBSIZE", /* the last: see is_moving */
};

enum { TEMPLATES = sizeof templates / sizeof *templates };

uint64_t stream_seed(void)
{
    const char *given = getenv("REDISROUTE_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003u + getpid();
    printf("seed: REDISROUTE_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

void stream_init(struct stream *stream, uint64_t seed)
{
    *stream = (struct stream){.state = seed};
}

/* splitmix64 */
unsigned stream_random(struct stream *stream, unsigned limit)
{
    uint64_t z = stream->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (unsigned)((z ^ (z >> 31)) % limit);
}

static void write_value(struct stream *stream, FILE *out)
{
    unsigned kind = stream_random(stream, 100);
    unsigned length = kind == 0 ? LONG_VALUE : stream_random(stream, kind < 50 ? 8 : 120);
    for (unsigned i = 0; i < length; i++)
        fputc((int)stream_random(stream, 256), out);
}

static void write_placeholder(struct stream *stream, FILE *out, char kind, unsigned tag)
{
    switch (kind) {
    case 'k':
        fprintf(out, "key:%u", stream_random(stream, KEYS));
        break;
    case 't':
        fprintf(out, "{tag:%u}:%u", tag, stream_random(stream, KEYS_OF_TAG));
        break;
    case 'n':
        fprintf(out, "%u", stream_random(stream, 20));
        break;
    case 'f':
        fprintf(out, "f%u", stream_random(stream, 10));
        break;
    case 's':
        fprintf(out, "value-%u", stream_random(stream, 1000));
        break;
    case 'v':
        write_value(stream, out);
        break;
    default:
        die("stream: no placeholder @%c", kind);
    }
}

/* Some commands in lower case: the library must not care. */
static void write_word(struct stream *stream, FILE *out, const char *word, size_t length,
                       unsigned tag)
{
    bool is_lower = stream_random(stream, 8) == 0;
    for (size_t i = 0; i < length; i++) {
        if (word[i] == '@' && i + 1 < length)
            write_placeholder(stream, out, word[++i], tag);
        else
            fputc(is_lower && isupper((unsigned char)word[i]) ? tolower(word[i]) : word[i], out);
    }
}

void stream_next(struct stream *stream, struct stream_command *command)
{
    size_t ends[STREAM_MAX_ARGS], size;
    unsigned choices = stream->is_moving ? TEMPLATES - 1 : TEMPLATES;
    const char *word = templates[stream_random(stream, choices)];
    unsigned tag = stream_random(stream, TAGS);
    FILE *out = open_memstream(&command->bytes, &size);
    MUST(out);
    command->argc = 0;
    while (*word) {
        size_t length = strcspn(word, " ");
        write_word(stream, out, word, length, tag);
        ends[command->argc++] = (size_t)ftell(out);
        word += length + (word[length] == ' ');
    }
    fclose(out);
    for (int i = 0; i < command->argc; i++) {
        size_t start = i ? ends[i - 1] : 0;
        command->argv[i] = command->bytes + start;
        command->lengths[i] = ends[i] - start;
    }
}

void stream_command_deinit(struct stream_command *command)
{
    free(command->bytes);
}

char *stream_command_text(const struct stream_command *command)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    MUST(out);
    for (int i = 0; i < command->argc; i++) {
        fputs(i ? " " : "", out);
        for (size_t j = 0; j < command->lengths[i] && j < SHOWN; j++) {
            unsigned char byte = (unsigned char)command->argv[i][j];
            fprintf(out, isprint(byte) ? "%c" : "\\x%02x", byte);
        }
    }
    fclose(out);
    return text;
}
