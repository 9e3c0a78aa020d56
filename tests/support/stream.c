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
 * a small number, @f a field. @k and @t keys are of all types, so WRONGTYPE is common. @a a key that
 * never is, @e one that expires in a day, @i the beginning of two sets of numbers in one slot, @z a
 * sorted set that is small: of such SCAN has an order. @l the text of a library of functions. */
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
    "BITFIELD @k SET u8 @n @n GET u4 @n",
    "BITFIELD_RO @k GET u8 @n",
    "BITPOS @k 1",
    "GETBIT @k @n",
    "DECR @k",
    "INCRBYFLOAT @k 1.5",
    "GETEX @k PERSIST",
    "SUBSTR @k 0 @n",
    "SETNX @k @v",
    "LCS @a @a",
    "SETEX @e 100000 @v",
    "PSETEX @e 100000000 @v",
    "EXPIRE @e 100000",
    "PEXPIRE @e 100000000",
    "EXPIREAT @k 4102444800",
    "PEXPIREAT @k 4102444800000",
    "EXPIRETIME @k",
    "PEXPIRETIME @k",
    "TTL @a",
    "PTTL @a",
    "DUMP @a",
    "RESTORE @k 0 @s",
    "MIGRATE 127.0.0.1 1 @a 0 10",
    "OBJECT FREQ @a",
    "OBJECT IDLETIME @a",
    "OBJECT REFCOUNT @a",
    "MEMORY USAGE @a",
    "BLPOP @t @t 0.001",
    "BRPOP @t 0.001",
    "BLMOVE @t @t LEFT LEFT 0.001",
    "BRPOPLPUSH @t @t 0.001",
    "BLMPOP 0.001 2 @t @t LEFT",
    "BZPOPMIN @t 0.001",
    "BZPOPMAX @t @t 0.001",
    "BZMPOP 0.001 1 @t MAX",
    "LINSERT @k BEFORE @v @v",
    "LPOS @k @v",
    "LPUSHX @k @v",
    "RPUSHX @k @v",
    "LREM @k 0 @v",
    "LSET @k @n @v",
    "LTRIM @k 0 @n",
    "RPOPLPUSH @t @t",
    "HEXISTS @k @f",
    "HINCRBYFLOAT @k @f 0.5",
    "HKEYS @k",
    "HVALS @k",
    "HLEN @k",
    "HMSET @k @f @s @f @s",
    "HSETNX @k @f @s",
    "HSTRLEN @k @f",
    "HSCAN @k 0",
    "HRANDFIELD @a",
    "SADD @i1 @n @n",
    "SADD @i2 @n @n",
    "SMEMBERS @i1",
    "SINTER @i1 @i2",
    "SUNION @i1 @i2",
    "SDIFF @i1 @i2",
    "SREM @i1 @n",
    "SDIFFSTORE @t @t @t",
    "SINTERSTORE @t @t @t",
    "SMISMEMBER @k @f @f",
    "SPOP @a",
    "SRANDMEMBER @a",
    "SSCAN @a 0",
    "SORT_RO @k ALPHA",
    "ZCARD @k",
    "ZCOUNT @k 0 @n",
    "ZDIFF 2 @t @t",
    "ZDIFFSTORE @t 2 @t @t",
    "ZINTER 2 @t @t WITHSCORES",
    "ZINTERCARD 2 @t @t",
    "ZINTERSTORE @t 2 @t @t",
    "ZUNION 2 @t @t WITHSCORES",
    "ZLEXCOUNT @k - +",
    "ZMPOP 2 @t @t MIN",
    "ZMSCORE @k @f @f",
    "ZPOPMAX @k",
    "ZPOPMIN @k",
    "ZRANDMEMBER @a",
    "ZRANGEBYLEX @k - +",
    "ZRANGEBYSCORE @k 0 @n",
    "ZRANK @k @f",
    "ZREMRANGEBYLEX @k - +", /* by part of the members: of several scores no server promises what that is */
    "ZREMRANGEBYRANK @k @n -1",
    "ZREMRANGEBYSCORE @k 15 @n",
    "ZREVRANGE @k 0 -1",
    "ZREVRANGEBYLEX @k + -",
    "ZREVRANGEBYSCORE @k @n 0",
    "ZREVRANK @k @f",
    "ZADD @z @n @f",
    "ZSCAN @z 0",
    "GEOHASH @k @f",
    "GEOPOS @k @f @f",
    "GEORADIUS @k 13 38 200 km ASC",
    "GEORADIUS_RO @k 13 38 200 km",
    "GEORADIUSBYMEMBER @k @f 200 km",
    "GEORADIUSBYMEMBER_RO @k @f 200 km",
    "GEOSEARCH @k FROMLONLAT 13 38 BYRADIUS 200 km ASC",
    "GEOSEARCHSTORE @t @t FROMLONLAT 13 38 BYRADIUS 200 km",
    "PFMERGE @t @t @t",
    "XGROUP CREATE @k g 0",
    "XGROUP CREATECONSUMER @k g c",
    "XGROUP DELCONSUMER @k g c",
    "XGROUP SETID @k g 0",
    "XGROUP DESTROY @k g",
    "XREADGROUP GROUP g c COUNT 3 STREAMS @k >",
    "XACK @k g @n-1",
    "XAUTOCLAIM @k g d 0 0",
    "XCLAIM @k g d 0 @n-1",
    "XPENDING @k g",
    "XINFO STREAM @k",
    "XINFO GROUPS @k",
    "XINFO CONSUMERS @a g",
    "XREAD COUNT 5 STREAMS @t @t 0 0",
    "XREVRANGE @k + -",
    "XDEL @k @n-1",
    "XTRIM @k MAXLEN @n",
    "XSETID @k 30-1",
    "EVAL_RO return#KEYS 2 @t @t",
    "EVALSHA 0000000000000000000000000000000000000000 1 @k",
    "EVALSHA_RO 0000000000000000000000000000000000000000 1 @k",
    "FCALL nofunction 1 @k",
    "FCALL_RO nofunction 1 @k",
    "SPUBLISH @k @s",
    /* What not every server knows. Remaining times are shown of @a only; fields of @e live for long,
     * and stand in the order in which they will expire, which is a matter of milliseconds. */
    "DEL @e",
    "HSET @e @f @s @f @s",
    "HEXPIRE @e 100000 FIELDS 1 @f",
    "HPEXPIRE @e 100000000 FIELDS 2 @f @f",
    "HLEN @e",
    "HEXPIREAT @k 4102444800 FIELDS 1 @f",
    "HEXPIREAT @k 10 FIELDS 1 @f",
    "HPEXPIREAT @k 4102444800000 FIELDS 1 @f",
    "HTTL @a FIELDS 1 @f",
    "HPTTL @a FIELDS 1 @f",
    "HEXPIRETIME @k FIELDS 1 @f",
    "HPEXPIRETIME @k FIELDS 1 @f",
    "HPERSIST @k FIELDS 1 @f",
    "HGETEX @k PERSIST FIELDS 1 @f",
    "HGETDEL @k FIELDS 1 @f",
    "HSETEX @k FIELDS 1 @f @s",
    "VADD @k VALUES 2 1 @n @f",
    "VADD @k VALUES 2 @n 1 @f SETATTR @n",
    "VCARD @k",
    "VDIM @k",
    "VEMB @k @f",
    "VGETATTR @k @f",
    "VSETATTR @k @f @n",
    "VISMEMBER @k @f",
    "VREM @k @f",
    "VSIM @k ELE f1 COUNT 0",
    "VINFO @a",
    "VLINKS @a @f",
    "VRANDMEMBER @a",
    /* Without a key. */
    "ACL",
    "ACL CAT nosuch",
    "ACL DRYRUN default GET @f",
    "ACL GETUSER nobody",
    "ACL HELP",
    "CLIENT HELP",
    "COMMAND COUNT",
    "COMMAND DOCS get",
    "COMMAND GETKEYS MSET @f @s @f @s",
    "COMMAND GETKEYSANDFLAGS SET @f @s",
    "COMMAND HELP",
    "COMMAND INFO get nosuch",
    "COMMAND LIST FILTERBY PATTERN getse*",
    "COMMANDLOG",
    "COMMANDLOG HELP",
    "CONFIG",
    "CONFIG GET maxmemory-samples",
    "CONFIG HELP",
    "CONFIG NOSUCH",
    "FUNCTION",
    "FUNCTION HELP",
    "FUNCTION LIST",
    "FUNCTION DUMP",
    "FUNCTION STATS",
    "LATENCY",
    "LATENCY HELP",
    "LATENCY DOCTOR",
    "LATENCY GRAPH nothing",
    "LATENCY HISTOGRAM nothing",
    "LATENCY HISTORY nothing",
    "LATENCY LATEST",
    "MEMORY",
    "MEMORY HELP",
    "MODULE",
    "MODULE HELP",
    "MODULE LIST",
    "OBJECT",
    "OBJECT HELP",
    "PUBLISH @f @s",
    "PUBSUB",
    "PUBSUB HELP",
    "SCRIPT",
    "SCRIPT HELP",
    "SLOWLOG",
    "SLOWLOG HELP",
    "XGROUP",
    "XGROUP HELP",
    "XINFO",
    "XINFO HELP",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 @k",
    "FCALL of_stream 1 @k @s",
    "FCALL_RO of_stream 1 @k @s",
};

/* What asks several nodes, or is about the connection: not between MULTI and EXEC, and not while
 * slots move. */
static const char *const outside[] = {
    "DBSIZE",
    "ACL DELUSER stream",
    "ACL LOG RESET",
    "ACL SETUSER stream on nopass ~* +get",
    "ACL GETUSER stream",
    "ACL LIST",
    "ACL USERS",
    "ACL WHOAMI",
    "AUTH @s",
    "CLIENT",
    "CLIENT CACHING YES",
    "CLIENT GETNAME",
    "CLIENT GETREDIR",
    "CLIENT KILL ID 999999999",
    "CLIENT NO-EVICT OFF",
    "CLIENT NO-TOUCH OFF",
    "CLIENT PAUSE 0",
    "CLIENT SETINFO LIB-VER @s",
    "CLIENT SETNAME @f",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKINGINFO",
    "CLIENT UNBLOCK 999999999",
    "CLIENT UNPAUSE",
    "CONFIG RESETSTAT",
    "CONFIG SET maxmemory-samples 5",
    "FLUSHALL",
    "FLUSHDB",
    "FUNCTION FLUSH",
    "FUNCTION KILL",
    "FUNCTION LOAD REPLACE @l",
    "HELLO 9",
    "KEYS nothing*",
    "LATENCY RESET",
    "MEMORY PURGE",
    "PUBSUB CHANNELS",
    "PUBSUB NUMPAT",
    "PUBSUB NUMSUB @f none",
    "PUBSUB SHARDCHANNELS",
    "PUBSUB SHARDNUMSUB @f none",
    "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db @s",
    "SCRIPT FLUSH",
    "SCRIPT KILL",
    "SCRIPT LOAD return'@f'",
    "SCRIPT LOAD return'@f'",
    "SLOWLOG RESET",
    "WAIT 0 1",
};

/* What shows how a value is kept, which MIGRATE does not keep. */
static const char *const still[] = {"OBJECT ENCODING @k"};

static const char library[] = "#!lua name=streams\n"
                              "redis.register_function{function_name='of_stream',"
                              "callback=function(keys,args) return {keys[1],args[1]} end,"
                              "flags={'no-writes'}}";

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

const char *stream_template(size_t i)
{
    if (i < COUNT_OF(templates))
        return templates[i];
    i -= COUNT_OF(templates);
    if (i < COUNT_OF(still))
        return still[i];
    i -= COUNT_OF(still);
    return i < COUNT_OF(outside) ? outside[i] : NULL;
}

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

static const char *of_one_slot(const struct stream *stream)
{
    return stream->is_one_slot ? "{tag:0}" : "";
}

static void write_placeholder(struct stream *stream, FILE *out, char kind, unsigned tag)
{
    switch (kind) {
    case 'k':
        fprintf(out, "%skey:%u", of_one_slot(stream), stream_random(stream, KEYS));
        break;
    case 't':
        fprintf(out, "{tag:%u}:%u", stream->is_one_slot ? 0 : tag, stream_random(stream, KEYS_OF_TAG));
        break;
    case 'a':
        fprintf(out, "%sabsent", of_one_slot(stream));
        break;
    case 'e':
        fprintf(out, "%svolatile", of_one_slot(stream));
        break;
    case 'i':
        fprintf(out, stream->is_one_slot ? "{tag:0}i" : "{i}");
        break;
    case 'z':
        fprintf(out, "%sscores", of_one_slot(stream));
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
    case 'l':
        fputs(library, out);
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

/* In the order of stream_template(). */
static const char *choose_template(struct stream *stream)
{
    size_t count = COUNT_OF(templates);
    if (!stream->is_moving)
        count += COUNT_OF(still);
    if (!stream->is_moving && !stream->is_queueing)
        count += COUNT_OF(outside);
    return stream_template(stream_random(stream, (unsigned)count));
}

/* MULTI and its end around some of the commands. */
static const char *choose_in_transactions(struct stream *stream)
{
    static const char *const ends[] = {"EXEC", "EXEC", "EXEC", "DISCARD"};
    static const char *const around[] = {"WATCH @k", "UNWATCH", "EXEC", "DISCARD"};

    if (stream->is_queueing ? stream_random(stream, 6) == 0 : stream_random(stream, 12) == 0) {
        stream->is_queueing = !stream->is_queueing;
        return stream->is_queueing ? "MULTI" : ends[stream_random(stream, 4)];
    }
    if (stream_random(stream, 60) == 0)
        return stream->is_queueing ? "MULTI" : around[stream_random(stream, 4)];
    return choose_template(stream);
}

static const char *choose(struct stream *stream)
{
    if (stream->is_one_slot)
        return choose_in_transactions(stream);
    return choose_template(stream);
}

void stream_next(struct stream *stream, struct stream_command *command)
{
    size_t ends[STREAM_MAX_ARGS], size;
    const char *word = choose(stream);
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
