# Two commands do all set-up: `make demo` and `make test`. The first run of either makes .venv, later runs reuse it.
#
#   make demo PYTHON=python3.12            which Python makes .venv
#   make test TORCH=torch==2.9.1           which torch is installed; unless given, the one we test with, else the newest
#   make demo ARGS="--samples 128"         options for the program itself
#   make coverage                          the tests, and which lines they never reach
#   make lint                              format, linter, types and commit subjects
#   make bench FULL=1                      at full size, for most of a day; without it about 20 minutes on two cores
#   make comfy COMFYUI_PATH=~/ComfyUI      start that ComfyUI with this folder as a custom node

PYTHON ?= python3
TORCH ?= torch==2.13.0
ARGS ?=
FULL ?=
COMFYUI_PATH ?= $(HOME)/comfy/ComfyUI
COMFYUI_PYTHON ?= $(PYTHON)
COMFYUI_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Only our own choice of torch may be missed (too old or too new for this Python); a version that was asked for may not.
ANY_TORCH := $(if $(filter file,$(origin TORCH)),|| $(PIP) install torch)
COMFY := $(patsubst ~/%,$(HOME)/%,$(COMFYUI_PATH))
PACKS := $(COMFY)/custom_nodes

# What mypy checks, and the package as it must see it: under its own name, whatever this folder is called.
TYPED := core hosts.diffusers cli
TYPES := build/types/uncertainty_nodes
# The reference of tests/core/last_layer. Without dependencies, since it names torchvision, unused here, which would replace our torch.
# The rest of what it needs is in the extra "dev".
LAPLACE := laplace-torch==0.3 asdfghjkl==0.1a4 backpack-for-pytorch curvlinops-for-pytorch

.PHONY: demo test coverage bench comfy lint clean
.DELETE_ON_ERROR:

demo: .venv/.ready
	$(BIN)/uncertainty-nodes demo $(ARGS)

test: .venv/.ready
	$(BIN)/python -m pytest $(ARGS)

# The same tests, with which lines they never reach. ComfyUI runs in a process of its own, so hosts/comfyui and nodes seem barely tried.
coverage: .venv/.ready
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

bench: .venv/.ready
	$(BIN)/python benchmarks/all.py $(if $(FULL),--full) $(ARGS)

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(dir $(TYPES)) && ln -sfn ../.. $(TYPES)
	MYPYPATH=build/types $(BIN)/mypy --follow-imports=silent $(TYPED:%=-p uncertainty_nodes.%)
	.ci/commits

# Linked, not copied, unless this folder already is a custom node or another copy is there: two copies would clash.
comfy:
	@test -f "$(COMFY)/main.py" || { echo "No ComfyUI at $(COMFY): set COMFYUI_PATH to the folder that holds main.py."; exit 1; }
	@case "$(CURDIR)" in "$(PACKS)"/*) ;; *) test -e "$(PACKS)/uncertainty-nodes" || ln -sfn "$(CURDIR)" "$(PACKS)/uncertainty-nodes" ;; esac
	cd "$(COMFY)" && $(COMFYUI_PYTHON) main.py $(COMFYUI_ARGS)

# torch goes first and alone, so that a build chosen by the user is kept when the rest is installed.
.venv/.ready: pyproject.toml
	@echo "Setting up .venv: a few minutes, once."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install "$(TORCH)" $(ANY_TORCH)
	$(PIP) install --editable ".[dev]"
	$(PIP) install --no-deps $(LAPLACE)
	@touch $@

# Everything that can be made again, but not out/: those are your images.
clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
