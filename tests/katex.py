"""KaTeX in a JavaScript engine, to validate LaTeX."""

import json
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any


@cache
def _engine() -> Any:
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    script = distribution("sphinxcontrib-katex").locate_file("sphinxcontrib/katex.min.js")
    engine.eval(Path(str(script)).read_text(encoding="utf-8"))
    return engine


def render(formula: str) -> str:
    """Return the formula as HTML; raise JSEvalException if it is not valid LaTeX."""
    options = "{displayMode: true, strict: 'error', output: 'html'}"
    html: str = _engine().eval(f"katex.renderToString({json.dumps(formula)}, {options})")
    return html
