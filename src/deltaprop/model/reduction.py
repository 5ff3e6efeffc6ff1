"""How the losses of N samples and the L2 penalty are combined into one number L."""

from __future__ import annotations

from typing import Any

REDUCTIONS = ("sum", "mean", "sklearn")


def scaled(reduction: str, l2: float, column: Any, total: Any) -> tuple[Any, Any]:
    """The sample weights and the λ for which the equations compute L under this reduction.

    Parameters
    ----------
    reduction : {"sum", "mean", "sklearn"}
    l2 : float
        λ of the network.
    column : (N, 1) array or float
        The sample weights w_n.
    total : float
        Σ_n w_n.

    Examples
    --------
    >>> scaled("mean", 0.5, 1.0, 4.0)
    (0.25, 0.5)
    """
    if reduction == "sum":
        return column, l2
    return column / total, l2 / total if reduction == "sklearn" else l2
