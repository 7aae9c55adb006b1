# make quickstart   everything from raw text to a model that writes, in .venv and runs/quickstart
# make test         linters, types, import layers, tests
# PYTHON=python3.12 make …   another interpreter for a new .venv

PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test format

quickstart: .venv/.core
	$(BIN)/danlu run recipes/quickstart.yaml

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Stamps: installing again takes no time until what is asked for changes.
.venv/.core: pyproject.toml constraints.txt .ci/install
	PYTHON="$(PYTHON)" .ci/install
	touch $@

.venv/.dev: pyproject.toml constraints.txt .ci/install
	PYTHON="$(PYTHON)" .ci/install dev
	touch .venv/.core $@
