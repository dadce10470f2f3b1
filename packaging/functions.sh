#!/bin/sh
# Functions for the scripts of the Debian package and of the rpm package, which begin with this file.
# The packages start and enable no unit; their removal stops those of the machine. With DPKG_ROOT no
# systemd runs in the root file system.
set -e

reload_manager() {
    if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload || true
    fi
}

# Stops and disables the units of the machine before their programs are removed. The managers of users
# are out of reach: their daemons keep the program that they run.
stop_units() {
    if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
        systemctl --system --no-reload disable --now stsd.socket stsd.service || true
    fi
}

# Prints the commands that restart daemons: a package cannot restart those of all users. Then checks the
# configuration of the machine with the new program, which only now is in its place. A refusal is a
# warning: running daemons keep the old program, and a failed script would leave the package half
# installed and the cause unchanged.
report_upgrade() {
    echo "stsd: running daemons keep the old version until a restart, which keeps their sessions:"
    echo "stsd:   systemctl --user daemon-reload && systemctl --user restart stsd.service"
    echo "stsd:   systemctl restart stsd.service      (a system service)"
    echo "stsd: users run stsd --check before: this version may refuse what the old one accepted"
    check_configuration
}

# Prints the mistakes that the new program finds, as the user of the running service. Without a running
# service it is the user stsd, if there is one, and systemd passes no credential to the program.
check_configuration() {
    config=/etc/stsd/config.toml
    [ -z "$DPKG_ROOT" ] || return 0
    [ -e "$config" ] || ls /etc/stsd/config.d/*.toml >/dev/null 2>&1 || return 0
    set -- /usr/bin/stsd --system --check
    status=
    if [ -d /run/systemd/system ]; then
        pid=$(systemctl show --property=MainPID --value stsd.service 2>/dev/null || true)
        status=$(cat "/proc/${pid:-0}/status" 2>/dev/null || true)
    fi
    uid=$(echo "$status" | while read -r key _ id _; do [ "$key" != Uid: ] || echo "$id"; done)
    gid=$(echo "$status" | while read -r key _ id _; do [ "$key" != Gid: ] || echo "$id"; done)
    groups=$(echo "$status" | while read -r key ids; do [ "$key" != Groups: ] || echo "$ids"; done)
    if [ -z "$uid" ] && grep -qrs '^[[:space:]]*access_key_credential' "$config" "${config%.toml}.d"; then
        echo "stsd: the configuration is not checked: stsd.service, which gets the credential, does not run"
        return 0
    fi
    if [ -z "$uid" ]; then
        account=$(getent passwd stsd || true)
        ids=${account#*:*:}
        uid=${ids%%:*}
        ids=${ids#*:}
        gid=${ids%%:*}
    fi
    if [ -n "$uid" ] && [ -n "$gid" ] && command -v setpriv >/dev/null; then
        if [ -n "$groups" ]; then
            groups="--groups=$(echo "$groups" | tr ' ' ',')"
        else
            groups=--clear-groups
        fi
        set -- setpriv "--reuid=$uid" "--regid=$gid" "$groups" -- "$@"
    fi
    if [ -d /run/credentials/stsd.service ]; then
        set -- env CREDENTIALS_DIRECTORY=/run/credentials/stsd.service "$@"
    fi
    mistakes=$("$@" 2>&1) && return 0
    echo "stsd: this version refuses $config; correct it before a restart of the service:"
    echo "$mistakes"
    echo "stsd: (the check runs outside of the unit, without the variables that the unit sets)"
}
