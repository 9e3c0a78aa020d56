#!/usr/bin/env bash
# tests/run.sh [OPTION...]   every test, on a Debian machine, as root or with sudo.
#
# Installs what is missing from Debian's packages and builds three times: as released, with all
# tests; with AddressSanitizer and UndefinedBehaviorSanitizer; and with ThreadSanitizer, with the
# tests of threads. Where valkey-server is installed, tests on servers are run with it as well.
#
# A machine that is not Debian 13 then does the first of these in a Debian 13, with its newer hiredis
# and servers: in a tree of its own under build-tests/, which is made at the first run and kept for the
# next. Where such a tree cannot be made or entered, that has failed.
#
# The last line says how many passed and failed.
#
#     --no-debian13   leaves the Debian 13 out: for developers; saves two gigabytes, and some minutes
#     --quick         the first build alone, and no Debian 13
#     --debian13      the Debian 13 alone
#     --essential     without fuzzers, bindings and the budgets of tests/bench, which need large packages;
#                     so it is in that tree
#     --install       only installs the packages
set -uo pipefail
cd "$(dirname "$0")/.."

here=1 sanitize=1 debian13=1 essential= install=
for option in "$@"; do
    case $option in
    --no-debian13) debian13= ;;
    --quick) sanitize= debian13= ;;
    --debian13) here= ;;
    --essential) essential=1 ;;
    --install) install=1 ;;
    *)
        echo "usage: tests/run.sh [--no-debian13] [--quick] [--debian13] [--essential] [--install]" >&2
        exit 2
        ;;
    esac
done
builds=${TEST_BUILDS:-build-tests}
. /etc/os-release 2>/dev/null
is_debian13=
[ "${ID-}" != debian ] || [ "${VERSION_ID:-0}" -lt 13 ] || is_debian13=1
[ ! "$is_debian13" ] || debian13= here=1

packages=(
    # to build
    cmake gcc make pkg-config libhiredis-dev libyaml-dev libssl-dev openssl
    # to test
    libcmocka-dev check libsubunit-dev libevent-dev libev-dev libuv1-dev
    redis-server redis-tools curl procps python3
    # programs that use hiredis
    webdis ccache libredis-fast-perl ruby-hiredis freeradius freeradius-redis freeradius-utils
    varnish varnish-redis kamailio kamailio-redis-modules coturn proftpd-core
)
[ "$essential" ] || packages+=(g++ clang libclang-rt-dev golang-go python3-venv strace valgrind)
[ ! "$is_debian13" ] || packages+=(valkey-server)
if [ "$here" ]; then
    bash tests/install.sh "${packages[@]}" || exit 1
fi
[ ! "$install" ] || exit 0

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

# Most tests wait for servers most of the time; less so with sanitizers.
side_by_side=$(($(nproc) + 3))

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
        --parallel "$side_by_side" "$@" 2>&1 | tee "$folder/ctest.log"
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

# What needs a server once more, with the other one.
run_valkey() {
    command -v valkey-server >/dev/null || return 0
    TEST_SERVER=valkey-server run_tests "release, valkey" "$builds/release" 0 \
        -L '^(server|programs)$'
}

# --- Debian 13 ---

# Made while this machine builds and tests for itself: it is the network and one processor that are
# busy with it, and not for long.
prepare_debian13() {
    mkdir -p "$builds"
    tests/debian13.sh "$builds/debian13" tests/run.sh --install --essential \
        >"$builds/debian13.prepare.log" 2>&1 &
    preparing=$!
}

# The last lines of the run in there are its summary, a blank line and the total.
count_debian13() {
    local line
    while IFS= read -r line; do
        [[ $line =~ ^(.*[^ ])\ +([0-9]+)\ passed,\ ([0-9]+)\ failed(:\ (.*))?$ ]] &&
            count "13: ${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}" \
                "${BASH_REMATCH[5]}"
    done < <(sed -n '/^== summary/,$p' "$1" | grep -E ' passed, ' | sed '$d')
}

run_debian13() {
    local log=$builds/debian13.log
    say "Debian 13"
    if ! wait "$preparing"; then
        cat "$builds/debian13.prepare.log"
        echo "There is no Debian 13 here; tests/run.sh --no-debian13 leaves it out."
        count "13" 0 1 "there is none"
        return
    fi
    tests/debian13.sh "$builds/debian13" tests/run.sh --quick --essential 2>&1 | tee "$log"
    if grep -q '^[0-9]* passed, [0-9]* failed$' <(tail -1 "$log"); then
        count_debian13 "$log"
    else
        count "13" 0 1 "it did not come to an end"
    fi
}

essential_options=()
essential_tests=()
if [ "$essential" ]; then
    essential_options=(-DREDISROUTE_FUZZ=OFF)
    essential_tests=(-LE '^(bindings|bench)$')
fi

[ ! "$debian13" ] || prepare_debian13
if [ "$here" ]; then
    run_build release "${essential_options[@]}" -- "${essential_tests[@]}"
    run_valkey
fi
if [ "$here" ] && [ "$sanitize" ]; then
    side_by_side=$(($(nproc) + 1))
    run_build addresses -DREDISROUTE_SANITIZE=address,undefined -- -L '^(unit|sim|server)$'
    run_build threads -DREDISROUTE_SANITIZE=thread -- -L '^threads$'
fi
[ ! "$debian13" ] || run_debian13

say "summary"
printf '%s\n%d passed, %d failed\n' "$summary" "$passed" "$failed"
[ "$failed" = 0 ]
