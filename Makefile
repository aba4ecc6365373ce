# The commands of this project; continuous integration calls the same ones. `make` alone lists them.
PYTHON ?= python3
GAME ?= lunarlander
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup train test test-all test-mctx lint format type check bench benchmarks-setup wheel clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another: make setup PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python lacks the venv module: sudo apt install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m muzero_ray.app.warm_up
	@touch $@

setup: .venv/installed ## prepare .venv with everything installed at exact versions

train: setup ## train a game: make train GAME=cartpole ARGS="--seed 1"
	$(BIN)/python train.py --game $(GAME) $(ARGS)

test: setup ## all tests that need no GPU and no extra packages
	$(BIN)/python -m pytest -m "not mctx and not gpu" $(ARGS)

test-mctx: setup ## compare the search with DeepMind's mctx (installs it)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mctx]'
	$(BIN)/python -m pytest -m mctx $(ARGS)

lint: setup ## style and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: setup ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: setup ## static types
	$(BIN)/mypy

check: lint type test ## what a change must pass

bench: setup ## figures of search, self-play and learner
	$(BIN)/muzero-ray bench search
	$(BIN)/muzero-ray bench selfplay
	$(BIN)/muzero-ray bench learner

benchmarks-setup: setup ## install what benchmarks/ compares with: mctx, stable-baselines3
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement benchmarks/requirements.txt

wheel: setup ## build a wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove what was built, never results
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
