# make demo    set up, train on the sample data, print the result and where the report lies
# make test    set up, run the tests that take seconds to minutes
# make check   ruff, mypy        make slow    the tests that take many minutes
# make bench   measure the speed against what else one would use

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg

.PHONY: demo test slow check bench install clean

demo: $(VENV)/installed
	$(BIN)/medres demo

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist loadfile $(PYTEST_ARGS)

slow: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --numprocesses auto --dist loadscope $(PYTEST_ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.reading --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.training_step --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.frozen_phase --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.metrics --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.page_opening --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.scoring --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.scoring --memory --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.export --out benchmarks/RESULTS.md

install: $(VENV)/installed

$(VENV)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medres needs Python 3.11 or newer; name one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	touch $@

# Constraints make an install reproducible; CONSTRAINTS= takes the newest versions that fit.
CONSTRAINTS ?= --constraint constraints/reproducible.txt

$(VENV)/installed: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache

# For a machine without a network: gather everything as files here, carry the folder over, and there
#   pip install --no-index --find-links wheelhouse medres
.PHONY: wheelhouse
wheelhouse: $(VENV)/python
	$(BIN)/python -m pip wheel --quiet $(CONSTRAINTS) --wheel-dir wheelhouse .
