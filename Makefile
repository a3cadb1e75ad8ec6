# The same commands for a person and for CI. PYTHON chooses the interpreter that makes .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 5000
WORKERS ?= 2
MODEL ?= gan-fashion-mnist@champion
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1
# Neither DVC nor MLflow sends usage data.
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help install repro test test-all kill lint format ui serve lock
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "make %-8s %s\n", $$1, $$2}'

install: $(VENV)/installed  ## make .venv with the pinned requirements

$(VENV)/installed: requirements.lock
	$(PYTHON) -m venv $(VENV)
	@# uv, itself one of the pinned packages, installs the others in less time than pip, which takes over where uv cannot.
	@awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

repro: install  ## run the whole pipeline: download, prepare, train, evaluate, report, register
	dvc repro
	@echo
	@echo "scores      dvc metrics show          pictures  models/evaluation/samples.png"
	@echo "tracking    make ui                   registry  .venv/bin/python -m src.registry list"
	@echo "images      .venv/bin/python -m src.sample --model gan-fashion-mnist@champion --label 9 --count 16 --out boots.png"

test: install  ## run the quick tests, in two processes
	pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-all: install  ## run all tests, with the slow ones: kills, every combination, server outages
	pytest -n $(WORKERS) --dist loadfile

kill: install  ## kill a run 50 times, and compare its bits with those of an uninterrupted one
	pytest tests/training/test_resume.py -k fifty

lint: install  ## check format, lint, types and layers
	ruff format --check .
	ruff check .
	mypy
	lint-imports --no-cache

format: install  ## format the code and put right what ruff can
	ruff format .
	ruff check --fix .

ui: install  ## open the MLflow UI on the project's store at http://127.0.0.1:5000
	mlflow ui --backend-store-uri sqlite:///$(CURDIR)/mlruns/mlflow.db --port $(PORT)

serve: install  ## serve images of MODEL (the champion) at http://127.0.0.1:5001/invocations
	python -m src.serve $(MODEL)

lock: install  ## renew requirements.lock and packages.yaml from pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --group dev pyproject.toml -o requirements.lock
	python -m src.stages --write
