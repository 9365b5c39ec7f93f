#!/usr/bin/env bash
# A pair that keeps the contract, because it is the pair of PREFIX, or breaks one promise of it, because FAULT says
# so. tests/suite.rs runs it to see that the suite notices. Called as broken-sender or broken-receiver.
#
#   PAIR=tests/fakes/broken-sender,tests/fakes/broken-receiver FAULT=noise PREFIX=target/debug/fifo cargo test …
set -euo pipefail

role="${0##*broken-}"
real="$PREFIX-$role"
endpoint=
words=("$@")
for ((at = 0; at + 1 < $#; at++)); do
    if [[ "${words[at]}" == --endpoint ]]; then endpoint="${words[at + 1]}"; fi
done

if [[ "${1:-}" == --describe ]]; then exec "$real" --describe; fi

case "${FAULT:-none}-$role" in
    lost-receiver) "$real" "$@" | head --lines=-1 ;;
    disorder-receiver) "$real" "$@" | sort --reverse ;;
    miscount-receiver) exec "$real" "$@" 2> >(sed -u 's/lost [0-9]*/lost 1/' >&2) ;;
    noise-receiver) echo "received:" && exec "$real" "$@" ;;
    false-success-receiver) "$real" "$@" || exit 0 ;;
    deaf-receiver | deaf-sender)
        for ((at = 0; at < $#; at++)); do
            if [[ "${words[at]}" == --timeout ]]; then words[at + 1]=3; fi
        done
        exec "$real" "${words[@]}"
        ;;
    leftover-receiver) "$real" "$@" && touch "$endpoint.left" ;;
    child-sender) (exec sleep 100) >&2 & exec "$real" "$@" ;;
    public-receiver)
        (until chmod 0666 "$endpoint" 2>/dev/null; do sleep 0.001; done) &
        exec "$real" "$@"
        ;;
    eager-receiver) if [[ -L "$endpoint" ]]; then rm "$endpoint"; fi && exec "$real" "$@" ;;
    chatty-sender | chatty-receiver) "$real" "$@" || { code=$?; echo "sorry" >&2; exit "$code"; } ;;
    panic-sender) echo "thread 'main' panicked at src/main.rs:1:1:" >&2 && exec "$real" "$@" ;;
    *) exec "$real" "$@" ;;
esac
