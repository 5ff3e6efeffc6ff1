"""Signatures, docs and validation of estimators follow from the declarations of parameters."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes
from sklearn.externals._numpydoc.docscrape import ClassDoc

import deltaprop as dp
from deltaprop.files import describe
from deltaprop.optim import solvers
from deltaprop.optim.solvers import FirstOrder

SKLEARN = (
    "solver='adam', alpha=0.0001, batch_size='auto', learning_rate='constant', "
    "learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True, random_state=None, "
    "tol=0.0001, verbose=False, warm_start=False, momentum=0.9, nesterovs_momentum=True, "
    "early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-08, "
    "n_iter_no_change=10, max_fun=15000"
)
OWN = (
    "out_activation='auto', dropout=0.0, dropout_schedule='constant', clip_norm=None, "
    "weight_decay=0.01, weight_decay_schedule='constant', input_scale=0.0, periodic=0, "
    "periodic_columns=None, ema_decay=0.0, init='sklearn', "
    "scoring=None, callbacks=None, engine='auto', n_threads=None, reproducible=False, "
    "precision=None, record=None, checkpoint=None, privacy=None, validation_split=None, "
    "freeze=None, monotonic_cst=None, transform_layer=-1"
)
PRESETS = (
    "preset='default', time_limit=None, cv='auto', refit=False, n_bins='auto', numbers='robust'"
)
TABULAR = (
    "solver='adamw', alpha=0.0, weight_decay='auto', weight_decay_schedule='constant', "
    "batch_size='auto', learning_rate='auto', learning_rate_init='auto', input_scale='auto', "
    "periodic=0, dropout='auto', dropout_schedule='constant', ema_decay='auto', max_iter='auto', "
    "n_iter_no_change='auto', validation_fraction=0.15"
)
RUN = (
    "random_state=None, callbacks=None, engine='auto', record=None, checkpoint=None, privacy=None, "
    "monotonic_cst=None, transform_layer=-1"
)
# Those of the MLP estimators were written by hand for version 0.1.
SIGNATURES = {
    dp.MLPClassifier: f"(hidden_layer_sizes=(100,), activation='relu', *, {SKLEARN}, "
    f"loss='log_loss', class_weight=None, {OWN})",
    dp.MLPRegressor: "(loss='squared_error', hidden_layer_sizes=(100,), activation='relu', *, "
    f"{SKLEARN}, {OWN})",
    dp.TabularClassifier: f"(hidden_layer_sizes='auto', activation='silu', *, {PRESETS}, "
    f"loss='log_loss', {TABULAR}, class_weight=None, decision_threshold='auto', cost=None, {RUN})",
    dp.TabularRegressor: f"(hidden_layer_sizes='auto', activation='silu', *, {PRESETS}, "
    f"loss='squared_error', {TABULAR}, {RUN})",
}
X = np.random.default_rng(0).normal(size=(60, 3))
LABELS = np.arange(60) % 3

each_estimator = pytest.mark.parametrize("estimator", SIGNATURES)


@each_estimator
def test_the_signature_is_the_one_written_by_hand(estimator: Any) -> None:
    derived = inspect.signature(estimator)
    bare = [p.replace(annotation=p.empty) for p in derived.parameters.values()]
    signature = derived.replace(parameters=bare, return_annotation=derived.empty)
    assert str(signature) == SIGNATURES[estimator]


@each_estimator
def test_every_parameter_is_documented_validated_and_stored(estimator: Any) -> None:
    parameters = inspect.signature(estimator).parameters
    documented = {p.name: p for p in ClassDoc(estimator)["Parameters"]}
    assert list(documented) == list(parameters)
    for name, entry in documented.items():
        default = parameters[name].default
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        assert entry.type.endswith(f", default={shown}")
        assert " ".join(entry.desc).endswith(".")
    assert set(estimator._parameter_constraints) == set(parameters)
    assert set(vars(estimator())) == set(parameters)


@each_estimator
def test_the_defaults_are_valid(estimator: Any) -> None:
    estimator()._validate_params()


@pytest.mark.parametrize("name", solvers.NAMES)
def test_every_solver_works_by_its_name(name: str) -> None:
    model = dp.MLPClassifier(4, solver=name, max_iter=20, random_state=0).fit(X, LABELS)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert hasattr(model, "partial_fit") == issubclass(solvers.BY_NAME[name], FirstOrder)


def test_a_solver_s_settings_are_the_estimator_s_parameters() -> None:
    model = dp.MLPClassifier(
        learning_rate_init=np.float64(0.1), momentum=0, nesterovs_momentum=False, beta_1=0.5,
        beta_2=0.6, epsilon=0.2, weight_decay=0.3, max_fun=np.int64(7),
    )  # fmt: skip
    expected = {
        "sgd": dp.SGD(0.1, 0.0, False),
        "adam": dp.Adam(0.1, 0.5, 0.6, 0.2),
        "adamw": dp.AdamW(0.1, 0.5, 0.6, 0.2, 0.3),
        "lbfgs": dp.LBFGS(7),
    }
    for name, solver in expected.items():
        found = model.set_params(solver=name)._solver()
        assert found == solver
        for field in dataclasses.fields(solver):  # a NumPy scalar would change the dtype of a step
            assert type(getattr(found, field.name)) is type(field.default)


def test_a_model_file_with_the_flag_of_older_versions_loads(tmp_path: Path) -> None:
    model = dp.MLPClassifier(4, random_state=0).partial_fit(X, LABELS, classes=[0, 1, 2, 3])
    dp.save(model, tmp_path / "new.dp")
    header = describe(tmp_path / "new.dp")
    assert "_given" not in header["model"]["fitted"]
    header["model"]["fitted"]["_given"] = False
    tensors = from_bytes((tmp_path / "new.dp").read_bytes())
    old = to_bytes(tensors, metadata={"deltaprop": json.dumps(header)})
    (tmp_path / "old.dp").write_bytes(old)
    loaded = dp.load(tmp_path / "old.dp")
    assert "_given" not in vars(loaded)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.partial_fit(X, LABELS)
    assert loaded.fit(X, LABELS % 2).classes_.tolist() == [0, 1]


def test_the_classes_of_a_first_partial_fit_are_the_given_ones() -> None:
    model = dp.MLPClassifier(4, random_state=0).partial_fit(X, LABELS, classes=[0, 1, 2, 3])
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert model.fit(X, LABELS).classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X * np.nan, LABELS % 2)
    assert model.classes_.tolist() == [0, 1, 2]
