"""Files of an earlier version: models predict the same, checkpoints resume to the same result.

``tests/compatibility/make_fixtures.py`` makes the fixtures. Only public names of deltaprop are used
here, because files must not depend on the modules of its classes. Numbers are compared up to
rounding, which depends on the processor; ``pytest tests/test_compatibility.py -rP`` shows which of
them are bit-equal. Predictions need not be: they come from compiled code if it is ready, and from
the equations otherwise.
"""

from __future__ import annotations

import json
import shutil
import warnings
from importlib.metadata import version

import numpy as np
import pytest

import deltaprop as dp

from .compatibility import make_fixtures as made

WRITTEN = json.loads(made.EXPECTED.read_text())
FACTS, VERSIONS = {**WRITTEN["models"], **WRITTEN["checkpoints"]}, WRITTEN["written_with"]
TOLERANCE = {
    "float64": {"rtol": 1e-6, "atol": 1e-9},
    "float32": {"rtol": 1e-4, "atol": 1e-6},
}


def expected(folder, name):
    """Return the arrays that were written for a model or training run, by name."""
    with np.load(folder / "expected.npz") as file:
        return {
            key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")
        }


def compare(name, found, arrays, dtype="float64"):
    """Compare all arrays, and print which of them are bit-equal."""
    assert set(found) == set(arrays)
    for what, array in arrays.items():
        value = np.asarray(found[what])
        assert value.shape == array.shape, f"{name}/{what}"
        same = value.dtype == array.dtype and value.tobytes() == array.tobytes()
        otherwise = "up to rounding" if what.startswith("predict") else "NOT bit-equal"
        print(f"{name}/{what}: {'bit-equal' if same else otherwise}")
        if array.dtype.kind == "f":
            np.testing.assert_allclose(value, array, **TOLERANCE[dtype], err_msg=f"{name}/{what}")
        else:
            np.testing.assert_array_equal(value, array, err_msg=f"{name}/{what}")


def compare_facts(found, written):
    """Compare counts, strings and curves; compare floats up to rounding."""
    assert set(found) == set(written)
    for name, value in written.items():
        assert found[name] == (pytest.approx(value, rel=1e-6) if _is_curve(value) else value), name


def _is_curve(value):
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(item, float) for item in values)


def loaded(name, folder, custom=None):
    """Return the model of a fixture, and the same model after saving and loading it again."""
    model = dp.load(_named(made.MODELS / f"{name}.dp{made.SUFFIX}", folder), custom=custom)
    dp.save(model, folder / "again.dp")
    return model, dp.load(folder / "again.dp", custom=custom)


def _named(fixture, folder):
    """Copy a fixture, with the file name that deltaprop expects."""
    return shutil.copyfile(fixture, folder / fixture.name.removesuffix(made.SUFFIX))


def custom_of(name):
    return made.CUSTOM if name.endswith("custom") else None


def compare_parameters(model, fresh):
    """Compare the parameters of two estimators."""
    found, given = model.get_params(deep=False), fresh.get_params(deep=False)
    assert set(found) == set(given)
    for name, value in given.items():
        if isinstance(value, np.random.RandomState):
            assert isinstance(found[name], np.random.RandomState)
        else:
            assert type(found[name]) is type(value), name
            assert found[name] == value, name


def test_every_fixture_has_a_case_and_every_case_a_fixture():
    models = {file.name.removesuffix(f".dp{made.SUFFIX}") for file in made.MODELS.glob("*.dp*")}
    assert models == {*made.NETWORKS, *made.ESTIMATORS, *made.TABULARS}
    folders = {folder.name for folder in made.CHECKPOINTS.iterdir() if folder.is_dir()}
    assert folders == {*made.SEARCHES, made.CLASSIFIER}


def test_every_activation_loss_schedule_and_solver_is_in_a_fixture():
    """Functions that were added later need no fixture. A WarmUp contains the Cosine."""
    nets = [net.make() for net in made.NETWORKS.values()]
    activations = {f.name for net in nets for f in net.f}
    losses = {net.loss_function.name for net in nets}
    assert len(activations - set(made.CUSTOM)) == 15
    assert len(losses - set(made.CUSTOM)) == 13
    parameters = [described.make().get_params() for described in made.ESTIMATORS.values()]
    schedules = {type(p["learning_rate"]).__name__ for p in parameters} - {"str"}
    assert schedules == {"Constant", "InverseScaling", "Adaptive", "WarmUp", "OneCycle"}
    solvers = {type(p["solver"]).__name__ for p in parameters} - {"str"}
    assert solvers == {"SGD", "Adam", "AdamW", "LBFGS", "KFAC"}


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("name", made.NETWORKS)
def test_old_network_files_give_the_same_outputs(name, tmp_path):
    arrays = expected(made.MODELS, name)
    theta = arrays.pop("theta")
    for net in loaded(name, tmp_path, custom_of(name)):
        assert type(net) is dp.Network
        assert net.config() == made.NETWORKS[name].make().config()
        assert net.theta.dtype == theta.dtype
        np.testing.assert_array_equal(net.theta, theta)
        compare(name, made.network_outputs(net, name), arrays, net.dtype.name)


@pytest.mark.parametrize("name", made.ESTIMATORS)
def test_old_estimator_files_predict_the_same_and_continue_training(name, tmp_path):
    described, arrays = made.ESTIMATORS[name], expected(made.MODELS, name)
    theta, later = arrays.pop("theta"), arrays.pop("theta_later", None)
    X, y = described.rows()
    for model in loaded(name, tmp_path, custom_of(name)):
        compare_parameters(model, described.make())
        dtype = model.network_.dtype.name
        np.testing.assert_array_equal(model.network_.theta, theta)
        np.testing.assert_array_equal(model.coefs_[0].ravel(), theta[: model.coefs_[0].size])
        assert made.facts(model) == FACTS[name]
        compare(name, made.estimator_outputs(model, X), arrays, dtype)
        assert (later is not None) == described.goes_on
        if described.goes_on:
            model.partial_fit(X, y).partial_fit(X, y)
            compare(name, {"theta_later": model.network_.theta}, {"theta_later": later}, dtype)


@pytest.mark.parametrize("name", made.TABULARS)
def test_old_tabular_files_predict_the_same(name, tmp_path):
    for package in ("scikit-learn", "skrub"):  # the file contains their objects
        if _minor(version(package)) != _minor(VERSIONS[package]):
            pytest.skip(f"the file was written with {package} {VERSIONS[package]}")
    unfitted, _ = made.TABULARS[name]
    arrays, (frame, _) = expected(made.MODELS, name), made.table()
    theta = arrays.pop("theta")
    for model in loaded(name, tmp_path):
        compare_parameters(model, unfitted)
        np.testing.assert_array_equal(model.mlp_.network_.theta, theta)
        assert made.facts(model) == FACTS[name]
        found = made.estimator_outputs(model, frame)
        new = made.estimator_outputs(model, made.new_rows())
        found |= {f"{what}_new": value for what, value in new.items()}
        compare(name, found, arrays, "float32")


def _minor(number):
    return number.split(".")[:2]


def test_old_files_with_custom_functions_require_custom(tmp_path):
    path = _named(made.MODELS / f"custom.dp{made.SUFFIX}", tmp_path)
    with pytest.raises(ValueError, match=r"'sine'.*custom="):
        dp.load(path)


# ---------------------------------------------------------------- checkpoints


def resumed(fixture, folder, run):
    """Resume a training run in a copy of its checkpoint folder; it must write a new checkpoint.

    A warning that results will differ by rounding is printed. It is raised if the checkpoint has
    another name, such as that of another engine, for the same settings.
    """
    made.put(fixture, folder)
    (before,) = folder.iterdir()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = run(folder)
    for warning in caught:
        if "continues from" in str(warning.message):
            print(warning.message)
    (after,) = folder.iterdir()
    assert after.name > before.name
    return found


# Private training continues with the noise of a later version, which uses another generator.
OTHER_NOISE = {"reference_privacy"}


@pytest.mark.parametrize("name", made.SEARCHES)
def test_old_checkpoints_resume_to_the_same_result(name, tmp_path):
    search, arrays = made.SEARCHES[name], expected(made.CHECKPOINTS, name)
    arrays.pop("theta_before", None)
    if isinstance(search.settings["engine"], dp.Xla):
        pytest.importorskip("jax")
    net, history, seen = resumed(made.CHECKPOINTS / name, tmp_path, search.go_on)
    found = made.search_outputs(net, history)
    if name in OTHER_NOISE:
        assert {key: value.shape for key, value in found.items()} == {
            key: value.shape for key, value in arrays.items()
        }
        assert np.isfinite(net.theta).all()
        assert not np.array_equal(found["theta"], arrays["theta"])
    else:
        compare(name, found, arrays, net.dtype.name)
    facts = made.search_facts(search, history, seen)
    if name in OTHER_NOISE:  # the file does not say how many epochs the run may have done
        assert facts["epsilon"] > FACTS[name]["epsilon"]
        facts["epsilon"] = FACTS[name]["epsilon"]
    compare_facts(facts, FACTS[name])


def test_old_checkpoints_of_finished_runs_return_immediately(tmp_path):
    name = "reference_more_epochs"
    search, arrays = made.SEARCHES[name], expected(made.CHECKPOINTS, name)
    made.put(made.CHECKPOINTS / name, tmp_path)
    net, history, seen = search.go_on(tmp_path, max_epochs=search.epochs)
    assert not seen
    assert (history.n_epochs, history.stop_reason) == (search.epochs, "max_epochs")
    np.testing.assert_array_equal(net.theta, arrays["theta_before"])
    np.testing.assert_array_equal(history.loss_curve, arrays["loss_curve"][: search.epochs])


def test_old_estimator_checkpoints_resume_to_the_same_result(tmp_path):
    name = made.CLASSIFIER
    model, seen = resumed(made.CHECKPOINTS / name, tmp_path, made.classifier_goes_on)
    found = {"theta": model.network_.theta, "predict_proba": model.predict_proba(made.data()["X"])}
    compare(name, found, expected(made.CHECKPOINTS, name))
    compare_facts({**made.facts(model), "seen": seen}, FACTS[name])
