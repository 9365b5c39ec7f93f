#!/usr/bin/env bash
# all-pairs.sh - every technique carries a real text and a binary file, and a table tells how it went
#
# Usage: all-pairs.sh [--text FILE] [--mebibytes N] [--programs DIR] [NAME...]
#
# For each technique (or each NAME), X-receiver and X-sender are started as two processes; in a family the
# sender starts the receiver. The text goes line by line, one message for each line; then go N MiB of random
# bytes, in chunks as large as the technique carries. What arrives is compared with what was sent, byte by
# byte and by SHA-256. A technique that says `payload-limit: BYTES` is slow by nature and carries a text of
# that length only. One that says `delivery: best-effort` may lose messages, so its sender makes pauses and its
# chunks fit into a packet; if something is lost all the same, its programs say so, and it is sent again with longer
# pauses. A note below the table tells of both.
#
#   --text FILE     the text [default: LICENSE-APACHE]
#   --mebibytes N   size of the binary file [default: 8]
#   --programs DIR  use the programs in DIR instead of building them
#   --help          print this
#
# The columns: messages and bytes that arrived; the seconds from the first message to the last of each
# transfer, as the receiver measured them; and what that is in millions of bytes per second.
#
# Exit code 1 if any pair failed to carry its files. A technique that this machine does not offer (its program
# ends with 77) is shown as skipped. Nothing is left behind, not even on Ctrl-C.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

text=$root/LICENSE-APACHE
mebibytes=8
names=()

while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    if ((shift_by)); then
        shift "$shift_by"
        continue
    fi
    case $1 in
        --text | --mebibytes)
            need_value "$@"
            if [[ $1 == --text ]]; then text=$2; else mebibytes=$2; fi
            shift
            ;;
        -*) wrong_usage "unknown option $1" ;;
        *)
            need_technique "$1"
            names+=("$1")
            ;;
    esac
    shift
done
[[ -r $text && ! -d $text ]] || die 2 "cannot read $text"
[[ $mebibytes =~ ^[0-9]+$ ]] || wrong_usage "--mebibytes needs a number"

# The longest wait of either program, in seconds. It bounds a fault, not the run.
options=(--timeout 20)
receiver_options=(--stats)

# The pauses to try, in seconds, where messages may be lost. At half a millisecond a queue of some hundred messages has room
# for what comes while the receiver waits for a processor.
pauses=(0.0002 0.0005 0.001)

# carry NAME FILE INPUT ARGUMENT...: sends FILE, which the sender reads from INPUT or as its arguments say, and
# adds to the pair's figures. Sets `verdict` and `detail`.
carry() {
    local name=$1 file=$2 input=$3 output=$work/arrived pause
    shift 3
    if may_lose "$name"; then
        for pause in "${pauses[@]}"; do
            rm -f -- "$output"
            run_pair "$name" "$input" "$output" --interval "$pause" "$@"
            ((sender_status == 6 || receiver_status == 6)) || break
            notes+=("$name: with pauses of $pause s: $(complaint)")
        done
    else
        rm -f -- "$output"
        run_pair "$name" "$input" "$output" "$@"
    fi
    detail=$(complaint)
    if ((sender_status == 77 || receiver_status == 77)); then
        verdict=skipped
    elif ((sender_status || receiver_status)); then
        verdict=FAILED
        detail="sender ended with $sender_status, receiver with $receiver_status; $detail"
    elif ! cmp -s -- "$file" "$output" || [[ $(sha256sum <"$file") != "$(sha256sum <"$output")" ]]; then
        verdict=FAILED
        detail="what arrived is not what was sent"
    elif [[ -z $(figure messages) ]]; then
        verdict=FAILED
        detail="$name-receiver --stats printed no figures"
    else
        verdict=verified
        messages=$((messages + $(figure messages)))
        bytes=$((bytes + $(figure bytes)))
        seconds+=" $(figure seconds)"
    fi
    [[ $verdict == verified ]]
}

# The first lines of the text, up to so many bytes.
short_text() {
    LC_ALL=C awk -v limit="$1" '{ sum += length($0) + 1; if (sum > limit) exit; print }' "$text"
}

build
((${#names[@]})) || mapfile -t names < <(ordered_names)
((${#names[@]})) || die 1 "there are no techniques in crates/"
make_work_dir
head -c "$((mebibytes << 20))" /dev/urandom >"$work/binary"

name_width=9
object_width=16
for name in "${names[@]}"; do
    object=$(describe "$name" kernel-object)
    ((${#name} <= name_width)) || name_width=${#name}
    ((${#object} <= object_width)) || object_width=${#object}
done

# line NAME OBJECT REACH MESSAGES BYTES SECONDS MB/S VERDICT
line() {
    local width separator=
    for width in "$name_width" "$object_width" 7 -8 -9 -8 -7 8; do
        printf '%s' "$separator"
        if (($# > 1)); then pad "$width" "$1"; else printf '%s' "$1"; fi
        separator='  '
        shift
    done
    printf '\n'
}

line technique "the kernel holds" reach messages bytes seconds MB/s verified
failed=0 skipped=0 notes=()
for name in "${names[@]}"; do
    messages=0 bytes=0 seconds=
    limit=$(describe "$name" payload-limit)
    if ((${limit:-0})); then
        short_text "$limit" >"$work/text"
        carry "$name" "$work/text" "$work/text" || true
    else
        chunks=()
        if may_lose "$name"; then
            chunks=(--size 1400)
            notes+=("$name: messages may be lost, so the sender makes pauses; the figures are those of that pace")
        fi
        if carry "$name" "$text" "$text"; then
            carry "$name" "$work/binary" /dev/null --file "$work/binary" "${chunks[@]}" || true
        fi
    fi
    case $verdict in
        verified) shown=yes ;;
        skipped)
            shown=skipped
            skipped=$((skipped + 1))
            ;;
        *)
            shown=NO
            failed=$((failed + 1))
            ;;
    esac
    [[ $verdict == verified ]] || notes+=("$name: $verdict: $detail")
    read -r took rate < <(awk -v bytes="$bytes" -v seconds="$seconds" 'BEGIN {
        n = split(seconds, part, " ")
        for (i = 1; i <= n; i++) sum += part[i]
        printf "%.3f %s\n", sum, (sum > 0 ? sprintf(bytes / sum < 1e7 ? "%.3f" : "%.1f", bytes / sum / 1e6) : "-")
    }')
    line "$name" "$(describe "$name" kernel-object)" "$(describe "$name" reach)" "$messages" "$bytes" "$took" \
        "$rate" "$shown"
done

echo
((${#notes[@]} == 0)) || printf '%s\n' "${notes[@]}" ''
printf '%d techniques: %d verified, %d failed, %d skipped\n' "${#names[@]}" \
    "$((${#names[@]} - failed - skipped))" "$failed" "$skipped"
((failed == 0))
