#!/usr/bin/env bash
# An application written for hiredis is built against the installed library, with pkg-config and
# with CMake, by whatever name it includes hiredis' header.
source "$(dirname "$0")/lib.sh"

unset DESTDIR
cmake --install "$REDISROUTE_BUILD" --prefix "$work/installed" >"$work/log" || fail "$(cat "$work/log")"
pkgconfig=$(dirname "$(find "$work/installed" -name redisroute.pc)")
libraries=$(dirname "$pkgconfig")
export PKG_CONFIG_PATH=$pkgconfig LD_LIBRARY_PATH=$libraries

application() {
    cat <<END
#include <$1>
#include <redisroute/redisroute.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    redisContext *c = redisConnectUnix("/nonexistent/socket");
    int failed = !c || c->err != REDIS_ERR_IO || strcmp(redisRouteVersion(), REDISROUTE_VERSION);
    printf("%s %s\n", redisRouteVersion(), c ? c->errstr : "");
    redisFree(c);
    return failed;
}
END
}

# Runs, and has libredisroute in the place of hiredis.
check() {
    "$1" || fail "$1 does not run"
    ldd "$1" >"$work/ldd"
    grep -q "libredisroute.so.0 => $libraries/" "$work/ldd" || fail "$1: $(cat "$work/ldd")"
    ! grep -q libhiredis "$work/ldd" || fail "$1: $(cat "$work/ldd")"
}

for header in hiredis/hiredis.h hiredis.h; do
    application "$header" >"$work/app.c"

    # shellcheck disable=SC2046
    "$CC" -Wall -Werror "$work/app.c" $(pkg-config --cflags --libs redisroute) -o "$work/app"
    check "$work/app"

    cat >"$work/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.20)
project(app C)
find_package(redisroute 0.1 REQUIRED)
add_executable(app app.c)
target_link_libraries(app redisroute::redisroute)
END
    cmake -S "$work" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/installed" >"$work/log" &&
        cmake --build "$work/build" >>"$work/log" || fail "$(cat "$work/log")"
    check "$work/build/app"
done

# The library to preload stands apart from where the loader looks, and .pc says where.
preload=$(readlink -f "$(pkg-config --variable=preload redisroute)")
[ -f "$preload" ] || fail "no file $(pkg-config --variable=preload redisroute)"
[ -z "$(find "$libraries" -maxdepth 1 -name 'libhiredis*')" ] || fail "a libhiredis in $libraries"

# A program that was linked with hiredis itself takes it.
if [ -n "$HIREDIS_LIBRARY" ]; then
    "$CC" -I"$HIREDIS_INCLUDE" -x c - -x none "$HIREDIS_LIBRARY" -o "$work/plain" <<'END'
#include <hiredis/hiredis.h>
int main(void)
{
    redisFree(redisConnectUnix("/nonexistent/socket"));
    return 0;
}
END
    LD_PRELOAD=$preload ldd "$work/plain" | grep hiredis >"$work/ldd"
    [ "$(wc -l <"$work/ldd")" = 1 ] && grep -qF "$preload (" "$work/ldd" ||
        fail "a program linked with hiredis, preloaded: $(cat "$work/ldd")"
    LD_PRELOAD=$preload "$work/plain"
fi

# The same for hiredis' TLS, where it has any.
if [ -n "$HIREDIS_SSL_LIBRARY" ]; then
    cat >"$work/app.c" <<'END'
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>

int main(void)
{
    redisContext *c = redisConnectUnix("/nonexistent/socket");
    redisSSLContext *ssl = redisCreateSSLContext(NULL, NULL, NULL, NULL, NULL, NULL);
    int failed = !c || !ssl || redisInitiateSSLWithContext(c, ssl) != REDIS_ERR;

    redisFree(c);
    redisFreeSSLContext(ssl);
    return failed;
}
END
    # shellcheck disable=SC2046
    "$CC" -Wall -Werror "$work/app.c" $(pkg-config --cflags --libs redisroute_ssl) -o "$work/app"
    check "$work/app"
    grep -q "libredisroute_ssl.so.0 => $libraries/" "$work/ldd" || fail "$(cat "$work/ldd")"
    [ -f "$(pkg-config --variable=preload redisroute_ssl)" ] ||
        fail "no file $(pkg-config --variable=preload redisroute_ssl)"
fi
