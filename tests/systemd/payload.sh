#!/bin/bash
# Runs in the container as root: starts the emulator, runs each check as its user, and adds up the
# results.
set -u
tests=/opt/stsd/tests
export STSD_LAB_FULL=${STSD_LAB_FULL:-} STSD_LAB_TYPE=${STSD_LAB_TYPE:-}
echo "systemd $(systemctl show -P Version), Linux $(uname -r)"

systemd-run --quiet --unit=stsd-emulator --property=Type=exec \
    stsd-emulator --sts 127.0.0.1:4100 --oss 127.0.0.1:4101
for _ in $(seq 100); do
    (: <>/dev/tcp/127.0.0.1/4100) 2>/dev/null && break
    sleep 0.05
done

# As an ordinary user with a lingering manager, without a login.
as_user=(setpriv --reuid 31500 --regid 31500 --clear-groups -- env -i
    XDG_RUNTIME_DIR=/run/user/31500 HOME=/home/stsd-lab USER=stsd-lab LOGNAME=stsd-lab
    DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/31500/bus PATH=/usr/bin:/bin
    LANG=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER=
    STSD_LAB_FULL="$STSD_LAB_FULL" STSD_LAB_TYPE="$STSD_LAB_TYPE")

. $tests/checks.sh
. $tests/parts.sh
part "the units themselves" bash $tests/units.sh
part "a user's daemon" "${as_user[@]}" bash $tests/user.sh
part "what root sees of it" bash $tests/outside.sh
# Below 247 user.sh itself runs without user namespaces.
[ "$(systemd_version)" -lt 247 ] ||
    part "no user namespaces for users" bash $tests/no-namespaces.sh
part "the machine's daemon" bash $tests/system.sh
part "the user of the rpm package" bash $tests/static-user.sh
part "logins that end" bash $tests/logins.sh
part "what a human types" bash $tests/human.sh
if [ -d /opt/stsd/newer ]; then
    part "an upgrade to a newer protocol" bash $tests/upgrade.sh
fi
sum_up
