# `make run` and `make test` set up what they need themselves; a bare `make` lists all commands.

ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := .venv/Scripts
else
PYTHON ?= python3
BIN := .venv/bin
endif
SEEDS ?= 30
NOTEBOOK := mnist_digits.ipynb
ENVIRONMENT := .venv/installed

# What the user has set for other projects stays out of this one: by kind, as each tool has more than can be named.
FOREIGN := PYTHON% PYTEST% HYPOTHESIS% MYPY% RUFF% MPL% MATPLOTLIB% JPY% PIP_% UV_%
# Of what pip and uv are told, that stays which says where packages come from and how they are reached.
SOURCES := $(addprefix PIP_,CONFIG_FILE INDEX_URL EXTRA_INDEX_URL NO_INDEX FIND_LINKS TRUSTED_HOST PROXY CERT CLIENT_CERT \
		KEYRING_PROVIDER TIMEOUT DEFAULT_TIMEOUT RETRIES CACHE_DIR NO_CACHE_DIR USE_FEATURE USE_DEPRECATED) \
	$(addprefix UV_,CONFIG_FILE INDEX% DEFAULT_INDEX EXTRA_INDEX_URL NO_INDEX OFFLINE FIND_LINKS INSECURE_HOST HTTP% \
		ALL_PROXY NO_PROXY NATIVE_TLS SYSTEM_CERTS KEYRING_PROVIDER CREDENTIALS_DIR REQUEST_TIMEOUT CONCURRENT% \
		CACHE_DIR NO_CACHE LINK_MODE)
ifeq ($(MAKECMDGOALS),lab)
# JupyterLab is the user's own, and has his settings.
FOREIGN += JUPYTER_PATH
else
FOREIGN += JUPYTER% IPYTHON%
endif
unexport $(filter-out $(SOURCES),$(filter $(FOREIGN),$(.VARIABLES)))

# Nor has a home folder to be there, or be writable.
ifneq ($(MAKECMDGOALS),lab)
export IPYTHONDIR := $(CURDIR)/.venv/ipython
export JUPYTER_CONFIG_DIR := $(CURDIR)/.venv/jupyter
export JUPYTER_DATA_DIR := $(CURDIR)/.venv/jupyter/data
endif
export JUPYTER_RUNTIME_DIR := $(CURDIR)/.venv/runtime
export MPLCONFIGDIR := $(CURDIR)/.venv/matplotlib
# The kernel is that of .venv, whoever owns it.
export JUPYTER_PREFER_ENV_PATH := 1
# Else Windows reads and prints text in the encoding of its country.
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-quick test-full portable browser-test lint lab retrain refresh study worker bench handwriting html lock setup-git clean outdated

help:  ## list the commands
	@echo "Commands:"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

run: $(ENVIRONMENT)  ## execute the notebook, write it and an HTML report to build/
	@$(BIN)/python -m helpers run $(PARAMETERS)

test: $(ENVIRONMENT)  ## check the code, run the unit tests, execute the notebook and compare its outputs (a minute)
	@$(BIN)/python -m ruff check --quiet
	@mode=$$($(BIN)/python -m helpers nbval) \
		&& $(BIN)/python -m pytest tests -m "not slow and not thorough and not browser and not portable" -n auto --dist worksteal \
		&& $(BIN)/python -m pytest $(NOTEBOOK) $$mode --nbval-current-env --nbval-cell-timeout=1200 -p tests.alive

test-quick: $(ENVIRONMENT)  ## run the unit tests that need neither TensorFlow nor much time (seconds)
	@$(BIN)/python -m pytest tests -p no:nbval -m "not slow and not tensorflow and not browser and not portable and not thorough"

test-full: $(ENVIRONMENT)  ## all that `make test` leaves out: each fault tried in all its forms, trainings from scratch, killed ones (minutes)
	@$(BIN)/python -m pytest tests -p no:nbval -m "thorough and not slow" -rs -n auto --dist worksteal
	@$(BIN)/python -m pytest tests -p no:nbval -m slow -rs --durations=0

portable: $(ENVIRONMENT)  ## train on emulated processors, run the notebook under other arithmetic: same bits, same digits (minutes)
	@$(BIN)/python -m pytest tests -p no:nbval -m portable -rs --durations=0

browser-test: $(ENVIRONMENT)  ## use the notebook in JupyterLab, in Chromium, as its readers do (minutes)
	@$(BIN)/python -m pytest tests -p no:nbval -m browser -rs --durations=0

lint: $(ENVIRONMENT)  ## check code and notebook with ruff, and the types in helpers with mypy (seconds)
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m mypy

lab: $(ENVIRONMENT)  ## open the notebook in JupyterLab; OPTIONS="--port=9999 --no-browser" for its options
	@# Settings of the user's that would open another folder do not apply; root, as in a container, may open it, too.
	@$(BIN)/python -m jupyterlab --ServerApp.root_dir="$(CURDIR)" --FileContentsManager.root_dir="$(CURDIR)" \
		--FileContentsManager.preferred_dir= $(if $(filter 0,$(shell id -u)),--allow-root) $(OPTIONS) $(NOTEBOOK)

retrain: $(ENVIRONMENT)  ## train the models in models/ again (minutes)
	@$(BIN)/python -m helpers retrain

refresh: $(ENVIRONMENT)  ## execute the notebook; if that went well, store its outputs and README's figures
	@$(BIN)/python -m helpers refresh

study: $(ENVIRONMENT)  ## train each network with SEEDS=30 seeds, or go on with it (two hours)
	@$(BIN)/python -m helpers study $(SEEDS) $(SCHEDULER)

worker: $(ENVIRONMENT)  ## do runs for a study, a core each, that another machine directs: SCHEDULER=tcp://...
	@PYTHONPATH=. $(BIN)/python -m dask worker --nworkers -1 --nthreads 1 --no-dashboard $(SCHEDULER)

bench: $(ENVIRONMENT) .venv-bench/installed  ## measure speed, memory and growth, beside PyTorch too (an hour)
	@$(BIN)/python benchmarks/run.py .venv-bench/bin/python $(PARTS)

handwriting: $(ENVIRONMENT)  ## measure how the pictures of digits in HANDWRITING=folder are read (minutes; hours with TRAININGS=30)
	@$(BIN)/python -m helpers pictures "$${HANDWRITING-}" $(TRAININGS)

html: $(ENVIRONMENT)  ## make build/mnist_digits.html of the notebook as it is, without executing it
	@$(BIN)/python -m helpers html

lock: $(ENVIRONMENT)  ## pin in requirements.lock what requirements.txt asks for, on every system; OPTIONS=--upgrade for the newest of all
	@$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements.lock $(OPTIONS) requirements.txt

# Another work tree of a clone has no .venv and takes that of the first; where there is none, text is shown and merged.
NBDIME = for python in $(BIN)/python "$(CURDIR)/$(BIN)/python"; do [ -x "$$python" ] && exec "$$python" -m nbdime.vcs.git.
DIFF = $(NBDIME)diffdriver diff "$$@"; done; diff -u -L "a/$$1" -L "b/$$1" "$$2" "$$5"; true;
MERGE = $(NBDIME)mergedriver merge %O %A %B %L %P; done; git merge-file --marker-size=%L %A %O %B
setup-git: $(ENVIRONMENT)  ## in this clone: show changes of notebooks readably, and run `make lint` before each commit
	@git config diff.jupyternotebook.command 'show() { $(DIFF) }; show'
	@git config merge.jupyternotebook.driver '$(MERGE)'
	@$(BIN)/python -m pre_commit install

clean:  ## remove .venv, build/, the models trained beside the committed ones, and git's use of .venv
	@$(BIN)/python -m pre_commit uninstall >/dev/null 2>&1 || true
	@git config --remove-section diff.jupyternotebook 2>/dev/null || true
	@git config --remove-section merge.jupyternotebook 2>/dev/null || true
	@rm -rf .venv .venv.* .venv-bench .venv-bench.* build models/local .pytest_cache .mypy_cache .ruff_cache */__pycache__

# What is installed is compared, not dates: a branch that was checked out and back changes nothing.
$(ENVIRONMENT): $(if $(shell cmp requirements.lock $(ENVIRONMENT) 2>&1),outdated)
	@$(PYTHON) -m helpers.environment .venv requirements.lock

.venv-bench/installed: $(if $(shell cmp benchmarks/requirements.txt .venv-bench/installed 2>&1),outdated)
	@$(PYTHON) -m helpers.environment .venv-bench benchmarks/requirements.txt
