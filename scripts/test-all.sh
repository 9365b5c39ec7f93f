#!/usr/bin/env bash
# test-all.sh - every check there is, and a summary: how many trials passed, which were ignored and why
#
# Usage: test-all.sh
#
# Runs, each to its end, whatever the others say: lint.sh; all tests of the workspace, documentation tests
# too; the README's table against what the programs say; test-copies.sh; a short kill-campaign.sh. In the end,
# nothing may have been left behind that was not there before.
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
    local what=$1
    shift
    printf '\n=== %s\n' "$what"
    "$@" 2>&1 | tee -a "$log" || failures+=("$what")
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
