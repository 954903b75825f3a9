# `make` or `make help` lists the targets. Everything installs into .venv with the pinned versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python -m iter_lightning
INSTALLED = $(VENV)/.installed
READY = $(VENV)/.ready
TRAINED = --config experiments/synthetic.yaml --run_dir runs/demo-train --trainer.max_epochs 3 --wandb.mode disabled

TEXTS = docs/texts/curie.txt docs/texts/companies.txt docs/texts/medicine.txt
CHOSEN = --labels "person,company,city,award,drug,disease" --relations "place of birth,spouse,founded by,headquarters location"

.DEFAULT_GOAL := help
# of the paper's tables and figures, see `make help`
CORPORA ?=
ENCODERS ?=
SEEDS ?=
JOBS ?= 1
LAUNCHER ?= local
PICK = $(if $(CORPORA),--corpora $(CORPORA)) $(if $(ENCODERS),--encoders $(ENCODERS)) $(if $(SEEDS),--seeds $(SEEDS)) \
	--jobs $(JOBS) --launcher $(LAUNCHER)

.PHONY: help install demo demo-train test test-corpora test-slow test-reliability check lint types format clean

help: ## list the targets
	@grep -E '^[a-z-]+[%]?:.*##' Makefile | sed -E 's/:[^#]*## /|/' | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(INSTALLED) ## install into .venv

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,study,dashboard,cluster,extract,serve,onnx,dev]'
	@touch $@

$(READY): pyproject.toml constraints.txt
	@test -f $(INSTALLED) || { $(PYTHON) -m venv $(VENV) && \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[spacy]'; }
	@touch $@

demo: $(READY) ## entities and relations of real texts with the ready model, then with labels of your choice
	FORCE_COLOR=1 $(RUN) extract $(TEXTS) --show
	$(RUN) extract $(TEXTS) -o runs/demo/default.html --overwrite --quiet
	FORCE_COLOR=1 $(RUN) extract $(TEXTS) --show $(CHOSEN)
	$(RUN) extract $(TEXTS) -o runs/demo/chosen.html --overwrite --quiet $(CHOSEN)
	@echo "pages: runs/demo/default.html runs/demo/chosen.html"

demo-train: $(INSTALLED) ## train and evaluate on the generated corpus, show what is found, make a page of raw text (minutes)
	$(RUN) fit $(TRAINED)
	$(RUN) test $(TRAINED)
	FORCE_COLOR=1 $(RUN) predict $(TRAINED)
	$(RUN) extract runs/demo-train docs/example.txt -o runs/demo-train/example.html --overwrite

reproduce-%: $(INSTALLED) ## table1 to table7, figure2, figure3, all; CORPORA ENCODERS SEEDS JOBS LAUNCHER choose
	$(RUN) reproduce $* $(PICK)

test: $(INSTALLED) ## the default tests (about 10 minutes on 2 cores)
	$(VENV)/bin/python -m pytest -n 2 --dist loadscope

test-corpora: $(INSTALLED) ## the tests that read real corpora from $$ITER_DATA (default data/)
	$(VENV)/bin/python -m pytest -n 2 --dist loadscope -m corpora -rs

test-slow: $(INSTALLED) ## the tests that train, kill, compile and start clusters
	$(VENV)/bin/python -m pytest -n 2 --dist loadscope -m slow -rs

test-reliability: $(INSTALLED) ## hostile inputs, kills and broken machines, counted (at most 15 minutes on 2 cores)
	$(VENV)/bin/python -m pytest -n 2 --dist loadscope -m reliability tests/reliability -rs

check: lint types ## lint and types

lint: $(INSTALLED) ## ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(INSTALLED) ## mypy, strict
	$(VENV)/bin/mypy

format: $(INSTALLED) ## let ruff format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## remove .venv, caches and the demo's run
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis runs/demo runs/demo-train
