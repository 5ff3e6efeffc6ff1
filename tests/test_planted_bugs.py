"""The oracle and net.check detect every bug that is planted in a copy of `equations.py`."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import deltaprop as dp
from deltaprop import equations

from .oracles import Problem, blocks_of, complex_step, disagreement
from .strategies import distance_to_kink, make_problem

SOURCE = Path(inspect.getfile(equations)).read_text(encoding="utf-8")

# name: (code in equations.py, code that replaces it, equation that becomes wrong)
BUGS = {
    "sign of δ_{l-1}": (
        "delta.insert(0, f[l - 1].pull_back(a[l - 1], z, g, xp))",
        "delta.insert(0, -f[l - 1].pull_back(a[l - 1], z, g, xp))",
        "δ_",
    ),
    "sign of δ_{L-1}": ("return weights * delta", "return -weights * delta", "δ_"),
    "W_l not transposed": ("delta[0] @ W[l].T", "delta[0] @ W[l]", "δ_"),
    "W of the wrong layer": ("delta[0] @ W[l].T", "delta[0] @ W[l - 1].T", "δ_"),
    "f′ missing": (
        "delta.insert(0, f[l - 1].pull_back(a[l - 1], z, g, xp))",
        "delta.insert(0, g)",
        "δ_",
    ),
    "f′ at the wrong layer": (
        "f[l - 1].pull_back(a[l - 1], z, g, xp)",
        "f[l].pull_back(a[l], f[l].f(a[l], xp), g, xp)",
        "δ_",
    ),
    "f′ at a instead of f(a)": ("z = X[l] if", "z = a[l - 1] if", "δ_"),
    "δ without weights": ("return weights * delta", "return delta", "δ_"),
    "X_l not transposed": ("X[l].T @ delta[l]", "X[l] @ delta[l]", "∂L/∂W_"),
    "X of the wrong layer": ("X[l].T @ delta[l]", "X[l - 1].T @ delta[l]", "∂L/∂W_"),
    "λ missing": ("dW[l] + l2 * W[l]", "dW[l]", "λ W_"),
    "λ/N": ("dW[l] + l2 * W[l]", "dW[l] + l2 / X[0].shape[0] * W[l]", "λ W_"),
    "2λ": ("dW[l] + l2 * W[l]", "dW[l] + 2 * l2 * W[l]", "λ W_"),
    "sign of λ": ("dW[l] + l2 * W[l]", "dW[l] - l2 * W[l]", "λ W_"),
    "λ in one layer only": ("dW[l] + l2 * W[l]", "dW[l] + (l2 if l == 0 else 0) * W[l]", "λ W_"),
    "mean for Σ_n in ∂b": ("xp.sum(delta[l], axis=0)", "xp.mean(delta[l], axis=0)", "∂L/∂b_"),
    "first row for Σ_n in ∂b": ("xp.sum(delta[l], axis=0)", "delta[l][0]", "∂L/∂b_"),
    "b_l missing from a_l": ("X[l] @ W[l] + b[l]", "X[l] @ W[l]", "a_"),
}


def square_problem(N: int = 4) -> Problem:
    """All widths and N are equal, so that no wrong index or transpose shows in a shape."""
    problem = make_problem(
        0,
        ("tanh", "softplus", "silu", "softmax"),
        (4, 4, 4, 4),
        "cross_entropy",
        N=N,
        D=4,
        l2=0.5,
        weighted=True,
    )
    assert distance_to_kink(problem) > 1e-3
    return problem


def mutated(old: str, new: str) -> ModuleType:
    """Return a module with the source of `equations.py` in which `old` is replaced by `new`."""
    assert SOURCE.count(old) == 1, f"{old!r} must occur once in equations.py; update BUGS"
    module = ModuleType("deltaprop.equations_with_a_bug")
    exec(compile(SOURCE.replace(old, new), "equations with a bug", "exec"), module.__dict__)
    return module


def plant(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the original functions in all modules of the package by those of `module`."""
    functions = {
        name: value for name, value in vars(equations).items() if inspect.isfunction(value)
    }
    modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "deltaprop"]
    for home in modules:
        for name, value in list(vars(home).items()):
            if any(value is function for function in functions.values()):
                monkeypatch.setattr(home, name, getattr(module, value.__name__))


def oracle_error(problem: Problem) -> float:
    gradient = problem.network().gradient(*problem.data)
    return disagreement(blocks_of(gradient), complex_step(problem), problem)


def test_all_checks_pass_without_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = square_problem()
    assert oracle_error(problem) <= 1e-12
    assert problem.network().check(*problem.data).ok
    plant(
        mutated("from __future__ import annotations", "from __future__ import annotations"),
        monkeypatch,
    )  # an unchanged copy must pass
    assert oracle_error(problem) <= 1e-12
    assert problem.network().check(*problem.data).ok


@pytest.mark.parametrize("bug", BUGS)
def test_oracle_detects_the_bug(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = square_problem()
    old, new, _ = BUGS[bug]
    plant(mutated(old, new), monkeypatch)
    assert oracle_error(problem) > 1e-3


@pytest.mark.parametrize("bug", BUGS)
def test_check_detects_the_bug_and_names_the_equation(
    bug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = square_problem()
    net = problem.network()
    net.check(*problem.data)  # import all modules first, so that `plant` replaces their functions
    old, new, equation = BUGS[bug]
    plant(mutated(old, new), monkeypatch)
    report = net.check(*problem.data)
    assert not report.ok
    assert any(equation in row.equation for row in report.rows if not row.ok), str(report)
    assert "FAIL" in str(report).upper()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("bug", ["sign of δ_{l-1}", "λ/N", "X of the wrong layer"])
def test_check_detects_the_bug_on_unscaled_data(
    bug: str, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = square_problem()
    problem = problem.with_(X=problem.X * scale, W=(problem.W[0] / scale, *problem.W[1:]))
    net = problem.network()
    assert net.check(*problem.data).ok
    old, new, _ = BUGS[bug]
    plant(mutated(old, new), monkeypatch)
    assert not net.check(*problem.data).ok


def test_penalty_bug_shows_in_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = square_problem()
    before = problem.network().loss(*problem.data)
    plant(mutated("0.5 * l2 * sum(", "l2 * sum("), monkeypatch)
    penalty = problem.l2 / 2 * sum(np.sum(W**2) for W in problem.W)
    assert problem.network().loss(*problem.data) - before == pytest.approx(penalty)
    report = problem.network().check(*problem.data)
    assert not report.ok


# ---------------------------------------------------------------- r_l and α_l

BUGS_OF_VECTORS = {
    "r missing from a_l": ("else r[:, None] * W_l for W_l", "else W_l for W_l", "a_"),
    "r of the columns": ("else r[:, None] * W_l for W_l", "else r * W_l for W_l", "a_"),
    "r missing from ∂W": ("else r[:, None] * dV_l for dV_l", "else dV_l for dV_l", "∂L/∂W_"),
    "λ missing with r": ("dW_l + l2 * W_l for", "dW_l for", "λ W_"),
    "∂r over the inputs": ("W[l] * dV[l], axis=1", "W[l] * dV[l], axis=0", "∂L/∂r_"),
    "sign of ∂r": ("xp.sum(W[l] * dV[l], axis=1)", "-xp.sum(W[l] * dV[l], axis=1)", "∂L/∂r_"),
    "∂α without r_{l+1}": (
        "g = _dropped(delta[l + 1] @ V[l + 1].T, l, masks)",
        "g = _dropped(delta[l + 1] @ W[l + 1].T, l, masks)",
        "∂L/∂α_",
    ),
    "∂α with f(a) alone": (
        "dalpha.append(xp.sum(g * (f[l].f(a[l], xp) - a[l]), axis=0))",
        "dalpha.append(xp.sum(g * f[l].f(a[l], xp), axis=0))",
        "∂L/∂α_",
    ),
    "∂α of the next layer": (
        "dalpha.append(xp.sum(g * (f[l].f(a[l], xp) - a[l]), axis=0))",
        "dalpha.append(xp.sum(g * (f[l + 1].f(a[l], xp) - a[l]), axis=0))",
        "∂L/∂α_",
    ),
}  # fmt: skip


def square_net_with_vectors() -> tuple[dp.Network, np.ndarray, np.ndarray]:
    both = {"input_scale": True, "trainable_activation": True}
    layers = [dp.Dense(4, "tanh", **both), dp.Dense(4, "softplus", **both),
              dp.Dense(4, "softmax", input_scale=True)]  # fmt: skip
    net = dp.Network(4, layers, loss="cross_entropy", l2=0.5, seed=0)
    rng = np.random.default_rng(0)
    net.theta[...] = rng.normal(size=net.theta.size)
    return net, rng.normal(size=(4, 4)), np.arange(4)


def numerical_gradient(net: dp.Network, *data: np.ndarray, h: float = 1e-6) -> np.ndarray:
    found, theta = np.empty(net.theta.size), net.theta.copy()
    for i in range(theta.size):
        losses = []
        for step in (h, -h):
            net.theta[...] = theta
            net.theta[i] += step
            losses.append(net.loss(*data))
        found[i] = (losses[0] - losses[1]) / (2 * h)
    net.theta[...] = theta
    return found


def test_the_gradient_of_vectors_is_the_numerical_one() -> None:
    net, X, y = square_net_with_vectors()
    np.testing.assert_allclose(net.gradient(X, y).flat, numerical_gradient(net, X, y), atol=1e-7)
    assert net.check(X, y).ok


@pytest.mark.parametrize("bug", BUGS_OF_VECTORS)
def test_bugs_of_vectors_are_detected(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, X, y = square_net_with_vectors()
    net.check(X, y)
    expected = numerical_gradient(net, X, y)
    old, new, equation = BUGS_OF_VECTORS[bug]
    plant(mutated(old, new), monkeypatch)
    assert np.abs(net.gradient(X, y).flat - expected).max() > 1e-3
    report = net.check(X, y)
    assert any(equation in row.equation for row in report.rows if not row.ok), str(report)


# ---------------------------------------------------------------- C_l

REST_OF_DR = "    V, _ = in_effect(W, f, Vectors(vectors.r, [None] * len(f)))\n    dr:"
BUGS_OF_GROUPS = {
    "C missing from a_l": ("own = existing(W, vectors)", "own = W", "a_"),
    "C missing from ∂W": ("own = existing(dV, vectors)", "own = dV", "∂L/∂W_"),
    "C missing from ∂r": (
        f"    W = existing(W, vectors)\n{REST_OF_DR}", REST_OF_DR, "∂L/∂r_",
    ),
    "C of the other groups": ("else C_l * W_l for", "else (1 - C_l) * W_l for", "a_"),
}  # fmt: skip


def square_net_with_groups() -> tuple[dp.Network, np.ndarray, np.ndarray]:
    """All entries of W_l differ from 0, also those that do not exist."""
    groups = ([0, 1, 1, 0], [0, 0, 1, 1])
    layers = [dp.Dense(4, "tanh", groups=groups, input_scale=True),
              dp.Dense(4, "softplus", groups=groups, trainable_activation=True),
              dp.Dense(4, "softmax", groups=groups)]  # fmt: skip
    net = dp.Network(4, layers, loss="cross_entropy", l2=0.5, seed=0)
    rng = np.random.default_rng(0)
    net.theta[...] = rng.normal(size=net.theta.size)
    return net, rng.normal(size=(4, 4)), np.arange(4)


def test_the_gradient_of_groups_is_the_numerical_one() -> None:
    net, X, y = square_net_with_groups()
    np.testing.assert_allclose(net.gradient(X, y).flat, numerical_gradient(net, X, y), atol=1e-7)
    assert net.check(X, y).ok


@pytest.mark.parametrize("bug", BUGS_OF_GROUPS)
def test_bugs_of_groups_are_detected(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, X, y = square_net_with_groups()
    old, new, equation = BUGS_OF_GROUPS[bug]
    plant(mutated(old, new), monkeypatch)
    report = net.check(X, y)
    assert any(equation in row.equation for row in report.rows if not row.ok), str(report)
