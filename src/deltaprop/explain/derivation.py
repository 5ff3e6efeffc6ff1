"""``net.derivation()``: the steps of a pass, and their numbers, as text, LaTeX or HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deltaprop.errors import InputError
from deltaprop.explain import latex, mathml, unicode
from deltaprop.explain.expressions import Name
from deltaprop.explain.path import path_of
from deltaprop.explain.steps import Step, steps_of
from deltaprop.explain.values import batch_of

if TYPE_CHECKING:
    from deltaprop.model import Model

WRITERS = {"unicode": unicode.document, "latex": latex.document, "html": mathml.document}
FORMATS = tuple(WRITERS)


@dataclass(frozen=True)
class Derivation:
    """Every equation of one network; ``str`` and ``print`` write it in its `format`.

    Notebooks display it as HTML with MathML.

    Attributes
    ----------
    steps : tuple of Step
        Titles and equations, in the order of computation.
    values : dict
        The number or array behind each symbol; empty without a batch.
    format : {"unicode", "latex", "html"}
        The format that ``str`` returns.

    Examples
    --------
    >>> import deltaprop as dp
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
    >>> len(net.derivation().steps)
    4
    """

    steps: tuple[Step, ...]
    values: dict[Name, Any] = field(default_factory=dict)
    format: str = "unicode"

    @property
    def unicode(self) -> str:
        """Text for a terminal: each formula with the shapes on the line below."""
        return unicode.document(self.steps, self.values)

    @property
    def latex(self) -> str:
        """An ``align*`` for each step, for amsmath, KaTeX or MathJax."""
        return latex.document(self.steps, self.values)

    @property
    def html(self) -> str:
        """A ``<div>`` of MathML, which browsers display without a script."""
        return mathml.document(self.steps, self.values)

    def __str__(self) -> str:
        return WRITERS[self.format](self.steps, self.values)

    def __repr__(self) -> str:
        count = sum(len(step.equations) for step in self.steps)
        return f"Derivation({count} equations, format={self.format!r})"

    def _repr_html_(self) -> str:
        return self.html

    def _repr_latex_(self) -> str:
        return self.latex


def derive(
    net: Model,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    format: str = "unicode",
    *,
    steps: bool = False,
) -> Derivation:
    """Write every equation of `net`: see :meth:`deltaprop.Network.derivation`.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.inspect import derive
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
    >>> derive(net)
    Derivation(7 equations, format='unicode')
    """
    if format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}; got {format!r}.")
    if (X is None) != (y is None):
        missing = "X" if X is None else "y"
        raise InputError(f"{missing} is missing: give both X and y, or neither.")
    write = path_of if steps else steps_of
    if X is None:
        if sample_weight is not None:
            raise InputError("sample_weight needs a batch: give X and y as well.")
        return Derivation(write(net), {}, format)
    batch = batch_of(net, X, y, sample_weight)
    written = write(net, batch.form)
    return Derivation(written, batch.values(written), format)


__all__ = ["FORMATS", "Derivation", "derive"]
