#!/usr/bin/env bash
# polling.sh - shows that polling is not real time
#
# Usage: polling.sh [--messages N] [--interval SECONDS] [--programs DIR]
#
# file-sender appends N messages to a file, one each 30 ms, each with the time of its sending. file-receiver
# learns of them in five ways, one after the other: told by inotify; looking every 100, 10 and 1 milliseconds;
# and looking all the time. For each way, one row:
#
#   wake-ups             how often the receiver slept and was woken (voluntary context switches)
#   delay                from the sending of a message to its arrival, in microseconds
#   CPU                  what the receiver cost, in milliseconds
#
#   --messages N         [default: 40]
#   --interval SECONDS   between two messages [default: 0.03]
#   --programs DIR       use the programs in DIR instead of building them
#   --help               print this
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

# The one lesson that belongs to one technique.
name="file"
messages=40
interval=0.03
while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    if ((shift_by)); then
        shift "$shift_by"
        continue
    fi
    case $1 in
        --messages | --interval) need_value "$@" ;;
        *) wrong_usage "unknown argument \"$1\"" ;;
    esac
    if [[ $1 == --messages ]]; then messages=$2; else interval=$2; fi
    shift 2
done
need_technique "$name"
build --release --package "$name"
make_work_dir
options=(--timeout 20)

# measure HOW RECEIVER-OPTION...
measure() {
    local how=$1
    receiver_options=(--stats "${@:2}")
    run_pair "$name" /dev/null /dev/null --count "$messages" --size 64 --stamp --interval "$interval"
    ((sender_status == 0 && receiver_status == 0)) || die 1 "$how: $(complaint)"
    [[ $(figure messages) == "$messages" ]] || die 1 "$how: $(figure messages) of $messages messages came"
    printf '%-26s%9s%10s%10s%10s%10s\n' "$how" "$(figure wakeups)" "$(figure delay_us_median)" \
        "$(figure delay_us_p95)" "$(figure delay_us_worst)" "$(figure cpu_ms)"
}

printf '%s messages, one each %s s\n\n' "$messages" "$interval"
printf '%-26s%9s%30s%10s\n' "" "" "delay in microseconds" "CPU"
printf '%-26s%9s%10s%10s%10s%10s\n' "the receiver" wake-ups median p95 worst ms
measure "is told by inotify"
measure "looks every 100 ms" --poll 100
measure "looks every 10 ms" --poll 10
measure "looks every 1 ms" --poll 1
measure "looks all the time" --poll 0
