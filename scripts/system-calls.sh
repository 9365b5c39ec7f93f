#!/usr/bin/env bash
# system-calls.sh - counts the system calls that a message costs at each end
#
# Usage: system-calls.sh [--count N] [--write] [--programs DIR] [NAME...]
#
# Runs each pair (or each NAME) twice with N messages of 64 bytes, first the sender and then the receiver under
# `strace -f -c`, and prints a Markdown table: system calls per message, and the most frequent ones. Only one
# end at a time is traced, and so slowed down. Starting and ending count too; with many messages that is next to
# nothing. No --timeout is given, so no clock is looked at. A technique that says `payload-limit: BYTES` gets
# that many bytes' worth of messages. Where messages may be lost (`delivery: best-effort`), the receiver's calls are
# divided by the messages that it got.
#
#   --count N       [default: 100000]
#   --write         put the table into docs/system-calls.md
#   --programs DIR  use the programs in DIR instead of building them
#   --help          print this
#
# Exit code 77 if strace is missing or not allowed here.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

size=64
count=100000
write=0
names=()
while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    if ((shift_by)); then
        shift "$shift_by"
        continue
    fi
    case $1 in
        --count)
            need_value "$@"
            count=$2
            shift
            ;;
        --write) write=1 ;;
        -*) wrong_usage "unknown option $1" ;;
        *)
            need_technique "$1"
            names+=("$1")
            ;;
    esac
    shift
done
((!write || ${#names[@]} == 0)) || wrong_usage "--write is for the table of all techniques"
page=$root/docs/system-calls.md

command -v strace >/dev/null || die 77 "strace is not installed (apt install strace)"
strace -o /dev/null true 2>/dev/null || die 77 "strace may not trace here (ptrace(2) is not permitted)"
build
((${#names[@]})) || mapfile -t names < <(ordered_names)
make_work_dir
built=$programs

receiver_options=(--output /dev/null --stats)

# count_calls END NAME MESSAGES: one run with that end under strace, whose counts go to $work/calls.
count_calls() {
    # A pair hangs only by a fault; the timeout (in seconds) bounds it.
    local trace=(timeout 300 strace -f -c -o "$work/calls")
    before_sender=() before_receiver=() programs=$built
    if [[ $1 == receiver ]] && in_family "$2"; then
        # The sender starts the receiver that lies beside it: let that be one under strace.
        programs=$work/$2
        mkdir -p -- "$programs"
        cp -- "$built/$2-sender" "$programs/"
        { printf '#!/bin/sh\nexec'; printf ' %q' "${trace[@]}" "$built/$2-receiver"; printf ' "$@"\n'; } \
            >"$programs/$2-receiver"
        chmod +x "$programs/$2-receiver"
    elif [[ $1 == receiver ]]; then
        before_receiver=("${trace[@]}")
    elif in_family "$2"; then
        # -b execve: let go of the receiver as soon as it is one.
        before_sender=("${trace[@]}" -b execve)
    else
        before_sender=("${trace[@]}")
    fi
    run_pair "$2" /dev/null /dev/null --count "$3" --size "$size"
    programs=$built
}

# cells MESSAGES: calls per message, and those that make up at least a hundredth of a call each.
cells() {
    awk -v messages="$1" '
        # % time  seconds  usecs/call  calls  [errors]  syscall
        $1 ~ /^[0-9.]+$/ && $NF == "total" { total = $4; next }
        $1 ~ /^[0-9.]+$/ && $4 / messages >= 0.01 { name[++n] = $NF; calls[n] = $4 }
        END {
            for (i = 1; i <= n; i++)
                for (j = i + 1; j <= n; j++)
                    if (calls[j] > calls[i]) {
                        t = calls[i]; calls[i] = calls[j]; calls[j] = t
                        t = name[i]; name[i] = name[j]; name[j] = t
                    }
            for (i = 1; i <= n && i <= 4; i++)
                list = list (i > 1 ? ", " : "") sprintf("%s %.2f", name[i], calls[i] / messages)
            printf "%.3f | %s", total / messages, (list ? list : "-")
        }' "$work/calls"
}

table() {
    local name limit messages counted end row
    printf '%s\n%s\n' \
        '| Technique | Messages | Sender: calls per message | of these | Receiver: calls per message | of these |' \
        '|---|--:|--:|---|--:|---|'
    for name in "${names[@]}"; do
        messages=$count
        limit=$(describe "$name" payload-limit)
        if ((${limit:-0} && messages > limit / size)); then
            messages=$((limit / size))
        fi
        row="| $name | $messages |"
        for end in sender receiver; do
            count_calls "$end" "$name" "$messages"
            if ((sender_status == 77 || receiver_status == 77)); then
                row="| $name | 0 | | not supported here | | |"
                break
            fi
            counted=$messages
            if may_lose "$name" && ((sender_status == 6 && receiver_status == 6)); then
                # A receiver under strace is too slow for its sender. What it did not get has cost it nothing.
                [[ $end == sender ]] || counted=$(figure messages)
            elif ((sender_status || receiver_status)) || [[ $(figure messages) != "$messages" ]]; then
                die 1 "$name: sender ended with $sender_status, receiver with $receiver_status; $(complaint)"
            fi
            row+=" $(cells "$counted") |"
        done
        printf '%s\n' "$row"
    done
}

if ((write)); then
    {
        table
        printf '\n%s, %s; %s messages of %s bytes.\n' "$(uname -s -r)" "$(strace --version | sed -n '1s/ -- version / /p')" \
            "$count" "$size"
    } >"$work/table"
    put_between system-calls "$work/table" "$page" >"$work/page"
    cat "$work/page" >"$page"
else
    table
fi
