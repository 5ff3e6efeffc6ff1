"""The steps of a search as one compiled function: the equations and the solver under `lax.scan`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from deltaprop.derivation import equations, fisher
from deltaprop.engines.options import Xla
from deltaprop.engines.private import clipped_sums, reduced
from deltaprop.engines.xla import devices
from deltaprop.engines.xla.parameters import Divided, Parameters, Whole
from deltaprop.engines.xla.rows import Rows, dense
from deltaprop.engines.xla.shares import share
from deltaprop.functions.activations import Activation
from deltaprop.functions.losses import Loss
from deltaprop.functions.masks import mask_of_rows, signs_of_rows
from deltaprop.network import Dense, Network, scaled
from deltaprop.optim.solvers import FirstOrder

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt32

    from deltaprop.optim.privacy import Privacy

State = tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """All that the compiled code depends on beside shapes: searches with equal plans share it.

    Attributes
    ----------
    width : int
        Places for rows that each process has in a batch; those that are not filled count nothing.
    rows_of_epoch : int
        Of all processes.
    """

    parameters: Parameters
    layers: tuple[Dense, ...]
    loss: Loss
    own_loss: tuple[Any, ...]
    l2: float
    reduction: str
    dtype: np.dtype
    products: np.dtype
    width: int
    rows_of_epoch: int
    solver: FirstOrder | None = None
    clip_norm: float | None = None
    privacy: Privacy | None = None
    batch_size: int = 0  # of all processes; only private training asks

    @property
    def f(self) -> tuple[Activation, ...]:
        return tuple(layer.activation for layer in self.layers)


def plan_of(net: Network, mesh: Mesh, options: Xla, **search: Any) -> Plan:
    """The plan of a search for this network's θ."""
    loss, dtype = net.loss_function, options.dtype
    lies = Divided if options.shard_parameters else Whole
    parameters = lies((net.n_features, *(layer.units for layer in net.layers)), mesh)
    # A loss of the user's own is told apart by value and derivatives alone.
    own_loss = () if loss.is_builtin else (loss.encode, *dict(loss.closed).items())
    return Plan(
        parameters, net.layers, loss, own_loss, net.l2, net.reduction, net.dtype,
        net.dtype if dtype is None else jnp.dtype(dtype), **search,
    )  # fmt: skip


class Steps(NamedTuple):
    """What each of S steps needs: rows for its B places, how many of them count, η."""

    rows: Int[jax.Array, "S B"]
    counts: Int[jax.Array, " S"]
    rates: Float[jax.Array, " S"]


@partial(jax.jit, static_argnames=("plan", "mesh"), donate_argnames=("theta", "state"))
def run(
    plan: Plan,
    mesh: Mesh,
    theta: Float[jax.Array, " P"],
    state: State,
    step: Int[jax.Array, ""],
    seed: Int[jax.Array, ""] | None,
    data: Rows,
    penalised: Float[jax.Array, " P"],
    steps: Steps,
    noise_key: UInt32[jax.Array, "2"] | None = None,
) -> tuple[Float[jax.Array, " P"], State, Int[jax.Array, ""], Float[jax.Array, " S"]]:
    """θ, the solver's memory and the count after these steps, and the loss of each batch."""
    assert plan.solver is not None
    solver = plan.solver

    def one(carry: Any, now: Steps) -> Any:
        theta, state, step = carry
        loss, g, total, factors = _loss_and_gradient(
            plan, mesh, theta, data, penalised, now.rows, now.counts, step, seed, noise_key
        )
        g, counts, new_state = _clipped(g, plan.clip_norm), total > 0, state
        t = (step + 1) * 1.0  # a scalar of Python's kind: float64, but arrays keep their dtype
        if solver.needs_fisher:
            g = g / total if plan.reduction == "sum" else g
            factors = jax.tree.map(partial(devices.spread, mesh, devices.EVERYWHERE), factors)
            with jax.default_matmul_precision("highest"):
                g, new_state = solver.precondition(g, state, factors, now.rates, t)
        moved, new_state = solver.update(g, new_state, theta, now.rates, t, penalised)
        after = theta + moved, new_state, step + 1
        if data.w is not None and plan.privacy is None:  # a batch without weight is no step
            after = jax.tree.map(lambda new, old: jnp.where(counts, new, old), after, carry)
            loss = jnp.where(counts, loss, 0)
        return _placed(plan, mesh, after), devices.spread(mesh, devices.EVERYWHERE, loss)

    (theta, state, step), losses = jax.lax.scan(one, (theta, state, step), steps)
    return theta, state, step, losses


def _placed(plan: Plan, mesh: Mesh, carry: Any) -> Any:
    """θ, the solver's memory and the count where they are kept between steps."""
    theta, state, step = carry
    keep = partial(devices.spread, mesh, plan.parameters.place)
    return keep(theta), jax.tree.map(keep, state), devices.spread(mesh, devices.EVERYWHERE, step)


@partial(jax.jit, static_argnames=("plan", "mesh"))
def evaluate(
    plan: Plan,
    mesh: Mesh,
    theta: Float[jax.Array, " P"],
    data: Rows,
    penalised: Float[jax.Array, " P"],
    rows: Int[jax.Array, " B"],
    count: Int[jax.Array, ""],
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " P"]]:
    """L and ∂L/∂θ over these rows."""
    loss, g, *_ = _loss_and_gradient(plan, mesh, theta, data, penalised, rows, count)
    spread = partial(devices.spread, mesh, devices.EVERYWHERE)
    return spread(loss), spread(g)


def _loss_and_gradient(
    plan: Plan,
    mesh: Mesh,
    theta: Float[jax.Array, " P"],
    data: Rows,
    penalised: Float[jax.Array, " P"],
    rows: Int[jax.Array, " B"],
    count: Int[jax.Array, ""],
    step: Int[jax.Array, ""] | None = None,
    seed: Int[jax.Array, ""] | None = None,
    noise_key: UInt32[jax.Array, "2"] | None = None,
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " P"], Float[jax.Array, ""], tuple[Any, ...]]:
    """L, ∂L/∂θ, what the rows count together, and the Fisher information's factors where the
    solver wants them, for a batch of the rows of all processes."""
    batch = devices.picked(mesh, data, rows)
    process, place = jnp.divmod(jnp.arange(rows.shape[0]), plan.width)
    own = share(count, mesh.shape["process"])
    at = process * own + place
    w = ((place < own) & (at < count)).astype(plan.dtype)
    if batch.w is not None:
        w = w * batch.w
    total = w.sum()
    weights, l2 = scaled(plan.reduction, plan.l2, w[:, None], total)
    share_of_epoch = (count / plan.rows_of_epoch).astype(plan.dtype)
    if plan.reduction == "sum":
        l2 = l2 * share_of_epoch
    masks = None
    if seed is not None:
        masks = _masks(plan, seed, step, at.astype(jnp.uint32))
    X = dense(batch.X, plan.parameters.sizes[0], plan.products)
    t = plan.loss.target(batch.y, plan.layers[-1].units, theta, jnp)
    whole = _one_precision if plan.products == plan.dtype else _two_precisions
    if plan.privacy is not None:
        whole, weights = _clipped_sums, w[:, None]
    with jax.default_matmul_precision("highest"):  # GPUs and TPUs would round float32 first
        done = whole(plan, theta, X, t, weights, masks)
        factors = ()
        if plan.solver is not None and plan.solver.needs_fisher:
            H, places = plan.layers[-1].units, at.astype(jnp.uint32)
            signs = signs_of_rows(seed, step, len(plan.layers), places, H, plan.dtype, jnp)
            factors = fisher.factors(
                done.X, done.a, plan.parameters.views(theta.astype(plan.products))[0], plan.f,
                plan.loss, signs, w[:, None] / total, masks,
            )  # fmt: skip
    loss, g = done.loss, plan.parameters.joined(done.dW, done.db)
    if plan.privacy is not None:
        g = g + _noise(plan, noise_key, step)
        loss, g, l2 = reduced(
            plan.reduction, plan.l2, loss, g, count, plan.batch_size, share_of_epoch
        )
    if plan.l2:  # here, because the equations ask whether λ is 0, and compiled code cannot
        loss = loss + 0.5 * l2 * jnp.sum(penalised * theta * theta)
        g = g + l2 * (penalised * theta)
    return loss, g, total, factors


def _one_precision(
    plan: Plan, theta: Any, X: Any, t: Any, weights: Any, masks: Any
) -> equations.Pass:
    """The pass as it stands in the derivation."""
    W, b = plan.parameters.views(theta)
    return equations.forward_backward(X, t, W, b, plan.f, plan.loss, weights=weights, masks=masks)


def _clipped_sums(
    plan: Plan, theta: Any, X: Any, t: Any, weights: Any, masks: Any
) -> equations.Pass:
    """The pass of private training, whose gradients are sums over clipped samples."""
    assert plan.privacy is not None
    W, b = plan.parameters.views(theta)
    return clipped_sums(X, t, W, b, plan.f, plan.loss, plan.privacy.max_norm, weights, masks)


def _noise(plan: Plan, key: UInt32[jax.Array, "2"] | None, step: Any) -> Float[jax.Array, "..."]:
    """The same on all devices, for this step alone."""
    assert plan.privacy is not None
    assert key is not None
    scale, layout = plan.privacy.noise * plan.privacy.max_norm, plan.parameters.layout
    of_step = jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), step)
    # Drawn in float64: the tail of float32's ends at 5.4 standard deviations.
    noise = scale * jax.random.normal(of_step, (layout.size,), jnp.float64)
    return plan.parameters.joined(*layout.views(noise.astype(plan.dtype)))


def _two_precisions(
    plan: Plan, theta: Any, X: Any, t: Any, weights: Any, masks: Any
) -> equations.Pass:
    """The pass with X_l, a_l, δ_l and W_l in the narrow dtype, but ŷ, the loss and δ_{L-1} not."""
    f, narrow, wide = plan.f, plan.products, plan.dtype
    W, b = plan.parameters.views(theta.astype(narrow))
    Xs, a = equations.forward(X, W, b, f, masks)
    a_last = a[-1].astype(wide)
    yhat = f[-1].f(a_last, jnp)
    loss = equations.loss(t, a_last, yhat, W, f[-1], plan.loss, weights=weights)
    delta_last = equations.output_error(t, a_last, yhat, f[-1], plan.loss, weights)
    delta = equations.error_signals(delta_last.astype(narrow), Xs, a, W, f, masks)
    dW, db = equations.gradients(Xs, delta, W)
    wide_X, wide_a = [*Xs[:-1], yhat], [*a[:-1], a_last]
    dW, db = ([g.astype(wide) for g in parts] for parts in (dW, db))
    return equations.Pass(wide_X, wide_a, delta, dW, db, loss)


def _masks(
    plan: Plan, seed: Any, step: Any, places: UInt32[jax.Array, " B"]
) -> list[Float[jax.Array, "B H"] | None]:
    return [
        mask_of_rows(seed, step, l, places, layer.units, layer.dropout, plan.products, jnp)
        if layer.dropout
        else None
        for l, layer in enumerate(plan.layers)
    ]


def _clipped(g: Float[jax.Array, " P"], norm: float | None) -> Float[jax.Array, " P"]:
    """g, scaled down to that Euclidean norm where it is longer."""
    if norm is None:
        return g
    length = jnp.sqrt(jnp.sum(g * g))
    return g * jnp.where(length > norm, norm / length, 1)
