# `make demo` runs the main job, `make test` the tests, `make docs` builds the site. Each sets up what
# it needs.

PYTHON ?= python3
OUT ?= mho-demo
# of `make mutants`: for all rooms together; mutants a room, at most; which mutants; which rooms (all,
# if none are given)
MINUTES ?= 28
MOST ?= 20
SEED ?= 0
ROOMS ?=
VENV := .venv
STAMP := $(VENV)/.installed
MUTANTS_STAMP := $(VENV)/.installed-mutants
DOCS_STAMP := $(VENV)/.installed-docs
SPHINX := OMP_NUM_THREADS=1 $(VENV)/bin/python -m sphinx --keep-going -j 2

.PHONY: demo test test-oldest test-newest test-packages lint types bench bench-compare mutants soak
.PHONY: docs links clean

demo: $(STAMP)
	$(VENV)/bin/mho demo --out $(OUT)

# Two processes of one thread each: more threads than cores only wait for each other.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2

# Other versions, in environments of their own that are removed afterwards: these need a network, uv
# and a Python from 3.11 on.
test-oldest:
	$(PYTHON) tools/versions.py oldest --python 3.10
	$(PYTHON) tools/versions.py oldest --python 3.13

test-newest:
	$(PYTHON) tools/versions.py newest --python 3.10
	$(PYTHON) tools/versions.py newest --python 3.13

test-packages:
	$(PYTHON) tools/packages.py

lint: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

types: $(STAMP)
	$(VENV)/bin/mypy

# What cycles, conversions and studies leave behind, for an hour.
soak: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python benchmarks/soak.py

# All benchmarks into one JSON file, for an hour or two; `make bench BENCH="--quick --repeats 2"` is
# less. Then `make bench-compare A=before.json B=after.json`.
bench: $(STAMP)
	$(VENV)/bin/python benchmarks/run_all.py $(BENCH)

bench-compare: $(STAMP)
	$(VENV)/bin/python benchmarks/compare.py $(A) $(B)

# Whether the tests would notice: faults planted at random, room by room (tools/mutants.py).
mutants: $(MUTANTS_STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python tools/mutants.py --minutes $(MINUTES) --most $(MOST) \
	  --seed $(SEED) $(if $(ROOMS),--rooms $(ROOMS))

# The site, every warning an error; tutorials and pictures run. It is in docs/build/html.
docs: $(DOCS_STAMP)
	$(SPHINX) -W -b html docs docs/build/html

# Whether what the site links to elsewhere still answers: the one target that needs a network.
links: $(DOCS_STAMP)
	$(SPHINX) -D plot_gallery=0 -b linkcheck docs docs/build/links

clean:
	rm -rf $(VENV) $(OUT) docs/build docs/generated

# torch first and alone: pinned exactly, so that no resolver takes a newer (and larger) build.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 -c constraints.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $(STAMP)

$(MUTANTS_STAMP): $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[mutants]' -c constraints.txt
	touch $(MUTANTS_STAMP)

$(DOCS_STAMP): $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[docs]' -c constraints.txt
	touch $(DOCS_STAMP)
