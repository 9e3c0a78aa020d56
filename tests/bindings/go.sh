#!/usr/bin/env bash
# The Go package against an installed library, under the race detector, on a real cluster.
source "$(dirname "$0")/../build/lib.sh"

command -v go >/dev/null || fail "no Go: golang-go is missing"
# Go's build cache keeps what pkg-config said the first time, without asking again: the cache and the
# prefix that it remembers have to stay together.
tree=$REDISROUTE_BUILD/bindings/go
mkdir -p "$tree"
rm -rf "$tree/prefix"
cmake --install "$REDISROUTE_BUILD" --prefix "$tree/prefix" >/dev/null
GOCACHE=$tree/cache
PKG_CONFIG_PATH=$(dirname "$(find "$tree/prefix" -name redisroute.pc)")
LD_LIBRARY_PATH=$(dirname "$(find "$tree/prefix" -name libredisroute.so.0)")
export GOCACHE PKG_CONFIG_PATH LD_LIBRARY_PATH

cd "$REDISROUTE_SOURCE/bindings/go"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || fail "gofmt would change $unformatted"
go vet ./...
go test -race -count=1 -timeout 240s ./...
