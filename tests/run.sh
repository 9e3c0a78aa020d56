#!/usr/bin/env bash
# tests/run.sh [--quick]   every test, on a Debian machine, as root or with sudo.
#
# Installs what is missing from Debian's packages and builds three times: as released, with all
# tests; with AddressSanitizer and UndefinedBehaviorSanitizer; and with ThreadSanitizer, with the
# tests of threads. --quick: the first alone. The last line says how many passed and failed.
set -uo pipefail
cd "$(dirname "$0")/.."

quick=
case ${1-} in
--quick) quick=1 ;;
'') ;;
*)
    echo "usage: tests/run.sh [--quick]" >&2
    exit 2
    ;;
esac

packages=(
    # to build
    cmake gcc g++ make pkg-config libhiredis-dev libyaml-dev
    # to test
    libcmocka-dev check libsubunit-dev libevent-dev libev-dev libuv1-dev
    redis-server redis-tools curl procps python3 python3-venv strace valgrind clang libclang-rt-dev
    # programs that use hiredis
    webdis ccache libredis-fast-perl ruby-hiredis freeradius freeradius-redis freeradius-utils
    varnish varnish-redis kamailio kamailio-redis-modules
)
bash tests/install.sh "${packages[@]}" || exit 1

# Daemons live where a user's PATH does not go; and what the caller set for itself is not tested.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
for name in ${!REDISROUTE_*} ${!CK_*} LD_PRELOAD LD_LIBRARY_PATH DESTDIR; do
    unset "$name"
done

# The sanitizers of gcc 12 do not know the address spaces of newer kernels.
fixed_addresses=(setarch -R)
"${fixed_addresses[@]}" true 2>/dev/null || fixed_addresses=()
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS="second_deadlock_stack=1:atexit_sleep_ms=50:suppressions=$PWD/tests/thread_sanitizer.supp"

passed=0
failed=0
summary=

say() {
    printf '\n== %s\n' "$*"
}

# run_build NAME CMAKE_OPTION... -- CTEST_OPTION...
run_build() {
    local name=$1 folder=build-tests/$1 options=() total=0 bad=1 unbuilt=0 names=
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    say "$name: building"
    rm -rf "$folder/Testing"
    if cmake -S . -B "$folder" -DREDISROUTE_TESTS=ON -DREDISROUTE_WERROR=ON "${options[@]}"; then
        # What does not compile is a failure of its own, and the tests of the rest go on.
        cmake --build "$folder" --parallel "$(nproc)" -- -k || unbuilt=1
        say "$name: testing"
        "${fixed_addresses[@]}" ctest --test-dir "$folder" --output-on-failure --no-tests=error \
            --parallel 3 "$@" 2>&1 | tee "$folder/ctest.log"
        read -r bad total < <(sed -n \
            's/^[0-9]*% tests passed, \([0-9]*\) tests\{0,1\} failed out of \([0-9]*\).*/\1 \2/p' \
            "$folder/ctest.log") || { bad=1 total=1; }
        names=$(sed 's/^[0-9]*://' "$folder/Testing/Temporary/LastTestsFailed.log" 2>/dev/null |
            sort -u | paste -sd ' ')
    else
        total=1
        names="the configuration"
    fi
    if [ $unbuilt = 1 ]; then
        total=$((total + 1)) bad=$((bad + 1)) names="the build, $names"
    fi
    passed=$((passed + total - bad))
    failed=$((failed + bad))
    summary+=$(printf '%-10s %3d passed, %d failed%s' \
        "$name" $((total - bad)) "$bad" "${names:+: $names}")$'\n'
}

run_build release --
if [ ! "$quick" ]; then
    run_build addresses -DREDISROUTE_SANITIZE=address,undefined -- -L '^(unit|sim|server)$'
    run_build threads -DREDISROUTE_SANITIZE=thread -- -L '^threads$'
fi

say "summary"
printf '%s\n%d passed, %d failed\n' "$summary" "$passed" "$failed"
[ "$failed" = 0 ]
