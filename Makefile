# Every target installs what it needs into an environment in this clone. Needs Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
SOURCES := fb_jax encoders_torch tests benchmarks examples parity train.py eval.py

# Without a GPU torch's CPU build is enough. If pip does not find it, set PIP_EXTRA_INDEX_URL to
# PyTorch's CPU index.
ENCODERS := .venv-encoders
PARITY := .venv-parity
FUZZ := .venv-fuzz
CPU_TORCH := $(if $(shell command -v nvidia-smi),,--constraint constraints-cpu.txt)

SEED ?= 0
SECONDS ?= 600
TARGETS ?=
ARGS ?=
SAMPLE ?= 20
TESTS ?=

.PHONY: demo word-world encoders parity-encoders test test-slow fuzz mutants check lint types layers \
	format clean

demo: $(CORE)  ## train on the word world, without torch; a second run only shows the table
	$(BIN)/python train.py --bond combination --expert clap_general
	@echo 'for these:       . $(BIN)/activate'
	@echo 'about the data:  docs/word_world.md'
	@echo 'your own data:   README.md, "Your embeddings, in five commands"'

word-world: $(DEV)  ## build the word world from nothing: examples/word_world/README.md
	$(BIN)/python -m examples.word_world --seed $(SEED) $(ARGS)

encoders: $(ENCODERS)/.ready  ## install an environment that turns media into banks
	@echo 'use it:  $(ENCODERS)/bin/python -m encoders_torch.export --help'

parity-encoders: $(PARITY)/.ready  ## compare with laion_clap and open_clip: parity/README.md
	PYTHONPATH=.:tests $(PARITY)/bin/python -u -m parity.clap
	PYTHONPATH=.:tests $(PARITY)/bin/python -u -m parity.open_clip

test: $(DEV)  ## run the tests, in two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow'

test-slow: $(DEV)  ## run the tests that take minutes: builds of the word world, products, docs
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

fuzz: $(FUZZ)/.ready  ## mutate files, guided by coverage, and see that readers raise only our error
	PYTHONPATH=.:tests JAX_PLATFORMS=cpu $(FUZZ)/bin/python -m fuzz --seconds $(SECONDS) $(TARGETS)

check: lint types layers test test-slow  ## all checks of continuous integration but parity-encoders

lint: $(DEV)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(DEV)
	$(BIN)/mypy

layers: $(DEV)
	$(BIN)/lint-imports --no-logo

# For example: make mutants MODULES=fb_jax/pseudo/aggregate.py SAMPLE=40
mutants: $(DEV)  ## plant random mistakes one by one: which does no test notice? docs/benchmarks.md
	nice $(BIN)/python -m benchmarks.mutants $(MODULES) --sample $(SAMPLE) --seed $(SEED) \
		$(if $(TESTS),--tests $(TESTS))

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

# laion_clap and open_clip import torchvision and torchaudio, which PyPI has only for CUDA. Without
# their compiled parts both can be imported with a CPU build of torch, and do all that is needed.
$(PARITY)/.ready: parity/constraints.txt
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --upgrade pip
	$(PARITY)/bin/python -m pip install --quiet --constraint parity/constraints.txt \
		torch laion-clap transformers soundfile soxr pillow jaxtyping tyro rich msgspec pyyaml pytest
	$(PARITY)/bin/python -m pip install --quiet --constraint parity/constraints.txt --no-deps \
		torchvision torchaudio open_clip_torch timm
	rm -f $(PARITY)/lib/python*/site-packages/torchaudio/lib/*.so
	$(PARITY)/bin/python -m pip check
	touch $@

# atheris has wheels for few versions of Python, so that it has an environment of its own.
$(FUZZ)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --upgrade pip
	$(FUZZ)/bin/python -m pip install --quiet --constraint constraints.txt --editable . atheris==3.0.0
	touch $@

clean:
	rm -rf $(VENV) $(ENCODERS) $(PARITY) $(FUZZ) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
