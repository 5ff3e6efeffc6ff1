"""Gradient transformations against values computed by hand, and how they compose."""

import numpy as np
import pytest

import deltaprop as dp
from deltaprop.optim.transforms import (
    AdamMoments,
    Chain,
    ClipByNorm,
    DecayWeights,
    InputScale,
    Momentum,
    Step,
)
from deltaprop.training.settings import Settings

THETA = np.array([2.0, -4.0])
SHAPES = [(1, 1)]  # θ is one weight and one bias
PENALISED = np.array([1.0, 0.0])


def updates(links, gradients, learning_rate=0.1, dtype="float64"):
    """What a chain adds to θ for each of these gradients, with its last state."""
    chain, theta = Chain(tuple(links)), THETA.astype(dtype)
    state, found = chain.init(theta, SHAPES), []
    for t, g in enumerate(gradients, 1):
        step = Step(theta, learning_rate, t, PENALISED.astype(dtype))
        moved, state = chain.update(np.array(g, dtype), state, step)
        assert moved.dtype == dtype
        found.append(moved)
    return found, state


def test_clipping_shortens_long_gradients_only():
    found, state = updates([ClipByNorm(2.5)], [[3.0, 4.0], [0.6, 0.8], [0.0, 0.0]])
    np.testing.assert_allclose(found, [[1.5, 2.0], [0.6, 0.8], [0.0, 0.0]], rtol=1e-15)
    assert state == ()


def test_momentum():
    found, (v,) = updates([Momentum(0.5, nesterov=False)], [[1.0, -2.0], [3.0, 0.0]])
    # v₁ = -0.1 g₁; v₂ = 0.5 v₁ - 0.1 g₂
    np.testing.assert_allclose(found, [[-0.1, 0.2], [-0.35, 0.1]])
    np.testing.assert_allclose(v, [-0.35, 0.1])


def test_nesterov_momentum_looks_ahead():
    found, (v,) = updates([Momentum(0.5, nesterov=True)], [[1.0, -2.0], [3.0, 0.0]])
    # the steps are 0.5 v₁ - 0.1 g₁ and 0.5 v₂ - 0.1 g₂
    np.testing.assert_allclose(found, [[-0.15, 0.3], [-0.475, 0.05]])
    np.testing.assert_allclose(v, [-0.35, 0.1])


def test_adam():
    found, (m, v) = updates([AdamMoments(0.5, 0.75, 1.0)], [[2.0, -4.0], [0.0, 4.0]])
    # m₁ = g₁/2, v₁ = g₁²/4, η₁ = 0.1 √0.25 / 0.5; the step is -η₁ m₁ / (√v₁ + 1)
    np.testing.assert_allclose(found[0], [-0.1 * 1 / 2, 0.1 * 2 / 3])
    # m₂ = m₁/2 + g₂/2, v₂ = 3 v₁/4 + g₂²/4, η₂ = 0.1 √(1 - 0.75²) / 0.75
    np.testing.assert_allclose(m, [0.5, 1.0])
    np.testing.assert_allclose(v, [0.75, 7.0])
    eta = 0.1 * np.sqrt(0.4375) / 0.75
    expected = [-eta * 0.5 / (np.sqrt(0.75) + 1), -eta / (np.sqrt(7) + 1)]
    np.testing.assert_allclose(found[1], expected)


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    found, _ = updates([AdamMoments(0.9, 0.999, 1e-30)], [[1e-3, -1e3]])
    np.testing.assert_allclose(found[0], [-0.1, 0.1])


def test_weights_decay_and_biases_do_not():
    found, _ = updates([DecayWeights(0.3)], [[1.0, 1.0]])
    np.testing.assert_allclose(found[0], [1.0 - 0.1 * 0.3 * 2.0, 1.0])


def test_a_chain_applies_its_links_in_order():
    """Clipping before Adam, whose steps do not depend on the scale of g, is not clipping after."""
    adam, clip = AdamMoments(0.9, 0.999, 1e-30), ClipByNorm(0.05)
    before, _ = updates([clip, adam], [[3.0, 4.0]])
    after, _ = updates([adam, clip], [[3.0, 4.0]])
    np.testing.assert_allclose(before[0], [-0.1, -0.1])
    np.testing.assert_allclose(after[0], np.array([-1, -1]) * 0.05 / np.sqrt(2))


def test_clipped_adam_with_decay_is_the_composition_of_its_links():
    gradients = [[3.0, 4.0], [0.3, 0.4], [-6.0, 8.0]]
    whole, (m, v) = updates([ClipByNorm(1.0), AdamMoments(0.5, 0.75, 1e-3), DecayWeights(0.3)],
                            gradients)  # fmt: skip
    clipped, _ = updates([ClipByNorm(1.0)], gradients)
    adam, moments = updates([AdamMoments(0.5, 0.75, 1e-3)], clipped)
    decayed, _ = updates([DecayWeights(0.3)], adam)
    np.testing.assert_array_equal(whole, decayed)
    np.testing.assert_array_equal((m, v), moments)


def test_a_chain_gives_each_link_its_own_state():
    """The state of the last link comes first: the order of files."""
    links = [Momentum(0.5, False), AdamMoments(0.5, 0.75, 1e-3)]
    gradients = [[3.0, 4.0], [0.3, 0.4], [-6.0, 8.0]]
    found, (m, v, momentum) = updates(links, gradients)
    first, (alone,) = updates(links[:1], gradients)
    second, moments = updates(links[1:], first)
    np.testing.assert_array_equal(found, second)
    np.testing.assert_array_equal(momentum, alone)
    np.testing.assert_array_equal((m, v), moments)


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize(
    "solver", [dp.SGD(), dp.SGD(nesterov=False), dp.Adam(), dp.AdamW(), dp.Muon()]
)
def test_float32_stays_float32(solver, clip_norm):
    links = Settings(solver=solver, clip_norm=clip_norm).chain().links
    _, state = updates(links, [[3.0, 4.0], [1.0, 2.0]], dtype="float32")
    assert {part.dtype for part in state} == {np.dtype("float32")}


@pytest.mark.parametrize("solver", [dp.SGD(), dp.Adam(), dp.AdamW(), dp.KFAC(), dp.Muon()])
def test_the_size_of_the_state_is_the_one_that_is_declared(solver):
    net = dp.Network(3, [dp.Dense(4), dp.Dense(2)], loss="huber")
    for link in solver.transformations():
        state = link.init(net.theta, net.layout.shapes)
        assert len(state) == link.state_size(net.n_layers)


@pytest.mark.parametrize("engine", ["reference", "fused", "xla"])
def test_engines_clip_before_adam(engine):
    """One step of a network from θ = 0, whose gradient is known."""
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    net.theta[...] = 0
    # ŷ = 0, so δ = -5 and g = (-5·2, -5); clipped to a norm of 1 it is (-2, -1) / √5
    dp.fit(net, [[2.0]], [5.0], solver=dp.Adam(0.1, epsilon=1.0), clip_norm=1.0, max_epochs=1,
           engine=engine)  # fmt: skip
    g = np.array([-2.0, -1.0]) / np.sqrt(5)
    m, v, eta = 0.1 * g, 0.001 * g * g, 0.1 * np.sqrt(0.001) / 0.1
    np.testing.assert_allclose(net.theta, -eta * m / (np.sqrt(v) + 1.0), rtol=1e-9)


# ---------------------------------------------------------------- a factor of each input


def test_the_gradients_of_the_factors_and_of_v_are_those_of_the_loss():
    """One step of plain gradient descent on r and V moves them along the numerical gradients."""
    rng = np.random.default_rng(0)
    net = dp.Network(3, [dp.Dense(4, "tanh"), dp.Dense(2)], loss="squared_error", seed=0)
    X, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 2))
    r, rate, eta = np.array([0.5, 1.5, -2.0]), 3.0, 1e-2
    V = net.W[0] / r[:, None]

    def loss(r, V):
        net.W[0][...] = r[:, None] * V
        return net.loss(X, y)

    def slope(at, of):
        found = np.zeros_like(at)
        for i in np.ndindex(at.shape):
            step = np.zeros_like(at)
            step[i] = 1e-6
            found[i] = (of(at + step) - of(at - step)) / 2e-6
        return found

    d_r, d_V = slope(r, lambda r: loss(r, V)), slope(V, lambda V: loss(r, V))
    loss(r, V)
    g = net.gradient(X, y).flat
    link = InputScale(rate, Chain((Momentum(0.0, nesterov=False),)))
    state = link.init(net.theta, net.layout.shapes)
    state[0][:3] = r
    step = Step(net.theta, eta, 1, net.penalised, layout=net.layout)
    change, state = link.update(g, state, step)
    moved_r, moved_V = r - rate * eta * d_r, V - eta * d_V
    np.testing.assert_allclose(state[0][:3], moved_r, rtol=1e-6)
    after = (net.theta + change)[:12].reshape(3, 4)
    np.testing.assert_allclose(after, moved_r[:, None] * moved_V, rtol=1e-6)
    np.testing.assert_allclose(change[12:], -eta * g[12:], rtol=1e-12)


def test_a_factor_never_becomes_zero():
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    link = InputScale(1.0, Chain((Momentum(0.0, nesterov=False),)))
    state = link.init(net.theta, net.layout.shapes)
    g = np.array([1 / net.theta[0], 0.0])  # the gradient of r is 1, so that r would become 0
    change, state = link.update(g, state, Step(net.theta, 1.0, 1, net.penalised, layout=net.layout))
    assert state[0][0] == 1e-3
    assert np.isfinite(net.theta + change).all()


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_factors_let_a_network_ignore_noise(engine):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 40))
    y = X[:, 0] * X[:, 1]
    losses = {}
    for scale in (0.0, 20.0):
        net = dp.Network(40, [dp.Dense(32, "silu"), dp.Dense(1)], loss="squared_error",
                         reduction="mean", seed=0)  # fmt: skip
        solver = dp.AdamW(0.004, input_scale=scale)
        dp.fit(net, X[:300], y[:300], solver=solver, max_epochs=40, batch_size=32, engine=engine,
               validation=(X[300:], y[300:]), patience=40)  # fmt: skip
        losses[scale] = net.loss(X[300:], y[300:])
    assert losses[20.0] < 0.5 * losses[0.0]


def test_sharded_parameters_are_refused():
    net = dp.Network(2, [dp.Dense(2)], loss="squared_error", seed=0)
    with pytest.raises(ValueError, match="shard_parameters"):
        dp.fit(net, np.ones((4, 2)), np.ones((4, 2)), solver=dp.Adam(input_scale=2.0),
               engine=dp.Xla(shard_parameters=True), max_epochs=1)  # fmt: skip
