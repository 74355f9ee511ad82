# Every target sets up what it needs, once: .venv (Python), node_modules (the CDK CLI), .local (the local cloud).
# make itself exits with 2 when a command fails, whatever that command exits with (GNU make).
# ARGS reaches the tool behind a target, e.g. make test-unit ARGS="-k models" or make deploy ARGS="--profile me".

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo local test test-unit test-faults test-contract test-report test-integration bench \
	openapi schema docs lint format lock clean synth deploy verify diff destroy

VENV := .venv
PYTHON := $(VENV)/bin/python
VENV_READY := $(VENV)/.ready
CDK_READY := node_modules/.ready
EXAMPLES_READY := examples/node_modules/.ready
TOOLS_READY := tools/node_modules/.ready
RECENT_PYTHON := import sys; sys.exit(sys.version_info < (3, 11))
RECENT_NODE := process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)

# The app of cdk.json runs under the python3 that comes first on the path.
CDK := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" node_modules/.bin/cdk --no-notices
# Resources that an earlier stack of this name left, such as its tables, become part of the new one.
IMPORT_KEPT := --import-existing-resources
# Node 20 works; long warnings that it is old would hide the output.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20
export NODE_NO_WARNINGS := 1

# pip's --user, which some set for good, fails inside a virtual environment.
PIP := PIP_USER=0 $(PYTHON) -m pip install --quiet --disable-pip-version-check
PYTEST := $(PYTHON) -m pytest
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' --no-emit-package marketplace-metering-api

define NEWLINE


endef
# A line break, such as those of a file with parameters, would end the command.
override ARGS := $(subst $(NEWLINE), ,$(ARGS))

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' \
		| awk -F '|' '{printf "  make %-18s %s\n", $$1, $$2}'

demo: $(VENV_READY) $(CDK_READY) ## Deploy to a local cloud, and show usage from the HTTP request to the table
	@$(PYTHON) -m tools.local_cloud demo

local: $(VENV_READY) $(CDK_READY) ## Deploy to a local cloud that stays up until Ctrl-C, for your own curl
	@$(PYTHON) -m tools.local_cloud up

test: test-unit test-integration ## Run all tests

test-unit: $(VENV_READY) ## Run the tests that need no server
	$(PYTEST) tests/unit --numprocesses=auto --cov --cov-report=term:skip-covered $(ARGS)

test-faults: $(VENV_READY) ## Run more than 10,000 schedules of injected faults; takes minutes
	$(PYTEST) tests/unit/faults --numprocesses=auto --dist=worksteal --hypothesis-profile=faults $(ARGS)

test-contract: $(VENV_READY) $(CDK_READY) ## Test the deployed API against its contract, with 500 examples per operation
	CONTRACT_EXAMPLES=500 $(PYTEST) tests/integration/test_contract.py $(ARGS)

test-report: $(VENV_READY) $(CDK_READY) $(TOOLS_READY) ## Compare report, lists and billed usage over 50,000 records; takes minutes
	REPORT_RECORDS=50000 REPORT_FOLDER=.local/usage-report $(PYTEST) tests/integration/test_usage_report.py tests/integration/test_report_page.py $(ARGS)

test-integration: $(VENV_READY) $(CDK_READY) $(EXAMPLES_READY) $(TOOLS_READY) ## Run the tests against a deployment to the local cloud
	$(PYTEST) tests/integration $(ARGS)

bench: $(VENV_READY) ## Compare the functions' speed with that of the usual code; takes minutes
	$(PYTHON) -m tools.benchmarks $(ARGS)

openapi: $(VENV_READY) ## Generate docs/openapi.json from the functions
	$(PYTHON) -m tools.openapi write

schema: $(VENV_READY) ## Generate docs/cdk.context.schema.json from the configuration's model
	$(PYTHON) -m tools.config_schema write

docs: $(VENV_READY) ## Show the API reference in a browser; "try it" works while make local is up
	@$(PYTHON) -m tools.openapi serve

lint: $(VENV_READY) $(TOOLS_READY) ## Check style, types, spelling, the OpenAPI document and the schema of the configuration
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/codespell
	$(PYTHON) -m tools.openapi check
	$(PYTHON) -m tools.config_schema check
	tools/node_modules/.bin/spectral lint --ruleset tools/openapi/spectral.yaml --fail-severity hint docs/openapi.json
	tools/node_modules/.bin/redocly lint --config tools/openapi/redocly.yaml docs/openapi.json

format: $(VENV_READY) ## Format the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lock: $(VENV_READY) ## Lock all packages after a change of pyproject.toml or requirements.txt; ARGS=--upgrade updates them
	$(LOCK) --group functions -o src/requirements.txt $(ARGS)
	$(LOCK) --group local-cloud -o tools/local_cloud/requirements.txt $(ARGS)
	$(LOCK) --group dev requirements.txt -o requirements-dev.txt $(ARGS)

clean: ## Remove what the other targets have installed and written, but not what is deployed
	rm -rf $(VENV) node_modules examples/node_modules tools/node_modules .local cdk.out \
		.coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

synth: $(VENV_READY) $(CDK_READY) ## Print the CloudFormation template
	@$(CDK) synth $(ARGS)

deploy: $(VENV_READY) $(CDK_READY) ## Deploy to AWS, with your credentials
	@$(PYTHON) -m checks.preflight deploy $(ARGS)
	@$(CDK) deploy --require-approval=any-change $(IMPORT_KEPT) $(ARGS)
	@echo 'Deployed. Check it now, with the same ARGS: make verify'

verify: $(VENV_READY) ## Check the deployment, without writing a billable record
	@$(PYTHON) -m checks.verify $(ARGS)

diff: $(VENV_READY) $(CDK_READY) ## Show what a deployment to AWS would change
	@$(PYTHON) -m checks.preflight diff $(ARGS)
	@$(CDK) diff $(IMPORT_KEPT) $(ARGS)

destroy: $(VENV_READY) $(CDK_READY) ## Delete the stack from AWS; tables and logs stay
	@$(PYTHON) -m checks.preflight destroy $(ARGS)
	@$(CDK) destroy $(ARGS)
	@echo 'Kept: the metering table, the idempotency table and the log groups, which hold what was billed; make deploy finds the tables again.'

# A .venv made by hand is used, unless its Python is too old. Python 3.13, the functions' own, is preferred.
$(VENV_READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c '$(RECENT_PYTHON)' 2>/dev/null || { \
		for python in python3.13 python3 python3.12 python3.11; do \
			if $$python -c '$(RECENT_PYTHON)' 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo 'Python 3.11 or newer is needed: https://www.python.org/downloads/' >&2; exit 1; \
		fi; \
		echo "Creating .venv with $$($$found --version) ..."; \
		$$found -m venv --clear $(VENV); \
	}
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m ensurepip >/dev/null # made by uv, it has no pip
	@echo 'Installing the Python packages into .venv (once; a minute or so) ...' >&2
	@$(PIP) --require-hashes -r requirements-dev.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(CDK_READY): package.json package-lock.json
	@node -e '$(RECENT_NODE)' 2>/dev/null || { \
		echo 'Node.js 20 or newer is needed, for the CDK CLI: https://nodejs.org/' >&2; exit 1; }
	@echo 'Installing the CDK CLI into node_modules (once) ...' >&2
	@npm ci --include=dev --no-audit --no-fund --loglevel=error >&2
	@touch $@

$(EXAMPLES_READY): examples/package.json examples/package-lock.json
	@echo 'Installing the packages of the Node.js example (once) ...'
	@npm ci --include=dev --prefix examples --no-audit --no-fund --loglevel=error
	@touch $@

$(TOOLS_READY): tools/package.json tools/package-lock.json tools/.npmrc
	@echo 'Installing the OpenAPI linters, and generators, signers and a browser for tests (once) ...'
	@npm ci --include=dev --prefix tools --no-audit --no-fund --loglevel=error
	@touch $@
