#!/bin/bash
# Runs the checks under real systemds and says what came of each.
#
#   run.sh --programs DIR --work DIR [--full]
#
# Without --full: this machine's own systemd. With it, each story is longer, an upgrade to a
# newer protocol is among them, and systemd 252, 254 and 257 of Debian follow, in trees made
# below --work. Last comes a whole emulated machine with Debian's kernel, for what a container
# cannot show: sleep, and limits of memory and processes.
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
    # A script that needs a package reports it if it is still missing afterwards.
    {
        timeout 120 apt-get update -qq
        DEBIAN_FRONTEND=noninteractive timeout 300 \
            apt-get install -y -qq --no-install-recommends "${missing[@]}"
    } >/dev/null 2>&1
}

failed='' not_run='' log=''
# What came of something that has a name.
outcome() {
    case $2 in
    0) ;;
    77) not_run=1 ;;
    *) failed="$failed $1" ;;
    esac
}

story() {
    local name=$1
    shift
    echo
    echo "== systemd of $name"
    "$here/lab.sh" --programs "$programs" "$@"
    outcome "$name" $?
}

machine() {
    local kernel=$work/kernel tree=$work/trees/trixie/root
    echo
    echo "== an emulated machine"
    need qemu-system-x86 cpio
    [ -d "$tree" ] || { echo "NOT RUN: there is no tree to boot in it" && not_run=1 && return; }
    mkdir -p "$work/results-machine"
    "$here/make-kernel.sh" trixie "$kernel" &&
        "$here/machine.sh" --programs "$programs" --results "$work/results-machine" \
            --tree "$tree" --kernel "$kernel/vmlinuz"
    outcome machine $?
}

mkdir -p "$work"/results
need systemd-container dbus-user-session libpam-systemd
if [ -z "$full" ]; then
    story "this machine" --results "$work/results"
else
    export STSD_LAB_TIMEOUT=400
    long=(STSD_LAB_FULL=1 STSD_LAB_PART=300)
    if newer=$("$here/make-newer.sh" "$work/newer" 2>"$work/newer.log"); then
        long+=(--newer "$newer")
    else
        echo "the programs of a newer protocol cannot be built: $(tail -n 1 "$work/newer.log")"
        failed="$failed newer"
    fi
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
    machine
fi
if [ -n "$failed" ]; then
    echo "failed:$failed; logs and journals are in $work"
    exit 1
fi
[ -z "$not_run" ] || exit 77
