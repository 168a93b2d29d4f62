# `make demo` and `make test` need Python 3.11 or later with venv, and make; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test test-slow check bench bench-kernels clean

help:
	@echo "make demo           set up .venv, then segment two slices with two processes over an emulated network"
	@echo "make test           set up .venv, then run all tests but the slow ones"
	@echo "make check          ruff, mypy and the import contracts"
	@echo "make test-slow      the exhaustive and slow tests, and only those"
	@echo "make bench          time whole slices at 128x128 over the lan link"
	@echo "make bench-kernels  time every kernel, beside other libraries where they are installed"

setup: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "BUNET needs Python 3.11 or later, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[models,paillier,plots,clinical,dev]'
	@# Other libraries, for `bench kernels --compare` and a few tests: nothing else needs them, and not every machine has them.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[compare]' \
		|| echo "the extra compare cannot be installed here: bench kernels --compare names what is absent"
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

bench-kernels: setup
	$(BIN)/bunet bench kernels --compare

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
