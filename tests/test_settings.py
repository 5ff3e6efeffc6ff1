"""The settings of a training run: what they check, and how they become a chain."""

import inspect
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

import deltaprop as dp
from deltaprop.optim.natural_gradient import NaturalGradient
from deltaprop.optim.transforms import AdamMoments, ClipByNorm, DecayWeights, Momentum
from deltaprop.training.checkpoint import Checkpoint
from deltaprop.training.record import Record
from deltaprop.training.settings import Settings

X, y = np.ones((4, 2)), np.ones(4)


def network():
    return dp.Network(2, [dp.Dense(1)], loss="squared_error", seed=0)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"solver": "adam"}, TypeError, r"solver must be .*dp\.Adam\(1e-3\); got 'adam'"),
        ({"solver": dp.Adam}, TypeError, "solver must be a"),
        ({"schedule": "cosine"}, TypeError, r"schedule must be .* got 'cosine'.*Cosine\(\)"),
        ({"batch_size": 0}, ValueError, "batch_size must be 'auto' or an int >= 1, got 0"),
        ({"batch_size": "all"}, ValueError, "batch_size must be 'auto' or .* got 'all'"),
        ({"batch_size": True}, ValueError, "batch_size must be .* got True"),
        ({"max_epochs": 0}, ValueError, "max_epochs must be an int >= 1, got 0"),
        ({"max_epochs": 2.5}, ValueError, r"max_epochs must be an int >= 1, got 2\.5"),
        ({"clip_norm": 0}, ValueError, "clip_norm must be a number > 0 or None, got 0"),
        ({"clip_norm": np.nan}, ValueError, "clip_norm must be a number > 0 or None, got nan"),
        ({"tol": -1e-9}, ValueError, "tol must be a number >= 0, got -1e-09"),
        ({"patience": -1}, ValueError, "patience must be a number of epochs >= 0, got -1"),
        ({"patience": "long"}, ValueError, "patience must be .* got 'long'"),
        ({"engine": "numpy"}, ValueError, "engine must be one of auto, .* got 'numpy'"),
        ({"n_threads": 0}, ValueError, "n_threads must be an int >= 1 or None, got 0"),
        ({"callbacks": [3]}, TypeError, "callbacks must be functions that take an Epoch, got 3"),
        ({"record": "often"}, TypeError, "record must be a number of steps"),
        ({"record": 0}, ValueError, "every of a Record must be an int >= 1, got 0"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a folder"),
        ({"privacy": 4.0}, TypeError, r"privacy must be a deltaprop\.Privacy"),
        ({"privacy": dp.Privacy(1.0), "solver": dp.LBFGS()}, ValueError, "got LBFGS"),
        ({"privacy": dp.Privacy(1.0), "solver": dp.KFAC()}, ValueError, "got KFAC"),
    ],
)
def test_what_is_out_of_range_is_named_by_the_settings_and_by_fit(wrong, error, message):
    with pytest.raises(error, match=message):
        Settings(**wrong)
    net = network()
    before = net.theta.copy()
    with pytest.raises(error, match=message):
        dp.fit(net, X, y, **wrong)
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("max_epoch", " Did you mean 'max_epochs'"), ("learning_rate", ""), ("horizon", "")],
)
def test_an_unknown_argument_of_fit_is_a_type_error(name, hint):
    message = rf"fit\(\) got an unexpected keyword argument '{name}'\.{hint}"
    with pytest.raises(TypeError, match=message):
        dp.fit(network(), X, y, **{name: 3})


def test_the_signature_of_fit_lists_every_setting():
    parameters = inspect.signature(dp.fit).parameters
    assert {f.name for f in fields(Settings)} - set(parameters) == {"horizon"}
    assert parameters["solver"].default == dp.Adam()
    assert {"net", "X", "y", "sample_weight", "validation"} < set(parameters)


def test_none_stands_for_the_default():
    assert Settings(solver=None, schedule=None, callbacks=None) == Settings()
    assert Settings().solver == dp.Adam()


def test_short_forms_become_objects():
    settings = Settings(record=7, checkpoint="run", callbacks=[print])
    assert settings.record == Record(every=7)
    assert settings.checkpoint == Checkpoint("run")
    assert settings.callbacks == (print,)
    assert replace(settings, max_epochs=3).record == Record(every=7)


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Settings().max_epochs = 3


def test_the_identity_leaves_out_what_may_change_when_training_continues():
    names = {f.name for f in fields(Settings)}
    free = {"max_epochs", "restore_best", "engine", "n_threads", "reproducible", "precision",
            "callbacks", "record", "checkpoint", "horizon"}  # fmt: skip
    assert set(Settings().identity()) == names - free
    assert Settings(seed=np.random.RandomState(0)).identity()["seed"] == "None"
    assert Settings(seed=3).identity() != Settings().identity()


@pytest.mark.parametrize(
    ("solver", "links"),
    [
        (dp.SGD(0.1, 0.8, nesterov=False), (Momentum(0.8, False),)),
        (dp.Adam(0.1, 0.7, 0.9, 1e-5), (AdamMoments(0.7, 0.9, 1e-5),)),
        (dp.AdamW(weight_decay=0.2), (AdamMoments(0.9, 0.999, 1e-8), DecayWeights(0.2))),
        (
            dp.KFAC(damping=0.2, decay=0.5, every=3, kl_clip=0.1),
            (NaturalGradient(0.2, 0.5, 3, 0.1), Momentum(0.9, True)),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_first_order_solver_is_a_chain_that_clipping_begins(solver, links):
    assert Settings(solver=solver).chain().links == links
    assert Settings(solver=solver, clip_norm=2).chain().links == (ClipByNorm(2.0), *links)
