"""Matplotlib figures as SVG inside an HTML page, in the page's own colours, light or dark."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

# Figures are drawn in these colours, which are then replaced by the CSS variables of the page.
INK, FAINT = "#010101", "#020202"
CYCLE = [f"#0000c{i}" for i in range(8)]
VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--line)",
    "#000000": "var(--ink)",  # scikit-learn's reference lines
    **{color: f"var(--c{i})" for i, color in enumerate(CYCLE)},
}


def inline_svg(draw: Callable[[Any], object], label: str, height: float = 3.2) -> str:
    """Return what `draw(ax)` draws, 5 inches wide, as an ``<svg>`` element with an aria-label.

    Text is not converted to paths, and never parsed as mathematics, because it may come from a
    table.

    Examples
    --------
    >>> from deltaprop.inspect.figures import inline_svg
    >>> svg = inline_svg(lambda ax: ax.set_title("<b> costs $1 & $2"), "A title")
    >>> "&lt;b&gt; costs $1 &amp; $2" in svg
    True
    """
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context(_style()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the browser has the glyphs that matplotlib's font lacks
        figure = Figure(figsize=(5, height), layout="constrained")
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _for_a_page(buffer.getvalue(), label)


NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that names of columns and classes may contain, but XML must not."""


def _escaped(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()


def _style() -> Any:
    from cycler import cycler

    return {
        "axes.axisbelow": True,
        "axes.edgecolor": FAINT,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.labelcolor": INK,
        "axes.prop_cycle": cycler(color=CYCLE),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "none",
        "font.size": 10,
        "grid.color": FAINT,
        "grid.linewidth": 0.5,
        "legend.facecolor": "none",
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "savefig.facecolor": "none",
        "svg.fonttype": "none",
        "svg.hashsalt": "deltaprop",
        "text.color": INK,
        "text.parse_math": False,
        "xtick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.color": FAINT,
        "ytick.labelcolor": INK,
    }


def _for_a_page(svg: str, label: str) -> str:
    root = ElementTree.fromstring(NOT_IN_XML.sub(_escaped, svg))
    prefix = f"f{zlib.crc32(svg.encode()):x}-"  # identifiers must be unique on a page
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)  # HTML needs no namespace for <svg>
        for name, value in list(element.attrib.items()):
            if name == "id":
                value = prefix + value
            elif _local(name) == "href":
                del element.attrib[name]
                name, value = "href", re.sub("^#", f"#{prefix}", value)
            else:
                value = value.replace("url(#", f"url(#{prefix}")
                value = re.sub("#[0-9a-f]{6}", lambda m: VARIABLES.get(m[0], m[0]), value)
                value = re.sub("font-family: [^;]*;", "", value)
            element.set(name, value)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """Return a name without its XML namespace."""
    return name.rpartition("}")[2]
