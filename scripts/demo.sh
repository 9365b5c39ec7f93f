#!/usr/bin/env bash
# demo.sh - everything there is, once: every pair of programs, then the lecture's three programs
#
# Usage: demo.sh [--programs DIR]
#
# Runs all-pairs.sh, demo-lecture.sh (isolation, parallel-sum) and demo-web.sh (web-server), each to its end,
# whatever the others say.
#
#   --programs DIR  use the programs in DIR instead of building them
#   --help          print this
#
# Exit code 1 if any of them failed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

while (($#)); do
    common_option "$@"
    ((shift_by)) || wrong_usage "unknown argument \"$1\""
    shift "$shift_by"
done
build
failures=()
for part in all-pairs demo-lecture demo-web; do
    "$root/scripts/$part.sh" --programs "$programs" || failures+=("$part")
    echo
done
if ((${#failures[@]})); then
    printf 'FAILED: %s\n' "${failures[@]}"
    exit 1
fi
echo "demo: every pair, and isolation, parallel-sum and web-server, as they should be"
