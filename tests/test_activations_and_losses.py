"""f, f′, f″ and the losses on their own: against the definitions, far out, and in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltaprop as dp
from deltaprop import activations, losses

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
    "exp": jnp.exp,
    "identity": lambda a: a,
}


@pytest.mark.parametrize("name", NAMES)
@given(st.floats(-30, 30).filter(lambda a: abs(a) > 1e-6))
def test_f_and_its_derivatives_are_jax_s(name, a):
    mine, theirs = activations.get(name), SAME_IN_JAX[name]
    x = np.array([[a]])
    z = mine.f(x, np)
    first, second = jax.grad(theirs), jax.grad(jax.grad(theirs))
    np.testing.assert_allclose(z[0, 0], theirs(a), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(mine.df(x, z, np)[0, 0], first(a), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(mine.d2f(x, z, np)[0, 0], second(a), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", [*NAMES, "softmax", "mean_variance"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_out_values_stay_finite_and_keep_the_dtype(name, dtype):
    f = activations.get(name)
    top = 80 if name in ("exp", "mean_variance") else 1e4
    a = np.array([[-1e4, -100, -1, 0, 1, top]], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        z = f.f(a, np)
        parts = [z, f.df(a, z, np), f.d2f(a, z, np), f.pull_back(a, z, np.ones_like(a), np)]
    for part in parts:
        assert np.isfinite(part).all()
        assert part.dtype == dtype


def test_softmax_is_a_jacobian_not_an_elementwise_derivative():
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
def test_collapsed_forms_stay_finite_where_the_general_chain_would_not(name, output, y):
    y = np.array(y)
    net = dp.Network(1, [dp.Dense(y.shape[1], output)], loss=name)
    net.theta[...] = 0
    net.b[0][...] = np.array([600.0, -600.0])[: y.shape[1]] * (-1 if y.shape[1] == 1 else 1)
    assert np.isfinite(net.loss([[0.0]], y))
    assert np.isfinite(net.gradient([[0.0]], y).flat).all()


@pytest.mark.parametrize("name", losses.NAMES)
def test_equal_losses_are_equal_and_survive_pickling(name):
    import pickle

    loss = losses.get(name)
    assert loss == losses.get(name)
    assert hash(loss) == hash(losses.get(name))
    assert pickle.loads(pickle.dumps(loss)) == loss


def test_losses_with_other_parameters_differ():
    assert losses.get("huber", delta=1.0) != losses.get("huber", delta=2.0)


def test_label_smoothing_and_class_weights_are_what_their_formulas_say():
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
