.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := bash

# Any Python from 3.8 on: it only sets up the real one.
PYTHON ?= $(or $(shell command -v python3),$(shell command -v python3.13),python)
RUN := .venv/bin/python -m
SAM := PATH="$(CURDIR)/.local/bin:$(PATH)" .local/sam/bin/sam

# A __pycache__ in layers/ or functions/ would look like a change to SAM's cache.
export PYTHONDONTWRITEBYTECODE := 1
export SAM_CLI_TELEMETRY := 0

.PHONY: help setup up chat logs status sam-local sam-invoke test soak check unit integration e2e lint audit format typecheck
.PHONY: bench openapi newman schemathesis secrets deploy destroy rotate-keys redrive reconcile build hooks clean
.PHONY: lock lock-layers lock-tools lock-node lock-bench

help: ## Show this list
	@awk -F ':.*## ' '/^##@/ {printf "%s\n%s\n", "", substr($$0, 5)} \
	  /^[a-z0-9 -]+:.*## / {sub(/ .*/, "", $$1); printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it on this machine

up: setup ## Run the whole system on this machine (PORT=8000, FRESH=1 forgets the data)
	@$(RUN) infra.local up $(if $(PORT),--port $(PORT)) $(if $(FRESH),--fresh)

chat: setup ## Chat with the running system in the terminal
	@$(RUN) infra.local chat

logs: setup ## Show what the functions logged (FN=ChatroomCreate for one of them)
	@$(RUN) infra.local logs $(FN)

status: setup ## Say what of it runs, and where
	@$(RUN) infra.local status

sam-local: setup ## Serve the API with `sam local`, in Docker, beside a running `make up` (PORT=3000)
	@$(RUN) infra.local sam-local $(if $(PORT),--port $(PORT))

sam-invoke: setup ## Invoke a function once in Docker (FN=ChatroomCreate; EVENT=file.json for one of yours)
	@$(RUN) infra.local sam-invoke $(or $(FN),$(error Say which function: make sam-invoke FN=ChatroomCreate)) $(EVENT)

##@ Check and change it

# Two processes of tests: one has the system that the end-to-end tests share, which keeps it as long
# as all else does the other. More of them gain little, and load what has deadlines to keep. With
# ARGS it is one, which sooner begins with a few tests; ARGS="-n 2 -x" has two all the same.
PARALLEL = $(if $(ARGS),,-n 2)

test: setup ## Run every test: unit, integration, end-to-end (ARGS="tests/unit/test_api.py -k json")
	@$(RUN) pytest $(PARALLEL) $(ARGS)

soak: setup ## Run what is other at each run: long lives of a user's rooms (two minutes)
	@$(RUN) pytest tests -m soak $(ARGS)

check: lint typecheck audit ## Format, lint, types, audits, unit and integration tests but the exhaustive
	@$(RUN) pytest tests/unit tests/integration -m "not exhaustive and not soak" $(PARALLEL) $(ARGS)

unit integration e2e: setup ## Run the tests of one kind: unit, integration or e2e (ARGS="-k quota")
	@$(RUN) pytest tests/$@ $(PARALLEL) $(ARGS)

lint: setup ## Check format, code and template
	@$(RUN) ruff format --check --quiet . || { echo "Not formatted as it should be: run 'make format'."; exit 1; }
	@$(RUN) ruff check --quiet . && .venv/bin/cfn-lint template.yaml infra/*.yaml

audit: setup ## Check templates, code, workflows, licences, and for known vulnerabilities
	@$(PYTHON) infra/setup.py --only checks && $(RUN) infra.audit

format: setup ## Format the code and mend what can be mended
	@$(RUN) ruff check --quiet --fix-only . ; $(RUN) ruff format .

typecheck: setup ## Check types, strictly
	@$(RUN) mypy

bench: setup ## Measure everything against its references and write BENCHMARKS.md (12 minutes)
	@PYTHONPATH=layers/core $(RUN) tests.bench $(ARGS)

openapi: setup ## Write the API's documents anew from its code: openapi.json and the Postman collection
	@PYTHONPATH=layers/core $(RUN) infra.openapi

newman: setup ## Walk the Postman collection's journey (URL=http://127.0.0.1:8000)
	@$(PYTHON) infra/setup.py --only newman
	@.local/newman/node_modules/.bin/newman run functions/docs_asset/postman.json --folder Journey --bail --env-var "baseUrl=$(or $(URL),http://127.0.0.1:8000)"

schemathesis: setup ## Try the API out from its document for MINUTES=10 (URL=… for another than the local one)
	@PYTHONPATH=layers/core $(RUN) tests.fuzz --minutes $(or $(MINUTES),10) $(if $(URL),--url $(URL)) $(if $(SEED),--seed $(SEED))

##@ On AWS (DEPLOYING.md, RUNBOOK.md)

secrets: setup ## Put a stage's secrets into SSM, without showing them (STAGE=dev)
	@PYTHONPATH=layers/core $(RUN) infra.stages.put_secrets $(or $(STAGE),dev)

deploy: setup ## Deploy a stage to AWS, after showing the plan (STAGE=dev; YES=1 does not ask)
	@PYTHONPATH=layers/core $(RUN) infra.stages.deploy $(or $(STAGE),dev) $(if $(YES),--yes) $(if $(ROLE),--role $(ROLE))

destroy: setup ## Delete a stage from AWS with all its data; never prod (STAGE=dev)
	@PYTHONPATH=layers/core $(RUN) infra.stages.destroy $(or $(STAGE),dev)

rotate-keys: setup ## Put a new signing key in the place of the old, in two runs (STAGE=local)
	@PYTHONPATH=layers/core $(RUN) infra.stages.rotate_signing_keys $(or $(STAGE),local)

redrive: setup ## Queue the prompts among the dead letters again (STAGE=local; DRY=1 only says so)
	@PYTHONPATH=layers/core $(RUN) infra.stages.redrive $(or $(STAGE),local) $(if $(DRY),--dry-run)

reconcile: setup ## Compare all who pay with Stripe now (STAGE=local; DRY=1 only says what it would mend)
	@$(RUN) infra.stages.reconcile $(or $(STAGE),local) $(if $(DRY),--dry-run)

##@ This folder

setup: ## Make the Python environments (every target that needs them does)
	@$(PYTHON) infra/setup.py

build: setup ## Build functions and layers as for a deployment, into .aws-sam
	@$(SAM) build

hooks: setup ## Have git run format and lint before each commit
	@$(RUN) pre_commit install

clean: ## Delete everything made here: environments, builds, local data
	rm -rf .venv .local .aws-sam .hypothesis

# A uv that pip's settings do not reach: an index of this machine has no place in the hashes.
COMPILE = .local/uv/bin/uv pip compile --quiet --python-version 3.13 --python-platform linux \
	--generate-hashes --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
PINNED = -c layers/core/requirements.txt
IN_CORE = $(shell sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' layers/core/requirements.txt)
OURS = --group core --group gemini --group stripe

lock: setup ## Compile the requirements from pyproject.toml (UPGRADE=1 takes newer releases)
	$(COMPILE) --group core -o layers/core/requirements.txt
	@$(MAKE) lock-layers lock-tools lock-bench

lock-layers:
	$(COMPILE) --group gemini $(PINNED) $(IN_CORE) -o layers/gemini/requirements.txt
	$(COMPILE) --group stripe $(PINNED) $(IN_CORE) -c layers/gemini/requirements.txt -o layers/stripe/requirements.txt

lock-tools:
	$(COMPILE) --group dev $(OURS) $(PINNED) -c layers/gemini/requirements.txt -c layers/stripe/requirements.txt -o infra/requirements/dev.txt
	@for tool in ministack sam schemathesis python-client checks uv; do $(COMPILE) --group $$tool -o infra/requirements/$$tool.txt || exit; done

lock-node: # without the registry's address: .npmrc there excludes it
	@for tool in newman typescript-client; do (cd infra/requirements/$$tool && npm install --package-lock-only --ignore-scripts --no-audit --no-fund) || exit; done

lock-bench:
	@for tree in runtime powertools fastapi; do $(COMPILE) $(PINNED) -c layers/gemini/requirements.txt -c layers/stripe/requirements.txt tests/bench/requirements/$$tree.in -o tests/bench/requirements/$$tree.txt || exit; done
