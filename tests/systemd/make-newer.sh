#!/bin/bash
# Builds programs that speak the next version of the protocol, for upgrade.sh, from a copy of
# the source: make-newer.sh DIRECTORY. Prints their directory.
set -eu
work=${1:?a directory}
source=$(cd "$(dirname "$0")/../.." && pwd)
message=crates/wire/src/message.rs

version=$(sed -n 's/^pub const VERSION: u16 = \([0-9]*\);$/\1/p' "$source/$message")
[ -n "$version" ] || { echo "make-newer.sh: no version in $message" >&2; exit 1; }
rm -rf "$work/source"
mkdir -p "$work/source"
# Keeps the times of the files, so that cargo builds changed files only.
cp -a "$source"/{crates,examples,tests,Cargo.toml,Cargo.lock} "$work/source"
sed -i "s/^pub const VERSION: u16 = $version;\$/pub const VERSION: u16 = $((version + 1));/" \
    "$work/source/$message"
touch --reference="$source/$message" "$work/source/$message"
cd "$work/source"
"${CARGO:-cargo}" build --quiet --locked --package stsd --package sts-shim --target-dir "$work/target"
echo "$work/target/debug"
