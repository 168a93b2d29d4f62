# `make demo` and `make test` need Python 3.11 or later with venv, and make; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test test-slow check bench clean

help:
	@echo "make demo       set up .venv, then segment two slices with two processes over an emulated network"
	@echo "make test       set up .venv, then run all tests (without ../shared data: those skip)"
	@echo "make check      ruff, mypy and the import contracts"
	@echo "make test-slow  the exhaustive and slow tests"
	@echo "make bench      time whole slices at 128x128 over the lan link"

setup: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "BUNET needs Python 3.11 or later, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[models,paillier,plots,dev]'
	touch $(STAMP)

demo: setup
	$(BIN)/bunet demo

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

check: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/bunet bench slice --size 128 --features 16 --relu gc-sign --format 8.4 --link lan --slices 2

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
