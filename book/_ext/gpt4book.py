"""Sphinx extension of this book: settings, downloads and scripts of the site.

The directives and roles that print data are in `book_facts` and `book_examples`.
"""

import csv
import html
import json
import logging
import re
import sys
import textwrap
from pathlib import Path

import book_examples
import book_facts
import shortcuts
import site_weight
import vl_convert
from docutils import nodes
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor

sys.path.append(str(book_facts.ROOT / "book"))
import outputs

NOTEBOOK_LINK = re.compile(r'(<a [^>]*href="(?![a-z]+:)[^"#?]*)\.ipynb((?:[#?][^"]*)?")')
PROCESSES = 2 if sys.platform == "linux" else 1  # elsewhere a process cannot part safely in mid-work
PRELOAD = re.compile(r'\s*<link rel="preload"[^>]*>')


def launch_buttons(options):
    """Theme options without launch buttons while no repository is set."""
    options = dict(options)
    if not (options.get("repository_url") or "").strip():
        for key in ("launch_buttons", "repository_url", "repository_branch", "path_to_docs"):
            options.pop(key, None)
    return options


def configure(app, config):
    """Settings that depend on others, and those of extensions that do not ask."""
    config.html_theme_options = launch_buttons(config.html_theme_options)
    config.html_context = {"default_mode": "auto", **config.html_context}
    config.mathjax_path = "mathjax/tex-svg.js"  # no fonts to load, which Firefox refuses for files


def run_what_is_stale(app, env, docnames):
    """Show the outputs that a notebook holds where they are still true; execute the others side by side.

    What was executed lies in the cache, where MyST-NB finds it. The notebooks themselves stay as they are.
    """
    paths = [path for path in map(env.doc2path, docnames) if path.endswith(".ipynb")]
    if not paths or env.mystnb_config.execution_mode != "cache":
        return
    stale = outputs.stale(paths)
    kept = [Path(path).relative_to(app.srcdir).as_posix() for path in paths if path not in stale]
    env.mystnb_config = env.mystnb_config.copy(execution_excludepatterns=kept)
    if len(stale) > 1:
        cache = get_cache(env.mystnb_config.execution_cache_path)
        for path in stale:
            cache.add_nb_to_project(path)
        executor = load_executor("local-parallel", cache, logging.getLogger(__name__))
        executor.run_and_cache(filter_uris=stale, timeout=env.mystnb_config.execution_timeout)


def share_work(app, config):
    """Read and write pages in several processes; `jupyter-book build` has no option for it.

    The three extensions that do not say whether they stand that act in the first process only.
    """
    for name in ("sphinx_jupyterbook_latex", "sphinx_multitoc_numbering", "sphinx-mathjax-offline"):
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = app.extensions[name].parallel_write_safe = True
    app.parallel = max(app.parallel, PROCESSES)


def load_library(app, env, docnames):
    """Compute every verdict once, before the processes part."""
    if docnames:
        book_facts.ledger().load().counts()


def add_scripts(app, page, template, context, doctree):
    """Load the scripts of charts and long tables only where a page needs them, and Thebe nowhere.

    MathJax and Vega are loaded by these scripts themselves. Links in a notebook's outputs name notebooks; on
    the site they lead to the pages. Docutils calls the bibliography a list that has no items.
    """
    body = NOTEBOOK_LINK.sub(r"\1.html\2", context.get("body", ""))
    body = context["body"] = body.replace(
        '<div role="list" class="citation-list">', '<div class="citation-list">'
    )
    for files in ("script_files", "css_files"):
        context[files][:] = [
            file for file in context[files] if not re.search("thebe|tex-svg", f"{file} {vars(file)}", re.I)
        ]
    app.add_js_file("site.js", loading_method="defer")
    if "gpt4-chart" in body:
        app.add_js_file("charts.js", loading_method="defer")
    if '<table class="sheet' in body:
        app.add_js_file("sheet.js", loading_method="defer")


def describe(app, page, template, context, doctree):
    """Say in one line what a page is about: its first paragraph, for search engines and previews."""
    text = "GPT-4, Recomputed: every checkable number of an article on GPT-4's architecture, computed again."
    first = (
        next((p.astext() for p in doctree.findall(nodes.paragraph) if len(p.astext()) > 40), text)
        if doctree
        else text
    )
    short = textwrap.shorten(first, 155, placeholder="…")
    context["metatags"] = (
        context.get("metatags", "") + f'<meta name="description" content="{html.escape(short)}" />\n'
    )


def write_vega(app, error):
    """Write Vega, Vega-Lite and Vega-Embed as one script into the site.

    At the end: what vl_convert starts does not live on in processes that part from this one.
    """
    target = Path(app.outdir, "_static", "vega.js")
    if not error and app.builder.format == "html" and not target.exists():
        bundle = vl_convert.javascript_bundle()
        target.write_text(f"(() => {{{bundle}}})();\n", encoding="utf-8")


def write_ledger(app, error):
    """Write the ledger for download, as CSV and as JSON."""
    if error or app.builder.format != "html":
        return
    records = [claim.record() for claim in book_facts.ledger().load().claims]
    static = Path(app.outdir, "_static")
    text = json.dumps(records, indent=1, ensure_ascii=False)
    (static / "ledger.json").write_text(text + "\n", encoding="utf-8")
    with open(static / "ledger.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def mend_theme(app, error):
    """Take out what the theme writes and browsers complain about.

    Font preloads are refused for files. The watcher of the page's contents takes every link of a page
    without contents for an entry, and fails at an anchor with a dot.
    """
    if error or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        clean = PRELOAD.sub("", text)
        if 'class="bd-toc-nav' not in text:
            clean = clean.replace(' data-bs-spy="scroll"', "")
        if clean != text:
            path.write_text(clean, encoding="utf-8")


def setup(app):
    """Register directives, roles and event handlers."""
    for name, directive in (book_facts.DIRECTIVES | book_examples.DIRECTIVES).items():
        app.add_directive(name, directive)
    for name, role in book_facts.ROLES.items():
        app.add_role(name, role())
    shortcuts.take(app)
    app.connect("config-inited", configure, priority=100)
    app.connect("config-inited", share_work)
    app.connect("env-before-read-docs", run_what_is_stale)
    app.connect("env-before-read-docs", load_library)
    app.connect("html-page-context", add_scripts, priority=900)
    app.connect("html-page-context", describe)
    app.connect("build-finished", write_vega)
    app.connect("build-finished", write_ledger)
    app.connect("build-finished", mend_theme)
    app.connect(
        "build-finished", site_weight.lighten, priority=900
    )  # after the theme has written its colours
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
