#!/bin/bash
# Runs the checks under several versions of systemd and prints the result of each.
#
#   run.sh --programs DIR --work DIR [--full [--static DIR]]
#
# Without --full: this machine's systemd. With --full, the stories are longer and contain an upgrade to
# a newer protocol; systemd 252, 254 and 257 of Debian follow, in trees below --work, and 247 with the
# programs of --static, because its C library is too old for the others; then an emulated machine with
# Debian's kernel, for checks that a container does not allow: sleep, and limits of memory and processes.
#
# Exit code: 0 all checks ran and passed; 1 a check failed; 77 no check failed, and some were not run,
# with the reason in lines "NOT RUN: …".
set -u
here=$(cd "$(dirname "$0")" && pwd)
programs='' work='' full='' static=''
while [ $# -gt 0 ]; do
    case $1 in
    --programs) programs=$2 && shift 2 ;;
    --work) work=$2 && shift 2 ;;
    --full) full=1 && shift ;;
    --static) static=$2 && shift 2 ;;
    *) echo "run.sh: $1?" >&2 && exit 2 ;;
    esac
done
[ -n "$programs" ] && [ -n "$work" ] || { echo "run.sh: --programs and --work" >&2; exit 2; }

# Installs packages only if they are needed and apt can be used.
need() {
    local missing=() package
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 0
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    # A script reports the packages that are still missing.
    {
        timeout 120 apt-get update -qq
        DEBIAN_FRONTEND=noninteractive timeout 300 \
            apt-get install -y -qq --no-install-recommends "${missing[@]}"
    } >/dev/null 2>&1
}

failed='' not_run='' log=''
# Records the result of a named part.
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
    "$here/lab.sh" "$@"
    outcome "$name" $?
}

# Runs the story in a Debian tree: NAME PROGRAMS OPTION...
in_tree() {
    local tree=$1 from=$2
    shift 2
    log=$("$here/make-tree.sh" "$tree" "$work/trees/$tree" 2>&1)
    case $? in
    0) ;;
    77) echo && echo "$log" && not_run=1 && return ;;
    *) echo && echo "$log" && failed="$failed $tree" && return ;;
    esac
    mkdir -p "$work/results-$tree"
    story "$tree" --programs "$from" --tree "$work/trees/$tree/root" --results "$work/results-$tree" "$@"
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
    story "this machine" --programs "$programs" --results "$work/results"
else
    export STSD_LAB_TIMEOUT=900
    long=(STSD_LAB_FULL=1 STSD_LAB_PART=600)
    need mmdebstrap
    if [ -n "$static" ]; then
        in_tree bullseye "$static" "${long[@]}"
    else
        echo && echo "NOT RUN: systemd of bullseye: the static programs cannot be built" && not_run=1
    fi
    if newer=$("$here/make-newer.sh" "$work/newer" 2>"$work/newer.log"); then
        long+=(--newer "$newer")
    else
        echo "the programs of a newer protocol cannot be built: $(tail -n 1 "$work/newer.log")"
        failed="$failed newer"
    fi
    story "this machine" --programs "$programs" --results "$work/results" "${long[@]}"
    for tree in bookworm bookworm-bpo trixie; do
        in_tree $tree "$programs" "${long[@]}"
    done
    machine
fi
if [ -n "$failed" ]; then
    echo "failed:$failed; logs and journals are in $work"
    exit 1
fi
[ -z "$not_run" ] || exit 77
