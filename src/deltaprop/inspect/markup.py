"""The pieces of a report's page. They escape all text that comes from data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape, unescape
from importlib.resources import files
from typing import Any

import numpy as np

from deltaprop.explain.mathml import words
from deltaprop.inspect.figures import inline_svg

LONGEST_CELL, LONGEST_LABEL = 80, 20
# Nothing is loaded from other hosts and no script runs, whatever a table contains.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


def page(title: str, subtitle: str, sections: dict[str, Markup]) -> str:
    """Return one self-contained HTML document with a section under each name."""
    style = files("deltaprop.inspect").joinpath("report.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{_slug(name)}">{escape(name)}</a>' for name in sections)
    body = "".join(
        f'<section id="{_slug(name)}"><h2>{escape(name)}</h2>{html}</section>\n'
        for name, html in sections.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n"
        f'<body><header><h1>{escape(title)}</h1><p class="soft">{escape(subtitle)}</p></header>'
        f'<nav aria-label="Sections">{links}</nav>\n<main>{body}</main></body></html>\n'
    )


def table(heads: Iterable[object], rows: Iterable[Iterable[object]], tall: bool = False) -> Markup:
    """Return a table that scrolls in its own box; columns of numbers are right-aligned."""
    lines = [list(row) for row in rows]
    right = [all(_is_number(value) for value in column) for column in zip(*lines, strict=True)]

    def line(tag: str, values: Iterable[object]) -> str:
        cells = "".join(
            f"<{tag}{' class=number' if is_right else ''}>{_html(value)}</{tag}>"
            for value, is_right in zip(values, right, strict=True)
        )
        return f"<tr>{cells}</tr>"

    body = "".join(line("td", values) for values in lines)
    return scrolling(
        f"<table><thead>{line('th', heads)}</thead><tbody>{body}</tbody></table>", tall=tall
    )


def scrolling(html: str, tall: bool = False) -> Markup:
    """Return a box that scrolls what is too wide (and, if `tall`, too high) for the page."""
    kind = "scroll tall" if tall else "scroll"
    return Markup(f'<div class="{kind}" tabindex="0" role="region" aria-label="Table">{html}</div>')


def figure(draw: Any, caption: str, height: float = 3.2) -> Markup:
    """Return what `draw(ax)` draws, with a caption below it.

    The caption may be :func:`mathematics`.
    """
    shown, plain = escape(caption), caption
    if isinstance(caption, Markup):
        shown, plain = caption, unescape(re.sub("<[^>]*>", "", caption))
    svg = inline_svg(draw, plain, height)
    return Markup(f"<figure>{svg}<figcaption>{shown}</figcaption></figure>")


def mathematics(text: str) -> Markup:
    """Return text in which X_0, a_l or (W_0)_dh are written with subscripts.

    Names that come from data must not be in it.

    Examples
    --------
    >>> from deltaprop.inspect.markup import mathematics
    >>> mathematics("δ_0 = f′(a_0) ⊙ (δ_1 W_1ᵀ)")
    'δ<sub>0</sub> = f′(a<sub>0</sub>) ⊙ (δ<sub>1</sub> W<sub>1</sub>ᵀ)'
    """
    return Markup(words(text))


def figures(parts: Iterable[Markup]) -> Markup:
    """Return figures side by side where there is room."""
    return Markup(f'<div class="figures">{"".join(parts)}</div>')


def facts(values: dict[str, object]) -> Markup:
    """Return large numbers in boxes, with their names below them."""
    boxes = "".join(
        f'<div class="fact"><b>{_html(value)}</b><span>{escape(name)}</span></div>'
        for name, value in values.items()
    )
    return Markup(f'<div class="facts">{boxes}</div>')


def paragraph(text: str) -> Markup:
    """Return a paragraph."""
    return Markup(f"<p>{escape(text)}</p>")


def heading(text: str) -> Markup:
    """Return a heading inside a section."""
    return Markup(f"<h3>{escape(text)}</h3>")


def text_of(value: object, longest: int = LONGEST_CELL) -> str:
    """Return a value as short text.

    Examples
    --------
    >>> from deltaprop.inspect.markup import text_of
    >>> text_of(1234.5678), text_of(float("nan")), text_of("a long name", 7)
    ('1,235', 'missing', 'a long…')
    """
    if isinstance(value, (float, np.floating)):
        return "missing" if np.isnan(value) else f"{value:,.4g}"
    text = "missing" if value is None else str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def label_of(value: object) -> str:
    """Return a name, shortened to fit into a figure."""
    return text_of(value, LONGEST_LABEL)


def _html(value: object) -> str:
    return value if isinstance(value, Markup) else escape(text_of(value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")
