"""KaTeX in a JavaScript engine, to validate LaTeX."""

from website.equations import render as _render


def render(formula: str) -> str:
    """Return the formula as HTML; raise JSEvalException if it is not valid LaTeX."""
    return _render(formula, output="html")
