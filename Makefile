# Everything here works from a fresh clone: .venv is made and filled by tools/setup.sh when needed.
.DEFAULT_GOAL := help
.PHONY: help demo docs packages test test-rtsp train-smoke dev lint types imports unit format constraints clean
.NOTPARALLEL:

BIN := .venv/bin
PYTEST_ARGS ?= -q
# Where it is set, each of the many processes that tests start compiles all that it loads, PyTorch included.
export PYTHONDONTWRITEBYTECODE :=

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Detect things in a made-up video: writes demo.mp4 and demo.jsonl
	@tools/setup.sh demo
	@$(BIN)/edgevision run --source demo --conf 0.4 --precision fp32 --output demo.mp4 --save-json demo.jsonl --overwrite
	@echo "Open demo.mp4 to see the boxes; demo.jsonl holds the same detections, one line a frame."

test: lint types imports unit ## All of the four below, in order; stops at the first that fails

test-rtsp: dev ## Runs on a real RTSP server that dies, stalls and changes its image (needs GStreamer)
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m rtsp tests/acceptance/test_live_rtsp.py

train-smoke: dev ## Train, evaluate, export and run a small model of every family (some minutes)
	@$(BIN)/python tools/train_smoke.py

lint: dev ## Style and format (ruff)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "ruff: files are not formatted; run 'make format'"; exit 1; }
	@echo "ruff: clean"

types: dev ## Types (mypy, strict)
	@$(BIN)/mypy

imports: dev ## Who may import whom (import-linter)
	@$(BIN)/lint-imports --no-logo > .venv/imports.log 2>&1 || { cat .venv/imports.log; exit 1; }
	@tail -n 1 .venv/imports.log

unit: dev ## Behaviour (pytest)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

docs: dev ## The site, into build/site; a broken link fails (its search needs a server: python -m http.server)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --clean
	@echo "docs: build/site/index.html"

packages: dev ## Wheel and sdist in dist, used in empty environments on each Python that is here
	@tools/packages.sh

format: dev ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --quiet --fix || true
	@$(BIN)/ruff format

constraints: dev ## Take the newest versions of all dependencies into constraints.txt
	@tools/constraints.sh --upgrade

dev: ## Install the training side and the development tools into .venv
	@tools/setup.sh dev

clean: ## Remove what building, testing and the demo left behind (not .venv)
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis demo.mp4 demo.jsonl
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
