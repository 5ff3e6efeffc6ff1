"""JAX: one compiled scan over all steps of an epoch, with donated buffers."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def build(problem: Problem, threads: int) -> Turn:
    X = jnp.asarray(problem.columns if problem.sparse else problem.X)
    y = jnp.asarray(problem.y)
    theta = [(jnp.array(W), jnp.array(b)) for W, b in zip(*problem.start, strict=True)]
    zeros = partial(jax.tree.map, jnp.zeros_like)
    state = [(theta, zeros(theta), zeros(theta), jnp.zeros(()))]

    def turn(t: int) -> float:
        for order in problem.orders(t):
            batches = order.reshape(-1, problem.batch).astype(np.int32)
            state[0], loss = epoch(state[0], X, y, batches, problem.sparse)
        return float(loss)  # waits for the result

    return turn


@partial(jax.jit, donate_argnums=0, static_argnums=4)
def epoch(state: Any, X: jax.Array, y: jax.Array, batches: jax.Array, sparse: bool) -> Any:
    """Run a step for each row of `batches`; return the state and the mean of the losses."""

    def step(state: Any, batch: jax.Array) -> Any:
        theta, m, v, t = state
        loss, g = jax.value_and_grad(loss_of)(theta, X[batch], y[batch], sparse)
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, g)
        rate = RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        theta = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), theta, m, v)
        return (theta, m, v, t), loss

    state, losses = jax.lax.scan(step, state, batches)
    return state, losses.mean()


def loss_of(theta: Any, X: jax.Array, y: jax.Array, sparse: bool) -> jax.Array:
    """Return the mean loss. If X is sparse, its values are ones, so X W sums rows of W."""
    for l, (W, b) in enumerate(theta):
        X = (W[X].sum(axis=1) if sparse and l == 0 else X @ W) + b
        X = jax.nn.relu(X) if l + 1 < len(theta) else X
    if X.shape[1] > 1:
        return -jnp.take_along_axis(jax.nn.log_softmax(X), y[:, None], axis=1).mean()
    return (jax.nn.softplus(X[:, 0]) - y * X[:, 0]).mean()
