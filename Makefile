# puriflow: `make demo` shows it work, `make test` proves it; both set everything up themselves.
#   PYTHON=python3.12   which Python makes the virtual environment (3.11, 3.12 or 3.13)
#   MARKS=… ARGS=…      which tests, and any further arguments of pytest
#   IMAGES=… IMAGE_BASE=… IMAGE_ARGS=…   which images, from which Python image, with which further arguments of docker build
#   PURIFLOW_TEST_ENGINE=unix:///…       the container engine for images and their tests; default: docker's own

PYTHON ?= python3
MARKS ?= not slow and not gpu and not docker and not browser
ARGS ?=
WORKERS ?= 2
CONTAINER_MARKS ?= docker
IMAGES ?= flow stage
IMAGE_BASE ?= python:3.11-slim-bookworm
IMAGE_ARGS ?=
BIN := .venv/bin
READY := .venv/.ready

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
COMMIT = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
OCI := org.opencontainers.image
ENGINE = $(if $(PURIFLOW_TEST_ENGINE),DOCKER_HOST=$(PURIFLOW_TEST_ENGINE))

unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV CONDA_PREFIX PIP_USER PIP_TARGET PIP_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONNOUSERSITE := 1

.DEFAULT_GOAL := all
.PHONY: all help setup demo test check format versions docs bench images test-containers clean

all: check test  ## check, then test (what plain `make` does)

help:  ## list these targets
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(READY)  ## make .venv and install everything, pinned by constraints.txt

demo: $(READY)  ## clean a small data set from end to end and show what it brought (2 minutes)
	@$(BIN)/puriflow demo

test: $(READY)  ## run the tests (the default ones take at most 3 minutes on two cores)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "$(MARKS)" $(ARGS)

check: $(READY)  ## lint, format check, types, and who may import whom
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache --no-logo

format: $(READY)  ## put the code into its one form
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .

versions: $(READY)  ## record that you decided whether changed methods change their output
	@$(BIN)/python tests/architecture/test_versions.py

docs: $(READY)  ## write docs/configuration.md from the configuration classes
	@$(BIN)/python -m flows.reference docs/configuration.md

bench: $(READY)  ## rebuild the published tables (long)
	@for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

images:  ## build the container images puriflow-flow and puriflow-stage
	@for image in $(IMAGES); do \
	  $(ENGINE) docker build $(IMAGE_ARGS) --file docker/Dockerfile --target $$image --tag puriflow-$$image:$(VERSION) \
	    --build-arg BASE=$(IMAGE_BASE) --label $(OCI).base.name=$(IMAGE_BASE) --label $(OCI).title="puriflow $$image" \
	    --label $(OCI).licenses=Apache-2.0 --label $(OCI).version=$(VERSION) --label $(OCI).revision=$(COMMIT) . || exit 1; done

test-containers: $(READY)  ## test the images and the docker pools (`make images` first)
	@$(ENGINE) $(MAKE) --no-print-directory test MARKS="$(CONTAINER_MARKS)" WORKERS=1 ARGS="tests/docker $(ARGS)"

clean:  ## remove the virtual environment, the caches and what the demo wrote
	@rm -rf .venv build dist puriflow-demo ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

define PYTHON_CHECK
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"puriflow needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is {sys.version.split()[0]}. Name another one: make PYTHON=python3.12")
try:
    import ensurepip, venv
except ImportError:
    sys.exit("$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv")
endef
export PYTHON_CHECK

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON). Install Python 3.11 to 3.13 (on Debian: apt-get install python3-venv), or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c "$$PYTHON_CHECK"
	@echo "Setting up .venv: some minutes and 8 GB the first time ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q -c constraints.txt uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -b constraints.txt -e '.[s3,dev]'
	@touch $@
