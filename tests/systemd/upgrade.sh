#!/bin/bash
# Replaces the programs by programs with a newer protocol while clients run. Runs as root in the
# container, after user.sh; the newer programs are in /opt/stsd/newer.
set -u
. "$(dirname "$0")/checks.sh"
user() {
    setpriv --reuid 31500 --regid 31500 --clear-groups env HOME=/home/stsd-lab \
        XDG_RUNTIME_DIR=/run/user/31500 PATH=/usr/bin:/bin "$@"
}
show() { user systemctl --user show -P "$2" "stsd.$1"; }
old_shim() { user /usr/bin/sts-shim oss-upload; }
new_shim() { user /opt/stsd/newer/sts-shim oss-upload; }
mine=/home/stsd-lab/.config/systemd/user

# /usr/local/bin comes before /usr/bin in PATH.
install -m 755 /usr/bin/stsd /usr/local/bin/stsd
# no-namespaces.sh has started another manager, and disabled this user's socket.
rm -f /run/systemd/system/user@31500.service.d/none.conf $mine/stsd.service.d/no-user-namespaces.conf
systemctl daemon-reload
systemctl restart user@31500.service
user systemctl --user --quiet enable --now stsd.socket
old_shim >"$scratch/before"
ready() {
    is "active" "$(user systemctl --user is-active stsd.service)" active &&
        is "its program" "$(readlink "/proc/$(show service MainPID)/exe")" /usr/local/bin/stsd
}
check "the old daemon serves the old client" ready

clients=() before=$(calls)
for i in 1 2 3 4; do
    (
        while [ ! -e "$scratch/stop" ]; do
            old_shim >/dev/null 2>"$scratch/said.$i"
            code=$?
            echo $code >>"$scratch/codes.$i"
            [ $code = 0 ] || cat "$scratch/said.$i" >>"$scratch/complaints.$i"
        done
    ) &
    clients+=($!)
done
sleep 1

install -m 755 /opt/stsd/newer/stsd /usr/local/bin/stsd.new
mv /usr/local/bin/stsd.new /usr/local/bin/stsd
upgrade() { user systemctl --user restart stsd.service && within 10 new_shim >"$scratch/after"; }
check "restarted with the newer program, it serves a newer client" upgrade
sleep 1
touch "$scratch/stop"
wait "${clients[@]}"

same() {
    is "the served credentials" "$(cat "$scratch/after")" "$(cat "$scratch/before")" &&
        is "new AssumeRole calls" $(($(calls) - before)) 0
}
check "with the sessions of the old one, and without a call" same

named() {
    cat "$scratch"/complaints.* | sort | uniq -c | sort -rn | head -n 5
    # Served until the restart, and refused with the version afterwards; no other result at any time.
    is "kinds of outcomes" "$(cat "$scratch"/codes.* | sort -un | tr '\n' ' ')" "0 8 " || return 1
    for i in 1 2 3 4; do
        is "order of outcomes" "$(uniq "$scratch/codes.$i" | tr '\n' ' ')" "0 8 " || return 1
    done
    old_shim >/dev/null 2>"$scratch/complaint"
    is "exit code" $? 8 && cat "$scratch/complaint" && grep -q "upgrade the client" "$scratch/complaint"
}
check "old clients are refused with the versions and the side to upgrade" named
note "$(cat "$scratch/complaint")"

back() {
    install -m 755 /usr/bin/stsd /usr/local/bin/stsd.old
    mv /usr/local/bin/stsd.old /usr/local/bin/stsd
    user systemctl --user restart stsd.service && within 10 old_shim >"$scratch/after" || return 1
    same && new_shim >/dev/null 2>"$scratch/complaint"
    is "exit code of the newer client" $? 8 && grep -q "upgrade the daemon" "$scratch/complaint"
}
check "the way back: the old daemon serves old clients again, without a call" back
user systemctl --user --quiet disable --now stsd.socket
user systemctl --user stop stsd.service
rm -f /usr/local/bin/stsd
finish
