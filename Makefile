# The commands of this project.  Each works as the first command on a fresh clone with only
# python3 (3.11 or later) and make: .venv is made once and reused, and made anew when
# pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-full lint format bench clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) \
	    | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

demo: $(STAMP) ## run the quickstart scenario and write a report
	@$(BIN)/simulator run scenarios/quickstart.toml --report out/quickstart; code=$$?; \
	 for page in out/quickstart/*.html; do \
	   test -e "$$page" && echo "Report: open $$page in a browser."; \
	 done; exit $$code

test: lint ## lint, types and tests, in less than 10 minutes
	$(BIN)/pytest -q -rs -n $(TEST_PROCESSES)
	@echo "Left out: the long enumerations marked 'full' (make test-full) and the benchmarks"
	@echo "(make bench).  Of the tests, that is:"
	@$(BIN)/pytest -q --collect-only -m full | tail -n 1

test-full: export HYPOTHESIS_PROFILE = full
test-full: lint ## all tests, the long enumerations included
	$(call have_packages,chromium,The tests of pages in a browser cannot be run here)
	$(BIN)/pytest -q -rs -n $(TEST_PROCESSES) -m ""
	@echo "Left out: nothing but the benchmarks, which judge nothing (make bench)."

lint: $(STAMP) ## style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## print the table of benchmarks
	$(BIN)/python -m tests.benchmarks

clean: ## remove what the other commands made, .venv included
	rm -rf $(VENV) out reports bench-failures build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What the tests on real file systems (tests/ground_truth) need of the system: the C library of
# FUSE, and mkfs of each kind; and rsync, beside which a benchmark measures.  As root on Debian
# it is installed; elsewhere one line says what is missing: those tests are skipped with that
# reason, and that benchmark fails with it.
LIVE_PACKAGES := fuse3 e2fsprogs xfsprogs btrfs-progs rsync

# Packages of the system, and what is said where they are missing and cannot be installed.
define have_packages
@dpkg-query -W $(1) >/dev/null 2>&1 || \
  { test "$$(id -u)" = 0 && test -e /etc/debian_version && \
    echo "Installing the system packages $(1)" && \
    { apt-get update -qq; apt-get install -y -qq $(1) >/dev/null 2>&1; }; } || \
  echo "$(2): install $(1)"
endef

# Debian and Ubuntu ship python3 without what "python3 -m venv" needs: as root it is installed,
# otherwise one line says what to install.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) must be Python 3.11 or later; name another with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { test "$$(id -u)" = 0 && test -e /etc/debian_version && \
	    echo "Installing the system package python3-venv" && \
	    { apt-get update -qq; apt-get install -y -qq python3-venv >/dev/null; } && \
	    $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; } || \
	  { echo "make: $(PYTHON) cannot make a virtual environment: install the package" \
	         "python3-venv (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
	  { echo "Making $(VENV) (once)"; $(PYTHON) -m venv --clear $(VENV); }
	$(call have_packages,$(LIVE_PACKAGES),Some tests and a benchmark cannot be run here)
	@mkdir -p out  # what the documentation's commands write goes there
	@echo "Installing the pinned packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[test,dev,live,cluster]'
	@touch $@
