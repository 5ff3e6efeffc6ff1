"""The placement of arrays on devices: each device has all rows of its process.

The devices form a grid of processes × devices per process. All of them share each batch, and every
device selects its part of any batch without communication. θ is copied to all devices, or divided
among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from deltaprop.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

EVERYWHERE = PartitionSpec()
ROWS = PartitionSpec("process")
BATCH = PartitionSpec(("process", "device"))
BATCHES = PartitionSpec(None, ("process", "device"))
DIVIDED = PartitionSpec(("process", "device"))


def grid(devices: int | None) -> Mesh:
    """The devices that share a batch: all of them, or this many per process."""
    return _grid(jax.devices(), jax.process_count(), devices)


def own_grid(devices: int | None) -> Mesh:
    """The devices of this process, or this many of them, for work without other processes."""
    return _grid(jax.local_devices(), 1, devices)


def _grid(available: list[jax.Device], processes: int, devices: int | None) -> Mesh:
    here = jax.local_device_count()
    if devices is not None and devices > here:
        raise InputError(f"devices of Xla is {devices}, but this process has {here} device(s).")
    ordered = sorted(available, key=lambda device: (device.process_index, device.id))
    per_process = np.array(ordered).reshape(processes, -1)
    return Mesh(per_process[:, :devices], ("process", "device"))


def put(mesh: Mesh, part: PartitionSpec, array: Shaped[np.ndarray, "..."]) -> jax.Array:
    """This process's share of a global array, on its devices."""
    return jax.make_array_from_process_local_data(NamedSharding(mesh, part), array)


def put_same(mesh: Mesh, part: PartitionSpec, array: Shaped[np.ndarray, "..."]) -> jax.Array:
    """A global array of which every process has a full copy; each device gets its part."""
    sharding = NamedSharding(mesh, part)
    # Copies, because JAX may use NumPy's memory directly and compiled calls overwrite θ.
    return jax.make_array_from_callback(array.shape, sharding, lambda at: array[at].copy())


def whole(array: jax.Array) -> Shaped[np.ndarray, "..."]:
    """A global array as a NumPy array in every process."""
    if not (array.is_fully_replicated or array.is_fully_addressable):
        from jax.experimental.multihost_utils import process_allgather

        array = process_allgather(array, tiled=True)
    return np.array(array)


def spread(mesh: Mesh, part: PartitionSpec, array: jax.Array) -> jax.Array:
    """Inside compiled code: the array with this placement."""
    return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, part))


def picked(mesh: Mesh, data: Any, rows: Int[jax.Array, " B"]) -> Any:
    """The batch: each device selects rows from the data of its process."""
    pick = jax.shard_map(
        lambda data, rows: jax.tree.map(lambda array: array[rows], data),
        mesh=mesh,
        in_specs=(ROWS, BATCH),
        out_specs=BATCH,
    )
    return pick(data, rows)
