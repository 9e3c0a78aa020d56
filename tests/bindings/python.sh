#!/usr/bin/env bash
# The Python package: a wheel and an sdist are built and installed as users do it, and its tests run
# on a real cluster, by the system's Python and by 3.9, the oldest, where there is one.
source "$(dirname "$0")/../build/lib.sh"

tree=$REDISROUTE_BUILD/bindings
quiet() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2 && fail "$*"; }
}

# environment INTERPRETER FOLDER: with what the tests need, and the wheel.
environment() {
    [ -x "$2/bin/pip" ] || "$1" -m venv "$2" || fail "no venv: python3-venv is missing"
    quiet "$2/bin/pip" install --upgrade pytest pytest-asyncio redis valkey hiredis cffi uvloop
    [ ! -d "$work/dist" ] || quiet "$2/bin/pip" install --no-deps --force-reinstall "$work"/dist/*.whl
}

run_tests() {
    "$1/bin/pytest" -q -p no:cacheprovider -c "$work/source/pyproject.toml" \
        --rootdir "$work/source" "$work/source/tests"
}

venv=$tree/python
environment /usr/bin/python3 "$venv"
quiet "$venv/bin/pip" install --upgrade build mypy vermin

# What a build leaves behind lies in a copy.
cp -r "$REDISROUTE_SOURCE/bindings/python" "$work/source"
quiet "$venv/bin/python" -m build --outdir "$work/dist" "$work/source"
quiet "$venv/bin/pip" install --no-deps --target "$work/from_sdist" "$work"/dist/redisroute-*.tar.gz
quiet "$venv/bin/pip" install --no-deps --force-reinstall "$work"/dist/redisroute-*.whl
for file in "$work/from_sdist/redisroute/py.typed" "$venv"/lib/python3*/site-packages/redisroute/py.typed; do
    [ -e "$file" ] || fail "$file is missing"
done

# A clean environment, with the wheel and what it asks for itself.
/usr/bin/python3 -m venv "$work/clean"
quiet "$work/clean/bin/pip" install "$work"/dist/redisroute-*.whl
[ "$("$work/clean/bin/python" -c 'import redisroute; print(redisroute.version())')" = \
    "$("$work/clean/bin/python" -c 'import redisroute; print(redisroute.__version__)')" ] ||
    fail "the library and the package are of two versions"

cd "$work"
quiet "$venv/bin/mypy" --strict --ignore-missing-imports --cache-dir "$work/mypy" -p redisroute
quiet "$venv/bin/mypy" --strict --cache-dir "$work/mypy" "$work/source/tests/typed_program.py"
quiet "$venv/bin/vermin" -q -t=3.9- --violations --no-tips "$work/source/src"
run_tests "$venv"

for oldest in python3.9 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.9.*/bin/python3.9; do
    "$oldest" -c '' 2>/dev/null || continue
    environment "$oldest" "$tree/python3.9"
    run_tests "$tree/python3.9"
    exit
done
echo "no Python 3.9 here: what it has not was only looked for"
