#!/bin/bash
# The checks that a container does not allow. Runs in the emulated machine as root.
set -u
tests=/opt/stsd/tests
echo "$(systemctl --version | head -n 1), Linux $(uname -r), emulated"

cloud() {
    systemctl stop stsd-emulator.service 2>/dev/null
    systemd-run --quiet --unit=stsd-emulator --property=Type=exec \
        stsd-emulator --sts 127.0.0.1:4100 --oss 127.0.0.1:4101 "$@"
    for _ in $(seq 200); do
        (: <>/dev/tcp/127.0.0.1/4100) 2>/dev/null && break
        sleep 0.05
    done
}

export STSD_LAB_PART=600
. $tests/parts.sh
# Shorter than a sleep of half a minute.
cloud --session-life 20s
part "the machine sleeps" bash $tests/sleep.sh
cloud
part "limits of memory and processes" bash $tests/limits.sh
sum_up
