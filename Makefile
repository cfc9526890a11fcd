# `make demo` and `make test` need Python 3.11+ and nothing else; each makes the environment that it uses.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format clean

demo: $(VENV)/.demo
	$(BIN)/verifier demo --out demo-output

test: $(VENV)/.dev lint
	-$(BIN)/python -m verifier.deciders.kernels
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "relu-verifier needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	-$(BIN)/python -m verifier.deciders.kernels
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	-$(BIN)/python -m verifier.deciders.kernels
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist *.egg-info demo-output
