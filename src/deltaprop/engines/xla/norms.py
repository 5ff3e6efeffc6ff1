"""The gradient norm of each sample, compiled. Processes work independently."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from deltaprop.data.rows import Rows
from deltaprop.derivation import equations
from deltaprop.engines.xla import devices
from deltaprop.engines.xla.device_rows import DeviceRows, dense, on_devices
from deltaprop.engines.xla.shares import Shares
from deltaprop.engines.xla.steps import Plan, plan_of
from deltaprop.engines.xla_options import XlaOptions
from deltaprop.errors import InputError
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def sample_norms(
    net: Model, X: Any, y: Any, options: XlaOptions | None = None
) -> Float[np.ndarray, " N"]:
    """:meth:`deltaprop.Network.sample_norms` on the devices of this process, which share the rows.

    Parameters
    ----------
    net : Network
    X, y : array-like
        As for :meth:`deltaprop.Network.sample_norms`. If several processes train together, each of
        them may call this for any rows.
    options : Xla, default=XlaOptions()

    Raises
    ------
    ValueError
        If `options` asks for bfloat16, in which norms would be accurate to two digits only.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from deltaprop.engines import xla
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    >>> net.theta = [2.0, 1.0]
    >>> xla.sample_norms(net, [[0.0], [1.0]], [3.0, 3.0])  # δ = -2, 0
    array([2., 0.])
    """
    options = options or XlaOptions()
    if options.dtype is not None:
        raise InputError(
            f"dtype of Xla is {options.dtype!r}, but sample_norms uses the dtype of the network. "
            "Leave it out."
        )
    data = Rows.checked(net, X, y)
    mesh, N = devices.own_grid(options.devices), len(data)
    batch_size = net.blocks(N)[0].stop
    shares = Shares(False, batch_size, mesh)
    plan = plan_of(net, mesh, XlaOptions(), width=shares.width, rows_of_epoch=N)
    batches, counts = shares.of_batches(np.arange(N), 0, -(-N // batch_size))
    with jax.enable_x64(True):
        norms = _norms(
            plan, mesh, plan.parameters.put(net.theta),
            on_devices(mesh, data), devices.put(mesh, devices.BATCHES, batches),
        )  # fmt: skip
        batches_and_counts = zip(np.asarray(norms), counts, strict=True)
    return np.concatenate([of_batch[:count] for of_batch, count in batches_and_counts])


@partial(jax.jit, static_argnames=("plan", "mesh"))
def _norms(
    plan: Plan,
    mesh: Mesh,
    theta: Float[jax.Array, " P"],
    data: DeviceRows,
    batches: Int[jax.Array, "S B"],
) -> Float[jax.Array, "S B"]:
    def one(_: None, rows: Int[jax.Array, " B"]) -> tuple[None, Float[jax.Array, " B"]]:
        batch, parameters = devices.picked(mesh, data, rows), plan.parameters
        W, b, vectors = parameters.views(theta)
        X = dense(batch.X, parameters.layout.sizes[0], plan.dtype)
        t = plan.loss.target(batch.y, plan.layers[-1].units, theta, jnp)
        with jax.default_matmul_precision("highest"):
            parts = equations.sample_gradients(X, t, W, b, plan.f, plan.loss, vectors)
            return None, equations.sample_norms(*parts)

    return jax.lax.scan(one, None, batches)[1]
