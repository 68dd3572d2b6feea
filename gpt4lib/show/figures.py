"""One style for every figure: readable at phone width, on light and dark pages, without colour vision."""

# Okabe and Ito's palette: distinguishable with any colour vision.
_NAMES = "blue orange green purple sky yellow black grey".split()
_CODES = "#0072B2 #D55E00 #009E73 #CC79A7 #56B4E9 #E69F00 #000000 #767676".split()
COLORS = dict(zip(_NAMES, _CODES))


def use_style() -> None:
    """Set matplotlib's defaults: 5.6 x 3.6 in, 12 pt, line width 2, white card, colour-blind-safe cycle."""
    import matplotlib as mpl

    mpl.rc("figure", figsize=(5.6, 3.6), dpi=100, facecolor="white")
    mpl.rc("figure.constrained_layout", use=True)
    mpl.rc("savefig", dpi=160, facecolor="white", bbox="tight")
    mpl.rc("font", size=12)
    mpl.rc("axes", labelsize=12, grid=True, axisbelow=True)
    mpl.rc("axes", prop_cycle=mpl.cycler(color=[color for name, color in COLORS.items() if name != "grey"]))
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc(("xtick", "ytick"), labelsize=11)
    mpl.rc("legend", fontsize=11, frameon=False)
    mpl.rc("grid", color="#e3e3e3")
    mpl.rc("lines", linewidth=2)


def show_figure(alt: str) -> None:
    """Show the current figure and close it; `alt` says its finding with its numbers.

    The text travels with the picture; `make execute` also puts it where the site looks for it.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    display(plt.gcf(), metadata={"image/png": {"alt": alt}})
    plt.close()


def direct_label(ax, x, y, text, color, **options) -> None:
    """Write `text` in `color` beside (x, y) in data coordinates, `offset` points away."""
    beside = {"xytext": options.pop("offset", (4, 4)), "textcoords": "offset points"}
    ax.annotate(text, (x, y), color=color, fontweight="bold", **beside, **options)
