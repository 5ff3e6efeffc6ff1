"""A wrong custom function is named, apart from the equations that fail only because of it."""

import numpy as np
import pytest

import deltaprop as dp
import deltaprop.inspect as dp_inspect
from deltaprop.functions.losses import ClosedForm

rng = np.random.default_rng(0)
X = rng.normal(size=(8, 3))
Y = rng.normal(size=(8, 2))


def sine(name="sine", **wrong):
    functions = {
        "f": lambda a, xp: xp.sin(a),
        "df": lambda a, z, xp: xp.cos(a),
        "d2f": lambda a, z, xp: -xp.sin(a),
    }
    return dp.Activation(name, **(functions | wrong))


def quartic(**wrong):
    functions = {
        "value": lambda t, z, xp: (z - t) ** 4,
        "d": lambda t, z, xp: 4 * (z - t) ** 3,
        "d2": lambda t, z, xp: 12 * (z - t) ** 2,
    }
    return dp.Loss("quartic", **(functions | wrong))


def collapsed(value=None, delta=None):
    """Return the quartic loss with sine outputs in terms of a."""
    return {
        "sine": ClosedForm(
            value or (lambda t, a, z, xp: (xp.sin(a) - t) ** 4),
            delta or (lambda t, a, z, xp: 4 * (z - t) ** 3 * xp.cos(a)),
        )
    }


def verified(first="tanh", second="softplus", out="identity", loss=None):
    net = dp.Network(3, [dp.Dense(5, first), dp.Dense(4, second), dp.Dense(2, out)],
                     loss=loss or quartic(), l2=0.1, seed=0)  # fmt: skip
    return net.check(X, Y)


WRONG_DF = {"df": lambda a, z, xp: -xp.cos(a)}
WRONG_D2F = {"d2f": lambda a, z, xp: xp.sin(a)}
WRONG_D = {"d": lambda t, z, xp: 2 * (z - t) ** 3}
WRONG_D2 = {"d2": lambda t, z, xp: 10 * (z - t) ** 2}
WRONG_VJP = {"vjp": lambda a, z, g, xp: 1.01 * g * xp.cos(a)}
COLLAPSED = "quartic collapsed with sine = quartic(y, ŷ)"
SIGNAL = "δ_2 = collapsed form of quartic with sine"
BELOW_1 = {f"{sign}_{l}" for l in (0, 1) for sign in ("δ", "∂L/∂W", "∂L/∂b")}
ALL = BELOW_1 | {"δ_2", "∂L/∂W_2", "∂L/∂b_2"}

# name: (network, the wrong equations, equations that fail only because of them)
PLANTED = {
    "nothing": ({}, set(), set()),
    "f′ in the middle": (
        {"second": sine(**WRONG_DF)}, {"sine′ at a_1"}, {"sine″ at a_1", *BELOW_1},
    ),
    "f′ in the first layer": (
        {"first": sine(**WRONG_DF)}, {"sine′ at a_0"},
        {"sine″ at a_0", "δ_0", "∂L/∂W_0", "∂L/∂b_0"},
    ),
    "f′ of the output": ({"out": sine(**WRONG_DF)}, {"sine′ at a_2"}, {"sine″ at a_2", *ALL}),
    "f″": ({"second": sine(**WRONG_D2F)}, {"sine″ at a_1"}, set()),
    "f′ and f″": (
        {"second": sine(df=lambda a, z, xp: 2 * xp.cos(a), d2f=lambda a, z, xp: 7 + a)},
        {"sine′ at a_1", "sine″ at a_1"}, BELOW_1,
    ),
    "f′ twice": (
        {"first": sine(**WRONG_DF), "second": sine("sine2", df=lambda a, z, xp: 3 * xp.cos(a))},
        {"sine′ at a_0", "sine2′ at a_1"},
        {"sine″ at a_0", "sine2″ at a_1", *BELOW_1} ,
    ),
    "the vjp": ({"second": sine(**WRONG_VJP)}, {"Σ_h g_h ∂sine_h at a_1"}, BELOW_1),
    "loss′": ({"loss": quartic(**WRONG_D)}, {"quartic′ at ŷ"}, {"quartic″ at ŷ", *ALL}),
    "loss″": ({"loss": quartic(**WRONG_D2)}, {"quartic″ at ŷ"}, set()),
    "the collapsed δ": (
        {"out": sine(), "loss": quartic(closed=collapsed(delta=lambda t, a, z, xp: z - t))},
        {SIGNAL}, ALL - {"δ_2"},
    ),
    "the collapsed loss": (
        {"out": sine(),
         "loss": quartic(closed=collapsed(value=lambda t, a, z, xp: (xp.sin(a) - t) ** 2))},
        {COLLAPSED}, ALL,
    ),
    "both collapsed": (
        {"out": sine(),
         "loss": quartic(closed=collapsed(lambda t, a, z, xp: (xp.sin(a) - t) ** 2,
                                          lambda t, a, z, xp: 3 * (z - t)))},
        {COLLAPSED, SIGNAL}, ALL - {"δ_2"},
    ),
    "loss′ that a collapsed form does not use": (
        {"out": sine(), "loss": quartic(closed=collapsed(), **WRONG_D)},
        {"quartic′ at ŷ"}, {"quartic″ at ŷ"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_exactly_the_wrong_functions_are_named(planted):
    network, wrong, follows = PLANTED[planted]
    report = verified(**network)
    assert {row.equation for row in report.wrong} == wrong, str(report)
    others = {row.equation for row in report.rows if row.because}
    assert {equation.split(" = ")[0] for equation in others} == follows, str(report)
    assert report.ok == (not wrong)
    for row in report.rows:
        assert set(row.because) <= wrong
    for name in wrong:
        assert name in report.conclusion


def test_causes_are_distinguished():
    report = verified(first=sine(**WRONG_DF), loss=quartic(**WRONG_D))
    because = {row.equation.split(" = ")[0]: row.because for row in report.rows if row.because}
    assert because["δ_1"] == ("quartic′ at ŷ",)
    assert because["δ_0"] == ("sine′ at a_0", "quartic′ at ŷ")


def test_where_names_the_wrong_entry():
    """f′ is wrong beyond 1.5, and only one entry of a is."""
    bad = dp.Activation(
        "bent", lambda a, xp: a * a, lambda a, z, xp: xp.where(a > 50, 2.5 * a, 2 * a)
    )
    net = dp.Network(2, [dp.Dense(3, bad), dp.Dense(1)], loss="squared_error", seed=0)
    net.W[0][...] = 0
    net.W[0][0, 2] = 1
    X = np.ones((6, 2))
    X[4, 0] = 60
    report = net.check(X, np.zeros(6))
    row = next(row for row in report.rows if row.equation == "bent′ at a_0")
    assert row.where == "layer 0, row 4, column 2"


def test_wrong_derivatives_are_found_on_saturating_data():
    """The tolerance for cancellation does not hide a wrong f′."""
    almost = dp.Activation("almost", lambda a, xp: xp.tanh(a), lambda a, z, xp: 1.001 * (1 - z * z))
    net = dp.Network(3, [dp.Dense(6, almost), dp.Dense(2)], loss="squared_error", seed=0)
    report = net.check(1000 * X, Y)
    assert [row.equation for row in report.wrong] == ["almost′ at a_0"]


@pytest.mark.parametrize("f", ["tanh", "logistic", "gelu", "softplus", "relu"])
@pytest.mark.parametrize("loss", ["squared_error", "huber", "log_cosh"])
@pytest.mark.parametrize("scale", [10, 1000, 1e5])
def test_no_false_alarm_on_large_inputs(f, loss, scale):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X, y = scale * rng.normal(size=(15, 4)), rng.normal(size=15)
        net = dp.Network(4, [dp.Dense(6, f), dp.Dense(5, f), dp.Dense(1)], loss=loss, seed=seed)
        report = net.check(X, y)
        assert report.ok, str(report)


def test_notebooks_show_a_table():
    html = verified(second=sine("<b>", **WRONG_DF))._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;′ at a_1" in html
    assert html.count("<tr") == 1 + len(verified(second=sine(**WRONG_DF)).rows)
    assert "only because of that" in html


def test_the_old_names_are_deprecated():
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    with pytest.warns(DeprecationWarning, match=r"prove is deprecated.*use verify"):
        prove = dp_inspect.prove
    with pytest.warns(DeprecationWarning, match="use Verification"):
        assert isinstance(prove(net, [[1.0]], [2.0]), dp_inspect.Proof)
    assert dp_inspect.verify(net, [[1.0]], [2.0]).ok
