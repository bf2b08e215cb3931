# Needs make and Python 3.11 or later; everything else is installed into .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MODEL ?=
TO ?= approved
WORKERS ?= auto
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet

.PHONY: gate test check bench docs clean

gate: $(BIN)/weighbridge  ## three models of a registry on this machine through the gate, or MODEL=reference into TO
ifeq ($(MODEL),)
	@$(BIN)/python -m fixtures.demo $(BIN)/weighbridge
else
	@$(BIN)/weighbridge gate '$(MODEL)' --to '$(TO)'
endif

test: $(VENV)/.dev  ## everything a change must pass
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n $(WORKERS) --cov --cov-report=term

docs: $(VENV)/.dev  ## write the generated pages again
	$(BIN)/python docs/generate.py

bench: $(VENV)/.dev  ## speed side by side with loading; accuracy needs the libraries (see benchmarks/)
	$(BIN)/python hatch_build.py
	$(BIN)/python -m benchmarks.speed

clean:
	rm -rf $(VENV) build dist .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("weighbridge needs Python 3.11 or later, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(BIN)/weighbridge: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[lz4,zstd]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(BIN)/weighbridge
