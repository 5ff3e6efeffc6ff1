"""Activations, losses, target encodings, equations and solvers, each directly from its definition.

Quick and without engines: these tests are the first that `python -m mutation` runs.
"""

import pickle
import re

import numpy as np
import pytest
import scipy.sparse

import deltaprop as dp
from deltaprop import activations, equations, losses
from deltaprop.functions import kernels
from deltaprop.functions.losses import targets
from deltaprop.functions.losses.loss import Loss
from deltaprop.optim.solvers import BY_NAME, Solver, is_full_batch
from deltaprop.optim.transforms import (
    AdamMoments,
    Chain,
    ClipByNorm,
    DecayWeights,
    InputScale,
    Momentum,
    Orthogonal,
    ScaleSteps,
    Step,
    orthogonalized,
)

from . import oracles

STEP = 1e-30
A = np.array([[-8.0, -2.5, -1.0, -0.3], [0.2, 0.7, 1.5, 6.0]])
ELEMENTWISE = [n for n in activations.NAMES if n not in ("softmax", "mean_variance")]


def slope(f, x):
    """f′ of an elementwise function, by a complex step."""
    return f(x + 1j * STEP).imag / STEP


def slope_by_difference(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


def gradient(f, x):
    """∂ΣF/∂x, by a complex step for each entry."""
    found = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        at = x.astype(complex)
        at[i] += 1j * STEP
        found[i] = np.sum(f(at)).imag / STEP
    return found


# ---------------------------------------------------------------- activations


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_activations(name):
    f = activations.get(name)

    def definition(a):
        return oracles.activate(name, a, oracles.NUMPY)

    z, g = f.f(A, np), np.cos(A)
    np.testing.assert_allclose(z, definition(A), rtol=1e-11)
    d = f.df(A, z, np)
    np.testing.assert_allclose(d, slope(definition, A), rtol=1e-11, atol=1e-15)
    d2 = slope_by_difference(lambda a: f.df(a, f.f(a, np), np), A)
    np.testing.assert_allclose(f.d2f(A, z, np), d2, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(f.pull_back(A, z, g, np), g * d, rtol=1e-14)
    np.testing.assert_array_equal(f.slopes(A, z, np), np.broadcast_to(d, A.shape))
    assert f.is_builtin
    assert repr(f) == f"Activation({f.name!r})"
    assert pickle.loads(pickle.dumps(f)) is f


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu"])
def test_pieces_meet_at_zero(name):
    f, zero = activations.get(name), np.zeros((1, 2))
    z = f.f(zero, np)
    np.testing.assert_array_equal(z, zero)
    left = {"relu": 0.0, "leaky_relu": 0.01, "elu": 1.0}.get(
        name, oracles.SELU_SCALE * oracles.SELU_ALPHA
    )
    np.testing.assert_allclose(f.df(zero, z, np), left, rtol=1e-15)


def test_mean_variance():
    f, z = activations.get("mean_variance"), np.hstack([A[:, :2], np.exp(A[:, 2:])])
    np.testing.assert_allclose(f.f(A, np), z, rtol=1e-15)
    np.testing.assert_allclose(f.df(A, z, np), np.hstack([np.ones((2, 2)), z[:, 2:]]))
    np.testing.assert_allclose(f.d2f(A, z, np), np.hstack([np.zeros((2, 2)), z[:, 2:]]))


def test_softmax_and_its_kernel_form():
    f, g = activations.get("softmax"), np.cos(A)
    z = np.exp(A) / np.exp(A).sum(1, keepdims=True)
    np.testing.assert_allclose(f.f(A, np), z, rtol=1e-14)
    # More rows than columns, and the other way round: no axis may be mistaken.
    for a in (A, A.T.copy(), np.array([[0.3]])):
        z = f.f(a, np)
        jacobian = z[:, :, None] * (np.eye(a.shape[1]) - z[:, None, :])
        np.testing.assert_allclose(f.df(a, z, np), jacobian, rtol=1e-13, atol=1e-16)
        np.testing.assert_allclose(
            f.slopes(a, z, np), np.einsum("nhh->nh", jacobian), rtol=1e-13, atol=1e-16
        )
        g = np.cos(a)
        pulled = np.einsum("nh,nhk->nk", g, jacobian)
        np.testing.assert_allclose(f.pull_back(a, z, g, np), pulled, rtol=1e-12, atol=1e-16)
        second = np.stack(
            [slope_by_difference(lambda x, k=k, a=a: _moved(f, a, k, x), 0.0)
             for k in range(a.shape[1])], axis=3,
        )  # fmt: skip
        np.testing.assert_allclose(f.d2f(a, z, np), second, atol=1e-8)
        form = f.kernel
        assert isinstance(form, kernels.Normalized)
        e = form.term(a - a.max(1, keepdims=True), np)
        np.testing.assert_allclose(e / e.sum(1, keepdims=True), z, rtol=1e-14)
        inner = (g * z).sum(1, keepdims=True)
        np.testing.assert_allclose(form.pull_back(z, g, inner, np), pulled, atol=1e-15)


def _moved(f, a, k, x):
    """The Jacobian of f after a step of x along a_k."""
    moved = a.copy()
    moved[:, k] += x
    return f.df(moved, f.f(moved, np), np)


def test_the_kernel_form_of_mean_variance():
    form = activations.get("mean_variance").kernel
    z = np.exp(A)
    np.testing.assert_array_equal(form.f[0](A, np), A)
    np.testing.assert_allclose(form.f[1](A, np), z)
    np.testing.assert_array_equal(form.df[0](A, A, np), np.ones_like(A))
    np.testing.assert_array_equal(form.df[1](A, z, np), z)


def test_a_row_activation_without_closed_forms_uses_its_jacobian():
    soft = activations.get("softmax")
    own = dp.Activation("own", soft.f, soft.df, coupling="row")
    z, g = own.f(A, np), np.cos(A)
    np.testing.assert_allclose(own.pull_back(A, z, g, np), soft.pull_back(A, z, g, np), rtol=1e-12)
    np.testing.assert_allclose(own.slopes(A, z, np), z * (1 - z), rtol=1e-12)
    assert not own.is_builtin


def test_a_constant_slope_is_one_for_each_entry():
    line = dp.Activation("line", lambda a, xp: 2 * a, lambda a, z, xp: xp.asarray(2.0))
    assert line.slopes(A, 2 * A, np).shape == A.shape


def test_a_trainable_activation():
    alpha, g = np.array([0.0, 0.25, 1.0, 2.0]), np.cos(A)
    for name in ("tanh", "softmax"):
        f = activations.get(name)
        _, (mix,) = equations.in_effect([A], [f], equations.Vectors([None], [alpha]))
        z = mix.f(A, np)
        np.testing.assert_allclose(z, A + alpha * (f.f(A, np) - A), rtol=1e-15)
        np.testing.assert_allclose(
            mix.pull_back(A, z, g, np), (1 - alpha) * g + f.pull_back(A, f.f(A, np), alpha * g, np)
        )
        expected = 1 + alpha * (f.slopes(A, f.f(A, np), np) - 1)
        np.testing.assert_allclose(mix.slopes(A, z, np), expected, rtol=1e-15)
        assert mix.name == f"trainable {name}"
        assert mix.coupling == f.coupling


def test_activations_are_looked_up_by_name():
    assert activations.get("sigmoid") is activations.get("logistic")
    assert activations.get(activations.get("tanh")) is activations.get("tanh")
    with pytest.raises(ValueError, match=r"one of identity, .*; got 'rellu'\. Did you mean 'relu'"):
        activations.get("rellu")
    with pytest.raises(ValueError, match=r"got 'zzz'\.$"):
        activations.get("zzz")
    with pytest.raises(TypeError, match=r"name or a deltaprop.Activation, got 3 of type int"):
        activations.get(3)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("", np.sin, np.cos), ValueError, "non-empty str, got ''"),
        ((3, np.sin, np.cos), ValueError, "non-empty str, got 3"),
        (("relu", np.sin, np.cos), ValueError, "'relu' is taken"),
        (("own", 1, np.cos), TypeError, "f must be callable, got 1"),
        (("own", np.sin, None), TypeError, "df must be callable, got None"),
        (("own", np.sin, np.cos, 1), TypeError, "d2f must be callable or None, got 1"),
        (("own", np.sin, np.cos, None, "row", 1), TypeError, "vjp must be callable or None, got 1"),
        (("own", np.sin, np.cos, None, "row", None, None, 1), TypeError, "diagonal must be call"),
    ],
)
def test_wrong_activations_are_named(arguments, error, said):
    with pytest.raises(error, match=re.escape(said)):
        dp.Activation(*arguments)


# ---------------------------------------------------------------- losses

REAL = np.array([[0.3, -1.2], [2.5, 0.4], [-0.7, 3.0]])
OTHER = np.array([[0.9, -1.1], [1.1, 2.4], [-0.9, -3.0]])
POSITIVE, MEANS = np.exp(REAL), np.exp(OTHER)
SHARES = np.array([[0.2, 0.7], [0.9, 0.4], [0.05, 0.5]])
BITS = np.array([[0.0, 1.0], [1.0, 0.3], [0.6, 1.0]])
CASES = {
    "squared_error": ({}, REAL, OTHER, np.ones_like(REAL)),
    "absolute_error": ({}, REAL, OTHER, np.ones_like(REAL)),
    "huber": ({"delta": 0.7}, REAL, OTHER, np.ones_like(REAL)),
    "log_cosh": ({}, REAL, OTHER, np.ones_like(REAL)),
    "quantile": ({"quantiles": (0.2, 0.9)}, REAL, OTHER, np.tile([0.16, 0.09], (3, 1))),
    "poisson": ({}, POSITIVE, MEANS, 1 / MEANS),
    "gamma": ({}, POSITIVE, MEANS, MEANS**-2.0),
    "tweedie": ({"power": 1.3}, POSITIVE, MEANS, MEANS**-1.3),
    "tweedie of a large power": ({"power": 3.5}, POSITIVE, MEANS, MEANS**-3.5),
    "gaussian_nll": (
        {}, REAL[:, :1], np.hstack([OTHER[:, :1], MEANS[:, 1:]]),
        np.hstack([1 / MEANS[:, 1:], 0.5 * MEANS[:, 1:] ** -2.0]),
    ),
    "binary_cross_entropy": (
        {"class_weight": (0.5, 3.0)}, BITS, SHARES, 0.5 / (1 - SHARES) + 3 / SHARES,
    ),
    "cross_entropy": ({}, BITS, SHARES, 1 / SHARES),
    "cross_entropy of weighted classes": (
        {"class_weight": (0.5, 3.0)}, BITS, SHARES, [0.5, 3.0] / SHARES,
    ),
    "focal": ({"gamma": 1.7}, BITS, SHARES, None),
    "focal of one output": ({"gamma": 2.6}, BITS[:, :1], SHARES[:, :1], None),
    "hinge": ({}, np.sign(REAL), OTHER, np.zeros_like(REAL)),
}  # fmt: skip


def opened(case):
    params, t, z, information = CASES[case]
    name = case.split(" of ")[0]
    return losses.get(name, **params), oracles.LOSSES[name], params, t, z, information


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_of_losses(case):
    loss, definition, params, t, z, information = opened(case)

    def summed(at):
        return definition(t, at, oracles.NUMPY, **params)

    np.testing.assert_allclose(loss.evaluate(t, z, np), summed(z), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(loss.first(t, z, np), gradient(summed, z), rtol=1e-11, atol=1e-14)
    for h, e in enumerate(np.eye(z.shape[1])):
        second = slope_by_difference(lambda x, e=e: loss.first(t, z + x * e, np), 0.0)
        np.testing.assert_allclose(loss.second(t, z, np)[:, h], second[:, h], rtol=1e-6, atol=1e-9)
    if information is None:
        information = loss.second(z, z, np)
    np.testing.assert_allclose(loss.fisher(z, np), information, rtol=1e-12)
    assert loss.fisher(z.astype(np.float32), np).dtype == np.float32


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("output", ["exp", "logistic", "softmax", "mean_variance"])
def test_closed_forms_of_losses(case, output):
    loss, definition, params, t, z, _ = opened(case)
    closed = loss.closed_form(output)
    if closed is None:
        assert (loss.name, output) not in {
            ("poisson", "exp"), ("gamma", "exp"), ("tweedie", "exp"), ("focal", "softmax"),
            ("focal", "logistic"), ("binary_cross_entropy", "logistic"),
            ("cross_entropy", "softmax"), ("gaussian_nll", "mean_variance"),
        }  # fmt: skip
        return
    a = np.array([[0.4, -1.1], [1.3, 0.2], [-0.6, 2.0]])[:, : z.shape[1]]

    def summed(at):
        yhat = oracles.activate(output, at, oracles.NUMPY)
        if loss.name == "focal" and output == "softmax" and at.shape[1] == 1:
            yhat = yhat * (1 - 1e-16)  # log 0 otherwise
        return definition(t, yhat, oracles.NUMPY, **params)

    yhat = oracles.activate(output, a, oracles.NUMPY)
    if not (loss.name == "focal" and yhat.shape[1] == 1 and output == "softmax"):
        np.testing.assert_allclose(closed.value(t, a, yhat, np), summed(a), rtol=1e-12, atol=1e-14)
        delta = gradient(summed, a)
        np.testing.assert_allclose(closed.delta(t, a, yhat, np), delta, rtol=1e-11, atol=1e-14)
        return
    np.testing.assert_array_equal(closed.delta(t, a, yhat, np), np.zeros_like(a))
    np.testing.assert_allclose(closed.value(t, a, yhat, np), loss.evaluate(t, yhat, np))


def test_the_kernel_forms_of_losses_agree_with_their_values():
    a, K = np.array([[0.4, -1.1], [1.3, 0.2], [-0.6, 2.0]]), 1
    gaussian = losses.get("gaussian_nll")
    t, m, s = REAL[:, :K], OTHER[:, :K], MEANS[:, K:]
    value, d_m, d_s = gaussian.kernel.terms(t, m, s, np)
    np.testing.assert_allclose(value, gaussian.evaluate(t, np.hstack([m, s]), np))
    np.testing.assert_allclose(np.hstack([d_m, d_s]), gaussian.first(t, np.hstack([m, s]), np))
    closed = gaussian.closed_form("mean_variance")
    value, d_m, d_s = closed.kernel.terms(t, a[:, :K], a[:, K:], np)
    z = oracles.activate("mean_variance", a, oracles.NUMPY)
    np.testing.assert_allclose(value, closed.value(t, a, z, np))
    np.testing.assert_allclose(np.hstack([d_m, d_s]), closed.delta(t, a, z, np))

    gamma = {"gamma": 1.7}
    focal = losses.get("focal", **gamma)
    ones = np.ones_like(SHARES)
    value, d = focal.kernel.terms(a, SHARES, np, **gamma)
    np.testing.assert_allclose(value, focal.evaluate(ones, SHARES, np))
    np.testing.assert_allclose(d, focal.first(ones, SHARES, np))
    z = oracles.activate("logistic", a, oracles.NUMPY)
    logistic = focal.closed_form("logistic")
    value, d = logistic.kernel.terms(a, z, np, **gamma)
    np.testing.assert_allclose(value, logistic.value(ones, a, z, np))
    np.testing.assert_allclose(d, logistic.delta(ones, a, z, np))
    z = oracles.activate("softmax", a, oracles.NUMPY)
    softmax = focal.closed_form("softmax")
    value, q = softmax.kernel.terms(BITS, z, np.log(z), np, **gamma)
    np.testing.assert_allclose(value, softmax.value(BITS, a, z, np))
    delta = q - z * q.sum(1, keepdims=True)
    np.testing.assert_allclose(delta, softmax.delta(BITS, a, z, np), atol=1e-15)
    single = softmax.kernel.single(BITS[:, :1], 0.9 * np.ones((3, 1)), np, **gamma)
    np.testing.assert_allclose(single, -(1 - BITS[:, :1]) * np.log(0.1))
    weight = losses.get("cross_entropy").closed_form("softmax").kernel.weight
    assert weight(BITS, np) is BITS
    assert losses.get("quantile").kernel == kernels.PerOutput("quantiles")


@pytest.mark.parametrize(
    ("name", "params", "t", "z", "value"),
    [
        ("poisson", {}, 0.0, 1.5, 1.5),
        ("poisson", {}, 0.0, 0.0, 0.0),
        ("binary_cross_entropy", {}, 0.0, 0.0, 0.0),
        ("binary_cross_entropy", {}, 1.0, 1.0, 0.0),
        ("cross_entropy", {}, 0.0, 0.0, 0.0),
        ("focal", {"gamma": 0.0}, 0.0, 0.0, 0.0),
        ("focal", {}, 1.0, 1.0, 0.0),
        ("huber", {"delta": 2.0}, 0.0, 2.0, 2.0),
        ("hinge", {}, 1.0, 1.0, 0.0),
        ("absolute_error", {}, 1.0, 1.0, 0.0),
        ("quantile", {}, 1.0, 1.0, 0.0),
        ("log_cosh", {}, 0.0, 0.0, 0.0),
    ],
)
def test_losses_at_the_edge_of_their_domain(name, params, t, z, value):
    loss, t, z = losses.get(name, **params), np.array([[t]]), np.array([[z]])
    np.testing.assert_allclose(loss.evaluate(t, z, np), [[value]], atol=1e-300)
    assert np.isfinite(loss.first(t, z, np)).all()


def test_derivatives_at_kinks_are_those_of_the_documentation():
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    assert losses.get("absolute_error").first(one, one, np) == 0
    assert losses.get("quantile", quantiles=0.3).first(one, one, np) == 0
    assert losses.get("hinge").first(one, one, np) == 0
    assert losses.get("huber", delta=2.0).second(zero, 2 * one, np) == 1
    assert losses.get("huber", delta=2.0).first(zero, 3 * one, np) == 2


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("huber", {"delta": 0}, "delta of the Huber loss must be a number > 0, got 0"),
        ("huber", {"delta": "1"}, "delta of the Huber loss"),
        ("focal", {"gamma": -0.1}, "gamma of the focal loss must be a number >= 0"),
        ("focal", {"gamma": None}, "gamma of the focal loss"),
        ("tweedie", {"power": 1}, "power of the Tweedie loss"),
        ("tweedie", {"power": 2}, "power of the Tweedie loss"),
        ("tweedie", {"power": "3"}, "power of the Tweedie loss"),
        ("quantile", {"quantiles": ()}, "quantiles must be one or more"),
        ("quantile", {"quantiles": 0}, "quantiles must be one or more"),
        ("quantile", {"quantiles": (0.5, 1)}, "quantiles must be one or more"),
        ("quantile", {"quantiles": (0.5, "a")}, "quantiles must be one or more"),
        ("cross_entropy", {"label_smoothing": 1}, "label_smoothing must be a number in [0, 1)"),
        ("cross_entropy", {"label_smoothing": -0.1}, "label_smoothing must be a number in [0, 1)"),
        ("cross_entropy", {"label_smoothing": "0"}, "label_smoothing must be a number in [0, 1)"),
        ("cross_entropy", {"class_weight": ()}, "class_weight must be a sequence"),
        ("cross_entropy", {"class_weight": (1, -1)}, "class_weight must be a sequence"),
        ("cross_entropy", {"class_weight": (1, "a")}, "class_weight must be a sequence"),
        ("binary_cross_entropy", {"class_weight": (1, 1, 1)}, "must hold two weights"),
    ],
)  # fmt: skip
def test_settings_of_losses_out_of_range_are_named(name, params, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        losses.get(name, **params)


def test_settings_of_losses_at_the_end_of_their_range():
    assert losses.get("focal", gamma=0).settings == {"gamma": 0.0}
    assert losses.get("huber", delta=1e-300).settings == {"delta": 1e-300}
    assert losses.get("tweedie", power=1.0001).encoding == targets.Amounts()
    assert losses.get("tweedie", power=2.0001).encoding == targets.Amounts(positive=True)
    assert losses.get("cross_entropy", class_weight=[0, 2]).settings["class_weight"] == (0.0, 2.0)
    assert losses.get("cross_entropy", label_smoothing=0).settings["label_smoothing"] == 0.0
    assert losses.get("binary_cross_entropy").params == (("class_weight", (1.0, 1.0)),)
    assert losses.get("quantile").settings == {"quantiles": (0.5,)}
    assert losses.get("quantile", quantiles=(0.1, 0.5, 0.9)).outputs_per_target == 3
    assert losses.get("huber", delta=1.0) != losses.get("huber", delta=2.0)
    assert losses.Huber(2.0) == losses.get("huber", delta=2.0)
    assert losses.get("hinge") != losses.get("squared_error")
    assert losses.get("gamma").encoding == targets.Amounts(positive=True)
    assert losses.get("poisson").encoding == targets.Amounts()


DEFAULTS = {"huber": {"delta": 1.0}, "focal": {"gamma": 2.0}, "tweedie": {"power": 1.5}}
LINKS = {
    "poisson": "exp", "gamma": "exp", "tweedie": "exp", "gaussian_nll": "mean_variance",
    "binary_cross_entropy": "logistic", "cross_entropy": "softmax", "focal": "softmax",
}  # fmt: skip
ZERO_LOG_ZERO = {"poisson", "binary_cross_entropy", "cross_entropy", "focal"}


@pytest.mark.parametrize("name", losses.NAMES)
def test_what_engines_and_estimators_know_about_a_loss(name):
    loss = losses.get(name)
    assert loss.name == name
    assert loss.is_builtin
    assert loss.link == LINKS.get(name, "identity")
    assert loss.note == ("0 log 0 counts as 0." if name in ZERO_LOG_ZERO else "")
    assert loss.outputs_per_target == (2 if name == "gaussian_nll" else 1)
    assert DEFAULTS.get(name, {}).items() <= loss.settings.items()
    assert loss == losses.get(name)
    assert pickle.loads(pickle.dumps(loss)) == loss
    classes = {"binary_cross_entropy", "cross_entropy", "focal", "hinge"}
    assert loss.task == ("classification" if name in classes else "regression")
    assert loss.admits_missing == (name not in ("cross_entropy", "focal"))


def test_losses_are_looked_up_by_name():
    with pytest.raises(ValueError, match=r"one of .*huber.*; got 'huver'\. Did you mean 'huber'\?"):
        losses.get("huver")
    with pytest.raises(ValueError, match=r"got 'zzz'\.$"):
        losses.get("zzz")
    with pytest.raises(TypeError, match=r"a name or a deltaprop.Loss, got 3 of type int"):
        losses.get(3)
    with pytest.raises(TypeError, match=r"no setting 'detla'\. Did you mean 'delta'\?.*delta=1\.0"):
        losses.get("huber", detla=1)
    with pytest.raises(TypeError, match=r"no setting 'qua'\. Did you mean 'quantiles'\?"):
        losses.get("quantile", qua=1)
    with pytest.raises(TypeError, match=r"no setting 'x'\. It has none\."):
        losses.get("hinge", x=1)
    shown = r"are: label_smoothing=0\.0, class_weight=None\.$"
    with pytest.raises(TypeError, match=shown):
        losses.get("cross_entropy", x=1)
    own = dp.Loss("own", lambda t, z, xp: z, lambda t, z, xp: z)
    assert losses.get(own) is own


# ---------------------------------------------------------------- custom losses


def own_loss(name="own", **settings):
    return dp.Loss(name, _value, _slope, **settings)


def _value(t, z, xp, k=1.0):
    return k * (z - t) ** 2


def _slope(t, z, xp, k=1.0):
    return 2 * k * (z - t)


def test_custom_losses_equal_copies_of_themselves_only():
    own = own_loss(params={"k": 2.0})
    assert own == own_loss(params={"k": 2.0})
    assert hash(own) == hash(own_loss(params={"k": 2.0}))
    assert own != own_loss(params={"k": 3.0})
    assert own != own_loss("other", params={"k": 2.0})
    assert own != dp.Loss("own", _value, _value, params={"k": 2.0})
    assert own != dp.Loss("own", _slope, _slope, params={"k": 2.0})
    assert own != own_loss(params={"k": 2.0}, d2=_value)
    assert own != own_loss(params={"k": 2.0}, information=_value)
    assert own != own_loss(params={"k": 2.0}, encode=_value)
    assert own != own_loss(params={"k": 2.0}, check=_value)
    assert own != own_loss(params={"k": 2.0}, encoding=targets.Signs())
    assert own != own_loss(params={"k": 2.0}, kernel=kernels.PerOutput("k"))
    assert own != "own"
    assert not own.is_builtin
    assert pickle.loads(pickle.dumps(own)) == own
    assert repr(own) == "Loss('own', k=2.0)"


def test_custom_losses_without_a_second_derivative():
    with pytest.raises(ValueError, match=r"'own' has no second derivative; pass it as d2"):
        own_loss().second(REAL, OTHER, np)
    assert own_loss(d2=_slope).second(REAL, REAL + 1, np)[0, 0] == 2
    assert own_loss(information=lambda z, xp: z).fisher(OTHER, np) is OTHER


def test_custom_losses_and_missing_targets():
    own, y = own_loss(), np.array([[np.nan, 1.0]])
    assert not own.admits_missing
    assert np.isnan(own.evaluate(y, np.zeros((1, 2)), np)).any()
    known = losses.get("squared_error")
    np.testing.assert_array_equal(known.evaluate(y, np.zeros((1, 2)), np), [[0.0, 0.5]])
    np.testing.assert_array_equal(known.first(y, np.zeros((1, 2)), np), [[0.0, -1.0]])
    np.testing.assert_array_equal(known.second(y, np.zeros((1, 2)), np), [[0.0, 1.0]])
    gaussian, z = losses.get("gaussian_nll"), np.ones((1, 4))
    np.testing.assert_array_equal(gaussian.first(y, z, np) != 0, [[False, False, False, True]])


def test_own_encodings_of_custom_losses():
    own = own_loss(encode=lambda y, H, dtype, xp, k: xp.astype(y, dtype) + k, params={"k": 1.0})
    like = np.zeros(1, np.float32)
    assert own.target(np.ones((2, 4)), 4, like, np).dtype == np.float32
    np.testing.assert_array_equal(own.printed_target(np.ones((2, 4)), 4, like, np), 2)
    assert own.target_columns(4) == 4
    assert own_loss(outputs_per_target=2).target_columns(4) == 2
    assert losses.get("gaussian_nll").target_columns(4) == 2
    assert losses.get("quantile", quantiles=(0.1, 0.5)).target_columns(4) == 4


@pytest.mark.parametrize("part", ["d2", "information", "encode", "check"])
def test_wrong_parts_of_losses_are_named(part):
    with pytest.raises(TypeError, match=f"Loss 'own': {part} must be callable or None, got 3"):
        own_loss(**{part: 3})


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("", np.sin, np.cos), ValueError, "non-empty str, got ''"),
        ((3, np.sin, np.cos), ValueError, "non-empty str, got 3"),
        (("huber", np.sin, np.cos), ValueError, "'huber' is taken"),
        (("own", 1, np.cos), TypeError, "value must be callable, got 1"),
        (("own", np.sin, None), TypeError, "d must be callable, got None"),
    ],
)
def test_wrong_losses_are_named(arguments, error, said):
    with pytest.raises(error, match=re.escape(said)):
        Loss(*arguments)


# ---------------------------------------------------------------- target encodings

F64 = np.dtype("float64")
ENCODED = [
    (targets.Target(), [1, 2], 1, [[1.0], [2.0]]),
    (targets.Target(), [[1, 2]], 2, [[1.0, 2.0]]),
    (targets.Repeated(2), [3], 2, [[3.0, 3.0]]),
    (targets.Repeated(2), [[3, 4], [5, 6]], 4, [[3, 3, 4, 4], [5, 5, 6, 6]]),
    (targets.Probabilities(0.2), [0, 1], 1, [[0.1], [0.9]]),
    (targets.Classes(), [2, 0], 3, [[0, 0, 1], [1, 0, 0]]),
    (targets.Classes(0.3, (1.0, 2.0, 4.0)), [2], 3, [[0.1, 0.2, 3.2]]),
    (targets.Classes(0.3), [[0.5, 0.5, 0.0]], 3, [[0.45, 0.45, 0.1]]),
    (targets.OneOrMore(), [0, 1], 1, [[0.0], [1.0]]),
    (targets.OneOrMore(), [1], 2, [[0.0, 1.0]]),
    (targets.Signs(), [0, 1, -1], 1, [[-1.0], [1.0], [-1.0]]),
    (targets.Signs(), [1], 3, [[-1.0, 1.0, -1.0]]),
    (targets.Signs(), [[1, np.nan]], 2, [[1.0, np.nan]]),
]


@pytest.mark.parametrize(("encoding", "y", "H", "t"), ENCODED)
def test_targets_are_encoded(encoding, y, H, t):
    y = np.array(y)
    encoding.check(y, H, "name")
    found = encoding.encode(y, H, F64, np)
    np.testing.assert_allclose(found, t, rtol=1e-14)
    assert found.dtype == F64
    assert encoding.columns(y, H, np.dtype("float32"), np).dtype == np.float32
    assert encoding.encode(y, H, np.dtype("float32"), np).dtype == np.float32


def test_printed_targets_are_not_smoothed_or_weighted():
    y = np.array([1])
    np.testing.assert_array_equal(
        targets.Classes(0.3, (1.0, 2.0)).columns(y, 2, F64, np), [[0.0, 1.0]]
    )
    np.testing.assert_array_equal(targets.Probabilities(0.3).columns(y, 1, F64, np), [[1.0]])
    loss = losses.get("cross_entropy", label_smoothing=0.5)
    np.testing.assert_array_equal(loss.printed_target(y, 2, np.ones(1), np), [[0.0, 1.0]])
    np.testing.assert_array_equal(loss.target(y, 2, np.ones(1), np), [[0.25, 0.75]])


MISFITS = [
    (targets.Target(), [[1.0, 2.0]], 3, r"y has 2 column\(s\), but the network has 3 output\(s\)"),
    (targets.Target(), [1.0], 3, r"y has 1 column\(s\), but the network has 3"),
    (targets.Amounts(), [1.0, -0.5], 1, r"y must be >= 0 for loss 'name'.*value is -0\.5"),
    (targets.Amounts(True), [1.0, 0.0], 1, r"y must be > 0 for loss 'name'.*value is 0"),
    (targets.Amounts(True), [1.0, -1.0], 1, r"y must be > 0"),
    (targets.Amounts(), [[1.0, 2.0]], 1, r"y has 2 column"),
    (targets.HalfTheColumns(), [1.0], 3, r"so 2 outputs, but the network has 3"),
    (targets.HalfTheColumns(), [[1.0, 2.0]], 2, r"y has 2 column\(s\).*so 4 outputs"),
    (targets.Repeated(3), [1.0], 2, r"1 column\(s\) and the loss 3 quantile\(s\).*3 outputs"),
    (targets.Repeated(3), [[1.0, 2.0]], 3, r"2 column\(s\) and the loss 3 .*6 outputs"),
    (targets.Probabilities(), [1.5, 0.0], 1, r"lie in \[0, 1\].*range from 0 to 1\.5"),
    (targets.Probabilities(), [-0.5, 0.0], 1, r"lie in \[0, 1\].*range from -0\.5 to 0"),
    (targets.Probabilities(), [[0.0, 1.0]], 3, r"y has 2 column\(s\)"),
    (targets.Classes(), [3], 3, r"class indices 0 to 2.*got 3\."),
    (targets.Classes(), [-1], 3, r"class indices 0 to 2.*got -1\."),
    (targets.Classes(), [0.5], 3, r"class indices 0 to 2.*got 0\.5\."),
    (targets.Classes(), [[0.0, 1.0]], 3, r"y has 2 column\(s\).*one column for each output"),
    (targets.Classes(), [[-0.25, 1.0]], 2, r"probabilities >= 0.*value is -0\.25"),
    (targets.Classes(0.0, (1.0, 2.0)), [0], 3, r"holds 2 weight\(s\), but the network has 3"),
    (targets.OneOrMore(), [2.0], 1, r"lie in \[0, 1\]"),
    (targets.OneOrMore(), [2.0], 2, r"class indices 0 to 1"),
    (targets.Signs(), [2], 1, r"0/1 or -1/\+1 for loss 'name'; got 2"),
    (targets.Signs(), [2], 2, r"class indices 0 to 1"),
    (targets.Signs(), [[1.0, 0.0]], 3, r"y has 2 column\(s\)"),
]  # fmt: skip


@pytest.mark.parametrize(("encoding", "y", "H", "said"), MISFITS)
def test_targets_that_do_not_fit_are_named(encoding, y, H, said):
    with pytest.raises(ValueError, match=said):
        encoding.check(np.array(y), H, "name")


@pytest.mark.parametrize(
    ("encoding", "y", "H"),
    [
        (targets.Amounts(), [0.0, 2.0], 1),
        (targets.Amounts(True), [[0.5, np.nan]], 2),
        (targets.HalfTheColumns(), [[1.0, 2.0]], 4),
        (targets.Probabilities(), [0.0, 1.0], 1),
        (targets.Probabilities(), [[0.5, np.nan]], 2),
        (targets.Classes(), [0, 2], 3),
        (targets.Classes(0.0, (1.0, 2.0)), [[0.0, 5.0]], 2),
        (targets.Signs(), [[0, -1, 1]], 3),
    ],
)
def test_targets_that_fit_are_accepted(encoding, y, H):
    encoding.check(np.array(y), H, "name")


def test_what_encodings_say_about_themselves():
    assert targets.Target().description(3) == ""
    assert targets.Repeated(2).description(2) == ", each column once for each of its levels"
    assert targets.Repeated(1).description(1) == ""
    assert targets.Classes().description(2) == " as one-hot rows (or rows of probabilities)"
    assert targets.OneOrMore().description(1) == ""
    assert targets.OneOrMore().description(2) == targets.Classes().description(2)
    assert targets.Signs().description(2) == " as −1 and 1"
    assert targets.Classes(0.1, (1.0,)).settings == {"label_smoothing": 0.1, "class_weight": (1.0,)}
    assert targets.Probabilities(0.1).settings == {"label_smoothing": 0.1}
    assert targets.Target().settings == {}
    assert repr(targets.HalfTheColumns().n_columns(4)) == "2"
    assert targets.Target().n_columns(4) == 4
    assert targets.Classes(0.1) == targets.Classes(0.1) != targets.Classes(0.2)
    assert hash(targets.Classes(0.1)) == hash(targets.Classes(0.1))
    assert hash(targets.Target()) != hash(targets.Signs())
    assert targets.Target() != targets.Signs()


KINDS = {  # predicts, class targets, margins, one-hot pairs, separable
    targets.Target: ("mean", {"binary", "multiclass", "multilabel"}, False, False, True),
    targets.HalfTheColumns: (
        "mean_variance", {"binary", "multiclass", "multilabel"}, False, False, True,
    ),
    targets.Repeated: ("quantiles", {"binary", "multiclass", "multilabel"}, False, False, True),
    targets.Probabilities: ("class", {"binary", "multilabel"}, False, False, True),
    targets.Classes: ("class", {"binary", "multiclass"}, False, True, False),
    targets.OneOrMore: ("class", {"binary", "multiclass"}, False, False, False),
    targets.Signs: ("class", {"binary", "multiclass", "multilabel"}, True, False, True),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_estimators_know_about_encodings(kind):
    assert KINDS[kind] == (
        kind.predicts, set(kind.class_targets), kind.margins, kind.one_hot_pairs, kind.separable
    )  # fmt: skip


# ---------------------------------------------------------------- equations


def defined_loss(X, t, W, b, r, alpha, C, masks, l2, weights):
    """L of a network with these three layers, from the definition."""
    for l, name in enumerate(("tanh", "silu", "softmax")):
        a = X * r[l] @ (C[l] * W[l]) + b[l]
        X = a + alpha[l] * (oracles.activate(name, a, oracles.NUMPY) - a)
        X = X * (1 if masks is None or masks[l] is None else masks[l])
    data = np.sum(weights * oracles.LOSSES["cross_entropy"](t, X, oracles.NUMPY))
    return data + l2 / 2 * sum((W_l**2).sum() for W_l in W)


@pytest.mark.parametrize("has_vectors", [False, True])
@pytest.mark.parametrize("has_groups", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.7])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_pass_through_a_network(has_vectors, has_groups, l2, masked, sparse):
    rng = np.random.RandomState(0)
    X, t, w = rng.randn(5, 3), rng.rand(5, 2), rng.rand(5, 1)
    W = [rng.randn(3, 4), rng.randn(4, 3), rng.randn(3, 2)]
    b = [rng.randn(4), rng.randn(3), rng.randn(2)]
    r, alpha = [rng.rand(3), rng.rand(4), np.ones(3)], [rng.rand(4), rng.rand(3), np.ones(2)]
    if not has_vectors:
        r, alpha = [1 + 0 * v for v in r], [1 + 0 * v for v in alpha]
    masks = [rng.choice([0.0, 1.5], (5, 4)), None, None] if masked else None
    f = [activations.get(name) for name in ("tanh", "silu", "softmax")]
    loss, C = losses.get("cross_entropy"), [np.ones((3, 4)), np.ones((4, 3)), np.ones((3, 2))]
    if has_groups:
        C[0][...] = [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
        W[0] *= C[0]  # weights that do not exist are 0
    given = [*r[:2], None], [*alpha[:2], None]
    absent = [None] * 3, [None] * 3
    vectors = equations.Vectors(
        *(given if has_vectors else absent), [C[0], None, None] if has_groups else ()
    )
    X0 = scipy.sparse.csr_matrix(X) if sparse else X
    done = equations.forward_backward(X0, t, W, b, f, loss, l2, w, masks, vectors=vectors)

    def slopes(of, k):
        """∂L/∂(array k of a list), by complex steps."""
        found = np.empty(of[k].shape)
        whole = of[k]
        for i in np.ndindex(whole.shape):
            of[k] = whole.astype(complex)
            of[k][i] += 1j * STEP
            found[i] = defined_loss(X, t, W, b, r, alpha, C, masks, l2, w).imag / STEP
        of[k] = whole
        return found

    close = {"rtol": 1e-11, "atol": 1e-13}
    expected = defined_loss(X, t, W, b, r, alpha, C, masks, l2, w)
    np.testing.assert_allclose(done.loss, expected, rtol=1e-13)
    for k in range(3):
        np.testing.assert_allclose(done.dW[k], slopes(W, k), **close)
        np.testing.assert_allclose(done.db[k], slopes(b, k), **close)
    if not has_vectors:
        assert not any(part is not None for part in (*done.vectors.r, *done.vectors.alpha))
        return
    for k in range(2):
        np.testing.assert_allclose(done.vectors.r[k], slopes(r, k), **close)
        np.testing.assert_allclose(done.vectors.alpha[k], slopes(alpha, k), **close)
    assert done.vectors.r[2] is done.vectors.alpha[2] is None


@pytest.mark.parametrize("has_vectors", [False, True])
def test_gradients_come_from_the_samples_that_are_given(has_vectors):
    """Private training scales the rows of X and δ."""
    rng = np.random.RandomState(0)
    X, t = rng.randn(5, 3), rng.rand(5, 2)
    W, b = [rng.randn(3, 2)], [rng.randn(2)]
    vectors = equations.Vectors([rng.rand(3)] if has_vectors else [None], [None])
    f, loss, keep = [activations.get("softmax")], losses.get("cross_entropy"), slice(1, 3)
    chosen = equations.forward_backward(
        X, t, W, b, f, loss, vectors=vectors,
        samples=lambda X, delta: ([x[keep] for x in X], [d[keep] for d in delta]),
    )  # fmt: skip
    alone = equations.forward_backward(X[keep], t[keep], W, b, f, loss, vectors=vectors)
    np.testing.assert_allclose(chosen.dW[0], alone.dW[0], rtol=1e-13)
    np.testing.assert_allclose(chosen.db[0], alone.db[0], rtol=1e-13)
    assert chosen.delta[0].shape == (5, 2)


def test_losses_of_samples_add_up():
    t, a = SHARES, OTHER
    loss, f = losses.get("cross_entropy"), activations.get("softmax")
    z = f.f(a, np)
    each = equations.sample_losses(t, a, z, f, loss)
    np.testing.assert_allclose(each, -(t * np.log(z)).sum(1), rtol=1e-13)
    total = equations.loss(t, a, z, [a], f, loss)
    np.testing.assert_allclose(total, each.sum(), rtol=1e-14)
    huber, line = losses.get("huber"), activations.get("identity")
    value = equations.loss(t, a, a, [a], line, huber, 2.0, 0.5)
    expected = 0.5 * huber.evaluate(t, a, np).sum() + (a**2).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-14)


@pytest.mark.parametrize("groups", [None, ([0, 1, 1], [0, 0, 1, 1])])
@pytest.mark.parametrize(("output", "loss"), [("identity", "huber"), ("softmax", "cross_entropy")])
def test_norms_of_samples_are_those_of_their_gradients(output, loss, groups):
    rng = np.random.RandomState(0)
    both = {"input_scale": True, "trainable_activation": True}
    layers = [
        dp.Dense(4, "tanh", groups=groups, **both), dp.Dense(3, "silu", **both),
        dp.Dense(2, output, input_scale=True),
    ]  # fmt: skip
    net = dp.Network(3, layers, loss=loss, seed=0)
    for part in (*net.W, *net.b, *net.r, *net.alpha[:2]):
        part *= rng.normal(1, 0.5, part.shape)
        part += 0.3 * (part != 0)
    X, y = rng.randn(5, 3), rng.rand(5, 2)
    alone = [np.linalg.norm(net.gradient(X[n : n + 1], y[n : n + 1]).flat) for n in range(5)]
    np.testing.assert_allclose(net.sample_norms(X, y), alone, rtol=1e-9)
    parts = equations.sample_gradients(
        scipy.sparse.csr_matrix(X), net.encode(y), net.W, net.b, net.f, net.loss_function,
        net.vectors,
    )  # fmt: skip
    np.testing.assert_allclose(equations.sample_norms(*parts), alone, rtol=1e-9)


def test_norms_of_samples_of_one_layer():
    net = dp.Network(3, [dp.Dense(2, input_scale=True)], loss="squared_error", seed=0)
    alone = [np.linalg.norm(net.gradient(REAL.T[:1], SHARES[:1]).flat)]
    np.testing.assert_allclose(net.sample_norms(REAL.T[:1], SHARES[:1]), alone, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("sparse", [False, True])
def test_norms_do_not_overflow_or_underflow(scale, sparse):
    rows = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [-6.0, 8.0, 0.0]])
    X = scale * rows
    X = scipy.sparse.csr_matrix(X) if sparse else X
    with np.errstate(all="raise"):
        found = equations.sample_norms([X], [np.full((3, 1), 2.0)])
    root = np.hypot(scale * np.array([5.0, 0.0, 10.0]), 1)
    np.testing.assert_allclose(found, 2 * root, rtol=1e-14)


def test_vectors_are_true_if_a_layer_has_one():
    assert not equations.Vectors()
    assert not equations.Vectors([None], [None])
    assert equations.Vectors([None], [np.ones(2)])
    assert equations.Vectors([np.ones(2)], [None])


def test_dropped_inputs_have_no_gradient():
    f, W, b = activations.get("tanh"), [np.eye(2), np.ones((2, 1))], [np.zeros(2), np.zeros(1)]
    X0, loss = np.array([[0.5, -0.3]]), losses.get("squared_error")
    masks = [np.array([[2.0, 0.0]]), None]
    done = equations.forward_backward(X0, np.ones((1, 1)), W, b, [f, f], loss, 0.0, 1.0, masks)
    np.testing.assert_allclose(done.X[1], [[2 * np.tanh(0.5), 0.0]])
    assert done.delta[0][0, 1] == 0
    g = done.delta[1][0, 0] * 2 * (1 - np.tanh(0.5) ** 2)
    np.testing.assert_allclose(done.delta[0][0, 0], g)


# ---------------------------------------------------------------- solvers

RANGES = [
    (dp.SGD, "learning_rate", "> 0", (5e-324, 1e300), (0, -1.0, np.inf, np.nan, "1", None)),
    (dp.SGD, "momentum", "in [0, 1]", (0, 1), (-1e-9, 1.0001, "0")),
    (dp.Adam, "learning_rate", "> 0", (5e-324, 1.0), (0.0, -1)),
    (dp.Adam, "beta_1", "in [0, 1)", (0, 0.999999), (-0.1, 1)),
    (dp.Adam, "beta_2", "in [0, 1)", (0, 0.999999), (-0.1, 1)),
    (dp.Adam, "epsilon", "> 0", (5e-324, 1.0), (0.0, -1)),
    (dp.Adam, "input_scale", ">= 0", (0, 3.0), (-1e-9, np.inf)),
    (dp.AdamW, "weight_decay", ">= 0", (0, 3.0), (-1e-9,)),
    (dp.Muon, "hidden_momentum", "in [0, 1)", (0, 0.999999), (-0.1, 1)),
    (dp.LBFGS, "max_fun", ">= 1", (1, 10**6), (0, -1)),
]


@pytest.mark.parametrize(("solver", "name", "text", "valid", "invalid"), RANGES)
def test_settings_of_solvers(solver, name, text, valid, invalid):
    for value in valid:
        assert getattr(solver(**{name: value}), name) == value
    for value in invalid:
        said = f"{name} of {solver.__name__} must be a number {text}, got {value!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            solver(**{name: value})


def test_how_solvers_are_shown():
    assert repr(dp.SGD()) == "SGD(learning_rate=0.001, momentum=0.9, nesterov=True)"
    assert repr(dp.Adam()) == "Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-08)"
    assert repr(dp.Adam(input_scale=2.0)).endswith("epsilon=1e-08, input_scale=2.0)")
    assert repr(dp.SGD(rate_factors={"b": 1})).startswith(
        "SGD(learning_rate=0.001, rate_factors={'b': 1.0},"
    )
    assert "weight_decay=0.01" in repr(dp.AdamW())
    assert repr(dp.Muon()).endswith("weight_decay=0.01, hidden_momentum=0.95)")
    assert repr(dp.LBFGS()) == "LBFGS(max_fun=15000)"


@pytest.mark.parametrize(
    ("solver", "values"),
    [
        (dp.SGD, [0.5, 0.5, True]),
        (dp.Adam, [0.5] * 4),
        (dp.AdamW, [0.5] * 5),
        (dp.Muon, [0.5] * 6),
    ],
)
def test_further_settings_of_solvers_are_given_by_name(solver, values):
    assert solver(*values).learning_rate == 0.5
    with pytest.raises(TypeError, match="positional arguments"):
        solver(*values, None)


def test_names_of_solvers():
    known = {
        "adam": dp.Adam, "sgd": dp.SGD, "lbfgs": dp.LBFGS, "adamw": dp.AdamW, "muon": dp.Muon,
    }  # fmt: skip
    assert known == BY_NAME
    assert all(solver.name == name for name, solver in known.items())
    assert is_full_batch("lbfgs")
    assert is_full_batch(dp.LBFGS())
    assert not is_full_batch("sgd")
    assert not is_full_batch(dp.Adam())
    assert not is_full_batch("nothing")
    assert not is_full_batch(3)
    assert issubclass(dp.LBFGS, Solver)


def test_transformations_of_solvers():
    adam = AdamMoments(0.9, 0.999, 1e-8)
    assert dp.SGD(momentum=0.5, nesterov=False).transformations() == (Momentum(0.5, False),)
    assert dp.Adam().transformations() == (adam,)
    assert dp.Adam(input_scale=2.0).transformations() == (InputScale(2.0, Chain((adam,))),)
    decay = DecayWeights(0.01)
    assert dp.AdamW().transformations() == (adam, decay)
    assert dp.Muon().transformations() == (Orthogonal(0.95, Chain((adam,))), decay)
    assert dp.Adam().scaling() == ()
    assert dp.Adam(rate_factors={"b": 2, "W_0": 0}).scaling() == (
        ScaleSteps((("W_0", 0.0), ("b", 2.0)), 0.5),
    )


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ([("b", 1)], "must be a dict such as {'b': 0.1}"),
        ({"c": 1}, "got 'c'"),
        ({"W_01": 1}, "got 'W_01'"),
        ({"W_": 1}, "got 'W_'"),
        ({0: 1}, "got 0"),
        ({"b": -1e-9}, "rate_factors['b'] must be a number >= 0"),
        ({"b": np.inf}, "rate_factors['b'] must be a number >= 0"),
        ({"b": "1"}, "rate_factors['b'] must be a number >= 0; got"),
        ({"b": "ntk"}, "rate_factors['b'] must be a number >= 0, or 'ntk' for W"),
    ],
)
def test_wrong_rate_factors_are_named(factors, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        dp.SGD(rate_factors=factors)


def test_the_ntk_parametrization_is_a_factor_of_each_matrix():
    net = dp.Network(4, [dp.Dense(9, "tanh"), dp.Dense(1)], loss="huber", seed=0)
    for solver, power in ((dp.SGD, 1.0), (dp.Adam, 0.5), (dp.AdamW, 0.5)):
        (link,) = solver(rate_factors={"W": "ntk", "b": 3}).scaling()
        assert link.of(net.layout) == [4**-power, 3.0, 9**-power, 3.0]
    assert ScaleSteps((("b", 2.0),)).ntk_power == 0.0
    assert dp.Muon(rate_factors={"b": 2}).scaling() == (ScaleSteps((("b", 2.0),), 0.0),)
    with pytest.raises(ValueError, match="'ntk' for W of Adam, AdamW and SGD"):
        dp.Muon(rate_factors={"W": "ntk"})


def test_the_decay_of_weights_follows_its_schedule():
    g, theta = np.zeros(2), np.array([2.0, 2.0])
    step = Step(theta, 0.1, 1, np.array([1.0, 0.0]), decay=0.5)
    change, state = DecayWeights(0.3).update(g, (), step)
    np.testing.assert_allclose(change, [-0.1 * 0.3 * 0.5 * 2.0, 0.0], rtol=1e-15)
    assert state == ()
    assert dp.Adam().decay_schedule == dp.schedules.Constant()
    cosine = dp.schedules.FlatCosine()
    assert dp.AdamW(weight_decay_schedule=cosine).decay_schedule == cosine
    with pytest.raises(ValueError, match=r"^weight_decay_schedule"):
        dp.AdamW(weight_decay_schedule=3)


def test_right_rate_factors():
    factors = {"W": 0, "b_10": 1, "r": 0.5, "alpha_0": 2}
    assert dp.SGD(rate_factors=factors).rate_factors == factors


# ---------------------------------------------------------------- transformations


def test_what_a_step_contains_by_default():
    step = Step(np.ones(2), 0.1, 1, np.ones(2))
    assert (step.total, step.factors, step.layout.shapes, step.decay) == (1.0, (), [], 1.0)


def test_what_chains_declare():
    adam, scale = AdamMoments(0.9, 0.999, 1e-8), InputScale(1.0, Chain(()))
    assert not Chain((adam,)).needs_fisher
    assert Chain((ClipByNorm(1.0), *dp.KFAC().transformations())).needs_fisher
    assert not Chain((adam,)).uses_matrices
    assert Chain((adam, scale)).uses_matrices
    assert Chain((adam, scale)).scales_inputs
    assert not Chain((adam, Orthogonal(0.9, Chain(())))).scales_inputs
    assert Chain((Orthogonal(0.9, Chain(())),)).uses_matrices
    assert Chain((ScaleSteps(()),)).uses_matrices
    assert Chain((adam, Momentum(0.9, True), DecayWeights(0.1))).state_size(2) == 3
    assert Orthogonal(0.9, Chain((adam,))).state_size(2) == 3
    assert InputScale(1.0, Chain((adam,))).state_size(2) == 5


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 4)])
def test_steps_of_muon_are_nearly_orthogonal(shape):
    G = np.random.RandomState(0).randn(*shape)
    U, s, Vt = np.linalg.svd(G, full_matrices=False)
    a, b, c = 3.4445, -4.7750, 2.0315
    s = s / np.linalg.norm(G)
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    np.testing.assert_allclose(orthogonalized(G), U * s @ Vt, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(orthogonalized(np.zeros(shape)), np.zeros(shape))


def test_a_step_of_muon_leaves_first_and_last_layers_to_adam():
    layers = [dp.Dense(5, "tanh"), dp.Dense(2, "tanh"), dp.Dense(3, "tanh"), dp.Dense(2)]
    net = dp.Network(3, layers, loss="huber", seed=0)
    rng = np.random.RandomState(0)
    g, M = rng.randn(net.theta.size), rng.randn(net.theta.size)
    inner = Chain((Momentum(0.0, nesterov=False),))
    link = Orthogonal(0.7, inner)
    state = (M, *inner.init(net.theta, net.layout.shapes))
    step = Step(net.theta, 0.1, 1, net.penalised, layout=net.layout)
    change, (moved, _) = link.update(g, state, step)
    np.testing.assert_allclose(moved, 0.7 * M + 0.3 * g, rtol=1e-14)
    expected, ahead = -0.1 * g, 0.3 * g + 0.7 * moved
    for start, shape in ((20, (5, 2)), (32, (2, 3))):
        hidden = slice(start, start + shape[0] * shape[1])
        size = 0.1 * 0.2 * np.sqrt(max(shape))
        expected[hidden] = -size * orthogonalized(ahead[hidden].reshape(shape)).ravel()
    np.testing.assert_allclose(change, expected, rtol=1e-12)
    np.testing.assert_array_equal(link.init(net.theta, net.layout.shapes)[0], 0)


def test_a_factor_of_a_layer_replaces_that_of_all_layers():
    net = dp.Network(2, [dp.Dense(2, "tanh"), dp.Dense(1)], loss="huber", seed=0)
    link = ScaleSteps((("W", 2.0), ("W_1", 0.0), ("b", 3.0)))
    step = Step(net.theta, 0.1, 1, net.penalised, layout=net.layout)
    change, state = link.update(np.full(net.theta.size, 4.0), (), step)
    np.testing.assert_array_equal(change, [8] * 4 + [12] * 2 + [0] * 2 + [12])
    assert state == ()
    with pytest.raises(
        ValueError, match=r"rate_factors name r, which .* It has W_0, b_0, W_1, b_1"
    ):
        ScaleSteps((("r", 1.0),)).of(net.layout)


def test_the_state_of_factors_of_inputs():
    net = dp.Network(2, [dp.Dense(2)], loss="huber", seed=0)
    state = InputScale(1.0, Chain((Momentum(0.9, False),))).init(net.theta, net.layout.shapes)
    np.testing.assert_array_equal(state[0], [1, 1, 0, 0, 0, 0])
    assert len(state) == 3
    assert all(part.shape == net.theta.shape for part in state)
