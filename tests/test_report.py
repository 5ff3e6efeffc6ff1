"""The report, in a browser and as text, and its displays."""

import errno
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.files import ModelFileError
from deltaprop.inspect import (
    LossCurveDisplay,
    PermutationImportanceDisplay,
    SignalFlowDisplay,
    WeightsDisplay,
    report_data,
)

from .browser import chromium_page

EVIL_COLUMN = "<script>alert('column')</script> costs $1_{ & $2"
EVIL_CLASS = "<img src=http://localhost/x onerror=alert(1)>"
EVIL_VALUE = '"><script src="http://localhost/x"></script>'
SECTIONS = ["Model", "Scores", "Learning curves", "Mistakes", "Calibration", "Importance",
            "Signal flow", "Partial dependence", "Worst rows", "Weights",
            "Verification"]  # fmt: skip
OF_AN_ENSEMBLE = [*SECTIONS[:3], "Members", *SECTIONS[3:]]


def without_calibration(names):
    """Of a model that predicts no probabilities."""
    return [name for name in names if name != "Calibration"]


def sections(page):
    return re.findall(r"<h2>(.*?)</h2>", page.html)


@pytest.fixture(scope="module")
def evil():
    """A table, and a model of it, in which every name and value is markup."""
    rng = np.random.RandomState(0)
    size = rng.normal(size=120)
    word = np.where(rng.uniform(size=120) < 0.5, EVIL_VALUE, "plain")
    X = pd.DataFrame({EVIL_COLUMN: size, "word": word, "gap": np.where(size > 1, np.nan, size)})
    y = pd.Series(np.where(size > 0, EVIL_CLASS, "tame"), name="<b>target</b>")
    return dp.TabularClassifier((6, 4), max_iter=40, random_state=0).fit(X, y), X, y


@pytest.fixture(scope="module")
def evil_page(evil):
    return dp.report(*evil)


@pytest.fixture(scope="module")
def evil_file(evil_page, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "evil.html"
    evil_page.save(path)
    return path


# ---------------------------------------------------------------- in a browser


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_opens_offline_without_errors_at_any_width(width, scheme, evil_file, tmp_path):
    with chromium_page(tmp_path, width=width, color_scheme=scheme) as page:
        page.goto(evil_file.as_uri())
        assert page.complaints == []
        assert page.requests == [evil_file.as_uri()]
        found = page.locator("h2").all_inner_texts()
        assert found[: len(SECTIONS)] == OF_AN_ENSEMBLE[:-1]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(re.match(r"rgb\((\d+)", background)[1])
        assert (red < 60) == (scheme == "dark")
        text = page.locator("text").first.evaluate("text => getComputedStyle(text).fill")
        assert (int(re.match(r"rgb\((\d+)", text)[1]) > 180) == (scheme == "dark")


def test_names_and_values_of_the_data_are_text_and_never_markup(evil_file, tmp_path):
    with chromium_page(tmp_path) as page:
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        page.goto(evil_file.as_uri())
        assert page.locator("script, img").count() == 0
        assert page.locator("h1").inner_text() == "TabularClassifier: <b>target</b>"
        shown = page.locator("#worst-rows").inner_text()
        assert EVIL_COLUMN in shown
        assert EVIL_CLASS in shown
        assert EVIL_VALUE in shown
        assert EVIL_CLASS[:15] in page.locator("#mistakes svg").text_content()
        assert page.complaints == []


# ---------------------------------------------------------------- contents


def of(data, model):
    X, y = data
    return model.fit(X, y), X, y


TWO = make_classification(80, 5, random_state=0)
FOUR = make_classification(120, 6, n_informative=5, n_redundant=0, n_classes=4, random_state=0)
NUMBERS = make_regression(80, 4, noise=5.0, random_state=0)
SMALL = {"hidden_layer_sizes": (6,), "max_iter": 30, "random_state": 0}
CASES = {
    "two classes": (TWO, dp.MLPClassifier(**SMALL), SECTIONS),
    "four classes": (FOUR, dp.MLPClassifier(early_stopping=True, **SMALL), SECTIONS),
    "no probabilities": (
        TWO,
        dp.MLPClassifier(loss="hinge", **SMALL),
        without_calibration(SECTIONS),
    ),
    "sparse rows": ((sparse.csr_array(TWO[0]), TWO[1]), dp.MLPClassifier(**SMALL), SECTIONS),
    "quantiles": (
        NUMBERS,
        dp.MLPRegressor(loss=dp.losses.Quantile([0.1, 0.5, 0.9]), **SMALL),
        without_calibration(SECTIONS),
    ),
    "mean and deviation": (
        NUMBERS,
        dp.MLPRegressor(loss="gaussian_nll", **SMALL),
        without_calibration(SECTIONS),
    ),
    "a pipeline": (
        NUMBERS,
        make_pipeline(StandardScaler(), dp.MLPRegressor(solver="lbfgs", **SMALL)),
        without_calibration(SECTIONS),
    ),
    "a table of numbers": (
        (pd.DataFrame(NUMBERS[0], columns=list("abcd")), pd.Series(NUMBERS[1], name="price")),
        dp.TabularRegressor(4, max_iter=10, random_state=0),
        without_calibration(OF_AN_ENSEMBLE),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_model_has_its_sections(name):
    data, model, expected = CASES[name]
    page = dp.report(*of(data, model))
    assert [s for s in sections(page) if s != "Equations"] == expected
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page.html, flags=re.S)
    assert "<script" not in page.html
    assert "FAILS" not in page.html


def test_scores_and_worst_rows_are_the_model_s():
    model, X, y = of(FOUR, dp.MLPClassifier(**SMALL))
    html = dp.report(model, X, y).html
    assert f"<b>{model.score(X, y):.4g}</b><span>accuracy" in html
    of_truth = model.predict_proba(X)[np.arange(len(y)), y]
    worst = html.split('id="worst-rows"')[1].split("<tbody>")[1]
    rows = re.findall(r"<tr><td[^>]*>(\d+)</td><td[^>]*>(\d)</td><td[^>]*>(\d)</td>", worst)[:10]
    assert [int(n) for n, *_ in rows] == list(np.argsort(of_truth, kind="stable")[:10])
    assert [(int(t), int(p)) for _, t, p in rows] == [
        (y[int(n)], model.predict(X[[int(n)]])[0]) for n, *_ in rows
    ]


def test_the_equations_are_those_of_the_network_s_derivation():
    model, X, y = of(TWO, dp.MLPClassifier(**SMALL))
    page = dp.report(model, X, y)
    assert "Equations" in sections(page)
    assert model.network_.derivation().html in page.html


def test_classes_that_the_model_never_saw_count_as_wrong():
    model, X, y = of(FOUR, dp.MLPClassifier(**SMALL))
    page = dp.report(model, X, np.where(np.arange(len(y)) < 5, 7, y))
    worst = page.html.split('id="worst-rows"')[1]
    assert len(re.findall(r"<td[^>]*>7</td><td[^>]*>\d</td><td[^>]*>1e-15</td>", worst)) == 5


def test_a_notebook_shows_the_page_in_a_frame(evil_page):
    shown = evil_page._repr_html_()
    assert shown.startswith("<iframe")
    assert shown.count("<") == 2
    assert "&lt;title&gt;TabularClassifier: &amp;lt;b&amp;gt;target" in shown


# ---------------------------------------------------------------- errors


@pytest.fixture(scope="module")
def small():
    return of(TWO, dp.MLPClassifier(**SMALL))


def test_bad_arguments_are_named(small):
    model, X, y = small
    with pytest.raises(TypeError, match=r"MLPClassifier.*Pipeline.*got Network"):
        dp.report(model.network_, X, y)
    with pytest.raises(NotFittedError):
        dp.report(dp.MLPClassifier(), X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        dp.report(model, X, y[:-1])
    with pytest.raises(ValueError, match=r"y must have one column.*\(80, 2\)"):
        dp.report(model, X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="no class that the model has seen"):
        dp.report(model, X, y + 5)


def test_a_path_that_cannot_be_written_leaves_nothing(small, tmp_path, monkeypatch):
    with pytest.raises(ModelFileError, match="there is no folder"):
        dp.report(*small, tmp_path / "nowhere" / "r.html")
    with pytest.raises(ModelFileError, match="is a folder"):
        dp.report(*small, tmp_path)
    old = tmp_path / "r.html"
    old.write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelFileError, match="No space left"):
        dp.report(*small, old)
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert old.read_text() == "old"


def test_missing_matplotlib_is_reported(small, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'deltaprop\[report\]'"):
        dp.report(*small)
    with pytest.raises(ImportError, match=r"pip install 'deltaprop\[report\]'"):
        LossCurveDisplay.from_estimator(small[0])
    done = CliRunner().invoke(
        app,
        ["train", "data/penguins.csv", "--target", "sex", "-o", str(tmp_path / "m.dp"),
         "--report", str(tmp_path / "r.html")],
    )  # fmt: skip
    assert "deltaprop[report]" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_displays_does_not_import_matplotlib():
    code = "import deltaprop.inspect, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- the command line


@pytest.mark.slow
def test_training_writes_the_report_beside_the_model(tmp_path):
    command = ["train", "data/penguins.csv", "--target", "species", "--hidden", "4", "--epochs",
               "5", "-o", str(tmp_path / "m.dp"), "--json"]  # fmt: skip
    done = CliRunner().invoke(app, [*command, "--report", str(tmp_path / "out.html")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["report"] == str(tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    assert "<h1>TabularClassifier: species</h1>" in page
    assert "69 rows" in page
    done = CliRunner().invoke(app, [*command, "--report", str(tmp_path / "nowhere" / "out.html")])
    assert "--report: there is no folder" in str(done.exception)
    done = CliRunner().invoke(app, [*command, "--report", str(tmp_path / "m.dp")])
    assert "--report and --output name the same file" in str(done.exception)


# ---------------------------------------------------------------- displays


@pytest.mark.slow  # three reports
def test_the_report_has_the_linear_model_and_says_which_rows_were_trained_on(tmp_path):
    command = [sys.executable, "-m", "deltaprop", "train", "data/penguins.csv", "--target",
               "species", "--preset", "fast", "-q", "-o", str(tmp_path / "m.dp"),
               "--report", str(tmp_path / "r.html")]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    page = (tmp_path / "r.html").read_text()
    assert "linear model</th>" in page
    assert "he linear model" in page.partition("most frequent</th>")[2]  # the verdict
    assert "The model was trained on" not in page
    table = dp.tables.read_table("data/penguins.csv")
    X, y = table.drop(columns="species"), table["species"]
    dp.report(tmp_path / "m.dp", X, y, tmp_path / "all.html")
    assert "The model was trained on" in (tmp_path / "all.html").read_text()


def test_the_loss_curve_display_draws_what_was_recorded():
    model, *_ = of(FOUR, dp.MLPClassifier(early_stopping=True, **SMALL))
    display = LossCurveDisplay.from_estimator(model)
    training, validation, best = display.ax_.lines
    assert list(training.get_ydata()) == model.loss_curve_
    assert list(validation.get_ydata()) == model.validation_loss_curve_
    assert best.get_xdata()[0] == 1 + np.argmax(model.validation_scores_)
    score = LossCurveDisplay.from_estimator(model, kind="score")
    assert list(score.ax_.lines[0].get_ydata()) == model.validation_scores_
    assert score.figure_ is score.ax_.figure
    again = score.plot(display.ax_, kind="score")
    assert again.ax_ is display.ax_


def test_the_loss_curve_display_reports_missing_data(small):
    with pytest.raises(ValueError, match="early_stopping=True or with X_val"):
        LossCurveDisplay.from_estimator(small[0], kind="score")
    with pytest.raises(ValueError, match="'loss' or 'score'"):
        LossCurveDisplay.from_estimator(small[0], kind="both")


def test_the_signal_flow_is_the_root_mean_square_of_the_trace(small):
    model, X, y = small
    trace = model.network_.trace(X, y)
    rms = SignalFlowDisplay.from_estimator(model, X, y).rms
    for name in ("X", "a", "delta", "dW"):
        arrays = getattr(trace, name)
        expected = [np.linalg.norm(array) / np.sqrt(array.size) for array in arrays]
        np.testing.assert_allclose(rms[name], expected, rtol=1e-6)


def test_zero_signals_are_not_drawn():
    net = dp.Network(2, [dp.Dense(3, "relu"), dp.Dense(1)], loss="squared_error")
    net.theta[...] = 0
    net.b[0][...] = -1  # every unit is dead
    display = SignalFlowDisplay.from_trace(net.trace([[1.0, 2.0]], [3.0]))
    display.figure_.canvas.draw()
    delta = display.ax_.lines[2].get_ydata()
    assert np.isnan(delta[0])
    assert delta[1] == 3


def test_weights_and_importances(small):
    model, X, y = small
    display = WeightsDisplay.from_estimator(model, 1)
    np.testing.assert_array_equal(display.im_.get_array(), model.coefs_[1])
    with pytest.raises(ValueError, match="0 to 1, got 2"):
        WeightsDisplay.from_estimator(model, 2)
    X = X.copy()
    X[:, 3] = 0  # a constant column has no importance
    shown = PermutationImportanceDisplay.from_estimator(model, X, y, most=4)
    assert shown.importances[3].max() == 0
    assert len(shown.ax_.patches) == 4


# ---------------------------------------------------------------- what the page says


@pytest.fixture(scope="module")
def penguins():
    """A table with missing cells, a repeated row and a constant column, and a model of it."""
    frame = pd.read_csv("data/penguins.csv").dropna(subset="sex").iloc[::2].reset_index(drop=True)
    frame["planet"] = "Earth"
    frame.loc[0, ["species", "body_mass_g"]] = None
    frame = pd.concat([frame, frame.iloc[[5]]], ignore_index=True)
    y = frame.pop("sex")
    model = dp.TabularClassifier((6, 4), cv=1, max_iter=20, random_state=0).fit(frame, y)
    return model, frame, y


@pytest.fixture(scope="module")
def penguin_page(penguins):
    return dp.report(*penguins)


def section(page, name):
    return re.search(f'<section id="{name}">(.*?)</section>\n', page.html, re.S)[1]


def test_the_calibration_of_two_classes_is_explained_on_both_sides_of_one_half(penguin_page):
    caption = re.search("<figcaption>(.*?)</figcaption>", section(penguin_page, "calibration"))[1]
    assert "Below the line P(male) is too high, above it too low." in caption
    assert "Right of ½, where male is predicted" in caption
    assert "left of ½, where female is predicted, it is overconfident above the line" in caption


def test_the_calibration_of_several_classes_is_that_of_the_predicted_one():
    page = dp.report(*of(FOUR, dp.MLPClassifier(**SMALL)))
    assert "How often the predicted class is right" in section(page, "calibration")


def test_the_data_are_described(penguins, penguin_page):
    model = section(penguin_page, "model")
    found = re.findall('class="fact"><b>(.*?)</b><span>(.*?)</span>', model)
    assert {name: value for value, name in found} == {
        "rows here": f"{len(penguins[1])}", "columns": "8",
        "of the cells missing": f"{2 / penguins[1].size:.1%}", "duplicate rows": "1",
        "columns with one value": "1", "of the rows in the rarest class": found_share(penguins[2]),
    }  # fmt: skip
    heads = re.findall("<th.*?>(.*?)</th>", model)
    assert heads.index("missing here") < heads.index("missing in training")
    row = re.search("<tr><td>body_mass_g</td>.*?</tr>", model)[0]
    assert re.findall("<td.*?>(.*?)</td>", row)[:3] == ["body_mass_g", "numeric", "1"]


def found_share(y):
    return f"{y.value_counts(normalize=True).min():.1%}"


def test_rows_of_arrays_are_described_too():
    X = np.array(TWO[0])
    X[0, 0] = np.nan
    for rows in (X, sparse.csr_array(np.nan_to_num(X))):
        model = dp.MLPClassifier(**SMALL).fit(np.nan_to_num(X), TWO[1])
        case = report_data.Case(model, rows, TWO[1])
        assert sum(case.missing) == (rows is X)
        assert case.constant_columns == 0


def test_symbols_have_subscripts(penguin_page):
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", penguin_page.html, flags=re.S)
    assert "forward X<sub>l</sub> and a<sub>l</sub>" in text
    assert "The weights W<sub>0</sub>:" in text
    assert "(δ<sub>1</sub> W<sub>1</sub>ᵀ)" in text
    assert "<td>a<sub>0</sub> = X<sub>0</sub> W<sub>0</sub> + b<sub>0</sub></td>" in text
    assert not re.search(r"(?<![\w])[XWabδ]_\w", re.sub("<[^>]*>", "", text))
    assert "W₀ (" in section(penguin_page, "weights")


def test_contributions_to_the_worst_predictions_are_drawn(penguins, penguin_page):
    model, X, y = penguins
    html = penguin_page.html.split("How much each column contributed")[1]
    number = r"(\d[\d.e-]*)"
    found = re.findall(
        rf"<figcaption>Row (\d+): P?\(?(\w+)\)?, {number} instead of {number}\.</", html
    )
    assert len(found) >= 2
    P, classes = model.predict_proba(X), model.classes_.tolist()
    worst = np.argsort(P[range(len(y)), [classes.index(label) for label in y]], kind="stable")
    assert int(found[0][0]) == X.index[worst[0]]
    for row, label, predicted, base in found:
        p = P[X.index.get_loc(int(row)), classes.index(label)]
        assert float(predicted) == pytest.approx(p, rel=1e-3)
        assert float(base) != float(predicted)
    assert "bill_length_mm = " in html


def test_rows_of_w_0_have_the_names_of_their_columns(penguins, penguin_page):
    drawn = section(penguin_page, "weights").split("<figcaption>")[0]
    for name in penguins[1].columns:
        assert f">{name}<" in drawn
    W = np.arange(8.0).reshape(4, 2)
    display = WeightsDisplay(W, input_names=["a", "b", "a", "c"]).plot()
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["a", "b", "c"]
    np.testing.assert_array_equal(display.im_.get_array(), W[[0, 2, 1, 3]])
    np.testing.assert_allclose(display.ax_.get_yticks(), [0.5, 2, 3])
    many = WeightsDisplay(np.ones((100, 2)), input_names=[f"x{i}" for i in range(100)]).plot()
    assert 20 <= len(many.ax_.get_yticklabels()) <= 30


def test_the_report_derives_its_equations(penguin_page):
    html = section(penguin_page, "equations")
    assert "<details><summary>How each equation follows" in penguin_page.html
    assert "Chain rule: " in penguin_page.html
    assert html


def test_no_column_is_cut_off_on_a_laptop(penguin_page, tmp_path):
    penguin_page.save(tmp_path / "page.html")
    with chromium_page(tmp_path / "profile", width=1280) as page:
        page.goto((tmp_path / "page.html").as_uri())
        page.locator("details summary").click()
        wide = page.evaluate(
            "[...document.querySelectorAll('.scroll, .equations')]"
            ".filter(box => box.scrollWidth > box.clientWidth)"
            ".map(box => [box.closest('section').id, box.scrollWidth, box.clientWidth])"
        )
        assert wide == []
        assert page.complaints == []
