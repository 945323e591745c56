# `make demo`, `make check` and `make test` do all their own set-up; the second time they find it done.
PYTHON ?= python3
BIN := .venv/bin
# Whoever is done first takes tests from the other: some train for minutes.
PYTEST = $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo check style test lowest docs figures
.SILENT:

demo: .venv/demo
	echo "== Training on the built-in data set in dev mode: 200 images, 5 epochs"
	$(BIN)/python -m kseg.train --config demo

# For the everyday loop: style, types, and the fast tests, in some four minutes on two cores.
check: .venv/test style
	echo "== Fast tests on JAX"
	KERAS_BACKEND=jax $(PYTEST) -m "not slow"

test: .venv/test style
	echo "== Tests on JAX"
	KERAS_BACKEND=jax $(PYTEST)
	echo "== Tests on torch"
	KERAS_BACKEND=torch $(PYTEST) -m "not backend_free"

# Old releases warn about each other, so that warnings are no errors here.
lowest: BIN := .venv-lowest/bin
lowest: .venv-lowest/test
	echo "== Fast tests on JAX, with each package at its lower bound"
	KERAS_BACKEND=jax $(PYTEST) -m "not slow" -o filterwarnings=default

style: .venv/test
	echo "== Style"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	echo "== Types"
	$(BIN)/mypy

# The pages in docs/, into site/; a broken link is an error.
docs: .venv/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	echo "Open site/index.html"

# What the scripts in benchmarks/ print, into benchmarks/results/: make figures NUCLEI=path/to/nuclei ONLY="startup losses".
figures: .venv/test
	$(BIN)/python benchmarks/figures.py $(if $(NUCLEI),--nuclei $(NUCLEI)) $(if $(ONLY),--only $(ONLY))

.venv/bin/python:
	echo "== Making a virtual environment in .venv"
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), f"kseg needs Python 3.11 or later; $(PYTHON) is {sys.version.split()[0]}. Try make PYTHON=python3.11"'
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml
	echo "== Installing kseg with JAX for the CPU (a minute or two)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# torch first, and by its version: an open range would bring gigabytes of CUDA where there is no GPU. KerasHub without
# what it asks for: tensorflow-text would bring a second TensorFlow.
.venv/test: .venv/bin/python pyproject.toml
	echo "== Installing kseg with JAX and torch for the CPU, and what the tests need (two minutes or so)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[torch,test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'keras-hub>=0.32.0'
	touch $@

.venv-lowest/test: pyproject.toml
	echo "== Installing kseg with each package at its lower bound, into .venv-lowest"
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["tfds"], sep="\n")' | sed 's/>=/==/' > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv-lowest/lowest.txt --editable '.[test]'
	touch $@
