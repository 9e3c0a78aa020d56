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

# go.mod names the last go-redis that Debian 12's Go can build. Users have newer ones.
cp -r "$REDISROUTE_SOURCE/bindings/go" "$work/newest"
cd "$work/newest"
if GOTOOLCHAIN=local go get github.com/redis/go-redis/v9@latest >"$work/get" 2>&1; then
    go test -count=1 -timeout 240s ./...
    go list -m github.com/redis/go-redis/v9
elif grep -qE 'requires go ?(>=|1)|is not in (GOROOT|std)|invalid go version' "$work/get"; then
    echo "the newest go-redis is not tested: it needs a newer Go than $(go env GOVERSION)"
else
    fail "$(cat "$work/get")"
fi

# The programs in examples/go: one on one server, and what became of it on a cluster.
cd "$REDISROUTE_SOURCE/examples/go"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || fail "gofmt would change $unformatted"
go vet ./...
go build -o "$work/" ./before ./after
mkdir "$work/server"
redis-server --port 0 --unixsocket "$work/server/socket" --save '' --dir "$work/server" \
    >"$work/server/log" &
server=$!
coproc cluster { "$REDISROUTE_CLUSTER_MAIN" 3 0; }
exec {cluster_out}<&"${cluster[0]}" {cluster_in}>&"${cluster[1]}" {cluster[0]}<&- {cluster[1]}>&-
clean_up() {
    kill "$server" || true
    exec {cluster_in}>&-
    wait
    rm -rf "$work"
}
trap clean_up EXIT
read -r -u "$cluster_out" first _
end=$((SECONDS + 60))
until [ -S "$work/server/socket" ]; do
    [ $SECONDS -lt $end ] || fail "no server: $(cat "$work/server/log")"
    sleep 0.05
done
words=(the more words there are the more masters have some of the words)
"$work/before" "$work/server/socket" "${words[@]}" >"$work/before.out" || fail "before"
"$work/after" "127.0.0.1:$first" "${words[@]}" >"$work/after.out" || fail "after"
printf '%s\n' 'are 1' 'have 1' 'masters 1' 'more 2' 'of 1' 'some 1' 'the 3' 'there 1' 'words 2' |
    diff - "$work/before.out" || fail "before counted something else"
diff "$work/before.out" "$work/after.out" || fail "after counted something else"
