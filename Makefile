# The commands of daily work.  `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
# A wheel folder that pip is configured with serves torch's CPU build; without one, torch's own index.
WHEELS := $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
TORCH := $(if $(WHEELS),--find-links $(WHEELS),--torch-backend=cpu)

.PHONY: help setup demo test test-fast test-engine check format lock demo-models acceptance clean

help:  ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed  ## install everything, locked, into .venv (about 4 GB)

.venv/.installed: requirements/all-cpu.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	# Compiled now, once: every program that is started later would do it again where it may not write.
	$(UV) pip install --python $(BIN)/python --no-deps --compile-bytecode $(TORCH) -r requirements/all-cpu.txt
	$(UV) pip install --python $(BIN)/python --no-deps --quiet -e .
	$(BIN)/python -m models.encoder
	@touch $@

demo: setup  ## start engine and gateway with the demo model; then try `.venv/bin/lethe ask ...`
	$(BIN)/lethe demo

test: setup  ## set up and run all tests, the fast ones first
	$(MAKE) check
	$(MAKE) test-fast
	$(MAKE) test-engine

test-fast: setup  ## tests that need no vLLM
	$(BIN)/python -m pytest -m "not engine" -q

test-engine: setup  ## tests on a real vLLM (CPU)
	$(BIN)/python -m pytest -m engine -q

check: setup  ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

acceptance: setup  ## the measured promises on a real engine: leaks, near misses, latency (about 20 min)
	$(BIN)/python -m benchmarks.acceptance

demo-models: setup  ## train the demo model and its never-knew twin again (under 40 min on 2 cores)
	$(BIN)/python -m models.demo.train

lock: ## resolve requirements/*.txt anew
	bash requirements/lock.sh $(UV) $(WHEELS)

clean:  ## remove the environment and everything that was made
	rm -rf .venv .lethe build *.egg-info .mypy_cache .ruff_cache .pytest_cache
