#!/usr/bin/env bash
# The library is built from hiredis' sources, those of another version than this system has, and works.
source "$(dirname "$0")/lib.sh"
source "$REDISROUTE_SOURCE/tests/mirror.sh"

tree=$REDISROUTE_BUILD/hiredis-source

# Debian 12 has 0.14, Debian 13 has 1.2.
other=bookworm
if grep -q 'define HIREDIS_MAJOR 0' "$HIREDIS_INCLUDE/hiredis/hiredis.h"; then
    other=trixie
fi

# By apt, which checks them; the machine's own sources and lists stay as they are.
fetch() {
    local mirror options=()
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || fail "no Debian mirror in /etc/apt"
    mkdir -p "$work/lists/partial" "$work/cache"
    echo "deb-src $mirror $other main" >"$work/sources.list"
    for option in "Dir::Etc::SourceList=$work/sources.list" Dir::Etc::SourceParts=/dev/null \
        "Dir::State::Lists=$work/lists" "Dir::Cache=$work/cache" APT::Sandbox::User=root; do
        options+=(-o "$option")
    done
    cd "$work"
    apt-get "${options[@]}" update >"$work/log" 2>&1 &&
        apt-get "${options[@]}" source --download-only hiredis >>"$work/log" 2>&1 ||
        fail "no sources of hiredis: $(cat "$work/log")"
    mkdir "$work/unpacked"
    tar -xf "$work"/hiredis_*.orig.tar.* -C "$work/unpacked" --strip-components=1
    rm -rf "$tree"
    mkdir -p "$tree"
    mv "$work/unpacked" "$tree/hiredis"
}

[ -e "$tree/hiredis/hiredis.h" ] || fetch
build=$tree/build
{
    cmake -S "$REDISROUTE_SOURCE" -B "$build" -DREDISROUTE_HIREDIS_SOURCE="$tree/hiredis" \
        -DREDISROUTE_WERROR=ON -DREDISROUTE_TESTS=OFF &&
        cmake --build "$build" --parallel 2
} >"$work/log" 2>&1 || fail "$(tail -50 "$work/log")"

# What is checked of this system's hiredis holds for that one.
# From sources the library is built without that for hiredis' own TLS.
export REDISROUTE_BUILD=$build HIREDIS_LIBRARY= HIREDIS_SSL_LIBRARY=
export HIREDIS_INCLUDE=$build/hiredis/include
export REDISROUTE_LIBRARY=$build/libredisroute.so HIREDIS_COPY=$build/hiredis/libhiredis.a
export HIREDIS_ARCHIVE=$build/hiredis/original/libhiredis.a
REDISROUTE_PRELOAD=$(echo "$build"/preload/libhiredis.so.*)
export REDISROUTE_PRELOAD
for check in seam exports allocators; do
    "$(dirname "$0")/$check.sh" || fail "$check, with $other's hiredis"
done
soname=$(sed -n 's/#define HIREDIS_SONAME *//p' "$tree/hiredis/hiredis.h")
[ "$(basename "$REDISROUTE_PRELOAD")" = "libhiredis.so.$soname" ] ||
    fail "$REDISROUTE_PRELOAD, and not libhiredis.so.$soname"

# A program of that hiredis, on a cluster.
"$CC" "$REDISROUTE_SOURCE/examples/demo.c" -I"$HIREDIS_INCLUDE" "$REDISROUTE_LIBRARY" \
    "-Wl,-rpath,$build" -o "$work/demo"
coproc cluster { "$REDISROUTE_CLUSTER_MAIN" 3 0; }
exec {cluster_out}<&"${cluster[0]}" {cluster_in}>&"${cluster[1]}" {cluster[0]}<&- {cluster[1]}>&-
clean_up() {
    exec {cluster_in}>&-
    wait
    rm -rf "$work"
}
trap clean_up EXIT
read -r -u "$cluster_out" first _
"$work/demo" 127.0.0.1 "$first" || fail "the program, with $other's hiredis"
