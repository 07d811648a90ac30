# `make demo` and `make test` do all their own set-up on a Debian 12 machine with Python 3.11; everything lives in .venv.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TASK := can

.PHONY: demo test check slow bench docs notebook
demo: $(READY)  ## the main job: a weak policy frozen, chosen and steered, 50 paired episodes each; make demo TASK=libero_goal
	$(BIN)/sim-eval task=$(TASK) policy=flow_weak samplers=unsteered,best_of_n,qpilots_u output=runs/demo-$(TASK)

test: check  ## format, lint, types, and the quick tests
	bash scripts/browser.sh
	bash scripts/extra.sh $(VENV) vla
	$(BIN)/pytest -q -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

slow: $(READY)  ## the long tests: experts over 100 keys, 100 replayed episodes a task
	$(BIN)/pytest -q -m slow -n 2 --dist loadfile

bench: $(READY)  ## control steps a second: robosuite's own loop, the fast one, MuJoCo alone
	$(BIN)/python -m benchmarks.stepping

docs: $(READY)  ## the documentation site, site/index.html; warnings are errors
	bash scripts/extra.sh $(VENV) docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebook: $(READY)  ## examples/quickstart.ipynb from docs/tutorial.md, executed
	bash scripts/extra.sh $(VENV) docs
	$(BIN)/python -m scripts.notebook

$(READY): requirements.txt pyproject.toml scripts/setup.sh
	bash scripts/setup.sh $(VENV)
	touch $@
