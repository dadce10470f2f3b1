#!/bin/bash
# The commands of a person, as an ordinary user with a manager and without files: `stsctl init` without a
# terminal, and `stsctl log` with a real journal. Runs in the container as root, after logins.sh, which
# has ended the lingering of this user's manager.
set -u
. "$(dirname "$0")/checks.sh"
home=/home/stsd-other
runtime=/run/user/31501
user() {
    setpriv --reuid 31501 --regid 31501 --clear-groups env HOME=$home XDG_RUNTIME_DIR=$runtime \
        DBUS_SESSION_BUS_ADDRESS=unix:path=$runtime/bus "$@"
}
rm -rf $home/.config
loginctl enable-linger stsd-other
within 20 user systemctl --user is-active --quiet basic.target 2>/dev/null || note "its manager does not come"
user systemctl --user daemon-reload

init() {
    echo ExampleSecretOfUploader000001 | user stsctl init --endpoint "http://$STS" \
        --access-key-id LTAIEXAMPLEUPLOADER01 --secret-stdin --keeper file --profile oss-upload \
        --role-arn acs:ram::100000000000001:role/oss-upload
}
set_up() {
    local before
    before=$(calls)
    init >"$scratch/init" || { cat "$scratch/init" && return 1; }
    cat "$scratch/init"
    grep -q 'stsd.socket: enabled and started' "$scratch/init" &&
        grep -q 'oss-upload: the first credentials, STS\.' "$scratch/init" || return 1
    # Below 247 init writes the drop-in without user namespaces, and from 247 on it does not.
    local drop_in=$home/.config/systemd/user/stsd.service.d/no-user-namespaces.conf
    if [ "$(systemd_version)" -lt 247 ]; then
        grep -qF "$drop_in: written" "$scratch/init" || return 1
    else
        [ ! -e "$drop_in" ] || return 1
    fi
    # One before anything is written, and one of the daemon.
    is "new AssumeRole calls" $(($(calls) - before)) 2 &&
        is "stsd.socket" "$(user systemctl --user is-enabled stsd.socket)" enabled &&
        is "stsd.socket" "$(user systemctl --user is-active stsd.socket)" active &&
        is "stsd.service" "$(user systemctl --user is-active stsd.service)" active &&
        is "mode of the key" "$(stat -c %a $home/.config/stsd/*.key)" 600 &&
        user sts-shim oss-upload >/dev/null
}
check "stsctl init sets a user up without a terminal, and fetches credentials" set_up

unfit() {
    user rm $home/.config/systemd/user/stsd.service.d/no-user-namespaces.conf
    user systemctl --user daemon-reload
    user systemctl --user stop stsd.service
    ! user sts-shim --patience 2s oss-upload >/dev/null 2>&1 || return 1
    user stsctl doctor >"$scratch/doctor"
    user systemctl --user show -p ExecMainStatus stsd.service
    cat "$scratch/doctor"
    grep -q '^fault.*sandbox' "$scratch/doctor" && grep -q '217/USER' "$scratch/doctor"
}

again() {
    local before
    before=$(sha256sum $home/.config/stsd/*)
    init >"$scratch/init" 2>&1
    local code=$?
    cat "$scratch/init"
    is "exit code" $code 2 && grep -q 'oss-upload' "$scratch/init" &&
        is "what is there" "$(sha256sum $home/.config/stsd/*)" "$before" &&
        user sts-shim oss-upload >/dev/null
}
check "a second init says what is there, and changes nothing" again

# The audit events in the user's journal, and no others, each with its caller.
follow() {
    local log
    user stsctl log --json --lines 0 >"$scratch/log" 2>&1 &
    log=$!
    # stsctl may not follow yet, so the events are repeated.
    follows() { user sts-shim oss-upload >/dev/null && sleep 0.2 && [ -s "$scratch/log" ]; }
    within 10 follows
    local seen=$?
    # setpriv and env have executed stsctl.
    kill "$log" && wait "$log" 2>/dev/null
    cat "$scratch/log"
    [ $seen = 0 ] && grep '"decision":"ready"' "$scratch/log" |
        grep '"profile":"oss-upload"' | grep '"uid":31501' | grep -q '"unit":"stsd-lab.service"'
}
check "stsctl log follows the user's journal: a request that was served appears, with its caller" follow
note "$(user stsctl log --no-follow -n 1 2>&1)"
[ "$(systemd_version)" -ge 247 ] ||
    check "without the drop-in it does not start, and stsctl doctor says why" unfit
finish
