# make quickstart   set everything up and run the main job on two small datasets
# make test         set everything up and run all tests
# make check        format, lint, types, and the arrows between folders
# make docs         the documentation as a site, in build/site
# make licences     docs/licences.md: what an installation brings, and under which licence
# make sbom         dist/pcsearch.cdx.json: the same as a CycloneDX bill of materials, for a release
# make release      dist/: wheel, source archive and bill of materials, if the tag is the version

VENV ?= .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' 2>/dev/null && echo $$p && break; done)

# Faults at seeded moments, alone on the machine: beside other tests it takes twice its three minutes.
SOAK := tests/e2e/test_soak.py

# What a release's bill of materials is made of: an installation with nothing else in it.
RELEASE := build/release

.PHONY: quickstart test fast check docs licences sbom release clean

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
	$(BIN)/lint-imports

# Not --quiet, with which --strict passes over broken links.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

licences: $(VENV)/.installed-test
	$(BIN)/python scripts/licences.py > docs/licences.md

sbom: $(VENV)/.installed-dev
	rm -rf $(RELEASE)
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet --upgrade pip
	$(RELEASE)/bin/python -m pip install --quiet '.[aws]'
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file dist/pcsearch.cdx.json $(RELEASE)/bin/python

release: $(VENV)/.installed-dev
	$(BIN)/python scripts/release.py
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(MAKE) sbom

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
