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

from deltaprop.engines.xla import devices
from deltaprop.functions.arrays import Array
from deltaprop.model import Layout

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

    Parts = Sequence[Float[jax.Array, "..."]]


@dataclass(frozen=True)
class Parameters(ABC):
    """The representation on the devices of θ, for layers of these sizes.

    Parameters
    ----------
    sizes : tuple of int
        D_0, H_0, H_1, …
    """

    sizes: tuple[int, ...]
    mesh: Mesh
    place: ClassVar[PartitionSpec]

    @property
    def layout(self) -> Layout:
        return Layout(self.sizes)

    @abstractmethod
    def packed(self, theta: Float[np.ndarray, " P"]) -> Float[np.ndarray, "..."]:
        """From the form in NumPy to the form on the devices."""

    @abstractmethod
    def unpacked(self, array: Float[np.ndarray, "..."]) -> Float[np.ndarray, " P"]:
        """The inverse of :meth:`packed`."""

    @abstractmethod
    def views(self, theta: Float[jax.Array, "..."]) -> tuple[Parts, Parts]:
        """W and b of all layers."""

    @abstractmethod
    def joined(self, dW: Parts, db: Parts) -> Float[jax.Array, "..."]:
        """∂L/∂θ from its parts, each summed over the devices."""

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

    def views(self, theta: Float[jax.Array, " P"]) -> tuple[Parts, Parts]:
        return self.layout.views(theta)

    def joined(self, dW: Parts, db: Parts) -> Float[jax.Array, " P"]:
        g, start = jnp.zeros(self.layout.size, dW[0].dtype), 0
        for part in _in_order(dW, db):  # in place, because XLA is slow at concatenating products
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
        return np.concatenate([self._rows(part, np) for part in self._parts_of(theta)], axis=1)

    def unpacked(self, array: Float[np.ndarray, "n K"]) -> Float[np.ndarray, " P"]:
        theta = np.empty(self.layout.size, array.dtype)
        for part, (start, width) in zip(self._parts_of(theta), self._columns(), strict=True):
            part[...] = array[:, start : start + width].ravel()[: part.size].reshape(part.shape)
        return theta

    def views(self, theta: Float[jax.Array, "n K"]) -> tuple[Parts, Parts]:
        parts, shapes = [], [shape for D, H in self.layout.shapes for shape in ((D, H), (H,))]
        for shape, (start, width) in zip(shapes, self._columns(), strict=True):
            rows = theta[:, start : start + width]
            gathered = devices.spread(self.mesh, devices.EVERYWHERE, rows)
            parts.append(gathered.ravel()[: int(np.prod(shape))].reshape(shape))
        return parts[0::2], parts[1::2]

    def joined(self, dW: Parts, db: Parts) -> Float[jax.Array, "n K"]:
        rows = [self._rows(part, jnp) for part in _in_order(dW, db)]
        return jnp.concatenate(
            [devices.spread(self.mesh, devices.DIVIDED, part) for part in rows], axis=1
        )

    def _parts_of(self, theta: Float[np.ndarray, " P"]) -> Parts:
        return _in_order(*self.layout.views(theta))

    def _rows(self, part: Shaped[Array, "..."], xp: Any) -> Any:
        n = self.mesh.size
        return xp.pad(part.ravel(), (0, -part.size % n)).reshape(n, -1)

    def _columns(self) -> list[tuple[int, int]]:
        """First column and width of each W_l and b_l."""
        sizes = [size for D, H in self.layout.shapes for size in (D * H, H)]
        widths = [-(-size // self.mesh.size) for size in sizes]
        return list(zip(np.cumsum([0, *widths[:-1]]).tolist(), widths, strict=True))


def _in_order(W: Parts, b: Parts) -> Parts:
    """W_0, b_0, W_1, …"""
    return [part for pair in zip(W, b, strict=True) for part in pair]
