#!/usr/bin/env bash
# test-all.sh - every check there is, and a summary: how many trials passed, which were ignored and why
#
# Usage: test-all.sh
#
# Runs, each to its end, whatever the others say: lint.sh; all tests of the workspace, documentation tests
# too; the README's table against what the programs say; test-copies.sh; a short kill-campaign.sh. None of them may
# leave a process behind, and in the end nothing may have been left that was not there before.
#
# Exit code 1 if anything failed. What is ignored is named and never counts as passed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

while (($#)); do
    common_option "$@"
    ((shift_by)) || wrong_usage "unknown argument \"$1\""
    shift "$shift_by"
done
need_cargo
cd -- "$root"

# Not make_work_dir: the tests see the runtime folder of the user.
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
log=$work/log
failures=()

# step WHAT COMMAND...
step() {
    local what=$1 out tee
    shift
    printf '\n=== %s\n' "$what"
    exec {out}> >(exec tee -a "$log")
    tee=$!
    "$@" >&"$out" 2>&1 {out}>&- || failures+=("$what")
    exec {out}>&-
    end_of_output "$tee" || failures+=("$what: processes left behind")
}

# end_of_output TEE: waits until nobody can write to it any more. Who still can after ten seconds is named and killed:
# a process that hangs must not make this script hang.
end_of_output() {
    local tee=$1 pipe turn left=()
    pipe=$(readlink "/proc/$tee/fd/0") || return 0
    for ((turn = 0; turn < 100; turn++)); do
        kill -0 "$tee" 2>/dev/null || return 0
        sleep 0.1
    done
    mapfile -t left < <(find /proc/[0-9]*/fd -lname "${pipe/\[/\\[}" 2>/dev/null | cut -d / -f 3 | sort -un | grep -vx "$tee")
    if ((${#left[@]})); then
        ps -o pid=,stat=,etime=,args= -p "${left[*]}" | sed 's/^/still running: /'
        kill -KILL "${left[@]}" 2>/dev/null || true
    fi
    return 1
}

# What lies about without an owner.
left() {
    "$root/scripts/leftovers.sh" | grep '^left: ' | LC_ALL=C sort || true
}

left >"$work/before"
step "lint" scripts/lint.sh
# The tests that are ignored by default need root, to be two users.
ignored=()
((EUID)) || ignored=(-- --include-ignored)
step "tests" cargo test --workspace --locked --no-fail-fast "${ignored[@]}"
step "the README's table" scripts/techniques.sh --check
step "copies" scripts/test-copies.sh
if [[ -x scripts/kill-campaign.sh ]]; then
    step "a short kill campaign" scripts/kill-campaign.sh --count 18
fi
left >"$work/after"
step "nothing left behind" diff "$work/before" "$work/after"

printf '\n=== summary\n'
awk '
    # "test result: ok. 5 passed; 0 failed; 1 ignored; ..." and "copies: 9 passed, 0 failed"
    /^test result: / { passed += $4; failed += $6; ignored += $8 }
    /^copies: / { passed += $2; failed += $4 }
    /^test .* \.\.\. ignored/ {
        sub(/^test /, "")
        sub(/ *\.\.\. ignored,? */, ": ")
        sub(/: $/, ": no reason given")
        print "ignored: " $0
    }
    /^ignored: / { print; ignored += 1 }
    END { printf "trials: %d passed, %d failed, %d ignored\n", passed, failed, ignored }
' "$log"
if ((${#failures[@]})); then
    printf 'FAILED: %s\n' "${failures[@]}"
    exit 1
fi
echo "all checks passed"
