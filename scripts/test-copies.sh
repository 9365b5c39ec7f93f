#!/usr/bin/env bash
# test-copies.sh - copies every technique out and runs the tests inside the copies
#
# Usage: test-copies.sh [NAME...]
#
# Each technique (or each NAME) is copied into a folder outside this workspace by copy-out.sh. Copying a second
# time must be refused. In the copy, `cargo test` must build without a warning and pass; and the commands in the
# header of src/bin/receiver.rs must work: the first one, the receiver's, prints something of what the others send.
# The copies share one target folder, target/copies, so that their dependencies are built once.
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

# commands END: the command lines in the header of that end's program, with names, a key and a port of this run's own.
commands() {
    sed -n -e 's|^//! *\(terminal [0-9]\)\{0,1\} *\(.*cargo run --bin .*\)$|\2|p' "src/bin/$1.rs" |
        sed -e 's| *#.*||' -e 's|cargo run|cargo run --quiet|' \
            -e "s|/tmp/|$work/|g" -e "s| /my| ${run_name}my|g" -e "s| 0x[0-9a-f]*| $run_key|g" \
            -e "s|127.0.0.1:[0-9]*|127.0.0.1:$((20000 + $$ % 10000))|g"
}

# try_programs: runs those commands.
try_programs() {
    local lines line attempt receiver
    mapfile -t lines < <(commands receiver)
    [[ ${lines[0]-} == *"--bin receiver"* ]] || {
        echo "the header of src/bin/receiver.rs does not begin with how to run it"
        return 1
    }
    # Where a sender starts the receiver, its own header has a command that stands alone.
    [[ ${#lines[@]} -gt 1 ]] || lines+=("$(commands sender | head -n 1)")
    timeout 20 bash -c "${lines[0]}" >output 2>complaints &
    receiver=$!
    for line in "${lines[@]:1}"; do
        # Plain programs have no rendezvous: a sender that comes before its receiver fails, and is run again.
        for attempt in {1..50}; do
            ! timeout 20 bash -c "$line" <<<hello >sender-output 2>sender-complaints || continue 2
            sleep 0.1
        done
        echo "$line: failed $attempt times"
        cat sender-complaints
        break
    done
    wait "$receiver" || {
        echo "${lines[0]}: exit code $?"
        cat complaints
        return 1
    }
    [[ -s output ]] || {
        echo "${lines[0]}: printed nothing"
        return 1
    }
}

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
    try_programs
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
