# make help lists the targets. Everything runs from the virtual environment in .venv, which `make setup` makes.
.DEFAULT_GOAL := help
.PHONY: help run test setup lab lint format test-quick test-notebooks test-parallel fuzz asan bench lock clean

BIN := .venv/bin
READY := .venv/.ready
WORKERS ?= 2
QUICK := not slow and not real_data and not parallel and not parallel_all and not oracle

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{ printf "  make %-15s %s\n", $$1, $$2 }'

run: setup  ## the whole path in minutes: pretrain, ask, fine-tune, export, serve (ARGS="--text FILE" for your own text)
	$(BIN)/ernie demo $(ARGS)

test: setup  ## all tests, guards and notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval -n $(WORKERS) --dist loadfile

setup: $(READY)  ## make .venv and install the locked set; does nothing when that is done (PYTHON=python3.12 chooses)

$(READY): requirements.lock pyproject.toml setup.py $(wildcard helpers_cpp/*)
	@sh tools/setup.sh "$(PYTHON)"
	@touch $@

lab: setup  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

lint: setup  ## style, formatting, import layers, spelling and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/basedpyright

format: setup  ## let ruff put style and formatting right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test-quick: setup  ## the tests without notebooks, real data, and what starts several processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests -m "$(QUICK)"

test-notebooks: setup  ## the notebooks alone: each cell runs and gives its committed output
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval -n $(WORKERS) --dist loadfile notebooks

test-parallel: setup  ## the tests that start several processes, with the whole matrix of degrees
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "parallel or parallel_all" tests

SECONDS ?= 60

fuzz: setup  ## fuzz the C++ helpers against their plain versions, SECONDS=60 for each target (installs atheris)
	sh tests/fuzz/fuzz.sh fuzz $(SECONDS)

asan: setup  ## their tests, then random inputs, under AddressSanitizer (needs g++)
	sh tests/fuzz/fuzz.sh asan $(SECONDS)

bench: setup  ## every table of RESULTS.md; minutes to hours
	set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

lock:  ## resolve requirements.lock and environment.yml anew (needs uv)
	python3 tools/lock.py

clean:  ## remove build products and caches; .venv and runs stay
	rm -rf build *.egg-info ernie_from_scratch/_helpers*.so
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
