# nafx-rack: `make run` plays, `make test` proves. `make help` lists the rest.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)
TESTS ?=
BENCH ?=
PROOF ?=
MODELS ?=
FUZZ ?=
SOAK ?= --seconds 60 --block 64 --rack nemo

.PHONY: help env run test test-slow lint lock bench-env bench quality models soak beside fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

env: $(STAMP) ## make .venv with what running and testing need

$(STAMP): requirements.lock pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "nafx-rack needs Python 3.11 or newer, and there is none on the PATH;" \
		"install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version) (once; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made;" \
		"on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

run: env ## start the rack, or attach to the one that plays
	@$(BIN)/nafx-rack

# Without byte code on disk every process that a test starts would compile the sources again.
test: env ## run the tests; TESTS="-k gate" runs some of them
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(TESTS)

test-slow: env ## the tests that train for minutes or start everything at once
	@$(BIN)/python -m pytest -m slow -n 1 $(TESTS)

lint: env ## ruff and pyright
	@$(BIN)/ruff check .
	@$(BIN)/pyright

bench-env: env ## add what the benchmarks compare with: torch (CPU build) and onnxruntime
	@$(PIP) install --require-hashes -r requirements-bench.lock
	@$(PIP) install torch==2.13.0

quality: env ## train on real recordings and print the figures (hours); PROOF="klon --scale 0.1" runs some of it
	@$(BIN)/python -m tests.trainer.prove_quality $(PROOF)

models: env ## train the shipped models again (an hour); MODELS="klon-overdrive --recordings FOLDER" some of them
	@$(BIN)/python assets/make/models.py $(MODELS)

bench: env ## nanoseconds per sample, into BENCHMARKS.md; BENCH="--quick --models lstm16" is passed on
	@$(BIN)/nafx-rack bench --json --markdown BENCHMARKS.md $(BENCH)

soak: env ## run the engine for a minute and report late blocks; SOAK="--block 256" asks otherwise
	@$(BIN)/nafx-rack soak --json $(SOAK)

beside: env ## late blocks and keys while a steering job runs, on JACK's dummy driver; BESIDE="--blocks 256"
	@$(BIN)/python -m tests.rack.prove_beside $(BESIDE)

RESOLVE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" --quiet
lock: ## resolve the two lock files again (needs uv; versions already locked are kept)
	@$(RESOLVE) pyproject.toml $(addprefix --extra ,test lint postgres pictures build) -o requirements.lock
	@printf 'onnx\nonnxruntime\nfilelock\nfsspec\njinja2\nnetworkx\nsympy>=1.13.3\n' | \
		$(RESOLVE) - -c requirements.lock -o requirements-bench.lock

fuzz: env ## 100,000 broken model files: no crash, no hang, nothing run; FUZZ="--cases 1000" asks for fewer
	@$(BIN)/python -m tests.jaxmodels.prove_parsers $(FUZZ)

clean: ## remove what was made here, .venv included
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
