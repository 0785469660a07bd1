# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SMALL := $(VENV)/.small
INSTALLED := $(VENV)/.installed

# The processor build of PyTorch has an index of its own. Where pip is already told where to look, it is left alone.
TORCH_INDEX ?= $(if $(PIP_FIND_LINKS)$(PIP_INDEX_URL)$(PIP_EXTRA_INDEX_URL),,https://download.pytorch.org/whl/cpu)
TORCH := $(shell grep '^torch==' constraints.txt)

# All numbers here are for a laptop; more threads than cores only get in each other's way.
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test test-vllm format lint layers types tests reference site docs benchmark clean

demo: $(SMALL)
	$(BIN)/caslie demo

test: lint layers types tests site

# A real vLLM on the processor, built once into .vllm (some GB, some minutes).
test-vllm: $(INSTALLED)
	$(BIN)/python -m tests.vllm.environment
	TEST_VLLM=1 $(BIN)/python -m pytest tests/vllm

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# Which folder may import which: pyproject.toml says it.
layers: $(INSTALLED)
	$(BIN)/lint-imports --no-logo

types: $(INSTALLED)
	$(BIN)/mypy

# As many processes as cores, at most 8. To run some tests only, call pytest without -n.
tests: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadscope --cov --cov-report=term
	$(BIN)/python -m scripts.coverage_floor

# The documentation, in site/index.html. `make docs` first updates the pages of the reference that are generated.
docs: reference site

reference: $(INSTALLED)
	$(BIN)/python -m scripts.reference_pages

site: $(INSTALLED)
	$(BIN)/python -m zensical build --clean --strict

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/main_job.py
	$(BIN)/python benchmarks/judging.py --simulated

# What a user installs: no PyTorch.
$(SMALL): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded]'
	touch $@

$(INSTALLED): $(SMALL)
	$(BIN)/python -m pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[agents,embedded,endpoints,transformers,serve,data,evaluation,tuning]' --group dev
	touch $@

clean:
	rm -rf $(VENV) .caslie .vllm site .cache .mypy_cache .pytest_cache .ruff_cache .coverage
