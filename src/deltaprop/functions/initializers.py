"""Initial weights and biases: one function per scheme, with a NumPy RandomState.

=================  =========================================================================
scheme             W of a layer with D inputs and H outputs
=================  =========================================================================
`glorot_uniform`   uniform with variance 2 / (D + H). Glorot and Bengio (2010)
`glorot_normal`    normal with variance 2 / (D + H)
`he_uniform`       uniform with variance 2 / D. He et al. (2015)
`he_normal`        normal with variance 2 / D
`lecun_uniform`    uniform with variance 1 / D. LeCun et al. (1998)
`lecun_normal`     normal with variance 1 / D
`orthogonal`       orthonormal columns, or rows if H > D. Saxe, McClelland and Ganguli (2014)
`sklearn`          uniform, as in scikit-learn's ``MLPClassifier`` and ``MLPRegressor``
=================  =========================================================================

All schemes set the biases to 0, except ``"sklearn"``, which draws them from the same range as W.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    Draw = Callable[[np.random.RandomState, int, int], Float[np.ndarray, "D H"]]


def random_state(seed: Any) -> np.random.RandomState:
    """The random number generator for a seed, which may be any ``random_state`` of scikit-learn."""
    if isinstance(seed, np.random.RandomState):
        return seed
    if isinstance(seed, Integral):
        return np.random.RandomState(int(seed))
    from sklearn.utils import check_random_state  # the import is slow and rarely needed

    rng: np.random.RandomState = check_random_state(seed)
    return rng


def _uniform(variance: Callable[[int, int], float]) -> Draw:
    def draw(rng: np.random.RandomState, D: int, H: int) -> Float[np.ndarray, "D H"]:
        bound = math.sqrt(3 * variance(D, H))
        return rng.uniform(-bound, bound, (D, H))

    return draw


def _normal(variance: Callable[[int, int], float]) -> Draw:
    def draw(rng: np.random.RandomState, D: int, H: int) -> Float[np.ndarray, "D H"]:
        return math.sqrt(variance(D, H)) * rng.standard_normal((D, H))

    return draw


def _orthogonal(rng: np.random.RandomState, D: int, H: int) -> Float[np.ndarray, "D H"]:
    """Orthonormal columns, or rows if H > D."""
    Q, R = np.linalg.qr(rng.standard_normal((max(D, H), min(D, H))))
    Q *= np.sign(np.diag(R))
    return Q if D >= H else Q.T


def _glorot(D: int, H: int) -> float:
    return 2 / (D + H)


def _he(D: int, H: int) -> float:
    return 2 / D


def _lecun(D: int, H: int) -> float:
    return 1 / D


SCHEMES: dict[str, Draw] = {
    "glorot_uniform": _uniform(_glorot),
    "glorot_normal": _normal(_glorot),
    "he_uniform": _uniform(_he),
    "he_normal": _normal(_he),
    "lecun_uniform": _uniform(_lecun),
    "lecun_normal": _normal(_lecun),
    "orthogonal": _orthogonal,
}
NAMES = (*SCHEMES, "sklearn")


def draw_layer(
    scheme: str, rng: np.random.RandomState, D: int, H: int, activation: str
) -> tuple[Float[np.ndarray, "D H"], Float[np.ndarray, " H"]]:
    """W and b of one layer. Only scikit-learn's scheme depends on the name of the activation."""
    if scheme == "sklearn":
        bound = math.sqrt((2 if activation == "logistic" else 6) / (D + H))
        return rng.uniform(-bound, bound, (D, H)), rng.uniform(-bound, bound, H)
    return SCHEMES[scheme](rng, D, H), np.zeros(H)
