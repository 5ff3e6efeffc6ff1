"""f, f′, f″ and the losses: against their definitions, at extreme inputs, and in float32."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltaprop as dp
from deltaprop import activations, losses
from deltaprop.functions import kernels
from deltaprop.functions.losses import targets

jax.config.update("jax_enable_x64", True)

NAMES = [name for name in activations.NAMES if name not in ("softmax", "mean_variance")]
SAME_IN_JAX = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "gelu": lambda a: jax.nn.gelu(a, approximate=False),
    "gelu_tanh": lambda a: jax.nn.gelu(a, approximate=True),
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "logistic": jax.nn.sigmoid,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "cos": jnp.cos,
    "exp": jnp.exp,
    "identity": lambda a: a,
}


POINTS = np.concatenate(
    [np.linspace(-30, 30, 6001), *np.outer([-1, 1], np.geomspace(1e-6, 30, 999))]
)
POINTS = POINTS[POINTS != 0]  # a kink of some


@pytest.mark.parametrize("name", NAMES)
def test_f_and_its_derivatives_match_jax(name):
    mine, theirs = activations.get(name), SAME_IN_JAX[name]
    z, first = mine.f(POINTS, np), jax.grad(theirs)
    np.testing.assert_allclose(z, theirs(POINTS), rtol=1e-12, atol=1e-14)
    slopes, bends = jax.vmap(first)(POINTS), jax.vmap(jax.grad(first))(POINTS)
    np.testing.assert_allclose(mine.df(POINTS, z, np), slopes, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(mine.d2f(POINTS, z, np), bends, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", [*NAMES, "softmax", "mean_variance"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_inputs_stay_finite_and_keep_the_dtype(name, dtype):
    f = activations.get(name)
    top = 80 if name in ("exp", "mean_variance") else 1e4
    a = np.array([[-1e4, -100, -1, 0, 1, top]], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        z = f.f(a, np)
        parts = [z, f.df(a, z, np), f.d2f(a, z, np), f.pull_back(a, z, np.ones_like(a), np)]
    for part in parts:
        assert np.isfinite(part).all()
        assert part.dtype == dtype


def test_softmax_has_a_full_jacobian():
    softmax, rng = activations.get("softmax"), np.random.RandomState(0)
    a, g = rng.randn(5, 4), rng.randn(5, 4)
    z = softmax.f(a, np)
    jacobian = np.stack([np.asarray(jax.jacobian(jax.nn.softmax)(row)) for row in a])
    np.testing.assert_allclose(softmax.df(a, z, np), jacobian, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        softmax.pull_back(a, z, g, np), np.einsum("nh,nhk->nk", g, jacobian), atol=1e-14
    )
    second = np.stack([np.asarray(jax.hessian(jax.nn.softmax)(row)) for row in a])
    np.testing.assert_allclose(softmax.d2f(a, z, np), second, rtol=1e-11, atol=1e-15)


def test_probabilities_in_the_tails_keep_their_relative_precision():
    a = np.array([[-700.0, -40.0]])
    np.testing.assert_allclose(activations.get("logistic").f(a, np), np.exp(a), rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "output", "y"),
    [
        ("binary_cross_entropy", "logistic", [[0.0, 1.0]]),
        ("cross_entropy", "softmax", [[0.0, 1.0]]),
        ("focal", "softmax", [[0.0, 1.0]]),
        ("focal", "logistic", [[1.0]]),
        ("poisson", "exp", [[0.0, 3.0]]),
    ],
)
def test_collapsed_forms_stay_finite_where_the_chain_rule_does_not(name, output, y):
    y = np.array(y)
    net = dp.Network(1, [dp.Dense(y.shape[1], output)], loss=name)
    net.theta[...] = 0
    net.b[0][...] = np.array([600.0, -600.0])[: y.shape[1]] * (-1 if y.shape[1] == 1 else 1)
    assert np.isfinite(net.loss([[0.0]], y))
    assert np.isfinite(net.gradient([[0.0]], y).flat).all()


@pytest.mark.parametrize("name", losses.NAMES)
def test_equal_losses_are_equal_and_survive_pickling(name):
    loss = losses.get(name)
    assert loss == losses.get(name)
    assert hash(loss) == hash(losses.get(name))
    assert pickle.loads(pickle.dumps(loss)) == loss


def test_losses_with_different_parameters_are_unequal():
    assert losses.get("huber", delta=1.0) != losses.get("huber", delta=2.0)


def test_label_smoothing_and_class_weights_match_their_formulas():
    rng = np.random.RandomState(0)
    X, y = rng.randn(8, 3), rng.randint(0, 3, 8)
    loss = losses.CrossEntropy(label_smoothing=0.2, class_weight=(1.0, 2.0, 0.5))
    net = dp.Network(3, [dp.Dense(3, "softmax")], loss=loss, seed=0)
    t = (np.eye(3)[y] * 0.8 + 0.2 / 3) * np.array([1.0, 2.0, 0.5])
    assert net.loss(X, y) == pytest.approx(-(t * np.log(net.predict(X))).sum(), rel=1e-12)


def test_quantile_outputs_are_target_major():
    loss = losses.Quantile((0.1, 0.9))
    net = dp.Network(1, [dp.Dense(4)], loss=loss)
    net.theta[...] = 0
    # y = (1, -1), ŷ = 0: q · 1 for the first target, (1 - q) · 1 for the second.
    assert net.loss([[0.0]], [[1.0, -1.0]]) == pytest.approx(0.1 + 0.9 + 0.9 + 0.1)
    delta = net.trace([[0.0]], [[1.0, -1.0]]).delta[-1]
    np.testing.assert_allclose(delta, [[-0.1, -0.9, 0.9, 0.1]])


# ---------------------------------------------------------------- settings and encodings


def test_settings_are_stored_where_they_are_used():
    loss = losses.CrossEntropy(label_smoothing=0.2, class_weight=(1.0, 2.0))
    assert loss.params == ()
    assert loss.encoding == targets.Classes(0.2, (1.0, 2.0))
    binary = losses.BinaryCrossEntropy(label_smoothing=0.2, class_weight=(1.0, 2.0))
    assert binary.params == (("class_weight", (1.0, 2.0)),)
    assert binary.encoding == targets.Probabilities(0.2)


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        (losses.SquaredError(), {}),
        (losses.Huber(2), {"delta": 2.0}),
        (losses.Quantile((0.1, 0.9)), {"quantiles": (0.1, 0.9)}),
        (
            losses.BinaryCrossEntropy(0.1),
            {"label_smoothing": 0.1, "class_weight": (1.0, 1.0)},
        ),
        (losses.CrossEntropy(0.1), {"label_smoothing": 0.1, "class_weight": None}),
        (losses.Focal(), {"gamma": 2.0}),
    ],
)
def test_stored_settings_keep_their_names_values_and_order(loss, settings):
    assert list(loss.settings.items()) == list(settings.items())
    assert losses.get(loss.name, **loss.settings) == loss


def test_every_function_of_a_custom_loss_is_passed_the_params():
    passed = []

    def check(y, H, name, k):
        passed.append((name, H, k))

    loss = dp.Loss(
        "scaled", lambda t, z, xp, k: k * (z - t) ** 2, lambda t, z, xp, k: 2 * k * (z - t),
        params={"k": 3.0}, encode=lambda y, H, dtype, xp, k: xp.astype(y[:, None], dtype) / k,
        check=check,
    )  # fmt: skip
    net = dp.Network(1, [dp.Dense(1)], loss=loss)
    net.theta[...] = 0
    assert net.loss([[0.0]], [6.0]) == 3.0 * (6 / 3.0) ** 2
    assert passed == [("scaled", 1, 3.0)]
    assert loss.settings == {"k": 3.0}


def test_a_custom_loss_may_use_a_built_in_encoding():
    loss = dp.Loss(
        "likelihood", lambda t, z, xp: -t * xp.log(z), lambda t, z, xp: -t / z,
        encoding=targets.Classes(label_smoothing=0.25),
    )  # fmt: skip
    net = dp.Network(1, [dp.Dense(2, "softmax")], loss=loss)
    np.testing.assert_array_equal(net.encode([0, 1]), [[0.875, 0.125], [0.125, 0.875]])
    assert loss.task == "classification"
    with pytest.raises(ValueError, match="class indices 0 to 1"):
        net.encode([2])


@pytest.mark.parametrize("part", ["d2", "information", "encode", "check"])
def test_optional_functions_are_callable_or_none(part):
    with pytest.raises(TypeError, match=f"{part} must be callable or None, got 3"):
        dp.Loss("own", lambda t, z, xp: z - t, lambda t, z, xp: 1 + 0 * z, **{part: 3})


def test_slopes_are_the_diagonal_of_the_jacobian():
    softmax, a = activations.get("softmax"), np.random.RandomState(0).randn(4, 3)
    z = softmax.f(a, np)
    diagonal = np.einsum("nhh->nh", softmax.df(a, z, np))
    np.testing.assert_allclose(softmax.slopes(a, z, np), diagonal, rtol=1e-14)
    undeclared = dp.Activation("own", softmax.f, softmax.df, coupling="row")
    np.testing.assert_array_equal(undeclared.slopes(a, z, np), diagonal)


# ---------------------------------------------------------------- kernel forms


def tempered():
    """Return a custom softmax with temperature 2."""
    soft = activations.get("softmax")
    return dp.Activation(
        "tempered", lambda a, xp: soft.f(a / 2, xp), lambda a, z, xp: soft.df(a, z, xp) / 2,
        coupling="row", vjp=lambda a, z, g, xp: soft.vjp(a, z, g, xp) / 2,
        kernel=kernels.Normalized(
            lambda s, xp: xp.exp(s / 2), lambda z, g, inner, xp: z * (g - inner) / 2
        ),
    )  # fmt: skip


def tanh_and_softplus():
    """Return a custom activation: tanh for the first half of the columns, softplus for the rest."""
    parts = [activations.get(name) for name in ("tanh", "softplus")]

    def both(functions, *arrays, xp):
        K = arrays[0].shape[-1] // 2
        first, second = [x[:, :K] for x in arrays], [x[:, K:] for x in arrays]
        return xp.concat([functions[0](*first, xp), functions[1](*second, xp)], axis=-1)

    f, df = tuple(part.f for part in parts), tuple(part.df for part in parts)
    return dp.Activation(
        "tanh_and_softplus", lambda a, xp: both(f, a, xp=xp),
        lambda a, z, xp: both(df, a, z, xp=xp), kernel=kernels.TwoHalves(f, df),
    )  # fmt: skip


def copy_of(name, **settings):
    """Return a built-in loss as a custom one; its kernel forms cannot depend on the name."""
    loss = losses.get(name, **settings)
    return dp.Loss(
        f"my_{name}", loss.value, loss.d, loss.d2, dict(loss.params), closed=loss.closed,
        outputs_per_target=loss.outputs_per_target, encoding=loss.encoding, kernel=loss.kernel,
    )  # fmt: skip


@pytest.mark.parametrize("units", [4, 2])
@pytest.mark.parametrize(
    ("hidden", "output", "loss"),
    [
        (tempered(), "identity", "squared_error"),
        (tanh_and_softplus(), tanh_and_softplus(), "squared_error"),
        ("tanh", "identity", copy_of("quantile", quantiles=(0.2, 0.9))),
        ("tanh", tanh_and_softplus(), copy_of("gaussian_nll")),
        ("tanh", "mean_variance", copy_of("gaussian_nll")),
        ("tanh", tempered(), copy_of("focal", gamma=1.5)),
        ("tanh", "softmax", copy_of("focal", gamma=1.5)),
        ("tanh", "logistic", copy_of("focal", gamma=1.5)),
        ("tanh", "softmax", copy_of("cross_entropy", class_weight=None)),
    ],
)
def test_custom_functions_with_kernel_forms_are_compiled(hidden, output, loss, units):
    X, per_target = np.random.RandomState(0).randn(30, 3), losses.get(loss).outputs_per_target
    classes = losses.get(loss).task == "classification"
    y = np.random.RandomState(1).rand(30, units // per_target)
    y = (y * units).astype(int)[:, 0] if classes else y
    thetas = []
    for engine in ("reference", "fused"):
        net = dp.Network(3, [dp.Dense(6, hidden), dp.Dense(units, output)], loss=loss, seed=0)
        dp.fit(net, X, y, engine=engine, max_epochs=3, patience=np.inf, batch_size=10)
        thetas.append(net.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-9, atol=1e-12)


def _cubic(t, yhat, xp):
    return abs(yhat - t) ** 3


def _half(a, xp):
    return a / 2


CUSTOM = [
    dp.Loss("cubic", _cubic, _cubic),
    dp.Loss("cubic", _cubic, _cubic, params={"k": 2.0}),
    dp.Activation("half", _half, _half),
]


@pytest.mark.parametrize("function", [*CUSTOM, *map(losses.get, losses.NAMES)])
def test_copies_are_equal(function):
    """scikit-learn's clone copies custom functions, and the xla engine compiles equal ones once."""
    for twin in (copy.deepcopy(function), pickle.loads(pickle.dumps(function))):
        assert twin == function
        assert hash(twin) == hash(function)
