# `make demo` and `make test` need Python 3.11+ and nothing else; each makes the environment that it uses, from a lock:
# exact versions and hashes in requirements/, the newest when `make lock` wrote them. `make test-lowest` has the lowest
# versions that pyproject.toml allows.
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
BIN := $(VENV)/bin
WHEEL ?= .venv-wheel
PIP := -m pip --quiet --disable-pip-version-check

# Compiled once, not at the start of each of the tests' processes: that took a quarter of their time.
unexport PYTHONDONTWRITEBYTECODE

# In a checkout that this user cannot write (installed by root, a read-only mount) the linters keep no caches.
ifneq ($(shell test -w . && echo writable),writable)
export RUFF_NO_CACHE := true
export MYPY_CACHE_DIR := /dev/null
UNCACHED := --no-cache
endif

.PHONY: demo test test-lowest lowest-kernels dist lint format docs figures notebooks imports lock clean

demo: $(VENV)/.demo
	$(BIN)/verifier demo --out demo-output

# The tests' processes fill the cores: BLAS with threads of its own beside them takes a seventh more.
test test-lowest: export OMP_NUM_THREADS = 1

test: $(VENV)/.dev lint
	-$(BIN)/python -m verifier.solvers.compile_kernels
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST_ARGS)

# Every file of tests of the package, every fifth one of its tests that is not long and every 24th of their cases: CI
# has 20 minutes for all environments. Assertions are not rewritten, which takes a tenth. Without LLVM's optimisation,
# which takes the oldest numba more than five minutes.
test-lowest lowest-kernels: export NUMBA_OPT = 0
test-lowest: lowest-kernels
	$(LOWEST)/bin/python -m pytest --numprocesses auto --dist worksteal --thin 24 --assert plain $(or $(PYTEST_ARGS),tests/encoders tests/verifier)

lowest-kernels: $(LOWEST)/.ready
	-$(LOWEST)/bin/python -m verifier.solvers.compile_kernels

# dist/: the wheel, built from the sdist, and a demo from it alone, in an environment that has seen no checkout. The
# demo asks no numba: it would leave a compilation in the background, for a minute of what comes next.
dist: $(VENV)/.dev
	rm -rf build dist $(WHEEL)
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m pytest tests/test_dist.py --built dist
	$(PYTHON) -m venv $(WHEEL)
	$(call from_lock,$(WHEEL),run)
	$(WHEEL)/bin/python $(PIP) install --no-deps dist/*.whl
	cd $(WHEEL) && NUMBA_DISABLE_JIT=1 bin/verifier demo --out demo-output

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports $(UNCACHED)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation as a site that needs no network: site/README.html.
docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . site

# The figures of docs/theory, from the engine (the last one needs MNIST), and the outputs of the notebooks.
figures: $(VENV)/.dev
	$(BIN)/python docs/generate/draw_theory.py docs/theory/figures

notebooks: $(VENV)/.dev
	$(BIN)/python docs/generate/run_notebooks.py examples/notebooks/*.ipynb

# The picture beside ARCHITECTURE.md, from the code.
imports: $(VENV)/.dev
	$(BIN)/python docs/draw_imports.py docs/imports.svg

# $(call from_lock,ENVIRONMENT,LOCK): by uv, in a tenth of pip's time, or by pip, where only pip is told of an index.
define from_lock
	{ $(1)/bin/python $(PIP) install --require-hashes --requirement requirements/uv.txt && \
	  $(1)/bin/uv pip install --quiet --no-config --require-hashes --python $(1)/bin/python --requirement requirements/$(2).txt; } || \
	  $(1)/bin/python $(PIP) install --require-hashes --requirement requirements/$(2).txt
endef

# $(call install,ENVIRONMENT,LOCK)
define install
	$(call from_lock,$(1),$(2))
	$(1)/bin/python $(PIP) install --no-deps --no-build-isolation --editable .
	-$(1)/bin/python -m verifier.solvers.compile_kernels
	@touch $@
endef

$(VENV)/.demo: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(call install,$(VENV),run)

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(call install,$(VENV),dev)
	@touch $(VENV)/.demo

$(LOWEST)/.ready: export NUMBA_OPT = 0
$(LOWEST)/.ready: requirements/lowest.txt pyproject.toml | $(LOWEST)/bin/python
	$(call install,$(LOWEST),lowest)

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "relu-verifier needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $*

# For every platform and Python version at once; one file's versions are those of the other where both name a package.
COMPILE = $(BIN)/uv pip compile --quiet --no-config --default-index https://pypi.org/simple --universal \
  --python-version 3.11 --generate-hashes --upgrade --custom-compile-command "make lock"
PROJECT := pyproject.toml requirements/build.in

lock: | $(VENV)/bin/python
	$(BIN)/python $(PIP) install --require-hashes --requirement requirements/uv.txt
	$(COMPILE) requirements/uv.in --output-file requirements/uv.txt
	$(COMPILE) $(PROJECT) --extra dev --output-file requirements/dev.txt
	$(COMPILE) $(PROJECT) --constraint requirements/dev.txt --output-file requirements/run.txt
	$(COMPILE) $(PROJECT) --constraint requirements/dev.txt --override requirements/cpu.in --output-file requirements/cpu.txt
	$(COMPILE) $(PROJECT) --extra cluster --extra vnnlib --extra watch --extra test --resolution lowest-direct --output-file requirements/lowest.txt

clean:
	rm -rf $(VENV) $(LOWEST) $(WHEEL) build dist site *.egg-info demo-output
