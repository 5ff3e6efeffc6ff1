"""The MLflow flavour: models are logged, loaded, called and served as MLflow does it."""

import json

import numpy as np
import pandas as pd
import pytest

import deltaprop as dp
from deltaprop.data.predicting import predictions

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def flavor(tmp_path_factory):
    import deltaprop.mlflow

    place = tmp_path_factory.mktemp("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{place}/runs.db")
    mlflow.create_experiment("test", artifact_location=(place / "artifacts").as_uri())
    mlflow.set_experiment("test")
    return deltaprop.mlflow


@pytest.fixture(scope="module")
def penguins():
    return dp.tables.read_table("data/penguins.csv")


@pytest.fixture(scope="module")
def model(penguins):
    X, y = penguins.drop(columns="species"), penguins["species"]
    return dp.TabularClassifier(cv=2, max_iter=5, random_state=0).fit(X, y)


def test_a_logged_model_is_loaded_and_called(flavor, model, penguins):
    with mlflow.start_run():
        info = flavor.log_model(model, name="penguins", registered_model_name="penguins")
    X = penguins.drop(columns="species")
    for address in (info.model_uri, "models:/penguins/1"):
        np.testing.assert_array_equal(flavor.load_model(address).predict(X), model.predict(X))
    function = mlflow.pyfunc.load_model(info.model_uri)
    pd.testing.assert_frame_equal(function.predict(X), predictions(model, X))
    with_probabilities = function.predict(X, params={"proba": True})
    pd.testing.assert_frame_equal(with_probabilities, predictions(model, X, proba=True))
    with pytest.raises(mlflow.MlflowException, match="island"):
        function.predict(X.drop(columns="island"))


def test_other_models_and_examples(flavor, tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 2))
    net = dp.Network(2, [dp.Dense(1)], loss="squared_error", seed=0)
    flavor.save_model(net, tmp_path / "net", input_example=X[:2], metadata={"for": "a test"})
    found = mlflow.pyfunc.load_model(str(tmp_path / "net"))
    np.testing.assert_allclose(found.predict(X), net.predict(X))
    assert found.metadata.metadata == {"for": "a test"}
    with pytest.raises(ValueError, match="empty"):
        flavor.save_model(net, tmp_path / "net")


def test_mlflow_serves_it(flavor, model, penguins, tmp_path):
    from fastapi.testclient import TestClient
    from mlflow.pyfunc.scoring_server import init

    flavor.save_model(model, tmp_path / "m")
    client = TestClient(init(mlflow.pyfunc.load_model(str(tmp_path / "m"))))
    rows = json.loads(penguins.drop(columns="species").head(3).to_json(orient="split"))
    rows.pop("index")
    answer = client.post("/invocations", json={"dataframe_split": rows, "params": {"proba": True}})
    assert answer.status_code == 200, answer.text
    found = pd.DataFrame(answer.json()["predictions"])
    assert list(found.species) == list(model.predict(penguins.head(3)))
    assert "probability_Gentoo" in found
