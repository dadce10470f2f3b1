# shellcheck shell=bash
# The functions of all checks. Sourced.
#
#   check SENTENCE COMMAND...   the command must succeed; its output is shown if it fails
#   is NAME GOT WANTED          compares, and prints a difference
#   within SECONDS COMMAND...   repeats the command until it succeeds

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

# The daemon of the unit that the function show of a script reads.
pid() { show service MainPID; }
another_pid() { [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ]; }
# kill 0 would signal this script.
send() {
    [ "$2" -gt 1 ] || { echo "there is no daemon to send SIG$1 to" && return 1; }
    kill "-$1" "$2"
}

# The signal stops the process when its main thread runs: until then another thread may answer.
stop() { send STOP "$1" && within 10 grep -q '^State:.T' "/proc/$1/status"; }

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# The version of PID 1, which is also that of the users' managers.
systemd_version() { systemctl show -P Version | sed 's/^v//; s/[^0-9].*//'; }

# The calls of AssumeRole that the emulator has received, with any outcome. In bash, because a Debian
# tree has neither curl nor Python.
calls() {
    local answer
    exec 9<>"/dev/tcp/${STS%:*}/${STS#*:}" || return 1
    printf 'GET /_emulator/stats HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$STS" >&9
    answer=$(tr -d '\r\n ' <&9)
    exec 9>&-
    answer=$(grep -o '"AssumeRole":{[^}]*}' <<<"$answer" | grep -o '[0-9]*' | tr '\n' '+')
    echo $((${answer}0))
}

# Checks the last audit event in the journal that matches the arguments of journalctl: it must contain
# a text.
audited() {
    local entry=$scratch/entry wanted
    journalctl --quiet --sync
    journalctl --quiet --output=json --lines=1 STSD_TARGET=audit "${@:2}" >"$entry"
    [ -s "$entry" ] || { echo "no such entry" && return 1; }
    for wanted in $1 '"PRIORITY":"6"' '"SYSLOG_IDENTIFIER":"stsd"' '"STSD_ASKED":"credentials"'; do
        grep -qF "$wanted" "$entry" || { echo "$wanted is not in" && cat "$entry" && return 1; }
    done
    # One line for people.
    grep -qE '"MESSAGE":"(credentials served|refused) .*profile=.*uid=' "$entry" || {
        cat "$entry" && return 1
    }
}

# No field of an entry contains a secret.
quiet() {
    journalctl --quiet --sync
    journalctl --quiet --output=export >"$scratch/journal"
    grep -qa '^STSD_TARGET=' "$scratch/journal" || { echo "the journal has no fields of ours" && return 1; }
    ! grep -aE 'ExampleSecretOf|EmulatedSecret|EmulatedToken' "$scratch/journal"
}

# The number of repetitions in the gate, and with --full.
many() { if [ "${STSD_LAB_FULL:-}" = 1 ]; then echo "$2"; else echo "$1"; fi; }

# Shorter timeouts than those of the units, for a short test.
quick() {
    printf '[Service]\nWatchdogSec=2s\nRestartSec=200ms\n'
    # For a daemon that does not notify systemd yet.
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
