# Two commands for a fresh machine that has Rust, Python 3.11, gcc and make:
#   make run     build and start a server with a data directory of its own
#   make test    every test, the ones with real clients included
# All builds share one target directory outside the checkout, so that a fresh clone builds nothing twice.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/penstock/target

DATA ?= ./penstock-data
LISTEN ?= 127.0.0.1:8480

.PHONY: run build test test-rust test-parsers test-clients lint bench dist help

help:
	@sed -n 's/^#   //p' Makefile

run: build
	$(CARGO_TARGET_DIR)/release/penstock serve --data $(DATA) --listen $(LISTEN)

build:
	cargo build --release --locked -p penstock

test: test-rust test-parsers test-clients

test-rust:
	cargo test --workspace --locked

# The binary of the same build that the tests above used.
DEBUG = $(CARGO_TARGET_DIR)/debug/penstock

# Our own parsers: laid out, without findings, and making of their samples what is written down. Some seconds.
test-parsers:
	cargo build --locked -p penstock
	$(DEBUG) parser fmt --check parsers
	$(DEBUG) parser lint --deny warnings parsers
	$(DEBUG) parser test --strict --coverage --fail-under 90 parsers

test-clients:
	cargo build --locked -p penstock
	PENSTOCK_BIN=$(DEBUG) tests/clients/run

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# What is shipped: link-time optimised.
dist:
	cargo build --profile dist --locked -p penstock

bench: dist
	bench/run $(CARGO_TARGET_DIR)/dist/penstock
