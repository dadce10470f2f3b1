# shellcheck shell=bash
# Runs the parts of a payload and adds up their results. Sourced.

passed=0 failed=0
part() {
    local log=/run/stsd-part
    echo "-- $1"
    shift
    # For a part that hangs: a busy machine needs several times the 30 seconds of the longest one.
    timeout -k 2 "${STSD_LAB_PART:-300}" "$@" 2>&1 | tee "$log"
    # To find the cause of a failure; no check reads this file.
    journalctl --quiet --no-pager --output=short-precise >/results/journal 2>&1
    passed=$((passed + $(grep -c '^ok ' "$log")))
    failed=$((failed + $(grep -c '^FAIL ' "$log")))
    # A part that a signal has ended has not passed.
    if ! grep -qE '^[0-9]+ passed, [0-9]+ failed$' "$log"; then
        failed=$((failed + 1))
        echo "FAIL  this part did not come to its end"
    fi
}

sum_up() {
    echo "$passed passed, $failed failed in all"
    [ "$failed" = 0 ]
}
