#!/bin/bash
# Runs the checks under real systemds and says what came of each.
#
#   run.sh --programs DIR --work DIR [--full]
#
# Without --full: this machine's own systemd. With it, each story is longer, and systemd 252,
# 254 and 257 of Debian follow, in trees made below --work.
#
# Exit code: 0 all ran and passed; 1 something failed; 77 something was NOT RUN, and the lines
# that begin so say what and why, and nothing failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
programs='' work='' full=''
while [ $# -gt 0 ]; do
    case $1 in
    --programs) programs=$2 && shift 2 ;;
    --work) work=$2 && shift 2 ;;
    --full) full=1 && shift ;;
    *) echo "run.sh: $1?" >&2 && exit 2 ;;
    esac
done
[ -n "$programs" ] && [ -n "$work" ] || { echo "run.sh: --programs and --work" >&2; exit 2; }

# The machine's packages are touched only where that is possible and needed at all.
need() {
    local missing=() package
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 0
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    # What is still missing afterwards is named by whoever needs it.
    {
        timeout 120 apt-get update -qq
        DEBIAN_FRONTEND=noninteractive timeout 300 \
            apt-get install -y -qq --no-install-recommends "${missing[@]}"
    } >/dev/null 2>&1
}

failed='' not_run='' log=''
story() {
    local name=$1 code
    shift
    echo
    echo "== systemd of $name"
    "$here/lab.sh" --programs "$programs" "$@"
    code=$?
    case $code in
    0) ;;
    77) not_run=1 ;;
    *) failed="$failed $name" ;;
    esac
}

mkdir -p "$work"/results
need systemd-container dbus-user-session libpam-systemd
if [ -z "$full" ]; then
    story "this machine" --results "$work/results"
else
    export STSD_LAB_TIMEOUT=400
    long=(STSD_LAB_FULL=1 STSD_LAB_PART=300)
    story "this machine" --results "$work/results" "${long[@]}"
    need mmdebstrap
    for tree in bookworm bookworm-bpo trixie; do
        log=$("$here/make-tree.sh" $tree "$work/trees/$tree" 2>&1)
        case $? in
        0) ;;
        77) echo && echo "$log" && not_run=1 && continue ;;
        *) echo && echo "$log" && failed="$failed $tree" && continue ;;
        esac
        mkdir -p "$work/results-$tree"
        story "$tree" --tree "$work/trees/$tree/root" --results "$work/results-$tree" "${long[@]}"
    done
    echo
    echo "NOT RUN: suspend and limits of memory and processes: they need a virtual machine," \
        "for which there is no story yet"
    not_run=1
fi
if [ -n "$failed" ]; then
    echo "failed:$failed; logs and journals are in $work"
    exit 1
fi
[ -z "$not_run" ] || exit 77
