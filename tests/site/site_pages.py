"""The built site in headless Chromium: how a page is opened, and how axe-core looks at it."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
PAGES = sorted(
    p.relative_to(SITE).as_posix() for folder in ("book", "notebooks") for p in (SITE / folder).glob("*.html")
)
PAGES += ["search.html", "genindex.html"]
READY = """async () => {
  await document.fonts.ready;
  if (window.book) await book.everything();
}"""
LEDGER = "notebooks/12_ledger.html"


class Visit:
    """One page at one width, with everything it asked for and complained about."""

    def __init__(self, browser, name, width, ready=READY):
        self.name, self.width = name, width
        self.problems, self.requests = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.problems.append(m.text))
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("requestfailed", lambda r: self.problems.append(f"failed: {r.url}"))
        self.open(name, ready)

    def open(self, name, ready=READY):
        """Load a page of the site and wait until all stands, or for what `ready` waits for."""
        path = SITE / name.partition("#")[0].partition("?")[0]
        self.page.goto(path.as_uri() + re.sub(r"^[^#?]*", "", name))
        self.page.evaluate(ready)
        return self.page


def outside(urls):
    """The addresses that are not files of the site."""
    return [u for u in urls if urlsplit(u).scheme not in ("file", "data", "blob")]


# ---- axe-core -----------------------------------------------------------------------------

SLIM = """() => {
  document.querySelectorAll("mjx-container").forEach((node) => node.remove());
  const seen = new Set();
  for (const token of document.querySelectorAll(".highlight span")) {
    const box = token.closest(".highlight").parentElement;
    const kind = [token.className, token.parentElement.className, box.className].join("|");
    if (seen.has(kind)) token.replaceWith(...token.childNodes);
    else seen.add(kind);
  }
}"""
# Marks texts for the rule on contrast: of those with the same ink on the same grounds, up to the page, three.
MARK = """() => {
  const GROUND = ["backgroundColor", "backgroundImage", "opacity", "position", "zIndex", "float", "filter",
                  "mixBlendMode", "transform", "clipPath", "overflow"];
  const INK = ["color", "fontSize", "fontWeight", "textShadow", "webkitTextFillColor", "webkitTextStroke"];
  const numbers = new Map(), grounds = new Map(), kinds = new Map();
  const number = (text) => numbers.get(text) ?? numbers.set(text, numbers.size).get(text);
  const look = (style, names) => names.map((name) => style[name]).join();
  const ground = (node) => {
    if (!node) return "";
    if (!grounds.has(node))
      grounds.set(node, number(`${ground(node.parentElement)} on ${look(getComputedStyle(node), GROUND)}`));
    return grounds.get(node);
  };
  const says = (node) => /^(INPUT|SELECT|TEXTAREA)$/.test(node.tagName) ||
    [...node.childNodes].some((part) => part.nodeType === Node.TEXT_NODE && part.data.trim());
  for (const node of document.querySelectorAll("body *")) {
    node.removeAttribute("data-look");
    if (!says(node) || !node.checkVisibility({ checkVisibilityCSS: true })) continue;
    const box = node.getBoundingClientRect();
    if (!box.width || !box.height || box.right + scrollX <= 0 || box.bottom + scrollY <= 0) continue;
    const kind = `${look(getComputedStyle(node), INK)} on ${ground(node)}`;
    kinds.set(kind, (kinds.get(kind) || 0) + 1);
    if (kinds.get(kind) <= 3) node.setAttribute("data-look", kinds.size);
  }
  axe.configure({ rules: [{ id: "color-contrast", selector: "[data-look]" }] });
}"""


def prepare(page):
    """Bring axe-core into a page, which is spent after it.

    Equations are MathJax's own and are taken out; of the code's coloured words one of each kind stays,
    because ten thousand of them would be looked at one by one. Colours change at once.
    """
    page.add_style_tag(
        content="*, ::before, ::after { transition: none !important; animation: none !important }"
    )
    page.evaluate(SLIM)
    page.evaluate(f"window.axe || (() => {{ {AXE_SCRIPT} }})()")


def violations(page, theme, what=""):
    """What axe-core finds serious or critical in a prepared page, by rule. `what` narrows the rules.

    Nothing is fetched for it (`preload`): no rule that is in use needs it.
    """
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    page.wait_for_timeout(100)
    page.evaluate(MARK)
    found = page.evaluate(f"axe.run({{{what} resultTypes: ['violations'], preload: false}})")["violations"]
    return {
        v["id"]: [n["html"][:150] for n in v["nodes"]][:4]
        for v in found
        if v["impact"] in ("serious", "critical")
    }
