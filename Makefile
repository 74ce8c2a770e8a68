.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := bash

# Any Python from 3.8 on; it only installs Python 3.13 and the tools.
PYTHON ?= $(or $(shell command -v python3),$(shell command -v python3.13),python)
RUN := .venv/bin/python -m
# `make up` needs a tenth of the packages, unless it asks Google for the models that a key may use.
UP := $(if $(GEMINI_API_KEY),dev,run)
RUN_UP := $(if $(GEMINI_API_KEY),.venv,.local/run)/bin/python -m
ON_AWS := $(filter-out local,$(STAGE))
RUN_WITH_CORE := PYTHONPATH=layers/core $(RUN)
SAM := PATH="$(CURDIR)/.local/bin:$(PATH)" .local/sam/bin/sam

# SAM's cache would treat a __pycache__ in layers/ or functions/ as a change.
export PYTHONDONTWRITEBYTECODE := 1
export SAM_CLI_TELEMETRY := 0

.PHONY: help setup up chat chaos logs status sam-local sam-invoke test soak check unit integration e2e engines lint audit format typecheck
.PHONY: picture bench openapi newman schemathesis secrets deploy destroy rotate-keys admin reconcile restore models build hooks clean
.PHONY: setup-up local-only lock lock-layers lock-tools lock-node lock-bench

help: ## Show this list
	@awk -F ':.*## ' '/^##@/ {printf "%s\n%s\n", "", substr($$0, 5)} \
	  /^[a-z0-9 -]+:.*## / {sub(/ .*/, "", $$1); printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it on this machine

up: setup-up local-only ## Run the whole system on this machine (PORT=8000; FRESH=1 deletes its data; PARAMETERS="Titles=false …")
	@$(RUN_UP) infra.local up $(if $(PORT),--port '$(PORT)') $(if $(FRESH),--fresh) $(if $(PARAMETERS),--parameters "$$PARAMETERS")

chat: setup-up local-only ## Chat with the running system in the terminal
	@$(RUN_UP) infra.local chat

chaos: setup-up local-only ## Use the running system while its parts fail, and audit the data (MINUTES=2, SEED=…)
	@PYTHONPATH=layers/core $(RUN_UP) infra.local chaos $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(SEED),--seed '$(SEED)')

logs: setup-up ## Show the newest log lines (FN=ChatroomCreate for one function; STAGE=local)
	@$(RUN_UP) $(if $(ON_AWS),infra.stages.logs $(STAGE),infra.local logs) $(FN)

status: setup-up ## Show the addresses of the system, and the health of a stage on AWS (STAGE=local)
	@$(RUN_UP) $(if $(ON_AWS),infra.stages.status $(STAGE),infra.local status)

sam-local: setup local-only ## Serve the API with `sam local` in Docker, next to `make up` (PORT=3000)
	@$(RUN) infra.local sam-local $(if $(PORT),--port $(PORT))

sam-invoke: setup local-only ## Invoke a function once in Docker (FN=ChatroomCreate; EVENT=file.json)
	@$(RUN) infra.local sam-invoke $(or $(FN),$(error FN is missing, for example: make sam-invoke FN=ChatroomCreate)) $(EVENT)

local-only:
	@$(if $(ON_AWS),echo "make $(MAKECMDGOALS) is for the system on this machine and takes no STAGE." >&2; exit 2)

##@ Check and change it

# End-to-end tests mostly wait, so two of three test processes run them, each with a system of its
# own, and then help the third, which runs the other tests: each of these keeps a core busy. With
# ARGS there is one process, which starts a few tests sooner; ARGS="-n 2 -x" has two.
PROCESSES = 2
test e2e: PROCESSES = 3
PARALLEL = $(if $(ARGS),,-n $(PROCESSES))

test: setup ## Run all tests (ARGS="tests/unit/test_api.py -k json" for some)
	@$(RUN) pytest $(PARALLEL) $(ARGS)

soak: setup ## Run the tests that take too long for `make test`: random sequences and complete enumerations
	@$(RUN) pytest tests -m soak $(ARGS)

check: lint typecheck audit ## Run lint, typecheck, audit, and the faster unit and integration tests
	@$(RUN) pytest tests/unit tests/integration -m "not exhaustive and not soak" $(PARALLEL) $(ARGS)

unit integration e2e: setup ## Run the unit tests; also: make integration, make e2e (ARGS="-k quota"; ENGINE=dynamodb-local)
	@$(if $(ENGINE),ENGINE=$(ENGINE)) $(RUN) pytest tests/$@ $(PARALLEL) $(ARGS)

engines: setup ## Run the integration tests on MiniStack and on DynamoDB Local (ARGS="-k quota")
	@$(MAKE) integration && $(MAKE) integration ENGINE=dynamodb-local ARGS='$(PARALLEL) -m "not exhaustive and not soak" $(ARGS)'

lint: setup ## Check the format, the code and the templates
	@$(RUN) ruff format --check --quiet . || { echo "Some files are not formatted. Run: make format"; exit 1; }
	@$(RUN) ruff check --quiet . && .venv/bin/cfn-lint template.yaml infra/*.yaml

audit: setup ## Check templates, code, workflows, licences and known vulnerabilities
	@$(PYTHON) infra/setup.py --only checks && $(RUN) infra.audit

format: setup ## Format the code and fix what can be fixed automatically
	@$(RUN) ruff check --quiet --fix-only . ; $(RUN) ruff format .

typecheck: setup ## Check the types
	@$(RUN) mypy

picture: setup ## Take the picture of the console for the README
	@PICTURE=1 $(RUN) pytest tests/e2e/test_console.py -k picture

bench: setup ## Measure speed, size and cost, and write BENCHMARKS.md (17 minutes)
	@$(RUN_WITH_CORE) tests.bench $(ARGS)

openapi: setup ## Generate openapi.json and the Postman collection from the code
	@$(RUN_WITH_CORE) infra.openapi

newman: setup-up ## Run the journey of the Postman collection (URL=…; default: the running system)
	@$(PYTHON) infra/setup.py --only newman
	@url=$(or $(URL),$$($(RUN_UP) infra.local url)) && \
	  .local/newman/node_modules/.bin/newman run functions/docs_asset/postman.json --folder Journey --bail --env-var "baseUrl=$$url"

schemathesis: setup ## Fuzz the API from its OpenAPI document (MINUTES=10, URL=…, SEED=…)
	@$(PYTHON) infra/setup.py --only schemathesis
	@$(RUN_WITH_CORE) tests.fuzz --minutes $(or $(MINUTES),10) $(if $(URL),--url $(URL)) $(if $(SEED),--seed $(SEED))

##@ On AWS (DEPLOYING.md, RUNBOOK.md)

secrets: setup ## Store a stage's secrets in SSM without showing them (STAGE=dev)
	@$(RUN_WITH_CORE) infra.stages.put_secrets $(or $(STAGE),dev)

deploy: setup ## Show the changes, ask for confirmation, and deploy a stage to AWS (STAGE=dev; YES=1 does not ask)
	@$(RUN_WITH_CORE) infra.stages.deploy $(or $(STAGE),dev) $(if $(YES),--yes) $(if $(ROLE),--role $(ROLE)) $(if $(REPLACE),--replace $(REPLACE))

destroy: setup ## Delete a stage with all its data from AWS; prod is refused (STAGE=dev)
	@$(RUN_WITH_CORE) infra.stages.destroy $(or $(STAGE),dev)

rotate-keys: setup ## Replace the key that signs tokens, in two runs (STAGE=local)
	@$(RUN_WITH_CORE) infra.stages.rotate_signing_keys $(or $(STAGE),local)

admin: setup ## Help a user: ARGS="show ann@example.com"; ARGS=--help lists the acts (STAGE=local)
	@$(RUN_WITH_CORE) infra.stages.admin $(or $(STAGE),local) $(ARGS)

reconcile: setup ## Compare all subscriptions with Stripe now (STAGE=local; DRY=1 changes nothing)
	@$(RUN_WITH_CORE) infra.stages.reconcile $(or $(STAGE),local) $(if $(DRY),--dry-run)

restore: setup ## Restore tables to an earlier moment (STAGE=dev AT=2026-11-25T12:00:00Z; TABLES="…", DRY=1)
	@$(RUN) infra.stages.restore $(or $(STAGE),dev) $(or $(AT),$(error AT is missing, for example: make restore AT=2026-11-25T12:00:00Z)) $(TABLES) $(if $(DRY),--dry-run) $(if $(YES),--yes)

models: setup ## Compare the catalogue of models with Google's list (GEMINI_API_KEY=…; STAGE=dev)
	@$(RUN_WITH_CORE) infra.stages.check_models $(STAGE)

##@ This folder

setup: ## Install Python, packages and tools (other targets do this themselves)
	@$(PYTHON) infra/setup.py

setup-up: # what `make up` needs, without the tests and their tools
	@$(PYTHON) infra/setup.py --only $(UP) ministack sam

build: setup ## Build functions and layers for a deployment, into .aws-sam
	@$(SAM) build

hooks: setup ## Install git hooks that run format and lint before each commit
	@$(RUN) pre_commit install

clean: ## Delete everything that was generated: environments, builds, local data
	rm -rf .venv .local .aws-sam .hypothesis

# This uv ignores pip's settings: the hashes must not depend on an index of this machine.
COMPILE = .local/uv/bin/uv pip compile --quiet --python-version 3.13 --python-platform linux \
	--generate-hashes --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
PINNED = -c layers/core/requirements.txt
# The core layer leaves typing_extensions out, so the other layers bring it.
IN_CORE = $(shell sed -n '/^typing-extensions/d; s/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' layers/core/requirements.txt)
OURS = --group core --group gemini --group stripe

lock: setup ## Pin the requirements in pyproject.toml with hashes (UPGRADE=1 for newer releases)
	$(COMPILE) --group core -o layers/core/requirements.txt
	@$(MAKE) lock-layers lock-tools lock-bench

lock-layers:
	$(COMPILE) --group gemini $(PINNED) $(IN_CORE) -o layers/gemini/requirements.txt
	$(COMPILE) --group stripe $(PINNED) $(IN_CORE) -c layers/gemini/requirements.txt -o layers/stripe/requirements.txt

lock-tools:
	$(COMPILE) --group dev $(OURS) $(PINNED) -c layers/gemini/requirements.txt -c layers/stripe/requirements.txt -o infra/requirements/dev.txt
	$(COMPILE) --group run -c infra/requirements/dev.txt -o infra/requirements/run.txt
	@for tool in ministack sam schemathesis python-client java checks uv; do $(COMPILE) --group $$tool -o infra/requirements/$$tool.txt || exit; done

lock-node: # .npmrc in each folder leaves out the address of the registry
	@for tool in axe newman typescript-client dynamodb-local; do (cd infra/requirements/$$tool && npm install --package-lock-only --ignore-scripts --no-audit --no-fund) || exit; done

lock-bench:
	@for tree in runtime powertools fastapi; do $(COMPILE) $(PINNED) -c layers/gemini/requirements.txt -c layers/stripe/requirements.txt tests/bench/requirements/$$tree.in -o tests/bench/requirements/$$tree.txt || exit; done
