# make demo: annotate English text with the bundled model
# make test: lint, types, tests
# make test-newest: the rooms without spaCy, under transformers 5
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install demo test test-newest lint types clean

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
		tests/test_align.py

$(NEWEST)/installed: constraints.txt
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --constraint constraints.txt \
		torch transformers==5.23.0 pytest hypothesis
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info corpus training packages metrics.json demo
