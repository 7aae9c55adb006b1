# make quickstart   everything from raw text to a model that writes, in .venv and runs/quickstart
# make test         linters, types, import layers, tests
# make test-elsewhere    the tests on Ray clusters and object stores, whose packages it installs first (340 MB)
# PYTHON=python3.12 make …   another interpreter for a new .venv

PYTHON ?= python3
BIN := .venv/bin
NATIVE := danlu/nn/native/*.?pp

.PHONY: quickstart test test-elsewhere format

quickstart: .venv/.core
	$(BIN)/danlu run recipes/quickstart.yaml

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

test-elsewhere: .venv/.dev
	$(BIN)/pip install --quiet -c constraints.txt 'ray[train]>=2.50,<3' 'moto[s3]>=5.2,<6' flask flask-cors \
		s3fs gcsfs gcp-storage-emulator
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 0 -m "not slow and not gpu and not browser" \
		tests/workers/test_ray_workers.py tests/train/test_on_ray.py tests/test_object_stores.py

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE)

# Stamps: installing again takes no time until what is asked for changes.
.venv/.core: pyproject.toml constraints.txt .ci/install
	PYTHON="$(PYTHON)" .ci/install
	touch $@

.venv/.dev: pyproject.toml constraints.txt .ci/install
	PYTHON="$(PYTHON)" .ci/install dev
	touch .venv/.core $@
