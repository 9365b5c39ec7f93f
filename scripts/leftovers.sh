#!/usr/bin/env bash
# leftovers.sh - lists what this user's programs left in the kernel and the file system
#
# Usage: leftovers.sh [--clean] [--programs DIR]
#
# Looks at the runtime folders ($XDG_RUNTIME_DIR/ipc-lab, /tmp/ipc-lab-UID), the folders of these scripts
# (/tmp/ipc-lab-UID-run-*), shared memory and semaphores (/dev/shm), POSIX message queues (/dev/mqueue, which
# root can see even where it is not mounted), and System V objects (keys 0x1bc.....). Only what belongs to this
# user is ever listed or touched. Each line begins with
#
#   in use:   a living process owns it: it has locked its lock file, or has it open or mapped
#   left:     nobody does
#
#   --clean         remove what is left, and nothing that is in use: first each technique's receiver takes over
#                   its own stale objects, as it does whenever it starts, and ends at once; then the rest goes
#   --programs DIR  use the receivers in DIR instead of those in target/; nothing is ever built
#   --help          print this
#
# Exit code 1 if something is left in the end, else 0.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

clean=0
while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    if ((shift_by)); then
        shift "$shift_by"
        continue
    fi
    [[ $1 == --clean ]] || wrong_usage "unknown argument \"$1\""
    clean=1
    shift
done

shopt -s nullglob dotglob
prefix=ipc-lab-$EUID-

# Where programs of this user keep their paths and lock files.
runtime_dirs=(/tmp/ipc-lab-"$EUID" /run/user/"$EUID"/ipc-lab)
if [[ ${XDG_RUNTIME_DIR-} == /* && $XDG_RUNTIME_DIR != /run/user/$EUID ]]; then
    runtime_dirs+=("$XDG_RUNTIME_DIR/ipc-lab")
fi

# is_own PATH: it exists, belongs to this user and is no symbolic link.
is_own() {
    [[ -O $1 && ! -L $1 ]]
}

# Fills `lock_owners` (what a lock file guards → pid) and `users` (path or name → pid).
declare -A lock_owners users
look_at_processes() {
    local pid inode dir file guarded target
    local -A locked=()
    lock_owners=() users=()
    # 3: POSIX  ADVISORY  WRITE 4711 fe:00:131075 0 0
    while read -r pid inode; do
        locked[${inode##*:}]=$pid
    done < <(awk '$2 != "->" { print $5, $6 }' /proc/locks)
    for dir in "${runtime_dirs[@]}" /tmp/"$prefix"run-*/ipc-lab; do
        for file in "$dir"/*.lock; do
            is_own "$file" || continue
            pid=${locked[$(stat -c %i -- "$file")]-}
            [[ -n $pid ]] || continue
            guarded=${file%.lock}
            lock_owners[$guarded]=$pid
        done
    done
    # NAME.TECHNIQUE.lock guards a name or a key of the kernel's.
    for file in /dev/shm/"$prefix"*.lock /dev/shm/0x1bc?????.*.lock; do
        is_own "$file" || continue
        pid=${locked[$(stat -c %i -- "$file")]-}
        guarded=${file##*/}
        guarded=${guarded%.lock}
        [[ -z $pid ]] || lock_owners[${guarded%.*}]=$pid
    done
    while read -r pid target; do
        users[$target]=$pid
    done < <(
        find /proc/[0-9]*/fd -maxdepth 1 -user "$EUID" -lname '*ipc-lab*' -printf '%h %l\n' 2>/dev/null |
            sed 's|^/proc/\([0-9]*\)/fd|\1|'
        grep -H -o -e '/dev/shm/.*ipc-lab-.*' /proc/[0-9]*/maps 2>/dev/null |
            sed 's|^/proc/\([0-9]*\)/maps:|\1 |'
    )
}

# owner NAME-OR-PATH: the pid of the process that owns it; fails where none does.
owner() {
    local guarded
    if [[ -n ${users[$1]-} ]]; then
        echo "${users[$1]}"
        return
    fi
    # What belongs together begins alike: /ipc-lab-0-x guards /ipc-lab-0-x-free too.
    local name=${1#/dev/shm/}
    name=${name#sem.}
    for guarded in "${!lock_owners[@]}"; do
        if [[ $1 == "$guarded" || $1 == "$guarded".* || ${name#/} == "$guarded" || ${name#/} == "$guarded"[-.]* ]]; then
            echo "${lock_owners[$guarded]}"
            return
        fi
    done
    return 1
}

# found KIND NAME [PID]: PID where it is known already that somebody uses it.
kinds=() names=()
left=0
found() {
    local pid
    if pid=${3:-$(owner "$2")}; then
        printf 'in use: %s %s (process %s)\n' "$1" "$2" "$pid"
    else
        printf 'left: %s %s\n' "$1" "$2"
        kinds+=("$1")
        names+=("$2")
        left=$((left + 1))
    fi
}

# waiting_sender PATTERN: the pid of a sender of this user's whose technique matches; fails where there is none.
waiting_sender() {
    local process word
    for process in /proc/[0-9]*; do
        [[ -O $process ]] || continue
        IFS= read -r -d '' word 2>/dev/null <"$process/cmdline" || continue
        # shellcheck disable=SC2053 # it is a pattern
        if [[ ${word##*/} == $1-sender ]]; then
            echo "${process##*/}"
            return
        fi
    done 2>/dev/null
    return 1
}

queues_seen=1
search() {
    local dir entry kind
    kinds=() names=() left=0
    look_at_processes
    for dir in "${runtime_dirs[@]}"; do
        is_own "$dir" || continue
        local entries=("$dir"/*)
        for entry in "${entries[@]}"; do
            [[ ! -O $entry && ! -L $entry ]] || found file "$entry"
        done
        # A sender that waits watches the folder.
        ((${#entries[@]})) || found folder "$dir" "$(waiting_sender '*' || true)"
    done
    for entry in /tmp/"$prefix"run-*; do
        ! is_own "$entry" || found folder "$entry"
    done
    for entry in /dev/shm/"$prefix"* /dev/shm/0x1bc?????.*.lock; do
        ! is_own "$entry" || found "shared memory" "$entry"
    done
    for entry in /dev/shm/sem."$prefix"*; do
        ! is_own "$entry" || found semaphore "$entry"
    done
    if entry=$(queues find . -maxdepth 1 -user "$EUID" -name "$prefix*" -printf '/%f\n'); then
        while IFS= read -r entry; do
            [[ -z $entry ]] || found "message queue" "$entry"
        done <<<"$entry"
    else
        queues_seen=0
    fi
    for kind in msg sem shm; do
        [[ -r /proc/sysvipc/$kind ]] || continue
        local key id used
        while read -r key id used; do
            found "System V $kind $id" "$key" "$used"
        done < <(awk -v uid="$EUID" '
            NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
            $column["uid"] == uid && int($1 / 1048576) == 444 { # 0x1bc
                printf "0x%x %s %s\n", $1, $2, ("nattch" in column && $column["nattch"] ? $column["lpid"] : "")
            }' "/proc/sysvipc/$kind")
    done
}

# is_left PREFIX
is_left() {
    local name
    for name in "${names[@]}"; do
        [[ $name != "$1"* ]] || return 0
    done
    return 1
}

# take_over NAME [DIR]: lets the technique's receiver claim its default endpoint and remove it, unless that
# receiver would meet a sender that waits for another one.
take_over() {
    waiting_sender "$1" >/dev/null || env ${2:+XDG_RUNTIME_DIR="$2"} timeout 5 "$programs/$1-receiver" --timeout 0.1 --quiet \
        >/dev/null 2>&1 </dev/null || true
}

take_over_all() {
    local name dir
    for name in $(technique_names); do
        case $(describe "$name" endpoint) in
            path | pid)
                for dir in "${runtime_dirs[@]}"; do
                    is_left "$dir/$name" || continue
                    if [[ $dir == */ipc-lab ]]; then
                        take_over "$name" "${dir%/*}"
                    else
                        (unset XDG_RUNTIME_DIR && take_over "$name")
                    fi
                done
                ;;
            name)
                if ((!queues_seen)) || is_left "/$prefix$name" || is_left "/dev/shm/$prefix$name" ||
                    is_left "/dev/shm/sem.$prefix$name"; then
                    take_over "$name"
                fi
                ;;
            key)
                if is_left 0x || is_left /dev/shm/0x; then
                    take_over "$name"
                fi
                ;;
        esac
    done
}

remove_rest() {
    local at id
    for at in "${!names[@]}"; do
        case ${kinds[at]} in
            file | "shared memory" | semaphore) rm -f -- "${names[at]}" ;;
            folder) rm -rf -- "${names[at]}" ;;
            "message queue") queues rm -f -- ".${names[at]}" ;;
            "System V "*)
                id=${kinds[at]##* }
                case ${kinds[at]} in
                    *msg*) ipcrm -q "$id" ;;
                    *sem*) ipcrm -s "$id" ;;
                    *shm*) ipcrm -m "$id" ;;
                esac
                ;;
        esac
    done
    for at in "${runtime_dirs[@]}"; do
        ! is_own "$at" || rmdir -- "$at" 2>/dev/null || true
    done
}

if ((clean)); then
    search >/dev/null
    if ((left || !queues_seen)); then
        before=("${names[@]}")
        [[ -n $programs ]] || for dir in "${CARGO_TARGET_DIR:-$root/target}"/{debug,release}; do
            if compgen -G "$dir/*-receiver" >/dev/null; then
                programs=$dir
                break
            fi
        done
        if [[ -n $programs ]]; then
            ask_techniques
            take_over_all
            search >/dev/null
        fi
        remove_rest
        search >/dev/null
        for name in "${before[@]}"; do
            is_left "$name" || printf 'removed: %s\n' "$name"
        done
    fi
fi
search
((queues_seen)) || say "POSIX message queues cannot be listed: /dev/mqueue is not mounted"
((left == 0)) || ((clean)) || say "\`make clean-ipc\` removes what is left"
((left == 0))
