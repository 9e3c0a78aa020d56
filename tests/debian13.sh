#!/usr/bin/env bash
# tests/debian13.sh TREE COMMAND...   runs a command in a Debian 13, as root.
#
# Makes the tree first, with debootstrap and from the mirror that this machine uses itself, unless
# it was made before: delete the folder to have a new one. The command works in /redisroute, a copy
# of this source tree, and may keep things in /builds. The tree's mounts are nobody else's, and end
# with the command. A second command in the same tree waits for the first.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
suite=trixie
tree=$1
shift

. "$source/tests/mirror.sh"
[ "$(id -u)" = 0 ] || exec sudo "$0" "$tree" "$@"

fail() {
    echo "No Debian 13: $*" >&2
    exit 1
}

# Nobody reads manuals in there, and when the machine crashes the tree is made anew.
write_dpkg_settings() {
    mkdir -p "$tree/etc/dpkg/dpkg.cfg.d" "$tree/etc/apt/apt.conf.d"
    printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
        'path-exclude=/usr/share/info/*' 'path-exclude=/usr/share/locale/*' \
        >"$tree/etc/dpkg/dpkg.cfg.d/test-tree"
    printf '%s\n' 'Acquire::Languages "none";' 'APT::Keep-Downloaded-Packages "false";' \
        >"$tree/etc/apt/apt.conf.d/90test-tree"
}

make_tree() {
    local from log
    bash "$source/tests/install.sh" debootstrap
    command -v debootstrap >/dev/null || fail "debootstrap is missing"
    from=$(debian_mirror)
    [ -n "$from" ] || fail "no Debian mirror in /etc/apt"
    echo "Debian 13 in $tree, from $from"
    rm -rf --one-file-system "$tree"
    mkdir -p "$tree/builds"
    write_dpkg_settings
    log=$(mktemp)
    debootstrap --variant=minbase "$suite" "$tree" "$from" >"$log" 2>&1 || {
        tail -50 "$log" "$tree/debootstrap/debootstrap.log" >&2
        rm -f "$log"
        fail "debootstrap has failed"
    }
    rm -f "$log"
    touch "$tree/complete"
}

unshare --mount --pid --fork true || fail "this machine has no mount namespaces for root (unshare)"
mkdir -p "$(dirname "$tree")"
exec {lock}>"$tree.lock"
flock $lock
[ -e "$tree/complete" ] || make_tree

# A proxy or a mirror's name that only this machine knows.
cp /etc/resolv.conf "$tree/etc/resolv.conf"
cp /etc/apt/apt.conf.d/*proxy* "$tree/etc/apt/apt.conf.d/" 2>/dev/null || true

rm -rf --one-file-system "$tree/redisroute"
mkdir "$tree/redisroute"
tar -C "$source" --exclude='./build*' --exclude=./.git -cf - . | tar -C "$tree/redisroute" -xf -

exec unshare --mount --pid --fork --kill-child --propagation private bash -ec '
    tree=$1
    shift
    mount --rbind /dev "$tree/dev"
    mount -t proc proc "$tree/proc"
    exec chroot "$tree" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        TERM="${TERM-dumb}" TEST_BUILDS=/builds bash -c "cd /redisroute && exec \"\$@\"" - "$@"
' - "$(cd "$tree" && pwd)" "$@"
