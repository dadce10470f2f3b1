#!/bin/bash
# A host that forbids user namespaces for users, and so for their managers. Runs as root in the
# container, after user.sh.
set -u
. "$(dirname "$0")/checks.sh"
user() {
    setpriv --reuid 31500 --regid 31500 --clear-groups env HOME=/home/stsd-lab \
        XDG_RUNTIME_DIR=/run/user/31500 "$@"
}
mine=/home/stsd-lab/.config/systemd/user/stsd.service.d

# Kernel limits would apply to the whole machine, so this script does not change them.
mkdir -p /run/systemd/system/user@31500.service.d
printf '[Service]\nRestrictNamespaces=~user\n' >/run/systemd/system/user@31500.service.d/none.conf
systemctl daemon-reload
systemctl restart user@31500.service

refused() {
    ! user sts-shim --patience 2s oss-upload >/dev/null 2>&1 &&
        [ "$(user systemctl --user is-active stsd.service)" != active ]
}
check "without the drop-in the service does not start" refused
note "exit status $(user systemctl --user show -P ExecMainStatus stsd.service)"

user cp /opt/stsd/systemd/user/no-user-namespaces.conf "$mine/"
user systemctl --user daemon-reload
answered() {
    user sts-shim oss-upload >/dev/null && is "stsd.service" "$(user systemctl --user is-active stsd.service)" active
}
check "with it, it starts and answers" answered
confined() {
    local pid
    pid=$(user systemctl --user show -P MainPID stsd.service)
    is "system call filter" "$(sed -n 's/^Seccomp:[[:space:]]*//p' "/proc/$pid/status")" 2 &&
        is "no new privileges" "$(sed -n 's/^NoNewPrivs:[[:space:]]*//p' "/proc/$pid/status")" 1
}
check "and keeps what needs no namespace" confined
user systemctl --user --quiet disable --now stsd.socket
user systemctl --user stop stsd.service
check "stopping the socket removes its file" test ! -e /run/user/31500/stsd/stsd.sock
finish
