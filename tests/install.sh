#!/usr/bin/env bash
# tests/install.sh PACKAGE...   installs those of Debian's packages that are missing, as root or
# with sudo. Services that come with them are not started: the tests start what they need.
set -euo pipefail

missing=()
for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' ||
        missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "This is no Debian: what these packages hold has to be here: ${missing[*]}" >&2
    exit 0
fi
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
command -v "${as_root[0]:-true}" >/dev/null || {
    echo "Run as root, or install first: ${missing[*]}" >&2
    exit 1
}

# What Debian asks before it starts a service.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    trap '"${as_root[@]}" rm -f $policy' EXIT
    trap 'exit 130' INT TERM HUP
    "${as_root[@]}" chmod 755 $policy
fi

echo "Installing ${missing[*]}"
log=$(mktemp)
{
    "${as_root[@]}" apt-get update -q &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -q --no-install-recommends "${missing[@]}"
} </dev/null >"$log" 2>&1 || {
    cat "$log"
    rm -f "$log"
    exit 1
}
rm -f "$log"
