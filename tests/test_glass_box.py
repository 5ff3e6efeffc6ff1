"""What can be seen of an ensemble and of the encoding of its columns."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.inspect.opening import open_model

FAST = {"max_iter": 8, "hidden_layer_sizes": (6,), "random_state": 0, "cv": 3}


def rows(N: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=N)
    return pd.DataFrame({
        "x": np.where(x > 1.5, np.nan, x),
        "word": rng.choice(["red", "green", "blue"], N),
        "code": pd.Categorical(rng.integers(0, 60, N)),
        "day": pd.date_range("2020-01-01", periods=N),
        "empty": [None] * N,
        "one": 1,
    })  # fmt: skip


X = rows()
CLASSES = pd.Series(np.where(X["x"].fillna(2) > 0, "high", "low"), name="level")
NUMBERS = pd.Series(3 * X["x"].fillna(0) + (X["word"] == "red"), name="number")


@pytest.fixture(scope="module")
def classifier() -> dp.TabularClassifier:
    return dp.TabularClassifier(**FAST).fit(X, CLASSES)


@pytest.fixture(scope="module")
def regressor() -> dp.TabularRegressor:
    return dp.TabularRegressor(**FAST).fit(X, NUMBERS)


@pytest.fixture
def file(classifier, tmp_path):
    path = str(tmp_path / "model.dp")
    dp.save(classifier, path)
    X.assign(level=CLASSES).to_csv(tmp_path / "table.csv", index=False)
    return path, str(tmp_path / "table.csv")


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


# ---------------------------------------------------------------- one member


def test_the_model_of_a_member_predicts_as_the_member(classifier, regressor):
    Z = classifier.encode_rows(X)
    for i, member in enumerate(classifier.members_):
        one = classifier.member(i)
        np.testing.assert_array_equal(one.predict_proba(X), member.predict_proba(Z))
        assert one.networks_ == [member.network_]
        assert one.cv_score_ is None
    mean = np.mean([regressor.member(i).predict(X) for i in range(3)], axis=0)
    np.testing.assert_allclose(regressor.predict(X), mean, rtol=1e-5, atol=1e-5)
    assert len(classifier.members_) == 3  # the model itself is as it was


def test_open_model_opens_each_member_and_names_it(classifier):
    assert open_model(classifier).member == "members_[0], one of 3"
    opened = open_model(classifier, X, CLASSES, member=2)
    assert opened.network is classifier.members_[2].network_
    assert opened.member == "members_[2], one of 3"
    pipe = make_pipeline(FunctionTransformer(), classifier)
    assert open_model(pipe, member=1).network is classifier.members_[1].network_
    assert open_model(classifier.member(1)).member is None
    assert open_model(classifier.members_[1], member=0).member is None


@pytest.mark.parametrize("member", [3, -1, 1.0, True])
def test_a_member_that_does_not_exist_is_named(classifier, member):
    with pytest.raises(ValueError, match="from 0 to 2"):
        open_model(classifier, member=member)
    with pytest.raises(ValueError, match="from 0 to 2"):
        classifier.member(member)
    with pytest.raises(ValueError, match="only one network"):
        open_model(classifier.networks_[0], member=1)
    with pytest.raises(NotFittedError):
        dp.TabularClassifier().member(0)


def test_the_page_shows_the_member_that_was_chosen(classifier):
    from deltaprop.inspect.page_subjects import subject_of
    from deltaprop.page.contents import describe, trace

    subject = subject_of(classifier, X, CLASSES, member=1)
    assert subject.network() is classifier.members_[1].network_
    assert describe(subject)["title"].startswith("members_[1], one of 3: ")
    last = describe(subject)["steps"][-1]["key"]
    assert trace(subject, {"step": last, "first": 4}) == trace(
        subject_of(classifier.member(1), X, CLASSES), {"step": last, "first": 4}
    )


def test_check_names_the_member_whose_equation_fails():
    right = dp.Activation("own", lambda a, xp: xp.sin(a), lambda a, z, xp: xp.cos(a))
    wrong = dp.Activation("own", lambda a, xp: xp.sin(a), lambda a, z, xp: -xp.cos(a))
    model = dp.TabularRegressor(activation=right, **FAST).fit(X, NUMBERS)
    assert model.check(X, NUMBERS).ok
    net = model.members_[2].network_
    layers = [dp.Dense(6, wrong), dp.Dense(1)]
    planted = dp.Network(net.n_features, layers, loss="squared_error", seed=0)
    planted.theta[...] = net.theta
    model.members_[2].network_ = planted
    report = model.check(X, NUMBERS)
    assert [row.equation for row in report.wrong] == ["own′ at a_0"]
    assert report.wrong[0].where.startswith("members_[2], layer 0")
    assert model.member(1).check(X, NUMBERS).ok


def test_the_commands_say_which_member_they_show(classifier, file):
    path, table = file
    done = run("check", path, table)
    assert done.exit_code == 0
    assert "Each equation was verified for all 3 members" in done.stdout
    assert re.search(r"members_\[[012]\], layer 0", done.stdout)
    assert json.loads(run("check", path, table, "--json").stdout)["members"] == 3
    done = run("explain", path, table, "--member", 2)
    opened = open_model(classifier, X.head(3), CLASSES.head(3), member=2)
    assert done.stdout == str(opened.network.derivation(*opened.data))
    assert "members_[2], one of 3" in done.stderr
    done = run("explain", path, "--member", 3)
    assert done.exit_code != 0


def test_diagnose_names_the_members_with_a_fault(classifier):
    model = dp.TabularClassifier(**FAST | {"activation": "relu"}).fit(X, CLASSES)
    for i in (0, 2):
        model.networks_[i].b[0][...] = -1000
    found = [f for f in dp.diagnose(model, X, CLASSES) if f.fault == "dead units"]
    assert [f.members for f in found] == [(0, 2)]
    assert "dead units, layer 0, members_[0, 2]" in str(found[0])
    with pytest.raises(ValueError, match="each member of an ensemble has its own"):
        dp.diagnose(model, X, CLASSES, history=model.members_[0].fit_history())


# ---------------------------------------------------------------- the report


def test_the_report_of_an_ensemble_shows_its_members(classifier):
    html = dp.report(classifier, X, CLASSES, member=1).html
    for i in range(3):
        assert f"<td>members_[{i}]</td>" in html
    assert "show the network of members_[1], one of 3." in html
    assert html.count("<p>This is the network of members_[1], one of 3.</p>") == 3
    of_all = html.split('id="learning-curves"')[1].split("<figure>")[1]
    assert "The loss of every member" in of_all
    assert f"<b>{classifier.cv_score_:.4g}</b><span>accuracy in the cross-validation" in html
    sets = classifier.predict_set(X)
    right = sets[np.arange(len(X)), np.searchsorted(classifier.classes_, CLASSES)].mean()
    assert f"<b>{right:.4g}</b><span>coverage of the 90% sets" in html
    assert "<h2>Members</h2>" not in dp.report(classifier.member(0), X, CLASSES).html


def test_the_report_of_a_regressor_has_the_coverage_and_spread(regressor):
    html = dp.report(regressor, X, NUMBERS).html
    low, high = regressor.predict_interval(X).T
    right = ((low <= NUMBERS) & (high >= NUMBERS)).mean()
    assert f"<b>{right:.4g}</b><span>coverage of the 90% intervals" in html
    spread = np.std([regressor.member(i).predict(X) for i in range(3)], axis=0).mean()
    assert f"<b>{spread:,.4g}</b><span>mean standard deviation of the members" in html


def test_leakage_is_suspected_of_a_column_that_is_the_target(classifier, tmp_path):
    assert "Suspected leakage" not in dp.report(classifier, X, CLASSES).html
    with_copy = X.assign(copy=CLASSES.map({"high": "<b>", "low": "c"}))
    model = dp.TabularClassifier(**FAST).fit(with_copy, CLASSES)
    html = dp.report(model, with_copy, CLASSES).html
    assert "Suspected leakage: column &#x27;copy&#x27; alone predicts y" in html
    found = [f for f in dp.diagnose(model, with_copy, CLASSES) if f.fault == "label leakage"]
    assert ["'copy'" in f.evidence for f in found].count(True) == 1
    with_copy.assign(level=CLASSES).to_csv(tmp_path / "t.csv", index=False)
    done = run("train", tmp_path / "t.csv", "--target", "level", "-o", tmp_path / "m.dp",
               "--epochs", 2, "--hidden", 4, "--json")  # fmt: skip
    assert "copy" in json.loads(done.stdout)["suspected_leakage"]


# ---------------------------------------------------------------- columns


def test_describe_says_what_was_done_to_each_column(classifier):
    table = classifier.encoder_.describe()
    assert list(table.index) == list(X.columns)
    assert table["kind"].to_dict() == classifier.encoder_.kinds_
    assert table["missing"].tolist() == X.isna().sum().tolist()
    assert table["encoded"].sum() == classifier.encoder_.transform(X).shape[1]
    assert table["bins"].sum() == len(classifier.encoder_.bins_)
    assert table.loc["x", "missing_become"] == "the median, marked by another column"
    assert table.loc["word", "unknown_become"] == "none of the known values"
    n_rare = int((X["code"].value_counts() == 1).sum())
    assert table.loc["code", "unknown_become"] == f"a rare value (one column for {n_rare})"
    assert "all values are missing" in table.loc["empty", "note"]
    assert table.loc["one", "note"].startswith("constant")
    assert table.loc["day", "note"] == "constant, without effect: year"
    names = [*classifier.encoder_.get_feature_names_out()]
    assert all(name in names for each in table["names"] for name in each)


def test_a_constant_column_has_no_effect(classifier):
    np.testing.assert_array_equal(
        classifier.predict_proba(X), classifier.predict_proba(X.assign(one=7))
    )


def test_each_encoded_column_belongs_to_the_column_that_changes_it(classifier):
    encoder = classifier.encoder_
    before = encoder.transform(X)
    changed = X.assign(x=X["x"] + 1, day=X["day"] + pd.Timedelta(days=400))
    differs = (encoder.transform(changed) != before).any(axis=0)
    places = dict(zip(encoder.columns_, encoder.layout.parts(), strict=True))
    for name, (others, bins) in places.items():
        assert differs[[*others, *bins]].any() == (name in ("x", "day")), name
    everything = sorted(i for others, bins in places.values() for i in (*others, *bins))
    assert everything == list(range(before.shape[1]))


def test_what_was_done_to_the_columns_is_in_the_file(classifier, file):
    path, _ = file
    pd.testing.assert_frame_equal(dp.load(path).encoder_.describe(), classifier.encoder_.describe())
    facts = json.loads(run("info", path, "--json").stdout)
    assert facts["members"] == 3
    assert facts["cv_score"] == classifier.cv_score_
    assert facts["temperature"] == classifier.temperature_
    assert len(facts["networks"]) == 3
    assert facts["encoding"]["x"]["missing"] == int(X["x"].isna().sum())
    text = run("info", path).stdout
    assert "3 × Network(" in text
    line = next(line for line in text.splitlines() if line.startswith("empty "))
    assert "all values are missing" in line


def test_files_of_earlier_versions_do_not_know_what_was_missing(classifier, tmp_path):
    table = dp.TabularClassifier(**FAST).fit(X, CLASSES)
    for column in table.encoder_.columns_.values():
        for name in ("n_missing", "n_rare"):
            column.__dict__.pop(name, None)  # as in such files
    dp.save(table, tmp_path / "old.dp")
    old = dp.load(tmp_path / "old.dp")
    assert old.encoder_.describe()["missing"].isna().all()
    np.testing.assert_array_equal(old.predict_proba(X), table.predict_proba(X))
    done = run("info", tmp_path / "old.dp")
    assert done.exit_code == 0
    assert "the median" in done.stdout


def test_repr_and_notebooks_sum_the_model_up(classifier):
    assert repr(classifier).splitlines()[1] == (
        f"# fitted: 3 networks, score {classifier.cv_score_:.4g} in the cross-validation; "
        "6 columns: 2 numeric, 2 category, 1 date, 1 dropped"
    )
    assert "\n" not in repr(dp.TabularClassifier())
    html = classifier._repr_html_()
    assert "<td>empty</td><td>dropped</td>" in html
    evil = X.rename(columns={"x": "<script>"})
    assert (
        "<script>"
        not in dp.TabularClassifier(**FAST)
        .fit(evil, CLASSES)
        ._repr_html_()
        .split("deltaprop-columns")[1]
    )
