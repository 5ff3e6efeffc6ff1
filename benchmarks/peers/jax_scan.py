"""JAX: one compiled scan over all steps of an epoch, with donated buffers.

If all rows are one batch, the scan runs over all epochs of a turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def build(problem: Problem, threads: int | None) -> Turn:
    """Return the turn. Environment variables limit the threads: see `peers.limits`."""
    X = jnp.asarray(problem.columns if problem.sparse else problem.X)
    y = jnp.asarray(problem.y)
    theta = [(jnp.array(W), jnp.array(b)) for W, b in zip(*problem.start, strict=True)]
    zeros = partial(jax.tree.map, jnp.zeros_like)
    state = [(theta, zeros(theta), zeros(theta), jnp.zeros(()))]

    def turn(t: int) -> float:
        for batches in scans(problem, t):
            state[0], losses = train(state[0], X, y, batches, problem)
            if batches is None or batches.shape[1] == problem.batch:
                loss = losses
        # Waits for the result. The mean leaves out a last batch with fewer rows.
        return float(loss.mean() if problem.shuffled else loss[-1])

    return turn


def scans(problem: Problem, t: int) -> Iterator[np.ndarray | None]:
    """Yield the rows of the steps of each scan; a last batch with fewer rows is a scan of its own.

    None stands for `passes` steps over all rows.
    """
    if not problem.shuffled:
        yield None
        return
    whole = problem.rows - problem.rows % problem.batch
    for order in problem.orders(t):
        order = order.astype(np.int32)
        yield order[:whole].reshape(-1, problem.batch)
        if whole < problem.rows:
            yield order[None, whole:]


@partial(jax.jit, donate_argnums=0, static_argnums=4)
def train(
    state: Any, X: jax.Array, y: jax.Array, batches: jax.Array | None, problem: Problem
) -> Any:
    """Run a step for each row of `batches`; return the state and the losses."""

    def step(state: Any, batch: jax.Array | None) -> Any:
        theta, m, v, t = state
        rows = (X, y) if batch is None else (X[batch], y[batch])
        loss, g = jax.value_and_grad(loss_of)(theta, *rows, problem)
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, g)
        rate = RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        theta = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), theta, m, v)
        return (theta, m, v, t), loss

    return jax.lax.scan(step, state, batches, length=problem.passes if batches is None else None)


def loss_of(theta: Any, X: jax.Array, y: jax.Array, problem: Problem) -> jax.Array:
    """Return the mean loss. If X is sparse, its values are ones, so X W sums rows of W."""
    activation = ACTIVATIONS[problem.activation]
    for l, (W, b) in enumerate(theta):
        X = (W[X].sum(axis=1) if problem.sparse and l == 0 else X @ W) + b
        X = activation(X) if l + 1 < len(theta) else X
    return LOSSES[problem.loss](X, y).mean()


def cross_entropy(a: jax.Array, y: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(a), y[:, None], axis=1)


def binary_cross_entropy(a: jax.Array, y: jax.Array) -> jax.Array:
    return jax.nn.softplus(a[:, 0]) - y * a[:, 0]


def squared_error(a: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.square(a - y).sum(axis=1) / 2


LOSSES = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "squared_error": squared_error,
}
