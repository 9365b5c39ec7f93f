#!/usr/bin/env bash
# techniques.sh - lists the techniques of this workspace
#
# Usage: techniques.sh [--table | --write | --check] [--readme FILE] [--programs DIR]
#
# Without an option: the names, one on each line, in the lecture's order.
#
#   --table         print the README's table, made from what each technique says with --describe
#   --write         put that table into README.md, between <!-- techniques --> and <!-- /techniques -->
#   --check         fail (exit code 1) if README.md holds another table
#   --readme FILE   use FILE instead of README.md
#   --programs DIR  use the programs in DIR instead of building them
#   --help          print this
#
# A technique is any folder crates/X with src/bin/X-sender.rs and src/bin/X-receiver.rs.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

readme=$root/README.md
action=list

while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    if ((shift_by)); then
        shift "$shift_by"
        continue
    fi
    case $1 in
        --table | --write | --check) action=${1#--} ;;
        --readme)
            need_value "$@"
            readme=$2
            shift
            ;;
        *) wrong_usage "unknown argument \"$1\"" ;;
    esac
    shift
done

# human BYTES: as people say it.
human() {
    awk -v bytes="$1" 'BEGIN {
        if (bytes >= 2 ^ 62) { print "no limit"; exit }
        unit = "bytes"
        if (bytes >= 1048576 && bytes % 1048576 == 0) { bytes /= 1048576; unit = "MiB" }
        else if (bytes >= 1024 && bytes % 1024 == 0) { bytes /= 1024; unit = "KiB" }
        else if (bytes >= 10000) { bytes = sprintf("%d,%03d", bytes / 1000, bytes % 1000) }
        printf "%s %s\n", bytes, bytes == 1 ? "byte" : unit
    }'
}

# row NAME
row() {
    local name=$1 carries reach notices when_full
    carries=$(describe "$name" carries)
    if may_lose "$name"; then
        carries+=", may be lost"
    fi
    case $(describe "$name" reach) in
        family) reach="parent and child" ;;
        host) reach="this machine" ;;
        network) reach="any machine" ;;
        *) reach=$(describe "$name" reach) ;;
    esac
    case $(describe "$name" notices) in
        both) notices="both ends" ;;
        sender-only) notices="the sender" ;;
        receiver-only) notices="the receiver" ;;
        *) notices=$(describe "$name" notices) ;;
    esac
    case $(describe "$name" when-full) in
        blocks) when_full="the sender waits" ;;
        grows) when_full="it grows" ;;
        drops) when_full="messages are dropped" ;;
        *) when_full=$(describe "$name" when-full) ;;
    esac
    printf '| [%s](crates/%s) | %s | %s | %s | %s | %s | %s | %s |\n' "$name" "$name" \
        "$(describe "$name" chapter)" "$(describe "$name" kernel-object)" "$carries" "$reach" "$when_full" \
        "$notices" "$(human "$(describe "$name" max-message)")"
}

table() {
    local name
    printf '%s\n%s\n' \
        '| Technique | Lecture | The kernel holds | Carries | Reaches | When full | Who notices a dead peer | Longest message |' \
        '|---|---|---|---|---|---|---|---|'
    for name in $(ordered_names); do
        row "$name"
    done
}

build
case $action in
    list) ordered_names ;;
    table) table ;;
    write | check)
        make_work_dir
        table >"$work/table"
        put_between techniques "$work/table" "$readme" >"$work/readme"
        if cmp -s "$work/readme" "$readme"; then
            exit 0
        elif [[ $action == write ]]; then
            cat "$work/readme" >"$readme"
        else
            die 1 "the table in $readme is not what the programs say; \`make readme\` puts it right"
        fi
        ;;
esac
