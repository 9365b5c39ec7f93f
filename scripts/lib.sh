# shellcheck shell=bash disable=SC2034 # what is set here is used by the scripts that source this
# lib.sh - what the scripts share; it is sourced, not run.
#
# A technique is any crates/X with src/bin/X-sender.rs and src/bin/X-receiver.rs. What it can do, it says
# itself: `X-receiver --describe` prints `key: value` lines. No script knows a technique by name.

root=$(cd -- "${BASH_SOURCE[0]%/*}/.." && pwd -P)

# Folder of the built programs; --programs DIR sets it, else `build` does.
programs=

# say TEXT...: one line for the person, on standard error.
say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# die CODE TEXT...: the same, and the end.
die() {
    local code=$1
    shift
    say "$*"
    exit "$code"
}

# The header comment of the running script is its manual page.
print_help() {
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
}

# common_option ARGUMENT...: takes the options that several scripts share. Sets `shift_by` to how many of
# the arguments it took; 0 means that the first is not one of them.
common_option() {
    shift_by=1
    case $1 in
        --help)
            print_help
            exit 0
            ;;
        --programs)
            need_value "$@"
            programs=$(cd -- "$2" && pwd -P) || exit 2
            shift_by=2
            ;;
        *) shift_by=0 ;;
    esac
}

# need_value ARGUMENT...: the first is an option, the second must be its value.
need_value() {
    (($# >= 2)) || wrong_usage "$1 needs a value"
}

wrong_usage() {
    die 2 "$1; see --help"
}

need_cargo() {
    command -v cargo >/dev/null ||
        die 1 "cargo is missing: install Rust from https://rustup.rs, or put ~/.cargo/bin into PATH"
}

# technique_names: one name on each line, in no useful order.
technique_names() {
    local dir name
    for dir in "$root"/crates/*/; do
        name=${dir%/}
        name=${name##*/}
        if [[ -f $dir/src/bin/$name-sender.rs && -f $dir/src/bin/$name-receiver.rs ]]; then
            printf '%s\n' "$name"
        fi
    done
}

# need_technique NAME
need_technique() {
    [[ $1 != */* && -f $root/crates/$1/src/bin/$1-receiver.rs ]] ||
        die 2 "no technique is called \"$1\"; there are: $(technique_names | paste -s -d ' ')"
}

# build [CARGO-ARGUMENT...]: builds the programs, unless --programs said where they are, and asks each what
# it is. They are those that the lessons name and the tests run; what measures asks for --release.
build() {
    if [[ -z $programs ]]; then
        need_cargo
        local executable name
        for name in $(technique_names); do
            if [[ ! -x ${CARGO_TARGET_DIR:-$root/target}/debug/$name-receiver ]]; then
                say "building the programs; this takes a minute or two"
                break
            fi
        done
        (($#)) || set -- --workspace
        # Cargo alone knows where its target folder is.
        executable=$(cd -- "$root" && cargo build --locked --quiet --bins "$@" \
            --message-format=json-render-diagnostics |
            sed -n 's/.*"executable":"\([^"]*\)".*/\1/p') || die 1 "the programs could not be built"
        [[ -n $executable ]] || die 1 "there are no programs in crates/*/src/bin"
        executable=${executable%%$'\n'*}
        programs=${executable%/*}
    fi
    ask_techniques
}

# What each technique says about itself.
declare -A described=()

ask_techniques() {
    local name
    for name in $(technique_names); do
        [[ ! -x $programs/$name-receiver ]] ||
            described[$name]=$("$programs/$name-receiver" --describe) ||
            die 1 "$name-receiver --describe failed"
    done
}

# describe NAME KEY: one value of what the technique says about itself; empty where it says nothing.
describe() {
    local line
    while IFS= read -r line; do
        if [[ $line == "$2: "* ]]; then
            printf '%s\n' "${line#*: }"
            return 0
        fi
    done <<<"${described[$1]-}"
}

# ordered_names: the techniques in the lecture's order, then by name.
ordered_names() {
    local name
    for name in $(technique_names); do
        printf '%s\t%s\n' "$(describe "$name" chapter)" "$name"
    done | LC_ALL=C sort -t "$(printf '\t')" -k 1,1n -k 2,2 | cut -f 2
}

# put_between NAME NEW PAGE: prints PAGE with the text of the file NEW between <!-- NAME --> and <!-- /NAME -->.
put_between() {
    [[ -f $3 ]] || die 1 "$3 does not exist"
    awk -v new="$2" -v opening="<!-- $1 -->" -v closing="<!-- /$1 -->" '
        $0 == closing { inside = 0; closed = 1 }
        !inside { print }
        $0 == opening {
            inside = opened = 1
            while ((getline line < new) > 0) print line
        }
        END { exit !(opened && closed) }
    ' "$3" || die 1 "$3 lacks the lines <!-- $1 --> and <!-- /$1 -->"
}

# queues COMMAND...: runs a command in the folder of the POSIX message queues; fails where it cannot be seen.
queues() {
    local mounted
    mounted=$(awk '$3 == "mqueue" { print $2; exit }' /proc/mounts)
    if [[ -n $mounted ]]; then
        (cd -- "$mounted" && "$@")
    elif ((EUID == 0)); then
        # Root may mount it, where nobody else sees it.
        # shellcheck disable=SC2016 # the inner shell expands it
        unshare --mount sh -c 'mount -t mqueue none /mnt && cd /mnt && "$@"' sh "$@" 2>/dev/null
    else
        return 1
    fi
}

# --- a run of its own -------------------------------------------------------------------------------------

# Processes that must not outlive the script.
started=()
work=
# Where the pairs of this run meet, unless it is in $work: names begin with the one, the other is a key.
run_name=/ipc-lab-$EUID-run-$$-
run_key=$(printf '0x%x' $((0x1bc10000 | ($$ & 0xffff))))

# make_work_dir: a private folder in $work, which is the programs' runtime folder too. It goes away with
# the script, however that ends. It lies in /tmp because the path of a socket is short (108 bytes).
make_work_dir() {
    trap end_run EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    work=$(mktemp -d "/tmp/ipc-lab-$EUID-run-XXXXXX")
    export XDG_RUNTIME_DIR=$work
    # Held open for as long as this run lives: so leftovers.sh knows that the folder has an owner.
    local hold
    exec {hold}<"$work"
}

end_run() {
    local pid
    trap '' HUP INT TERM
    for pid in "${started[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
        kill -CONT "$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    [[ -z $work ]] || remove_work_dir
}

# A receiver that was killed left its lock file, and names in the kernel that the next receiver on the same
# endpoint would remove. So let one come, and go.
remove_work_dir() {
    local lock name place
    for lock in "/dev/shm/${run_name#/}"*.*.lock "/dev/shm/$run_key".*.lock; do
        [[ -O $lock ]] || continue
        place=${lock##*/}
        place=${place%.lock}
        name=${place##*.}
        place=${place%.*}
        [[ $place == 0x* ]] || place=/$place
        timeout 5 "$programs/$name-receiver" --endpoint "$place" --timeout 0.1 --quiet </dev/null >/dev/null 2>&1 || true
    done
    rm -rf -- "$work"
}

# reap PID: waits for a process that this script has started and returns its exit status.
reap() {
    local status=0 pid rest=()
    wait "$1" || status=$?
    for pid in "${started[@]}"; do
        [[ $pid == "$1" ]] || rest+=("$pid")
    done
    started=("${rest[@]}")
    return "$status"
}

# endpoint_option NAME: sets `endpoint` to the arguments that give the receiver a meeting point of this run.
# A path needs none, because the runtime folder is this run's own.
endpoint_option() {
    case $(describe "$1" endpoint) in
        name) endpoint=(--endpoint "$run_name$1") ;;
        key) endpoint=(--endpoint "$run_key") ;;
        address) endpoint=(--endpoint 127.0.0.1:0) ;;
        *) endpoint=() ;;
    esac
}

# in_family NAME: does the sender start the receiver itself?
in_family() {
    [[ $(describe "$1" reach) == family ]]
}

# may_lose NAME: may messages get lost on the way?
may_lose() {
    [[ $(describe "$1" delivery) == best-effort ]]
}

# start_receiver NAME OUTPUT ARGUMENT...: starts the receiver with its standard output in OUTPUT and waits
# for its ready line. Sets `receiver` (its pid), `narration` (a descriptor of its standard error), `said`
# (the lines that came) and `place` (the endpoint, as the ready line tells it). Fails where the receiver
# ends instead. `before_receiver` may hold a command that runs it, as strace does.
start_receiver() {
    local name=$1 output=$2 line
    shift 2
    exec {narration}< <(exec "${before_receiver[@]}" "$programs/$name-receiver" "$@" 2>&1 >"$output" </dev/null)
    receiver=$!
    started+=("$receiver")
    said=()
    place=
    while IFS= read -r -u "$narration" line; do
        said+=("$line")
        if [[ $line == "$name-receiver: ready"* ]]; then
            place=${line#*: ready}
            place=${place# }
            return 0
        fi
    done
    return 1
}
before_receiver=()

# finish_receiver: takes what the receiver still says and returns its exit status.
finish_receiver() {
    local line
    while IFS= read -r -u "$narration" line; do
        said+=("$line")
    done
    exec {narration}<&-
    reap "$receiver"
}

# run_pair NAME INPUT OUTPUT ARGUMENT...: one conversation; the arguments are the sender's. INPUT is its
# standard input, OUTPUT the receiver's standard output. Sets `said` (all narration), `sender_status` and
# `receiver_status`. `receiver_options` and `options` (for both) may hold more arguments.
run_pair() {
    local name=$1 input=$2 output=$3 line endpoint place_option=() sender log=$work/sender.log
    shift 3
    sender_status=0 receiver_status=0
    endpoint_option "$name"
    if in_family "$name"; then
        said=()
        "${before_sender[@]}" "$programs/$name-sender" "${options[@]}" "${receiver_options[@]}" "$@" \
            <"$input" >"$output" 2>"$log" &
        started+=("$!")
        reap "$!" || sender_status=$?
    else
        if ! start_receiver "$name" "$output" "${options[@]}" "${receiver_options[@]}" "${endpoint[@]}"; then
            finish_receiver || receiver_status=$?
            return 0
        fi
        ((${#endpoint[@]} == 0)) || place_option=(--endpoint "$place")
        "${before_sender[@]}" "$programs/$name-sender" "${options[@]}" "${place_option[@]}" "$@" \
            <"$input" >/dev/null 2>"$log" &
        sender=$!
        started+=("$sender")
        reap "$sender" || sender_status=$?
        ((sender_status == 0)) || give_up_on_receiver
        finish_receiver || receiver_status=$?
    fi
    while IFS= read -r line; do
        said+=("$line")
    done <"$log"
}
before_sender=()
options=()
receiver_options=()

# Its sender has failed. It may know why, so it gets two seconds to say so.
give_up_on_receiver() {
    local line
    while IFS= read -r -t 2 -u "$narration" line; do
        said+=("$line")
    done
    kill -TERM "$receiver" 2>/dev/null || true
}

# figure KEY: one figure of the receiver's --stats line among the lines in `said`.
figure() {
    local line word
    for line in "${said[@]}"; do
        [[ $line == *"-receiver: stats: "* ]] || continue
        for word in ${line#*stats: }; do
            if [[ $word == "$1="* ]]; then
                printf '%s\n' "${word#*=}"
                return 0
            fi
        done
    done
}

# complaint: the last line that is not mere narration; empty where there is none.
complaint() {
    local line last=
    for line in "${said[@]}"; do
        case ${line#*: } in
            ready* | stats:* | sent\ * | received\ * | waiting\ for\ * | ended\ by\ *) ;;
            *) last=$line ;;
        esac
    done
    printf '%s\n' "$last"
}

# pad WIDTH TEXT: left-aligned by characters, where printf counts bytes; a negative WIDTH aligns right.
pad() {
    local width=${1#-} fill
    fill=$((width > ${#2} ? width - ${#2} : 0))
    if [[ $1 == -* ]]; then
        printf '%*s%s' "$fill" '' "$2"
    else
        printf '%s%*s' "$2" "$fill" ''
    fi
}
