# Everything is built in .venv below the checkout; Python 3.11 (or newer) and make are all that is needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
# Embeddings run beside other work: idle OpenMP threads must not spin.
export OMP_WAIT_POLICY := passive
export DAGSTER_DISABLE_TELEMETRY := 1
# Images of containers often set it: then each of the hundreds of processes of the tests compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
TESTS := $(BIN)/python -m pytest -n 3 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-all test-fast lint format bench lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## build the virtual environment from requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed; .venv has another. Run: make clean"; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

demo: $(INSTALLED)  ## run every sync on embedded engines, prove equality, leave nothing running
	$(BIN)/python -m sync_pipelines.sandbox.demo

dev: $(INSTALLED)  ## open the Dagster UI on 127.0.0.1 over the sandbox
	$(BIN)/python -m sync_pipelines.sandbox.dev

test: $(INSTALLED)  ## the tests (those of Databricks and Neo4j need Java 17 and Maven)
	$(TESTS) -m "not exhaustive" sync_pipelines_tests

test-all: $(INSTALLED)  ## all of them: every cell of the fault matrix, every boundary at which a run can be killed
	$(TESTS) sync_pipelines_tests

test-fast: $(INSTALLED)  ## what needs no server, and the first test of each file that does; without the slow ones
	$(TESTS) -m "not slow and not further and not exhaustive" sync_pipelines_tests

lint: $(INSTALLED)  ## ruff, ty, and the layout of defs/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/python -m sync_pipelines.strays

format: $(INSTALLED)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)  ## benchmarks, as ratios in one run
	$(BIN)/python -m benchmarks

lock: $(INSTALLED)  ## renew requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --upgrade --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --output-file requirements.lock --quiet

clean:  ## stop the sandbox and remove what was built
	-@test -x $(BIN)/sync-pipelines && $(BIN)/sync-pipelines sandbox down 2>/dev/null
	rm -rf .venv .peers .sandbox .pytest_cache .ruff_cache .hypothesis .dagster_home demo-report.json *.egg-info
