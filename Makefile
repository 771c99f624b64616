# `make run` and `make test` set up what they need themselves; a bare `make` lists all commands.

PYTHON ?= python3
SEEDS ?= 30
NOTEBOOK := mnist_digits.ipynb
ENVIRONMENT := .venv/installed
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-quick test-full browser-test lab retrain refresh study worker bench html clean

help:  ## list the commands
	@echo "Commands:"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

run: $(ENVIRONMENT)  ## execute the notebook, write it and an HTML report to build/
	@mkdir -p build
	@$(BIN)/papermill --kernel python3 $(PARAMETERS) $(NOTEBOOK) build/$(NOTEBOOK)
	@$(BIN)/jupyter nbconvert --log-level ERROR --to html build/$(NOTEBOOK)
	@$(BIN)/python -m helpers headline build/$(NOTEBOOK)

test: $(ENVIRONMENT)  ## run the unit tests, then re-execute the notebook and compare its outputs
	@mode=$$($(BIN)/python -m helpers nbval) \
		&& $(BIN)/pytest tests -m "not slow and not browser" \
		&& $(BIN)/pytest $(NOTEBOOK) $$mode --nbval-current-env --nbval-cell-timeout=1200 \
		&& $(BIN)/python -m helpers results

test-quick: $(ENVIRONMENT)  ## run the unit tests that need no TensorFlow (seconds)
	@$(BIN)/pytest tests -p no:nbval -m "not slow and not tensorflow and not browser"

test-full: $(ENVIRONMENT)  ## train from scratch with three seeds, and check what comes out
	@$(BIN)/pytest tests -m slow --durations=0

browser-test: $(ENVIRONMENT)  ## use the notebook in JupyterLab, in Chromium, as its readers do (minutes)
	@$(BIN)/pytest tests -p no:nbval -m browser -rs --durations=0

lab: $(ENVIRONMENT)  ## open the notebook in JupyterLab
	@$(BIN)/jupyter lab $(NOTEBOOK)

retrain: $(ENVIRONMENT)  ## train the models in models/ anew (minutes)
	@$(BIN)/python -m helpers retrain

refresh: $(ENVIRONMENT)  ## execute the notebook and store its outputs, its results, and README's figures
	@mkdir -p build
	@MNIST_DATA=full $(BIN)/jupyter nbconvert --log-level ERROR --to notebook --execute \
		--ExecutePreprocessor.record_timing=False --output-dir build --output refreshed $(NOTEBOOK)
	@mv build/refreshed.ipynb $(NOTEBOOK)
	@cp build/results.json tests/results.json
	@$(BIN)/python -m helpers figures $(NOTEBOOK) figures

study: $(ENVIRONMENT)  ## train each network with SEEDS=30 seeds, or go on with it (an hour and a half)
	@$(BIN)/python -m helpers study $(SEEDS) $(SCHEDULER)

worker: $(ENVIRONMENT)  ## do runs for a study, a core each, that another machine directs: SCHEDULER=tcp://...
	@PYTHONPATH=. $(BIN)/dask worker --nworkers -1 --nthreads 1 --no-dashboard $(SCHEDULER)

bench: $(ENVIRONMENT) .venv-bench/installed  ## measure speed, memory and growth, beside PyTorch too (an hour)
	@$(BIN)/python benchmarks/run.py .venv-bench/bin/python $(PARTS)

html: $(ENVIRONMENT)  ## make build/mnist_digits.html of the notebook as it is, without executing it
	@mkdir -p build
	@$(BIN)/jupyter nbconvert --log-level ERROR --to html --output-dir build $(NOTEBOOK)

clean:  ## remove .venv, build/ and the models trained beside the committed ones
	@rm -rf .venv .venv-bench build models/local .pytest_cache */__pycache__

$(ENVIRONMENT): requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
		"error: Python 3.11 to 3.13 is needed, %s is %d.%d; name another: make PYTHON=python3.12 ..." \
		% (sys.executable, *v[:2]))'
	@echo "Setting up .venv: about 3 GB, once."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --constraint requirements.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --requirement requirements.txt \
		|| { echo "uv could not install the packages; trying pip."; \
		     $(BIN)/pip install --quiet --requirement requirements.txt; }
	@touch $@

.venv-bench/installed: benchmarks/requirements.txt
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@
