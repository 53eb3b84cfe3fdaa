# CMail Server. `make` alone tells what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install run check test torture bench bench-link screenshots format clean

# The Python that .venv is made with: the system's where it is 3.11 or newer, else the newest on PATH.
PYTHON ?=
export PYTHON
CONFIG ?= var/cmail.toml

help: ## this list
	@echo "CMail Server. You can say:"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z-]+):.*## (.*)/  make \1	\2/p' Makefile

install: ## puts CMail and what it needs into .venv (nothing outside this folder; root: makes the user cmail too)
	@scripts/install

run: install ## starts the server in the foreground, on ports of this machine alone; Ctrl-C ends it
	@if [ ! -e $(CONFIG) ]; then .venv/bin/cmail config init --config $(CONFIG) --if-missing || exit; fi; \
	  exec .venv/bin/cmail serve --config $(CONFIG)

check: ## format, lint, types, floors and the quick tests: under a minute
	@scripts/install test
	@scripts/check

test: ## the whole test suite; as root it installs the mail programs that some tests talk to
	@scripts/test-programs
	@scripts/install test
	@.venv/bin/python -m pytest -n 2 --dist loadfile --durations=10 $(TESTS)

torture: ## tries every promise of docs/promises.md for long: 45 minutes at most (PART="storm disk": some of it)
	@scripts/test-programs
	@scripts/install test
	@.venv/bin/python -m tests.torture $(PART)

bench: ## measures CMail and Postfix side by side and prints the table
	@scripts/test-programs
	@scripts/install test
	@.venv/bin/python bench/run.py $(BENCH)

bench-link: ## measures mail over bad links, a satellite among them, beside Postfix (root; LINK="--only cmail")
	@scripts/test-programs
	@scripts/install test
	@.venv/bin/python bench/link/run.py $(LINK)

screenshots: ## takes a picture of every page, into docs/img
	@scripts/test-programs
	@scripts/install test
	@.venv/bin/python scripts/screenshots.py

format: ## writes the code the way `make check` wants it
	@scripts/install test
	@.venv/bin/ruff check --fix-only --quiet . ; .venv/bin/ruff format .

clean: ## removes what was built; ./var (your settings, perhaps your mail) stays
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} + ; rm -f src/cmail/protocol/smtp/_scan.*.so
