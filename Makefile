# SPDX-License-Identifier: GPL-2.0-or-later
#
# The commands of this checkout. `make help` lists them; every one makes what it needs first (Debian packages, .venv/).

PYTHON ?= python3
SUITE ?= core
SELECTION ?= quick
HOSTS ?=
ONLY ?=
ARGS ?=
FUZZ_SECONDS ?= 600

MAKEFLAGS += --no-builtin-rules --no-print-directory
SHELL = /bin/sh
# Packages come before the environment, which needs one of them; the checks of style need none and do not ask for any.
.NOTPARALLEL:
VENV = .venv
BIN = $(VENV)/bin

# KDIR reaches the recipe through the environment, so that no character of a path means anything to make or to the shell;
# a ~ that the calling shell left alone (KDIR="~/linux", or sh instead of bash) is expanded here.
EXPAND_KDIR = set --; if [ -n "$${KDIR-}" ]; then \
	case $$KDIR in "~" | "~/"*) KDIR=$$HOME$${KDIR\#"~"} ;; esac; set -- --kernel "$$KDIR"; fi

# Kbuild's other way to ask for clang; LLVM=1 is refused where kernels are built.
ifeq ($(origin CC),command line)
$(if $(filter clang%,$(notdir $(CC))),$(error CC=$(CC): dmasafe builds kernels with gcc only))
endif

.PHONY: help
help: ## List these targets
	@echo "Usage: make TARGET [VARIABLE=value ...]"
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Variables:"
	@echo "  KDIR=DIR           use the kernel tree DIR (it is not written into) instead of Debian's linux-source"
	@echo "  SUITE=NAME         the suite that test-qemu runs (now: $(SUITE))"
	@echo "  SELECTION=NAME     the selection that matrix runs (now: $(SELECTION))"
	@echo "  ARGS='...'         more arguments for the command behind the target"
	@echo "  FUZZ_SECONDS=N     how long fuzz takes for each of its targets (now: $(FUZZ_SECONDS))"
	@echo "  PYTHON=COMMAND     the Python, 3.11 or newer, that makes $(VENV)/ (now: $(PYTHON))"
	@echo "  DMASAFE_CACHE=DIR  where kernel sources and builds are kept (default: the user's cache directory)"
	@echo "  DMASAFE_INSTALL=no print the apt-get command instead of running it (skip: do not look at packages)"

.PHONY: test-qemu
test-qemu: packages $(VENV)/.stamp-compiled ## Build a kernel, boot it in QEMU, run the suite, print the verdicts
	@$(EXPAND_KDIR); exec $(BIN)/dmasafe run --suite $(SUITE) --target qemu "$$@" $(ARGS)

# Needs root and debootstrap; HOSTS="12 13 testing sid" and ONLY=test-qemu choose.
.PHONY: test-hosts
test-hosts: $(VENV)/.stamp-run ## Both commands of the README on every Debian, each from an empty machine (HOSTS=13, ONLY=test-qemu)
	@exec $(BIN)/python -m tests.hosts $(HOSTS) $(if $(ONLY),--only $(ONLY)) $(ARGS)

.PHONY: matrix
matrix: packages $(VENV)/.stamp-run ## Run a selection of the matrix (SELECTION=NAME), without the history
	@exec $(BIN)/dmasafe matrix run $(SELECTION) --no-record $(ARGS)

.PHONY: test
test: packages lint types ## All the project's own tests, those that boot a kernel included
ifeq ($(ARGS),)
	@status=0; $(BIN)/python -m pytest -m "not qemu" --numprocesses logical --dist loadfile --no-loadscope-reorder || status=1; \
	$(BIN)/python -m pytest -m qemu || status=1; exit $$status
else
	$(BIN)/python -m pytest $(ARGS)
endif

.PHONY: test-all
test-all: ## All tests, those of other kernels (as far as they are built) included: half an hour
	@DMASAFE_SLOW=1 $(MAKE) --no-print-directory test

.PHONY: lint
lint: $(VENV)/.stamp-dev ## Style, import contracts, licence headers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/reuse lint --lines

.PHONY: types
types: $(VENV)/.stamp-dev ## mypy --strict
	$(BIN)/mypy

.PHONY: docs
docs: $(VENV)/.stamp-dev ## Build the documentation's site into build/docs: a warning or a broken link is an error
	$(BIN)/sphinx-build -q -E -W --keep-going -c docs . build/docs
	@echo "build/docs/index.html"

.PHONY: man
man: $(VENV)/.stamp-dev ## Make the manual page from the program's help texts: man -l build/man/dmasafe.1
	$(BIN)/sphinx-build -q -E -W --keep-going -b man -c docs . build/man
	@echo "build/man/dmasafe.1"

.PHONY: bench
bench: packages $(VENV)/.stamp-dev $(VENV)/.stamp-compiled ## Time boots and suites beside a bare boot of the same kernel
	@$(EXPAND_KDIR); exec $(BIN)/python -m benchmarks "$$@" $(ARGS)

.PHONY: detection
detection: packages $(VENV)/.stamp-run ## Seed every fault into the driver, write docs/detection.md
	@exec $(BIN)/dmasafe detection $(ARGS)

.PHONY: mutants
mutants: $(VENV)/.stamp-dev ## Change every rule of the model and of the verdict, one at a time: do the tests notice? (ARGS=verdict: one group)
	@exec $(BIN)/python -m tests.mutants $(ARGS)

.PHONY: selftest
selftest: packages $(VENV)/.stamp-run ## Wreck runs in every known way: does the harness notice?
	@$(EXPAND_KDIR); exec $(BIN)/dmasafe selftest "$$@" $(ARGS)

# Guided by coverage if atheris could be installed (it has no build for every Python), at random if not.
.PHONY: fuzz
fuzz: $(VENV)/.stamp-dev ## Fuzz devices, agent and check, FUZZ_SECONDS each (ARGS='--count N': that many at random)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]' 2>/dev/null || \
		echo "atheris cannot be installed here: fuzzing at random"
	@for target in devices frontend vfio_user registers usbredir agent check; do \
		$(BIN)/python tests/fuzz/fuzz_$$target.py --seconds $(FUZZ_SECONDS) $(ARGS) || exit 1; done

.PHONY: shell
shell: packages $(VENV)/.stamp-run ## An interactive guest with the bus plugged in
	@$(EXPAND_KDIR); exec $(BIN)/dmasafe shell "$$@" $(ARGS)

.PHONY: clean
clean: ## Remove what these targets made in the checkout (the kernel cache outside stays)
	rm -rf $(VENV) out build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .tox *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: packages
packages:
	@DMASAFE_ARCH= scripts/install-packages
	@test -z "$$DMASAFE_ARCH" || scripts/install-packages

# One environment; the second stamp says that the tools of the project's own tests are in it too.
$(VENV)/.stamp-run $(VENV)/.stamp-dev: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is missing or older than 3.11: name a newer one with PYTHON=COMMAND" >&2; exit 1; }
	@echo "Making $(VENV)/ ($(if $(filter %-dev,$@),with,without) the tools of the project's own tests) ..."
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(if $(filter %-dev,$@),dev,matrix)]' || { \
		echo "make: pip could not install the Python packages of pyproject.toml (see above): check the network" >&2; exit 1; }
	@touch $(VENV)/.stamp-run $@

# Where PYTHONDONTWRITEBYTECODE is set, as in many containers, each start would compile everything: half a second.
$(VENV)/.stamp-compiled: $(VENV)/.stamp-run $(wildcard $(addprefix harness/dmasafe/,*.py */*.py */*/*.py */*/*/*.py))
	@$(BIN)/python -m compileall -q harness/dmasafe && touch $@
