"""K-FAC: its blocks against the Fisher information by JAX and quadrature, its steps against dense
Kronecker products and least squares, its engines against each other."""

from __future__ import annotations

import inspect
import itertools
import math
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
import scipy.stats

import deltaprop as dp
from deltaprop import activations, equations, losses
from deltaprop.derivation import fisher as fisher_module
from deltaprop.engines import auto
from deltaprop.optim import natural_gradient

from .processes import finished, started, two

rng = np.random.RandomState(0)
N = 23
X = rng.randn(N, 4)
WEIGHTS = rng.rand(N) + 0.1
POSITIVE = rng.rand(N, 3) + 0.1
CLASSES = rng.randint(0, 3, N)
CURVED = sorted(set(losses.NAMES) - {"hinge"})
NEWTON = {"momentum": 0.0, "kl_clip": math.inf, "decay": 0.0}


def fit(net, X, y, solver, **search):
    """One step over all rows, by the reference engine, where nothing else is said."""
    search = {"batch_size": len(y), "max_epochs": 1, "engine": "reference"} | search
    with np.errstate(all="ignore"):
        return dp.fit(net, X, y, solver=solver, patience=np.inf, **search)


def factors_of(history):
    """A_0, G_0, A_1, …"""
    _, *memory = history.progress.solver_state
    return memory[: len(memory) // 2]


# ---------------------------------------------------------------- the blocks


def hermite(H):
    """Nodes and weights of H independent standard normals."""
    x, w = np.polynomial.hermite_e.hermegauss(8)
    nodes = np.array(list(itertools.product(x, repeat=H)))
    return nodes, np.array(list(itertools.product(w / w.sum(), repeat=H))).prod(1)


def bits(p):
    nodes = np.array(list(itertools.product([0.0, 1.0], repeat=len(p))))
    return nodes, np.prod(np.where(nodes == 1, p, 1 - p), axis=1)


def scaled_hermite(z):
    nodes, w = hermite(1)
    return z[0] + np.sqrt(z[1]) * nodes, w


def laguerre(z):
    x, w = np.polynomial.laguerre.laggauss(8)
    return z * x[:, None], w


counts = np.arange(200.0)[:, None]

# Loss and output: how many of them, the model's own y with their probabilities, and -log p(y) as a
# function of a alone, from textbooks.
MODELS = {
    ("squared_error", "identity"): (
        2, lambda z: (z + hermite(2)[0], hermite(2)[1]), lambda a, y: 0.5 * jnp.sum((a - y) ** 2)),
    ("squared_error", "logistic"): (
        2, lambda z: (z + hermite(2)[0], hermite(2)[1]),
        lambda a, y: 0.5 * jnp.sum((jax.nn.sigmoid(a) - y) ** 2)),
    ("cross_entropy", "softmax"): (
        3, lambda z: (np.eye(3), z), lambda a, y: -y @ jax.nn.log_softmax(a)),
    ("binary_cross_entropy", "logistic"): (
        2, bits, lambda a, y: jnp.sum(jax.nn.softplus(a) - y * a)),
    ("poisson", "exp"): (
        1, lambda z: (counts, scipy.stats.poisson.pmf(counts[:, 0], z)),
        lambda a, y: jnp.sum(jnp.exp(a) - y * a)),
    ("gamma", "exp"): (1, laguerre, lambda a, y: jnp.sum(a + y * jnp.exp(-a))),
    ("gaussian_nll", "mean_variance"): (
        2, scaled_hermite, lambda a, y: 0.5 * (a[1] + (y[0] - a[0]) ** 2 * jnp.exp(-a[1]))),
    ("absolute_error", "identity"): (
        1, lambda z: (z + np.array([[-1.0], [1.0]]), np.full(2, 0.5)),
        lambda a, y: jnp.sum(jnp.abs(a - y))),
    ("quantile", "identity"): (  # P(y > ŷ) = 1 - q
        1, lambda z: (z + np.array([[-1.0], [1.0]]), np.array([0.5, 0.5])),
        lambda a, y: jnp.sum(jnp.maximum(0.5 * (y - a), -0.5 * (y - a)))),
}  # fmt: skip


def blocks_agree(fisher, model):
    """With dropout and weights: the mean over all patterns of signs is exact."""
    loss, output = model
    H, labels, nll = MODELS[model]
    rng = np.random.RandomState(1)
    sizes = [(3, 4), (4, 4), (4, H)]
    W, b = [rng.randn(*s) for s in sizes], [rng.randn(s[1]) for s in sizes]
    f = [activations.get(name) for name in ("tanh", "softplus", output)]
    X0, w = rng.randn(6, 3), rng.rand(6, 1)
    masks = [2.0 * (rng.rand(6, 4) < 0.5), None, None]
    shares = w / w.sum()
    Xs, a = equations.forward(X0, W, b, f, masks)
    patterns = list(itertools.product([-1.0, 1.0], repeat=H))
    found = [
        fisher.factors(Xs, a, W, f, losses.get(loss), np.tile(signs, (6, 1)), shares, masks)
        for signs in patterns
    ]
    found = [sum(parts) / len(patterns) for parts in zip(*found, strict=True)]

    def loss_of(moved, x, mask, y):
        """-log p(y) where every a_l is moved by a little."""
        a0 = x @ W[0] + b[0] + moved[0]
        a1 = (jnp.tanh(a0) * mask) @ W[1] + b[1] + moved[1]
        return nll(jax.nn.softplus(a1) @ W[2] + b[2] + moved[2], y)

    with jax.enable_x64(True):
        still = [jnp.zeros(s[1]) for s in sizes]
        expected = [np.zeros((s[1], s[1])) for s in sizes]
        for n in range(6):
            ys, p = labels(Xs[-1][n])
            delta = jax.vmap(jax.grad(loss_of), (None, None, None, 0))(
                still, X0[n], masks[0][n], jnp.asarray(ys)
            )
            for G, d in zip(expected, delta, strict=True):
                G += shares[n] * np.einsum("k,ki,kj->ij", np.asarray(p), d, d)
    inputs = [X0, np.tanh(X0 @ W[0] + b[0]) * masks[0]]
    inputs.append(np.log1p(np.exp(inputs[1] @ W[1] + b[1])))
    for l, x in enumerate(inputs):
        homogeneous = np.c_[x, np.ones(6)]
        A = sum(s * np.outer(row, row) for s, row in zip(shares, homogeneous, strict=True))
        np.testing.assert_allclose(found[2 * l], A, rtol=1e-12)
        np.testing.assert_allclose(found[2 * l + 1], expected[l], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=" ".join)
def test_the_blocks_are_the_fisher_information(model):
    blocks_agree(fisher_module, model)


def test_a_search_s_memory_holds_the_blocks_and_its_signs_are_random():
    """With one output no sign matters: the last layer of a linear network, with weights."""
    net = dp.Network(4, [dp.Dense(1)], loss="squared_error", seed=0)
    A, G = factors_of(fit(net, X, X[:, 0], dp.KFAC(), sample_weight=WEIGHTS))
    homogeneous = np.c_[X, np.ones(N)]
    np.testing.assert_allclose(A, homogeneous.T * WEIGHTS @ homogeneous / WEIGHTS.sum())
    np.testing.assert_allclose(G, [[1.0]])
    many = rng.randn(4000, 4)
    net = dp.Network(4, [dp.Dense(5)], loss="squared_error", seed=0)
    one, two = (
        factors_of(fit(net.copy(), many, rng.randn(4000, 5), dp.KFAC(), seed=seed))[1]
        for seed in (0, 1)
    )
    for G in one, two:
        np.testing.assert_allclose(np.diag(G), 1)
        assert 0 < np.abs(G - np.eye(5)).max() < 5 / math.sqrt(4000)
    assert not np.allclose(one, two)


def averages_agree(KFAC):
    net = dp.Network(4, [dp.Dense(1)], loss="squared_error", seed=0)
    A, _ = factors_of(fit(net, X[:20], X[:20, 0], KFAC(decay=0.5), batch_size=10, shuffle=False))
    first, second = (part.T @ part / 10 for part in np.split(np.c_[X[:20], np.ones(20)], 2))
    np.testing.assert_allclose(A, (0.25 * first + 0.5 * second) / 0.75)


def test_averages_decay_and_their_start_is_corrected():
    averages_agree(dp.KFAC)


def test_class_weights_count_in_the_fisher_information():
    loss = losses.get("cross_entropy", class_weight=(1.0, 2.0, 5.0))
    z = np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(loss.fisher(z, np), [[5.0, 2 / 0.3, 10.0]])


def test_a_tweedie_model_s_information_is_that_of_its_variance():
    """Var y = ŷ^p, and the information of a mean in an exponential family is 1 ÷ Var y."""
    z = np.array([[0.1, 1.0, 7.0]])
    np.testing.assert_allclose(losses.get("tweedie", power=1.3).fisher(z, np), z**-1.3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CURVED)
def test_saturated_outputs_give_finite_blocks(name, dtype):
    _, loss, output, H = problem(name)
    a = np.linspace(-800, 80, 3 * H).reshape(3, H).astype(dtype)
    f = activations.get(output)
    with np.errstate(all="ignore"):
        z = f.f(a, np)
        delta = fisher_module.output_error(a, z, f, losses.get(loss), np.ones_like(a))
    assert delta.dtype == dtype
    assert np.isfinite(delta[np.isfinite(z)]).all()


# ---------------------------------------------------------------- the steps


@pytest.mark.parametrize("reduction", ["sum", "mean", "sklearn"])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_undamped_step_solves_least_squares(reduction, weighted):
    y, w = X @ [1.0, 2.0, -3.0, 0.5] + rng.randn(N), WEIGHTS if weighted else np.ones(N)
    net = dp.Network(4, [dp.Dense(1)], loss="squared_error", reduction=reduction, seed=0)
    fit(net, X, y, dp.KFAC(1.0, damping=1e-24, **NEWTON), sample_weight=w if weighted else None)
    root = np.sqrt(w)[:, None]
    solution = np.linalg.lstsq(np.c_[X, np.ones(N)] * root, y * root[:, 0], rcond=None)[0]
    np.testing.assert_allclose(net.theta, solution, rtol=1e-8)


def step_agrees(KFAC):
    """One step is that of the damped dense Kronecker product, for each layer."""
    damping, H = 0.3, 4
    rng = np.random.RandomState(2)
    X, y = rng.randn(30, H), rng.rand(30, H)
    for reduction in ("sum", "mean"):
        net = dp.Network(H, [dp.Dense(H, "tanh"), dp.Dense(H, "softmax")], loss="cross_entropy",
                         l2=0.1, reduction=reduction, seed=0)  # fmt: skip
        y = y / y.sum(1, keepdims=True)
        before, gradient = net.theta.copy(), net.gradient(X, y)
        factors = factors_of(fit(net, X, y, KFAC(0.5, damping=damping, **NEWTON)))
        moved, at = net.theta - before, 0
        for l, (dW, db) in enumerate(zip(gradient.dW, gradient.db, strict=True)):
            A, G = factors[2 * l : 2 * l + 2]
            pi = math.sqrt(np.linalg.eigvalsh(A).mean() / np.linalg.eigvalsh(G).mean())
            F = np.kron(A + pi * math.sqrt(damping) * np.eye(len(A)),
                        G + math.sqrt(damping) / pi * np.eye(len(G)))  # fmt: skip
            g = np.vstack([dW, db]).ravel() / (30 if reduction == "sum" else 1)
            step = moved[at : at + g.size]
            np.testing.assert_allclose(step, -0.5 * np.linalg.solve(F, g), rtol=1e-9, atol=1e-14)
            at += g.size


def test_a_step_is_the_damped_kronecker_product_s():
    step_agrees(dp.KFAC)


def test_all_reductions_take_the_same_steps():
    """λ is put so that it means the same for each: per sample, for all, or per batch."""
    thetas = []
    for reduction, l2 in (("sum", 0.1 * N), ("mean", 0.1), ("sklearn", 0.1 * N)):
        net = dp.Network(4, [dp.Dense(5, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy",
                         l2=l2, reduction=reduction, seed=0)  # fmt: skip
        fit(net, X, CLASSES, dp.KFAC(), max_epochs=5)
        thetas.append(net.theta)
    np.testing.assert_allclose(thetas[1:], [thetas[0]] * 2, rtol=1e-9)


def test_an_inverse_is_kept_for_so_many_steps():
    """Rows change from step to step, and with them A: of every third step the inverses follow."""
    net = dp.Network(4, [dp.Dense(3)], loss="squared_error", seed=0)
    memory = []
    history = None
    for _ in range(7):
        history = fit(net, rng.randn(N, 4), POSITIVE, dp.KFAC(every=3), resume=history)
        memory.append(history.progress.solver_state)
    inverses = [m[3] for m in memory]
    same = [np.array_equal(a, b) for a, b in itertools.pairwise(inverses)]
    assert same == [True, True, False, True, True, False]
    assert not np.array_equal(memory[0][1], memory[1][1])


def test_the_clip_bounds_the_divergence_of_a_step():
    """The KL divergence of two Gaussians is ½ |Δŷ|²."""
    net = dp.Network(4, [dp.Dense(1)], loss="squared_error", reduction="mean", seed=0)
    before = net.predict(X)
    fit(net, X, 100 * X[:, 0], dp.KFAC(1.0, **NEWTON | {"kl_clip": 1e-2}, damping=1e-20))
    divergence = 0.5 * ((net.predict(X) - before) ** 2).mean()
    assert divergence == pytest.approx(0.5e-2, rel=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_sgd_s(nesterov):
    """Where F is the identity K-FAC is SGD."""
    Q = np.linalg.qr(rng.randn(8, 4))[0]
    rows = 2 * np.sqrt(2) * np.vstack([Q, -Q])  # the mean of x is 0, that of x xᵀ the identity
    y = rows @ [1.0, 2.0, 3.0, 4.0]
    thetas = []
    for solver in (
        dp.SGD(0.1, 0.8, nesterov),
        dp.KFAC(0.1, 0.8, nesterov, damping=1e-24, kl_clip=math.inf),
    ):
        net = dp.Network(4, [dp.Dense(1)], loss="squared_error", reduction="mean", seed=0)
        fit(net, rows, y, solver, max_epochs=6)
        thetas.append(net.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-8, atol=1e-12)


def test_fewer_steps_than_adam_where_inputs_differ_in_scale():
    rng = np.random.RandomState(0)
    U, Q = rng.randn(400, 12), np.linalg.qr(rng.randn(12, 12))[0]
    Z = U * np.logspace(0, -2, 12) @ Q
    y = np.tanh(U @ rng.randn(12, 4) / 2) @ rng.randn(4, 2)

    def epochs(solver):
        net = dp.Network(12, [dp.Dense(20, "tanh"), dp.Dense(2)], loss="squared_error",
                         reduction="mean", seed=0)  # fmt: skip
        return fit(net, Z, y, solver, batch_size=100, max_epochs=150,
                   callbacks=[lambda event: event.loss < 0.25]).n_epochs  # fmt: skip

    assert 4 * epochs(dp.KFAC()) < min(epochs(dp.Adam(rate)) for rate in (1e-3, 1e-2, 1e-1))


# ---------------------------------------------------------------- losses


def problem(name):
    """y, the loss, its output activation and how many outputs."""
    outputs = {
        "poisson": "exp", "gamma": "exp", "tweedie": "exp", "gaussian_nll": "mean_variance",
        "binary_cross_entropy": "logistic", "cross_entropy": "softmax", "focal": "softmax",
    }  # fmt: skip
    if name == "quantile":
        return POSITIVE, losses.get("quantile", quantiles=(0.1, 0.8)), "identity", 6
    y = CLASSES if name in ("cross_entropy", "focal", "hinge") else POSITIVE
    y = (POSITIVE > 0.6) * 1.0 if name == "binary_cross_entropy" else y
    return y, name, outputs.get(name, "identity"), 6 if name == "gaussian_nll" else 3


@pytest.mark.parametrize("name", CURVED)
def test_every_loss_with_curvature_falls(name):
    y, loss, output, H = problem(name)
    net = dp.Network(4, [dp.Dense(8, "tanh"), dp.Dense(H, output)], loss=loss, seed=0)
    before = net.loss(X, y)
    history = fit(net, X, y, dp.KFAC(), max_epochs=30)
    assert net.loss(X, y) < 0.95 * before
    assert np.isfinite(history.loss_curve).all()


def test_focal_loss_of_one_output_falls():
    net = dp.Network(4, [dp.Dense(8, "tanh"), dp.Dense(1, "logistic")], loss="focal", seed=0)
    y = (X[:, 0] > 0) * 1.0
    before = net.loss(X, y)
    fit(net, X, y, dp.KFAC(), max_epochs=30)
    assert net.loss(X, y) < 0.5 * before


@pytest.mark.parametrize("engine", ["auto", "reference", "fused", "xla"])
def test_losses_without_curvature_are_named(engine):
    hinge = dp.Network(4, [dp.Dense(3)], loss="hinge", seed=0)
    with pytest.raises(ValueError, match=r"KFAC cannot train with the loss 'hinge'.*dp\.Adam"):
        fit(hinge, X, CLASSES, dp.KFAC(), engine=engine)
    own = dp.Loss("own", lambda t, o, xp: (o - t) ** 4, lambda t, o, xp: 4 * (o - t) ** 3)
    with pytest.raises(ValueError, match=r"'own': it was given without d2.*Give it, or use dp\.A"):
        fit(dp.Network(4, [dp.Dense(3)], loss=own), X, POSITIVE, dp.KFAC(), engine=engine)


def test_one_s_own_loss_with_information_of_its_own():
    def of(information):
        return dp.Loss("own", lambda t, o, xp: (o - t) ** 2, lambda t, o, xp: 2 * (o - t),
                       information=information)  # fmt: skip

    one, two = of(lambda o, xp: 2 + 0 * o), of(lambda o, xp: 8 + 0 * o)
    assert one != two
    for engine in ("reference", "xla"):
        found = [
            factors_of(fit(dp.Network(4, [dp.Dense(1)], loss=loss), X, X[:, 0], dp.KFAC(),
                           engine=engine))[1]
            for loss in (one, two)
        ]  # fmt: skip
        np.testing.assert_allclose(np.ravel(found), [2, 8])
    with pytest.raises(TypeError, match="information must be callable or None"):
        of(2.0)


# ---------------------------------------------------------------- engines


def agree(layers, loss, y, *, other="xla", rtol=1e-8, dtype="float64", X=X, **changed):
    """The same search by the reference and another engine: θ, losses and the solver's memory."""
    network = {k: changed.pop(k) for k in ("l2", "reduction") if k in changed}
    search = {"solver": dp.KFAC(every=2), "batch_size": 10, "max_epochs": 3} | changed
    found = []
    for engine in ("reference", other):
        net = dp.Network(X.shape[1], layers, loss=loss, seed=1, dtype=dtype, **network)
        found.append((net, fit(net, X, y, engine=engine, **search)))
    (reference, one), (other, two) = found
    np.testing.assert_allclose(other.theta, reference.theta, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(two.loss_curve, one.loss_curve, rtol=rtol)
    assert one.progress.step == two.progress.step
    for a, b in zip(one.progress.solver_state, two.progress.solver_state, strict=True):
        assert a.dtype == b.dtype == np.dtype(dtype)
        scale = np.abs(a).max()
        np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol * scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVED)
def test_engines_agree_for_every_loss(name):
    y, loss, output, H = problem(name)
    agree([dp.Dense(5, "tanh"), dp.Dense(H, output)], loss, y, sample_weight=WEIGHTS)


CASES = {
    "sum, dropout": {"reduction": "sum", "l2": 0.1, "dropout": 0.3},
    "mean, weights, dropout": {"reduction": "mean", "dropout": 0.3, "sample_weight": WEIGHTS},
    "sklearn, clipped, every step": {"reduction": "sklearn", "l2": 0.1, "clip_norm": 0.05,
                                     "solver": dp.KFAC(every=1, decay=0.0)},
    "all rows, no clip": {"batch_size": N, "solver": dp.KFAC(0.01, kl_clip=math.inf)},
    "rows of no weight": {"sample_weight": np.where(np.arange(N) < 12, 1.0, 0.0),
                          "shuffle": False},
    "some rows, schedule": {"rows": [1, 5, 5, 9, 20, 2, 7], "batch_size": 4,
                            "schedule": dp.schedules.OneCycle()},
    "float32": {"dtype": "float32", "rtol": 2e-3},
    "sparse": {"X": sp.random(N, 30, density=0.2, format="csr", random_state=0)},
}  # fmt: skip


QUICK = ("sum, dropout", "rows of no weight")
SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in CASES if case not in QUICK]


@pytest.mark.parametrize("case", [*QUICK, *SLOW])
def test_engines_agree(case):
    settings = dict(CASES[case])
    layers = [dp.Dense(6, "relu", settings.pop("dropout", 0.0)), dp.Dense(5, "tanh")]
    agree([*layers, dp.Dense(3, "softmax")], "cross_entropy", CLASSES, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("activation", sorted(set(activations.NAMES) - {"sigmoid"}))
def test_engines_agree_for_every_activation(activation):
    agree([dp.Dense(6, activation), dp.Dense(4, activation)], "huber",
          np.c_[POSITIVE, POSITIVE[:, 0]], rtol=1e-6)  # fmt: skip


@pytest.mark.slow
def test_bfloat16_trains():
    agree([dp.Dense(8, "tanh"), dp.Dense(3, "softmax")], "cross_entropy", CLASSES,
          other=dp.Xla("bfloat16"), dtype="float32", rtol=0.2, max_epochs=2)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_fused_engine_agrees(case, recwarn):
    settings = dict(CASES[case])
    layers = [dp.Dense(6, "relu", settings.pop("dropout", 0.0)), dp.Dense(120, "tanh")]
    agree([*layers, dp.Dense(3, "softmax")], "cross_entropy", CLASSES, other="fused", **settings)
    assert not [w for w in recwarn if "Falling back" in str(w.message)]


@pytest.mark.parametrize("name", CURVED)
def test_the_fused_engine_agrees_for_every_loss(name):
    y, loss, output, H = problem(name)
    agree([dp.Dense(5, "tanh"), dp.Dense(H, output)], loss, y, other="fused",
          sample_weight=WEIGHTS)  # fmt: skip


@pytest.mark.parametrize("activation", sorted(set(activations.NAMES) - {"sigmoid"}))
def test_the_fused_engine_agrees_for_every_activation(activation):
    """The kernel writes f(a) over a where f′ does not read a."""
    agree([dp.Dense(6, activation), dp.Dense(4, activation)], "huber",
          np.c_[POSITIVE, POSITIVE[:, 0]], rtol=1e-6, other="fused")  # fmt: skip


def test_batches_that_do_not_fit_the_kernel_s_memory_fall_back(monkeypatch):
    monkeypatch.setattr(auto, "_warned", set())
    many = rng.randn(5000, 4)
    net = dp.Network(4, [dp.Dense(3)], loss="squared_error", seed=0)
    with pytest.warns(UserWarning, match="reference engine: batches of more than 4096 rows"):
        fit(net, many, many[:, :3], dp.KFAC(), engine="fused")


def test_a_stream_trains_like_the_same_rows_in_memory(tmp_path):
    import pandas as pd

    table = pd.DataFrame(X, columns=list("abcd")).assign(y=X[:, 0] ** 2)
    table.to_parquet(tmp_path / "t.parquet")
    rows = dp.tables.stream(str(tmp_path / "t.parquet"), target="y")
    thetas = []
    for data in ((rows,), (X, X[:, 0] ** 2)):
        net = dp.Network(4, [dp.Dense(5, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
        dp.fit(net, *data, solver=dp.KFAC(), batch_size=5, max_epochs=3, shuffle=False,
               engine="reference")  # fmt: skip
        thetas.append(net.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-10)


SEARCH = """
    import json, os
    import numpy as np
    import deltaprop as dp
    from deltaprop.engines import xla

    rng = np.random.RandomState(0)
    X, y, w = rng.randn(52, 4), rng.randint(0, 3, 52), rng.rand(52)

    def thetas(engine, batch_size=20, rows=slice(None)):
        found = []
        for reduction in ("sum", "sklearn"):
            net = dp.Network(4, [dp.Dense(7, "tanh", 0.3), dp.Dense(3, "softmax")],
                             loss="cross_entropy", l2=0.1, reduction=reduction, seed=0)
            dp.fit(net, X[rows], y[rows], sample_weight=w[rows], solver=dp.KFAC(every=2),
                   engine=engine, batch_size=batch_size, max_epochs=3, shuffle=False)
            found.append(net.theta.tolist())
        return found
"""


@pytest.mark.slow
def test_devices_of_one_process_share_each_batch():
    eight = """
    import jax

    assert len(jax.devices()) == 8
    print(json.dumps([thetas("xla"), thetas("reference")]))
    """
    many, reference = finished(
        started(SEARCH + eight, XLA_FLAGS="--xla_force_host_platform_device_count=8")
    )
    np.testing.assert_allclose(many, reference, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 3])
def test_processes_train_one_network(devices):
    each = """
    rank = int(os.environ["RANK"])
    xla.connect(os.environ["ADDRESS"], 2, rank)
    print(json.dumps([thetas(dp.Xla(shared_rows=True)),
                      thetas("xla", 10, slice(26 * rank, 26 * rank + 26))]))
    """
    flags = f"--xla_force_host_platform_device_count={devices}"
    first, second = map(finished, two(SEARCH + each, XLA_FLAGS=flags))
    assert first == second
    alone = """
    batches = np.split(np.arange(26), [10, 20])
    union = np.concatenate([r for b in batches for r in (b, b + 26)])
    print(json.dumps([thetas("reference"), thetas("reference", 20, union)]))
    """
    np.testing.assert_allclose(first, finished(started(SEARCH + alone)), rtol=1e-8, atol=1e-10)


# ---------------------------------------------------------------- going on


def small_net(dropout=0.3):
    return dp.Network(4, [dp.Dense(7, "tanh", dropout), dp.Dense(3, "softmax")],
                      loss="cross_entropy", reduction="mean", seed=0)  # fmt: skip


@pytest.mark.parametrize("engine", ["reference", pytest.param("xla", marks=pytest.mark.slow)])
def test_resuming_goes_on_to_the_same_bits(engine):
    whole, parts = small_net(), small_net()
    search = {"solver": dp.KFAC(every=4), "batch_size": 7, "engine": engine}
    full = fit(whole, X, CLASSES, max_epochs=6, **search)
    first = fit(parts, X, CLASSES, max_epochs=2, **search)
    rest = fit(parts, X, CLASSES, max_epochs=4, resume=first, **search)
    np.testing.assert_array_equal(whole.theta, parts.theta)
    assert full.loss_curve == [*first.loss_curve, *rest.loss_curve]


def test_a_killed_search_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path):
    class Killed(BaseException):
        pass

    def kill(event):
        if event.epoch == 3:
            raise Killed

    search = {"solver": dp.KFAC(every=4), "batch_size": 7, "max_epochs": 6}
    whole, parts = small_net(), small_net()
    full = fit(whole, X, CLASSES, checkpoint=dp.Checkpoint(tmp_path / "whole", steps=3), **search)
    kept = dp.Checkpoint(tmp_path / "run", steps=3)
    with pytest.raises(Killed):
        fit(parts, X, CLASSES, checkpoint=kept, callbacks=[kill], **search)
    again = small_net()
    rest = fit(again, X, CLASSES, checkpoint=kept, **search)
    np.testing.assert_array_equal(whole.theta, again.theta)
    assert full.loss_curve == rest.loss_curve


def test_a_saved_estimator_trains_on_where_it_was(tmp_path):
    model = dp.MLPClassifier(
        (6,), solver=dp.KFAC(), max_iter=3, warm_start=True, random_state=0, engine="reference"
    ).fit(X, CLASSES)
    dp.save(model, tmp_path / "model.dp")
    loaded = dp.load(tmp_path / "model.dp")
    assert loaded.solver == dp.KFAC()
    for one in (model, loaded):
        one.fit(X, CLASSES)
    np.testing.assert_array_equal(model.network_.theta, loaded.network_.theta)


@pytest.mark.parametrize("engine", ["reference", "fused", "xla"])
def test_the_memory_of_another_solver_is_refused(engine):
    """Compiled code would write into it."""
    for first, second in ((dp.KFAC(), dp.Adam()), (dp.Adam(), dp.KFAC()), (dp.SGD(), dp.Adam())):
        net = small_net()
        history = fit(net, X, CLASSES, first)
        with pytest.raises(ValueError, match="optimizer state does not match the solver"):
            fit(net, X, CLASSES, second, resume=history, engine=engine)


@pytest.mark.parametrize("wrong", [
    {"damping": 0}, {"damping": -1.0}, {"decay": 1.0}, {"every": 0}, {"every": 2.5},
    {"every": "often"}, {"kl_clip": 0.0}, {"learning_rate": 0}, {"momentum": 1.1},
])  # fmt: skip
def test_parameters_out_of_range_are_named(wrong):
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name} of KFAC must be .*{value!r}"):
        dp.KFAC(**wrong)


# ---------------------------------------------------------------- planted bugs


def planted(module, old, new, monkeypatch):
    """That module with a bug in it."""
    source = Path(inspect.getfile(module)).read_text(encoding="utf-8")
    assert source.count(old) == 1
    twin = ModuleType("deltaprop_planted")
    monkeypatch.setitem(sys.modules, twin.__name__, twin)
    exec(compile(source.replace(old, new), twin.__name__, "exec"), twin.__dict__)
    return twin


BLOCK_BUGS = {
    "no input for the bias": ("xp.ones_like(x[:, :1])", "xp.zeros_like(x[:, :1])"),
    "the bias first": ("[x, xp.ones_like(x[:, :1])]", "[xp.ones_like(x[:, :1]), x]"),
    "no root": ("xp.sqrt(_information(yhat, function, xp))", "_information(yhat, function, xp)"),
    "no dropout": ("X, a, W, f, masks)\n    roots", "X, a, W, f)\n    roots"),
    "A of the layer above": ("else X[l]  #", "else X[l + 1]  #"),
    "unweighted": ("d = roots * xp.astype", "d = len(delta[0]) ** -0.5 * xp.astype"),
}  # fmt: skip
STEP_BUGS = {
    "A and G exchanged": ("(A @ g_l @ G)", "(G @ g_l[:-1] @ A[:-1, :-1])"),
    "π upside down": ("[pi * root + _rounding(A), root / pi + _rounding(G)]",
                      "[root / pi + _rounding(A), pi * root + _rounding(G)]"),
    "γ for √γ": ("root = math.sqrt(damping)", "root = damping"),
    "G forgotten": ("A @ g_l @ G)", "A @ g_l)"),
    "the gradient transposed": (".reshape(rows, columns)", ".reshape(columns, rows).T"),
    "no correction of the start": ("/ (1 - self.decay**t)", "* 0.9"),
}  # fmt: skip


@pytest.mark.parametrize("bug", BLOCK_BUGS)
def test_a_bug_in_the_blocks_is_found(bug, monkeypatch):
    fisher = planted(fisher_module, *BLOCK_BUGS[bug], monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        blocks_agree(fisher, ("cross_entropy", "softmax"))


@pytest.mark.parametrize("bug", STEP_BUGS)
def test_a_bug_in_the_step_is_found(bug, monkeypatch):
    def all_agree():
        step_agrees(KFAC)
        averages_agree(KFAC)

    KFAC = planted(natural_gradient, *STEP_BUGS[bug], monkeypatch).KFAC
    with pytest.raises((AssertionError, ValueError)):
        all_agree()
