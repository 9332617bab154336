# `make` alone prints what there is. PYTHON=/path/to/python3.11 chooses another interpreter.
# Packages come from wherever pip is configured to look; nothing here names a place.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# More than the two processors that are counted on: much of a test is waiting for a process.
TESTERS ?= 3
# Tests start hundreds of Python processes: modules are compiled once, whatever the environment says.
PYTEST  := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo up test test-fast simulate fuzz lint types bench lock audit migration assets messages pictures clean

help: ## Print this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## Set up, then take a small model from weights to answers on eight emulated card groups (MODEL=smollm2: a larger one).
	@$(BIN)/tx81 demo $(if $(MODEL),--model $(MODEL))

up: $(STAMP) ## Run the whole stack on this machine until Ctrl-C.
	@$(BIN)/tx81 up

test: $(STAMP) ## Set up, then run every test.
	@$(PYTEST) -n $(TESTERS) --dist loadgroup $(ARGS)

test-fast: $(STAMP) ## Run the tests that need no lab and no PostgreSQL and are not slow; about a minute.
	@$(PYTEST) -n $(TESTERS) --dist loadgroup --fast -q $(ARGS)

simulate: $(STAMP) ## Walk through simulated labs where everything goes wrong: make simulate SEEDS=2000.
	@SIMULATE_SEEDS=$(or $(SEEDS),500) $(PYTEST) -q -n 2 tests/simulation $(ARGS)

fuzz: $(STAMP) ## Read made-up files and requests for a long time: make fuzz EXAMPLES=100000.
	@FUZZ_EXAMPLES=$(or $(EXAMPLES),20000) $(PYTEST) -q -n 2 --timeout 0 tests -k "fuzz or schemathesis" $(ARGS)

lint: $(STAMP) ## Check style, formatting and who imports whom.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(STAMP) ## Check types.
	@$(BIN)/mypy

bench: $(STAMP) ## Measure the orchestrator itself.
	@$(BIN)/python -m benchmarks

lock: $(STAMP) ## Renew requirements.lock from pyproject.toml, with hashes, for every platform.
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra parquet --extra dev --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --quiet --output-file requirements.lock

audit: $(STAMP) ## Compare requirements.lock with known vulnerabilities: error 1 if there are some, 3 if it could not be checked.
	@$(BIN)/python -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet pip-audit || true
	@$(BIN)/python tests/house/audit.py $(VENV)/audit/bin/pip-audit

migration: $(STAMP) ## Write a migration from the change of the tables: make migration NAME="what it does".
	@$(BIN)/python -m migrations write "$(NAME)"

assets: ## Fetch the pinned files of the pages again, with npm; needed only to take another version.
	@$(PYTHON) api/pages/renew_assets.py api/pages/assets tests/api/pages/axe

pictures: $(STAMP) ## Take the pictures of README and docs again, of the run that make demo left; needs Chromium.
	@env PYTHONPATH=. $(BIN)/python docs/images/take.py

messages: $(STAMP) ## Bring the catalogue of the pages up to date with their texts; what is new has no translation yet.
	@$(BIN)/pybabel --quiet extract --mapping pyproject.toml --no-location --sort-output --omit-header --output .venv/pages.pot api
	@$(BIN)/pybabel --quiet update --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --no-wrap --input-file .venv/pages.pot --output-file api/pages/locale/zh_CN.po --locale zh_CN

clean: ## Remove the environment, all state of demo and stack, and caches.
	@rm -rf $(VENV) .tx81 .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 or newer is needed, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo 'not there')." >&2; \
	    echo "Name another one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version); this happens once."
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is incomplete: on Debian, install python3-venv." >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# On all processors, which pip does not do; some packages hold files of other versions of Python.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1 || true
	@touch $@
