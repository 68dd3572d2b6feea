# make book: build the site. make test: lint, then run every test. make help: the rest.
# Needs only make and Python 3.11 or newer; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
SITE := _build/html

unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP MPLBACKEND
export JUPYTER_PREFER_ENV_PATH := 1
# Small matrices: more threads would only wait for each other.
export OPENBLAS_NUM_THREADS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1

# An environment that was moved here from another folder, or left half made, is made anew.
ifneq ($(shell cat $(INSTALLED) 2>/dev/null),$(CURDIR))
.PHONY: $(INSTALLED)
endif

.PHONY: help book test lint format pdf lab execute lock clean distclean
.DEFAULT_GOAL := help

help:
	@echo "make book       build the site into $(SITE)"
	@echo "make test       lint, build the site and run every test"
	@echo "make lint       look at the code's form and at what imports what"
	@echo "make format     put the code into its form"
	@echo "make pdf        print the whole book into one PDF (needs Chromium)"
	@echo "make lab        open the notebooks in JupyterLab"
	@echo "make execute    run the notebooks that changed and store their outputs (all of them: make execute ALL=1)"
	@echo "make lock       pin the newest versions that pyproject.toml allows"
	@echo "make clean      remove what was built"
	@echo "make distclean  remove the environment (.venv) too"
	@echo "Another interpreter: make PYTHON=/path/to/python3.12 book"

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: $(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot create environments; on Debian and Ubuntu: apt-get install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	@[ "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" ] || $(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@mkdir -p $(VENV)/etc/ipython && echo 'c.IPKernelApp.log_level = "ERROR"' > $(VENV)/etc/ipython/ipython_kernel_config.py
	@echo "$(CURDIR)" > $@

# Notebooks show their stored outputs; those whose library or code has changed since (book/outputs.py) are executed.
# Sphinx reads a page again only when its own file changed, and the cache of executed
# notebooks knows only their code. So a change in the library or its data drops both, and
# a change in the settings or in book/, or a build that failed, drops what Sphinx has read.
# Where nothing at all has changed, the site stays as it is.
checksum = find $(1) -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs cksum | cksum

book: $(INSTALLED)
	@mkdir -p _build; \
	lib=$$($(PY) book/outputs.py) || exit; \
	site="$$lib $$($(call checksum,book _config.yml _toc.yml)) $(NOTEBOOKS)"; \
	built="$$site $$($(call checksum,notebooks CITATION.cff Makefile))"; \
	if [ "$$(cat _build/built.sum 2>/dev/null)" = "$$built" ] && [ -e $(SITE)/index.html ]; then exit; fi; \
	rm -f _build/built.sum; \
	[ "$$(cat _build/lib.sum 2>/dev/null)" = "$$lib" ] || rm -rf _build/.jupyter_cache; \
	[ "$$(cat _build/site.sum 2>/dev/null)" = "$$site" ] || rm -rf _build/.doctrees _build/jupyter_execute $(SITE); \
	rm -f _build/site.sum; echo "$$lib" > _build/lib.sum; \
	$(VENV)/bin/jupyter-book build . -n -W --keep-going && \
	  echo "$$site" > _build/site.sum && echo "$$built" > _build/built.sum
	@echo "Open $(CURDIR)/$(SITE)/index.html"

test: lint book
	$(PY) -m pytest -n 2

lint: $(INSTALLED)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(VENV)/bin/lint-imports

format: $(INSTALLED)
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

pdf: book
	$(PY) book/pdf.py

lab: $(INSTALLED)
	$(PY) -m jupyterlab notebooks

execute: $(INSTALLED)
	$(PY) book/execute.py $(if $(ALL),--all) $(NOTEBOOKS)

lock: $(INSTALLED)
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile pyproject.toml --extra book --extra test --universal --python-version 3.11 \
	  --fork-strategy fewest --upgrade --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.txt

clean:
	rm -rf _build .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	find gpt4lib tests benchmarks book -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) gpt4lib.egg-info
