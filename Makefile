# The ways to try, check and measure the project. Each makes .venv first if it is not there or out of date.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CARGO := $(shell command -v cargo)
NATIVE := setup.py rust/Cargo.toml rust/Cargo.lock $(wildcard rust/src/*.rs)
PYTEST := $(BIN)/pytest -n logical --maxprocesses 4 --dist worksteal

.PHONY: help demo test check check-native deploy-check audit lock mutants wheel bundle bench chaos clean
.DELETE_ON_ERROR:

help:
	@echo "make demo          a CSV into a real Kafka, killed on the way, and proof that nothing is lost or doubled"
	@echo "make check         format, types, layers, unit and property tests"
	@echo "make test          the whole suite, with a real Kafka"
	@echo "make deploy-check  deploy/ as far as it can be judged without an account: Terraform, shell, Dockerfile"
	@echo "make audit         known holes in what is installed, where a service can be asked"
	@echo "make bench         speed beside other tools"
	@echo "make chaos         kills, cuts and full disks against real brokers, every row compared; HOURS=8 for longer"
	@echo "make mutants       whether a test fails for each small change to what the guarantee rests on (an hour)"
	@echo "make wheel         a wheel with the native kernel, in dist/"
	@echo "make bundle        the wheel with all that it needs, to install without a registry"
	@echo "make lock          the versions and hashes that the image and the bundle install"
	@echo "make clean         remove .venv and all caches in this folder"

demo: $(VENV)/installed
	@$(BIN)/csv2kafka demo

# Kafka's jars first: fetching them may take longer than a test may.
test: $(VENV)/installed-for-development
	@$(BIN)/python -c "from csv2kafka.cli.local_kafka import *; missing_tools() or fetch_jars(print)"
	@$(PYTEST) --durations 10

check: $(VENV)/installed-for-development check-native
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(PYTEST) -m "not broker" tests/unit tests/properties

# Without Rust there is nothing to check, and the Python kernel does the work.
check-native: | $(VENV)/bin/python
ifneq ($(CARGO),)
	$(CARGO) fmt --manifest-path rust/Cargo.toml --check
	PYO3_PYTHON=$(abspath $(BIN)/python) $(CARGO) clippy --manifest-path rust/Cargo.toml --quiet --locked --all-targets -- -D warnings
	$(CARGO) test --manifest-path rust/Cargo.toml --quiet --locked --no-default-features
else ifneq ($(filter-out 0,$(CSV2KAFKA_REQUIRE_NATIVE)),)
	@echo "cargo is needed: CSV2KAFKA_REQUIRE_NATIVE is set" && false
else
	@echo "no cargo: the native kernel is not checked"
endif

# Terraform's plans are judged by tests/deploy, with `make test`.
deploy-check:
	@PYTHON=$(PYTHON) deploy/lint/check

# AUDIT_REQUIRED=1: what could not be asked is a failure.
audit: $(VENV)/installed
	@.ci/audit

# Keeps what is locked already and still fits; make lock LOCK=--upgrade for the newest.
lock: $(VENV)/installed
	@$(PIP) 'uv>=0.9'
	@$(BIN)/uv pip compile pyproject.toml $(LOCK) --quiet --universal --python-version 3.11 --only-binary :all: \
		--generate-hashes --custom-compile-command 'make lock' --output-file deploy/image/requirements.lock

# For Linux with glibc 2.28 or later, whatever this machine has; ARCH=x86_64 or aarch64, its own by default.
wheel: $(VENV)/installed
	@PYTHON=$(abspath $(BIN)/python) deploy/wheel/build $(ARCH)

# The wheel and all that it needs, for machines that ask no registry (deploy/ec2).
bundle: wheel
	@PYTHON=$(abspath $(BIN)/python) deploy/wheel/bundle $(ARCH)

# All of it, about half an hour: make bench BENCH="--rows 200000 --rounds 1 --only csv2kafka,duckdb-kcat" for less.
bench: $(VENV)/installed
	@$(PIP) --editable '.[bench]'
	@$(BIN)/python -m benchmarks $(BENCH)

# Five minutes; make chaos HOURS=8, or CHAOS="--minutes 30 --only cut,slow --json FILE".
chaos: $(VENV)/installed-for-development
	@$(BIN)/python -m tests.chaos $(if $(HOURS),--hours $(HOURS)) $(CHAOS)

# A sample of each module, about an hour: make mutants MUTANTS="--only csv2kafka.kafka.writer --each 50".
mutants: $(VENV)/installed-for-development
	@$(BIN)/python -m tests.mutants $(MUTANTS)

clean:
	rm -rf $(VENV) build dist rust/target *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find csv2kafka -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed (make PYTHON=/path/to/python)"; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(NATIVE) | $(VENV)/bin/python
	@echo "installing csv2kafka (about 20 s, with Rust a minute or two more the first time)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/installed-for-development: pyproject.toml $(NATIVE) | $(VENV)/bin/python
	@echo "installing csv2kafka and what its tests need"
	@$(PIP) --editable '.[test,lint]' --editable examples/plugin_sink
	@touch $@ $(VENV)/installed
