"""Schedules of the weight decay and of the dropout, in every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import deltaprop as dp
from deltaprop.optim.schedules import Clock, Schedule

from .engines import OTHER_ENGINES

N, D = 40, 4
rng = np.random.default_rng(0)
X, y = rng.normal(size=(N, D)), rng.integers(0, 3, N)
SCHEDULES = [dp.schedules.FlatCosine(0.3), dp.schedules.CosLog4()]
each_engine = pytest.mark.parametrize("engine", ["reference", "fused", "xla"])


@dataclass(frozen=True)
class Times(Schedule):
    """The same factor in each step."""

    factor: float

    def factors(self, steps: Any, clock: Clock) -> Any:
        return np.full(len(steps), self.factor)


def network(dropout=0.0, dtype="float64") -> dp.Network:
    layers = [
        dp.Dense(7, "tanh", dropout),
        dp.Dense(5, "silu", dropout / 2),
        dp.Dense(3, "softmax"),
    ]
    return dp.Network(
        D, layers, loss="cross_entropy", reduction="mean", seed=0, dtype=dtype
    )  # fmt: skip


def trained(engine, solver, *, dropout=0.0, dtype="float64", **options) -> dp.Network:
    net = network(dropout, dtype)
    dp.fit(
        net, X, y, solver=solver, engine=engine,
        **{"batch_size": 12, "max_epochs": 4, "patience": np.inf} | options,
    )  # fmt: skip
    return net


@pytest.mark.parametrize(("engine", "dtype"), OTHER_ENGINES)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize(
    "solver",
    [dp.AdamW, dp.Muon, lambda *a, **k: dp.AdamW(*a, input_scale=2.0, **k)],
    ids=["adamw", "muon", "input_scale"],
)  # fmt: skip
def test_engines_agree(engine, dtype, schedule, solver):
    solver = solver(0.02, weight_decay=0.5, weight_decay_schedule=schedule)
    settings: dict[str, Any] = {
        "dropout": 0.4, "dropout_schedule": schedule, "dtype": dtype,
        "schedule": dp.schedules.Cosine(), "clip_norm": 1.0,
    }  # fmt: skip
    one, other = (trained(each, solver, **settings) for each in ("reference", engine))
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(other.theta, one.theta, rtol=tolerance, atol=tolerance)


def test_engines_agree_if_the_solver_needs_fisher_factors():
    settings: dict[str, Any] = {"dropout": 0.4, "dropout_schedule": dp.schedules.Cosine()}
    one, fused, xla = (
        trained(each, dp.KFAC(0.1), **settings) for each in ("reference", "fused", "xla")
    )
    np.testing.assert_allclose(fused.theta, one.theta, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(xla.theta, one.theta, rtol=1e-6, atol=1e-8)


@each_engine
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_scheduled_decay_is_that_of_pytorch(engine, schedule):
    """Steps of torch's AdamW whose weight decay is set before each."""
    steps, tiny = 6, 1e-30
    net = network()
    parameters = [torch.tensor(p.copy(), requires_grad=True) for p in (*net.W, *net.b)]
    L = net.n_layers
    theirs = torch.optim.AdamW(
        [{"params": parameters[:L]}, {"params": parameters[L:], "weight_decay": 0.0}],
        lr=0.02, eps=tiny,
    )  # fmt: skip
    for factor in schedule.factors(np.arange(steps), Clock(0, steps)):
        theirs.param_groups[0]["weight_decay"] = 0.5 * factor
        theirs.zero_grad()
        a = torch.tensor(X)
        for l, f in enumerate((torch.tanh, torch.nn.functional.silu, lambda x: x)):
            a = f(a @ parameters[l] + parameters[L + l])
        torch.nn.functional.cross_entropy(a, torch.tensor(y)).backward()
        theirs.step()
    solver = dp.AdamW(0.02, epsilon=tiny, weight_decay=0.5, weight_decay_schedule=schedule)
    ours = trained(engine, solver, batch_size=N, max_epochs=steps, shuffle=False)
    for l in range(L):
        np.testing.assert_allclose(ours.W[l], parameters[l].detach().numpy(), rtol=1e-7, atol=1e-9)


@each_engine
def test_factors_multiply_the_decay_and_the_probabilities(engine):
    halved = trained(
        engine, dp.AdamW(0.02, weight_decay=0.6, weight_decay_schedule=Times(0.5)), dropout=0.4,
        dropout_schedule=Times(0.5),
    )  # fmt: skip
    expected = trained(engine, dp.AdamW(0.02, weight_decay=0.3), dropout=0.2)
    np.testing.assert_allclose(halved.theta, expected.theta, rtol=1e-12, atol=1e-15)
    off = trained(
        engine, dp.AdamW(0.02, weight_decay_schedule=Times(0.0)), dropout=0.4,
        dropout_schedule=Times(0.0),
    )  # fmt: skip
    none = trained(engine, dp.AdamW(0.02, weight_decay=0.0))
    np.testing.assert_allclose(off.theta, none.theta, rtol=1e-12, atol=1e-15)


@each_engine
def test_resuming_and_epochs_that_run_together_keep_the_place_in_the_schedules(engine):
    solver = dp.AdamW(0.02, weight_decay=0.5, weight_decay_schedule=dp.schedules.InverseScaling())
    settings: dict[str, Any] = {
        "solver": solver, "dropout_schedule": dp.schedules.InverseScaling(), "batch_size": 12,
        "patience": np.inf, "engine": engine,
    }  # fmt: skip
    whole, parts = network(0.4), network(0.4)
    dp.fit(whole, X, y, max_epochs=6, **settings)
    first = dp.fit(parts, X, y, max_epochs=2, callbacks=[lambda event: None], **settings)
    dp.fit(parts, X, y, max_epochs=4, resume=first, **settings)
    np.testing.assert_array_equal(parts.theta, whole.theta)


@pytest.mark.parametrize("wrong", ["cosine", dp.schedules.Adaptive(), 0.5])
def test_wrong_schedules_raise(wrong):
    for give in (
        lambda: trained("reference", dp.Adam(), dropout_schedule=wrong),
        lambda: dp.AdamW(weight_decay_schedule=wrong),
    ):
        with pytest.raises(TypeError, match=r"_schedule must be an object.*FlatCosine\(\)"):
            give()


def test_probabilities_cannot_exceed_those_of_the_layers():
    with pytest.raises(ValueError, match=r"dropout_schedule must give factors in \[0, 1\].*1\.5"):
        trained("reference", dp.Adam(), dropout=0.4, dropout_schedule=Times(1.5))


def test_the_text_of_a_solver_changes_only_with_a_schedule():
    assert repr(dp.AdamW(0.1)) == repr(dp.AdamW(0.1, weight_decay_schedule=dp.schedules.Constant()))
    assert "weight_decay_schedule=Cosine" in repr(
        dp.AdamW(weight_decay_schedule=dp.schedules.Cosine())
    )


def test_estimators_train_with_schedules_and_keep_them_in_files(tmp_path):
    by_name = dp.MLPClassifier(
        (7,), solver="adamw", dropout=0.3, dropout_schedule="flat_cosine", weight_decay=0.4,
        weight_decay_schedule="coslog4", max_iter=4, random_state=0,
    )  # fmt: skip
    solver = dp.AdamW(1e-3, weight_decay=0.4, weight_decay_schedule=dp.schedules.CosLog4())
    by_object = dp.MLPClassifier(
        (7,), solver=solver, dropout=0.3, dropout_schedule=dp.schedules.FlatCosine(), max_iter=4,
        random_state=0,
    )  # fmt: skip
    plain = dp.MLPClassifier((7,), solver="adamw", dropout=0.3, weight_decay=0.4, max_iter=4,
                             random_state=0)  # fmt: skip
    for model in (by_name, by_object, plain):
        with pytest.warns(UserWarning, match="Maximum iterations"):
            model.fit(X, y)
    np.testing.assert_array_equal(by_name.network_.theta, by_object.network_.theta)
    assert (by_name.network_.theta != plain.network_.theta).any()
    for model in (by_name, by_object):
        dp.save(model, tmp_path / "model.dp")
        loaded = dp.load(tmp_path / "model.dp")
        assert loaded.dropout_schedule == model.dropout_schedule
        assert loaded.solver == model.solver
        assert loaded.weight_decay_schedule == model.weight_decay_schedule


def test_tabular_estimators_pass_schedules_to_their_members():
    model = dp.TabularClassifier(
        dropout_schedule="flat_cosine", weight_decay_schedule="cosine", cv=2, max_iter=2,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    for member in model.members_:
        assert (member.dropout_schedule, member.weight_decay_schedule) == ("flat_cosine", "cosine")
