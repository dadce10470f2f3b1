#!/bin/bash
# Limits of memory and processes, which a container's kernel may not enforce. Runs as root in
# the emulated machine, after sleep.sh.
set -u
. "$(dirname "$0")/checks.sh"
user() {
    setpriv --reuid 31500 --regid 31500 --clear-groups env HOME=/home/stsd-lab \
        XDG_RUNTIME_DIR=/run/user/31500 "$@"
}
ctl() { user systemctl --user "$@"; }
show() { ctl show -P "$2" "stsd.$1"; }
hand_out() { user sts-shim --patience 20s oss-upload >/dev/null; }
group() { echo "/sys/fs/cgroup$(show service ControlGroup)"; }
limit() { ctl set-property --runtime stsd.service "$1"; }
has_ended() { ! kill -0 "$1" 2>/dev/null; }

# The daemon drops the short sessions of sleep.sh, so that no renewal is due for half an hour.
ctl stop stsd.service 2>/dev/null
hand_out
before=$(calls)

killed() {
    local old
    old=$(pid)
    # Less than the current use: the kernel cannot reclaim memory, and kills the process.
    limit MemoryMax=1M
    # The manager's own process for the next start (systemd-executor) does not fit either, so that there
    # is no other daemon to wait for.
    within 20 has_ended "$old" || return 1
    ctl show -P Result stsd.service
    journalctl --quiet --grep 'oom-kill|OOM' --output=cat | tail -n 3 | grep .
}
check "MemoryMax=1M: the kernel kills it" killed
note "$(journalctl --quiet --grep 'Failed with result' --output=cat | tail -n 1)"

recovered() {
    # Clients connect while the daemon cannot start.
    hand_out &
    local waiting=$!
    sleep 2
    limit MemoryMax=32M
    wait $waiting && hand_out && is "new AssumeRole calls" $(($(calls) - before)) 0
}
check "with MemoryMax=32M it is back with its sessions: a waiting client is served, without a call" recovered
note "$(show service NRestarts) restarts, sessions in the store all the time"

herd() {
    local children=() lost=0
    for _ in $(seq 40); do hand_out & children+=($!); done
    for child in "${children[@]}"; do wait "$child" || lost=$((lost + 1)); done
    is "clients without an answer" $lost 0 &&
        is "limit" "$(cat "$(group)/memory.max")" $((32 * 1024 * 1024)) &&
        is "kills" "$(grep -w oom_kill "$(group)/memory.events")" "oom_kill 0"
}
check "and forty at once fit into that" herd
note "$(($(cat "$(group)/memory.peak") / 1024)) KiB at the most"

tasks() {
    limit TasksMax=3 && ctl restart stsd.service && hand_out &&
        user stsctl refresh oss-upload && user stsctl reload && hand_out &&
        is "limit" "$(cat "$(group)/pids.max")" 3
}
check "TasksMax=3 is enough: it serves, renews and reloads" tasks
note "$(cat "$(group)/pids.peak" 2>/dev/null) at the most"

finish
