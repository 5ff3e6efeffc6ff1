"""Groups of inputs and units: which weights of a layer exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.checks import is_int

if TYPE_CHECKING:
    from jaxtyping import Bool


class Groups(NamedTuple):
    """The group of each input and of each unit of a layer, as numbers.

    Attributes
    ----------
    inputs : tuple of int
        The group of each of the D inputs.
    units : tuple of int
        The group of each of the H units.

    Examples
    --------
    >>> from deltaprop.model.groups import Groups
    >>> Groups(inputs=(0, 0, 1), units=(0, 1)).connected().astype(int)
    array([[1, 0],
           [1, 0],
           [0, 1]])
    """

    inputs: tuple[int, ...]
    units: tuple[int, ...]

    def connected(self) -> Bool[np.ndarray, "D H"]:
        """C: whether a unit is connected with an input, which is if both are in one group."""
        same: np.ndarray = np.equal.outer(np.array(self.inputs), np.array(self.units))
        return same

    @property
    def n_groups(self) -> int:
        """The number of groups."""
        return len(set(self.units))


def check_groups(groups: Any, n_units: int) -> Groups:
    """Two sequences of int, the second of them with a number for each unit.

    Raises
    ------
    ValueError
        If they are something else, or a unit has no input in its group.
    """
    try:
        inputs, units = groups.values() if isinstance(groups, Mapping) else groups
        checked = Groups(_numbers(inputs), _numbers(units))
    except (TypeError, ValueError):
        raise InputError(
            "groups of a Dense layer must be two sequences of int, the group of each input and of "
            f"each unit, such as ([0, 0, 1], [0, 1]); got {groups!r}."
        ) from None
    if len(checked.units) != n_units:
        raise InputError(
            f"groups of a Dense layer must give the group of each of its {n_units} unit(s), got "
            f"{len(checked.units)}."
        )
    if alone := set(checked.units) - set(checked.inputs):
        raise InputError(
            f"groups of a Dense layer must give each unit an input; no input is in group "
            f"{min(alone)}."
        )
    return checked


def _numbers(values: Iterable[Any]) -> tuple[int, ...]:
    numbers = tuple(values)
    if not all(is_int(value, -(2**31)) for value in numbers):
        raise TypeError
    return tuple(int(value) for value in numbers)
