# The developer's whole interface. Every target does its own set-up, and is quick when nothing has changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help up test test-long check venv system kubectl lock

help:
	@echo "make up         set up, start a cluster, play the tutorial on it and leave it running"
	@echo "make test       every test that takes seconds, as root and as an ordinary user"
	@echo "make test-long  the tests that take minutes"
	@echo "make check      ruff, mypy --strict, import-linter"
	@echo "make lock       write constraints.txt again (after changing dependencies in pyproject.toml)"

up: venv system kubectl
	@$(BIN)/python scripts/tutorial.py

test: venv system kubectl
	@scripts/test

test-long: venv system kubectl
	@scripts/test --long

check: venv
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

venv: $(VENV)/.installed

# The lock file carries hashes, so the project itself (which has none) is installed apart, with what is there already.
$(VENV)/.installed: constraints.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

system:
	@scripts/system-packages

kubectl: venv
	@$(BIN)/python -m tests.helpers.kubectl

lock: venv
	@scripts/lock
