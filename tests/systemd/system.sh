#!/bin/bash
# The machine's daemon under PID 1. Runs as root in the container.
set -u
. "$(dirname "$0")/checks.sh"
socket=/run/stsd/stsd.sock
mine=/etc/systemd/system

show() { systemctl show -P "$2" "stsd.$1"; }
active() { is "stsd.$1" "$(systemctl is-active "stsd.$1")" "$2"; }
as() { setpriv --reuid "$1" --regid "$1" --clear-groups -- "${@:2}"; }
# One request of a user with a rule; a failure shows the message of the shim.
hand_out() { as 31500 sts-shim --socket $socket oss-upload >/dev/null; }
refused() {
    local said
    said=$(as "$1" sts-shim --socket $socket oss-upload 2>&1)
    is "exit code" $? 5 || { echo "$said" && return 1; }
}

mkdir -p $mine/stsd.service.d
cp /opt/stsd/systemd/system/stsd.{service,socket} $mine
quick >$mine/stsd.service.d/quick.conf
install -d /etc/stsd
(umask 077 && key >/etc/stsd/uploader.key)
version=$(systemd_version)
if [ "$version" -ge 247 ]; then
    printf '[Service]\nLoadCredential=uploader.key:/etc/stsd/uploader.key\n' >$mine/stsd.service.d/key.conf
    key=/run/credentials/stsd.service/uploader.key
else
    # As in docs/platforms.md: DynamicUser= takes a user of the unit's name.
    echo "stsd:x:990:990::/:/usr/sbin/nologin" >>/etc/passwd
    echo "stsd:x:990:" >>/etc/group
    key=/etc/stsd/uploader.key
    chown stsd $key
fi
{
    config $key
    echo 'allow = ["user:stsd-lab", "unit:stsd-allowed.service"]'
} >/etc/stsd/config.toml
systemctl daemon-reload
systemctl --quiet enable --now stsd.socket

first_contact() {
    active socket active && active service inactive &&
        is "mode of the socket" "$(stat -c %a $socket)" 666 &&
        is "mode and owner of its directory" "$(stat -c '%a %u' ${socket%/*})" "755 0"
}
check "the socket listens, for every user, and the service is not started" first_contact

activation() { hand_out && within 5 active service active && is Type "$(show service Type)" notify; }
check "the first sts-shim starts the daemon, with the key as a credential" activation

bounds() {
    is MemoryHigh "$(show service MemoryHigh)" $((64 * 1024 * 1024)) &&
        is MemoryMax "$(show service MemoryMax)" $((256 * 1024 * 1024)) &&
        is TasksMax "$(show service TasksMax)" 320
}
check "memory and threads are bounded" bounds

identities() { hand_out && refused 31501 && refused 0; }

# The daemon reads the unit of a caller inside its sandbox, which only a real sandbox can test.
in_unit() {
    systemd-run --quiet --wait --pipe --collect --uid=31501 --unit="$1" \
        sts-shim --socket $socket oss-upload >/dev/null
}
units() {
    in_unit stsd-allowed.service || return 1
    in_unit stsd-refused.service
    is "exit code in another unit" $? 5
}
own_unit() {
    # A unit of a user's manager may have any name; a rule does not match it.
    setpriv --reuid 31501 --regid 31501 --clear-groups env XDG_RUNTIME_DIR=/run/user/31501 \
        systemd-run --user --quiet --wait --pipe --collect --unit=stsd-allowed.service \
        sts-shim --socket $socket oss-upload >/dev/null
    is "exit code" $? 5
}

one_kept() { is "descriptors in the store" "$(show service NFileDescriptorStore)" 1; }
stored() { within 5 one_kept; }
check "its sessions are in the descriptor store of PID 1" stored
before=$(calls)

check "a rule by user: that user is answered, another one and root are refused" identities
check "a rule by unit: that unit is answered, another one is refused" units
loginctl enable-linger stsd-other
within 10 systemctl --quiet is-active user@31501.service
check "and the same name in a user's own manager is refused" own_unit

nobody() {
    local user
    user=$(stat -c %u "/proc/$(pid)") || return 1
    [ "$user" -ge 61184 ] && [ "$user" -le 65519 ] || { echo "it runs as uid $user" && return 1; }
}
[ "$version" -lt 247 ] ||
    check "it runs as a user that exists only while it does" nobody

reload() {
    local old
    old=$(pid)
    systemctl reload stsd.service && hand_out && is "the process" "$(pid)" "$old"
}
check "reload" reload

refused_reload() {
    local old config=/etc/stsd/config.toml
    old=$(pid)
    cp $config "$scratch/config.toml" && echo 'colour = 1' >>$config
    if systemctl reload stsd.service; then echo "the reload succeeded" && return 1; fi
    hand_out && is "the process" "$(pid)" "$old" || return 1
    show service StatusText | grep -q 'the last reload was refused' || return 1
    cp "$scratch/config.toml" $config && systemctl reload stsd.service &&
        is StatusText "$(show service StatusText)" "profiles: 1"
}
check "a refused configuration fails the reload, and the status of the service says so" refused_reload

killed() {
    local old
    old=$(pid)
    send KILL "$old" && within 10 another_pid "$old" && hand_out
}
check "kill -9: back" killed

hang() {
    [ "$(show service WatchdogUSec)" != 0 ] || { echo "there is no watchdog" && return 1; }
    local old
    within 5 active service active
    old=$(pid)
    stop "$old" || return 1
    hand_out || { kill -CONT "$old" && return 1; }
    another_pid "$old"
}
check "SIGSTOP: the watchdog replaces the daemon, and the waiting client is answered" hang

survived() {
    systemctl restart stsd.service && hand_out && stored &&
        is "new AssumeRole calls" $(($(calls) - before)) 0
}
check "none of this, and no restart, has cost a call" survived

master_secret() {
    local config=/etc/stsd/config.toml
    cp $config "$scratch/config.toml" && printf '[http]\nlisten = "127.0.0.1:0"\n' >>$config &&
        systemctl reload stsd.service && ! stsctl status | grep 'change with a reboot' &&
        is "mode of the file" "$(stat -c %a /var/lib/stsd/http.secret)" 600 || return 1
    cp "$scratch/config.toml" $config && systemctl reload stsd.service
}
check "the master secret of the URLs is in the state directory" master_secret

encrypted() {
    systemd-creds encrypt --quiet --name=uploader.key --with-key=host \
        /etc/stsd/uploader.key /etc/stsd/uploader.key.cred && rm /etc/stsd/uploader.key || return 1
    printf '[Service]\nLoadCredentialEncrypted=uploader.key:/etc/stsd/uploader.key.cred\n' \
        >$mine/stsd.service.d/key.conf
    systemctl daemon-reload && systemctl restart stsd.service && hand_out && active service active
}
if [ "$version" -ge 250 ]; then
    check "LoadCredentialEncrypted: the key is on disk only encrypted for this machine" encrypted
else
    note "not checked: LoadCredentialEncrypted=, because systemd has it from 250 on"
fi

check "the journal finds a refusal by the user" audited '"STSD_PROFILE":"oss-upload"' \
    _SYSTEMD_UNIT=stsd.service STSD_DECISION=refused STSD_UID=31501
check "and served credentials by the caller's unit" audited '"STSD_DECISION":"ready"' \
    _SYSTEMD_UNIT=stsd.service STSD_UNIT=stsd-allowed.service
check "no secret is in the journal" quiet
note "live: $(systemd-analyze --no-pager security stsd.service | tail -n 1)"
systemctl --quiet disable --now stsd.socket
systemctl stop stsd.service
check "stopping the socket removes its file" test ! -e $socket
finish
