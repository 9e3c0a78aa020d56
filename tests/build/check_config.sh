#!/usr/bin/env bash
# examples/check-config.c, built as a user builds it, says what redisRouteCheckConfig says, and what
# the library says of the same files in its log when a program starts.
source "$(dirname "$0")/lib.sh"

link() { # PROGRAM SOURCE
    "$CC" -Wall -Wextra -Werror -I"$REDISROUTE_SOURCE/include" -isystem "$HIREDIS_INCLUDE" "$2" \
        "$REDISROUTE_LIBRARY" -Wl,-rpath,"$(dirname "$REDISROUTE_LIBRARY")" -o "$work/$1"
}
link check-config "$REDISROUTE_SOURCE/examples/check-config.c"
cat >"$work/program.c" <<'END'
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include <redisroute/redisroute.h>

int main(void)
{
    char why[1024];

    redisFree(redisConnect("127.0.0.1", 1));
    if (redisRouteCheckConfig(getenv("REDISROUTE_CONFIG"), why, sizeof why) != 0)
        puts(why);
    return 0;
}
END
link program "$work/program.c"

# What is said of these files by check-config is EXPECTED (empty: they are good), and so is what the
# others say.
same() { # EXPECTED FILE...
    local expected=$1 files said
    shift
    files=$(IFS=:; echo "$*")
    if said=$("$work/check-config" "$@" 2>&1); then
        [ -z "$expected" ] && [ "$said" = "$files: good" ] || fail "$files: check-config takes it, '$said'"
    else
        [ "$said" = "$expected" ] || fail "$files: check-config says '$said', and not '$expected'"
    fi
    rm -f "$work/log"
    said=$(REDISROUTE_CONFIG=$files REDISROUTE_LOG=info:$work/log "$work/program")
    [ "$said" = "$expected" ] || fail "$files: redisRouteCheckConfig says '$said', and not '$expected'"
    if [ -z "$expected" ]; then
        ! grep -q 'error:' "$work/log" || fail "$files: the log says $(cat "$work/log")"
    else
        grep -qF -e "$expected" "$work/log" || fail "$files: the log says $(cat "$work/log")"
    fi
}

fixtures=$REDISROUTE_SOURCE/tests/config
same '' "$fixtures/proxy.yaml" "$fixtures/cluster.yaml"
same '' "$fixtures/own.yaml"
same '' "$fixtures/routes.yaml" "$fixtures/routes_istio.yaml"
place=$(grep -n -m1 'cluster: custom-redis-cluster' "$fixtures/proxy.yaml")
line=${place%%:*}
text=${place#*:}
before=${text%%custom-redis-cluster*}
same "$fixtures/proxy.yaml:$line:$((${#before} + 1)): spec.configPatches[0].patch.value.typed_config.prefix_routes.catch_all_route.cluster: there is no cluster \"custom-redis-cluster\"; no cluster is defined" \
    "$fixtures/proxy.yaml"

cd "$work"
printf 'zone: a\n' >zone
printf '\n# the same again\nzone: b\n' >again
printf 'read_polcy: ANY\n' >misspelt
printf '{"failover_timeout": 5}' >json
printf 'zone: \377' >bytes
: >empty
mkdir folder
ln -s misspelt link
ln -s nowhere dangling
same '' zone
same '' empty zone
same 'none: No such file or directory' none
same 'none: No such file or directory' zone none
same 'again:3:7: zone: is said already, in zone:1' zone again
same 'misspelt:1:1: there is no field "read_polcy" here; is "read_policy" meant?' zone misspelt
same 'link:1:1: there is no field "read_polcy" here; is "read_policy" meant?' link
same 'dangling: No such file or directory' dangling
same 'folder: Is a directory' folder
same 'json:1:22: failover_timeout: "5" is not a duration: a number and its unit, such as 250ms, 0.5s, 5s, 1m or 1h' json
same 'bytes:1:7: no text in UTF-8 or UTF-16: invalid leading UTF-8 octet' bytes

[ "$("$work/check-config" 2>&1)" = "usage: $work/check-config FILE..." ] || fail "no usage is said"
