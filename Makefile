# Everything sets itself up in .venv of this clone. Needs Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
SOURCES := fb_jax encoders_torch tests benchmarks examples train.py eval.py

SEED ?= 0

.PHONY: demo word-world test check lint types layers format clean

demo: $(CORE)  ## train on the word world, without torch; again, it shows the table again
	$(BIN)/python train.py --bond combination --expert clap_general
	@echo 'before those:    . $(BIN)/activate'
	@echo 'what this is:    docs/word_world.md'
	@echo 'your own data:   README.md, "Your own embeddings"'

word-world: $(DEV)  ## make the word world from nothing: examples/word_world/README.md
	$(BIN)/python -m examples.word_world --seed $(SEED)

test: $(DEV)  ## run the tests
	$(BIN)/python -m pytest

check: lint types layers test  ## what continuous integration runs

lint: $(DEV)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(DEV)
	$(BIN)/mypy

layers: $(DEV)
	$(BIN)/lint-imports --no-logo

format: $(DEV)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

$(CORE): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(DEV): $(CORE)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
