"""loss="ordinal": classes with an order."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltaprop as dp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
LATENT = X[:, 0] + 0.5 * X[:, 1] + 0.3 * RNG.normal(size=300)
GRADES = np.digitize(LATENT, [-1, 0, 1]) * 10  # 0, 10, 20, 30
FAST = {"max_iter": 60, "random_state": 0, "learning_rate_init": 0.02}
TABLE = pd.DataFrame(X, columns=list("abcd")).assign(e=np.where(X[:, 2] > 0, "x", "y"))


def mlp(**parameters):
    return dp.MLPClassifier(8, loss="ordinal", **(FAST | parameters))


def test_it_is_a_network_that_predicts_whether_y_is_larger():
    model = mlp().fit(X, GRADES)
    assert model.network_.n_outputs == 3
    above = (GRADES[:, None] > model.classes_[:-1]).astype(float)
    net = dp.MLPClassifier(8, **FAST).fit(X, above.astype(int))
    np.testing.assert_allclose(model.coefs_[0], net.coefs_[0])  # the same as several labels
    z = model.network_.predict(X)
    P = model.predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    assert (P >= 0).all()
    sorted_rows = (np.diff(z, axis=1) <= 0).all(axis=1)
    assert sorted_rows.mean() > 0.9
    np.testing.assert_allclose(
        1 - P[sorted_rows].cumsum(axis=1)[:, :-1], z[sorted_rows], atol=1e-12
    )
    assert (model.predict(X) == model.classes_[P.argmax(axis=1)]).all()


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_it_predicts_and_verifies(engine):
    model = mlp(engine=engine, early_stopping=True).fit(X, GRADES)
    assert cohen_kappa_score(GRADES, model.predict(X), weights="quadratic") > 0.85
    assert model.check(X[:10], GRADES[:10]).ok
    assert "3" in str(model.derivation(X[:2], GRADES[:2]))


def test_tables_files_and_training_on(tmp_path):
    model = dp.TabularClassifier((16,), loss="ordinal", cv=3, max_iter=60, random_state=0)
    model.fit(TABLE, GRADES)
    assert model.cv_score_ > 0.6
    assert model.cv_prediction_.shape == (300, 4)
    assert model.predict_set(TABLE, 0.9).shape == (300, 4)
    assert model.predict_set(TABLE, 0.9)[np.arange(300), GRADES // 10].mean() > 0.85
    dp.save(model, tmp_path / "m.dp")
    again = dp.load(tmp_path / "m.dp")
    np.testing.assert_array_equal(again.predict_proba(TABLE), model.predict_proba(TABLE))
    other = again.fine_tuned(TABLE[:50], GRADES[:50], max_iter=2)
    assert other.predict_proba(TABLE).shape == (300, 4)
    found = model.contributions(TABLE.head(5), baseline=TABLE)
    assert found.outputs == ["> 0", "> 10", "> 20"]
    assert found.error < 2e-3
    with model.explore(TABLE.head(3), GRADES[:3], open_browser=False) as page:
        assert page.url


def test_two_classes_are_the_binary_cross_entropy():
    y = (GRADES > 10).astype(int)
    ours, log_loss = mlp().fit(X, y), dp.MLPClassifier(8, **FAST).fit(X, y)
    np.testing.assert_array_equal(ours.predict_proba(X), log_loss.predict_proba(X))


def test_weights_partial_fit_and_streams(tmp_path):
    weighted = mlp(class_weight="balanced").fit(X, GRADES)
    assert weighted.predict_proba(X).shape == (300, 4)
    part = mlp()
    part.partial_fit(X[:50], GRADES[:50], classes=[0, 10, 20, 30]).partial_fit(X, GRADES)
    assert part.predict_proba(X).shape == (300, 4)
    table = pd.DataFrame(X, columns=list("abcd")).assign(y=GRADES)
    table.to_parquet(tmp_path / "rows.parquet")
    stream = dp.tables.stream(tmp_path / "rows.parquet", target="y")
    assert set(mlp().fit(stream).predict(X)) <= {0, 10, 20, 30}


def test_inside_what_scikit_learn_offers():
    pipe = make_pipeline(StandardScaler(), mlp())
    search = GridSearchCV(pipe, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2).fit(X, GRADES)
    assert search.best_score_ > 0.6
    calibrated = CalibratedClassifierCV(mlp(), cv=2).fit(X, GRADES)
    assert calibrated.predict_proba(X).shape == (300, 4)
    assert cross_val_predict(mlp(), X, GRADES, cv=2).shape == (300,)


@pytest.mark.parametrize("classes", [3, 4])
def test_onnx_predicts_the_same(classes, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    y = np.minimum(GRADES, 10 * (classes - 1))
    model = dp.TabularClassifier((8,), loss="ordinal", cv=2, max_iter=9, random_state=0)
    model.fit(TABLE[list("abcd")], y)
    dp.to_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    kinds = {"tensor(float)": "float32", "tensor(double)": "float64"}
    given = {
        each.name: TABLE[[each.name]].to_numpy(kinds[each.type]) for each in session.get_inputs()
    }
    label, P = session.run(["label", "probabilities"], given)
    np.testing.assert_allclose(P, model.predict_proba(TABLE), atol=1e-5)
    assert (label == model.predict(TABLE)).mean() > 0.99


def test_scikit_learn_has_no_such_classifier():
    with pytest.raises(ValueError, match="classes with an order"):
        dp.to_sklearn(mlp().fit(X, GRADES))


def test_classes_without_an_order_are_refused():
    with pytest.raises(ValueError, match="y has strings"):
        mlp().fit(X, np.where(GRADES > 10, "high", "low"))
    with pytest.raises(ValueError, match="several labels per row"):
        mlp().fit(X, (X > 0).astype(int))
