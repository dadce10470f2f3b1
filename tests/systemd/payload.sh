#!/bin/bash
# Runs in the container as root: starts the emulated cloud, lets the checks run, each as who
# it is meant for, and adds up what they say.
set -u
tests=/opt/stsd/tests
export STSD_LAB_FULL=${STSD_LAB_FULL:-} STSD_LAB_TYPE=${STSD_LAB_TYPE:-}
echo "$(systemctl --version | head -n 1), Linux $(uname -r)"

systemd-run --quiet --unit=stsd-emulator --property=Type=exec \
    stsd-emulator --sts 127.0.0.1:4100 --oss 127.0.0.1:4101
for _ in $(seq 100); do
    (: <>/dev/tcp/127.0.0.1/4100) 2>/dev/null && break
    sleep 0.05
done

# As an ordinary user with a manager of their own; no login is needed, as with linger.
as_user=(setpriv --reuid 31500 --regid 31500 --clear-groups -- env -i
    XDG_RUNTIME_DIR=/run/user/31500 HOME=/home/stsd-lab USER=stsd-lab LOGNAME=stsd-lab
    DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/31500/bus PATH=/usr/bin:/bin
    LANG=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER=
    STSD_LAB_FULL="$STSD_LAB_FULL" STSD_LAB_TYPE="$STSD_LAB_TYPE")

passed=0 failed=0
part() {
    local log=/run/stsd-part
    echo "-- $1"
    shift
    timeout -k 2 "${STSD_LAB_PART:-60}" "$@" 2>&1 | tee "$log"
    # For whoever has to find out why; nothing of it is judged here.
    journalctl --quiet --no-pager --output=short-precise >/results/journal 2>&1
    passed=$((passed + $(grep -c '^ok ' "$log")))
    failed=$((failed + $(grep -c '^FAIL ' "$log")))
    # A part that died has not passed.
    if ! grep -qE '^[0-9]+ passed, [0-9]+ failed$' "$log"; then
        failed=$((failed + 1))
        echo "FAIL  this part did not come to its end"
    fi
}

part "the units themselves" bash $tests/units.sh
part "a user's daemon" "${as_user[@]}" bash $tests/user.sh
part "what root sees of it" bash $tests/outside.sh
part "no user namespaces for users" bash $tests/no-namespaces.sh
part "the machine's daemon" bash $tests/system.sh
echo "$passed passed, $failed failed in all"
[ "$failed" = 0 ]
