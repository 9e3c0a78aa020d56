# What the tests of the build share. They are run by ctest, which names what was built:
# REDISROUTE_SOURCE, REDISROUTE_BUILD, REDISROUTE_LIBRARY, REDISROUTE_PRELOAD, HIREDIS_ARCHIVE,
# HIREDIS_COPY, HIREDIS_LIBRARY (empty when there is none), HIREDIS_INCLUDE, CC.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# The names that a shared library or (with an archive's) its objects define for others.
defined_names() {
    case $1 in
    *.a) nm -g --defined-only "$1" ;;
    *) nm -D --defined-only "$1" ;;
    esac | awk 'NF == 3 && $2 ~ /[A-Z]/ {print $3}' | sort -u
}
