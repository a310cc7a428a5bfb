# Two commands: `make demo` runs the main job, `make test` the tests. Each sets up what it needs.

PYTHON ?= python3
OUT ?= mho-demo
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: demo test lint types bench clean

demo: $(STAMP)
	$(VENV)/bin/mho demo --out $(OUT)

# Two processes of one thread each: more threads than cores only wait for each other.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2

lint: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

types: $(STAMP)
	$(VENV)/bin/mypy

bench: $(STAMP)
	$(VENV)/bin/python benchmarks/heart.py --large

clean:
	rm -rf $(VENV) $(OUT)

# torch first and alone: pinned exactly, so that no resolver takes a newer (and larger) build.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $(STAMP)
