"""The steps of a training run as one compiled function: equations and solver under `lax.scan`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from deltaprop.derivation import equations, fisher
from deltaprop.engines.xla import devices
from deltaprop.engines.xla.device_rows import DeviceRows, dense
from deltaprop.engines.xla.parameters import Divided, Parameters, Whole
from deltaprop.engines.xla.shares import share
from deltaprop.engines.xla_options import XlaOptions
from deltaprop.functions.activations import Activation
from deltaprop.functions.losses import Loss
from deltaprop.functions.masks import mask_of_rows, signs_of_rows
from deltaprop.model import Dense, Model
from deltaprop.model.parameters import in_order
from deltaprop.optim.batch_gradients import Batch, BatchGradient, ExactGradient
from deltaprop.optim.transforms import Chain, State, Step

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt32

    Scalar = Float[jax.Array, ""]


@dataclass(frozen=True)
class Plan:
    """Everything besides shapes that the compiled code depends on. Equal plans share the code.

    Attributes
    ----------
    parameters : Parameters
        How θ is placed on the devices.
    products : dtype
        The dtype of the matrix products and activations.
    width : int
        How many rows of a batch each process has room for. Rows beyond its share have weight 0.
    rows_of_epoch : int
        The number of rows of an epoch in all processes.
    batch_size : int
        The batch size in all processes.
    """

    parameters: Parameters
    layers: tuple[Dense, ...]
    loss: Loss
    l2: float
    reduction: str
    dtype: np.dtype
    products: np.dtype
    width: int
    rows_of_epoch: int
    chain: Chain = field(default_factory=lambda: Chain(()))
    gradient: BatchGradient = field(default_factory=ExactGradient)
    batch_size: int = 0

    @property
    def f(self) -> tuple[Activation, ...]:
        return tuple(layer.activation for layer in self.layers)


def plan_of(model: Model, mesh: Mesh, options: XlaOptions, **run: Any) -> Plan:
    """The plan of a training run; `run` contains the attributes from `width` on."""
    dtype = options.dtype
    kind = Divided if options.shard_parameters else Whole
    parameters = kind(model.layout, mesh)
    return Plan(
        parameters, model.layers, model.loss_function, model.l2, model.reduction, model.dtype,
        model.dtype if dtype is None else jnp.dtype(dtype), **run,
    )  # fmt: skip


class Inputs(NamedTuple):
    """The inputs that are the same in all steps.

    Attributes
    ----------
    seed : int or None
        The seed of the dropout masks and of the random signs of K-FAC.
    noise_key : (2,) array or None
        The key of the noise of private training.
    """

    data: DeviceRows
    penalised: Float[jax.Array, "..."]
    seed: Int[jax.Array, ""] | None = None
    noise_key: UInt32[jax.Array, "2"] | None = None


class Steps(NamedTuple):
    """The inputs of S steps: the rows for B places, the size of the batch, η, and the factors.

    They multiply the weight decay and the dropout probabilities.
    """

    rows: Int[jax.Array, "S B"]
    counts: Int[jax.Array, " S"]
    rates: Float[jax.Array, " S"]
    decays: Float[jax.Array, " S"]
    dropouts: Float[jax.Array, " S"]


class Optimized(NamedTuple):
    """The values that the steps change: θ, the solver's state and the number of steps."""

    theta: Float[jax.Array, "..."]
    state: State
    step: Int[jax.Array, ""]


class BatchResult(NamedTuple):
    """Loss and gradient of a batch, the sum of its weights, and `total` and `factors` of Step."""

    loss: Scalar
    g: Float[jax.Array, "..."]
    weight: Scalar
    total: Any
    factors: tuple[Float[jax.Array, "n n"], ...]


class Places(NamedTuple):
    """The rows in a batch of all processes: their positions in it, and their weights.

    The weight of an unused place is 0.
    """

    at: UInt32[jax.Array, " B"]
    w: Float[jax.Array, " B"]


@partial(jax.jit, static_argnames=("plan", "mesh"), donate_argnames=("now",))
def run(
    plan: Plan, mesh: Mesh, now: Optimized, inputs: Inputs, steps: Steps
) -> tuple[Optimized, Float[jax.Array, " S"]]:
    """θ, the solver's state and the step count after these steps, and the loss of each batch."""

    def one(now: Optimized, this: Steps) -> tuple[Optimized, Scalar]:
        result = _batch(plan, mesh, now.theta, inputs, this, now.step)
        factors = jax.tree.map(partial(devices.spread, mesh, devices.EVERYWHERE), result.factors)
        # A Python float makes t float64, while arrays keep their dtype.
        t = (now.step + 1) * 1.0
        step = Step(
            now.theta, this.rates, t, inputs.penalised, result.total, factors,
            plan.parameters.layout, this.decays,
        )  # fmt: skip
        with jax.default_matmul_precision("highest"):
            change, state = plan.chain.update(result.g, now.state, step, len(plan.layers))
        after, loss = Optimized(now.theta + change, state, now.step + 1), result.loss
        if inputs.data.w is not None and plan.gradient.skips_empty:
            has_weight = result.weight > 0
            after = jax.tree.map(lambda new, old: jnp.where(has_weight, new, old), after, now)
            loss = jnp.where(has_weight, loss, 0)
        return _placed(plan, mesh, after), devices.spread(mesh, devices.EVERYWHERE, loss)

    return jax.lax.scan(one, now, steps)


def _placed(plan: Plan, mesh: Mesh, now: Optimized) -> Optimized:
    """The same values with the placement that they have between steps."""
    keep = partial(devices.spread, mesh, plan.parameters.place)
    step = devices.spread(mesh, devices.EVERYWHERE, now.step)
    return Optimized(keep(now.theta), jax.tree.map(keep, now.state), step)


@partial(jax.jit, static_argnames=("plan", "mesh"))
def evaluate(
    plan: Plan,
    mesh: Mesh,
    theta: Float[jax.Array, " P"],
    inputs: Inputs,
    rows: Int[jax.Array, " B"],
    count: Int[jax.Array, ""],
) -> tuple[Scalar, Float[jax.Array, " P"]]:
    """L and ∂L/∂θ over these rows."""
    one = jnp.ones(())
    result = _batch(plan, mesh, theta, inputs, Steps(rows, count, one, one, one), None)
    spread = partial(devices.spread, mesh, devices.EVERYWHERE)
    return spread(result.loss), spread(result.g)


def _batch(
    plan: Plan,
    mesh: Mesh,
    theta: Float[jax.Array, "..."],
    inputs: Inputs,
    this: Steps,
    step: Int[jax.Array, ""] | None,
) -> BatchResult:
    """Loss and gradient of the batch of one step, of the rows of all processes."""
    count = this.counts
    picked = devices.picked(mesh, inputs.data, this.rows)
    places = _places(plan, mesh, picked.w, count)
    total, column = places.w.sum(), places.w[:, None]
    share_of_epoch = (count / plan.rows_of_epoch).astype(plan.dtype)
    batch = Batch(plan.reduction, plan.l2, count, share_of_epoch, plan.batch_size)
    weights, l2 = plan.gradient.scales(batch, column, total)
    masks = None
    if inputs.seed is not None:
        masks = _masks(plan, inputs.seed, step, places.at, this.dropouts)
    X = dense(picked.X, plan.parameters.layout.sizes[0], plan.products)
    t = plan.loss.target(picked.y, plan.layers[-1].units, theta, jnp)
    one_pass = _one_precision if plan.products == plan.dtype else _two_precisions
    with jax.default_matmul_precision("highest"):  # GPUs and TPUs would round float32 first
        result = one_pass(plan, theta, X, t, weights, masks)
        factors: tuple[Any, ...] = ()
        if plan.chain.needs_fisher:
            signs = _signs(plan, inputs.seed, step, places.at)
            factors = _fisher_factors(plan, theta, result, signs, column / total, masks)
    g = plan.parameters.joined(in_order(result.dW, result.db, result.vectors))
    loss, g, l2_after = plan.gradient.reduced(
        result.loss, g, batch, lambda deviation: _noise(plan, inputs.noise_key, step, deviation)
    )
    if plan.l2:  # added here, because the equations branch on l2, which may be a traced value
        l2, penalised = l2 + l2_after, inputs.penalised
        loss = loss + 0.5 * l2 * jnp.sum(penalised * theta * theta)
        g = g + l2 * (penalised * theta)
    return BatchResult(loss, g, total, plan.gradient.total(batch, total), factors)


def _places(plan: Plan, mesh: Mesh, w: Any, count: Int[jax.Array, ""]) -> Places:
    """The positions of each process's rows in the batch of all processes, and their weights."""
    processes = mesh.shape["process"]
    process, place = jnp.divmod(jnp.arange(processes * plan.width), plan.width)
    own = share(count, processes)
    at = process * own + place
    filled = ((place < own) & (at < count)).astype(plan.dtype)
    return Places(at.astype(jnp.uint32), filled if w is None else filled * w)


def _one_precision(
    plan: Plan, theta: Any, X: Any, t: Any, weights: Any, masks: Any
) -> equations.Pass:
    """The pass as in the derivation."""
    W, b, vectors = plan.parameters.views(theta)
    return equations.forward_backward(
        X, t, W, b, plan.f, plan.loss, 0.0, weights, masks, plan.gradient.samples, vectors
    )


def _two_precisions(
    plan: Plan, theta: Any, X: Any, t: Any, weights: Any, masks: Any
) -> equations.Pass:
    """The pass with X_l, a_l, δ_l and W_l in the narrow dtype, ŷ, L and δ_{L-1} in the other."""
    f, narrow, wide = plan.f, plan.products, plan.dtype
    W, b, vectors = plan.parameters.views(theta.astype(narrow))
    V, phi = equations.in_effect(W, f, vectors)
    Xs, a = equations.forward(X, V, b, phi, masks)
    a_last = a[-1].astype(wide)
    yhat = f[-1].f(a_last, jnp)
    loss = equations.loss(t, a_last, yhat, W, f[-1], plan.loss, weights=weights)
    delta_last = equations.output_error(t, a_last, yhat, f[-1], plan.loss, weights)
    delta = equations.error_signals(delta_last.astype(narrow), Xs, a, V, phi, masks)
    dV, db = equations.gradients(Xs, delta, V)
    dW = equations.through_scales(dV, W, vectors) if vectors else dV
    dvectors = equations.gradients_of_vectors(dV, a, delta, W, f, vectors, masks)
    wide_X, wide_a = [*Xs[:-1], yhat], [*a[:-1], a_last]
    dW, db, dr, dalpha = (
        [None if each is None else each.astype(wide) for each in parts]
        for parts in (dW, db, dvectors.r, dvectors.alpha)
    )
    return equations.Pass(wide_X, wide_a, delta, dW, db, loss, equations.Vectors(dr, dalpha))


def _fisher_factors(
    plan: Plan, theta: Any, result: equations.Pass, signs: Any, shares: Any, masks: Any
) -> tuple[Any, ...]:
    W, _, _ = plan.parameters.views(theta.astype(plan.products))
    return fisher.factors(result.X, result.a, W, plan.f, plan.loss, signs, shares, masks)


def _signs(plan: Plan, seed: Any, step: Any, at: UInt32[jax.Array, " B"]) -> Any:
    L, H = len(plan.layers), plan.layers[-1].units
    return signs_of_rows(seed, step, L, at, H, plan.dtype, jnp)


def _masks(
    plan: Plan, seed: Any, step: Any, at: UInt32[jax.Array, " B"], factor: Float[jax.Array, ""]
) -> list[Float[jax.Array, "B H"] | None]:
    return [
        mask_of_rows(seed, step, l, at, layer.units, layer.dropout * factor, plan.products, jnp)
        if layer.dropout
        else None
        for l, layer in enumerate(plan.layers)
    ]


def _noise(
    plan: Plan, key: UInt32[jax.Array, "2"] | None, step: Any, deviation: float
) -> Float[jax.Array, "..."]:
    """Gaussian noise for this step alone, the same on all devices."""
    assert key is not None
    layout = plan.parameters.layout
    of_step = jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), step)
    # Drawn in float64, because the tail of float32 numbers ends at 5.4 standard deviations.
    noise = deviation * jax.random.normal(of_step, (layout.size,), jnp.float64)
    return plan.parameters.joined(layout.split(noise.astype(plan.dtype)))
