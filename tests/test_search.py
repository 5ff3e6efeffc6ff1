"""Update rules, schedules, stopping, dropout, clipping, resuming: against PyTorch and by laws."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris

import deltaprop as dp
from deltaprop.functions.masks import dropout_mask
from deltaprop.optim.schedules import Clock

X, y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)


def small_net(seed=0, dropout=0.0, **kwargs):
    kwargs = {"loss": "cross_entropy", "reduction": "mean"} | kwargs
    return dp.Network(
        4, [dp.Dense(7, "tanh", dropout), dp.Dense(3, "softmax")], seed=seed, **kwargs
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (dp.SGD(0.05, momentum=0.9, nesterov=False), lambda p: torch.optim.SGD(p, 0.05, 0.9)),
        (dp.SGD(0.05, momentum=0.9), lambda p: torch.optim.SGD(p, 0.05, 0.9, nesterov=True)),
        (dp.SGD(0.05, momentum=0.0), lambda p: torch.optim.SGD(p, 0.05)),
        (dp.Adam(0.05, epsilon=1e-300), lambda p: torch.optim.Adam(p, 0.05, eps=0)),
        (
            dp.AdamW(0.05, epsilon=1e-300, weight_decay=0.3),
            lambda p: torch.optim.AdamW(p, 0.05, eps=0, weight_decay=0.3),
        ),
    ],
    ids=["sgd", "nesterov", "plain", "adam", "adamw"],
)
def test_solvers_step_like_pytorch_s(ours, theirs):
    net = small_net()
    weights = torch.nn.ParameterList(torch.tensor(W.T.copy()) for W in net.W)
    biases = torch.nn.ParameterList(torch.tensor(b.copy()) for b in net.b)
    groups = [{"params": weights}, {"params": biases}]
    if isinstance(ours, dp.AdamW):
        groups[1]["weight_decay"] = 0.0  # biases do not decay
    optimizer = theirs(groups)
    for _ in range(10):
        optimizer.zero_grad()
        hidden = torch.tanh(torch.nn.functional.linear(torch.tensor(X), weights[0], biases[0]))
        logits = torch.nn.functional.linear(hidden, weights[1], biases[1])
        torch.nn.functional.cross_entropy(logits, torch.tensor(y)).backward()
        optimizer.step()
    dp.fit(net, X, y, solver=ours, max_epochs=10, batch_size=len(X), patience=np.inf)
    for W, theirs_W in zip(net.W, weights, strict=True):
        np.testing.assert_allclose(W, theirs_W.detach().numpy().T, rtol=1e-8, atol=1e-10)


def factors(schedule, total):
    return schedule.factors(np.arange(total), Clock(0, total))


def test_cosine_and_one_cycle_are_pytorch_s():
    parameter = [torch.nn.Parameter(torch.zeros(1))]
    total = 50
    sgd = torch.optim.SGD(parameter, lr=1.0, momentum=0.9)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(
        sgd, 1.0, total_steps=total, pct_start=0.3, cycle_momentum=False
    )
    expected = []
    for _ in range(total):
        expected.append(sgd.param_groups[0]["lr"])
        sgd.step()
        one_cycle.step()
    ours = factors(dp.schedules.OneCycle(peak=0.3), total)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    sgd = torch.optim.SGD(parameter, lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, total - 1)
    expected = []
    for _ in range(total):
        expected.append(sgd.param_groups[0]["lr"])
        sgd.step()
        cosine.step()
    np.testing.assert_allclose(factors(dp.schedules.Cosine(), total), expected, atol=1e-12)


def test_coslog4_has_four_cycles_each_twice_as_long():
    total = 1500
    ours = factors(dp.schedules.CosLog4(), total)
    np.testing.assert_allclose(ours[[0, 100, 300, 700]], 0, atol=1e-12)  # (2ⁿ - 1) / 15
    peaks = np.flatnonzero((ours[1:-1] > ours[:-2]) & (ours[1:-1] > ours[2:])) + 1
    np.testing.assert_allclose(peaks, [(2 ** (n + 0.5) - 1) / 15 * total for n in range(4)], atol=1)
    np.testing.assert_allclose(ours[peaks], 1, atol=1e-3)
    # sin² is the same function in another form
    t = np.arange(total) / total
    np.testing.assert_allclose(ours, np.sin(np.pi * np.log(1 + 15 * t) / np.log(2)) ** 2, atol=1e-9)
    assert schedules_at(dp.schedules.CosLog4(), steps=[total, total + 9], total=total) == (0, 0)


def test_flat_cosine_is_one_and_then_pytorch_s_cosine():
    ours = factors(dp.schedules.FlatCosine(0.75), 41)
    np.testing.assert_array_equal(ours[:31], 1)  # t = 30 / 40
    np.testing.assert_allclose(ours[30:], factors(dp.schedules.Cosine(), 11), atol=1e-12)
    np.testing.assert_allclose(
        factors(dp.schedules.FlatCosine(0.0), 20), factors(dp.schedules.Cosine(), 20), atol=1e-12
    )
    assert schedules_at(dp.schedules.FlatCosine(), steps=[0, 40, 50], total=41) == (1, 0, 0)


@pytest.mark.parametrize("flat", [-0.1, 1.0, "half", None])
def test_the_flat_share_is_a_fraction(flat):
    with pytest.raises(ValueError, match=r"flat must be a number in \[0, 1\)"):
        dp.schedules.FlatCosine(flat)


def schedules_at(schedule, steps, total):
    found = schedule.factors(np.array(steps), Clock(0, total))
    return tuple(np.round(found, 12) + 0.0)


def test_warm_up_rises_in_a_line_and_hands_over():
    ours = factors(dp.schedules.WarmUp(0.2, then=dp.schedules.Cosine()), 50)
    np.testing.assert_allclose(ours[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(ours[10:], factors(dp.schedules.Cosine(), 40))


@pytest.mark.parametrize(
    "name",
    ["Constant", "InverseScaling", "Cosine", "WarmUp", "OneCycle", "FlatCosine", "CosLog4"],
)
@pytest.mark.parametrize("solver", [dp.SGD(0.05), dp.Adam(0.01), dp.AdamW(0.01)])
def test_every_schedule_drives_every_first_order_solver(name, solver):
    rates = []
    schedule = getattr(dp.schedules, name)()
    net = small_net()
    before = net.loss(X, y)
    dp.fit(
        net, X, y, solver=solver, schedule=schedule, max_epochs=5, batch_size=30,
        callbacks=[lambda event: rates.append(event.learning_rate)],
    )  # fmt: skip
    assert net.loss(X, y) < before
    last = [schedule.factors(np.arange(5 * e, 5 * e + 5), Clock(150 * e, 25))[-1] for e in range(5)]
    np.testing.assert_allclose(rates, solver.learning_rate * np.array(last), rtol=1e-12)


def test_adaptive_shrinks_the_rate_at_plateaus_and_stops_at_its_minimum():
    rates = []
    history = dp.fit(
        small_net(), X, y, solver=dp.Adam(0.01), schedule=dp.schedules.Adaptive(minimum=1e-4),
        tol=10.0, patience=1, max_epochs=100,
        callbacks=[lambda event: rates.append(event.learning_rate)],
    )  # fmt: skip
    assert history.stop_reason == "converged"
    assert sorted(set(rates), reverse=True) == pytest.approx([0.01, 2e-3, 4e-4, 8e-5])


def test_clipping_bounds_the_length_of_a_step():
    net = small_net()
    before = net.theta.copy()
    g = net.gradient(X, y).flat
    assert np.linalg.norm(g) > 0.01
    dp.fit(
        net, X, y, solver=dp.SGD(1.0, momentum=0.0), clip_norm=0.01, batch_size=150, max_epochs=1
    )
    np.testing.assert_allclose(before - net.theta, g * (0.01 / np.linalg.norm(g)), rtol=1e-6)


def test_dropout_masks_depend_on_their_counters_only():
    mask = dropout_mask(1, 2, 0, 400, 50, 0.3, np.dtype("float32"))
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.7)}
    assert mask.mean() == pytest.approx(1, abs=0.03)
    # rows and columns show no pattern
    assert np.abs(np.corrcoef((mask[:, :20] > 0).T.astype(float)) - np.eye(20)).max() < 0.25
    np.testing.assert_array_equal(mask[:10], dropout_mask(1, 2, 0, 10, 50, 0.3, mask.dtype))
    for other in ((2, 2, 0), (1, 3, 0), (1, 2, 1)):
        assert (dropout_mask(*other, 400, 50, 0.3, mask.dtype) != mask).mean() > 0.3


def test_dropout_trains_reproducibly_and_leaves_prediction_alone():
    one, two, none = small_net(dropout=0.5), small_net(dropout=0.5), small_net()
    for net in (one, two, none):
        dp.fit(net, X, y, max_epochs=3)
    np.testing.assert_array_equal(one.theta, two.theta)
    assert not np.allclose(one.theta, none.theta)
    np.testing.assert_array_equal(one.predict(X), one.predict(X))


def test_gradient_under_dropout_is_that_of_the_masked_loss():
    from deltaprop import equations

    net = small_net(dropout=0.5)
    t = net.encode(y)
    masks = [dropout_mask(0, 0, 0, len(X), 7, 0.5, net.dtype), None]

    def loss():
        Xs, a = equations.forward(X, net.W, net.b, net.f, masks)
        return float(equations.loss(t, a[-1], Xs[-1], net.W, net.f[-1], net.loss_function))

    done = equations.forward_backward(X, t, net.W, net.b, net.f, net.loss_function, masks=masks)
    W, h = net.W[0], 1e-6
    for entry in [(0, 0), (3, 6), (2, 4)]:
        W[entry] += h
        up = loss()
        W[entry] -= 2 * h
        down = loss()
        W[entry] += h
        assert done.dW[0][entry] == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("solver", [dp.SGD(0.05), dp.Adam(0.01), dp.AdamW(0.01)])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resuming_goes_on_as_if_it_had_not_stopped(solver, dropout):
    settings = {"solver": solver, "batch_size": 32, "patience": np.inf}
    whole, parts = small_net(dropout=dropout), small_net(dropout=dropout)
    full = dp.fit(whole, X, y, max_epochs=6, **settings)
    first = dp.fit(parts, X, y, max_epochs=2, **settings)
    rest = dp.fit(parts, X, y, max_epochs=4, resume=first, **settings)
    np.testing.assert_array_equal(whole.theta, parts.theta)
    assert full.loss_curve == [*first.loss_curve, *rest.loss_curve]


def test_best_weights_come_back_and_their_loss_is_the_least():
    net = small_net()
    history = dp.fit(net, X, y, solver=dp.Adam(0.5), validation=0.3, max_epochs=30, seed=1)
    kept = history.validation_loss_curve.index(min(history.validation_loss_curve)) + 1
    assert history.best_epoch == kept


def test_validation_data_of_one_s_own_and_a_scorer():
    net = small_net()

    def accuracy(net, X, y):
        return (net.predict(X).argmax(1) == y).mean()

    history = dp.fit(
        net, X[::2], y[::2], solver=dp.Adam(0.05), validation=(X[1::2], y[1::2]), scorer=accuracy
    )
    assert accuracy(net, X[1::2], y[1::2]) == max(history.validation_scores)
    assert len(history.validation_scores) == len(history.validation_loss_curve) == history.n_epochs


@pytest.mark.parametrize("solver", [dp.Adam(0.01), dp.LBFGS()])
def test_a_callback_that_returns_true_stops(solver):
    history = dp.fit(small_net(), X, y, solver=solver, callbacks=[lambda e: e.epoch == 3])
    assert history.n_epochs == 3
    assert history.stop_reason == "callback"


@pytest.mark.parametrize("solver", [dp.Adam(0.01), dp.LBFGS()])
def test_ctrl_c_keeps_the_best_weights_and_says_so(solver):
    def interrupt(event):
        if event.epoch == 4:
            raise KeyboardInterrupt

    def remember(event):
        seen.append((event.validation_loss, event.network.theta.copy()))

    net, seen = small_net(), []
    with pytest.warns(UserWarning, match="interrupted by user after 4 epoch"):
        history = dp.fit(
            net, X, y, solver=solver, validation=(X[:50], y[:50]), max_epochs=9,
            callbacks=[remember, interrupt],
        )  # fmt: skip
    assert history.stop_reason == "interrupted"
    best = min(seen, key=lambda pair: pair[0])
    np.testing.assert_array_equal(net.theta, best[1])


def test_divergence_is_an_error_and_the_network_stays_as_it_was():
    net = dp.Network(10, [dp.Dense(20), dp.Dense(1)], loss="squared_error", seed=0)
    D, target = load_diabetes(return_X_y=True)
    before = net.theta.copy()
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"non-finite parameter weights.*learning rate"),
    ):
        dp.fit(net, D * 1e3, target, solver=dp.SGD(10.0))
    np.testing.assert_array_equal(net.theta, before)


def test_batches_of_an_epoch_add_up_to_the_summed_loss():
    """With a vanishing step the epoch's loss is L of all rows, whatever the batches."""
    for reduction in ("sum", "mean", "sklearn"):
        net = small_net(reduction=reduction, l2=0.7)
        tiny = dp.SGD(1e-300, momentum=0.0)
        epoch = dp.fit(net, X, y, solver=tiny, batch_size=50, max_epochs=1).loss_curve[0]
        whole = net.loss(X, y)
        if reduction == "sklearn":  # its penalty depends on the batch: documented
            data = net.copy()
            data.l2 = 0.0
            penalty = whole - data.loss(X, y)
            whole = data.loss(X, y) + 3 * penalty
        assert epoch == pytest.approx(whole, rel=1e-12)


def test_zero_weight_rows_do_not_matter():
    w = np.ones(len(X))
    w[::3] = 0
    kept = w > 0
    with_zeros, without = small_net(), small_net()
    dp.fit(with_zeros, X, y, sample_weight=w, batch_size=150, max_epochs=20)
    dp.fit(without, X[kept], y[kept], batch_size=100, max_epochs=20)
    np.testing.assert_allclose(with_zeros.theta, without.theta, rtol=1e-9, atol=1e-12)


def test_sparse_rows_train_to_the_same_weights():
    import scipy.sparse as sp

    dense, sparse = small_net(), small_net()
    dp.fit(dense, X, y, max_epochs=5, batch_size=32)
    dp.fit(sparse, sp.csc_array(X), y, max_epochs=5, batch_size=32)
    np.testing.assert_allclose(dense.theta, sparse.theta, rtol=1e-12, atol=1e-14)


def test_float32_stays_float32_in_every_solver():
    for solver in (dp.SGD(), dp.Adam(), dp.AdamW(), dp.LBFGS()):
        net = small_net(dtype="float32")
        dp.fit(net, X, y, solver=solver, max_epochs=2, clip_norm=1.0)
        assert net.theta.dtype == np.float32
        assert net.predict(X).dtype == np.float32


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean", "sklearn"])
def test_training_and_validation_loss_are_on_one_scale(reduction, weighted):
    """Validated on the training rows, both losses of a step that is close to 0 are the same."""
    w = np.random.default_rng(0).uniform(0.5, 2.0, len(X)) if weighted else None
    held = (X, y) if w is None else (X, y, w)
    history = dp.fit(
        small_net(reduction=reduction), X, y, solver=dp.SGD(1e-12), batch_size=len(X),
        sample_weight=w, validation=held, max_epochs=1,
    )  # fmt: skip
    assert history.validation_loss_curve == pytest.approx(history.loss_curve, rel=1e-9)


def test_the_scale_of_the_validation_loss_does_not_change_what_is_learned():
    nets = [small_net(reduction=r, l2=0.0) for r in ("sum", "mean")]
    sums, means = (
        dp.fit(
            net, X, y, solver=dp.SGD(rate, momentum=0.0), batch_size=len(X), patience=3, tol=1e-3,
            validation=0.3, seed=0, max_epochs=60,
        )
        for net, rate in zip(nets, (0.5 / round(0.7 * len(X)), 0.5), strict=True)
    )  # fmt: skip
    assert sums.n_epochs == means.n_epochs
    assert sums.best_epoch == means.best_epoch
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-6, atol=1e-8)


def test_the_quoted_loss_belongs_to_the_weights_that_were_kept():
    model = dp.MLPClassifier(
        100, early_stopping=True, learning_rate_init=0.05, max_iter=200, random_state=0
    ).fit(X, y)
    assert model.best_epoch_ < model.n_iter_
    assert model.loss_ == model.loss_curve_[model.best_epoch_ - 1] != model.loss_curve_[-1]
    assert model.fit_history().best_epoch == model.best_epoch_
    assert dp.MLPClassifier(4, max_iter=5, random_state=0).fit(X, y).best_epoch_ is None
