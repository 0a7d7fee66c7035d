# Every command of the project. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BUILD_VENV := .venv-build
COMPARE_VENV := .venv-bench
BIN := $(VENV)/bin
# The first python that is new enough; PYTHON=… overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

SERVE_ARGS = $(if $(PROFILE),--profile $(PROFILE)) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

# $(call venv,FOLDER): make a virtual environment, or say in a sentence why not.
define venv
	@if [ -z "$(PYTHON)" ]; then \
		echo "Riposte needs Python 3.11 or newer, and found none: install python3.11 (or PYTHON=/path/to/python make …)" >&2; exit 1; fi
	@$(PYTHON) -m venv $(1) >/dev/null || { rm -rf $(1); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo '*' >$(1)/.gitignore
endef

# $(call install,FOLDER,EXTRAS,WHAT): pip install in a few lines; everything it says is in FOLDER/pip.log.
define install
	@echo "installing $(3) into $(1) (log: $(1)/pip.log)"
	@$(1)/bin/python -m pip install --disable-pip-version-check --progress-bar off --log $(1)/pip.log \
		-e '.[$(2)]' 2>&1 | awk '/^Collecting /{print "  " $$2; fflush()} /^ *Downloading .* MB\)/{print "    " $$(NF-1) " " $$NF; fflush()} /^Installing collected/{print "  unpacking"; fflush()} /^(ERROR|error)/{print; fflush()}'
	@touch $@
endef

.PHONY: help setup run test test-long test-build test-all test-gpu soak lint types layers fmt engines train bench bench-full bench-compare models clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/pyvenv.cfg:
	$(call venv,$(VENV))

# A stamp for each set of extras: a second `make run` runs no pip, a changed pyproject.toml runs it again.
$(VENV)/.for-run: pyproject.toml | $(VENV)/pyvenv.cfg
	$(call install,$(VENV),espeak,Riposte and what it needs to serve)

$(VENV)/.for-tests: pyproject.toml $(VENV)/.for-run
	$(call install,$(VENV),espeak$(comma)dev,the tools that check it)

$(VENV)/.for-bench: pyproject.toml $(VENV)/.for-run
	$(call install,$(VENV),espeak$(comma)bench,what the benches compare with and draw with)

$(BUILD_VENV)/pyvenv.cfg:
	$(call venv,$(BUILD_VENV))

$(BUILD_VENV)/.for-build: pyproject.toml | $(BUILD_VENV)/pyvenv.cfg
	$(call install,$(BUILD_VENV),espeak$(comma)build$(comma)dev,torch and what builds and trains models (1.5 GB; more with CUDA))

$(COMPARE_VENV)/pyvenv.cfg:
	$(call venv,$(COMPARE_VENV))

$(COMPARE_VENV)/.for-compare: pyproject.toml | $(COMPARE_VENV)/pyvenv.cfg
	$(call install,$(COMPARE_VENV),espeak$(comma)bench$(comma)bench-compare,torch and the runtimes that models are compared with (1.5 GB; more with CUDA))

comma := ,

setup: $(VENV)/.for-run ## make .venv with everything that serving needs

run: $(VENV)/.for-run ## serve on http://127.0.0.1:8000 (PROFILE= HOST= PORT= ARGS=)
	@exec $(BIN)/riposte serve $(SERVE_ARGS)

test: lint types layers ## lint, types, layers, and every test that needs no torch, no GPU and no patience
	$(BIN)/python -m pytest -q -m "not build and not gpu and not long"

test-long: $(VENV)/.for-tests ## the tests that take minutes: the soak, shortened
	$(BIN)/python -m pytest -q -m long

soak: $(VENV)/.for-tests $(VENV)/.for-bench ## a server under everything for 20 minutes: does it stay the same size? (ARGS=)
	@$(BIN)/python -m bench.soak $(ARGS)

test-build: $(BUILD_VENV)/.for-build ## the tests that build models alone (torch, in .venv-build)
	$(BUILD_VENV)/bin/python -m pytest -q -m build

test-all: test test-long test-build ## all three

test-gpu: $(VENV)/.for-tests ## the tests that need an NVIDIA card
	@$(BIN)/python -m pytest -q -m gpu || { rc=$$?; [ $$rc -eq 5 ] || exit $$rc; echo "no test is marked gpu yet"; }

lint: $(VENV)/.for-tests ## ruff: rules and format
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .

types: $(VENV)/.for-tests ## mypy, strict
	@$(BIN)/mypy
	@MYPYPATH=server $(BIN)/mypy examples/python/*.py

layers: $(VENV)/.for-tests ## import-linter: every import points down
	@$(BIN)/lint-imports >$(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }

fmt: $(VENV)/.for-tests ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

engines: $(BUILD_VENV)/.for-build ## build a profile's models from their checkpoints (PROFILE=pico)
	$(BUILD_VENV)/bin/python -m engine_build $(PROFILE)

train: $(BUILD_VENV)/.for-build ## train pico from nothing, hours, resumed where it stopped (needs espeak-ng, flite)
	$(BUILD_VENV)/bin/python -m engine_build.pico.speech
	$(BUILD_VENV)/bin/python -m engine_build.pico.train_hearing
	$(BUILD_VENV)/bin/python -m engine_build.pico.train_thinking

bench: $(VENV)/.for-bench ## measure a real server, at most 10 minutes (PROFILE=pico)
	$(BIN)/python -m bench $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)

bench-full: $(VENV)/.for-bench ## the same with 200 turns a row
	$(BIN)/python -m bench --full $(if $(PROFILE),--profile $(PROFILE)) $(ARGS)

bench-compare: $(COMPARE_VENV)/.for-compare ## models beside transformers, llama.cpp and ctranslate2 (torch, in .venv-bench)
	$(COMPARE_VENV)/bin/python -m bench $(if $(PROFILE),--profile $(PROFILE)) $(ARGS) llm asr

models: $(VENV)/.for-run ## which profiles and models are here
	@$(BIN)/riposte models

# build/pico holds hours of training and stays.
clean: ## remove what make made, the virtual environments too; models and training state stay
	rm -rf $(VENV) $(BUILD_VENV) $(COMPARE_VENV) build/lib build/bdist.* dist server/*.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
