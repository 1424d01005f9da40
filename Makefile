# install  set up .venv      demo  set up, then build from this Python installation and search it
# check    lint and types    test  set up, then run all tests
# bench    beside peers      soak  kills at every write, random requests (hours)
PYTHON ?= python3
RUN ?= demo-run
JOBS ?= 2
BIN = .venv/bin

.PHONY: install demo check test bench soak clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("tilth needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python tools/install_torch.py
	$(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/tilth doctor --warm
	touch .venv/installed

demo: install
	$(BIN)/tilth build -o $(RUN)
	$(BIN)/tilth search $(RUN) "limit memory of a child process"

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: install
	$(BIN)/python -m pytest -n $(JOBS)

bench: install
	for script in benchmarks/[!_]*.py; do $(BIN)/python $$script || exit 1; done

soak: install
	$(BIN)/python -m pytest -m soak tests/kill tests/serving tests/web

clean:
	rm -rf .venv $(RUN) build dist src/*.egg-info
