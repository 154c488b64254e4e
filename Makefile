# Everything goes through the virtual environment in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
LENS := .venv-lens
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
READY := $(VENV)/.ready

.PHONY: study full smoke test test-all parity-lens lint docs bench ui lock-check ship prune clean
.DEFAULT_GOAL := study

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or newer is needed; make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	touch $@

study: $(READY)  ## rebuild what has changed, at the budget in params.yaml
	@python -m picollm study

full: $(READY)  ## the study at headline size: all seeds, some hours; goes on where it was stopped
	@python -m picollm study --budget full

smoke: $(READY)  ## the whole pipeline in a few minutes, in a copy in .smoke
	rm -rf .smoke && mkdir .smoke
	git ls-files -z --cached --others --exclude-standard -- ':!dvc.lock' ':!metrics' ':!plots' | tar --null -T - -cf - | tar -xf - -C .smoke
	sed -i.bak 's/^budget:.*/budget: smoke/' .smoke/params.yaml
	cd .smoke && git init -q && python -m picollm study

test: $(READY)
	python -m pytest -n 2 --dist loadscope --durations 20 --durations-min 5 -m "not slow"

test-all: $(READY)
	python -m pytest -n 2 --dist loadscope

$(LENS)/.ready: tests/parity/requirements-lens.txt
	$(PYTHON) -m venv $(LENS)
	$(LENS)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

parity-lens: $(LENS)/.ready  ## our numbers beside those of TransformerLens on the same weights, in an environment of its own
	$(LENS)/bin/python -m pytest tests/parity

lint: $(READY)
	ruff check .
	ruff format --check .
	mypy

docs: $(READY)  ## the site, in site/; opens from the disk
	properdocs build --strict

bench: $(READY)  ## ratios against peers, side by side in one run
	python -m benchmarks

ui: $(READY)  ## the runs, at http://127.0.0.1:5000
	@python -c "from picollm import tracking; tracking.mend()"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true mlflow ui --workers 1

lock-check: $(READY)  ## do the committed dvc.lock and metrics belong to the committed code?
	@stale=$$(dvc repro --allow-missing --dry | grep "^Running stage" || true); \
	if [ -n "$$stale" ]; then echo "$$stale"; echo "error: dvc.lock is older than the code or the parameters; run make study and commit"; exit 1; fi; \
	echo "dvc.lock, metrics and plots belong to this code"

ship: $(READY)  ## copy the models that the repository holds from data/checkpoints to data/shipped
	python -m picollm.loaded.ship

prune: $(READY)  ## give back the space of results that nothing in the checkout refers to any more
	dvc gc --workspace --force
	rm -rf .resume .smoke

clean:  ## remove everything that can be rebuilt: environment, data, cache, MLflow's store
	rm -rf $(VENV) $(LENS) site .smoke .resume .dvc/cache .dvc/tmp mlflow.db mlflow.db.lock data/raw data/tokens data/checkpoints data/plans
	find mlruns -mindepth 1 ! -name .gitkeep -delete
	find . -name __pycache__ -prune -exec rm -rf {} +
