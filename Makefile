# The verbs of Headrace. Needs Python 3.11, 3.12 or 3.13, and make; everything else it sets up itself, in .uv and .venv.
SHELL := /bin/sh
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
UV := .uv/bin/uv
PYTHON := .venv/bin/python
READY := .venv/.ready
PEERS := .venv-peers/.ready
CLOUD := .venv-cloud/.ready

export PYTHONPATH := $(CURDIR):$(CURDIR)/shared
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE := copy
export SAM_CLI_TELEMETRY := 0

.PHONY: help run run-lambda test test-all soak lint format bench calibrate evaluate questions cache key ledger grammar backfill verify rebuild reindex redrive validate build deploy smoke destroy cost clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: $(READY) ## Run everything on this machine: S3, queue, Redis, vector engine and the functions
	@$(PYTHON) -m infra.local

run-lambda: $(READY) ## The same, with each function as a Lambda process behind a local function URL
	@$(PYTHON) -m infra.local --lambda

test: $(READY) lint ## Check style, types and behaviour
	@$(PYTHON) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-all: test $(CLOUD) ## The same, other people's clients, and a deployment into an emulator of AWS
	@HEADRACE_TEST_ALL=1 $(PYTHON) -m pytest tests/clients tests/cloud

lint: $(READY) ## Check style and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: $(READY) ## Put the code into the house style
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

soak: $(READY) ## The random tests of `make test`, many more of them (an hour)
	@HEADRACE_SOAK=1 $(PYTHON) -m pytest tests/retrieval tests/contract/test_filters_agree.py tests/functions/test_chaos.py tests/functions/test_cache_truth.py tests/functions/test_isolation.py tests/contract/test_every_word.py tests/functions/test_llama_server.py

bench: $(READY) $(PEERS) ## Measure: prints tables, asserts nothing (BENCH=chat: one of them)
	@$(PYTHON) -m tests.bench $(BENCH)

calibrate: $(READY) ## How often the cache's judge is right with near questions (FAMILIES=file: yours; PRECISION=0.99: at least)
	@$(PYTHON) -m infra.calibration $(if $(FAMILIES),--families "$(FAMILIES)") $(if $(PRECISION),--precision $(PRECISION))

evaluate: $(READY) ## How good the answers are: a set of questions asked, scored, compared (SET=mine.jsonl ARGS='--save a.json', '--against a.json --bar facts=0.9')
	@$(PYTHON) -m infra.evaluation $(if $(SET),--set "$(SET)") $(if $(URL),--url "$(URL)") $(ARGS)

questions: $(READY) ## Collect questions for an evaluation: FROM=documents (a model asks) or feedback (COUNT=20 OUT=mine.jsonl URL=…)
	@$(PYTHON) -m infra.questions $(or $(FROM),documents) $(if $(COUNT),--count $(COUNT)) $(if $(OUT),--out "$(OUT)") $(if $(URL),--url "$(URL)")

cache: $(READY) ## Look into the running stack's answer cache: ACTION=stats, sweep, invalidate, warm or flush (ARGS='{…}')
	@$(PYTHON) -m infra.local.operate cache $(or $(ACTION),stats) $(if $(ARGS),--args '$(ARGS)')

key: $(READY) ## API keys, of STAGE=… too: ACTION=create, list or revoke (ARGS='--tenant acme --groups hr --role writer --days 90', or the key's id)
	@$(PYTHON) -m infra.local.operate key $(or $(ACTION),list) $(ARGS)

grammar: $(READY) ## Compile a program of guidance to what structured_outputs takes (PROGRAM=my_programs.py:verdict)
	@$(UV) run --quiet --no-project --isolated --python .venv/bin/python --with guidance==0.3.1 python -m headrace.constrained.guidance $(PROGRAM)

ledger: $(READY) ## The answers' records, of STAGE=… too: ACTION=usage, write or forget (ARGS='{"tenant": "default", "principal": "…"}')
	@$(PYTHON) -m infra.local.operate cache $(or $(ACTION),usage) $(if $(ARGS),--args '$(ARGS)')

backfill: $(READY) ## Enqueue what lies in the bucket and was not read at its present version (PREFIX=documents/…)
	@$(PYTHON) -m infra.local.operate backfill $(if $(PREFIX),--prefix "$(PREFIX)")

verify: $(READY) ## Hold bucket, registry and store against each other (REPAIR=1 mends what differs)
	@$(PYTHON) -m infra.local.operate verify $(if $(REPAIR),--repair)

rebuild: $(READY) ## Make a lost document registry whole again from bucket and store
	@$(PYTHON) -m infra.local.operate rebuild

reindex: $(READY) ## Move every document to the embedding model that EMBEDDING_MODEL names
	@$(PYTHON) -m infra.local.operate reindex

redrive: $(READY) ## Try once more every document that was given up
	@$(PYTHON) -m infra.local.operate redrive

validate: $(READY) ## Check template.yaml with sam
	@$(PYTHON) -m infra.aws validate

build: $(READY) ## Build the Lambda artifacts into .aws-sam (ARCHITECTURE=x86_64)
	@$(PYTHON) -m infra.aws build $(if $(ARCHITECTURE),--architecture $(ARCHITECTURE))

deploy: $(READY) ## Build, and deploy a stage to your AWS account (STAGE=dev PARAMETERS='Auth=api_keys AlarmEmail=you@…')
	@$(PYTHON) -m infra.aws deploy --stage $(or $(STAGE),dev) $(if $(BUILT),--built)

smoke: $(READY) ## Try a deployment out: upload, ask, remove (STAGE=dev, or URL=https://…)
	@$(PYTHON) -m infra.aws smoke $(if $(URL),--url $(URL),--stage $(or $(STAGE),dev))

destroy: $(READY) ## Take a stage down; says what stays (STAGE=dev)
	@$(PYTHON) -m infra.aws destroy --stage $(or $(STAGE),dev)

cost: $(READY) ## What a deployment costs a month (ARGS='--chats 60000 --hit-rate 0.3')
	@$(PYTHON) -m infra.aws cost $(ARGS)

clean: ## Remove the environment and the local state
	rm -rf .venv .venv-peers .venv-cloud .uv .headrace .aws-sam .chromium

# A suitable interpreter: PYTHON3 if given, else the first of these that runs and has venv.
$(READY): pyproject.toml uv.lock
	@python=""; for candidate in $(PYTHON3) python3 python3.13 python3.12 python3.11; do \
		if $$candidate -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; \
		then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "Headrace needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian: apt install python3-venv)." >&2; \
		echo "If you have one under another name, say: make $(MAKECMDGOALS) PYTHON3=/path/to/python" >&2; exit 1; fi; \
	echo "Setting up .venv with $$($$python --version) (once, about a minute) …" >&2; \
	$$python -m venv --clear .uv && \
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) && \
	$(UV) sync --frozen --quiet --python "$$(command -v $$python)" && touch $(READY)

# What the benches are measured against has needs that conflict with ours: an environment of its own.
$(PEERS): pyproject.toml uv.lock | $(READY)
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-peers $(UV) sync --frozen --quiet --no-default-groups --group peers \
		--python .venv/bin/python && touch $(PEERS)

# SAM's translator is not ready for our pydantic: it, and the emulator that is deployed into, have an environment of their own.
$(CLOUD): pyproject.toml uv.lock | $(READY)
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-cloud $(UV) sync --frozen --quiet --no-default-groups --group cloud \
		--python .venv/bin/python && touch $(CLOUD)
