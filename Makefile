# Two commands matter: `make demo` shows what Tagwarden does, `make test` proves it.
# Tools and servers are pinned, and installed into the user cache on first use.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

CACHE ?= $(HOME)/.cache/tagwarden
CARGO_DENY := $(CACHE)/tools/cargo-deny-0.20.2/bin/cargo-deny

.PHONY: help demo test check lint deny unit bench clean

help: ## What there is to make
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

demo: ## A controller at work on a simulated estate (KEEP=1 to stay and look around, PART=scan for one scan)
	@hack/demo.sh

test: check unit ## Everything that has to hold before a change lands

check: lint deny

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

deny: $(CARGO_DENY)
	$(CARGO_DENY) --offline --locked check bans licenses sources
	@hack/advisories.sh $(CARGO_DENY)

$(CARGO_DENY):
	cargo install --locked --debug --quiet --version 0.20.2 cargo-deny --root $(CACHE)/tools/cargo-deny-0.20.2

unit:
	hack/test.sh

bench: ## Measure: evaluation, the embedded control plane, whole scans, the controller and agents against a stub of AWS
	cargo bench --locked -p tagwarden-core --bench evaluation
	cargo bench --locked --bench plane
	cargo bench --locked --bench scan
	cargo bench --locked --bench agents

clean: ## Remove what was built in the checkout
	cargo clean
