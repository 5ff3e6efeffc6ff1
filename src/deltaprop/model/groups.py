"""Groups of inputs and units: which weights of a layer exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.checks import is_int

if TYPE_CHECKING:
    from jaxtyping import Bool


LONGEST = 16_384  # weights of a diagonal


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

    def blocks(self) -> tuple[Block, ...]:
        """The weights that exist, as few blocks of them.

        Examples
        --------
        >>> from deltaprop.model.groups import Groups
        >>> for block in Groups(inputs=(0, 1, 2, 2), units=(0, 1, 2, 2, 2)).blocks():
        ...     print(block)
        Block(d=2, u=2, inputs=2, units=3, diagonal=False)
        Block(d=0, u=0, inputs=2, units=2, diagonal=True)
        """
        return _blocks(self)


class Block(NamedTuple):
    """Some weights of a layer that exist.

    Attributes
    ----------
    d, u : int
        The first input and the first unit.
    inputs, units : int
        How many adjacent inputs and units are connected.
    diagonal : bool
        Whether each of the inputs is connected with one of the units, in their order, rather than
        with all of them.
    """

    d: int
    u: int
    inputs: int
    units: int
    diagonal: bool

    @property
    def size(self) -> int:
        """The number of weights."""
        return self.inputs if self.diagonal else self.inputs * self.units


@lru_cache(maxsize=64)
def _blocks(groups: Groups) -> tuple[Block, ...]:
    inputs, units = _ranges(groups.inputs), _ranges(groups.units)
    pairs = [
        (*of_inputs, *of_units)
        for group, ranges in units.items()
        for of_inputs, of_units in product(inputs[group], ranges)
    ]
    whole = [Block(d, u, n, m, False) for d, n, u, m in pairs if n * m > 1]
    single = sorted(((d, u) for d, n, u, m in pairs if n * m == 1), key=_along_diagonals)
    return (*whole, *_diagonals(single))


def _along_diagonals(at: tuple[int, int]) -> tuple[int, int]:
    d, u = at
    return u - d, d


def _ranges(numbers: tuple[int, ...]) -> dict[int, list[tuple[int, int]]]:
    """For each group, the first position and the length of each part that is adjacent."""
    found: dict[int, list[tuple[int, int]]] = {}
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[start]:
            found.setdefault(numbers[start], []).append((start, i - start))
            start = i
    return found


def _diagonals(single: list[tuple[int, int]]) -> Iterator[Block]:
    """Blocks of the weights (d, u), in which d and u grow together."""
    start = 0
    for i in range(1, len(single) + 1):
        d, u = single[start]
        n = i - start
        if i == len(single) or single[i] != (d + n, u + n) or n == LONGEST:
            yield Block(d, u, n, n, True)
            start = i


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
