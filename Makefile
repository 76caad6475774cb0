# Everything a person or CI calls. `make help` lists it.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help run install test lint format e2e mutants bench-ui lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/installed ## install, then open the control room; without a terminal: start, break, prove that nothing was lost
	@if [ -t 0 ] && [ -t 1 ]; then $(BIN)/bruce-control; else $(BIN)/bruce-control demo; fi

install: $(VENV)/installed ## make .venv with the project and its pinned dependencies

test: $(VENV)/installed-dev ## every test that needs no container engine (unit, integration, ui)
	@$(PYTEST) -n auto --maxprocesses 4 tests/unit tests/ui
	@$(PYTEST) -n 2 --dist loadfile tests/integration

e2e: $(VENV)/installed-dev ## kill every member under load, crash points, scenarios, the wheel elsewhere, the demo
	@# Those with a stack of their own first: before the one that the others share takes its part of the processor.
	@$(PYTEST) tests/e2e/test_demo.py tests/e2e/test_control_room.py
	@$(PYTEST) tests/e2e --ignore tests/e2e/test_demo.py --ignore tests/e2e/test_control_room.py --ignore tests/e2e/test_broken_services.py

mutants: $(VENV)/installed-dev ## services with a seeded bug: the verdict must turn red for each
	@$(PYTEST) tests/e2e/test_broken_services.py

bench-ui: $(VENV)/installed-dev ## what the control room costs, against its limits; a stack that is up is measured too
	@$(BIN)/python -m scripts.bench_ui

lint: $(VENV)/installed-dev ## ruff, formatting, mypy strict, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/installed-dev ## let ruff put imports and layout in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(VENV)/installed-dev ## resolve the newest versions that fit pyproject.toml into constraints.txt
	@$(BIN)/python scripts/lock.py

clean: ## remove .venv and caches; the stack's state under .bruce stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/installed: pyproject.toml constraints.txt scripts/install.sh
	@sh scripts/install.sh $(VENV) .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt scripts/install.sh
	@sh scripts/install.sh $(VENV) '.[dev]'
	@touch $@ $(VENV)/installed
