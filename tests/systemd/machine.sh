#!/bin/bash
# Boots a Debian tree with a kernel of its own in an emulated machine and runs machine-payload.sh
# in it as root, because a container shares sleep and memory with its host.
#
#   machine.sh --programs DIR --results DIR --tree DIR --kernel FILE
#
# The tree is the machine's initramfs. Without disk, network and KVM the machine runs wherever qemu does,
# slowly. No file remains, however this script ends.
#
# Exit code: the payload's; 77 if no machine can be booted, with the reason in "NOT RUN: …"; 125 if
# the payload began and did not end.
set -u
here=$(cd "$(dirname "$0")" && pwd)
programs='' results='' tree='' kernel=''
while [ $# -gt 0 ]; do
    case $1 in
    --programs) programs=$(realpath "$2") && shift 2 ;;
    --results) results=$(realpath "$2") && shift 2 ;;
    --tree) tree=$(realpath "$2") && shift 2 ;;
    --kernel) kernel=$(realpath "$2") && shift 2 ;;
    *) echo "machine.sh: $1?" >&2 && exit 2 ;;
    esac
done
[ -d "$programs" ] && [ -d "$results" ] && [ -d "$tree" ] && [ -f "$kernel" ] ||
    { echo "machine.sh: --programs, --results, --tree and --kernel" >&2; exit 2; }

. "$here/boot.sh"
[ "$(id -u)" = 0 ] || not_run "packing the files of other users needs root"
for program in qemu-system-x86_64:qemu-system-x86 cpio:cpio; do
    command -v "${program%:*}" >/dev/null || not_run "${program%:*} is missing (package ${program#*:})"
done

work=$(mktemp -d "$results/work.XXXXXX")
machine=''
cleanup() {
    [ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# --- The files that the tree lacks.
root=$work/root
mkdir -p "$root"/{etc,usr/bin,opt/stsd,results}
cp "$tree"/etc/{passwd,group,shadow} "$root/etc"
add_user stsd-lab 31500
echo stsd-lab >"$root/etc/hostname"
echo uninitialized >"$root/etc/machine-id"
cp -r "$here" "$root/opt/stsd/tests"
cp -r "$here/../../systemd" "$root/opt/stsd/systemd"
for program in stsd sts-shim stsctl stsd-emulator; do
    # Debug information would take most of the memory.
    strip --strip-debug -o "$root/usr/bin/$program" "$programs/$program" 2>/dev/null ||
        cp "$programs/$program" "$root/usr/bin/$program"
done

# The machine prints the results on its serial line, between two marks.
boots_into 'bash /opt/stsd/tests/machine-payload.sh >/results/log 2>&1; code=$?; { echo; echo STSD-LAB-BEGIN; cat /results/log; echo STSD-LAB-CODE=$code; } >/dev/ttyS0; sleep 1; systemctl --force --force poweroff' \
    '' systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-hwdb-update.service \
    getty@tty1.service serial-getty@ttyS0.service

# --- Concatenated archives: a later one replaces files of an earlier one.
pack() {
    local place=$1
    shift
    (cd "$place" && find . -xdev "$@" -print0 | cpio --null --create --format=newc --quiet)
}
{
    # Without the files that no program here reads.
    pack "$tree" \( -path ./usr/share/doc -o -path ./usr/share/locale -o -path ./usr/share/zoneinfo \
        -o -path ./usr/share/perl -o -path ./var/lib/apt -o -path ./var/cache \
        -o -path ./usr/lib/x86_64-linux-gnu/perl-base -o -path ./usr/lib/x86_64-linux-gnu/gconv \
        -o -path ./usr/lib/udev/hwdb.bin \) -prune -o
    pack "$root" -mindepth 1
} >"$work/initrd" || not_run "the tree cannot be packed"
rm -rf "$root"

console=$results/console
qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 \
    -nodefaults -no-reboot -display none -serial stdio -kernel "$kernel" -initrd "$work/initrd" \
    -append "console=ttyS0 rdinit=/lib/systemd/systemd systemd.show_status=0 quiet panic=-1 mitigations=off" \
    </dev/null >"$console" 2>"$results/qemu" &
machine=$!
# The machine does not always end by itself: after a suspend its power-off can be lost.
for _ in $(seq $((${STSD_LAB_TIMEOUT:-900} * 2))); do
    kill -0 "$machine" 2>/dev/null || break
    ! grep -aq '^STSD-LAB-CODE=' "$console" || break
    sleep 0.5
done
sleep 0.5
kill -KILL "$machine" 2>/dev/null
wait "$machine" 2>/dev/null
machine=''

tr -d '\r' <"$console" | sed -n '/^STSD-LAB-BEGIN/,/^STSD-LAB-CODE=/p' | grep -av '^STSD-LAB-'
code=$(tr -d '\r' <"$console" | sed -n 's/^STSD-LAB-CODE=//p' | tail -n 1)
if [ -z "$code" ]; then
    [ -s "$console" ] || not_run "qemu does not run here: $(tail -n 1 "$results/qemu")"
    echo "the checks did not end"
    tail -n 20 "$console"
    exit 125
fi
exit "$code"
