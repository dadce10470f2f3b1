#!/bin/bash
# A user whose manager does not linger: manager and daemon start with the first login and end with the
# last logout. Runs as root in the container, after system.sh.
set -u
. "$(dirname "$0")/checks.sh"
home=/home/stsd-other
runtime=/run/user/31501
user() {
    setpriv --reuid 31501 --regid 31501 --clear-groups env HOME=$home XDG_RUNTIME_DIR=$runtime "$@"
}
hand_out() { user sts-shim oss-upload >/dev/null; }
show() { user systemctl --user show -P "$2" "stsd.$1"; }
there() { systemctl --quiet is-active user@31501.service; }
gone() { ! there && [ ! -d $runtime ]; }

# system.sh has enabled lingering.
loginctl disable-linger stsd-other
within 20 gone || note "its manager does not go"

user mkdir -p $home/.config/systemd/user/sockets.target.wants $home/.config/stsd
user cp /opt/stsd/systemd/user/stsd.{service,socket} $home/.config/systemd/user
if [ "$(systemd_version)" -lt 247 ]; then
    user mkdir -p $home/.config/systemd/user/stsd.service.d
    user cp /opt/stsd/systemd/user/no-user-namespaces.conf $home/.config/systemd/user/stsd.service.d
fi
user ln -sf ../stsd.socket $home/.config/systemd/user/sockets.target.wants
(umask 077 && key >$home/.config/stsd/uploader.key)
config uploader.key >$home/.config/stsd/config.toml
chown -R 31501:31501 $home/.config

# A process in a session of the user, as a terminal or ssh starts it.
cat >/etc/pam.d/su <<'PAM'
auth sufficient pam_rootok.so
account required pam_permit.so
session required pam_permit.so
session required pam_systemd.so
PAM
login() {
    user rm -f $home/inside
    su --shell /bin/sh --command "touch $home/inside; exec sleep 600" stsd-other 2>/dev/null &
    session=$!
    within 20 test -e $home/inside && within 10 test -S $runtime/stsd/stsd.sock
}
logout() { kill "$1" && wait "$1"; }

first() { login && one=$session && hand_out && is "AssumeRole calls" $(($(calls) - before)) 1; }
before=$(calls)
check "a login brings the socket, and the first client the daemon" first
daemon=$(show service MainPID)

second() {
    login || return 1
    logout "$session"
    sleep 2
    there && is "the daemon" "$(show service MainPID)" "$daemon"
}
check "a second login that ends takes nothing with it" second

last() {
    logout "$one"
    within 20 gone || return 1
    if kill -0 "$daemon" 2>/dev/null; then echo "the daemon is still there" && return 1; fi
}
check "with the last login go the manager, the daemon and the runtime directory" last

again() {
    before=$(calls)
    login && hand_out && is "new AssumeRole calls" $(($(calls) - before)) 1
}
check "a new login begins anew: the store is gone, so its first client costs one call" again
logout "$session"
within 20 gone
finish
