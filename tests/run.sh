#!/usr/bin/env bash
# tests/run.sh [--quick] [--debian13]   every test, on a Debian machine, as root or with sudo.
#
# Installs what is missing from Debian's packages and builds three times: as released, with all
# tests; with AddressSanitizer and UndefinedBehaviorSanitizer; and with ThreadSanitizer, with the
# tests of threads. Where valkey-server is installed, tests on servers are run with it as well. The
# last line says how many passed and failed.
#
#     --quick      the first build alone
#     --debian13   then on a Debian 13 as well, with its newer hiredis and servers, in a tree of its
#                  own under build-tests/: a gigabyte, and some minutes
set -uo pipefail
cd "$(dirname "$0")/.."

quick=
debian13=
for option in "$@"; do
    case $option in
    --quick) quick=1 ;;
    --debian13) debian13=1 ;;
    *)
        echo "usage: tests/run.sh [--quick] [--debian13]" >&2
        exit 2
        ;;
    esac
done
builds=${TEST_BUILDS:-build-tests}
. /etc/os-release 2>/dev/null

packages=(
    # to build
    cmake gcc g++ make pkg-config libhiredis-dev libyaml-dev
    # to test
    libcmocka-dev check libsubunit-dev libevent-dev libev-dev libuv1-dev
    redis-server redis-tools curl procps python3 python3-venv golang-go strace valgrind clang libclang-rt-dev
    # programs that use hiredis
    webdis ccache libredis-fast-perl ruby-hiredis freeradius freeradius-redis freeradius-utils
    varnish varnish-redis kamailio kamailio-redis-modules
)
[ "${ID-}" != debian ] || [ "${VERSION_ID:-0}" -lt 13 ] || packages+=(valkey-server)
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
export TSAN_OPTIONS=second_deadlock_stack=1:atexit_sleep_ms=50

passed=0
failed=0
summary=

say() {
    printf '\n== %s\n' "$*"
}

# count NAME PASSED FAILED NAMES-OF-FAILED
count() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    summary+=$(printf '%-18s %3d passed, %d failed%s' "$1" "$2" "$3" "${4:+: $4}")$'\n'
}

# run_tests NAME BUILD-FOLDER UNBUILT CTEST_OPTION...
run_tests() {
    local name=$1 folder=$2 unbuilt=$3 total=0 bad=1 names=
    shift 3
    say "$name: testing"
    rm -rf "$folder/Testing"
    "${fixed_addresses[@]}" ctest --test-dir "$folder" --output-on-failure --no-tests=error \
        --parallel 3 "$@" 2>&1 | tee "$folder/ctest.log"
    read -r bad total < <(sed -n \
        's/^[0-9]*% tests passed, \([0-9]*\) tests\{0,1\} failed out of \([0-9]*\).*/\1 \2/p' \
        "$folder/ctest.log") || { bad=1 total=1; }
    names=$(sed 's/^[0-9]*://' "$folder/Testing/Temporary/LastTestsFailed.log" 2>/dev/null |
        sort -u | paste -sd ' ')
    if [ "$unbuilt" = 1 ]; then
        total=$((total + 1)) bad=$((bad + 1)) names="the build, $names"
    fi
    count "$name" $((total - bad)) "$bad" "$names"
}

# run_build NAME CMAKE_OPTION... -- CTEST_OPTION...
run_build() {
    local name=$1 folder=$builds/$1 options=() unbuilt=0
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    say "$name: building"
    if cmake -S . -B "$folder" -DREDISROUTE_TESTS=ON -DREDISROUTE_WERROR=ON "${options[@]}"; then
        # What does not compile is a failure of its own, and the tests of the rest go on.
        cmake --build "$folder" --parallel "$(nproc)" -- -k || unbuilt=1
        run_tests "$name" "$folder" "$unbuilt" "$@"
    else
        count "$name" 0 1 "the configuration"
    fi
}

# What differs between the servers is how they answer, not how they die.
run_valkey() {
    command -v valkey-server >/dev/null || return 0
    TEST_SERVER=valkey-server run_tests "release, valkey" "$builds/release" 0 \
        -L '^server$' -E 'failover|descriptor|redirect|fork|threads'
}

# The last two lines of the run in there are its summary, blank line and total.
run_debian13() {
    local log=$builds/debian13.log line
    say "Debian 13"
    tests/debian13.sh "$builds/debian13" tests/run.sh --quick 2>&1 | tee "$log"
    if ! grep -q '^[0-9]* passed, [0-9]* failed$' <(tail -1 "$log"); then
        count "debian 13" 0 1 "it did not come to an end"
        return
    fi
    while IFS= read -r line; do
        [[ $line =~ ^(.*[^ ])\ +([0-9]+)\ passed,\ ([0-9]+)\ failed(:\ (.*))?$ ]] &&
            count "13: ${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}" \
                "${BASH_REMATCH[5]}"
    done < <(sed -n '/^== summary/,$p' "$log" | grep -E ' passed, ' | sed '$d')
}

run_build release --
run_valkey
if [ ! "$quick" ]; then
    run_build addresses -DREDISROUTE_SANITIZE=address,undefined -- -L '^(unit|sim|server)$'
    run_build threads -DREDISROUTE_SANITIZE=thread -- -L '^threads$'
fi
[ ! "$debian13" ] || run_debian13

say "summary"
printf '%s\n%d passed, %d failed\n' "$summary" "$passed" "$failed"
[ "$failed" = 0 ]
