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
# Else Windows reads and prints text in the encoding of its country.
export PYTHONUTF8 := 1
# What the user has set for other projects stays out of this one.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONOPTIMIZE PYTHONWARNINGS PYTHONSTARTUP JUPYTER_PATH PIP_USER PIP_TARGET PIP_PREFIX MATPLOTLIBRC
# Nor has a home folder to be there, or be writable: only JupyterLab is the user's own.
export MPLCONFIGDIR := $(CURDIR)/.venv/matplotlib
export JUPYTER_RUNTIME_DIR := $(CURDIR)/.venv/runtime
run test test-quick test-full portable refresh html: export IPYTHONDIR := $(CURDIR)/.venv/ipython
run test test-quick test-full portable refresh html: export JUPYTER_CONFIG_DIR := $(CURDIR)/.venv/jupyter

.DEFAULT_GOAL := help
.PHONY: help run test test-quick test-full portable browser-test lint lab retrain refresh study worker bench handwriting html lock setup-git clean

help:  ## list the commands
	@echo "Commands:"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

run: $(ENVIRONMENT)  ## execute the notebook, write it and an HTML report to build/
	@$(BIN)/python -m helpers run $(PARAMETERS)

test: $(ENVIRONMENT) lint  ## check the code, run the unit tests, execute the notebook and compare its outputs (a minute)
	@mode=$$($(BIN)/python -m helpers nbval) \
		&& $(BIN)/python -m pytest tests -m "not slow and not thorough and not browser and not portable" -n logical --dist worksteal \
		&& $(BIN)/python -m pytest $(NOTEBOOK) $$mode --nbval-current-env --nbval-cell-timeout=1200 -p tests.alive

test-quick: $(ENVIRONMENT)  ## run the unit tests that need neither TensorFlow nor much time (seconds)
	@$(BIN)/python -m pytest tests -p no:nbval -m "not slow and not tensorflow and not browser and not portable and not thorough"

test-full: $(ENVIRONMENT)  ## all that `make test` leaves out: each fault tried in all its forms, trainings from scratch, killed ones (minutes)
	@$(BIN)/python -m pytest tests -p no:nbval -m "thorough and not slow" -rs -n logical --dist worksteal
	@$(BIN)/python -m pytest tests -p no:nbval -m slow -rs --durations=0

portable: $(ENVIRONMENT)  ## train on emulated processors, run the notebook under other arithmetic: same bits, same digits (minutes)
	@$(BIN)/python -m pytest tests -p no:nbval -m portable -rs --durations=0

browser-test: $(ENVIRONMENT)  ## use the notebook in JupyterLab, in Chromium, as its readers do (minutes)
	@$(BIN)/python -m pytest tests -p no:nbval -m browser -rs --durations=0

lint: $(ENVIRONMENT)  ## check code and notebook with ruff, and the types in helpers with mypy (seconds)
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m mypy

lab: $(ENVIRONMENT)  ## open the notebook in JupyterLab
	@$(BIN)/python -m jupyterlab $(NOTEBOOK)

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

handwriting: $(ENVIRONMENT)  ## measure how the pictures of digits in HANDWRITING=folder are read (minutes)
	@$(BIN)/python -m helpers pictures "$${HANDWRITING-}" $(TRAININGS)

html: $(ENVIRONMENT)  ## make build/mnist_digits.html of the notebook as it is, without executing it
	@$(BIN)/python -m helpers html

lock: $(ENVIRONMENT)  ## pin in requirements.lock what requirements.txt asks for, on every system; OPTIONS=--upgrade for the newest of all
	@$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements.lock $(OPTIONS) requirements.txt

setup-git: $(ENVIRONMENT)  ## in this clone: show changes of notebooks readably, and run `make lint` before each commit
	@git config diff.jupyternotebook.command "$(BIN)/python -m nbdime.vcs.git.diffdriver diff"
	@git config merge.jupyternotebook.driver "$(BIN)/python -m nbdime.vcs.git.mergedriver merge %O %A %B %L %P"
	@$(BIN)/python -m pre_commit install

clean:  ## remove .venv, build/, the models trained beside the committed ones, and git's use of .venv
	@$(BIN)/python -m pre_commit uninstall >/dev/null 2>&1 || true
	@git config --remove-section diff.jupyternotebook 2>/dev/null || true
	@git config --remove-section merge.jupyternotebook 2>/dev/null || true
	@rm -rf .venv .venv-bench build models/local .pytest_cache .mypy_cache .ruff_cache */__pycache__

$(ENVIRONMENT): requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
		"error: Python 3.11 to 3.13 is needed, %s is %d.%d; name another: make PYTHON=python3.12 ..." \
		% (sys.executable, *v[:2]))'
	@echo "Setting up .venv: about 3 GB, once."
	@$(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/uv.txt
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes --requirement requirements.lock \
		|| { echo "uv could not install the packages; trying pip."; \
		     $(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock; }
	@# Else each start of a kernel warns that its messages, which do not leave the machine, are not encrypted.
	@mkdir -p .venv/etc/ipython
	@echo '{"IPKernelApp": {"log_level": "ERROR"}}' > .venv/etc/ipython/ipython_kernel_config.json
	@touch $@

.venv-bench/installed: benchmarks/requirements.txt
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@
