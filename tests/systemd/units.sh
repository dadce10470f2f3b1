#!/bin/bash
# The unit files, verified by systemd. Runs as root in the container; needs no daemon.
set -u
. "$(dirname "$0")/checks.sh"
units=/opt/stsd/systemd

# systemd only warns of unknown keys and invalid values, so there must be no output.
silent() {
    local said
    said=$(XDG_RUNTIME_DIR=/run systemd-analyze verify "$@" 2>&1) || { echo "$said" && return 1; }
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

check "verify has nothing to say of the user's units" \
    silent --user $units/user/stsd.socket $units/user/stsd.service
check "nor with the drop-in for hosts without user namespaces" \
    silent --user "$scratch/stsd.socket" "$scratch/stsd.service"
check "verify has nothing to say of the machine's units" \
    silent $units/system/stsd.socket $units/system/stsd.service
check "security: the user's service scores 2.2 or better" score 22 $units/user/stsd.service
note "$(score 100 $units/user/stsd.service)"
check "security: the machine's service scores 1.4 or better" score 14 $units/system/stsd.service
note "$(score 100 $units/system/stsd.service)"
finish
