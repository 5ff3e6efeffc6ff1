"""What ``train`` and ``evaluate`` say about a model: metrics, intervals, verdict, training rows."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as theirs
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli import is_bad_input
from deltaprop.cli.app import app
from deltaprop.estimators.tabular.fingerprint import MOST_HASHES, Fingerprint
from deltaprop.inspect.comparison import compare, with_margin
from deltaprop.inspect.metrics import Predicted, metrics_of_classes, metrics_of_numbers


def run(*arguments):
    """Standard output of a command that succeeds."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def error(*arguments):
    """The message of a command that refuses its arguments."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(done.exception, SystemExit):
        assert done.exit_code == 2, done.output
        return " ".join(done.output.replace("│", " ").split())
    assert is_bad_input(done.exception), done.exception
    return str(done.exception)


def ring(n, seed):
    """A table with targets that a linear model cannot learn: products of columns."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    return table.assign(
        inside=np.where(table.a * table.b > 0, "yes", "no"),
        line=(table.a + table.b + rng.normal(scale=0.7, size=n) > 0).astype(int),
        noise=rng.integers(0, 2, n),
        size=table.a * table.b,
        person=rng.integers(0, 40, n),
        day=pd.date_range("2020-01-01", periods=n).astype(str)[::-1],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    ring(400, 0).to_csv(folder / "ring.csv", index=False)
    ring(150, 1).to_csv(folder / "new.csv", index=False)
    return folder


OTHERS = ["inside", "line", "noise", "size", "person", "day"]


def trained(folder, target, *options):
    """The JSON of a training run that learns only from a and b."""
    drop = [part for other in OTHERS if other != target for part in ("--drop", other)]
    return json.loads(
        run("train", folder / "ring.csv", "--target", target, "-o", folder / f"{target}.dp",
            "--json", *drop, *options)
    )  # fmt: skip


@pytest.fixture(scope="module")
def inside(folder):
    return trained(folder, "inside", "--preset", "fast", "--test-size", 0.3)


# ---------------------------------------------------------------- metrics


def test_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, P = rng.integers(0, 2, 60), rng.dirichlet(np.ones(2), 60)
    found = {
        m.name: m.value(truth, Predicted.of_probabilities(P)) for m in metrics_of_classes(True)
    }
    label = P.argmax(axis=1)
    assert found == pytest.approx(
        {
            "accuracy": theirs.accuracy_score(truth, label),
            "balanced_accuracy": theirs.balanced_accuracy_score(truth, label),
            "roc_auc": theirs.roc_auc_score(truth, P[:, 1]),
            "pr_auc": theirs.average_precision_score(truth, P[:, 1]),
            "log_loss": theirs.log_loss(truth, P),
            "brier": theirs.brier_score_loss(truth, P[:, 1]),
        }
    )
    y, yhat = rng.normal(size=60), rng.normal(size=(60, 3))
    found = {
        m.name: m.value(y, Predicted.of_numbers(yhat)) for m in metrics_of_numbers((0.1, 0.5, 0.9))
    }
    pinball = [
        theirs.mean_pinball_loss(y, yhat[:, i], alpha=q) for i, q in enumerate((0.1, 0.5, 0.9))
    ]
    assert found["pinball"] == pytest.approx(np.mean(pinball))
    assert found["mae"] == pytest.approx(theirs.mean_absolute_error(y, yhat[:, 1]))
    assert found["rmse"] == pytest.approx(theirs.root_mean_squared_error(y, yhat[:, 1]))
    assert found["r2"] == pytest.approx(theirs.r2_score(y, yhat[:, 1]))


def test_of_several_classes_the_curves_are_the_mean_over_those_that_occur():
    rng = np.random.default_rng(0)
    truth, P = rng.integers(0, 3, 80), rng.dirichlet(np.ones(3), 80)
    found = {
        m.name: m.value(truth, Predicted.of_probabilities(P)) for m in metrics_of_classes(True)
    }
    assert found["roc_auc"] == pytest.approx(theirs.roc_auc_score(truth, P, multi_class="ovr"))
    truth[truth == 1] = -1  # rows of a class that the model does not know
    found = {
        m.name: m.value(truth, Predicted.of_probabilities(P)) for m in metrics_of_classes(True)
    }
    known = truth >= 0
    assert found["log_loss"] == pytest.approx(
        theirs.log_loss(truth[known], P[known], labels=[0, 1, 2])
    )
    assert found["accuracy"] == pytest.approx((truth == P.argmax(axis=1)).mean())


def test_the_interval_of_the_bootstrap_is_that_of_the_binomial_distribution():
    rng = np.random.default_rng(0)
    for n in (500, 5000):
        truth = (rng.random(n) < 0.8).astype(int)
        always = Predicted(np.ones(n, int))
        found = compare(
            truth, {"deltaprop": always, "linear model": always}, metrics_of_classes(False)
        )
        p = truth.mean()
        margin = found.margins["deltaprop"]["accuracy"]
        assert margin == pytest.approx(1.96 * np.sqrt(p * (1 - p) / n), rel=0.35)
        assert found.difference_margins["linear model"] == 0  # the same predictions


@pytest.mark.parametrize(("quality", "begins"), [
    ((0.5, 2.0), "Better than the linear model by 0."),
    ((2.0, 0.5), "Worse than the linear model by 0."),
    ((1.0, 1.001), "No better than the linear model (R² 0."),
    ((40.0, 1.0), "No better than always predicting the mean (R² -"),
])  # fmt: skip
def test_the_verdict(quality, begins):
    rng = np.random.default_rng(0)
    y = rng.normal(scale=3, size=300)
    ours, linear = (Predicted(y + s * rng.normal(size=300)) for s in quality)
    if quality[0] == 1.0:
        linear = Predicted(ours.values + 0.001)
    models = {"deltaprop": ours, "linear model": linear, "mean": Predicted(np.full(300, y.mean()))}
    assert compare(y, models, metrics_of_numbers()).verdict.startswith(begins)


def test_a_margin_sets_the_number_of_digits():
    assert with_margin(0.98765, 0.0123) == "0.99 ± 0.01"
    assert with_margin(1 / 3, 1e-16) == "0.3333"
    assert with_margin(2.5, float("nan")) == "2.5"


# ---------------------------------------------------------------- train and evaluate


def test_a_model_that_is_worth_it_is_told_from_one_that_is_not(folder, inside):
    assert inside["verdict"].startswith("Better than the linear model by ")
    assert inside["verdict"].endswith(" ROC-AUC.")
    gain = inside["differences"]["linear model"]
    assert gain["gain"] > gain["margin"] > 0
    assert set(inside["scores"]) == {"deltaprop", "linear model", "most frequent"}
    line = trained(folder, "line", "--preset", "fast", "--test-size", 0.3)
    assert line["verdict"].startswith(("No better than the linear model", "Worse than"))
    noise = trained(folder, "noise", "--preset", "fast", "--test-size", 0.3)
    assert noise["verdict"].startswith("No better than always predicting the most frequent class")


def test_evaluate_names_the_table_and_compares_with_the_linear_model_of_the_training(
    folder, inside
):
    printed = run("evaluate", folder / "inside.dp", folder / "new.csv")
    assert "new.csv: 150 rows with a target." in printed.replace("\n", "")
    found = json.loads(run("evaluate", folder / "inside.dp", folder / "new.csv", "--json"))
    assert found["rows"] == 150
    assert found["table"].endswith("new.csv")
    assert found["trained_on"] == 0
    assert found["verdict"].startswith("Better than the linear model by ")
    model, new = dp.load(folder / "inside.dp"), pd.read_csv(folder / "new.csv")
    P = model.predict_proba(new)
    assert found["scores"]["deltaprop"]["log_loss"] == pytest.approx(theirs.log_loss(new.inside, P))
    assert found["scores"]["deltaprop"]["brier"] == pytest.approx(
        theirs.brier_score_loss(new.inside == "yes", P[:, 1])
    )
    assert found["scores"]["linear model"]["roc_auc"] == pytest.approx(
        inside["scores"]["linear model"]["roc_auc"], abs=0.15
    )


def test_evaluate_says_that_these_are_rows_of_the_training(folder):
    result = trained(folder, "size", "--epochs", 20)
    assert result["test_rows"] == 0
    printed = " ".join(run("evaluate", folder / "size.dp", folder / "ring.csv").split())
    cv_score = dp.load(folder / "size.dp").cv_score_
    assert "The model was trained on these rows, so the scores say little" in printed
    assert f"In the cross-validation, the R² was {cv_score:.4g}." in printed
    assert "linear model by" not in printed
    rows = pd.concat([pd.read_csv(folder / "ring.csv").head(50), pd.read_csv(folder / "new.csv")])
    rows.to_csv(folder / "both.csv", index=False)
    found = json.loads(run("evaluate", folder / "size.dp", folder / "both.csv", "--json"))
    assert found["trained_on"] == pytest.approx(0.25)
    printed = " ".join(run("evaluate", folder / "size.dp", folder / "both.csv").split())
    assert "trained on rows that equal 25% of these rows" in printed


def test_rows_that_were_held_out_are_no_rows_of_the_training(folder, inside):
    found = json.loads(run("evaluate", folder / "inside.dp", folder / "ring.csv", "--json"))
    assert found["trained_on"] == pytest.approx(0.7)


def test_private_training_keeps_neither_a_fingerprint_nor_a_linear_model(folder):
    trained(folder, "inside", "--noise", 2, "--epochs", 2, "-o", folder / "private.dp")
    model = dp.load(folder / "private.dp")
    assert model.fingerprint_ is None
    assert model.baseline_ is None
    found = json.loads(run("evaluate", folder / "private.dp", folder / "new.csv", "--json"))
    assert found["trained_on"] is None
    assert set(found["scores"]) == {"deltaprop"}


def test_the_metric_of_the_verdict_can_be_chosen(folder, inside):
    found = json.loads(
        run("evaluate", folder / "inside.dp", folder / "new.csv", "--metric", "brier", "--json")
    )
    assert found["metric"] == "brier"
    assert found["verdict"].endswith(" Brier score.")
    message = error("evaluate", folder / "inside.dp", folder / "new.csv", "--metric", "rmse")
    assert "unknown metric of a classification 'rmse'" in message
    message = error("train", folder / "ring.csv", "--target", "size", "--metric", "roc_au")
    assert "unknown metric 'roc_au'; did you mean 'roc_auc'?" in message


def test_classes_can_be_weighted(folder):
    trained(folder, "inside", "--preset", "fast", "--epochs", 2, "--class-weight", "yes=5, no=0.5")
    assert dp.load(folder / "inside.dp").class_weight == {"yes": 5.0, "no": 0.5}
    trained(folder, "line", "--preset", "fast", "--epochs", 2, "--class-weight", "1=2")
    assert dp.load(folder / "line.dp").class_weight == {1: 2.0}
    for weights, message in {
        "ye=2": "Did you mean 'yes'? The names are no, yes.",
        "yes=x": "'x' is not a number",
        "2": "--class-weight must be numbers such as no=2",
    }.items():
        assert message in error(
            "train", folder / "ring.csv", "--target", "inside", "--class-weight", weights
        )
    assert "--class-weight is for classes" in error(
        "train", folder / "ring.csv", "--target", "size", "--class-weight", "balanced"
    )


def test_the_cost_of_wrong_decisions_moves_the_threshold(folder):
    options = ("--preset", "fast", "--epochs", 2, "--cost", "false_positive=1,false_negative=9")
    trained(folder, "inside", *options, "-o", folder / "cost.dp")
    model, new = dp.load(folder / "cost.dp"), pd.read_csv(folder / "new.csv")
    assert model.threshold_ == pytest.approx(0.1)
    found = json.loads(run("evaluate", folder / "cost.dp", folder / "new.csv", "--json"))
    predicted, known = model.predict(new) == "yes", new["inside"] == "yes"
    cost = np.mean(1.0 * (predicted & ~known) + 9.0 * (~predicted & known))
    assert found["scores"]["deltaprop"]["cost"] == pytest.approx(cost)
    assert set(found["scores"]["most frequent"]) == set(found["scores"]["deltaprop"])
    assert "cost per row" in found["verdict"]
    trained(folder, "inside", *options[:4], "--threshold", 0.7, "-o", folder / "cost.dp")
    model, new = dp.load(folder / "cost.dp"), pd.read_csv(folder / "new.csv")
    assert model.threshold_ == 0.7
    found = json.loads(run("evaluate", folder / "cost.dp", folder / "new.csv", "--json"))
    assert found["scores"]["deltaprop"]["accuracy"] == pytest.approx(model.score(new, new.inside))
    for cost, message in {
        "false_negativ=2": "Did you mean 'false_negative'?",
        "false_negative": "--cost must be numbers such as false_positive=2",
    }.items():
        assert message in error("train", folder / "ring.csv", "--target", "inside", "--cost", cost)
    assert "--threshold is for classes" in error(
        "train", folder / "ring.csv", "--target", "size", "--threshold", "0.2"
    )


def test_groups_are_held_out_together(folder, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        dp.TabularRegressor, "fit",
        lambda self, X, y, w, groups: seen.update(X=X, groups=groups) or 1 / 0,
    )  # fmt: skip
    for options in ((), ("--test-size", "0.25")):
        done = CliRunner().invoke(
            app,
            ["train", str(folder / "ring.csv"), "--target", "size", "--groups", "person", *options],
        )
        assert isinstance(done.exception, ZeroDivisionError)
        assert "person" not in seen["X"]
        n = 400 if not options else pytest.approx(300, abs=30)
        assert len(seen["groups"]) == n
    rows = pd.read_csv(folder / "ring.csv")
    held = rows.drop(index=rows.index[rows.a.isin(seen["X"].a)])
    assert len(held)
    assert not set(held.person.astype(str)) & set(seen["groups"])


def test_the_latest_rows_are_held_out(folder):
    result = json.loads(
        run("train", folder / "ring.csv", "--target", "size", "--time-column", "day", "--json",
            "--preset", "fast", "--epochs", 3, "--drop", "day", "-o", folder / "time.dp")
    )  # fmt: skip
    assert result["test_rows"] == 80
    model, rows = dp.load(folder / "time.dp"), pd.read_csv(folder / "ring.csv")
    assert "day" not in model.feature_names_in_
    latest = rows.sort_values("day").tail(80)
    assert model.fingerprint_.seen(latest[model.feature_names_in_], latest["size"]) == 0
    earlier = rows.sort_values("day").head(320)
    assert model.fingerprint_.seen(earlier[model.feature_names_in_], earlier["size"]) == 1
    assert result["scores"]["deltaprop"]["r2"] == pytest.approx(model.score(latest, latest["size"]))
    message = error("train", folder / "ring.csv", "--target", "size", "--time-column", "inside")
    assert "400 row(s) have none, such as " in message


# ---------------------------------------------------------------- the fingerprint


def test_a_fingerprint_is_small_and_estimates_the_share_of_known_rows():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=50_000), "b": rng.choice(["x", "y", None], 50_000)})
    y = rng.integers(0, 2, 50_000)
    fingerprint = Fingerprint.of(X[:40_000], y[:40_000])
    assert len(fingerprint.hashes) == MOST_HASHES
    assert fingerprint.seen(X, y) == pytest.approx(0.8, abs=0.03)
    assert fingerprint.seen(X[:40_000], y[:40_000]) == 1
    assert fingerprint.seen(X[40_000:], y[40_000:]) < 0.01
    assert fingerprint.seen(X[:40_000], 1 - y[:40_000]) < 0.01


def test_a_fingerprint_does_not_depend_on_how_values_are_stored():
    X = pd.DataFrame({"n": [1, 2, 3], "t": ["a", "b", None], "z": [0.0, 1.5, np.nan]})
    y = pd.Series(["no", "yes", "no"])
    fingerprint = Fingerprint.of(X, y)
    other = X.astype({"n": "Int64", "t": "category", "z": "Float64"}).assign(z=[-0.0, 1.5, np.nan])
    assert fingerprint.seen(other, y.astype("category")) == 1
    assert fingerprint.seen(other[["t", "n", "z"]], y) == 0
    assert fingerprint.seen(X.assign(n=[1, 2, 4]), y) == pytest.approx(2 / 3)


def test_the_fingerprint_of_a_stream_knows_its_rows():
    rows = dp.tables.stream("data/penguins.csv", target="species")
    model = dp.TabularClassifier(random_state=0, max_iter=2).fit(rows)
    table = dp.tables.read_table("data/penguins.csv")
    assert model.fingerprint_.seen(table[model.feature_names_in_], table.species) == 1
