# Everything runs inside .venv, which `make env` makes from constraints.txt. Needs make, and Python 3.11 to 3.13.

PYTHON ?= python3
# Half as many again as there are cores: many tests wait for a job, a server or a browser.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); n=$$((n + (n + 1) / 2)); [ $$n -le 8 ] || n=8; echo $$n)
PYTEST ?=

BIN = .venv/bin
STAMP = .venv/installed

ROWS ?=
BENCHMARK_JSON ?= benchmark.json

.PHONY: help env quickstart test parity benchmark docs notebook-example lint format slurm-up slurm-down

help:
	@echo "make quickstart  run experiments/quickstart.yaml and print its verdict"
	@echo "make test        run the tests (WORKERS=2 processes; PYTEST='-k fvd' picks some)"
	@echo "make parity      run the tests against the reference's numbers as on other processors"
	@echo "make benchmark   measure steps, samplers, data and scores against plain code (ROWS=step-quickstart picks some)"
	@echo "make docs        build the pages of docs/ as a site in site/; a broken link fails"
	@echo "make notebook-example  run a notebook on the quickstart's results and write docs/notebook-example.md"
	@echo "make lint        check style, types and who imports whom"
	@echo "make format      format the code"
	@echo "make slurm-up    start a real Slurm of one node in .slurm (Debian, as root); make slurm-down ends it"
	@echo "make env         make .venv with the tested versions; the others do this first"
	@echo "Another Python, before there is a .venv: make env PYTHON=python3.12"

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/install.py
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) is not there; install Python 3.11 to 3.13, or name one: make env PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1), but Python 3.11 to 3.13 is needed; name one: make env PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "env: making .venv with $$("$(PYTHON)" --version 2>&1)"; \
		"$(PYTHON)" -m venv --clear .venv || { echo "env: no .venv could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }; }
	@echo "env: installing the versions of constraints.txt into .venv (torch with CUDA is several GB on Linux; a minute or more)"
	@$(BIN)/python .ci/install.py
	@touch $(STAMP)
	@echo "env: ready"

quickstart: env
	@echo "quickstart: python run.py launch experiments/quickstart.yaml"
	@$(BIN)/python run.py launch experiments/quickstart.yaml

test: env
	@echo "test: pytest on $(WORKERS) processes"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --numprocesses $(WORKERS) --dist worksteal --durations 15 $(PYTEST)

parity: env
	@$(BIN)/python -m tests.parity.processors

benchmark: env
	@echo "benchmark: python -m tests.benchmarks $(ROWS) --json $(BENCHMARK_JSON)"
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks $(ROWS) --json $(BENCHMARK_JSON)

docs: env
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "docs: site/index.html"

# The page docs/notebook-example.md: a notebook of analysis/notebooks as it is, but for its file, on the quickstart's runs.
notebook-example: quickstart
	@sed 's#experiments/latte/patch_embedding.yaml#experiments/quickstart.yaml#' analysis/notebooks/patch_embedding.ipynb > analysis/notebooks/example.ipynb
	@$(BIN)/jupyter nbconvert --log-level WARN --to markdown --execute analysis/notebooks/example.ipynb --output-dir docs --output notebook-example
	@rm analysis/notebooks/example.ipynb
	@echo "notebook-example: docs/notebook-example.md"

lint: env
	@echo "lint: ruff check"
	@$(BIN)/ruff check --quiet
	@echo "lint: ruff format --check"
	@$(BIN)/ruff format --check --quiet
	@echo "lint: mypy"
	@$(BIN)/mypy --num-workers auto
	@echo "lint: import-linter"
	@$(BIN)/lint-imports --no-logo

format: env
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format

slurm-up:
	@if [ -e .slurm/env ] && . .slurm/env && sinfo --noheader >/dev/null 2>&1; then echo "slurm: it is up already"; else \
		[ ! -e .slurm/env ] || tests/slurm/stop .slurm; \
		tests/slurm/start .slurm || exit 1; fi
	@echo "slurm: next: . .slurm/env && $(BIN)/python run.py launch experiments/quickstart.yaml --executor slurm"
	@echo "slurm: its jobs: squeue; its tests: make test PYTEST=tests/slurm; its end: make slurm-down"

slurm-down:
	@if [ -e .slurm/env ]; then tests/slurm/stop .slurm; else echo "slurm: there is none in .slurm"; fi
