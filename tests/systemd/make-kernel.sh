#!/bin/bash
# Unpacks Debian's kernel for virtual machines, for machine.sh:
#
#   make-kernel.sh SUITE DIRECTORY
#
# Installs nothing, and keeps an existing kernel. Exit code 77: there is no kernel, and the last line
# has the reason.
set -u
suite=${1:?a suite} place=${2:?a directory}

not_run() {
    echo "NOT RUN: kernel of $suite: $1"
    exit 77
}

if [ -e "$place/complete" ]; then exit 0; fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || not_run "this is no Debian"
[ "$(dpkg --print-architecture)" = amd64 ] || not_run "only tried on amd64"
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
    grep -v -e security -e '\.com' | sort -u | head -n 1)
[ -n "$mirror" ] || not_run "apt here knows no mirror of Debian"

# A partly unpacked kernel is unpacked again.
rm -rf "$place"
work=$(mktemp -d)
trap 'rm -rf "$work"; [ -e "$place/complete" ] || rm -rf "$place"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$place" "$work"/lists/partial "$work"/cache/archives/partial

# A private apt, which leaves the machine's lists and packages unchanged.
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $mirror $suite main" >"$work/sources.list"
apt=(-qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/nonexistent
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
fetch() {
    local package
    timeout 120 apt-get "${apt[@]}" update || return 1
    package=$(apt-cache "${apt[@]}" depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')
    [ -n "$package" ] || { echo "no package" && return 1; }
    (cd "$work" && timeout 300 apt-get "${apt[@]}" download "$package") &&
        dpkg-deb --extract "$work/$package"_*.deb "$work/kernel"
}
fetch >"$work/log" 2>&1 || not_run "it cannot be fetched: $(tail -n 1 "$work/log")"
# Without modules, because the needed drivers are built in.
mv "$work"/kernel/boot/vmlinuz-* "$place/vmlinuz"
touch "$place/complete"
