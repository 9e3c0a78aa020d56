#!/usr/bin/env bash
# The Python package: a wheel and an sdist are built and installed as users do it, and its tests run
# on a real cluster.
source "$(dirname "$0")/../build/lib.sh"

venv=$REDISROUTE_BUILD/bindings/python
[ -x "$venv/bin/pip" ] || /usr/bin/python3 -m venv "$venv" || fail "no venv: python3-venv is missing"
quiet() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2 && fail "$*"; }
}
quiet "$venv/bin/pip" install --upgrade build mypy pytest pytest-asyncio redis valkey hiredis cffi

# What a build leaves behind lies in a copy.
cp -r "$REDISROUTE_SOURCE/bindings/python" "$work/source"
quiet "$venv/bin/python" -m build --outdir "$work/dist" "$work/source"
quiet "$venv/bin/pip" install --no-deps --target "$work/from_sdist" "$work"/dist/redisroute-*.tar.gz
quiet "$venv/bin/pip" install --no-deps --force-reinstall "$work"/dist/redisroute-*.whl
for file in "$work/from_sdist/redisroute/py.typed" "$venv"/lib/python3*/site-packages/redisroute/py.typed; do
    [ -e "$file" ] || fail "$file is missing"
done

cd "$work"
quiet "$venv/bin/mypy" --strict --ignore-missing-imports --cache-dir "$work/mypy" -p redisroute
"$venv/bin/pytest" -q -p no:cacheprovider -c "$work/source/pyproject.toml" --rootdir "$work/source" \
    "$work/source/tests"
