# Every target makes the environment first if it is missing. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export OMP_NUM_THREADS := 1
READY := .venv/.ready
RUNNER_HOME ?= $(CURDIR)/.home

$(READY): pyproject.toml constraints.txt
	@test -x .venv/bin/python || $${PYTHON:-python3} -m venv .venv
	pip install --quiet --upgrade pip
	pip install --quiet --constraint constraints.txt --editable '.[research,dev]'
	python -m core.warm
	@touch $@

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-22s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(READY) ## Environment with pinned packages in .venv

.PHONY: repro
repro: $(READY) ## The whole graph, the verdict, the promotion; exits 0 on any verdict
	dvc repro
	@python -m gates promote || { code=$$?; [ $$code -eq 10 ] || [ $$code -eq 20 ] || exit $$code; }
	@echo
	@echo "Tearsheet  artifacts/gate/report.html"
	@echo "Verdict    artifacts/gate/verdict.json     (python -m gates explain)"
	@echo "Runs       make ui                          (MLflow on http://127.0.0.1:5000)"
	@echo "Trade it   make paper"

.PHONY: paper
paper: $(READY) ## Trade the promoted bundle on paper over its last test fold, then replay it
	@mkdir -p $(RUNNER_HOME)
	python -m gates keys export --to $(RUNNER_HOME)/trust
	runner paper --home $(RUNNER_HOME) --bundle models/promoted --tape $$(ls -d artifacts/calibrated/fold_* | sort -V | tail -1)/fold.tape
	runner replay --home $(RUNNER_HOME)
	runner ledger verify --home $(RUNNER_HOME)

.PHONY: paper-exchange
paper-exchange: $(READY) ## An exchange on this machine with a demo key: make paper-exchange VENUE=binance PORT=8100
	python -m tests.doubles --venue $(or $(VENUE),kraken) --port $(or $(PORT),8100)

.PHONY: test
test: $(READY) ## The whole test suite
	pytest -n 2 --dist loadgroup

.PHONY: lint
lint: $(READY) ## Format, lint, types, layers
	ruff format --check .
	ruff check .
	mypy
	lint-imports

.PHONY: bench
bench: $(READY) ## Benchmarks: core, features, model step, pipeline
	@for bench in tests/benchmarks/bench_*.py; do echo "== $$bench"; python -m tests.benchmarks.$$(basename $$bench .py); done

.PHONY: ui
ui: $(READY) ## MLflow on http://127.0.0.1:5000
	@echo "open http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

.PHONY: rollback-model
rollback-model: $(READY) ## Point models/promoted at an earlier version: make rollback-model TAG=v1.0.0
	@test -n "$(TAG)" || { echo "which version? make rollback-model TAG=v1.0.0 (python -m gates history lists them)"; exit 30; }
	python -m gates rollback $(TAG)

.PHONY: clean
clean: ## Remove build outputs; keeps the environment, promoted models and runner homes
	rm -rf artifacts build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
