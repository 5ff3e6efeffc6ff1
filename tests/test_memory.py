"""Training needs memory for parameters, solver state and two batches per thread, not for X."""

import tracemalloc

import numpy as np
import pytest

import deltaprop as dp

N, D, H, BATCH = 200_000, 40, 64, 200
rng = np.random.RandomState(0)
SOURCES = {
    "float32": rng.rand(N, D).astype("f4"),
    "float16": rng.rand(N, D).astype("f2"),
    "uint8": rng.randint(255, size=(N, D)).astype("u1"),
}
Y = rng.randint(10, size=N)


def peak(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("solver", [dp.Adam(), dp.LBFGS()])
def test_memory_does_not_grow_with_the_data(source, solver):
    X = SOURCES[source]
    layers = [dp.Dense(H, "relu"), dp.Dense(10, "softmax")]
    net = dp.Network(D, layers, loss="cross_entropy", dtype="float32", seed=0)
    settings = {"solver": solver, "max_epochs": 1, "batch_size": BATCH, "engine": "fused"}
    dp.fit(net, X[:500], Y[:500], **settings)  # imports and caches
    used = peak(lambda: dp.fit(net, X, Y, shuffle=False, **settings))
    order = 2 * 8 * N  # the order of the rows, and a mask that checks y
    rows = BATCH if isinstance(solver, dp.Adam) else 4096
    batches = 2 * 2 * rows * (D + 3 * H + 4 * 10) * 4
    state = 2 if isinstance(solver, dp.Adam) else 2 * 10 + 20  # L-BFGS keeps ten pairs in float64
    assert used < order + 3 * net.theta.nbytes * state + batches + 1_000_000
    assert used < N * D * 4 / 2  # far from a copy of X in the working dtype


def test_prediction_allocates_one_tile_and_the_outputs():
    layers = [dp.Dense(H, "relu"), dp.Dense(10, "softmax")]
    net = dp.Network(D, layers, loss="cross_entropy", dtype="float32", seed=0)
    X = SOURCES["float32"]
    net.predict(X[:500])
    assert peak(lambda: net.predict(X)) < N * 10 * 4 + 2_000_000
