# make demo   set up, train a small supernet on the embedded images, search it with angle+flatness, rank the metrics by the shipped table
# make test   set up, then lint, types, import contract, tests: what continuous integration runs
#
# Both need Python 3.11 or later and make .venv by themselves; later calls reuse it. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
WHEEL := build/wheel

.DEFAULT_GOAL := help
.PHONY: help demo test lint types contract tests clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: .venv/installed
	$(BIN)/genas train-supernet runs/demo --config demo
	$(BIN)/genas evolve runs/demo --config demo-evolve --table shipped
	$(BIN)/genas rank runs/demo --config demo-rank

test: lint types contract tests

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Types, import contract and tests look at the package as users have it: genas with its sub-packages in one folder.
# mypy and lint-imports look into the current folder first, so they are run in that one.
types: $(WHEEL)/genas
	cd $(WHEEL) && "$(CURDIR)/$(BIN)/mypy" --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p genas

contract: $(WHEEL)/genas
	cd $(WHEEL) && "$(CURDIR)/$(BIN)/lint-imports" --config ../../pyproject.toml --cache-dir ../../.import_linter_cache

# Two processes with one thread each: the networks of the tests are tiny.
tests: export OMP_NUM_THREADS = 1
tests: $(WHEEL)/genas
	PYTHONPATH="$(CURDIR)/$(WHEEL)" $(BIN)/pytest -n 2 tests $(WHEEL)/genas --doctest-modules

clean:
	rm -rf .venv build

# With the folders, which change when a file is removed.
SOURCES := $(shell find genas supernet metrics search tools/recipes -name __pycache__ -prune -o \
	\( -name '*.py' -o -name '*.yaml' -o -name '*.npz' -o -name py.typed -o -type d \) -print)

$(WHEEL)/genas: .venv/installed-dev $(SOURCES)
	rm -rf build
	$(BIN)/pip install --quiet --no-deps --target $(WHEEL) .
	touch $@

.venv/installed: .venv/pyvenv.cfg setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/pyvenv.cfg setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch .venv/installed $@

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "genas needs Python 3.11 or later, but $(PYTHON) is missing or older; name another: make PYTHON=python3.12 ..." >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
