# Every target does all it needs from a bare clone: the first one makes .venv and installs upconv and its tools there.

SUITABLE = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(p) -c '$(SUITABLE)' 2>/dev/null && echo $(p))))
BIN = .venv/bin
PRODUCT = import cupy; x = cupy.ones((2, 2)); (x @ x).get()

.PHONY: help demo recipes test test-slow test-pytorch test-gpu check docs bench bench-gpu report quadrants clean
.DEFAULT_GOAL := help

help: ## say what the targets do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

.venv/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "upconv needs Python 3.11 or newer and found none; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version) and installing upconv and its tools (once, about 1 GB)."
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: .venv/ready ## train a U-Net on the embedded image of nuclei, then predict with it (about two minutes)
	@echo "Training a U-Net on three quadrants of a microscopy image; the fourth is for the test."
	@$(BIN)/upconv train --output runs/nuclei
	@echo "Predicting the fourth quadrant from its image file, with the model file."
	@$(BIN)/upconv predict runs/nuclei/model.safetensors runs/nuclei/test_image.png
	@echo
	@echo "The results are in runs/nuclei: look at preview.png and test_image_mask.png."
	@echo "An image of your own: $(BIN)/upconv predict runs/nuclei/model.safetensors IMAGE"

recipes: .venv/ready ## run every recipe in examples/, one after the other (some minutes each)
	@for recipe in examples/[a-z]*.py; do echo "Running $$recipe."; $(BIN)/python $$recipe || exit 1; done

test: .venv/ready ## run the tests
	@echo "Testing (some minutes; kernels are compiled at their first use)."
	@$(BIN)/python -m pytest -m "not slow and not pytorch" --numprocesses 2 --dist loadgroup

test-slow: .venv/ready ## run the sweeps that `make test` leaves out
	@echo "Running the long sweeps."
	@$(BIN)/python -m pytest -m slow

test-pytorch: .venv/ready ## compare operators and networks with PyTorch, which must be in .venv (some minutes)
	@$(BIN)/python -c "import torch" || { echo "PyTorch is not in .venv: $(BIN)/pip install torch" >&2; exit 1; }
	@echo "Comparing every operator and its gradients with PyTorch, networks that go there and back, and how they train."
	@$(BIN)/python -m pytest -m pytorch tests/test_pytorch*.py

# CuPy came with the tests; what it computes with comes here, unless the machine has it.
.venv/gpu: .venv/ready
	@nvidia-smi -L >/dev/null 2>&1 || { echo "No GPU answers: nvidia-smi, which comes with NVIDIA's driver, finds none." >&2; exit 1; }
	@$(BIN)/python -c "$(PRODUCT)" 2>/dev/null || { echo "Installing NVRTC, cuBLAS and the like into .venv (once, gigabytes)."; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cuda12]'; }
	@$(BIN)/python -c "$(PRODUCT)" || { echo "CuPy cannot compute on this GPU: see above." >&2; exit 1; }
	@touch $@

test-gpu: .venv/gpu ## test on an NVIDIA GPU what the other tests emulate; then look for races, if compute-sanitizer is there
	@echo "Testing operators and networks on the GPU (kernels are compiled at their first use)."
	@$(BIN)/python -m pytest --gpu tests/test_cuda*.py tests/test_nn_cuda*.py
	@command -v compute-sanitizer >/dev/null || echo "compute-sanitizer is not on the PATH: accesses and races are not checked."
	@for tool in $$(command -v compute-sanitizer >/dev/null && echo memcheck racecheck); do \
		echo "Running every operator and a training step under compute-sanitizer: $$tool."; \
		compute-sanitizer --tool $$tool --error-exitcode 1 $(BIN)/python -m benchmarks gpu --smoke --alone --output runs/$$tool || exit 1; \
	done

check: .venv/ready ## lint, check the format, check all types but those of the tests
	@echo "Checking style (ruff)."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "Checking types (mypy), on a copy installed apart."
	@rm -rf build/lib build/bdist.* .venv/check
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target .venv/check .
	@$(BIN)/mypy -p upconv -p benchmarks
	@$(BIN)/mypy examples docs

docs: .venv/ready ## build the API reference from the docstrings: build/docs/index.html
	@echo "Writing the API reference (pdoc)."
	@$(BIN)/python docs/reference.py build/docs
	@echo "It is in build/docs: open build/docs/index.html"

bench: .venv/ready ## time kernels and networks under pytest-benchmark, beside what peers are in .venv (some minutes)
	@echo "Timing kernels, each result checked first. Leave the machine alone meanwhile."
	@$(BIN)/python -m pytest benchmarks -q --benchmark-columns=min,median,rounds --benchmark-sort=name

bench-gpu: .venv/gpu ## time everything on an NVIDIA GPU, beside PyTorch if that is in .venv, into runs/gpu (some minutes)
	@echo "Timing on the GPU, each result checked first. Leave the machine alone meanwhile."
	@$(BIN)/python -m benchmarks gpu

report: .venv/ready ## measure everything and write a report into runs/benchmarks (a quarter of an hour)
	@echo "Timing everything, each result checked first. Leave the machine alone meanwhile; Ctrl-C keeps what there is."
	@$(BIN)/python -m benchmarks report

quadrants: .venv/ready ## train four times, each quadrant of the nuclei held out once, and print the table
	@echo "Training four times (some minutes)."
	@$(BIN)/python -m benchmarks quadrants

clean: ## remove .venv, caches and build files; runs/ stays
	@echo "Removing .venv, caches and build files."
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
