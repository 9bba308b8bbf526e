# Two commands matter: `make run` serves, `make test` checks. Both need Python 3.11, make and nothing else.

ENGINE ?= demo
ARGS ?=
# How often `make test-again` runs each test.
COUNT ?= 50
# Candidates in order; the first that is new enough and can make a virtual environment is taken.
PYTHON ?= python3.11 python3.12 python3.13 python3.14 python3
VENV := .venv
# What `make model` fetches, and from which hub.
MODEL ?= CosyVoice2-0.5B
HUB ?= modelscope
HUB_VENV := .venv-hub

python_is_usable := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
# "package.module:factory" is an engine from elsewhere: it has no extra of ours.
extra = $(if $(findstring :,$(ENGINE)),core,$(ENGINE))

# A hub's client, and its command for the model. CosyVoice2 has another owner on ModelScope, CosyVoice3 the same on both.
client.modelscope := 'modelscope>=1.40,<2'
client.huggingface := 'huggingface_hub>=0.36,<1'
download.modelscope = modelscope download --model $(if $(filter CosyVoice2-%,$(MODEL)),iic,FunAudioLLM)/$(MODEL) --local_dir
download.huggingface = hf download FunAudioLLM/$(MODEL) --local-dir

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Some containers set it. Hundreds of servers and workers, and each of pytest's processes, would compile all anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run model test test-light test-full test-again lint format picture screens prompt clean

help: ## this list
	@echo 'make TARGET [ENGINE=$(ENGINE)] [ARGS="..."] [PYTHON=python3]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

# `exec` leaves no shell between make and the server. Ctrl-C then reaches both: make waits for the server, which ends
# its streams and exits 0, so make has no error to print. A SIGTERM that reaches make alone is one that make passes on to
# its child, which now is the server itself and not a shell that would die in its place.
run: $(VENV)/.installed-$(extra) ## serve on port 50000; ENGINE=native picks an engine, ARGS="--port 50123" passes flags on
	exec $(VENV)/bin/cosyserve serve --engine $(ENGINE) $(ARGS)

# In an environment of its own: what the clients need may not agree with what an engine needs.
model: $(HUB_VENV)/.installed-$(HUB) ## fetch the weights (5 GB); HUB=huggingface takes another source
	$(HUB_VENV)/bin/$(download.$(HUB)) pretrained_models/$(MODEL)

test: $(VENV)/.installed-models ## lint, then the tests on small checkpoints (6 GB to install); ARGS goes to pytest
	$(lint)
	$(VENV)/bin/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder -m "not full" $(ARGS)

test-light: lint ## the same without the model engines, and without their 6 GB
	$(VENV)/bin/python -m pytest -m "not full" $(foreach name,cosyvoice native test_cosyvoice* test_native* test_download*,--ignore-glob='*/tests/*/$(name)') $(ARGS)

test-full: $(VENV)/.installed-models ## all that `test` has, and the full-size and the long tests
	$(lint)
	$(VENV)/bin/python -m pytest -m "full or not full" $(ARGS)

# The loops end with the shell that began them, however it ends.
test-again: $(VENV)/.installed-models ## the tests of ARGS 50 times (COUNT=50) beside two busy loops: does one fail now and then?
	$(if $(ARGS),,$(error Say which tests: make test-again ARGS=tests/http/test_page_heard.py))
	for loop in 1 2; do while kill -0 $$$$ 2> /dev/null; do :; done & done; \
	$(VENV)/bin/python -m pytest -n 6 --dist worksteal --count $(COUNT) $(ARGS)

define lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --num-workers 2
	$(VENV)/bin/lint-imports --no-cache
endef

lint: $(VENV)/.installed-dev ## ruff, mypy and import-linter, changing nothing
	$(lint)

format: $(VENV)/.installed-dev ## let ruff rewrite what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

picture: $(VENV)/.installed-dev ## draw the rooms in docs/architecture.md anew
	$(VENV)/bin/python docs/rooms.py

screens: $(VENV)/.installed-dev ## take the page's pictures, into screens/ and docs/page.png (wants Chromium)
	$(VENV)/bin/python -m docs.screens

prompt: $(VENV)/.installed-demo ## make the default voice prompt anew
	$(VENV)/bin/python -m cosyserve_workers.demo.make_prompt asset/zero_shot_prompt.wav

clean: ## remove everything that make and the tests made
	rm -rf $(VENV) $(HUB_VENV) build dist screens .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The environment's last file to appear: one that was interrupted half-way is made anew.
$(VENV)/bin/pip:
	@for python in $(PYTHON); do \
	    "$$python" -c '$(python_is_usable)' 2>/dev/null && exec "$$python" -m venv --clear $(VENV); \
	done; \
	echo 'cosyserve needs Python 3.11 or newer with its venv module. Tried: $(PYTHON).' >&2; \
	echo 'Debian, Ubuntu: apt install python3.11 python3.11-venv. Elsewhere: make PYTHON=/path/to/python3 ...' >&2; \
	exit 1

# So is one whose interpreter has gone, as when the system's Python was replaced.
ifneq ($(shell test -x $(VENV)/bin/python && echo sound),sound)
.PHONY: $(VENV)/bin/pip
endif

# The tests speak with the demo engine. In order, because two pips must not write to one environment at a time.
$(VENV)/.installed-dev: $(VENV)/.installed-demo

# All in one go, which spares pip two more looks at everything, and uncompiled: of 30,000 modules few are ever imported.
# A snapshot of the CosyVoice library lies inside the last wheel; what that itself depends on is of no use here.
$(VENV)/.installed-models: $(VENV)/bin/pip pyproject.toml
	$(VENV)/bin/python -m pip install --no-compile -e '.[demo,dev,cosyvoice,native]' onnx
	$(VENV)/bin/python -m pip install --no-compile --no-deps xinference==4.1.0
	touch $(VENV)/.installed-demo $(VENV)/.installed-dev $@

$(HUB_VENV)/.installed-%:
	$(if $(client.$*),,$(error HUB=$* is not known: modelscope and huggingface are))
	$(MAKE) --no-print-directory VENV=$(HUB_VENV) $(HUB_VENV)/bin/pip
	$(HUB_VENV)/bin/python -m pip install $(client.$*)
	touch $@

# One stamp for each extra. Engines may pin one library to different versions, so only the engine installed last keeps
# its stamp; demo and dev pin nothing that an engine needs and keep theirs.
$(VENV)/.installed-%: $(VENV)/bin/pip pyproject.toml
	$(VENV)/bin/python -m pip install -e '.$(patsubst %,[%],$(filter-out core,$*))'
	rm -f $(filter-out $(VENV)/.installed-demo $(VENV)/.installed-dev,$(wildcard $(VENV)/.installed-*))
	touch $@
