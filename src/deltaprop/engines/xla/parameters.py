"""How θ and arrays of its size are placed on the devices: copied to each, or divided."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from deltaprop.derivation.equations import Vectors
from deltaprop.engines.xla import devices
from deltaprop.functions.arrays import Array
from deltaprop.model import Layout

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    Parts = Sequence[Float[jax.Array, "..."]]


@dataclass(frozen=True)
class Parameters(ABC):
    """The representation of θ on the devices.

    Parameters
    ----------
    layout : Layout
        The order of the parameters.
    """

    layout: Layout
    mesh: Mesh
    place: ClassVar[PartitionSpec]

    @abstractmethod
    def packed(self, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, "..."]:
        """From the form in NumPy to the form on the devices."""

    @abstractmethod
    def unpacked(self, array: Float[np.ndarray, "..."]) -> Float[np.ndarray, " P"]:
        """The inverse of :meth:`packed`."""

    @abstractmethod
    def split(self, theta: Float[jax.Array, "..."]) -> Parts:
        """The parts of θ in their order."""

    @abstractmethod
    def joined(self, parts: Parts) -> Float[jax.Array, "..."]:
        """∂L/∂θ from its parts, each summed over the devices."""

    def views(self, theta: Float[jax.Array, "..."]) -> tuple[Parts, Parts, Vectors]:
        """W, b, and r and α, of all layers."""
        pieces = self.split(theta)
        return *self.layout.weights(pieces), self.layout.vectors_of(pieces)

    def put(self, theta: Float[np.ndarray, " P"]) -> jax.Array:
        """θ, the same in all processes, on the devices."""
        return devices.put_same(self.mesh, self.place, self.packed(theta))

    def fetched(self, array: jax.Array) -> Float[np.ndarray, " P"]:
        """θ as a NumPy array."""
        return self.unpacked(devices.whole(array))


class Whole(Parameters):
    """A copy of θ on each device."""

    place = devices.EVERYWHERE

    def packed(self, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
        return theta

    def unpacked(self, array: Float[np.ndarray, " P"]) -> Float[np.ndarray, " P"]:
        return array

    def split(self, theta: Float[jax.Array, " P"]) -> Parts:
        return self.layout.split(theta)

    def joined(self, parts: Parts) -> Float[jax.Array, " P"]:
        g, start = jnp.zeros(self.layout.size, parts[0].dtype), 0
        for part in parts:  # in place, because XLA is slow at concatenating products
            g = jax.lax.dynamic_update_slice(g, part.ravel(), (start,))
            start += part.size
        return g


class Divided(Parameters):
    """θ as one row for each of the n devices, with one n-th of every W_l and b_l.

    A W_l is gathered before a product. After a product, the devices sum ∂L/∂W_l and each keeps its
    part (ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054). Parts are padded with zeros.
    """

    place = devices.DIVIDED

    def packed(self, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, "n K"]:
        parts = self.layout.split(theta)
        return np.concatenate([self._rows(part, np) for part in parts], axis=1)

    def unpacked(self, array: Float[np.ndarray, "n K"]) -> Float[np.ndarray, " P"]:
        theta = np.empty(self.layout.size, array.dtype)
        for part, (start, width) in zip(self.layout.split(theta), self._columns(), strict=True):
            part[...] = array[:, start : start + width].ravel()[: part.size].reshape(part.shape)
        return theta

    def split(self, theta: Float[jax.Array, "n K"]) -> Parts:
        pieces = []
        for part, (start, width) in zip(self.layout.parts, self._columns(), strict=True):
            rows = theta[:, start : start + width]
            gathered = devices.spread(self.mesh, devices.EVERYWHERE, rows)
            pieces.append(gathered.ravel()[: part.size].reshape(part.shape))
        return pieces

    def joined(self, parts: Parts) -> Float[jax.Array, "n K"]:
        rows = [self._rows(part, jnp) for part in parts]
        return jnp.concatenate(
            [devices.spread(self.mesh, devices.DIVIDED, part) for part in rows], axis=1
        )

    def _rows(self, part: Shaped[Array, "..."], xp: Any) -> Any:
        n = self.mesh.size
        return xp.pad(part.ravel(), (0, -part.size % n)).reshape(n, -1)

    def _columns(self) -> list[tuple[int, int]]:
        """First column and width of each part of θ."""
        widths = [-(-part.size // self.mesh.size) for part in self.layout.parts]
        return list(zip(np.cumsum([0, *widths[:-1]]).tolist(), widths, strict=True))
