"""One style for every figure: readable at phone width, on light and dark pages, without colour vision."""

from __future__ import annotations

# Okabe and Ito's palette: distinguishable with any colour vision.
COLORS = {
    "blue": "#0072B2",
    "orange": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#E69F00",
    "black": "#000000",
    "grey": "#767676",
}


def use_style() -> None:
    """Set matplotlib's defaults: 5.6 x 3.6 in, 12 pt, line width 2, white card, colour-blind-safe cycle."""
    import matplotlib as mpl

    order = ("blue", "orange", "green", "purple", "sky", "yellow", "black")
    mpl.rcParams.update(
        {
            "figure.figsize": (5.6, 3.6),
            "figure.dpi": 100,
            "savefig.dpi": 160,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.size": 12,
            "axes.labelsize": 12,
            "xtick.labelsize": 11,
            "ytick.labelsize": 11,
            "legend.fontsize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e3e3e3",
            "axes.axisbelow": True,
            "lines.linewidth": 2,
            "legend.frameon": False,
            "axes.prop_cycle": mpl.cycler(color=[COLORS[c] for c in order]),
        }
    )


def show_figure(alt: str) -> None:
    """Show the current figure and close it; `alt` says its finding with its numbers.

    The text travels with the picture; `make execute` also puts it where the site looks for it.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    display(plt.gcf(), metadata={"image/png": {"alt": alt}})
    plt.close()


def direct_label(ax, x, y, text, color, **options) -> None:
    """Write `text` in `color` at (x, y) in data coordinates, beside what it names."""
    ax.annotate(
        text,
        (x, y),
        xytext=options.pop("offset", (4, 4)),
        textcoords="offset points",
        color=color,
        fontweight="bold",
        **options,
    )
