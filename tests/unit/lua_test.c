#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "route/lua.h"

static struct lua_look look_at(const char *text)
{
    return lua_look((struct bytes){text, strlen(text)});
}

static void expect(const char *text, unsigned calls, const char *outside)
{
    struct lua_look look = look_at(text);

    if (look.calls != calls || look.outside.length != strlen(outside) ||
        memcmp(look.outside.data ? look.outside.data : "", outside, look.outside.length) != 0)
        fail_msg("%s: %u calls, outside %.*s", text, look.calls, (int)look.outside.length,
                 look.outside.data ? look.outside.data : "");
}

static void keys_of_KEYS(void **state)
{
    (void)state;
    expect("return redis.call('get', KEYS[1])", 1, "");
    expect("redis.call('set', KEYS[1], ARGV[1]) redis.pcall(\"del\", KEYS[2])", 2, "");
    expect("return redis.call('zunionstore', KEYS[1], 2, KEYS[2], KEYS[3])", 1, "");
    expect("return redis.call('get', KEYS[1] .. ':lock')", 1, "");
    expect("return redis.call('get', KEYS[tonumber(ARGV[1])])", 1, "");
    expect("return redis.call('mget', unpack(KEYS))", 1, "");
    expect("return redis.call('publish', 'channel', ARGV[1])", 1, "");
    expect("return redis.call('time')", 1, "");
    expect("local key = compute() return redis.call('get', key)", 1, "");
}

static void keys_outside(void **state)
{
    (void)state;
    expect("return redis.call('get', 'config')", 1, "'config'");
    expect("return redis.call('GET', \"config\")", 1, "\"config\"");
    expect("return redis.call('get', [[config]])", 1, "[[config]]");
    expect("return redis.call('get', [==[a]]b]==])", 1, "[==[a]]b]==]");
    expect("return redis.pcall('get',ARGV[1])", 1, "ARGV[1]");
    expect("return redis.call('mget', KEYS[1], ARGV[2])", 1, "ARGV[2]");
    expect("return redis.call('mget', unpack(ARGV))", 1, "unpack(ARGV)");
    expect("return redis.call('get', 'user:' .. id)", 1, "'user:' .. id");
    expect("return redis.call('set', prefix .. ARGV[1], 1)", 1, "prefix .. ARGV[1]");
    expect("return redis.call('zunionstore', KEYS[1], 2, KEYS[2], 'other')", 1, "'other'");
    expect("return redis . call ( 'get' , --[[ which? ]] 'config' )", 1, "'config'");
    expect("return server.call('get', 'config')", 1, "'config'");
    expect("local call = redis.call return call('get', 'config')", 1, "");
    expect("return redis['call']('get', 'config')", 1, "");
    expect("redis.call('get', KEYS[1]) redis.call('get', 'a') redis.call('get', 'b')", 3, "'a'");
    expect("redis.call('set', KEYS[1], redis.call('get', 'inner'))", 2, "'inner'");
}

static void what_is_no_call(void **state)
{
    (void)state;
    expect("", 0, "");
    expect("return 1", 0, "");
    expect("-- redis.call('get', 'config')", 0, "");
    expect("--[[ redis.call('get', 'config') ]] return 1", 0, "");
    expect("--[==[ ]] redis.call('get', 'x') ]==] redis.call('get', 'y')", 1, "'y'");
    expect("return \"redis.call('get', 'config')\"", 0, "");
    expect("return 'it\\'s redis.call(\\'get\\', 1)'", 0, "");
    expect("return [[redis.call('get', 'config')]]", 0, "");
    expect("return redis.log(redis.LOG_WARNING, 'config')", 0, "");
    expect("return mredis.call('get', 'config')", 0, "");
    expect("return 'KEYS' .. redis.call('get', 'a KEYS b')", 1, "'a KEYS b'");
}

/* Nothing here ends as it should. */
static void odd_texts(void **state)
{
    static const char *const texts[] = {
        "redis.call(",
        "redis.call('get'",
        "redis.call('get",
        "redis.call('get', 'x",
        "redis.call('",
        "--",
        "--[",
        "--[[",
        "--[==",
        "[",
        "[=",
        "[==[",
        "'\\",
        "\"\\",
        "redis.call('get', [==[x]=]",
        "redis.call(,,,,)",
        "redis.call()",
        "redis.call(((((",
        "redis.call('get',)",
        "]]",
        "redis.",
        "redis.call(('get'), 'x')",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t length = 0; length <= strlen(texts[i]); length++) {
            char *copy = malloc(length + !length);

            memcpy(copy, texts[i], length);
            (void)lua_look((struct bytes){copy, length});
            free(copy);
        }
}

/* Every call is within the one before: looking at each to its end would take forever. */
static void deep_texts(void **state)
{
    enum { SIZE = LUA_TEXT_MOST + 4096 };
    static const char call[] = "redis.call(";
    char *text = malloc(SIZE);

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        text[i] = call[i % (sizeof call - 1)];
    assert_true(lua_look((struct bytes){text, SIZE}).calls > 1000);
    memset(text, '(', SIZE);
    memcpy(text, call, sizeof call - 1);
    assert_int_equal(lua_look((struct bytes){text, SIZE}).calls, 1);
    memset(text, ',', SIZE);
    memcpy(text, call, sizeof call - 1);
    assert_int_equal(lua_look((struct bytes){text, SIZE}).calls, 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_KEYS),    cmocka_unit_test(keys_outside),
        cmocka_unit_test(what_is_no_call), cmocka_unit_test(odd_texts),
        cmocka_unit_test(deep_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
