#!/bin/bash
# The machine's daemon with the user that the rpm package creates. Runs as root in the container, after
# system.sh.
set -u
. "$(dirname "$0")/checks.sh"
socket=/run/stsd/stsd.sock
mine=/etc/systemd/system
packaging=/opt/stsd/packaging/rpm

show() { systemctl show -P "$2" "stsd.$1"; }
hand_out() { setpriv --reuid 31500 --regid 31500 --clear-groups -- sts-shim --socket $socket oss-upload >/dev/null; }

install -D -m 644 $packaging/sysusers.d/stsd.conf /usr/lib/sysusers.d/stsd.conf
created() { systemd-sysusers stsd.conf && getent passwd stsd && getent group stsd; }
check "systemd-sysusers creates the user and the group" created

install -d $mine/stsd.service.d /etc/stsd
cp /opt/stsd/systemd/system/stsd.{service,socket} $mine
rm -f $mine/stsd.service.d/key.conf
(umask 077 && key >/etc/stsd/uploader.key)
chown stsd: /etc/stsd/uploader.key
{
    config /etc/stsd/uploader.key
    echo 'allow = ["user:stsd-lab"]'
} >/etc/stsd/config.toml
systemctl daemon-reload
systemctl --quiet enable --now stsd.socket

own_key() {
    hand_out && is DynamicUser "$(show service DynamicUser)" yes &&
        is "user of the daemon" "$(stat -c %U "/proc/$(pid)")" stsd
}
check "the service runs as that user, and reads the user's key file" own_key
restarted() { systemctl restart stsd.service && hand_out; }
check "and again after a restart" restarted

systemctl --quiet disable --now stsd.socket
systemctl stop stsd.service
install -D -m 644 $packaging/90-stsd.preset /usr/lib/systemd/system-preset/90-stsd.preset
preset() {
    systemctl preset stsd.socket stsd.service
    is "stsd.socket" "$(systemctl is-enabled stsd.socket)" disabled
}
check "the preset enables nothing" preset
finish
