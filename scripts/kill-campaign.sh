#!/usr/bin/env bash
# Kills senders and receivers with SIGKILL at random moments of a transfer. After each kill the survivor must
# end in time and claim no false success, the same endpoint must serve again, and nothing may be left.
#
#   scripts/kill-campaign.sh [--count N] [--seed S]     N kills over all techniques (default: 1000)
#   PAIR=path/to/sender,path/to/receiver scripts/kill-campaign.sh     one pair, in any language
set -euo pipefail

# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

# A pair of one's own is named from where one stands, not from the workspace.
if [[ -n "${PAIR:-}" ]]; then
    PAIR="$(realpath -- "${PAIR%%,*}"),$(realpath -- "${PAIR#*,}")"
    export PAIR
fi
need_cargo
cd -- "$root"
exec cargo run --quiet --bin kill-campaign -- "$@"
