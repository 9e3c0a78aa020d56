#!/usr/bin/env bash
# Where there can be no Debian 13 tree, that is said, and the run of the tests has failed.
source "$(dirname "$0")/lib.sh"

# A machine of which root may not have mount namespaces.
mkdir "$work/bin"
printf '#!/bin/sh\necho 0\n' >"$work/bin/id"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/unshare"
chmod 755 "$work/bin/"*
export PATH=$work/bin:$PATH TEST_BUILDS=$work/builds

tests=$REDISROUTE_SOURCE/tests
! "$tests/debian13.sh" "$work/tree" true >"$work/log" 2>&1 || fail "went on without a tree"
grep -q '^No Debian 13: .*mount namespaces' "$work/log" || fail "not said why: $(cat "$work/log")"
[ ! -e "$work/tree" ] || fail "a tree was begun"

! grep -q '^VERSION_ID="\?13' /etc/os-release || exit 0 # which needs none
! "$tests/run.sh" --debian13 >"$work/log" 2>&1 || fail "passed without a tree"
for line in '^No Debian 13: ' '--no-debian13 leaves it out' '^0 passed, 1 failed$'; do
    grep -q -e "$line" "$work/log" || fail "'$line' is not in: $(cat "$work/log")"
done
