"""How the weights start: one function a scheme, all drawing from a NumPy RandomState.

Every scheme but ``"sklearn"`` starts the biases at zero.
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
    """The generator of a seed, by scikit-learn's rule; it is only imported for unusual seeds."""
    if isinstance(seed, np.random.RandomState):
        return seed
    if isinstance(seed, Integral):
        return np.random.RandomState(int(seed))
    from sklearn.utils import check_random_state

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
    """Orthonormal columns (or rows, when H > D). Saxe, McClelland and Ganguli (2014)."""
    Q, R = np.linalg.qr(rng.standard_normal((max(D, H), min(D, H))))
    Q *= np.sign(np.diag(R))
    return Q if D >= H else Q.T


def _glorot(D: int, H: int) -> float:
    """Glorot and Bengio (2010)."""
    return 2 / (D + H)


def _he(D: int, H: int) -> float:
    """He et al. (2015)."""
    return 2 / D


def _lecun(D: int, H: int) -> float:
    """LeCun et al. (1998)."""
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
    """W and b of one layer. scikit-learn's scheme looks at the activation and draws b too."""
    if scheme == "sklearn":
        bound = math.sqrt((2 if activation == "logistic" else 6) / (D + H))
        return rng.uniform(-bound, bound, (D, H)), rng.uniform(-bound, bound, H)
    return SCHEMES[scheme](rng, D, H), np.zeros(H)
