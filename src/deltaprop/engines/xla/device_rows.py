"""X, y and sample weights on the devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from deltaprop.data.rows import Rows
from deltaprop.engines.xla.devices import ROWS, put
from deltaprop.functions.arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num


class Sparse(NamedTuple):
    """A sparse matrix; all rows are padded to the same number of entries, with 0 in column 0."""

    columns: Int[Array, "N E"]
    values: Num[Array, "N E"]


class DeviceRows(NamedTuple):
    """The rows of a process, or those of a batch, on its devices."""

    X: Any
    y: Num[Array, "N ..."]
    w: Float[Array, " N"] | None


def on_devices(mesh: Mesh, rows: Rows) -> DeviceRows:
    """This process's rows, on each of its devices."""
    rows = rows.used
    X = _padded(rows.X) if hasattr(rows.X, "tocsr") else rows.X
    given = DeviceRows(X, rows.y, rows.w)
    return jax.tree.map(lambda array: put(mesh, ROWS, _in_native_order(array)), given)


def _in_native_order(array: Num[np.ndarray, "..."]) -> Num[np.ndarray, "..."]:
    """The array in the byte order of this machine, the only one that JAX reads."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def dense(X: Any, D: int, dtype: np.dtype) -> Float[jax.Array, "B D"]:
    """A batch of X as a dense array of that dtype."""
    if not isinstance(X, Sparse):
        return X.astype(dtype)
    B = X.columns.shape[0]
    at = jnp.arange(B)[:, None], X.columns
    return jnp.zeros((B, D), dtype).at[at].add(X.values.astype(dtype))


def _padded(X: Any) -> Sparse:
    counts = np.diff(X.indptr)
    row = np.repeat(np.arange(X.shape[0]), counts)
    entry = np.arange(len(X.data)) - np.repeat(X.indptr[:-1], counts)
    shape = X.shape[0], max(1, counts.max(initial=0))
    columns, values = np.zeros(shape, np.int32), np.zeros(shape, X.dtype)
    columns[row, entry], values[row, entry] = X.indices, X.data
    return Sparse(columns, values)
