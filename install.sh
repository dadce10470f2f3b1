#!/bin/sh
# Installs the programs of stsd from the tarball of a release, after a check of its checksum, and starts
# nothing. `sh install.sh --help` has the options. The whole script is one function, which the last line
# calls: a script that has arrived in part does nothing.
set -eu

install_stsd() {
    umask 022
    # A story compares the version with Cargo.toml. The tag workflow writes the address of all releases
    # between the quotes; without one, --from has to name the folder of a release.
    version=0.2.0
    releases=''
    from=''
    prefix=''

    while [ $# -gt 0 ]; do
        case $1 in
            --from | --prefix | --version)
                [ $# -ge 2 ] || fail "$1 needs a value"
                case $1 in
                    --from) from=${2%/} ;;
                    --prefix) prefix=${2%/} ;;
                    --version) version=${2#v} ;;
                esac
                shift 2
                ;;
            -h | --help)
                usage
                return
                ;;
            *) fail "unknown option $1; sh install.sh --help lists the options" ;;
        esac
    done

    case $version in
        '' | *[!0-9A-Za-z.+~-]*) fail "$version is not a version, such as 0.2.0" ;;
    esac
    if [ -z "$prefix" ]; then
        # sudo -E keeps the home of another user, in whose folders root's files would be in the way.
        [ -n "$(find "${HOME:-/}" -prune -user "$(id -u)" 2>/dev/null)" ] ||
            fail "HOME is not a folder of this user: ${HOME:-not set}; name a folder by --prefix"
        prefix=$HOME/.local
    fi
    case $prefix in
        /*) ;;
        *) fail "the prefix is not an absolute path: $prefix" ;;
    esac
    from=${from:-${releases:+$releases/v$version}}
    # STSD_INSTALL_LOOPBACK=1 is for the tests: a server of this machine, without TLS.
    case ${STSD_INSTALL_LOOPBACK:-}:$from in
        *:) fail 'no address is known: name the folder of the release by --from https://…' ;;
        *:https://*) protocol='=https' ;;
        1:http://127.0.0.1:*) protocol='=http' ;;
        *) fail "$from does not begin with https://" ;;
    esac

    system=$(uname -s)
    [ "$system" = Linux ] || fail "the daemon runs on Linux only, and this is $system"
    machine=$(uname -m)
    case $machine in
        x86_64 | amd64) machine=x86_64 ;;
        aarch64 | arm64) machine=aarch64 ;;
        *) fail "there is no tarball for $machine, only for x86_64 and aarch64" ;;
    esac

    for tool in curl tar gzip awk find grep mktemp; do
        command -v "$tool" >/dev/null || fail "$tool is needed, and is not installed"
    done
    if command -v sha256sum >/dev/null; then
        sum='sha256sum'
    elif command -v shasum >/dev/null; then
        sum='shasum -a 256'
    else
        fail 'neither sha256sum nor shasum is installed: the checksum cannot be checked'
    fi

    mkdir -p "$prefix" || fail "$prefix cannot be written; choose another --prefix"
    # In the prefix, so that each file is moved within one file system.
    work=$(mktemp -d "$prefix/.stsd-install.XXXXXX") || fail "$prefix cannot be written; choose another --prefix"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    name=stsd-$version-linux-$machine
    tarball=$name.tar.gz
    download "$from/SHA256SUMS" "$work/SHA256SUMS"
    expected=$(awk -v name="$tarball" '$2 == name || $2 == "*" name { print $1 }' "$work/SHA256SUMS")
    [ -n "$expected" ] || fail "$from/SHA256SUMS has no line for $tarball"
    download "$from/$tarball" "$work/$tarball"
    # Of the standard input: sha256sum escapes the name of some files.
    actual=$($sum <"$work/$tarball")
    actual=${actual%% *}
    [ "$actual" = "$expected" ] ||
        fail "$tarball has the checksum $actual, and SHA256SUMS has $expected; nothing was installed"

    # Before any file is replaced: an archive that cannot be read whole changes nothing.
    tar -xzpf "$work/$tarball" -C "$work" || fail "$tarball cannot be unpacked; nothing was installed"
    [ -x "$work/$name/bin/stsd" ] || fail "$tarball has no $name/bin/stsd; nothing was installed"
    # systemd finds a program by its name in /usr/local/bin and /usr/bin alone. `stsctl init` writes units
    # with the paths of the programs, so that other prefixes need none.
    case $prefix in
        /usr | /usr/local) ;;
        *) rm -rf "${work:?}/$name/lib" ;;
    esac

    list=share/stsd/installed-files.txt
    mkdir -p "$work/$name/${list%/*}"
    (cd "$work/$name" && : >"$list" && find . ! -type d | LC_ALL=C sort >../list && mv ../list "$list")
    # mv would move a file into a directory of its name.
    (cd "$work/$name" && find . ! -type d) | while IFS= read -r file; do
        [ ! -d "$prefix/$file" ] || fail "$prefix/$file is a directory; nothing was installed"
    done
    (cd "$work/$name" && find . -type d) | while IFS= read -r directory; do
        mkdir -p "$prefix/$directory"
    done
    # Files that this version does not have any more.
    if [ -f "$prefix/$list" ]; then
        grep '^\./' "$prefix/$list" | grep -v '/\.\./' | while IFS= read -r file; do
            [ -e "$work/$name/$file" ] || rm -f "$prefix/$file"
        done
    fi
    # A running program keeps its file: mv replaces the name and not the content.
    (cd "$work/$name" && find . ! -type d) | while IFS= read -r file; do
        mv -f "$work/$name/$file" "$prefix/$file"
    done

    echo "stsd $version is installed in $prefix/bin: stsd, stsctl, sts-shim and the emulator"
    echo "its files: $prefix/$list"
    case :$PATH: in
        *":$prefix/bin:"*) next=stsctl ;;
        *)
            echo "$prefix/bin is not in PATH"
            next=$prefix/bin/stsctl
            ;;
    esac
    echo "next: $next init"
}

usage() {
    cat <<'END'
Usage: sh install.sh [OPTION]…

  --from URL       the folder of a release, with the tarball and SHA256SUMS; https only
  --version X.Y.Z  another version, in the folder of --from
  --prefix DIR     another folder than ~/.local; /usr/local also gets the units of systemd

Downloads the tarball of this machine's architecture, checks its checksum, and installs it. It never
uses sudo, and starts nothing. To remove it: cd DIR && xargs rm -f < share/stsd/installed-files.txt
END
}

# Stores the file at an address.
download() {
    curl --proto "$protocol" --proto-redir "$protocol" --tlsv1.2 --fail --silent --show-error \
        --location --retry 2 --output "$2" "$1" ||
        fail "$1 cannot be downloaded; nothing was installed"
}

# Prints an error and ends the script.
fail() {
    echo "install.sh: $1" >&2
    exit 1
}

install_stsd "$@"
