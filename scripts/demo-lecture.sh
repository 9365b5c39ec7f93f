#!/usr/bin/env bash
# demo-lecture.sh - the lecture's two programs: why processes have to talk, and what for
#
# Usage: demo-lecture.sh [--programs DIR]
#
# Runs isolation, which shows on this machine that processes cannot reach each other's memory; then
# parallel-sum: without communication, through a pipe, and through every technique. The totals are compared
# with what the shell works out itself.
#
#   --programs DIR  use the programs in DIR instead of building them
#   --help          print this
#
# Exit code 1 if the machine contradicts the lesson, or a technique fails or brings a wrong total. What this
# machine does not offer is shown as skipped.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    common_option "$@"
    ((shift_by)) || wrong_usage "unknown argument \"$1\""
    shift "$shift_by"
done
build --package isolation --package parallel-sum
make_work_dir
last=10000
expected=$((last * (last + 1) / 2))
failures=()

# show WORD...: runs a program where its user can see it, and keeps what it says in $work/said.
show() {
    local status=0
    printf '\n$ %s\n\n' "$*"
    "$programs/$1" "${@:2}" >"$work/said" || status=$?
    cat -- "$work/said"
    ((status == 0)) || failures+=("$*: exit code $status")
}

# check WHAT PATTERN: what was said has a line that matches.
check() {
    grep -q -E -e "$2" -- "$work/said" || failures+=("$1")
}

show isolation
check "isolation: nothing was as expected" '^[1-9][0-9]* as expected, 0 not as expected'

show parallel-sum --to "$last" --via none
check "parallel-sum --via none: the parent knows a total" '^ *total +0 '

show parallel-sum --to "$last" --via pipe
check "parallel-sum --via pipe: the total is not $expected" "^ *total +$expected "

show parallel-sum --to "$last" --via all
while IFS= read -r name; do
    check "parallel-sum --via all: $name" "^$name +($expected +[0-9.]+ +right|- +- +skipped) "
done < <(technique_names)

echo
if ((${#failures[@]})); then
    printf 'FAILED: %s\n' "${failures[@]}"
    exit 1
fi
echo "all as expected"
