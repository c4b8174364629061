# What CI runs: `make test`. The other targets are its parts, and what is run by hand since it takes its time:
# `crash`, `simulate`, `warehouse`, `fuzz` and the benchmarks. `deny` is a part where cargo-deny is installed: to compile it takes longer than
# all the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.PHONY: test setup fmt lint scripts check-tests features deploy doc planted crash simulate warehouse fuzz deny
.PHONY: bench bench-check bench-peers bench-growth

PYTHON := target/venv/bin/python

test: setup fmt lint scripts check-tests features deploy doc planted $(if $(shell command -v cargo-deny),deny)

# A C compiler, strace, a browser, and target/venv with what the tests need of Python.
setup:
	.ci/setup

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

# Shell and Python that nothing compiles: at least their syntax. `-c` leaves no __pycache__ behind.
scripts: setup
	git ls-files -coz --exclude-standard -- '.ci/*' '*.sh' | xargs -0 -r -n 1 bash -n
	git ls-files -coz --exclude-standard -- '*.py' | xargs -0 -r -n 1 \
	    $(PYTHON) -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")'

# INSTA_UPDATE: a snapshot that differs fails, and no file appears beside it.
check-tests: setup
	INSTA_UPDATE=no cargo test --workspace --locked

# What only the image and releases are built with, in one pass: what the features add, and what they could break.
FEATURES := otlp,delta
features: setup
	cargo clippy --all-targets --locked --features $(FEATURES) -- -D warnings
	INSTA_UPDATE=no cargo test --locked --features $(FEATURES) --test it -- otlp:: delta:: tables a_seed_says_all
	cargo test --locked --features $(FEATURES) --test crash -- fault_36 fault_38

# Manifests, chart, image, units, alerts and dashboard, against the program and its metrics. It is linked statically,
# as the image needs it, with the features that the image has. `-B` leaves no __pycache__ behind.
deploy: setup
	cargo rustc --locked --features $(FEATURES) --bin trendlake -- -C target-feature=+crt-static
	$(PYTHON) -B tests/deploy/check.py

# Mistakes planted into a copy of the sources, one at a time: the suite must catch each.
planted: setup
	$(PYTHON) tests/planted/run.py

# Random kills under load, so many of them; by hand, since it takes minutes.
POINTS ?= 2000
crash: setup
	POINTS=$(POINTS) cargo test --locked --test crash -- --ignored --nocapture

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Each fuzz target for so many seconds, with the versions that are shipped. New inputs go to fuzz/target/,
# what breaks a property to fuzz/artifacts/: shrunk by `cargo fuzz tmin`, it belongs into fuzz/corpus/, whose
# files every `make test` tries. Needs: rustup toolchain install nightly; cargo install cargo-fuzz
SECONDS := 60
fuzz:
	cp Cargo.lock fuzz/Cargo.lock
	for target in $$(cd fuzz && cargo +nightly fuzz list); do \
	    mkdir -p fuzz/target/corpus/$$target; \
	    cargo +nightly fuzz run $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
	        -max_total_time=$(SECONDS) -fork=0 -rss_limit_mb=2048 -print_final_stats=1; \
	done

# Licenses, sources and unwanted ones among all dependencies. Known vulnerabilities too, where the list of them can
# be fetched: `make deny CHECKS="bans licenses sources advisories"`. Needs: cargo install cargo-deny
CHECKS := bans licenses sources
deny:
	cargo deny --locked check $(CHECKS)

# Every engine that can be had reads a lake, those too that are large. Needs Java.
warehouse: setup
	$(PYTHON) -m pip install --quiet --no-input --disable-pip-version-check --requirement tests/warehouse/requirements.txt
	cargo test --locked --test it -- --include-ignored warehouse

# Histories by seed, as many as one likes: make simulate SEEDS=0..10000
SEEDS := 0..5000
simulate:
	TRENDLAKE_SEEDS=$(SEEDS) cargo test --locked --test it histories::every -- --nocapture

# Times and memory, by hand and on a machine that is otherwise idle: docs/PERFORMANCE.md says what of.
bench:
	cargo bench --locked --bench steps
	benches/export.py
	benches/daemon.py

# Others at the same two jobs. Needs PyPI; their environments go to target/peers.
bench-peers:
	benches/peers/run.py

# Up to 10,000 streams, which takes 6 GB of memory for the lake and some minutes.
bench-growth:
	benches/growth.py --plot docs/images/growth.svg

# What the work costs, counted and not timed, against what it may: a part of `check-tests`, since no clock is in it.
bench-check:
	cargo test --locked --test cost
