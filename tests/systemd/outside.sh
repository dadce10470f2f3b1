#!/bin/bash
# The view of root, of another user and of the journal on a running user's daemon. Runs as root in the
# container, after user.sh.
set -u
. "$(dirname "$0")/checks.sh"
user() {
    setpriv --reuid 31500 --regid 31500 --clear-groups env XDG_RUNTIME_DIR=/run/user/31500 "$@"
}
# A daemon that has answered has its whole sandbox.
user sts-shim oss-upload >/dev/null
pid=$(user systemctl --user show -P MainPID stsd.service)
status() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"; }
limit() { awk -v name="$1" 'index($0, name) == 1 { print $(NF - 2) }' "/proc/$pid/limits"; }

given_up() {
    is "capabilities" "$(status CapPrm)" 0000000000000000 &&
        is "no new privileges" "$(status NoNewPrivs)" 1 && is "system call filter" "$(status Seccomp)" 2 &&
        is "core dump" "$(limit 'Max core file size')" 0 || return 1
    [ "$(limit 'Max locked memory')" -ge 8388608 ] || { echo "locked memory is too small" && return 1; }
}
check "the sandbox is in force: capabilities, privileges, system calls, limits" given_up

files() {
    # The fifth word is the mount point, the sixth the options.
    is "the root" "$(awk '$5 == "/" { print $6 }' "/proc/$pid/mountinfo" | cut -d, -f1 | tail -n 1)" ro &&
        is "the homes" "$(awk '$5 == "/home" { for (i = 7; i < NF; i++) if ($i == "-") print $(i + 1) }' \
            "/proc/$pid/mountinfo")" tmpfs
}
confined() {
    is "capabilities it may ever have" "$(status CapBnd)" 0000000000000000 && files
}
# Below 247 the drop-in disables this half of the sandbox.
[ "$(systemd_version)" -lt 247 ] ||
    check "and over files: no capability, everything read-only, the homes empty" confined

stranger() {
    local said
    said=$(setpriv --reuid 31501 --regid 31501 --clear-groups \
        sts-shim --socket /run/user/31500/stsd/stsd.sock oss-upload 2>&1)
    is "exit code" $? 3 || { echo "$said" && return 1; }
}
check "another user does not reach the socket" stranger

check "the journal finds served credentials by its profile and its user" audited '"STSD_DECISION":"ready"' \
    _SYSTEMD_USER_UNIT=stsd.service STSD_PROFILE=oss-upload STSD_UID=31500
check "no secret is in the journal" quiet
finish
