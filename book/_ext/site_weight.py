"""What a page has to load before it can be read, made small once the site is built.

The theme brings an icon font of 1,400 icons twice, twelve style sheets and scripts that hold up the page.
Here the icons in use become one small font, the rules in use one sheet, scripts wait for the page, and
pictures say their size and come when they are near. Running it again changes nothing.
"""

import re
import struct
from hashlib import sha256
from pathlib import Path

import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont

ICON = re.compile(r"fa-[a-z0-9-]+")
SHEET = re.compile(r'[ \t]*<link\b[^>]*\brel="stylesheet"[^>]*>\n?')
HREF = re.compile(r'href="([^"?]+)')
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
WORD = re.compile(r"[A-Za-z_-][\w-]*")
OPTIONAL = re.compile(r":(?:not|is|where)\([^)]*\)")
SCRIPT = re.compile(r'<script (?!data-|defer|async)(?=[^>]*src=")')
OPTIONS = re.compile(r'<script [^>]*src="[^"]*documentation_options\.js[^"]*"></script>')
ICON_SCRIPT = re.compile(r"\s*<script [^>]*fontawesome[^>]*></script>")
IMPORT = re.compile(r"""@import\s+["']([^"']+)["'];""")
PICTURE = re.compile(r'<img (?![^>]*\bwidth=)([^>]*\bsrc="([^"]+\.png)"[^>]*)>')
FAMILY = "'Font Awesome 6 Free'"
ICON_RULES = (
    f"@font-face{{font-family:{FAMILY};font-weight:900;"
    "src:url(icons.woff) format('woff');font-display:block}"
    f":root{{--fa-font-solid:normal 900 1em/1 {FAMILY}}}"
    ".fa-solid,.fas{font:var(--fa-font-solid);display:inline-block;text-rendering:auto;"
    "-webkit-font-smoothing:antialiased}"
    ".fa-lg{font-size:1.25em;line-height:.05em;vertical-align:-.075em}"
)


def icons(static, used, css):
    """Write the icons that pages, scripts or the sheets use as one font; return the rules that show them."""
    home = next((static / "vendor" / "fontawesome").iterdir())
    every = (home / "css" / "all.min.css").read_text("utf-8")
    groups = re.findall(r"((?:\.fa-[a-z0-9-]+:before,?)+)\{content:\"\\([0-9a-f]+)\"", every)
    names = {name: code for group, code in groups for name in ICON.findall(group)}
    shown = {name: names[name] for name in sorted(used & set(names))}
    font = TTFont(home / "webfonts" / "fa-solid-900.ttf", recalcTimestamp=False)
    cutter = subset.Subsetter(subset.Options(layout_features=[], notdef_outline=False, hinting=False))
    cutter.populate(
        unicodes=[int(code, 16) for code in {*shown.values(), *re.findall(r"\\([ef][0-9a-f]{3})", css)}]
    )
    cutter.subset(font)
    font.flavor = "woff"
    font.save(static / "icons.woff")
    return ICON_RULES + "".join(f'.{name}::before{{content:"\\{code}"}}' for name, code in shown.items())


def in_use(rules, words):
    """The rules of a sheet whose classes occur somewhere in the site, in pages or scripts, as CSS."""
    kept = []
    for rule in rules:
        if rule.type == "qualified-rule":
            selector = tinycss2.serialize(rule.prelude)
            parts = [selector] if "(" in selector else selector.split(",")
            parts = [part.strip() for part in parts if set(CLASS.findall(OPTIONAL.sub("", part))) <= words]
            if parts:
                kept.append(f"{','.join(parts)}{{{tinycss2.serialize(rule.content).strip()}}}")
        elif (
            rule.type == "at-rule"
            and rule.lower_at_keyword in ("media", "supports", "layer")
            and rule.content is not None
        ):
            inner = in_use(
                tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True), words
            )
            if inner:
                kept.append(f"@{rule.at_keyword} {tinycss2.serialize(rule.prelude).strip()}{{{inner}}}")
        elif rule.type == "at-rule" and rule.lower_at_keyword != "charset":
            kept.append(rule.serialize())
        elif rule.type == "error":
            raise ValueError(f"a style sheet cannot be read: {rule.message}")
    return "".join(kept)


def read(sheet):
    """A style sheet's text, with the sheets that it imports in their place."""
    return IMPORT.sub(lambda found: read(sheet.parent / found[1]), sheet.read_text("utf-8"))


def rebased(css, sheet, static):
    """The addresses in a sheet, as seen from the folder of the joined sheet."""

    def move(found):
        address = found[2]
        if re.match(r"data:|#|[a-z]+:", address):
            return found[0]
        target = (sheet.parent / address.partition("?")[0].partition("#")[0]).resolve()
        return f"url({found[1]}{target.relative_to(static.resolve()).as_posix()}{found[1]})"

    return re.sub(r"url\(([\"']?)([^\"')]+)\1\)", move, css)


def picture_size(found, page):
    """An image tag with the picture's width and height, loaded when it comes near."""
    path = page.parent / found[2]
    if not path.is_file():
        return found[0]
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return f'<img width="{width}" height="{height}" loading="lazy" {found[1]}>'


def words_of(pages, static):
    """Every word of the pages and of the scripts that write into them: what a class in use is among."""
    scripts = (
        path.read_text("utf-8", errors="ignore")
        for path in static.rglob("*.js")
        if not {"mathjax", "vendor"} & set(path.parts) and path.name != "vega.js"
    )
    return set(WORD.findall("\n".join([*pages.values(), *scripts])))


def sheets_of(pages, static):
    """The style sheets that the theme asks for, in order; a file keeps them for builds of only some pages."""
    kept = static / "sheets.txt"
    asked = [HREF.search(tag)[1] for page in sorted(pages) for tag in SHEET.findall(pages[page])]
    names = kept.read_text("utf-8").split() if kept.exists() else []
    names += [address.partition("_static/")[2] for address in asked if "joined.css" not in address]
    kept.write_text("\n".join(dict.fromkeys(names)) + "\n", encoding="utf-8")
    return [static / name for name in dict.fromkeys(names) if "fontawesome" not in name]


def join_sheets(pages, static):
    """Write one sheet of the rules and icons in use; return its text."""
    words, joined = words_of(pages, static), []
    for sheet in sheets_of(pages, static):
        rules = tinycss2.parse_stylesheet(read(sheet), skip_comments=True, skip_whitespace=True)
        joined.append(rebased(in_use(rules, words), sheet, static))
    css = "\n".join(joined)
    css = f"{icons(static, words, css)}\n{css}"
    (static / "joined.css").write_text(css, encoding="utf-8")
    return css


def light(html, page, link, options):
    """A page's HTML with the one sheet, scripts that wait, and pictures that say their size."""
    place = SHEET.search(html)
    if place is None:
        return html
    html = html[: place.start()] + link + SHEET.sub("", html[place.end() :])
    html = OPTIONS.sub(lambda _: f"<script>{options}</script>", ICON_SCRIPT.sub("", html))
    html = SCRIPT.sub("<script defer ", html)
    return PICTURE.sub(lambda found: picture_size(found, page), html)


def lighten(app, error):
    """Do all of it, on every page of a site that was built."""
    if error or app.builder.format != "html":
        return
    out, static = Path(app.outdir), Path(app.outdir, "_static")
    pages = {
        path: path.read_text("utf-8")
        for path in out.rglob("*.html")
        if "_static" not in path.relative_to(out).parts
    }
    version = sha256(join_sheets(pages, static).encode()).hexdigest()[:8]
    options = (static / "documentation_options.js").read_text("utf-8")
    for path, html in pages.items():
        root = "../" * (len(path.relative_to(out).parts) - 1)
        link = f'<link rel="stylesheet" href="{root}_static/joined.css?v={version}" />\n'
        new = light(html, path, link, options)
        if new != html:
            path.write_text(new, encoding="utf-8")
