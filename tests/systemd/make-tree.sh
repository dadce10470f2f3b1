#!/bin/bash
# Makes a Debian tree with a systemd of its own, for lab.sh --tree: make-tree.sh NAME DIRECTORY
#
#   bullseye      systemd 247
#   bookworm      systemd 252
#   bookworm-bpo  systemd 254, from bookworm-backports
#   trixie        systemd 257
#
# Needs root, mmdebstrap and the mirror of this machine's apt. Keeps an existing tree of the same
# packages. Exit code 77: there is no tree, and the last line has the reason.
set -u
name=${1:?a name} tree=${2:?a directory}

not_run() {
    echo "NOT RUN: systemd of $name: $1"
    exit 77
}

[ "$(id -u)" = 0 ] || not_run "making a Debian tree needs root"
packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,procps,ca-certificates
if [ "$(cat "$tree/complete" 2>/dev/null)" = "$packages" ]; then exit 0; fi
command -v mmdebstrap >/dev/null || not_run "mmdebstrap is not installed"
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
    grep -v -e security -e '\.com' | sort -u | head -n 1)
[ -n "$mirror" ] || not_run "apt here knows no mirror of Debian"

# A partly made tree is made again.
rm -rf "$tree"
mkdir -p "$tree"
work=$(mktemp -d)
trap 'rm -rf "$work"; [ -e "$tree/complete" ] || rm -rf "$tree"' EXIT
trap 'exit 130' INT TERM HUP

options=(--quiet --variant=minbase --include="$packages"
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*'
    --dpkgopt='path-exclude=/usr/share/locale/*'
    --aptopt='Apt::Install-Recommends "false"')
case $name in
bullseye | bookworm | trixie)
    mmdebstrap "${options[@]}" "$name" "$tree/root" "$mirror" >"$work/log" 2>&1
    ;;
bookworm-bpo)
    # Only the named packages are taken from backports.
    printf 'Package: src:systemd\nPin: release n=bookworm-backports\nPin-Priority: 990\n' >"$work/pin"
    printf 'deb %s bookworm main\ndeb %s bookworm-backports main\n' "$mirror" "$mirror" |
        mmdebstrap "${options[@]}" \
            --setup-hook='mkdir -p "$1/etc/apt/preferences.d"' \
            --setup-hook="cp '$work/pin' \"\$1/etc/apt/preferences.d/backports\"" \
            bookworm "$tree/root" - >"$work/log" 2>&1
    ;;
*)
    echo "make-tree.sh: no tree is called $name" >&2
    exit 2
    ;;
esac || not_run "the tree cannot be made: $(tail -n 1 "$work/log")"
echo "$packages" >"$tree/complete"
chroot "$tree/root" systemctl --version | head -n 1
