# ecsbeat: `make demo` shows it at work, `make test` proves it. Each installs what it misses.

SHELL := /bin/bash
CARGO ?= cargo
.DEFAULT_GOAL := help
.PHONY: help demo build release test simulate lint doc bench tools clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

demo: tools ## Simulator and ecsbeat on it; Ctrl-C ends both
	$(CARGO) build --quiet --release --workspace --bins
	tests/demo.sh target/release

build: tools ## Debug build of everything
	$(CARGO) build --workspace --all-targets

release: tools ## The product as it is shipped
	ECSBEAT_COMMIT=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown) $(CARGO) build --release --bin ecsbeat

test: tools ## Every test
	$(CARGO) test --workspace

simulate: tools ## The election under 100,000 schedules of faults
	ECSBEAT_SCHEDULES=$${ECSBEAT_SCHEDULES:-100000} $(CARGO) test --release --lib election::simulation -- --nocapture

lint: tools ## Format, lints and documentation, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --workspace --no-deps

bench: tools ## Measurements; figures are ratios within one run
	$(CARGO) bench --bench decode
	$(CARGO) bench --bench cycle
	$(CARGO) bench --bench memory

tools: ## Install what a build needs (Debian; root or sudo)
	@tests/tools.sh

clean: ## Remove what was built
	$(CARGO) clean
