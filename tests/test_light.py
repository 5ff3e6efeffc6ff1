"""Predictions with NumPy alone: what is loaded, what is imported, and what is predicted."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load as load_safetensors

import deltaprop as dp
from deltaprop.functions import activations
from deltaprop.storage.format import pack, unpack

from .models_of_tables import SIGNAL, fitted, new_rows, quietly, rows_of_numbers

SOURCES = str(Path(dp.__file__).parents[1])
NUMPY = str(Path(np.__file__).parents[1])
ONLY_NUMPY = """
import json, sys
from importlib.machinery import PathFinder

class OnlyNumPy(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {*sys.stdlib_module_names, "numpy", "deltaprop"}:
            return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = OnlyNumPy
"""


def with_numpy_alone(code, given=None):
    """What a program prints as JSON in a process in which only NumPy can be imported."""
    paths = f"import sys; sys.path[:0] = [{SOURCES!r}, {NUMPY!r}]\n"
    program = paths + ONLY_NUMPY + "given = json.load(sys.stdin)\n" + textwrap.dedent(code)
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], input=json.dumps(given), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def saved(model, folder):
    dp.save(model, folder / "model.dp")
    return str(folder / "model.dp")


def as_dict(X):
    """A table as a dict of NumPy arrays."""
    return {name: X[name].to_numpy() for name in X.columns}


# ---------------------------------------------------------------- without other packages


def test_a_network_needs_numpy_alone(tmp_path):
    names = [name for name in activations.NAMES if name != "sigmoid"]
    layers = [dp.Dense(3, name, input_scale=True, trainable_activation=True) for name in names]
    net = dp.Network(2, [*layers, dp.Dense(1)], loss="squared_error", seed=0)
    X = rows_of_numbers(D=2)
    code = """
        import deltaprop as dp
        net = dp.load(given[0])
        json.dump([net.predict(given[1]).tolist(), net.loss(given[1], [0.0] * len(given[1]))],
                  sys.stdout)
    """
    z, loss = with_numpy_alone(code, [saved(net, tmp_path), X.tolist()])
    np.testing.assert_allclose(z, net.predict(X), rtol=1e-12)
    assert loss == pytest.approx(net.loss(X, np.zeros(len(X))))


def test_estimators_need_numpy_alone(tmp_path):
    model = fitted("TabularClassifier", SIGNAL > 3.2)
    X = new_rows().drop(columns="when")
    X["when"] = new_rows()["when"].astype(str)
    rows = json.loads(X.to_json(orient="records"))
    for row, number in zip(rows, X["size (m²)"], strict=True):
        row["size (m²)"] = None if np.isnan(number) else number
    code = """
        import deltaprop as dp
        model = dp.load(given[0], light=True)
        rows = [{**row, "when": None if row["when"] == "NaT" else row["when"]} for row in given[1]]
        json.dump([model.predict(rows).tolist(), model.predict_proba(rows).tolist()], sys.stdout)
    """
    y, P = with_numpy_alone(code, [saved(model, tmp_path), rows])
    np.testing.assert_allclose(P, quietly(model.predict_proba, new_rows()), rtol=1e-5, atol=1e-7)
    assert y == quietly(model.predict, new_rows()).tolist()


def test_the_error_names_the_package_that_is_missing(tmp_path):
    X = rows_of_numbers()
    model = dp.MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0).fit(X, X[:, 0])
    code = """
        import deltaprop as dp
        found = []
        for use in (lambda: dp.load(given), lambda: dp.TabularClassifier):
            try:
                use()
            except ImportError as error:
                found.append(str(error))
        y = dp.load(given, light=True).predict([[1.0, 2.0, 3.0]])
        json.dump([found, y.tolist()], sys.stdout)
    """
    (of_file, of_name), y = with_numpy_alone(code, saved(model, tmp_path))
    assert "A MLPRegressor needs scikit-learn" in of_file.replace("An ", "A ")
    assert "pip install scikit-learn" in of_file
    assert "dp.load(path, light=True)" in of_file
    assert of_name.startswith("deltaprop.TabularClassifier needs ")
    np.testing.assert_allclose(y, model.predict([[1.0, 2.0, 3.0]]))


def test_names_of_the_package_are_listed_without_importing_them():
    code = """
        import deltaprop as dp
        json.dump([dir(dp), "deltaprop.network" in sys.modules, "numpy" in sys.modules], sys.stdout)
    """
    names, network, numpy = with_numpy_alone(code)
    assert set(dp.__all__) <= set(names)
    assert not network
    assert not numpy


# ---------------------------------------------------------------- predictions


def agrees(model, folder, X=None):
    X = new_rows() if X is None else X
    light = dp.load(saved(model, folder), light=True)
    expected = quietly(model.predict, X)
    for rows in (as_dict(X), X, X.to_dict("records")):
        found = light.predict(rows)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())
        else:
            assert found.tolist() == expected.tolist()
    if light.classes_ is not None:
        P = quietly(model.predict_proba, X)
        np.testing.assert_allclose(light.predict_proba(X), P, rtol=1e-4, atol=1e-6)
        assert light.classes_.tolist() == model.classes_.tolist()
    return light


@pytest.mark.parametrize("parameters", [{}, {"cost": [[0, 1, 5], [2, 0, 1], [9, 1, 0]]}], ids=str)
def test_classes(parameters, tmp_path):
    y = np.array(["low", "mid", "high"])[np.digitize(SIGNAL, [2.5, 4.0])]
    light = agrees(fitted("TabularClassifier", y, **parameters), tmp_path)
    assert "size (m²)" in light.feature_names_in_
    assert "empty" not in light.feature_names_in_


def test_several_labels(tmp_path):
    y = np.stack([SIGNAL > 2.5, SIGNAL > 4], axis=1).astype(int)
    agrees(fitted("TabularClassifier", y, decision_threshold=0.3), tmp_path)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "quantile"])
def test_numbers(loss, tmp_path):
    model = fitted("TabularRegressor", pd.Series(SIGNAL - SIGNAL.min(), name="t"), loss=loss)
    light = agrees(model, tmp_path)
    assert light.output_names_ == ["t"]
    assert light.target_name_ == "t"


def test_means_and_standard_deviations(tmp_path):
    y = np.stack([SIGNAL, 9 - 100 * SIGNAL], axis=1)
    model = fitted("TabularRegressor", y, loss="gaussian_nll")
    found = dp.load(saved(model, tmp_path), light=True).predict(new_rows())
    expected = np.hstack(quietly(lambda X: model.predict(X, return_std=True), new_rows()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_mlp_estimators(tmp_path):
    X = rows_of_numbers()
    model = dp.MLPClassifier((4,), max_iter=3, random_state=0).fit(X, np.arange(30) % 3)
    light = dp.load(saved(model, tmp_path), light=True)
    np.testing.assert_allclose(light.predict_proba(X.tolist()), model.predict_proba(X))
    assert light.predict(X).tolist() == model.predict(X).tolist()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = dp.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0).fit(
        frame, X[:, :2]
    )
    light = dp.load(saved(model, tmp_path), light=True)
    np.testing.assert_allclose(light.predict(frame[["c", "a", "b"]]), model.predict(frame))


def test_a_network_is_a_network(tmp_path):
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    assert isinstance(dp.load(saved(net, tmp_path), light=True), dp.Network)


def test_many_rows_are_encoded_part_by_part(tmp_path):
    X = pd.concat([new_rows()] * 500, ignore_index=True)
    agrees(fitted("TabularRegressor", SIGNAL), tmp_path, X)


# ---------------------------------------------------------------- errors


@pytest.fixture
def light(tmp_path):
    return dp.load(saved(fitted("TabularRegressor", SIGNAL), tmp_path), light=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.pop("two"), "lacks column.*: two"),
        (lambda X: X.update(int=["1", "two"] * 20), "'int' must hold numbers.*'two'"),
        (lambda X: X.update(when=["soon"] * 40), "'when' must hold dates"),
        (lambda X: X.update(int=[1, 2]), "as many values in each column"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(change, message, light):
    X = as_dict(new_rows())
    change(X)
    with pytest.raises(ValueError, match=message):
        light.predict(X)


def test_rows_may_come_as_an_array_or_as_a_list_of_dicts(light):
    X = new_rows()
    expected = light.predict(X)
    columns = dict(list(as_dict(X).items())[:8])  # the ninth is one that the model ignores
    dicts = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    np.testing.assert_array_equal(light.predict(dicts), expected)
    cells = np.empty((len(X), len(columns)), object)
    for j, values in enumerate(columns.values()):
        cells[:, j] = values
    np.testing.assert_array_equal(light.predict(cells), expected)
    assert repr(light).startswith("LightModel(8 columns, ")


def test_structured_arrays_and_durations(tmp_path):
    rng = np.random.default_rng(0)
    hours, size = rng.integers(1, 99, 60), rng.normal(size=60)
    frame = pd.DataFrame({"took": pd.to_timedelta(hours, unit="h"), "size": size})
    model = dp.TabularRegressor(3, cv=1, max_iter=5, random_state=0).fit(frame, hours + size)
    dp.save(model, tmp_path / "d.dp")
    light = dp.load(tmp_path / "d.dp", light=True)
    rows = np.empty(60, [("took", "m8[s]"), ("size", float)])
    rows["took"], rows["size"] = frame["took"].to_numpy(), size
    np.testing.assert_allclose(light.predict(rows), model.predict(frame), rtol=1e-5)


def test_an_array_of_the_wrong_width(light):
    with pytest.raises(ValueError, match=r"these 8 columns; got shape \(1, 2\)"):
        light.predict([[1, 2]])
    with pytest.raises(ValueError, match="no probabilities"):
        light.predict_proba(new_rows())


def test_a_file_that_needs_more_is_refused(tmp_path):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = pd.DataFrame({"n": range(60), "remark": [f"a text number {i}" for i in range(60)]})
    model = dp.TabularRegressor((3,), cv=1, max_iter=2, random_state=0).fit(X, np.arange(60.0))
    with pytest.raises(ValueError, match=r"cannot be loaded with light=True: .*'remark'"):
        dp.load(saved(model, tmp_path), light=True)
    pipeline = make_pipeline(StandardScaler(), dp.MLPRegressor(hidden_layer_sizes=(3,), max_iter=2))
    pipeline.fit(X[["n"]].to_numpy(), np.arange(60.0))
    with pytest.raises(ValueError, match="Pipeline needs scikit-learn"):
        dp.load(saved(pipeline, tmp_path), light=True)


# ---------------------------------------------------------------- the container


@given(
    st.dictionaries(
        st.text(max_size=5).filter(lambda name: name != "__metadata__"),
        hnp.arrays(
            st.sampled_from(
                ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
            ),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        ),
        max_size=4,
    )
)
def test_tensors_are_read_as_by_safetensors(tensors):
    _, found = unpack(pack(tensors, {"deltaprop": "{}"}))
    expected = load_safetensors(pack(tensors, {"deltaprop": "{}"}))
    assert found.keys() == expected.keys() == tensors.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [0, 2**70], "data_offsets": [0, 0]},
        {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [True], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [2], "data_offsets": [-8, 8]},
        {"dtype": "O", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
        "F64",
    ],
    ids=str,
)
def test_a_container_whose_sizes_do_not_fit_is_damaged(entry):
    header = json.dumps({"__metadata__": {"deltaprop": "{}"}, "t0": entry}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(8)
    with pytest.raises(dp.files.ModelFileError):
        unpack(data)
