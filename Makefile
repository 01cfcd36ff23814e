# `make demo` and `make test` set up everything they need in .venv; run again, they start at once.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
WORKDIR ?= runs/demo
PYTEST_FLAGS ?= -n 2

.PHONY: help demo test test-all lint bench clean

help:
	@echo "make demo      the whole programme in miniature, from nothing, on a CPU (into $(WORKDIR))"
	@echo "make test      the fast tests"
	@echo "make test-all  the slow rings: kill tests, parity with transformers, several processes, the miniature's claims"
	@echo "make lint      ruff over the tree"
	@echo "make bench     the rollout and update benchmarks, as JSON"
	@echo "make clean     forget the environment and the caches (runs/ is kept)"

$(VENV)/installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "r1jax needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments here; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# The parity ring compares with torch and transformers: half a gigabyte, so apart.
$(VENV)/installed-parity: $(VENV)/installed-test
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[test,parity]'
	@touch $@

demo: $(VENV)/installed
	$(PY) experiments/run.py --config=experiments/configs/tiny_r1.py --workdir=$(WORKDIR)

test: $(VENV)/installed-test
	@command -v bwrap > /dev/null || echo "Without bubblewrap the sandbox is not tested: apt-get install -y bubblewrap"
	$(PY) -m pytest $(PYTEST_FLAGS)

test-all: $(VENV)/installed-parity
	$(PY) -m pytest -m slow $(PYTEST_FLAGS)
	$(PY) -m pytest -m slow tests/sandbox

lint: $(VENV)/installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: $(VENV)/installed
	$(PY) experiments/bench.py

clean:
	rm -rf $(VENV) .cache build *.egg-info
