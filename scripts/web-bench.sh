#!/usr/bin/env bash
# web-bench.sh - requests per second and p99 of the web server, beside other forking servers
#
# Usage: web-bench.sh [--seconds N] [--write] [--programs DIR]
#
# Serves the little site of crates/web-server with web-server in both modes, with busybox httpd and with Apache's
# prefork module, and asks each in turn for the same page with wrk at 2, 16 and 64 connections: for N seconds with
# connections that last, and for a quarter of that with a connection for every request. All of it on the loopback
# interface. Prints a Markdown table. Of web-server, no request may fail, no zombie and no descriptor may be left after
# a run.
#
#   --seconds N     [default: 10]
#   --write         put the table into crates/web-server/README.md
#   --programs DIR  use the program in DIR instead of building it
#   --help          print this
#
# Exit code 77 if wrk is missing. The other servers are measured where they are installed; --write needs both.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

seconds=10
write=0
while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    if ((shift_by)); then
        shift "$shift_by"
        continue
    fi
    case $1 in
        --seconds)
            need_value "$@"
            seconds=$2
            shift
            ;;
        --write) write=1 ;;
        *) wrong_usage "unknown argument \"$1\"" ;;
    esac
    shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || wrong_usage "--seconds needs a number above 0"
page=$root/crates/web-server/README.md
short=$(((seconds + 3) / 4))

command -v wrk >/dev/null || die 77 "wrk is not installed (apt install wrk)"
# Debian keeps it where only root's PATH leads.
PATH=$PATH:/usr/sbin
servers=(web-server:fork web-server:prefork)
busybox=$(busybox 2>/dev/null | sed -n '1s/^\(BusyBox v[^ ]*\).*/\1/p' || true)
if busybox --list 2>/dev/null | grep -qx httpd; then
    servers+=(busybox)
else
    say "busybox with httpd is not installed (apt install busybox)"
fi
apache=$(apache2 -v 2>/dev/null | sed -n 's|^Server version: \(Apache/[^ ]*\).*|\1|p' || true)
modules=/usr/lib/apache2/modules
if [[ -n $apache && -r $modules/mod_mpm_prefork.so ]]; then
    servers+=(apache)
else
    say "apache2 is not installed (apt install apache2)"
fi
((!write || ${#servers[@]} == 4)) || die 77 "--write needs all servers in the same run"

build --release -p web-server
make_work_dir
# Apache's children are another user's.
chmod 0711 "$work"
cp -R -- "$root/crates/web-server/site" "$work/site"
chmod -R a+rX "$work/site"

# free_port: sets `port` to one where nobody listens.
free_port() {
    while port=$((20000 + RANDOM % 10000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        :
    done
}

apache_config() {
    cat <<END
ServerRoot $work
ServerName 127.0.0.1
Listen 127.0.0.1:$port
PidFile $work/apache.pid
ErrorLog $work/apache.log
LoadModule mpm_prefork_module $modules/mod_mpm_prefork.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule dir_module $modules/mod_dir.so
LoadModule mime_module $modules/mod_mime.so
TypesConfig /etc/mime.types
DocumentRoot $work/site
KeepAlive On
MaxKeepAliveRequests 0
# A process for each connection from the start: it forks no more than a few in a second.
StartServers 80
MinSpareServers 20
MaxSpareServers 150
<Directory />
AllowOverride None
Require all granted
</Directory>
END
    ((EUID)) || printf 'User nobody\nGroup %s\n' "$(id -gn nobody)"
}

# start SERVER: sets `server` (its pid) and `port`, and waits until it answers.
start() {
    free_port
    case $1 in
        web-server:*) "$programs/web-server" --root "$work/site" --port "$port" --mode "${1#*:}" 2>"$work/$1.log" & ;;
        busybox) busybox httpd -f -p "127.0.0.1:$port" -h "$work/site" 2>"$work/$1.log" & ;;
        apache)
            apache_config >"$work/apache.conf"
            # A session of its own: at its end it sends SIGTERM to its whole process group.
            setsid apache2 -f "$work/apache.conf" -DFOREGROUND 2>"$work/$1.log" &
            ;;
    esac
    server=$!
    started+=("$server")
    local tries
    for ((tries = 0; tries < 500; tries++)); do
        # Ours says when it is ready, and all of its workers; the others are ready when they answer.
        if [[ $1 == web-server:* ]]; then
            ! grep -q ': ready ' "$work/$1.log" || return 0
        else
            ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
        fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.02
    done
    die 1 "$1 does not start: $(cat "$work/$1.log")"
}

# state: zombies among the server's children, and the descriptors of all its processes.
state() {
    local stat rest zombies=0 fds=(/proc/"$server"/fd/*)
    for stat in /proc/[0-9]*/stat; do
        IFS= read -r rest 2>/dev/null <"$stat" || continue
        case ${rest##*) } in
            "Z $server "*) zombies=$((zombies + 1)) ;;
            ?" $server "*) fds+=("${stat%stat}"fd/*) ;;
        esac
    done
    printf '%d zombies and %d descriptors\n' "$zombies" "${#fds[@]}"
}

# Apache and others grow while they get used to the load, ours must not.
must_be_tidy() {
    local tries now
    for ((tries = 0; tries < 100; tries++)); do
        now=$(state)
        [[ $now != "$1" ]] || return 0
        sleep 0.05
    done
    die 1 "after a run there are $now, and before there were $1"
}

# load SERVER CONNECTIONS SECONDS HEADER...: sets `rate` (requests per second), `p99` (ms) and `failed`.
load() {
    local which=$1 connections=$2 time=$3
    shift 3
    wrk --threads 1 --connections "$connections" --duration "${time}s" --latency "$@" "http://127.0.0.1:$port/" \
        >"$work/wrk" || die 1 "wrk failed: $(cat "$work/wrk")"
    read -r rate p99 failed < <(awk '
        $1 == "Requests/sec:" { rate = $2 }
        $1 == "99%" {
            p99 = $2 + 0
            if ($2 ~ /us$/) p99 /= 1000
            else if ($2 !~ /ms$/) p99 *= 1000
        }
        # "Socket errors: connect 0, read 1, write 0, timeout 2" and "Non-2xx or 3xx responses: 3"
        /Socket errors:/ { failed += $4 + $6 + $8 + $10 }
        /Non-2xx/ { failed += $NF }
        END { printf "%.0f %.2f %d\n", rate, p99, failed }
    ' "$work/wrk")
    [[ $which != web-server:* || $failed == 0 ]] || die 1 "$which: $failed failed requests"
}

name() {
    case $1 in
        web-server:*) printf '**web-server, %s**\n' "${1#*:}" ;;
        busybox) printf 'busybox httpd\n' ;;
        apache) printf 'Apache prefork\n' ;;
    esac
}

# All servers run all the time and have their turns with each number of connections, so that a machine that becomes
# slower or faster meanwhile does so for all of them.
measure() {
    local which connections before row close
    local -A pids ports
    for which in "${servers[@]}"; do
        start "$which"
        pids[$which]=$server
        ports[$which]=$port
    done
    for connections in 2 16 64; do
        for which in "${servers[@]}"; do
            server=${pids[$which]}
            port=${ports[$which]}
            before=$(state)
            load "$which" "$connections" "$seconds"
            row="$which $connections $rate $p99 $failed"
            load "$which" "$connections" "$short" --header "Connection: close"
            close="$rate $p99 $failed"
            printf '%s %s\n' "$row" "$close" | tee -a "$work/rows" >&2
            [[ $which != web-server:* ]] || must_be_tidy "$before"
        done
    done
}

# ratios MODE PEER COLUMN: the smallest and the largest ratio over the numbers of connections.
ratios() {
    awk -v mode="web-server:$1" -v peer="$2" -v column="$3" '
        $1 == mode { ours[$2] = $column }
        $1 == peer { theirs[$2] = $column }
        END {
            for (c in ours) {
                if (!theirs[c]) exit
                ratio = ours[c] / theirs[c]
                if (!low || ratio < low) low = ratio
                if (ratio > high) high = ratio
            }
            printf "%.2f to %.2f", low, high
        }' "$work/rows"
}

table() {
    local which connections rate p99 failed close_rate close_p99 close_failed
    printf '%s\n%s\n' \
        '| server | connections | requests/s | p99, ms | failed | …, one request each: requests/s | p99, ms | failed |' \
        '|---|--:|--:|--:|--:|--:|--:|--:|'
    while read -r which connections rate p99 failed close_rate close_p99 close_failed; do
        printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$(name "$which")" "$connections" \
            "$rate" "$p99" "$failed" "$close_rate" "$close_p99" "$close_failed"
    done <"$work/rows"
    printf '\n%s, %s CPUs; %s, %s; %s of %s bytes; %s s and %s s each.\n' "$(uname -s -r)" "$(nproc)" "${busybox:-no busybox}" \
        "${apache:-no Apache}" index.html "$(wc -c <"$work/site/index.html")" "$seconds" "$short"
    if ((${#servers[@]} == 4)); then
        # shellcheck disable=SC2016 # the quotes are Markdown's
        printf 'Requests per second of `fork`, divided by those of busybox httpd: %s; with one request per connection %s.\n' \
            "$(ratios fork busybox 3)" "$(ratios fork busybox 6)"
        # shellcheck disable=SC2016 # as above
        printf 'Of `prefork`, divided by those of Apache prefork: %s; with one request per connection %s.\n' \
            "$(ratios prefork apache 3)" "$(ratios prefork apache 6)"
    fi
}

measure
if ((write)); then
    table >"$work/table"
    put_between web-bench "$work/table" "$page" >"$work/page"
    cat "$work/page" >"$page"
else
    table
fi
