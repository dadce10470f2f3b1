#!/bin/bash
# The machine sleeps (S3) for longer than the lifetime of a session. Runs as root in the emulated
# machine, with sessions of 20 seconds.
set -u
. "$(dirname "$0")/checks.sh"
home=/home/stsd-lab
user() {
    setpriv --reuid 31500 --regid 31500 --clear-groups env HOME=$home XDG_RUNTIME_DIR=/run/user/31500 "$@"
}
show() { user systemctl --user show -P "$2" "stsd.$1"; }
hand_out() { user sts-shim "$@" oss-upload; }
field() { grep -o "\"$1\":\"[^\"]*\"" | cut -d'"' -f4; }

user mkdir -p $home/.config/systemd/user $home/.config/stsd
user cp /opt/stsd/systemd/user/stsd.{service,socket} $home/.config/systemd/user
(umask 077 && key >$home/.config/stsd/uploader.key)
config uploader.key >$home/.config/stsd/config.toml
{
    echo '[profile.warm]'
    printf 'source = "uploader"\nkeep_warm = true\n'
    printf 'role_arn = "acs:ram::100000000000001:role/oss-upload"\n'
} >>$home/.config/stsd/config.toml
chown -R 31500:31500 $home/.config
user systemctl --user daemon-reload
user systemctl --user --quiet enable --now stsd.socket
check "the first client starts the daemon" hand_out --patience 30s

# Sleeps for a number of seconds, until the alarm of the real-time clock. Once only: the emulated machine
# wakes up at once from a second sleep.
sleep_for() {
    local slept before
    slept=$(cat /sys/power/suspend_stats/success) before=$(date +%s)
    echo 0 >/sys/class/rtc/rtc0/wakealarm
    echo "+$1" >/sys/class/rtc/rtc0/wakealarm
    echo mem >/sys/power/state || return 1
    woken=$(milliseconds)
    is "sleeps" "$(cat /sys/power/suspend_stats/success)" $((slept + 1)) || return 1
    away=$(($(date +%s) - before))
    [ "$away" -ge $(($1 - 2)) ] || { echo "it slept for $away s only" && return 1; }
}

# Prints the AccessKey id of the profile without clients; nothing if it has no valid session.
warm() {
    local lives='"access_key_id":"[^"]*",[^{]*"name":"warm",[^{]*"remaining_seconds":[0-9]'
    user stsctl status --json | tr -d ' \n' | grep -o "$lives" | cut -d'"' -f4
}

# Requests credentials in a loop. One line for each answer: the time of the request, the expiration.
ask() {
    local asked answer
    while [ ! -e "$scratch/stop" ]; do
        asked=$(date +%s)
        if answer=$(hand_out --patience 15s 2>>"$scratch/refused"); then
            echo "$asked $(date -d "$(field Expiration <<<"$answer")" +%s)" >>"$scratch/answers"
        fi
    done
}
# Succeeds after two more answers: an emulated machine may need a second for one.
two_more() {
    local start
    start=$(wc -l <"$scratch/answers")
    more() { [ "$(wc -l <"$scratch/answers")" -ge $((start + 2)) ]; }
    within 60 more
}
: >"$scratch/answers"
ask &
asking=$!
two_more
daemon=$(show service MainPID)
before=$(hand_out | field AccessKeyId) before_warm=$(warm)
check "the machine sleeps for longer than a session lives, and wakes up" sleep_for 35
note "for ${away:-?} s; sessions live for 20"

renewed() {
    local start after
    start=$(milliseconds)
    after=$(hand_out --patience 15s | field AccessKeyId)
    took=$(($(milliseconds) - start))
    [ -n "$after" ] && [ "$after" != "$before" ] || { echo "before $before, after $after" && return 1; }
}
check "the first client after the sleep gets another session" renewed
note "in ${took:-?} ms"

# This profile has no clients, so its renewal may wait until the daemon's next check of the clocks.
unasked() {
    [ -n "$before_warm" ] || { echo "it was not warm before" && return 1; }
    another() { local now && now=$(warm) && [ -n "$now" ] && [ "$now" != "$before_warm" ]; }
    within 25 another && took=$(($(milliseconds) - woken))
}
check "a profile that is kept warm is renewed without a request" unasked
note "${took:-?} ms after the machine woke up; the daemon looks at its clock every 20 s"
two_more
answered=$?
touch "$scratch/stop"
wait $asking

never() {
    sort "$scratch/refused" | uniq -c
    is "refusals" "$(wc -l <"$scratch/refused")" 0 || return 1
    [ $answered = 0 ] || { echo "no answers after the sleep" && return 1; }
    # A session is valid when it is served, which is not before the request.
    is "answers that had ended" "$(awk '$2 <= $1' "$scratch/answers")" ""
}
check "a client that asks all the time is always answered, and never with an expired session" never
note "$(wc -l <"$scratch/answers") answers"

same() { is "the daemon" "$(show service MainPID)" "$daemon" && is restarts "$(show service NRestarts)" 0; }
check "the watchdog did not take the sleep for a hang" same
finish
