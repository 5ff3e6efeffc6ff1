"""The converters of skl2onnx: pipelines with our estimators predict the same in onnxruntime."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import deltaprop as dp
from deltaprop.errors import InputError
from deltaprop.export import sklearn_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx")

rng = np.random.default_rng(0)
X = rng.normal(5, 3, size=(150, 4)).astype(np.float32)
CODES = (X[:, 0] > 5).astype(int) + (X[:, 1] > 7)


def run(model, feeds, **options):
    sklearn_onnx.register()
    first = feeds[:1] if isinstance(feeds, np.ndarray) else feeds.iloc[:1]
    found = skl2onnx.to_onnx(model, first, **options)
    onnx.checker.check_model(found, full_check=True)
    session = onnxruntime.InferenceSession(
        found.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    if isinstance(feeds, np.ndarray):
        feeds = {"X": feeds}
    else:
        feeds = {name: feeds[[name]].to_numpy() for name in feeds}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


@pytest.mark.parametrize(
    "labels", [["a", "b", "c"], [3, 5, 9], [False, True], ["no", "yes"], [1.0, 2.0, 4.0]], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classifier_in_a_pipeline(labels, dtype):
    y = np.array(labels)[CODES % len(labels)]
    model = make_pipeline(StandardScaler(), dp.MLPClassifier(6, max_iter=20, random_state=0))
    model.fit(X, y)
    found = run(model, X.astype(dtype), options={"zipmap": False})
    assert found["label"].tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), atol=1e-5)


def test_zipmap():
    y = np.array(["a", "b", "c"])[CODES]
    model = make_pipeline(StandardScaler(), dp.MLPClassifier(6, max_iter=20, random_state=0))
    P = model.fit(X, y).predict_proba(X)
    found = run(model, X)
    assert found["output_label"].tolist() == model.predict(X).tolist()
    for row, p in zip(found["output_probability"], P, strict=True):
        assert row == pytest.approx(dict(zip("abc", p, strict=True)), abs=1e-5)
    columns = run(model, X, options={"zipmap": "columns"})
    assert [name for name in columns if name != "output_label"] == ["sa", "sb", "sc"]
    np.testing.assert_allclose(columns["sb"].ravel(), P[:, 1], atol=1e-5)


def test_indices_instead_of_labels():
    y = np.array(["a", "b", "c"])[CODES]
    model = dp.MLPClassifier(6, max_iter=20, random_state=0).fit(X, y)
    found = run(model, X, options={id(model): {"nocl": True, "zipmap": False}})
    assert found["label"].tolist() == np.searchsorted(["a", "b", "c"], model.predict(X)).tolist()


def test_several_labels():
    Y = (X[:, :3] > 5).astype(int)
    model = make_pipeline(StandardScaler(), dp.MLPClassifier(6, max_iter=20, random_state=0))
    model.fit(X, Y)
    found = run(model, X, options={"zipmap": False})
    assert found["label"].tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("loss", ["squared_error", "gaussian_nll", "poisson"])
def test_regressor_in_a_pipeline(loss):
    y = X[:, 0] ** 2 if loss == "poisson" else X[:, :2]
    model = make_pipeline(
        StandardScaler(), dp.MLPRegressor(hidden_layer_sizes=6, loss=loss, random_state=0)
    )
    model.set_params(mlpregressor__max_iter=20).fit(X, y)
    predicted = model.predict(X)
    found = run(model, X)["variable"]
    np.testing.assert_allclose(found.reshape(predicted.shape), predicted, rtol=1e-5, atol=1e-5)


def test_a_table_with_categories():
    table = pd.DataFrame({"size": X[:, :1].ravel(), "colour": np.array(["red", "blue"])[CODES % 2]})
    encoder = make_column_transformer((StandardScaler(), ["size"]), (OneHotEncoder(), ["colour"]))
    mlp = dp.MLPClassifier(6, activation="gelu", max_iter=20, random_state=0)
    model = make_pipeline(encoder, mlp).fit(table, CODES)
    found = run(model, table, options={"zipmap": False})
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(table), atol=1e-5)


def test_inside_other_estimators():
    mlp = dp.MLPClassifier(6, max_iter=20, random_state=0)
    vote = VotingClassifier([("mlp", mlp), ("linear", LogisticRegression())], voting="soft")
    vote.set_params(flatten_transform=False)
    vote.fit(X, CODES)
    found = run(vote, X, options={"zipmap": False})
    np.testing.assert_allclose(found["probabilities"], vote.predict_proba(X), atol=1e-5)
    many = MultiOutputRegressor(
        dp.MLPRegressor(hidden_layer_sizes=6, max_iter=20, random_state=0)
    ).fit(X, X[:, :2])
    np.testing.assert_allclose(run(many, X)["variable"], many.predict(X), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_converted():
    hinge = dp.MLPClassifier(2, loss="hinge", max_iter=2, random_state=0).fit(X, CODES)
    with pytest.raises(InputError, match="hinge"):
        run(hinge, X)
    model = dp.MLPRegressor(hidden_layer_sizes=2, max_iter=2, random_state=0).fit(X, X[:, 0])
    with pytest.raises(InputError, match="target_opset >= 13, got 12"):
        run(model, X, target_opset=12)
