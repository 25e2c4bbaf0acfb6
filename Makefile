# Everything sets itself up in .venv of this clone. Needs Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
SOURCES := fb_jax encoders_torch tests benchmarks examples parity train.py eval.py

# Without a GPU only torch's CPU build will do; where pip does not find it, tell pip of PyTorch's
# CPU index by PIP_EXTRA_INDEX_URL.
ENCODERS := .venv-encoders
PARITY := .venv-parity
CPU_TORCH := $(if $(shell command -v nvidia-smi),,--constraint constraints-cpu.txt)

SEED ?= 0
ARGS ?=

.PHONY: demo word-world encoders parity-encoders test check lint types layers format clean

demo: $(CORE)  ## train on the word world, without torch; again, it shows the table again
	$(BIN)/python train.py --bond combination --expert clap_general
	@echo 'before those:    . $(BIN)/activate'
	@echo 'what this is:    docs/word_world.md'
	@echo 'your own data:   README.md, "Your own embeddings"'

word-world: $(DEV)  ## make the word world from nothing: examples/word_world/README.md
	$(BIN)/python -m examples.word_world --seed $(SEED) $(ARGS)

encoders: $(ENCODERS)/.ready  ## an environment that turns media into banks
	@echo 'use it:    $(ENCODERS)/bin/python -m encoders_torch.export --help'

parity-encoders: $(PARITY)/.ready  ## our CLAP beside laion_clap: parity/README.md
	PYTHONPATH=.:tests $(PARITY)/bin/python -u -m parity.clap

test: $(DEV)  ## run the tests, in two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: lint types layers test  ## with parity-encoders, what continuous integration runs

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

$(ENCODERS)/.ready: pyproject.toml constraints.txt constraints-cpu.txt
	$(PYTHON) -m venv $(ENCODERS)
	$(ENCODERS)/bin/python -m pip install --quiet --upgrade pip
	$(ENCODERS)/bin/python -m pip install --quiet --constraint constraints.txt $(CPU_TORCH) \
		--editable '.[encoders]'
	$(ENCODERS)/bin/python -m pip check
	touch $@

# laion_clap imports torchvision and torchaudio, which PyPI has for CUDA only: without what they
# compiled, both can be imported beside a CPU build of torch, and do all that it needs.
$(PARITY)/.ready: parity/constraints.txt
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --upgrade pip
	$(PARITY)/bin/python -m pip install --quiet --constraint parity/constraints.txt \
		torch laion-clap transformers soundfile soxr pillow jaxtyping tyro rich
	$(PARITY)/bin/python -m pip install --quiet --constraint parity/constraints.txt --no-deps \
		torchvision torchaudio
	rm -f $(PARITY)/lib/python*/site-packages/torchaudio/lib/*.so
	$(PARITY)/bin/python -m pip check
	touch $@

clean:
	rm -rf $(VENV) $(ENCODERS) $(PARITY) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
