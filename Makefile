# `make demo` and `make test` on a machine with Python, a C++ compiler and make. What they set up
# lives in .venv and is set up again only where something that it depends on has changed.

PYTHON ?= python3
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Debian ships venv without ensurepip unless python3-venv is installed.
NEEDS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))
REMEDY := $(PYTHON) must be Python 3.10 or newer with venv and ensurepip; install it (Debian: \
  apt-get install python3-venv python3-dev) or name another (make PYTHON=python3.12)
SOURCES := $(shell find csrc build_tools -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.py') setup.py
FUZZ_SECONDS ?= 600
SEED ?= $(shell date +%s)
PARALLEL := -n auto --maxprocesses 8
FORMATTED := $(shell find csrc bench tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: help demo test fuzz sanitize lint format docs clean FORCE

help:
	@echo 'make demo     solve the Burgers equation, print the error, write burgers.png'
	@echo 'make test     run all tests'
	@echo 'make fuzz     run the fuzzers for FUZZ_SECONDS (600) each; SEED=7 repeats a run'
	@echo 'make sanitize run the op tests on kernels built with sanitizers (gcc, Linux)'
	@echo 'make lint     check style and types'
	@echo 'make format   bring all files into style'
	@echo 'make docs     build the site, build/docs/html/index.html; SPHINX="-a" builds all pages anew'
	@echo 'make clean    remove what was set up and built'
	@echo 'TORCH=torch==2.12.0 picks another torch, PYTHON=python3.12 another Python'

# A first demo builds the kernels for this processor alone, all others come with the tests.
demo: $(if $(wildcard $(VENV)/dev),$(VENV)/dev,$(VENV)/native)
	$(BIN)/pyneural demo burgers --out . $(ARGS)

# The tests share out the processors; ARGS="-n 0" keeps them in one process, for a debugger.
test: $(VENV)/dev
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

# Each prints its seed where it fails.
fuzz: $(VENV)/dev
	$(BIN)/python -m pytest $(PARALLEL) tests/fuzz --fuzz-seconds $(FUZZ_SECONDS) --seed $(SEED) $(ARGS)

sanitize: $(VENV)/dev
	bash build_tools/sanitize.sh $(ARGS)

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

# Warnings are errors. The first build runs the notebooks and the demos of the gallery, which takes
# an hour or two on two processors; their results are kept in build/.
docs: $(VENV)/docs
	$(BIN)/sphinx-build -W --keep-going -d build/docs/doctrees $(SPHINX) docs build/docs/html

clean:
	rm -rf $(VENV) build pyneural.egg-info pyneural/*.so pyneural/_build.json

$(VENV)/made:
	@$(PYTHON) -c '$(NEEDS)' 2>/dev/null || { echo 'pyneural: $(REMEDY)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Holds the wish of this call; touched only when it changes, so that another torch rebuilds.
$(VENV)/wish: FORCE | $(VENV)/made
	@echo '$(TORCH)' | cmp -s - $@ || echo '$(TORCH)' > $@

$(VENV)/torch: $(VENV)/wish
	$(PIP) install --upgrade '$(TORCH)' 'setuptools>=77' ninja
	@touch $@

$(VENV)/native: $(VENV)/torch $(SOURCES) pyproject.toml
	PYNEURAL_BUILD_ISAS=$${PYNEURAL_BUILD_ISAS:-native} $(PIP) install --no-build-isolation --editable '.[plot]'
	@touch $@

$(VENV)/dev: $(VENV)/torch $(SOURCES) pyproject.toml
	$(PIP) install --no-build-isolation --editable '.[plot,data,tables,log,mesh,dev]'
	@touch $@

$(VENV)/docs: $(VENV)/dev
	$(PIP) install --no-build-isolation --editable '.[plot,data,tables,log,mesh,docs]'
	@touch $@
