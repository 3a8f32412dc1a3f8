# SPDX-License-Identifier: GPL-3.0-or-later
# `make help` lists what there is. Needs Python >= 3.11 (PYTHON=… chooses one) and the package registries, nothing else.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help bench demo test venv lock lint unit house contract integration molecule binary bench-limits cluster-up cluster-down cluster-status docs roles format clean

RUN := .venv/bin/python tests/house/steps.py
CLUSTER := .venv/bin/python -m tests.cluster
NAME ?= dev
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: venv ## the product at work: real Kubernetes control plane, push and pull, idempotence, a refusal
	@.venv/bin/python -m tests.demo

test: venv ## everything: lint, unit, contract, integration, Molecule
	@$(RUN) lint house unit binary contract integration molecule

lint: venv ## ruff, mypy, yamllint, ansible-lint, documentation, galaxy build
	@$(RUN) lint
house: venv ## the repository agrees with itself (specs, defaults, READMEs, action group, changelog)
	@$(RUN) house
unit: venv ## the pure parts
	@$(RUN) unit
contract: venv ## the operator simulator against the recordings
	@$(RUN) contract
integration: venv ## modules on the embedded cluster
	@$(RUN) integration
molecule: venv ## role and playbooks on the embedded cluster
	@$(RUN) molecule
binary: venv ## the embedded cluster's program (built once, minutes)
	@$(RUN) binary

bench-limits: venv ## figures of image_limits over 1,000 namespaces
	@.venv/bin/python -m tests.bench.limits

cluster-up: venv ## an embedded cluster to play with (NAME=dev), prints its kubeconfig
	@$(CLUSTER) up --name $(NAME)
cluster-down: venv ## stops it
	@$(CLUSTER) down --name $(NAME)
cluster-status: venv ## what it is doing
	@$(CLUSTER) status --name $(NAME)

venv: ## the Python environment .venv, exactly as locked
	@requirements/venv.sh
lock: venv ## newest allowed versions into requirements/dev.txt
	@PATH="$(CURDIR)/.venv/bin:$$PATH" requirements/lock.sh

roles: venv ## roles' specs, defaults and README tables from the modules' documentation
	@.venv/bin/python -m tests.house.role_files

format: venv ## formats Python sources
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .
bench: venv ## how fast it is, in ratios measured in one run (minutes; a calm machine is worth it)
	@PYTHONPATH=$(CURDIR):$(CURDIR)/tests/collections .venv/bin/python -m tests.bench
docs: venv ## module and role reference into .cache/docs
	@requirements/docs.sh
clean: ## removes what was made here (the built cluster program stays in the user's cache)
	@rm -rf .cache .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible alauda-image_registry-*.tar.gz
	@echo "==> clean"
