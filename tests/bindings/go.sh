#!/usr/bin/env bash
# The Go package against an installed library, under the race detector, on a real cluster.
source "$(dirname "$0")/../build/lib.sh"

command -v go >/dev/null || fail "no Go: golang-go is missing"
cmake --install "$REDISROUTE_BUILD" --prefix "$work/prefix" >/dev/null
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name redisroute.pc)")
LD_LIBRARY_PATH=$(dirname "$(find "$work/prefix" -name libredisroute.so.0)")
export PKG_CONFIG_PATH LD_LIBRARY_PATH

cd "$REDISROUTE_SOURCE/bindings/go"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || fail "gofmt would change $unformatted"
go vet ./...
go test -race -count=1 -timeout 240s ./...
