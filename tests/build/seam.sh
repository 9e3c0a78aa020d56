#!/usr/bin/env bash
# No system call on a descriptor is left in the copy of hiredis that goes into the library, by
# whatever name the C library has for it.
source "$(dirname "$0")/lib.sh"

calls='read|write|readv|writev|recv|send|recvfrom|sendto|recvmsg|sendmsg|connect|close|shutdown|poll'
calls+='|ppoll|select|getsockopt|setsockopt|fcntl|ioctl|dup|dup2|dup3|getpeername|getsockname'
nm -u "$HIREDIS_COPY" | awk '$1 == "U" {print $2}' | sort -u >"$work/wanted"
if grep -E "^(__)?($calls)(64)?(_chk)?$" "$work/wanted"; then
    fail "$HIREDIS_COPY asks the C library for these"
fi
grep -q '^seam_write$\|^seam_send$' "$work/wanted" || fail "$HIREDIS_COPY never writes"

# The renamed entry points of this hiredis are there under their own names, once each.
defined_names "$HIREDIS_ARCHIVE" >"$work/archive"
defined_names "$HIREDIS_COPY" >"$work/copy"
while read -r name renamed; do
    grep -qx "$name" "$work/archive" || continue # of another version of hiredis
    grep -qx "$renamed" "$work/copy" || fail "$HIREDIS_COPY has no $renamed"
    ! grep -qx "$name" "$work/copy" || fail "$HIREDIS_COPY still has $name"
done <"$REDISROUTE_SOURCE/lib/socket/seam_entries.syms"
