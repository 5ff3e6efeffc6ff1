"""KaTeX in a JavaScript engine: it decides what is LaTeX."""

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
    """The formula as HTML; raises JSEvalException where it is not valid LaTeX."""
    options = "{displayMode: true, strict: 'error', output: 'html'}"
    html: str = _engine().eval(f"katex.renderToString({json.dumps(formula)}, {options})")
    return html
