# make quickstart   set everything up and run the main job on two small data sets
# make test         set everything up and run all tests
# make check        format, lint and types

VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' 2>/dev/null && echo $$p && break; done)

# Faults at seeded moments, alone on the machine: beside other tests it takes twice its three minutes.
SOAK := tests/e2e/test_soak.py

.PHONY: quickstart test fast check clean

quickstart: $(VENV)/.installed
	$(BIN)/pcsearch tune recipes/quickstart.yaml

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2
	$(BIN)/python -m pytest $(SOAK)
	$(BIN)/python -m pytest -m slow -n 3 --dist loadfile --no-loadscope-reorder --ignore=$(SOAK)

fast: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "pcsearch needs Python 3.11.4 or newer; set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
