#!/bin/bash
# The unit files, verified by systemd. Runs as root in the container; needs no daemon.
set -u
. "$(dirname "$0")/checks.sh"
tests=/opt/stsd/tests
units=/opt/stsd/systemd
version=$(systemd_version)

# systemd only warns of unknown keys and invalid values, so there must be no line of stsd's units but for
# the keys that since.txt has as younger. Up to 247 verify does not look programs without a path up.
silent() {
    local said younger
    younger=$(awk -v version="$version" '$2 > version { printf "%s|", $1 }' $tests/since.txt)
    said=$(XDG_RUNTIME_DIR=/run SYSTEMD_LOG_COLOR=0 systemd-analyze verify "$@" 2>&1 |
        grep -F stsd. | grep -vE "Unknown (key name|lvalue) '(${younger%|})' in section 'Service'")
    [ "$version" -gt 247 ] || said=$(grep -v 'Command stsd\|Command stsctl' <<<"$said")
    is "what systemd-analyze verify says" "$said" ""
}

# systemd reads a drop-in only beside its unit.
mkdir -p "$scratch/stsd.service.d"
cp $units/user/stsd.service $units/user/stsd.socket "$scratch"
cp $units/user/no-user-namespaces.conf "$scratch/stsd.service.d"

score() {
    systemd-analyze security --offline=true --no-pager --threshold="$1" "$2" | tail -n 1
    [ "${PIPESTATUS[0]}" = 0 ]
}

check "verify warns only of keys younger than this systemd in the user's units" \
    silent --user $units/user/stsd.socket $units/user/stsd.service
check "nor with the drop-in for hosts without user namespaces" \
    silent --user "$scratch/stsd.socket" "$scratch/stsd.service"
check "and so for the machine's units" \
    silent $units/system/stsd.socket $units/system/stsd.service
if [ "$version" -lt 250 ]; then
    note "not checked: scores of unit files, because systemd-analyze has --offline= from 250 on"
    finish
    exit
fi
check "security: the user's service scores 2.2 or better" score 22 $units/user/stsd.service
note "$(score 100 $units/user/stsd.service)"
check "security: the machine's service scores 1.4 or better" score 14 $units/system/stsd.service
note "$(score 100 $units/system/stsd.service)"
finish
