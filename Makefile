# SPDX-License-Identifier: GPL-3.0-or-later
# `make help` lists the targets. Needs Python >= 3.11 (PYTHON=… selects one) and access to package registries, nothing else.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help bench chaos permissions demo test venv lock lint unit house contract integration molecule binary bench-limits cluster-up cluster-down cluster-status docs roles format clean

RUN := .venv/bin/python tests/house/steps.py
CLUSTER := .venv/bin/python -m tests.cluster
NAME ?= dev
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: venv ## see it work: real Kubernetes control plane, push and pull, idempotence, refusals (VERBOSE=1: the whole output)
	@.venv/bin/python -m tests.demo

test: venv ## run everything: lint, house, unit, contract, integration, Molecule
	@$(RUN) lint house unit binary contract integration molecule

lint: venv ## run ruff, mypy, yamllint, ansible-lint, documentation and changelog checks, collection build
	@$(RUN) lint
house: venv ## check that the repository agrees with itself (specs, defaults, READMEs, action group, links, locks)
	@$(RUN) house
unit: venv ## test the pure functions
	@$(RUN) unit
contract: venv ## test the operator simulator against recordings of the real one
	@$(RUN) contract
integration: venv ## test the modules on the embedded cluster
	@$(RUN) integration
molecule: venv ## test the roles on the embedded cluster
	@$(RUN) molecule
binary: venv ## build the embedded cluster's binary (once; takes minutes)
	@$(RUN) binary

chaos: venv ## faults, kills, restarts, concurrent writers, hostile inputs: 12 minutes at most (SEED=… repeats a run)
	@PYTHONPATH=$(CURDIR):$(CURDIR)/tests/collections .venv/bin/python -m tests.chaos $(if $(SEED),--seed $(SEED))

bench-limits: venv ## measure image_limits with 1,000 namespaces
	@.venv/bin/python -m tests.bench.limits

cluster-up: venv ## start an embedded cluster to play with (NAME=dev); prints its kubeconfig
	@$(CLUSTER) up --name $(NAME)
cluster-down: venv ## stop it
	@$(CLUSTER) down --name $(NAME)
cluster-status: venv ## show its addresses, processes and memory
	@$(CLUSTER) status --name $(NAME)

venv: ## create the Python environment .venv, exactly as locked
	@requirements/venv.sh
lock: venv ## lock the newest allowed versions in requirements/*.txt
	@PATH="$(CURDIR)/.venv/bin:$$PATH" requirements/lock.sh

roles: venv ## generate the roles' specs, defaults and README tables from the modules' documentation
	@.venv/bin/python -m tests.house.role_files

permissions: venv ## record at the wire what each module needs, and generate docs/permissions from it
	@RECORD_PERMISSIONS=1 .venv/bin/python -m pytest -q tests/integration/test_permissions.py -k committed
	@PYTHONPATH=$(CURDIR):$(CURDIR)/tests/collections .venv/bin/python -m tests.house.permissions

format: venv ## format the Python sources
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .
bench: venv ## measure how fast it is, as ratios within one run (takes minutes; best on an idle machine)
	@PYTHONPATH=$(CURDIR):$(CURDIR)/tests/collections .venv/bin/python -m tests.bench
docs: venv ## build the module and role reference in .cache/docs
	@requirements/docs.sh
clean: ## remove what was generated here (the cluster's binary stays in the user's cache)
	@rm -rf .cache .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible alauda-image_registry-*.tar.gz
	@echo "==> clean"
