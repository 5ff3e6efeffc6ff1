"""Keras: one ``Model.fit`` per turn, on JAX unless ``KERAS_BACKEND`` is set.

Keras draws its own order of rows, so its loss differs from that of the others.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn, Unavailable

LOSSES = {
    "cross_entropy": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "binary_cross_entropy": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "squared_error": keras.losses.MeanSquaredError,
}


def build(problem: Problem, threads: int | None) -> Turn:
    if problem.sparse:
        raise Unavailable("Model.fit converts a sparse X to a dense one")
    layers = [keras.layers.Dense(units, problem.activation) for units in problem.sizes[1:-1]]
    model = keras.Sequential(
        [keras.Input((problem.sizes[0],)), *layers, keras.layers.Dense(problem.sizes[-1])]
    )
    model.set_weights([p for pair in zip(*problem.start, strict=True) for p in pair])
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=LOSSES[problem.loss]())

    def turn(t: int) -> float:
        rows = problem.slice(t)
        history = model.fit(
            problem.X[rows], problem.y[rows],
            batch_size=problem.batch, epochs=problem.passes, shuffle=problem.shuffled, verbose=0,
        )  # fmt: skip
        return float(history.history["loss"][-1])

    return turn
