# Two commands do all the set-up: `make run` and `make test`.
PYTHON ?= python3
PORT_OFFSET ?= 0
BIN := .venv/bin

.PHONY: run trace test soak bench manual translations lock

run: .venv/run.stamp
	@PORT_OFFSET=$(PORT_OFFSET) $(BIN)/python -m demo.run

# What happened to a request of the demo: make trace OF=4821-0937-5562
trace: .venv/run.stamp
	@$(BIN)/python -m demo.run --trace "$(OF)"

test: .venv/test.stamp .venv/ldap.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses=3 --dist=worksteal

# Faults and races in full length, and tables of figures (under 30 minutes); first what measures
# times, alone.
soak: .venv/test.stamp .venv/ldap.stamp
	$(BIN)/python -m pytest --soak -m times tests/soak; times=$$?; \
	$(BIN)/python -m pytest --soak -m "not times" --numprocesses=2 --dist=loadfile \
	    tests/soak tests/integration/test_state.py tests/integration/test_install.py && \
	    exit $$times

# The speed and size of the service, in one table: build/bench/table.md (under 10 minutes, on a
# machine with nothing else to do).
bench: .venv/run.stamp .venv/bench.stamp
	$(BIN)/python -m bench

.venv/run.stamp: requirements.txt demo/requirements.txt | .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt -r demo/requirements.txt
	@touch $@

.venv/test.stamp: requirements-dev.txt | .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

.venv/bench.stamp: bench/requirements.txt | .venv/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt
	@touch $@

# python-ldap is compiled; where it cannot be, its tests are left out and say so.
.venv/ldap.stamp: requirements-ldap.txt | .venv/test.stamp
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-ldap.txt \
	    >.venv/ldap.log 2>&1 && touch $@ || true

.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name it: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

# The manual, with pictures from the running service: HTML and PDF in build/manual/. Needs Chromium.
manual: .venv/test.stamp
	$(BIN)/python -m manual

# After a change of words: brings the catalogues up to date with the Spanish sentences of code and
# templates (what is new waits in messages.po for its msgstr), and compiles them.
translations: .venv/run.stamp
	$(BIN)/pybabel -q extract -F babel.cfg -k lazy_gettext --add-location=file --no-wrap \
	    -o translations/messages.pot .
	$(BIN)/pybabel -q update -i translations/messages.pot -d translations --no-wrap \
	    --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date
	$(BIN)/pybabel -q compile -d translations

# Writes the exact versions and hashes of everything (needs uv).
lock:
	for of in requirements demo/requirements bench/requirements requirements-ldap requirements-dev; do \
	    uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	        --custom-compile-command "make lock" $$of.in -o $$of.txt || exit 1; \
	done
