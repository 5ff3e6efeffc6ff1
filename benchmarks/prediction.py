"""Prediction for one row and for many: a network in each library, and models for tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.problem import Problem
from benchmarks.turns import Build, Turn

ONE = Problem("one row", (64, 100, 10), batch=1, rows=1000, passes=1)
CALLS = 1000  # calls per turn, for one row
BULK = Problem("bulk", (784, 256, 128, 10), batch=100_000, rows=100_000, passes=1)

TABLE_ROWS, TABLE_CALLS = 100_000, 100  # rows, and calls per turn for one row of a table

Predict = Callable[[np.ndarray], Any]


def one_row(threads: int) -> dict[str, Build]:
    return _contestants(ONE, threads, CALLS)


def bulk(threads: int) -> dict[str, Build]:
    contestants = _contestants(BULK, threads, 1)
    contestants["floor"] = _floor
    return contestants


def table_row(threads: int) -> dict[str, Build]:
    return _of_tables(1, TABLE_CALLS)


def table_rows(threads: int) -> dict[str, Build]:
    return _of_tables(TABLE_ROWS, 1)


def _of_tables(rows: int, calls: int) -> dict[str, Build]:
    makers = {
        "deltaprop": _ensemble,
        "deltaprop member": lambda X, y: _ensemble(X, y, cv=1),
        "lightgbm": _lightgbm,
        "scikit-learn": _boosting,
    }
    return {name: partial(_build_for_table, make, rows, calls) for name, make in makers.items()}


def _build_for_table(
    make: Callable[[Any, np.ndarray], Callable[[Any], Any]], rows: int, calls: int
) -> Turn:
    """Models that were fitted to 20 columns, of which four have the dtype category."""
    from benchmarks.encoding import CATEGORIES, mixed

    X, y = mixed(TABLE_ROWS)
    X = X.astype(dict.fromkeys(CATEGORIES, "category"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predict = make(X[:5000], y[:5000])
    X = X[:rows].copy()

    def turn(t: int) -> None:
        for _ in range(calls):
            predict(X)

    return turn


def _contestants(problem: Problem, threads: int, calls: int) -> dict[str, Build]:
    makers = {
        "deltaprop": _estimator,
        "deltaprop Network": _network,
        "scikit-learn": _scikit_learn,
        "onnxruntime": _onnxruntime,
        "torch": _torch,
        "jax": _jax,
    }
    return {
        name: partial(_build, make, problem, threads, calls) for name, make in makers.items()
    }  # fmt: skip


def _build(
    make: Callable[[Problem, int], Predict], problem: Problem, threads: int, calls: int
) -> Turn:
    predict, X = make(problem, threads), problem.X[: problem.batch]

    def turn(t: int) -> float:
        for _ in range(calls):
            probabilities = predict(X)
        return float(probabilities[0][0])

    return turn


# ---------------------------------------------------------------- contestants


def _estimator(problem: Problem, threads: int) -> Predict:
    from deltaprop import MLPClassifier

    model = _fitted(MLPClassifier, problem)
    for ours, start in zip((model.coefs_, model.intercepts_), problem.start, strict=True):
        for view, values in zip(ours, start, strict=True):
            view[...] = values  # views into the network's θ
    return model.predict_proba


def _network(problem: Problem, threads: int) -> Predict:
    from benchmarks.peers.ours import network

    return network(problem).predict


def _scikit_learn(problem: Problem, threads: int) -> Predict:
    from sklearn.neural_network import MLPClassifier

    model = _fitted(MLPClassifier, problem)
    model.coefs_, model.intercepts_ = problem.start
    return model.predict_proba


def _onnxruntime(problem: Problem, threads: int) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        _onnx_model(problem), options, providers=["CPUExecutionProvider"]
    )
    return lambda X: session.run(None, {"X": X})[0]


def _torch(problem: Problem, threads: int) -> Predict:
    import torch

    torch.set_num_threads(threads)
    layers: list[torch.nn.Module] = []
    for W, b in zip(*problem.start, strict=True):
        linear = torch.nn.Linear(*W.shape)
        linear.weight.data[...] = torch.from_numpy(W.T)
        linear.bias.data[...] = torch.from_numpy(b)
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(dim=1)).eval()

    def predict(X: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(X)).numpy()

    return predict


def _jax(problem: Problem, threads: int) -> Predict:
    import jax

    theta = [
        (jax.numpy.asarray(W), jax.numpy.asarray(b)) for W, b in zip(*problem.start, strict=True)
    ]

    @jax.jit
    def forward(theta: Any, X: jax.Array) -> jax.Array:
        for l, (W, b) in enumerate(theta):
            X = X @ W + b
            X = jax.nn.relu(X) if l + 1 < len(theta) else jax.nn.softmax(X)
        return X

    return lambda X: np.asarray(forward(theta, X))


def _floor() -> Turn:
    """The matrix products alone, with preallocated outputs."""
    from benchmarks.peers.floor import products

    work = products(BULK, backward=False)

    def turn(t: int) -> None:
        for do in work:
            do()

    return turn


# ---------------------------------------------------------------- models for tables


def _ensemble(X: Any, y: np.ndarray, **options: Any) -> Callable[[Any], Any]:
    from deltaprop import TabularClassifier

    model = TabularClassifier(max_iter=2, random_state=0, **options)
    return model.fit(X, y).predict_proba


def _lightgbm(X: Any, y: np.ndarray) -> Callable[[Any], Any]:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(verbose=-1).fit(X, y).predict_proba


def _boosting(X: Any, y: np.ndarray) -> Callable[[Any], Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=0).fit(X, y).predict_proba


# ---------------------------------------------------------------- networks with given weights


def _fitted(estimator: Any, problem: Problem) -> Any:
    """Return a fitted estimator with the shape of the problem; its weights are then replaced."""
    _, one_of_each = np.unique(problem.y[:1000], return_index=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = estimator(problem.sizes[1:-1], max_iter=1, random_state=0)
        return model.fit(problem.X[one_of_each], problem.y[one_of_each])


def _onnx_model(problem: Problem) -> bytes:
    """Return the network as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, name = [], [], "X"
    last = len(problem.sizes) - 2
    for l, (W, b) in enumerate(zip(*problem.start, strict=True)):
        constants += [numpy_helper.from_array(W, f"W{l}"), numpy_helper.from_array(b, f"b{l}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{l}", f"b{l}"], [f"a{l}"]))
        name = f"X{l + 1}"
        nodes.append(helper.make_node("Relu" if l < last else "Softmax", [f"a{l}"], [name]))
    floats, sizes = TensorProto.FLOAT, problem.sizes
    graph = helper.make_graph(
        nodes, "network",
        [helper.make_tensor_value_info("X", floats, ["N", sizes[0]])],
        [helper.make_tensor_value_info(name, floats, ["N", sizes[-1]])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized
