# Two commands matter: `make demo` runs the whole journey of a model, `make test` passes the tests.
# Everything lives in .venv; delete that folder to start over.
PYTHON ?= python3
BIN := .venv/bin
# Other people's clients, each in an environment of its own: their pins do not agree with ours.
FOREIGN := kserve tensorflow functions azure mlflow openai cyclonedx
.DEFAULT_GOAL := help
.PHONY: help setup demo test check fmt bench bench-all soak soak-teeth docs lock clean

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/pip:
	@$(PYTHON) -c 'import sys; sys.exit("Penstock needs Python 3.11 or newer; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo: .venv/pip requirements/demo.txt pyproject.toml
	$(BIN)/pip install --quiet --require-hashes -r requirements/demo.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/demo requirements/dev.txt
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

.venv/%/ready: requirements/%.txt | .venv/pip
	$(PYTHON) -m venv .venv/$*
	.venv/$*/bin/pip install --quiet --no-deps --require-hashes -r $<
	@touch $@

# The frameworks that models come from. torch has no hash here: an index may have a build of it without GPU code.
.venv/frameworks/penstock: .venv/frameworks/ready requirements/torch.txt pyproject.toml
	.venv/frameworks/bin/pip install --quiet -r requirements/torch.txt
	.venv/frameworks/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: .venv/dev ## install everything the other verbs need

demo: .venv/demo ## the whole journey of a model, on real flights, in minutes
	$(BIN)/penstock demo

# What the tests of a file share is made once. They wait for processes a part of the time: three keep two CPUs busy.
BY_FILE := --dist loadfile --no-loadscope-reorder
# A busy machine breaks a test of time now and then; a fault breaks it twice.
AGAIN := $(BIN)/pytest --last-failed --last-failed-no-failures none

# Tests start hundreds of processes: none of them should compile everything again.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/dev .venv/frameworks/penstock $(FOREIGN:%=.venv/%/ready) ## every test; what failed beside others is asked once more, alone
	$(BIN)/pytest -n 3 $(BY_FILE) -m "not serial" --junit-xml build/tests.xml || $(AGAIN)
	.venv/frameworks/bin/pytest -n 2 $(BY_FILE) --junit-xml build/tests-frameworks.xml tests/contracts/test_format.py tests/frameworks || \
	  .venv/frameworks/bin/pytest --last-failed --last-failed-no-failures none tests/frameworks tests/contracts/test_format.py
	$(BIN)/pytest -m serial --durations 15 --junit-xml build/tests-serial.xml || $(AGAIN)

check: .venv/dev ## format, lint, types, layers, names
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py tests/test_names.py

fmt: .venv/dev ## rewrite the format
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix src tests bench

bench: .venv/dev ## the data plane against its limits and the reference peers, as ratios
	$(BIN)/python -m bench.run

bench-all: .venv/dev ## the same against every peer
	$(BIN)/python -m bench.run --all

soak: .venv/dev ## the figures of reliability in full, about 45 minutes; one of them: make soak G=g5
	$(BIN)/python tests/reliability/soak.py $(G)

soak-teeth: .venv/dev ## plant a fault for each of them and see it caught
	$(BIN)/python tests/reliability/soak.py --teeth $(G)

docs: .venv/dev ## check the documents' examples and links
	$(BIN)/pytest tests/test_docs.py

lock: .venv/dev ## pin again, with hashes
	$(BIN)/pip install --quiet uv
	for name in demo dev frameworks $(FOREIGN); do \
	  $(BIN)/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header $$(ls requirements/$$name.overrides 2>/dev/null | sed 's/^/--override /') \
	    requirements/$$name.in --output-file requirements/$$name.txt; done

clean: ## remove what was set up and left behind
	rm -rf .venv .penstock build dist
