#!/usr/bin/env bash
# pair.sh - one pair of programs at work, step by step
#
# Usage: pair.sh [--programs DIR] NAME
#
# Starts NAME-receiver and NAME-sender as you would in two terminals, and shows the commands, what the
# programs say, the object in the kernel while it exists, three messages on their way, and a text file that
# arrives as it was sent. In a family the sender starts the receiver itself.
#
#   --programs DIR  use the programs in DIR instead of building them
#   --help          print this
#
# The pair meets in a folder of its own, so it does not disturb one of yours. Exit code 1 if something went
# wrong, 77 if this machine does not offer the technique. Nothing is left behind.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    ((shift_by)) || break
    shift "$shift_by"
done
(($# == 1)) || wrong_usage "one technique is needed; there are: $(technique_names | paste -s -d ' ')"
name=$1
need_technique "$name"
build --package "$name"
make_work_dir
options=(--timeout 20)
endpoint_option "$name"

shown_programs=${programs#"$root"/}
receiver_terminal="terminal 1"
sender_terminal="terminal 2"
if in_family "$name"; then
    receiver_terminal=terminal
    sender_terminal=terminal
fi

# show WHERE TEXT...: one line, with where it is to be seen in front.
show() {
    printf '%-10s | %s\n' "$1" "${*:2}"
}

# quoted WORD...: as one would type them.
quoted() {
    local word
    for word; do
        [[ $word =~ ^[][A-Za-z0-9_./:,=+@%-]+$ ]] || word="'$word'"
        printf ' %s' "$word"
    done
}

# command_line PROGRAM ARGUMENT...
command_line() {
    printf '$ %s/%s%s\n' "$shown_programs" "$1" "$(quoted "${@:2}")"
}

# terminal_of LINE: the terminal in which a program's narration appears.
terminal_of() {
    case $1 in
        "$name-sender: "*) echo "$sender_terminal" ;;
        *) echo "$receiver_terminal" ;;
    esac
}

# hear_until PATTERN: shows what comes until a line matches; fails where the end comes first.
hear_until() {
    local line status
    while true; do
        status=0
        # A sender waits for its standard input without limit, so this must have one.
        IFS= read -r -t 25 -u "$narration" line || status=$?
        ((status <= 128)) || die 1 "nothing comes any more"
        ((status == 0)) || return 1
        show "$(terminal_of "$line")" "$line"
        said+=("$line")
        # shellcheck disable=SC2053 # it is a pattern
        [[ $line != $1 ]] || return 0
    done
}

# look COMMAND...: shows a command and what it prints.
look() {
    local line
    show kernel "\$$(quoted "$@")"
    while IFS= read -r line; do
        show kernel "$line"
    done < <("$@" 2>&1)
}

# The object, while it exists.
show_object() {
    local place=$1 pid channel entry
    case $(describe "$name" endpoint) in
        path) look ls -l "$place" ;;
        pid)
            look ls -l "$place"
            look grep -E '^(Name|Pid|SigBlk|SigCgt)' "/proc/$receiver/status"
            ;;
        name)
            for entry in /dev/shm"$place"* /dev/shm/sem."${place#/}"*; do
                [[ ! -e $entry ]] || look ls -l "$entry"
            done
            # A message queue shows in a file system of its own, which not every machine mounts.
            if entry=$(queues cat ".$place" 2>/dev/null); then
                show kernel "\$ cat /dev/mqueue$place"
                show kernel "$entry"
            elif ! queues true && ! compgen -G "/dev/shm/*${place#/}*" >/dev/null; then
                show kernel "(mount -t mqueue none /dev/mqueue would let you see message queues)"
            fi
            ;;
        key)
            for entry in /proc/sysvipc/{msg,sem,shm}; do
                ! grep -q -w -e "$((place))" "$entry" || look grep -w -e key -e "$((place))" "$entry"
            done
            ;;
        address)
            if command -v ss >/dev/null; then
                look ss -H -l -n -t -u "sport = :${place##*:}"
            fi
            ;;
        inherited)
            # Here $receiver is the sender, which has started the receiver with the channel as standard input.
            read -r pid _ <"/proc/$receiver/task/$receiver/children" || true
            channel=$(readlink "/proc/$pid/fd/0")
            for entry in "/proc/$receiver/fd"/*; do
                case $(readlink "$entry") in
                    "$channel" | socket:* | *:\[eventfd\] | /memfd:*) look ls -l "$entry" ;;
                esac
            done
            look ls -l "/proc/$pid/fd/0"
            ;;
    esac
}

# give_up: what a program said has been shown already; pass on that it failed.
give_up() {
    local status=0
    reap "$receiver" || status=$?
    echo
    if ((status == 77)); then
        echo "This machine does not offer $name: skipped."
        exit 77
    fi
    die 1 "it ended with exit code $status before it should have"
}

printf '%s: %s\n' "$name" "$(describe "$name" summary)"
printf 'The kernel holds: %s. It carries %s; reach: %s.\n' "$(describe "$name" kernel-object)" \
    "$(describe "$name" carries)" "$(describe "$name" reach)"

# --- three messages, typed one by one ---------------------------------------------------------------------

printf '\nThree messages\n'
mkfifo "$work/typed"
said=()
sender=
if in_family "$name"; then
    show "$sender_terminal" "$(command_line "$name-sender")"
    exec {narration}< <(exec "$programs/$name-sender" "${options[@]}" 2>&1 <"$work/typed")
    receiver=$!
    started+=("$receiver")
    exec {typing}>"$work/typed"
else
    show "$receiver_terminal" "$(command_line "$name-receiver" "${endpoint[@]}")"
    exec {narration}< <(exec "$programs/$name-receiver" "${options[@]}" "${endpoint[@]}" 2>&1 </dev/null)
    receiver=$!
    started+=("$receiver")
    hear_until "$name-receiver: ready*" || give_up
    place=${said[-1]#*: ready}
    place=${place# }
    show_object "$place"
    ((${#endpoint[@]} == 0)) || endpoint=(--endpoint "$place")
    show "$sender_terminal" "$(command_line "$name-sender" "${endpoint[@]}")"
    "$programs/$name-sender" "${options[@]}" "${endpoint[@]}" 2>"$work/sender" >/dev/null <"$work/typed" &
    sender=$!
    started+=("$sender")
    exec {typing}>"$work/typed"
fi

for message in "hello" "how are you?" "goodbye"; do
    show "$sender_terminal" "(typed) $message"
    # A program that has ended reads no more, and SIGPIPE would end this script; what it said comes next.
    (echo "$message" >&"$typing") 2>/dev/null || true
    hear_until "$message" || give_up
    if [[ $message == hello ]] && in_family "$name"; then
        show_object ""
    fi
done
show "$sender_terminal" "(Ctrl-D: no more)"
exec {typing}>&-
status=0
if [[ -n $sender ]]; then
    reap "$sender" || status=$?
    while IFS= read -r line; do
        show "$sender_terminal" "$line"
    done <"$work/sender"
fi
hear_until $'\n' || true
reap "$receiver" || status=$?
exec {narration}<&-
((status == 0)) || die 1 "one of them ended with exit code $status"

# --- a text file ------------------------------------------------------------------------------------------

file=LICENSE-APACHE
limit=$(describe "$name" payload-limit)
if ((${limit:-0} && limit < $(stat -c %s "$root/$file"))); then
    file=LICENSE-MIT
fi
printf '\nA file\n'
run_pair "$name" /dev/null "$work/copy" --file "$root/$file"
endpoint_option "$name"
if in_family "$name"; then
    show "$sender_terminal" "$(command_line "$name-sender" --file "$file") >copy"
else
    show "$receiver_terminal" "$(command_line "$name-receiver" "${endpoint[@]}") >copy"
    show "$receiver_terminal" "${said[0]}"
    said=("${said[@]:1}")
    ((${#endpoint[@]} == 0)) || endpoint=(--endpoint "$place")
    show "$sender_terminal" "$(command_line "$name-sender" "${endpoint[@]}" --file "$file")"
fi
for line in "${said[@]}"; do
    show "$(terminal_of "$line")" "$line"
done
((sender_status == 0 && receiver_status == 0)) ||
    die 1 "the sender ended with exit code $sender_status, the receiver with $receiver_status"
show files "\$ sha256sum $file copy"
show files "$(sha256sum <"$root/$file" | cut -c 1-32)...  $file"
show files "$(sha256sum <"$work/copy" | cut -c 1-32)...  copy"
cmp -s -- "$root/$file" "$work/copy" || die 1 "the copy is not what was sent"
show files "\$ cmp $file copy"
printf '\nWhat arrived is what was sent.\n'
