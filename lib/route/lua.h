/* A look at a script's text: which keys it names, as far as that can be seen without running it.
 * Pure. */
#ifndef REDISROUTE_ROUTE_LUA_H
#define REDISROUTE_ROUTE_LUA_H

#include "base/bytes.h"

#include <stdbool.h>

/* What is behind that is not looked at. */
enum { LUA_TEXT_MOST = 64 * 1024 };

struct lua_look {
    unsigned calls;       /* redis.call and redis.pcall, called or taken by another name */
    struct bytes outside; /* the first expression that is a key of such a call and cannot be one of
                             KEYS: a literal, or one with ARGV in it. In the text; empty: none */
};

/* Any bytes; what is no Lua has no calls. */
struct lua_look lua_look(struct bytes text);

#endif
