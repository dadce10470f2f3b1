# shellcheck shell=bash disable=SC2154 # the script that sources this file sets root
# The files that lab.sh and machine.sh add below $root before a boot. Sourced.

not_run() {
    echo "NOT RUN: $1"
    exit 77
}

# An ordinary user: NAME ID.
add_user() {
    echo "$1:x:$2:$2::/home/$1:/bin/bash" >>"$root/etc/passwd"
    echo "$1:x:$2:" >>"$root/etc/group"
    echo "$1:!:19000:0:99999:7:::" >>"$root/etc/shadow"
    install -d -m 700 -o "$2" -g "$2" "$root/home/$1"
}

# A target of its own, so that the services of this machine do not run inside:
# boots_into COMMAND VARIABLES UNIT... excludes the units as well. The manager of the user stsd-lab
# starts first.
boots_into() {
    local command=$1 variables=$2 units=$root/etc/systemd/system unit
    shift 2
    mkdir -p "$units" "$root/var/lib/systemd/linger"
    touch "$root/var/lib/systemd/linger/stsd-lab"
    cat >"$units/stsd-lab.target" <<'UNIT'
[Unit]
Requires=basic.target
Wants=systemd-logind.service dbus.service stsd-lab.service
After=basic.target
AllowIsolate=yes
UNIT
    cat >"$units/stsd-lab.service" <<UNIT
[Unit]
After=basic.target systemd-logind.service user@31500.service
Wants=user@31500.service
DefaultDependencies=no
[Service]
Type=oneshot
Environment=HOME=/root LANG=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER= $variables
ExecStart=/bin/bash -c '$command'
UNIT
    ln -sfn stsd-lab.target "$units/default.target"
    for unit in systemd-udevd.service systemd-udev-trigger.service systemd-networkd.service \
        systemd-timesyncd.service systemd-firstboot.service "$@"; do
        ln -sfn /dev/null "$units/$unit"
    done
}
