# `make demo` and `make test` need Python 3.11 or later with venv, and make; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup itk demo test test-slow check docs fuzz bench bench-kernels clean wheel coverage train-clinical evaluate-clinical clinical-data

help:
	@echo "make setup          .venv with what is needed: wants a package index and about 2 GB of disk, mostly torch"
	@echo "make demo           set up .venv, then segment two slices with two processes over an emulated network"
	@echo "make test           set up .venv, then run all tests but the slow ones"
	@echo "make itk            ITK 5.3 and 5.4 into .itk, for the tests that hold masks against them"
	@echo "make check          ruff (lint and format), mypy and the import contracts; .venv/bin/pre-commit install runs them at commits"
	@echo "make docs           the documentation into site/: a broken link or a missing reference is an error"
	@echo "make fuzz           every reader of files and messages under a coverage-guided fuzzer, FUZZ_SECONDS=600"
	@echo "make test-slow      the exhaustive and slow tests, and only those"
	@echo "make coverage       the tests of make test, with the lines and branches that they reach: htmlcov/index.html"
	@echo "make wheel          into dist: the program (Apache-2.0), and the clinical weights (CC BY-NC-SA 4.0)"
	@echo "make bench          time whole slices at 128x128 over the lan link"
	@echo "make bench-kernels  time every kernel, beside other libraries where they are installed"
	@echo "make train-clinical DATA=DIR     train the clinical models on real CT, about 85 minutes on one core"
	@echo "make evaluate-clinical DATA=DIR  score them on the test cases"
	@echo "make clean          remove .venv, .itk, site, dist and the tools' caches; runs/ stays"

setup: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt clinical/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "BUNET needs Python 3.11 or later, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# setuptools warns that an editable installation imports from this folder, which is what is wanted.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[models,paillier,plots,dev]' --editable ./clinical
	@# Readers and writers of NIfTI and DICOM: the demo goes without, and not every machine has all decoders.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[clinical]' \
		|| { echo "the extra clinical cannot be installed here, for want of what pip names above: installing its readers alone"; \
		$(BIN)/python -m pip install --quiet --constraint constraints.txt nibabel pydicom || true; }
	@# Other libraries, for `bench kernels --compare` and a few tests: nothing else needs them, and not every machine has them.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[compare]' \
		|| echo "the extra compare cannot be installed here: bench kernels --compare names what is absent"
	touch $(STAMP)

# Two generations of ITK, each with the numpy that it was built for, for the tests that hold masks against them.
ITK := .itk/2.3.1/bin/python .itk/2.5.7/bin/python

itk: $(ITK)

.itk/%/bin/python:
	$(PYTHON) -m venv .itk/$*.part
	.itk/$*.part/bin/python -m pip install --quiet --only-binary :all: SimpleITK==$* $(if $(filter 2.3.1,$*),'numpy<2',numpy)
	rm -rf .itk/$* && mv .itk/$*.part .itk/$*
	.itk/$*/bin/python -c 'import SimpleITK, numpy'

demo: setup
	$(BIN)/bunet demo

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Once its packages are installed it needs no network. site/index.html opens from the disk.
docs: setup
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What is found lies in runs/fuzz; without atheris, which not every machine can have, it says so and does nothing.
FUZZ_SECONDS ?= 600

fuzz: setup
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fuzz]' || true
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# Into dist/: the program (Apache-2.0) and the clinical weights (CC BY-NC-SA 4.0). What a build leaves behind is removed, before,
# so that it gets into no wheel, and after, because metadata that lies here would be found before what is installed.
BUILT = build *.egg-info clinical/build clinical/*.egg-info

wheel: setup
	rm -rf dist $(BUILT)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . ./clinical
	rm -rf $(BUILT)
	@ls -l dist

# Branches too, and the processes that tests start. The page is htmlcov/index.html. Kernels are compiled: coverage does not see into them.
coverage: setup
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term:skip-covered --cov-report=html

bench: setup
	$(BIN)/bunet bench slice --size 128 --features 16 --relu gc-sign --format 8.4 --link lan --slices 2

bench-kernels: setup
	$(BIN)/bunet bench kernels --compare

# Lung and infection models for three axes, and infection models with squares that start from the latter: see
# clinical/bunet_clinical/TRAIN.md. Interrupt at will, the same command goes on. `-j2` trains two at a time, one core each.
# MIXED= (empty) where the processor has no bfloat16.
CLINICAL := runs/clinical
MIXED ?= --mixed
LUNG_FEATURES ?= 8
AXES := x y z
LUNG := $(AXES:%=clinical-lung-%)
INFECTION := $(AXES:%=clinical-infection-%)
HYBRID := $(AXES:%=clinical-hybrid-%)
TRAIN = nice $(BIN)/bunet train --resume --data "$(DATA)" --batch 4 --threads 1 --patience 12 $(MIXED)

.PHONY: $(LUNG) $(INFECTION) $(HYBRID)

train-clinical: $(LUNG) $(INFECTION) $(HYBRID)

clinical-data: setup
	@test -d "$(DATA)" || { echo "say where the cases are: DATA=DIR, a folder of .npz files"; exit 1; }

$(LUNG): clinical-lung-%: clinical-data
	$(TRAIN) --out $(CLINICAL)/lung-$*.safetensors --target lung --axis $* --features $(LUNG_FEATURES) --steps 1500

$(INFECTION): clinical-infection-%: clinical-data
	$(TRAIN) --out $(CLINICAL)/infection-$*.safetensors --target infection --axis $* --steps 3000

$(HYBRID): clinical-hybrid-%: clinical-infection-%
	$(TRAIN) --out $(CLINICAL)/infection-$*-hybrid.safetensors --target infection --axis $* --activation hybrid \
		--initial $(CLINICAL)/infection-$*.safetensors --steps 1800 --rate 0.001

# FORMATS=8.4,12.4,8.8 runs the integer oracle too, 0.15 s a slice and format.
FORMATS ?=

evaluate-clinical: clinical-data
	@for file in $(AXES:%=$(CLINICAL)/lung-%) $(AXES:%=$(CLINICAL)/infection-%) $(AXES:%=$(CLINICAL)/infection-%-hybrid); do \
		echo "$$file"; \
		$(BIN)/bunet evaluate --weights $$file.safetensors --data "$(DATA)" --json $$file.json \
			$(if $(FORMATS),--format $(FORMATS)) || exit 1; \
	done

clean:
	rm -rf $(VENV) .itk site dist $(BUILT) .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
