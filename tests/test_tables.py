"""Tables: file formats, recognition of the task, and encoding of columns."""

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skrub
from sklearn.impute import SimpleImputer

import deltaprop as dp
from deltaprop.tables import TableEncoder, TableError, read_table, recognise_task, split_target

PENGUINS = "data/penguins.csv"


@pytest.fixture
def penguins():
    return read_table(PENGUINS)


@pytest.fixture
def mixed(penguins):
    """Every kind of column."""
    n = len(penguins)
    return penguins.assign(
        when=pd.to_datetime(penguins.year.astype(str) + "-03-01").astype(str),
        stamp=pd.date_range("2020-01-01", periods=n, freq="h", tz="UTC"),
        note=[f"bird number {i} of the colony" for i in range(n)],
        flag=penguins.year > 2007,
        kind=pd.Categorical(penguins.island),
        code=pd.Categorical(penguins.year),
        empty=np.nan,
    )


@pytest.mark.parametrize(
    "name", ["t.csv", "t.csv.gz", "t.csv.bz2", "t.csv.xz", "t.tsv", "t.parquet", "t.feather"]
)
def test_each_kind_of_file_gives_the_same_rows(name, tmp_path, penguins):
    path = tmp_path / name
    if name.endswith(".parquet"):
        penguins.to_parquet(path)
    elif name.endswith(".feather"):
        penguins.to_feather(path)
    else:
        penguins.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    pd.testing.assert_frame_equal(read_table(path), penguins, check_dtype=False)


def test_semicolons_are_recognised(tmp_path, penguins):
    penguins.to_csv(tmp_path / "t.csv", index=False, sep=";")
    assert list(read_table(tmp_path / "t.csv").columns) == list(penguins.columns)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "no file"),
        ("t.xyz", bytes(range(256)), "Known endings are .csv"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"a,a\n1,2\n", "more than one column named 'a'"),
        ("t.parquet", b"not parquet", "is not a Parquet file"),
        ("t.csv.gz", b"\x1f\x8b not gzip", "cannot be read or decompressed"),
    ],
)
def test_unreadable_tables_raise_clear_errors(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 5, "classification"),
        ([True, False] * 5, "classification"),
        ([0, 1, 2] * 5, "classification"),
        (list(range(100)), "regression"),
        ([0.5, 1.5] * 5, "regression"),
        ([1.0, 2.0, None] * 5, "classification"),
    ],
)
def test_the_task_is_recognised(values, task):
    assert recognise_task(pd.Series(values, name="t").dropna()) == task


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1] * 10, "same value in every row"),
        (pd.date_range("2020", periods=10), "dates"),
        ([f"id{i}" for i in range(100)], "identifier"),
        ([1.5, np.inf] * 5, "infinite"),
    ],
)
def test_unsuitable_targets_raise_clear_errors(values, message):
    with pytest.raises(TableError, match=message):
        recognise_task(pd.Series(values, name="t"))


def test_a_misspelt_target_gets_a_suggestion(penguins):
    with pytest.raises(TableError, match="Did you mean 'species'"):
        split_target(penguins, "speces")


def encoded_by_skrub(X):
    """The same encoding by skrub and scikit-learn: another implementation, row by row."""
    vectorizer = skrub.TableVectorizer(high_cardinality=skrub.StringEncoder(random_state=0))
    numbers = vectorizer.fit_transform(X).to_numpy(dtype=float)
    numbers[~np.isfinite(numbers)] = np.nan
    imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    scaled = skrub.SquashingScaler().fit_transform(imputer.fit_transform(numbers))
    return np.nan_to_num(scaled), vectorizer.all_outputs_


def test_encoding_matches_skrub(mixed):
    n = len(mixed)
    X = mixed.drop(columns="species").assign(
        waited=pd.to_timedelta(np.arange(n) % 50, "h"),
        price=[f"{i / 7:.2f}" if i % 5 else "N/A" for i in range(n)],
        day=pd.date_range("2020-01-01", periods=n).strftime("%d/%m/%Y"),
        due=pd.date_range("2020-01-01", periods=n).where(np.arange(n) % 9 > 0),
        blank="  ",
        tally=pd.array([None if i % 9 == 0 else i for i in range(n)], dtype="Int64"),
        choice=pd.array([None, True, False, True] * (n // 4), dtype="boolean"),
        many=pd.Categorical(np.arange(n) % 39),
        either=[i if i % 2 else f"x{i}" for i in range(n)],
        outliers=np.where(np.arange(n) % 50, np.arange(n) % 7, 1e9),
        mostly_one=(np.arange(n) % 20 == 0).astype(float),
        constant=3,
    )
    encoder = TableEncoder().fit(X)
    theirs, names = encoded_by_skrub(X)
    assert encoder.feature_names_out_ == names
    # Singular vectors of almost equal singular values amplify rounding errors.
    is_text = np.array([name.startswith(("note_", "either_")) for name in names])
    is_text = np.append(is_text, np.zeros(theirs.shape[1] - len(names), bool))
    ours = encoder.transform(X)
    np.testing.assert_allclose(ours[:, ~is_text], theirs[:, ~is_text], rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(ours[:, is_text], theirs[:, is_text], atol=0.05)
    assert encoder.kinds_ | {"island": "category"} == encoder.kinds_
    assert {encoder.kinds_[c] for c in ("when", "stamp", "day", "due")} == {"date"}
    assert {encoder.kinds_[c] for c in ("note", "either")} == {"text"}
    assert encoder.kinds_["empty"] == "dropped"


def test_new_rows_with_other_columns_and_values(mixed):
    X = mixed.drop(columns="species")
    encoder = TableEncoder().fit(X)
    before = encoder.transform(X)
    shuffled = X[X.columns[::-1]].assign(extra="ignored")
    np.testing.assert_array_equal(encoder.transform(shuffled), before)
    odd = X.assign(island="Atlantis", body_mass_g=None, when="no date", sex=3, note=None)
    assert np.isfinite(encoder.transform(odd)).all()
    with pytest.raises(TableError, match=r"lacks column\(s\) that the model needs: sex, year"):
        encoder.transform(X.drop(columns=["sex", "year"]))


def test_a_column_of_durations_cannot_become_one_of_dates():
    hours = pd.DataFrame({"wait": pd.to_timedelta(range(40), unit="h")})
    encoder = TableEncoder().fit(hours)
    with pytest.raises(TableError, match="Column 'wait' must hold durations"):
        encoder.transform(hours + pd.Timestamp("2020-01-01"))


def test_infinite_numbers_are_the_ends_of_the_scale(penguins):
    X = penguins.drop(columns="species")
    encoder = TableEncoder().fit(X)
    column = encoder.feature_names_out_.index("body_mass_g")
    for number, encoded in ((np.inf, 3), (-np.inf, -3), (np.nan, 0)):
        rows = X[:1].assign(body_mass_g=number)
        assert encoder.transform(rows)[0, column] == encoded


def test_polars_and_arrow_tables_encode_as_pandas_ones(penguins):
    X = penguins.drop(columns="species")
    encoder = TableEncoder().fit(X)
    expected = encoder.transform(X)
    np.testing.assert_array_equal(encoder.transform(pl.from_pandas(X)), expected)
    np.testing.assert_array_equal(encoder.transform(pl.from_pandas(X).to_arrow()), expected)


def test_tabular_classifier_beats_chance_and_keeps_labels(penguins):
    X, y = penguins.drop(columns="species"), penguins["species"]
    model = dp.TabularClassifier(random_state=0).fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.95
    assert set(model.predict(X)) == set(y)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("loss", ["squared_error", "huber", "gamma", "gaussian_nll"])
def test_tabular_regressor_predicts_on_the_scale_of_the_target(loss, penguins):
    rows = penguins.dropna(subset=["body_mass_g"])
    X, y = rows.drop(columns="body_mass_g"), rows["body_mass_g"]
    model = dp.TabularRegressor(random_state=0, loss=loss).fit(X, y)
    assert model.score(X, y) > 0.75


def test_tabular_regressor_predicts_a_standard_deviation(penguins):
    rows = penguins.dropna(subset=["body_mass_g"])
    X, y = rows.drop(columns="body_mass_g"), rows["body_mass_g"]
    model = dp.TabularRegressor(random_state=0, loss="gaussian_nll").fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert 0.8 < np.mean(np.abs(y - mean) < 1.96 * std) <= 1


@pytest.mark.parametrize(
    ("estimator", "y", "message"),
    [
        (dp.TabularClassifier(), ["a", None, "b"], "missing labels"),
        (dp.TabularRegressor(), ["a", "b", "c"], "must hold numbers"),
        (dp.TabularRegressor(), [1.0, np.nan, 2.0], "NaN or infinity"),
    ],
)
def test_tabular_estimators_reject_unsuitable_targets(estimator, y, message):
    X = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, pd.Series(y, dtype=object))


def test_unfitted_tabular_estimators_raise_not_fitted_error():
    from sklearn.exceptions import NotFittedError

    for model in (dp.TabularClassifier(), dp.TabularRegressor()):
        with pytest.raises(NotFittedError):
            model.predict(pd.DataFrame({"a": [1.0]}))


@pytest.mark.parametrize(
    ("y", "kind"), [([True, False] * 20, bool), ([1, 2] * 20, np.integer), (["a", 1] * 20, str)]
)
def test_labels_in_an_object_column_keep_their_kind(y, kind):
    X = pd.DataFrame({"a": np.arange(40.0)})
    model = dp.TabularClassifier(4, max_iter=2, random_state=0)
    predicted = model.fit(X, pd.Series(y, dtype=object)).predict(X)
    assert all(isinstance(label, (kind, np.bool_ if kind is bool else kind)) for label in predicted)


def test_the_namespace_of_tables_imports_nothing_before_it_is_used():
    code = (
        "import sys, deltaprop as dp; dp.tables.stream; "
        "heavy = {'pandas', 'pyarrow', 'skrub', 'sklearn', 'fsspec'} & set(sys.modules); "
        "assert not heavy, heavy; assert set(dp.tables.__all__) <= set(dir(dp.tables)); "
        "[getattr(dp.tables, name) for name in dp.tables.__all__]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    missing = "nothing"
    with pytest.raises(AttributeError, match=f"'{missing}'"):
        getattr(dp.tables, missing)
