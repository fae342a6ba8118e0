# Two commands: `make run` serves on an embedded Postgres, `make test` proves it. Both prepare .venv themselves.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup run test lint bench schema lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

run: setup
	@exec $(BIN)/leadtally serve

test: setup
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup
	$(BIN)/python -m bench

schema: setup ## write schema.graphql anew, from the code
	$(BIN)/python -m app.graphql.export schema.graphql

lock: ## pin what pyproject.toml asks for, transitively, without addresses
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet setuptools==84.2.1 wheel==0.48.0 '.[dev]'
	.venv-lock/bin/pip freeze --all --exclude pip --exclude leadtally > requirements.lock && rm -r .venv-lock

clean:
	rm -rf .venv build *.egg-info
