.DEFAULT_GOAL := help
SHELL := bash
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.local/sam/bin:$(CURDIR)/.local/bin:$(PATH)

LOCK = .local/uv/bin/uv pip compile --quiet --python-version 3.13 --python-platform linux --generate-hashes --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
CORE = -c layers/core/requirements.txt $(shell sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' layers/core/requirements.txt)
LAYERS = -c layers/core/requirements.txt -c layers/gemini/requirements.txt -c layers/stripe/requirements.txt

lock: ## Compile the requirements from pyproject.toml, with hashes (UPGRADE=1 takes newer releases)
	$(LOCK) --group core -o layers/core/requirements.txt
	$(MAKE) --no-print-directory lock-layers lock-tools
lock-layers:
	$(LOCK) --group gemini $(CORE) -o layers/gemini/requirements.txt
	$(LOCK) --group stripe $(CORE) -c layers/gemini/requirements.txt -o layers/stripe/requirements.txt
lock-tools:
	for g in core gemini stripe; do groups="$$groups --group $$g"; done; $(LOCK) $$groups --group dev $(LAYERS) -o infra/local/requirements/dev.txt
	for g in ministack sam uv; do $(LOCK) --group $$g -o infra/local/requirements/$$g.txt || exit; done
