"""The parameter `monotonic_cst` of estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from deltaprop.errors import InputError
from deltaprop.network import Network
from deltaprop.optim.monotonic import KeepMonotonic, rises
from deltaprop.optim.schedules import Schedule
from deltaprop.optim.solvers import FirstOrder
from deltaprop.optim.transforms import Transformation

MEANING = "-1 (the prediction falls), 0 (no constraint) and 1 (it rises)"


@dataclass(frozen=True, repr=False)
class Constrained(FirstOrder):
    """A solver whose steps keep a network monotonic in some inputs."""

    name: ClassVar = "constrained"

    solver: FirstOrder = field(kw_only=True)
    signs: tuple[int, ...] = field(kw_only=True)

    @classmethod
    def of(cls, solver: FirstOrder, signs: tuple[int, ...]) -> Constrained:
        """The same steps as those of `solver`, within the bounds."""
        return cls(solver.learning_rate, solver=solver, signs=signs)

    @property
    def decay_schedule(self) -> Schedule:
        return self.solver.decay_schedule

    def transformations(self) -> tuple[Transformation, ...]:
        own = (*self.solver.transformations(), *self.solver.scaling())
        return (*own, KeepMonotonic(self.signs))


def signs_of(given: Any, n_features: int, names: Sequence[str] | None) -> tuple[int, ...] | None:
    """The sign of each input; None if none is constrained.

    Parameters
    ----------
    given : array-like of int, mapping of name to int, or None
    n_features : int
    names : sequence of str or None
        The names of the inputs, which a mapping needs.

    Raises
    ------
    InputError
        If there is not one sign for each input, or a name is unknown.

    Examples
    --------
    >>> signs_of({"b": -1}, 2, ["a", "b"]), signs_of([0, 0], 2, None)
    ((0, -1), None)
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        known = list(names or ())
        unknown = [name for name in given if name not in known]
        if unknown:
            found = ", ".join(known) if known else "none, because X has no column names"
            raise InputError(
                f"monotonic_cst names the column {unknown[0]!r}; the columns are {found}."
            )
        given = [given.get(name, 0) for name in known]
    signs = np.asarray(given)
    if signs.shape != (n_features,) or not np.isin(signs, (-1, 0, 1)).all():
        raise InputError(
            f"monotonic_cst must have a number for each of the {n_features} columns: {MEANING}; "
            f"got {given!r}."
        )
    return tuple(int(sign) for sign in signs) if signs.any() else None


def require_monotonic(net: Network) -> None:
    """Raise InputError if the bounds do not make the outputs of a network monotonic."""
    for layer in net.layers:
        if layer.activation.coupling == "elementwise" and not rises(layer.activation):
            raise InputError(
                "monotonic_cst needs activations that never fall, such as 'tanh' or 'softplus'; "
                f"got {layer.activation.name!r}."
            )
    if net.layers[-1].activation.coupling != "elementwise":
        raise InputError(
            "monotonic_cst is for numbers, two classes or several labels per row, and for "
            "loss='ordinal'; the probabilities of more than two classes cannot all rise."
        )
