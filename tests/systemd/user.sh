#!/bin/bash
# The daemon of an ordinary user, as that user. Runs in the container.
set -u
. "$(dirname "$0")/checks.sh"
socket=$XDG_RUNTIME_DIR/stsd/stsd.sock
mine=$HOME/.config/systemd/user
home=$HOME/.config/stsd

ctl() { systemctl --user "$@"; }
show() { ctl show -P "$2" "stsd.$1"; }
active() { is "stsd.$1" "$(ctl is-active "stsd.$1")" "$2"; }
# One request; a failure shows the message of the shim.
hand_out() { sts-shim oss-upload >/dev/null; }
back() { within 10 another_pid "$1" && hand_out; }
serving() { hand_out && active service active; }
# Waits until a started or reloaded daemon is idle.
settled() { within 5 active service active; }

# --- Installation, as in docs/systemd.md.
mkdir -p "$mine/stsd.service.d" "$home"
cp /opt/stsd/systemd/user/stsd.{service,socket} "$mine"
quick >"$mine/stsd.service.d/quick.conf"
version=$(systemd_version)
if [ "$version" -lt 247 ]; then
    cp /opt/stsd/systemd/user/no-user-namespaces.conf "$mine/stsd.service.d"
fi
(umask 077 && key >"$home/uploader.key")
config uploader.key >"$home/config.toml"
ctl daemon-reload
ctl --quiet enable --now stsd.socket

first_contact() {
    active socket active && active service inactive &&
        is "mode of the socket" "$(stat -c %a "$socket")" 600 &&
        is "mode of its directory" "$(stat -c %a "${socket%/*}")" 700
}
check "the socket listens, for its user alone, and the service is not started" first_contact

activation() {
    local start
    start=$(milliseconds)
    hand_out || return 1
    took=$(($(milliseconds) - start))
    settled && is "AssumeRole calls" "$(calls)" 1
}
check "the first sts-shim starts the daemon and is answered" activation
note "in ${took:-?} ms"

ready() {
    settled && is Type "$(show service Type)" notify &&
        is Result "$(show service Result)" success && [ -n "$(show service StatusText)" ]
}
check "READY: the service is active by notification and says what it does" ready
note "$(show service StatusText)"

# --- Forty requests at once.
herd() {
    ctl stop stsd.service
    active service inactive || return 1
    local before start children=()
    before=$(calls) start=$(milliseconds)
    for i in $(seq 40); do
        sts-shim oss-upload >"$scratch/herd.$i" 2>"$scratch/herd-error.$i" &
        children+=($!)
    done
    local lost=0
    for child in "${children[@]}"; do wait "$child" || lost=$((lost + 1)); done
    took=$(($(milliseconds) - start))
    cat "$scratch"/herd-error.*
    is "clients without an answer" $lost 0 &&
        is "different answers" "$(cat "$scratch"/herd.? "$scratch"/herd.?? | sort -u | wc -l)" 1 &&
        is "new AssumeRole calls" $(($(calls) - before)) 1 &&
        # One process served all of them.
        is "served credentials" "$(stsctl metrics | sed -n 's/^stsd_hand_outs_total{.*} //p')" 40
}
check "forty first clients at once: one daemon, one AssumeRole, all answered" herd
note "in ${took:-?} ms"
rm -f "$scratch"/herd*

# --- Sessions after a restart.
one_kept() { is "descriptors in the store" "$(show service NFileDescriptorStore)" 1; }
stored() { within 5 one_kept; }
check "the sessions are in the descriptor store" stored

restart() {
    local before old
    before=$(calls) old=$(pid)
    ctl restart stsd.service && back "$old" && is "new AssumeRole calls" $(($(calls) - before)) 0
}
check "a restart costs no call" restart

reexec() { ctl daemon-reexec && restart; }
check "nor does one after the user manager has re-executed itself" reexec

kills() {
    local before old count
    before=$(calls) count=$(many 5 25)
    for _ in $(seq "$count"); do
        hand_out || return 1
        old=$(pid)
        send KILL "$old" || return 1
        back "$old" || return 1
    done
    is "new AssumeRole calls" $(($(calls) - before)) 0
}
check "kill -9, $(many 5 25) times: back every time, and no call" kills

# A failed allocation aborts the daemon. Half a megabyte suffices to read a large configuration, and not
# to parse it.
starve() {
    local before old size
    hand_out || return 1
    before=$(calls) old=$(pid)
    size=$(awk '$1 == "VmSize:" { print $2 }' "/proc/$old/status")
    prlimit --pid "$old" --as=$(((size + 512) * 1024)) || return 1
    for i in $(seq 800); do
        printf '[profile.p%d]\nsource = "uploader"\nrole_arn = "%s"\n' "$i" \
            "acs:ram::100000000000001:role/oss-read"
    done >>"$home/config.toml"
    stsctl reload
    back "$old" && is "new AssumeRole calls" $(($(calls) - before)) 0
}
check "an allocation that fails: back with its sessions, and no call" starve
note "$(journalctl --user --quiet --output=cat | grep 'memory allocation of' | tail -n 1)"
config uploader.key >"$home/config.toml"
stsctl reload

# Several loops run the shim while the daemon is restarted.
under_load() {
    local before old count workers=()
    hand_out || return 1
    before=$(calls) count=$(many 25 100)
    rm -f "$scratch"/load-*
    for i in 1 2 3 4; do
        (
            done=0
            while [ ! -e "$scratch/load-stop" ]; do
                hand_out 2>>"$scratch/load-failed" && done=$((done + 1))
            done
            echo $done >"$scratch/load-done.$i"
        ) &
        workers+=($!)
    done
    local start
    start=$(milliseconds)
    local unstarted=0
    for _ in $(seq "$count"); do
        old=$(pid)
        ctl restart stsd.service && another_pid "$old" || unstarted=$((unstarted + 1))
    done
    took=$(($(milliseconds) - start))
    touch "$scratch/load-stop"
    wait "${workers[@]}"
    handed=$(awk '{ sum += $1 } END { print sum }' "$scratch"/load-done.*)
    sort "$scratch/load-failed" | uniq -c | sort -rn | head -n 3
    is "restarts that failed" $unstarted 0 &&
        is "failed requests" "$(wc -l <"$scratch/load-failed")" 0 &&
        is "new AssumeRole calls" $(($(calls) - before)) 0 && active socket active
}
check "$(many 25 100) restarts under load: no request fails, no call is made" under_load
note "${handed:-?} requests, ${took:-?} ms"

# --- A daemon that hangs.
hang() {
    [ "$(show service WatchdogUSec)" != 0 ] || { echo "there is no watchdog" && return 1; }
    settled && hand_out || return 1
    local before old start
    before=$(calls) old=$(pid) start=$(milliseconds)
    stop "$old" || return 1
    # The client connects while no daemon answers, and the next daemon serves it.
    hand_out || { kill -CONT "$old" && return 1; }
    took=$(($(milliseconds) - start))
    another_pid "$old" && is "new AssumeRole calls" $(($(calls) - before)) 0
}
check "SIGSTOP: the watchdog replaces the daemon, and the waiting client is answered" hang
note "in ${took:-?} ms, with WatchdogSec=2s"

alive() {
    # No restart within three intervals of the watchdog, so the daemon notifies it.
    local old
    settled && old=$(pid) && sleep 6 && is "the process" "$(pid)" "$old"
}
check "a daemon that is well is left alone by the watchdog" alive

# --- Reload.
reload() {
    local before old
    hand_out || return 1
    before=$(calls) old=$(pid)
    printf '[profile.second]\nsource = "uploader"\nrole_arn = "%s"\n' \
        "acs:ram::100000000000001:role/oss-read" >>"$home/config.toml"
    ctl reload stsd.service || return 1
    within 5 sts-shim second >/dev/null && hand_out || return 1
    is "the process" "$(pid)" "$old" && settled &&
        is "new AssumeRole calls" $(($(calls) - before)) 1
}
check "reload: a new profile is there, the process and the old sessions stay" reload

refused_reload() {
    local old
    old=$(pid)
    cp "$home/config.toml" "$scratch/config.toml" && echo 'colour = 1' >>"$home/config.toml"
    if ctl reload stsd.service; then echo "the reload succeeded" && return 1; fi
    hand_out && is "the process" "$(pid)" "$old" || return 1
    show service StatusText | grep -q 'the last reload was refused' || return 1
    cp "$scratch/config.toml" "$home/config.toml" && ctl reload stsd.service &&
        is StatusText "$(show service StatusText)" "profiles: 2"
}
check "a refused configuration fails the reload, and the status of the service says so" refused_reload

by_unit() {
    printf '[profile.third]\nsource = "uploader"\nrole_arn = "%s"\nallow = ["%s"]\n' \
        "acs:ram::100000000000001:role/oss-read" "unit:nightly.service" >>"$home/config.toml"
    stsctl reload || return 1
    systemd-run --user --quiet --wait --pipe --collect --unit=nightly.service \
        sts-shim third >/dev/null || return 1
    sts-shim third
    is "exit code outside of the unit" $? 5
}
check "a rule by unit narrows a profile to that unit, seen from inside the sandbox" by_unit

# --- By HTTP, at a port that the daemon has picked. systemd stores the socket, so the port stays.
by_url() {
    local address=${1#http://*:}
    exec 3<>"/dev/tcp/127.0.0.1/${address%%/*}" || return 1
    printf 'GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' \
        "${address#*/}" >&3
    head -n 1 <&3 | grep ' 200 ' >/dev/null
}
url_stays() {
    local before url old
    printf '[http]\nlisten = "127.0.0.1:0"\n' >>"$home/config.toml"
    stsctl reload && url=$(stsctl url oss-upload) && by_url "$url" || return 1
    before=$(calls) old=$(pid)
    ctl restart stsd.service && by_url "$url" && another_pid "$old" || return 1
    old=$(pid)
    # A client that connects before the next daemon listens waits for it.
    send KILL "$old" && by_url "$url" && back "$old" || return 1
    [ "$url" = "$(stsctl url oss-upload)" ] || { echo "the URL has changed" && return 1; }
    is "new AssumeRole calls" $(($(calls) - before)) 0
}
check "a URL outlives a restart and kill -9, port and secret, and costs no call" url_stays

master_secret() {
    local file=$HOME/.local/state/stsd/http.secret
    is "mode and owner of $file" "$(stat -c '%a %u' "$file")" "600 $(id -u)" &&
        ! stsctl status | grep 'change with a reboot'
}
check "the master secret of the URLs is in the state directory" master_secret

bad_reload() {
    local old
    old=$(pid)
    echo 'nonsense = true' >"$home/config.toml"
    ctl reload stsd.service
    sleep 0.3
    hand_out && is "the process" "$(pid)" "$old" && active service active
}
check "reload: a bad configuration leaves the good one in force" bad_reload

# --- A daemon that cannot start, because the configuration is invalid.
crash_loop() {
    ctl stop stsd.service
    sts-shim --patience 30s oss-upload >/dev/null 2>"$scratch/patient" &
    local patient=$!
    many_restarts() { [ "$(show service NRestarts)" -ge "$(many 8 30)" ]; }
    within 20 many_restarts || { echo "NRestarts $(show service NRestarts)" && return 1; }
    active socket active || return 1
    config uploader.key >"$home/config.toml"
    wait $patient || { cat "$scratch/patient" && return 1; }
    serving
}
check "a crash loop leaves the socket alive; a waiting client is served after the repair" crash_loop

# --- An explicit stop discards the sessions.
forget() {
    hand_out || return 1
    local before
    before=$(calls)
    ctl stop stsd.service
    is "descriptors in the store" "$(show service NFileDescriptorStore)" 0 || return 1
    hand_out && is "new AssumeRole calls" $(($(calls) - before)) 1
}
check "an explicit stop forgets: the next client costs one call" forget

terminated() {
    hand_out || return 1
    local before old
    before=$(calls) old=$(pid)
    send TERM "$old" && within 10 active service inactive >/dev/null || return 1
    serving && is "new AssumeRole calls" $(($(calls) - before)) 1
}
check "so does a SIGTERM by hand, and the next client starts it again" terminated

# --- The data that another process of the user can read from the manager, as documented.
read_store() {
    local file
    : >"$scratch/store"
    for file in "/proc/$1/fd"/*; do
        case $(readlink "$file") in /memfd:*) cat "$file" >>"$scratch/store" ;; esac
    done
    grep -q EmulatedToken "$scratch/store"
}
store() {
    local group
    group=/sys/fs/cgroup$(systemctl --user show -P ControlGroup)/init.scope
    hand_out || return 1
    # The daemon replaces the stored sessions just after its start, also during this check.
    within 5 read_store "$(head -n 1 "$group/cgroup.procs")" || {
        echo "no session is in the store" && return 1
    }
    ! grep -q ExampleSecretOf "$scratch/store"
}
check "the manager's store shows the same user the sessions, and never the key" store

# The socket is removed. Only systemd can create it again; until then the daemon logs a warning and
# keeps running.
taken_away() {
    local old
    settled && hand_out && old=$(pid) && rm "$socket" || return 1
    # Three intervals of the watchdog.
    sleep 6
    is "the process" "$(pid)" "$old" || return 1
    journalctl --user --quiet --output=cat | grep 'restart stsd.socket' >/dev/null || {
        echo "no message has a hint" && return 1
    }
    ctl restart stsd.socket && hand_out
}
check "a socket's file that is taken away: the daemon says what to do, and lives" taken_away

protected() {
    local said
    # A missing protection is a warning, which has an exit code.
    said=$(stsctl doctor) || { grep -v '^ok' <<<"$said" && return 1; }
    echo "$said"
    grep -q '^ok .*secret pages.* locked' <<<"$said"
}
check "stsctl doctor has nothing to warn of" protected

# --- The AccessKey as a credential; its file is outside of the sandbox.
credential() {
    mkdir -p "$HOME/keys" && mv "$home/uploader.key" "$HOME/keys/uploader.key" || return 1
    printf '[Service]\nLoadCredential=uploader.key:%%h/keys/uploader.key\n' \
        >"$mine/stsd.service.d/key.conf"
    config "$XDG_RUNTIME_DIR/credentials/stsd.service/uploader.key" >"$home/config.toml"
    ctl daemon-reload && ctl stop stsd.service && serving
}
hidden() {
    config "$HOME/keys/uploader.key" >"$home/config.toml"
    stsctl reload && return 1
    stsctl reload 2>&1 | grep -F 'cannot be read'
}
if [ "$version" -ge 247 ]; then
    check "LoadCredential: the key comes as a credential" credential
    check "and nothing else of the home can be read" hidden
    mv "$HOME/keys/uploader.key" "$home/uploader.key"
else
    note "not checked: LoadCredential=, because systemd has it from 247 on"
fi

# --- The daemon keeps running, with the key beside the configuration, for the checks of root.
config uploader.key >"$home/config.toml"
rm -f "$mine/stsd.service.d/key.conf"
ctl daemon-reload
ctl restart stsd.service
finish
