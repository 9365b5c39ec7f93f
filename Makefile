# The verbs that a person types. `make` lists them; each is a script in scripts/ with a --help of its own.

export A T TO N PORT MODE

.DEFAULT_GOAL := help
.PHONY: help demo web test test-all lint copy clean-ipc readme kill-campaign bench bench-full cargo

help: ## List these verbs
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: ## Every pair carries a text and 8 MiB, then the lecture's programs; T=NAME shows one pair step by step
	@if [ -n "$$T" ]; then scripts/pair.sh "$$T"; else scripts/demo.sh; fi

web: cargo ## The lecture's web server on its little site; PORT=8080, else a free one; MODE=prefork
	@cargo run --release --locked --quiet -p web-server -- --root crates/web-server/site \
		--port "$${PORT:-0}" --mode "$${MODE:-fork}"

test: cargo ## The tests of all crates
	cargo test --workspace --locked

test-all: ## Every check there is, and what passed, failed or was ignored
	@scripts/test-all.sh

lint: ## Formatting, clippy and shellcheck
	@scripts/lint.sh

copy: ## T=NAME TO=DIR: copy one technique into a package that stands alone
	@scripts/copy-out.sh "$$T" "$$TO"

clean-ipc: ## Remove what killed runs left in the kernel and the file system
	@scripts/leftovers.sh --clean

readme: ## Put today's table of techniques into README.md
	@scripts/techniques.sh --write

bench: cargo ## Latency, throughput and cost of every technique, in about 90 seconds; A="--help" for more
	@cargo run --release --locked --quiet -p ipc-bench -- --report report $$A

bench-full: cargo ## The same with every figure, both placements, spinning too, and time for the rare: half an hour
	@cargo run --release --locked --quiet -p ipc-bench -- --time 1800 --place apart,together --wait block,spin --details --report report $$A

kill-campaign: ## Kill programs at random moments, N=1000 times
	@scripts/kill-campaign.sh --count "$${N:-1000}"

cargo:
	@bash -c '. scripts/lib.sh; need_cargo' make
