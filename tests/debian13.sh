#!/usr/bin/env bash
# tests/debian13.sh TREE COMMAND...   runs a command in a Debian 13, as root.
#
# Makes the tree first, with debootstrap and from the mirror that this machine uses itself, unless
# it was made before: delete the folder to have a new one. The command works in /redisroute, a copy
# of this source tree, and may keep things in /builds. The tree's mounts are nobody else's, and end
# with the command.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
suite=trixie
tree=$1
shift

[ "$(id -u)" = 0 ] || exec sudo "$0" "$tree" "$@"

mirror() {
    {
        sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources
        sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' /etc/apt/sources.list \
            /etc/apt/sources.list.d/*.list
    } 2>/dev/null | grep -v security | head -1 || true
}

if [ ! -e "$tree/complete" ]; then
    bash "$source/tests/install.sh" debootstrap
    from=$(mirror)
    [ -n "$from" ] || { echo "no Debian mirror in /etc/apt" >&2; exit 1; }
    echo "Debian 13 in $tree, from $from"
    rm -rf --one-file-system "$tree"
    mkdir -p "$tree"
    log=$(mktemp)
    debootstrap --variant=minbase "$suite" "$tree" "$from" >"$log" 2>&1 || {
        tail -50 "$log" "$tree/debootstrap/debootstrap.log" >&2
        exit 1
    }
    rm -f "$log"
    mkdir -p "$tree/builds"
    # A proxy or a mirror's name that only this machine knows.
    cp /etc/resolv.conf "$tree/etc/resolv.conf"
    cp /etc/apt/apt.conf.d/*proxy* "$tree/etc/apt/apt.conf.d/" 2>/dev/null || true
    touch "$tree/complete"
fi

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
