# shellcheck shell=bash
# What all checks use. Sourced.
#
#   check SENTENCE COMMAND...   the command must succeed; what it says is shown when it fails
#   is WHAT GOT WANTED          compares, and says what differs
#   within SECONDS COMMAND...   tries again until the command succeeds

passed=0 failed=0
scratch=$(mktemp -d)
STS=127.0.0.1:4100

check() {
    local sentence=$1
    shift
    if "$@" >"$scratch/said" 2>&1; then
        passed=$((passed + 1))
        echo "ok    $sentence"
    else
        failed=$((failed + 1))
        echo "FAIL  $sentence"
        tail -n 8 "$scratch/said" | sed 's/^/      /'
    fi
}

note() { echo "      $*"; }

is() {
    [ "$2" = "$3" ] || { echo "$1: is '$2', should be '$3'" && return 1; }
}

within() {
    local tries=$(($1 * 20))
    shift
    for _ in $(seq "$tries"); do
        "$@" && return 0
        sleep 0.05
    done
    "$@"
}

# The daemon, for scripts that say with a function show whose.
pid() { show service MainPID; }
another_pid() { [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ]; }
# To process 0 it would go to ourselves.
send() {
    [ "$2" -gt 1 ] || { echo "there is no daemon to send SIG$1 to" && return 1; }
    kill "-$1" "$2"
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# The calls of AssumeRole that the emulated cloud has seen, whatever came of them. Written
# for a shell alone, because a Debian tree has neither curl nor Python.
calls() {
    local answer
    exec 9<>"/dev/tcp/${STS%:*}/${STS#*:}" || return 1
    printf 'GET /_emulator/stats HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$STS" >&9
    answer=$(tr -d '\r\n ' <&9)
    exec 9>&-
    answer=$(grep -o '"AssumeRole":{[^}]*}' <<<"$answer" | grep -o '[0-9]*' | tr '\n' '+')
    echo $((${answer}0))
}

# What the daemon has told the journal of a hand-out or refusal, found by its fields, which
# are words of journalctl; the last such entry, which must name a thing and its value.
audited() {
    local entry=$scratch/entry wanted
    journalctl --quiet --sync
    journalctl --quiet --output=json --lines=1 STSD_TARGET=audit "${@:2}" >"$entry"
    [ -s "$entry" ] || { echo "no such entry" && return 1; }
    for wanted in $1 '"PRIORITY":"6"' '"SYSLOG_IDENTIFIER":"stsd"' '"STSD_ASKED":"credentials"'; do
        grep -qF "$wanted" "$entry" || { echo "$wanted is not in" && cat "$entry" && return 1; }
    done
    # One line with all of it, for people.
    grep -qE '"MESSAGE":"(credentials served|refused) .*profile=.*uid=' "$entry" || {
        cat "$entry" && return 1
    }
}

# No secret is in any field of any entry.
quiet() {
    journalctl --quiet --sync
    journalctl --quiet --output=export >"$scratch/journal"
    grep -qa '^STSD_TARGET=' "$scratch/journal" || { echo "the journal has no fields of ours" && return 1; }
    ! grep -aE 'ExampleSecretOf|EmulatedSecret|EmulatedToken' "$scratch/journal"
}

# How many times a command is repeated in the gate, and in full.
many() { if [ "${STSD_LAB_FULL:-}" = 1 ]; then echo "$2"; else echo "$1"; fi; }

# What differs from the units for the sake of a short test: patience only.
quick() {
    printf '[Service]\nWatchdogSec=2s\nRestartSec=200ms\n'
    # To work on the checks with a daemon that cannot notify yet.
    [ -z "${STSD_LAB_TYPE:-}" ] || printf 'Type=%s\nWatchdogSec=0\n' "$STSD_LAB_TYPE"
}

config() {
    printf 'endpoint = "http://%s"\n[source.uploader]\ntype = "access-key"\n' "$STS"
    printf 'access_key_file = "%s"\n' "$1"
    printf '[profile.oss-upload]\nsource = "uploader"\n'
    printf 'role_arn = "acs:ram::100000000000001:role/oss-upload"\n'
}

key() {
    printf 'access_key_id = "LTAIEXAMPLEUPLOADER01"\n'
    printf 'access_key_secret = "ExampleSecretOfUploader000001"\n'
}

finish() {
    rm -rf "$scratch"
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
