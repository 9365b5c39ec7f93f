#!/usr/bin/env bash
# lint.sh - formatting and the checks of clippy and shellcheck; a warning is an error
#
# Usage: lint.sh
#
# What is not installed is reported as ignored, with the command that installs it.
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
failed=0

# check WORD...: runs a command and notes a failure, so that one run shows all there is to mend.
check() {
    printf '$ %s\n' "$*"
    "$@" || failed=1
}

if cargo fmt --version >/dev/null 2>&1; then
    check cargo fmt --all --check
else
    echo "ignored: cargo fmt is not installed (rustup component add rustfmt)"
fi
if cargo clippy --version >/dev/null 2>&1; then
    check cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
else
    echo "ignored: cargo clippy is not installed (rustup component add clippy)"
fi
if command -v shellcheck >/dev/null; then
    check shellcheck --external-sources scripts/*.sh .ci/run
else
    echo "ignored: shellcheck is not installed (apt install shellcheck)"
fi
exit "$failed"
