#!/usr/bin/env bash
# demo-web.sh - the lecture's web server at work: pages, status, a killed child, fresh workers, the end
#
# Usage: demo-web.sh [--mode fork|prefork] [--programs DIR]
#
# Starts crates/web-server on a free port of the loopback interface, in both modes one after the other or in the one
# that is asked for. Fetches every file of its little site and compares it byte for byte, reads the status, kills a
# child, asks for fresh workers, stops the server, and looks for what it may have left: processes, the port, shared
# memory. Uses curl where it is installed, and bash alone where it is not.
#
#   --mode MODE     only this mode
#   --programs DIR  use the program in DIR instead of building it
#   --help          print this
#
# Exit code 1 if anything is not as it should be.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

modes=(fork prefork)
while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    if ((shift_by)); then
        shift "$shift_by"
        continue
    fi
    case $1 in
        --mode)
            need_value "$@"
            [[ $2 == fork || $2 == prefork ]] || wrong_usage "--mode is fork or prefork"
            modes=("$2")
            shift
            ;;
        *) wrong_usage "unknown argument \"$1\"" ;;
    esac
    shift
done
site=$root/crates/web-server/site

# fetch PATH: the body, on standard output.
fetch() {
    if command -v curl >/dev/null; then
        curl --silent --show-error --fail --path-as-is --noproxy '*' --max-time 10 "http://127.0.0.1:$port$1"
    else
        local connection
        exec {connection}<>"/dev/tcp/127.0.0.1/$port"
        printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&"$connection"
        # The head ends with an empty line.
        LC_ALL=C sed -e '1,/^\r$/d' <&"$connection"
        exec {connection}>&-
    fi
}

# compare PATH FILE: is what comes what lies there?
compare() {
    fetch "$1" >"$work/page" || die 1 "$1 could not be fetched"
    cmp -s -- "$work/page" "$2" || die 1 "$1 is not what ${2#"$root/"} holds"
    pages=$((pages + 1))
    printf '  %s%s bytes, as in %s\n' "$(pad 12 "$1")" "$(pad -6 "$(wc -c <"$2" | tr -d ' ')")" "${2#"$root/"}"
}

# children: the pids that the status tells.
children() {
    fetch /status.json | tr '{' '\n' | sed -n 's/^"slot":.*"pid":\([0-9]*\).*/\1/p'
}

# until_true COMMAND...: waits for at most ten seconds.
until_true() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        ! "$@" || return 0
        sleep 0.01
    done
    return 1
}

# fresh COUNT PID...: there are so many children, and none of these is one.
fresh() {
    local pid now count=$1
    mapfile -t now < <(children)
    ((${#now[@]} == count)) || return 1
    shift
    for pid; do
        [[ " ${now[*]} " != *" $pid "* ]] || return 1
    done
}

# demo MODE
demo() {
    local line path before pid status=0 pages=0
    exec {narration}< <(exec "$programs/web-server" --root "$site" --port 0 --mode "$1" 2>&1 >/dev/null </dev/null)
    server=$!
    started+=("$server")
    IFS= read -r -t 10 -u "$narration" line || die 1 "the server does not start"
    [[ $line == *": ready http://127.0.0.1:"* ]] || die 1 "$line"
    port=${line##*:}
    port=${port%/}
    printf 'mode %s, pid %s: http://127.0.0.1:%s/\n' "$1" "$server" "$port"

    compare / "$site/index.html"
    for path in "$site"/*; do
        compare "/${path##*/}" "$path"
    done
    if fetch /../Cargo.toml >"$work/page" 2>/dev/null && cmp -s "$work/page" "$site/../Cargo.toml"; then
        die 1 "a file beside the site was served"
    fi
    fetch /status | grep -q 'http-equiv="refresh"' || die 1 "/status does not refresh itself"
    fetch /status.json >"$work/status"
    grep -q "\"mode\":\"$1\",\"pid\":$server," "$work/status" || die 1 "/status.json: $(cat "$work/status")"
    printf '  status: %s requests answered, %s children started\n' \
        "$(sed 's/.*"totals":{"connections":[0-9]*,"requests":\([0-9]*\),.*/\1/' "$work/status")" \
        "$(sed 's/.*"children_started":\([0-9]*\).*/\1/' "$work/status")"

    if [[ $1 == prefork ]]; then
        mapfile -t before < <(children)
        kill -KILL "${before[0]}"
        until_true fresh "${#before[@]}" "${before[0]}" || die 1 "there is no other worker for the killed one"
        compare / "$site/index.html"
        printf '  worker %s was killed, and the page came all the same\n' "${before[0]}"
        mapfile -t before < <(children)
        kill -HUP "$server"
        until_true fresh "${#before[@]}" "${before[@]}" || die 1 "SIGHUP did not bring fresh workers"
        printf '  SIGHUP: workers %s are now %s\n' "${before[*]}" "$(children | paste -s -d ' ')"
    fi

    # The scoreboard is memory without a name: nothing could remain of it.
    [[ ! -r /proc/$server/maps ]] || grep -q ' rw-s .*(deleted)$' "/proc/$server/maps" ||
        die 1 "there is no shared memory, or it has a name"
    mapfile -t before < <(children)
    kill -TERM "$server"
    finish_server || status=$?
    ((status == 0)) || die 1 "SIGTERM: exit code $status"
    for pid in "$server" "${before[@]}"; do
        ! kill -0 "$pid" 2>/dev/null || die 1 "process $pid is still there"
    done
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || die 1 "somebody still listens at port $port"
    ! compgen -G '/dev/shm/*web-server*' >/dev/null || die 1 "something is left in /dev/shm"
    printf '  SIGTERM: exit code 0; no process, no port, no shared memory left\n'
    total=$((total + pages))
}

# finish_server: takes what the server still says and returns its exit status.
finish_server() {
    cat <&"$narration" >&2
    exec {narration}<&-
    reap "$server"
}

build -p web-server
make_work_dir
total=0
for mode in "${modes[@]}"; do
    demo "$mode"
done
printf '\nweb-server: %s pages, all as they should be\n' "$total"
