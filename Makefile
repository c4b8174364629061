# What CI runs: `make test`. The other targets are its parts.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.PHONY: test setup fmt lint scripts check-tests doc

PYTHON := target/venv/bin/python

test: setup fmt lint scripts check-tests doc

# A C compiler, and target/venv with what the tests need of Python.
setup:
	.ci/setup

fmt:
	cargo fmt --check

lint:
	cargo clippy --all-targets --locked -- -D warnings

# Shell and Python that nothing compiles: at least their syntax. `-c` leaves no __pycache__ behind.
scripts: setup
	git ls-files -coz --exclude-standard -- '.ci/*' '*.sh' | xargs -0 -r -n 1 bash -n
	git ls-files -coz --exclude-standard -- '*.py' | xargs -0 -r -n 1 \
	    $(PYTHON) -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")'

# INSTA_UPDATE: a snapshot that differs fails, and no file appears beside it.
check-tests: setup
	INSTA_UPDATE=no cargo test --locked

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
