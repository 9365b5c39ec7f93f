#!/usr/bin/env bash
# test-copies.sh - copies every technique out and runs the tests inside the copies
#
# Usage: test-copies.sh [NAME...]
#
# Each technique (or each NAME) is copied into a folder outside this workspace by copy-out.sh; there, `cargo
# test` must build without a warning and pass, and copying a second time must be refused. The copies share one
# target folder, target/copies, so that their dependencies are built once.
#
# Exit code 1 if any copy failed. The last line counts them.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

while (($#)); do
    common_option "$@"
    ((shift_by)) || break
    shift "$shift_by"
done
names=("$@")
for name in "${names[@]}"; do
    need_technique "$name"
done
((${#names[@]})) || mapfile -t names < <(technique_names)

need_cargo
make_work_dir
export CARGO_TARGET_DIR=$root/target/copies
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

# check NAME: prints what went wrong, and fails, if anything did.
check() {
    local dir="$work/a copy of $1"
    "$root/scripts/copy-out.sh" "$1" "$dir" 2>&1 || return
    if "$root/scripts/copy-out.sh" "$1" "$dir" >/dev/null 2>&1; then
        echo "a second copy overwrote the first"
        return 1
    fi
    cd -- "$dir"
    cargo test --quiet 2>&1 || return
}

passed=0 failed=0
for name in "${names[@]}"; do
    if (check "$name") >"$work/log" && ! grep -q '^warning' "$work/log"; then
        echo "copy of $name: ok"
        passed=$((passed + 1))
    else
        echo "copy of $name: FAILED"
        cat "$work/log"
        failed=$((failed + 1))
    fi
done
printf 'copies: %d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
