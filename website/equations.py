"""Equations of the site, set by KaTeX when it is built.

The pages need KaTeX's style sheet and fonts but no script, and an equation that KaTeX does not
accept ends the build.
"""

from __future__ import annotations

import html
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent.parent / "docs" / "assets" / "katex" / "katex.min.js"
_SET_BY_ARITHMATEX = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<formula>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


@cache
def _engine() -> Any:
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    engine.eval(SCRIPT.read_text(encoding="utf-8"))
    return engine


def render(formula: str, *, display: bool = True, output: str = "htmlAndMathml") -> str:
    """Return the formula as HTML; raise JSEvalException if it is not valid LaTeX."""
    options = {"displayMode": display, "strict": "error", "output": output}
    call = f"katex.renderToString({json.dumps(formula)}, {json.dumps(options)})"
    rendered: str = _engine().eval(call)
    return rendered


def render_page(page: str) -> str:
    r"""Replace the ``\(…\)`` and ``\[…\]`` that pymdownx.arithmatex left in a page.

    Examples
    --------
    >>> page = render_page(r'<p>In <span class="arithmatex">\(a &lt; 1\)</span></p>')
    >>> page.startswith('<p>In <span class="katex">')
    True
    """

    def equation(found: re.Match[str]) -> str:
        display = found["open"] == "["
        rendered = render(html.unescape(found["formula"]).strip(), display=display)
        return f'<div class="equation">{rendered}</div>' if display else rendered

    return _SET_BY_ARITHMATEX.sub(equation, page)
