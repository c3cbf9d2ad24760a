# Everything runs in $(VENV), made here from any Python >= 3.11; `make` alone lists the targets.
VENV ?= .venv
# tests wait for processes more than they compute: three keep two cores busy
PYTEST_WORKERS ?= 3
PYTEST_ARGS ?=
DEMO_ARGS ?=

SHELL := bash
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
# Of pip's hundreds of lines: the large downloads, and the start of the last, longest part.
SHOW_PROGRESS := awk '/ MB\)$$/ && substr($$(NF - 1), 2) + 0 >= 10 { print "  " $$(NF - 2), $$(NF - 1), $$NF; fflush() } \
	/^Installing collected packages/ { print "  unpacking", NF - 3, "packages ..."; fflush() }'
INPUTS := setup.cfg pyproject.toml constraints.txt

.PHONY: help demo test lint format bench-quick dist constraints install clean distclean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo  ## install, then run foldsmith on real data; options in DEMO_ARGS="--time-budget 20s"
	@$(BIN)/foldsmith demo $(DEMO_ARGS)

test: $(VENV)/.installed-dev  ## all tests with branch coverage; PYTEST_WORKERS=3, PYTEST_ARGS="-k folds"
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --cov --cov-branch $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## ruff, its formatter, mypy, the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## format, and repair what ruff can repair
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench-quick: $(VENV)/.installed-dev  ## every script of benchmarks/ with --quick
	@for script in $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py)); do \
		echo "== $$script"; $(BIN)/python "$$script" --quick || exit 1; done

dist: $(VENV)/.installed-dev  ## source distribution and wheel, in dist/
	rm -rf build dist
	$(BIN)/python -m build --no-isolation

install: $(VENV)/.installed-dev  ## the environment of test and lint, without running anything

# Torch keeps its pin: a newer one may bring several GB of CUDA libraries, so raise it by hand.
constraints: | $(VENV)/pins/.created  ## renew constraints.txt: the newest of everything but torch
	$(VENV)/pins/bin/python -m pip install --disable-pip-version-check --quiet '.[dev]' "$$(grep -m1 '^torch==' constraints.txt)"
	@set -o pipefail; { sed '/^[^#]/,$$d' constraints.txt; $(VENV)/pins/bin/python -m pip freeze --all --exclude pip --exclude foldsmith \
		| sed -E 's/^(torch==[^+]*).*/\1/'; } >constraints.new
	@mv constraints.new constraints.txt
	@rm -rf $(VENV)/pins build

clean:  ## remove built and cached files
	rm -rf build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(wildcard problem spaces results search ensembling flow reporting cli src tests benchmarks examples) \
		-name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove the environment
	rm -rf $(VENV)

%/.created:
	@usable() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	python=""; \
	for candidate in $${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}; do \
		if usable "$$candidate"; then python="$$candidate"; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "error: no Python >= 3.11 found (tried: $${PYTHON:-python3, python3.11 to python3.14});" \
			"install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "error: $$python cannot make virtual environments; on Debian or Ubuntu:" \
			"sudo apt-get install $$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; fi; \
	"$$python" -m venv $*
	@touch $@

# Each stamp is newer than what it was installed from, so a second call installs nothing.
$(VENV)/.installed-demo: $(VENV)/.created $(INPUTS)
	@echo "installing foldsmith and its libraries into $(VENV), about two minutes:"
	@set -o pipefail; $(PIP_INSTALL) -c constraints.txt -e . | $(SHOW_PROGRESS)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created $(INPUTS)
	@echo "installing foldsmith, its libraries and the tools for tests into $(VENV), about two minutes:"
	@set -o pipefail; $(PIP_INSTALL) -c constraints.txt -e '.[dev]' | $(SHOW_PROGRESS)
	@touch $(VENV)/.installed-demo $@
