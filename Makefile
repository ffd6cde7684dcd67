# Entra Connector. `make demo` shows it, `make test` proves it.
SHELL := /bin/bash
PYTHON ?= python3.13
VENV := .venv
BIN := $(VENV)/bin
PROBE_VENV := .venv-probe
USERS ?= 2000
SEED ?= 7

.PHONY: demo sandbox test test-all lint format bench probe package lock setup clean

demo: setup  ## pull a simulated tenant through the real SDKs into a real Azurite, and show the result
	@$(BIN)/python -m sandbox demo --users $(USERS) --seed $(SEED)

sandbox: setup  ## keep the simulated tenant, Azurite and the app running
	@$(BIN)/python -m sandbox run --users $(USERS) --seed $(SEED)

test: setup tests/operate/kusto/node_modules/.installed  ## the suite, under ten minutes on two cores
	@$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term:skip-covered

test-all: setup tests/operate/kusto/node_modules/.installed  ## also what takes longer
	@$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

lint: setup  ## ruff and mypy strict
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: setup  ## syncs beside their floor, and what validation adds; SCALE=10k, 100k or 1m: growth up to there
	@$(BIN)/python -m bench $(if $(SCALE),--scale $(SCALE))

package: setup  ## the zip that Azure gets, tried in a fresh environment of requirements.txt alone
	@$(BIN)/python -m infra.package

probe: $(PROBE_VENV)/.installed  ## ask your own tenant what no simulated one can tell; ARGS=--help: all it can do
	@$(PROBE_VENV)/bin/python docs/live_probe.py $(ARGS)

lock:  ## pin requirements*.in with hashes into requirements*.txt
	@$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	@for name in requirements requirements-dev; do \
		.venv-lock/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
			--python-version 3.13 --custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; done
	@rm -rf .venv-lock

setup: $(VENV)/.installed sandbox/azurite/node_modules/.installed

$(VENV)/.installed: requirements.txt requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.13 is needed: install it, or name it with PYTHON=/path/to/python3.13"; exit 1; }
	@echo "Installing the Python packages (about a minute, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(PROBE_VENV)/.installed: requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.13 is needed: install it, or name it with PYTHON=/path/to/python3.13"; exit 1; }
	@echo "Installing what the app itself needs (half a minute, once) ..."
	@$(PYTHON) -m venv $(PROBE_VENV)
	@$(PROBE_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

sandbox/azurite/node_modules/.installed: sandbox/azurite/package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "Node.js 18 or newer with npm is needed to run Azurite: https://nodejs.org"; exit 1; }
	@node -e 'if (parseInt(process.versions.node) < 18) { console.error("Node.js 18 or newer is needed to run Azurite; this is " + process.version); process.exit(1) }'
	@echo "Installing Azurite (half a minute, once) ..."
	@cd sandbox/azurite && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

tests/operate/kusto/node_modules/.installed: tests/operate/kusto/package-lock.json
	@echo "Installing Microsoft's parser of Kusto queries (some seconds, once) ..."
	@cd tests/operate/kusto && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

clean:
	rm -rf $(VENV) $(PROBE_VENV) sandbox/azurite/node_modules tests/operate/kusto/node_modules .pytest_cache .mypy_cache .ruff_cache .sandbox .package .coverage
