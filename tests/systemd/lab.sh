#!/bin/bash
# Boots a whole systemd (PID 1, journald, logind, a user's manager) in a throw-away container
# and runs payload.sh in it as root.
#
#   lab.sh --programs DIR --results DIR [--tree DIR] [--newer DIR] [NAME=VALUE ...]
#
# The container's files are an overlay over / of this machine, or over a Debian tree. All writes go
# to a tmpfs. Processes, mounts, network and control group belong to the container and end with it,
# however this script ends. NAME=VALUE are added to the payload's environment. --newer also checks an
# upgrade to the programs in that directory.
#
# Exit code: the payload's; 77 if no container can be booted, with the reason in "NOT RUN: …"; 125 if
# the payload began and did not end.
set -u

here=$(cd "$(dirname "$0")" && pwd)
# The rest runs in a mount namespace of its own, so that nothing has to be unmounted.
if [ -z "${STSD_LAB_INSIDE:-}" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "NOT RUN: booting a systemd needs root"
        exit 77
    fi
    unshare --mount true 2>/dev/null || {
        echo "NOT RUN: mount namespaces are not allowed here"
        exit 77
    }
    # exec, so that a signal reaches the process that cleans up.
    exec env STSD_LAB_INSIDE=1 unshare --mount --propagation private -- "$here/lab.sh" "$@"
fi

programs='' results='' tree=/ newer='' variables=()
while [ $# -gt 0 ]; do
    case $1 in
    --programs) programs=$(realpath "$2") && shift 2 ;;
    --results) results=$(realpath "$2") && shift 2 ;;
    --tree) tree=$(realpath "$2") && shift 2 ;;
    --newer) newer=$(realpath "$2") && shift 2 ;;
    *=*) variables+=("$1") && shift ;;
    *) echo "lab.sh: $1?" >&2 && exit 2 ;;
    esac
done
[ -d "$programs" ] && [ -d "$results" ] || { echo "lab.sh: --programs and --results" >&2; exit 2; }

. "$here/boot.sh"

command -v systemd-nspawn >/dev/null || not_run "systemd-nspawn is missing (package systemd-container)"
[ -e "$tree/usr/lib/systemd/user/dbus.socket" ] ||
    not_run "D-Bus for users is missing (package dbus-user-session)"
find "$tree"/usr/lib/*/security "$tree"/lib/*/security -name pam_systemd.so 2>/dev/null |
    grep -q . || not_run "pam_systemd is missing (package libpam-systemd)"

work=$(mktemp -d "$results/work.XXXXXX")
cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
if [ -z "$cgroups" ]; then
    cgroups=$work/cgroups
    mkdir "$cgroups"
    mount -t cgroup2 none "$cgroups" 2>/dev/null || not_run "there is no cgroup2 here"
fi
cgroup=$cgroups/stsd-lab-$$
# A run that was killed by SIGKILL leaves an empty control group.
for old in "$cgroups"/stsd-lab-*; do
    [ ! -d "$old" ] || kill -0 "${old##*-}" 2>/dev/null ||
        find "$old" -depth -type d -exec rmdir {} + 2>/dev/null
done
container=''

cleanup() {
    [ -z "$container" ] || kill -KILL "$container" 2>/dev/null
    # All processes in the group are of this run.
    [ ! -e "$cgroup/cgroup.kill" ] || echo 1 >"$cgroup/cgroup.kill"
    for _ in $(seq 50); do
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -d "$cgroup" ] || break
        sleep 0.1
    done
    # The mount namespace ends with this process; a mount would keep the directory until then.
    for mount in "$work"/root/merged "$work"/root "$work"/cgroups; do
        umount --lazy "$mount" 2>/dev/null
    done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
mkdir "$cgroup" || not_run "no control group can be made below $cgroups"

mkdir "$work/root"
root=$work/root/merged
prepare() {
    mount -t tmpfs -o mode=755 stsd-lab "$work/root" && mkdir "$work"/root/{upper,work,merged} &&
        mount -t overlay overlay \
            -o "lowerdir=$tree,upperdir=$work/root/upper,workdir=$work/root/work" "$root"
}
prepare 2>"$work/log" || not_run "no overlay over $tree: $(tail -n 1 "$work/log")"

# An ordinary user whose manager starts at boot, and a user without a rule.
for user in stsd-lab:31500 stsd-other:31501; do
    add_user "${user%:*}" "${user#*:}"
done
# State and configuration of a stsd that is installed on this machine.
rm -rf "$root/var/lib/stsd" "$root/var/lib/private/stsd" "$root/etc/stsd"
mkdir -p "$root/opt/stsd"
# A manager without sessions stops after a second instead of ten.
mkdir -p "$root/etc/systemd/logind.conf.d"
printf '[Login]\nUserStopDelaySec=1s\n' >"$root/etc/systemd/logind.conf.d/stsd-lab.conf"

boots_into 'bash /opt/stsd/tests/payload.sh >/results/log 2>&1; code=$?; echo $code >/results/code; systemctl exit --no-block $code || systemctl poweroff' \
    "${variables[*]:-}" systemd-resolved.service

binds=()
for program in stsd sts-shim stsctl stsd-emulator; do
    binds+=("--bind-ro=$programs/$program:/usr/bin/$program")
done
[ -z "$newer" ] || binds+=("--bind-ro=$newer:/opt/stsd/newer")
rm -f "$results/code" "$results/log"

# The filter of systemd-nspawn would reject memfd_secret, mlock and Landlock.
export SYSTEMD_SECCOMP=0
# The container ends with this script: by the trap, or by the parent-death signal.
(
    echo $BASHPID >"$cgroup/cgroup.procs" || exit 1
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec setpriv --pdeathsig KILL \
        unshare --mount --propagation private --cgroup --pid --fork --kill-child --mount-proc \
        --uts --ipc --net bash -c '
            # A machine with cgroup v1 shows the container v2 only, rooted in our group.
            umount -R -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
            # A private /run for systemd-nspawn.
            mount -t tmpfs -o mode=755 stsd-lab-run /run || exit 1
            exec timeout -k 5 "$@"' lab \
        "${STSD_LAB_TIMEOUT:-600}" systemd-nspawn --quiet --directory="$root" --machine=stsd-lab \
        --register=no --keep-unit --private-network --link-journal=no "${binds[@]}" \
        --bind-ro="$here:/opt/stsd/tests" --bind-ro="$here/../../systemd:/opt/stsd/systemd" \
        --bind-ro="$here/../../packaging:/opt/stsd/packaging" \
        --bind="$results:/results" --boot --console=pipe
) </dev/null >"$results/console" 2>&1 &
container=$!
wait "$container"
container=''

if [ ! -e "$results/log" ]; then
    not_run "no systemd boots here: $(grep -v '^ *$' "$results/console" | tail -n 1 | tr -d '\r')"
fi
cat "$results/log"
if [ ! -e "$results/code" ]; then
    echo "the checks did not end"
    tail -n 20 "$results/console"
    exit 125
fi
exit "$(cat "$results/code")"
