"""The encoding of columns: against a plain implementation, on hostile columns, of every dtype."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

import deltaprop as dp
from deltaprop.data import encoder as encoder_module
from deltaprop.data import sparse_layout as sparse_layout_module
from deltaprop.data.columns.text import n_grams
from deltaprop.data.frames import Columns
from deltaprop.tables import TableEncoder, TableError

# ---------------------------------------------------------------- a plain implementation


def plain_scale(values, constant=0.0):
    """The scale of a list of numbers without missing ones, as a function of a number."""
    median, (q1, q3) = np.median(values), np.percentile(values, [25, 75])
    lowest, highest = min(values), max(values)
    scale = constant
    if q3 > q1:
        scale = 1 / (q3 - q1)
    elif highest > lowest:
        scale = 2 / (highest - lowest)

    def encode(x):
        z = (x - median) * scale
        return z / math.sqrt(1 + (z / 3) ** 2)

    return encode


def plain_numbers(fitted, new):
    """The encoded values of a column of numbers, and its flags of missing values."""
    known = [x for x in fitted if math.isfinite(x)]
    median = np.median(known) if known else 0.0
    filled = [x if math.isfinite(x) else median for x in fitted]
    infinite = any(map(math.isinf, fitted))
    encode = plain_scale(filled, float(infinite))
    infinite = infinite or max(filled) > min(filled)

    def encode_any(x):
        if math.isinf(x):
            return math.copysign(3.0, x) if infinite else 0.0
        return encode(median if math.isnan(x) else x)

    flags = [float(math.isnan(x)) for x in fitted]
    columns = [[encode_any(x) for x in new]]
    if any(flags):
        flag = plain_scale(flags)
        columns.append([flag(float(math.isnan(x))) for x in new])
    return np.array(columns).T


def plain_categories(fitted, new):
    """The encoded values of a column of few categories; None is a missing value."""
    slots = sorted({x for x in fitted if x is not None})
    slots += [None] * (None in fitted)
    columns = []
    for slot in slots[1:] if len(slots) == 2 else slots:
        encode = plain_scale([float(x == slot) for x in fitted])
        columns.append([encode(float(x == slot)) for x in new])
    return np.array(columns).T


number = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf, -math.inf]),
    st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
)


@given(st.lists(number, min_size=1, max_size=60), st.lists(number, min_size=1, max_size=5))
def test_numbers_match_the_plain_implementation(fitted, new):
    if all(math.isnan(x) for x in fitted):
        return
    encoder = TableEncoder().fit(pd.DataFrame({"x": fitted}))
    found = encoder.transform(pd.DataFrame({"x": new}))
    np.testing.assert_allclose(found, plain_numbers(fitted, new), rtol=1e-5, atol=1e-5)


category = st.sampled_from(["red", "blue", "green", "a b", "é", None])


@given(st.lists(category, min_size=1, max_size=80), st.lists(category, min_size=1, max_size=50))
def test_categories_match_the_plain_implementation(fitted, new):
    if not any(fitted):
        return
    for dtype in ("category", object):
        encoder = TableEncoder().fit(pd.DataFrame({"x": pd.Series(fitted, dtype=dtype)}))
        found = encoder.transform(pd.DataFrame({"x": pd.Series(new, dtype=dtype)}))
        np.testing.assert_allclose(found, plain_categories(fitted, new), rtol=1e-5, atol=1e-6)


@given(st.text(max_size=30))
def test_n_grams_are_those_of_scikit_learn(text):
    theirs = TfidfVectorizer(ngram_range=(3, 4), analyzer="char_wb").build_analyzer()
    assert list(n_grams(text)) == theirs(text)


# ---------------------------------------------------------------- the dtype decides


def test_strings_that_repeat_are_categories():
    for n, kind in ((199, "text"), (200, "category")):
        words = pd.Series([f"value {i % 40}" for i in range(n)] + [None, "?"])
        encoder = TableEncoder().fit(pd.DataFrame({"s": words}))
        assert encoder.kinds_ == {"s": kind}
        assert np.isfinite(encoder.encode(pd.DataFrame({"s": ["value 1", "new", None]}))).all()


def test_a_column_of_the_dtype_category_is_encoded_as_categories():
    values = [f"value {i % 42}" for i in range(200)]
    encoder = TableEncoder().fit(pd.DataFrame({"x": pd.Categorical(values), "s": values}))
    assert encoder.kinds_ == {"x": "category", "s": "text"}
    assert [name for name in encoder.feature_names_out_ if name.startswith("x_")] == [
        f"x_{value}" for value in sorted(set(values))
    ]


def test_rare_and_unknown_categories_share_a_column():
    values = [f"v{i}" for i in range(50) for _ in range(1 if i >= 45 else 3)]
    encoder = TableEncoder().fit(pd.DataFrame({"x": pd.Categorical(values)}))
    assert encoder.feature_names_out_[-1] == "x_rare"
    assert len(encoder.feature_names_out_) == 46
    rows = encoder.transform(pd.DataFrame({"x": ["v0", "v1", "v45", "v49", "unseen"]}))
    assert len(np.unique(rows, axis=0)) == 3
    np.testing.assert_array_equal(rows[2], rows[3])
    np.testing.assert_array_equal(rows[2], rows[4])


def test_a_column_of_very_many_categories_keeps_the_most_frequent_ones():
    counts = Counter({f"v{i}": 2 + i for i in range(1010)})
    encoder = TableEncoder().fit(pd.DataFrame({"x": pd.Categorical(list(counts.elements()))}))
    assert len(encoder.feature_names_out_) == 1001
    assert "x_v9" not in encoder.feature_names_out_
    assert {"x_v10", "x_rare"} <= set(encoder.feature_names_out_)


def test_words_for_missing_values_are_values_of_the_dtype_category():
    words = ["NA", "x", "y"] * 5
    encoder = TableEncoder().fit(pd.DataFrame({"c": pd.Categorical(words), "s": words}))
    assert encoder.feature_names_out_ == ["c_NA", "c_x", "c_y", "s_x", "s_y", "s_nan"]


def test_an_unknown_category_is_none_of_the_known_ones():
    encoder = TableEncoder().fit(pd.DataFrame({"x": ["a", "b", "c", "a"] * 5}))
    rows = encoder.transform(pd.DataFrame({"x": ["a", "b", "c", "new", None]}))
    assert len(np.unique(rows, axis=0)) == 4
    np.testing.assert_array_equal(rows[3], rows[4])


# ---------------------------------------------------------------- hostile columns

N = 60
I = np.arange(N)
DAYS = pd.date_range("2020-01-01 05:00", periods=N, freq="13h")
HOSTILE = {
    "infinite": (np.where(I % 7, I, np.inf), "numeric"),
    "only infinite": (np.full(N, np.inf), "numeric"),
    "all missing": (np.full(N, np.nan), "dropped"),
    "all None": ([None] * N, "dropped"),
    "blanks": (["  ", ""] * (N // 2), "dropped"),
    "constant": (np.ones(N), "numeric"),
    "huge floats": (np.where(I % 2, 1e308, -1e308), "numeric"),
    "tiny floats": (I * 1e-300, "numeric"),
    "huge integers": ([10**400 + int(i) if i % 9 == 0 else int(i) for i in I], "numeric"),
    "unsigned": (I.astype(np.uint64) + np.uint64(2**63), "numeric"),
    "half precision": (I.astype(np.float16), "numeric"),
    "booleans": (I % 3 == 0, "numeric"),
    "booleans and None": ([None if i % 5 == 0 else bool(i % 2) for i in I], "numeric"),
    "nullable integers": (pd.array([None if i % 5 == 0 else i for i in I], "Int64"), "numeric"),
    "nullable booleans": (pd.array([None, True, False] * (N // 3), "boolean"), "numeric"),
    "Arrow integers": (pd.array(I, pd.ArrowDtype(pa.int8())), "numeric"),
    "Arrow strings": (pd.array(["x", "y", None] * (N // 3), "string[pyarrow]"), "category"),
    "Arrow dates": (pd.array(DAYS.date, pd.ArrowDtype(pa.date32())), "date"),
    "sparse": (pd.arrays.SparseArray(np.where(I % 5, 0.0, I)), "numeric"),
    "decimals": ([Decimal(int(i)) / 8 for i in I], "numeric"),
    "durations": (pd.to_timedelta(I, "h"), "numeric"),
    "Python durations": ([datetime.timedelta(hours=int(i)) for i in I], "numeric"),
    "time zones": (DAYS.tz_localize("Europe/Berlin"), "date"),
    "offsets": ([f"2020-01-{1 + i % 28:02}T00:00:00+0{i % 3}:00" for i in I], "date"),
    "dates of two zones": (
        [day.tz_localize(z) for day, z in zip(DAYS, ["UTC", "Asia/Tokyo"] * N, strict=False)],
        "date",
    ),
    "Python dates": ([None, *DAYS.date[1:]], "date"),
    "far dates": ([datetime.date(1 + 160 * int(i), 1, 1) for i in I], "date"),
    "periods": (pd.period_range("2020-01", periods=N, freq="M"), "date"),
    "intervals": (pd.cut(I, 5).astype(object), "category"),
    "times": ([datetime.time(int(i) % 24) for i in I], "category"),
    "bytes": ([b"a", b"b"] * (N // 2), "category"),
    "mixed": ([1, "1", 1.0, True, None, "x"] * (N // 6), "category"),
    "lists": ([[int(i)] for i in I % 3], "category"),
    "dicts": ([{"k": int(i)} for i in I], "text"),
    "numbers with a word": ([str(i) if i else "?" for i in I], "numeric"),
    "emoji": ([chr(0x1F600 + int(i)) for i in I], "text"),
    "categories of numbers": (pd.Categorical(I % 4), "category"),
    "categories of dates": (pd.Categorical(DAYS), "date"),
    "unused categories": (
        pd.Categorical(["a", "b"] * (N // 2), categories=list("xab")),
        "category",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_column_is_encoded(name):
    values, kind = HOSTILE[name]
    column = pd.Series(values, dtype=object if isinstance(values, list) else None)
    frame = pd.DataFrame({"other": I / N, "x": column})
    encoder = TableEncoder().fit(frame)
    assert encoder.kinds_["x"] == kind
    encoded = encoder.transform(frame)
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() <= 3
    assert encoded.shape[1] == len(encoder.get_feature_names_out())
    for i in (0, 1, N - 1):  # a row by itself is encoded as it is among the others
        np.testing.assert_allclose(encoder.transform(frame[i : i + 1])[0], encoded[i], rtol=1e-6)
    for n in (2, 8, 9):
        np.testing.assert_allclose(encoder.transform(frame[3 : 3 + n]), encoded[3 : 3 + n], 1e-6)
    words = frame.assign(x=["nonsense"] * N)
    assert np.isfinite(encoder.transform(words)).all()
    assert np.isfinite(encoder.transform(frame.assign(x=None))).all()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_model_of_a_hostile_column_is_saved(name, tmp_path):
    values, _ = HOSTILE[name]
    column = pd.Series(values, dtype=object if isinstance(values, list) else None)
    frame = pd.DataFrame({"other": I / N, "x": column})
    model = dp.TabularClassifier((4,), max_iter=1, random_state=0, engine="reference")
    model.fit(frame, np.where(I % 2, "odd", "even"))
    dp.save(model, tmp_path / "m.dp")
    again = dp.load(tmp_path / "m.dp")
    np.testing.assert_array_equal(again.encode_rows(frame), model.encode_rows(frame))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    assert again.feature_names() == model.feature_names()


def test_a_wide_range_does_not_hide_small_differences():
    """Times of one hour in float32 seconds since 1970 would all be the same."""
    stamps = pd.DataFrame({"x": pd.date_range("2024-05-05 10:00", periods=60, freq="min")})
    encoder = TableEncoder().fit(stamps)
    last = encoder.feature_names_out_.index("x_total_seconds")
    assert len(np.unique(encoder.transform(stamps)[:, last])) == 60


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column named 'a'"),
        (pd.DataFrame({"a": [1 + 2j, 2.0]}), "'a' has complex numbers"),
        (pd.DataFrame({"a": [None, None]}), "all of them are empty"),
        (pd.DataFrame({"a": []}), "no rows"),
        (np.zeros(3), "2-d array"),
    ],
)
def test_tables_that_cannot_be_encoded_raise_clear_errors(X, message):
    with pytest.raises(TableError, match=message):
        TableEncoder().fit(X)


# ---------------------------------------------------------------- tables of other libraries


def test_polars_and_arrow_tables_of_every_dtype_encode_as_pandas_ones():
    frame = pl.DataFrame(
        {
            "int": [1, None, 3, 4] * 15,
            "float": [0.5, None, math.nan, 2.0] * 15,
            "flag": [True, None, False, False] * 15,
            "word": ["a", None, "b", "NA"] * 15,
            "date": [datetime.date(2020, 1, 1 + i % 28) for i in range(60)],
            "stamp": [datetime.datetime(2020, 1, 1 + i % 28, i % 24) for i in range(60)],
            "wait": [datetime.timedelta(hours=i) for i in range(60)],
            "price": [Decimal(i) / 4 for i in range(60)],
            "list": [[i % 3] for i in range(60)],
        }
    ).with_columns(
        kind=pl.col("word").cast(pl.Categorical),
        level=pl.Series(["low", "high"] * 30, dtype=pl.Enum(["low", "high"])),
    )
    pandas = frame.to_pandas()
    tables = [pandas, frame, frame.to_arrow(), pandas.convert_dtypes(dtype_backend="pyarrow")]
    expected = TableEncoder().fit(pandas)
    for fitted in tables:
        encoder = TableEncoder().fit(fitted)
        assert encoder.kinds_ == expected.kinds_
        assert encoder.feature_names_out_ == expected.feature_names_out_
        for table in tables:
            np.testing.assert_allclose(
                encoder.transform(table), expected.transform(pandas), rtol=1e-6, atol=1e-6
            )


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_rows_are_encoded_alike_in_parts(rows, monkeypatch):
    frame = pd.DataFrame({name: column for name, (column, _) in HOSTILE.items()})
    encoder = TableEncoder().fit(frame)
    whole = encoder.transform(frame)
    monkeypatch.setattr(encoder_module, "ROWS_AT_A_TIME", rows)
    np.testing.assert_allclose(encoder.transform(frame), whole, rtol=1e-6)
    arrow = pa.table({"int": I, "word": ["a", None, "b"] * (N // 3)})
    for table in (arrow, pl.from_arrow(arrow)):
        few = TableEncoder().fit(table)
        np.testing.assert_array_equal(few.transform(table), few.transform(arrow.to_pandas()))


# ---------------------------------------------------------------- wide tables as CSR matrices


def wide_table(rows=400, seed=0):
    """A column of 90 categories, others of any kind, and missing values in each of them."""
    rng = np.random.default_rng(seed)
    n = np.arange(rows)
    return pd.DataFrame({
        "many": pd.Categorical([f"c{i}" if i % 40 else None for i in rng.integers(0, 90, rows)]),
        "number": np.where(n % 13 == 0, np.nan, rng.standard_normal(rows)),
        "most": ["b" if i % 4 == 0 else "a" if i % 31 else None for i in n],
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(n % 100, unit="D"),
        "other": pd.Categorical([f"k{i}" for i in rng.integers(0, 200, rows)]),
        "flag": n % 3 == 0,
    })  # fmt: skip


@given(
    columns=st.sets(st.sampled_from(list(wide_table(1)))), n_bins=st.sampled_from([0, 3]),
    seed=st.integers(0, 9), rows=st.sampled_from([100, 130, 1000]),
)  # fmt: skip
def test_a_compact_encoding_is_the_encoding(columns, n_bins, seed, rows):
    names = ["many", "other", *sorted(columns - {"many", "other"})]
    encoder = TableEncoder(n_bins=n_bins).fit(wide_table()[names])
    new = wide_table(120, seed)[names]  # with categories that `fit` has not seen
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_module, "ROWS_AT_A_TIME", rows)
        found = encoder.encode_compactly(new)
    assert sp.issparse(found)
    assert found.has_canonical_format
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.toarray(), encoder.encode(new))


def test_only_wide_tables_of_zeros_are_encoded_compactly():
    table = wide_table()
    encoder = TableEncoder().fit(table)
    assert sp.issparse(encoder.encode_compactly(table))
    assert isinstance(encoder.encode_compactly(table[:20]), np.ndarray)
    assert isinstance(encoder.transform(table), np.ndarray)
    numbers = pd.DataFrame(np.zeros((400, 100))).add_prefix("x")
    for narrow in (
        table.drop(columns=["many", "other"]),
        pd.concat([table, numbers], axis="columns"),
    ):
        assert isinstance(TableEncoder().fit(narrow).encode_compactly(narrow), np.ndarray)


@pytest.mark.parametrize("cv", [1, 3])
def test_a_model_of_a_wide_table(cv, tmp_path):
    table = wide_table(900)
    effects = np.random.default_rng(1).normal(size=200)
    y = effects[table["other"].cat.codes] + table["number"].fillna(0.0)
    model = dp.TabularRegressor(cv=cv, random_state=0).fit(table, y)
    assert sp.issparse(model.encoder_.encode_compactly(table))
    assert model.score(table, y) > 0.9
    predicted = model.predict(table)
    np.testing.assert_allclose(model.predict(table[:5]), predicted[:5], rtol=1e-4, atol=1e-5)
    dp.save(model, tmp_path / "model")
    np.testing.assert_array_equal(dp.load(tmp_path / "model").predict(table), predicted)


def test_a_wide_table_gives_the_same_model_as_a_dense_one(monkeypatch):
    table = wide_table(600)
    y = np.array(table["other"].cat.codes) % 3

    def fitted():
        return dp.TabularClassifier(cv=3, max_iter=5, random_state=0).fit(table, y)

    p = fitted().predict_proba(table)
    monkeypatch.setattr(sparse_layout_module, "WIDE", 10**6)
    np.testing.assert_allclose(p, fitted().predict_proba(table), atol=1e-4)


# ---------------------------------------------------------------- combinations of a few rows


@pytest.mark.parametrize("name", HOSTILE)
def test_rows_of_a_hostile_column_are_combinations(name):
    values, _ = HOSTILE[name]
    column = pd.Series(values, dtype=object if isinstance(values, list) else None)
    frame = pd.DataFrame({"x": column, "other": I / N, "day": DAYS})
    encoder = TableEncoder(n_bins=5).fit(frame[:40])
    for new in (frame, frame[::-1], frame.assign(x=None), frame.assign(other=np.inf, day=None)):
        S = encoder.lookup.rows(Columns(new), len(new))
        assert S.nnz == encoder.lookup.entries * N
        np.testing.assert_allclose(
            (S @ encoder.lookup.basis).toarray(), encoder.encode(new), atol=2e-6
        )


@given(
    fitted=st.lists(number, min_size=1, max_size=30).filter(lambda z: not all(map(math.isnan, z))),
    new=st.lists(number, min_size=1, max_size=50), n_bins=st.integers(0, 6),
    numbers=st.sampled_from(["robust", "normal"]),
)  # fmt: skip
def test_rows_of_any_numbers_are_combinations(fitted, new, n_bins, numbers):
    encoder = TableEncoder(n_bins=n_bins, numbers=numbers).fit(pd.DataFrame({"x": fitted}))
    frame = pd.DataFrame({"x": [*new, *fitted]})  # the ends of bins are among them
    S = encoder.lookup.rows(Columns(frame), len(frame))
    np.testing.assert_allclose(
        (S @ encoder.lookup.basis).toarray(), encoder.encode(frame), atol=2e-6
    )
    sorted_twice = S.copy()
    sorted_twice.has_canonical_format = False
    sorted_twice.sum_duplicates()
    np.testing.assert_array_equal(S.indices, sorted_twice.indices)


def test_many_rows_are_predicted_from_combinations(monkeypatch):
    table = wide_table(1200)
    table["text"] = [f"word{i} of {i % 7}" for i in range(1200)]
    y = table["number"].fillna(0.0).to_numpy()
    targets = np.stack([y, y**2], axis=1)
    for model, target in (
        (dp.TabularClassifier(cv=3, max_iter=3, random_state=0), np.round(y).clip(-1, 1)),
        (dp.TabularClassifier(cv=1, max_iter=3, random_state=0), targets > 0),
        (dp.TabularRegressor(cv=2, max_iter=3, random_state=0), targets),
        (dp.TabularRegressor(cv=1, max_iter=3, loss="gaussian_nll"), y),
        (dp.TabularRegressor(cv=1, max_iter=1, engine="reference"), y),
    ):
        model.fit(table, target)
        predict = getattr(model, "predict_proba", model.predict)
        assert model.encoder_.encode_for_predictions(table)[1] is not None
        found = predict(table)
        with monkeypatch.context() as patch:
            patch.setattr(encoder_module, "ROWS_AT_A_TIME", 500)
            np.testing.assert_array_equal(predict(table), found)
        with monkeypatch.context() as patch:
            patch.setattr(encoder_module, "MANY_ROWS", 10**6)
            np.testing.assert_allclose(found, predict(table), rtol=2e-4, atol=2e-5)


def test_a_table_without_bins_is_not_predicted_from_combinations():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 30))).add_prefix("x")
    assert TableEncoder().fit(frame).encode_for_predictions(frame)[1] is None
    assert TableEncoder(n_bins=12).fit(frame).encode_for_predictions(frame)[1] is not None
    few = TableEncoder(n_bins=12).fit(frame).encode_for_predictions(frame[:100])
    assert few[1] is None
    assert few[0].shape == (100, 30 * 13)


# ---------------------------------------------------------------- scikit-learn's conventions


def test_set_output_gives_a_data_frame_with_names():
    frame = pd.DataFrame({"x": [1.0, None, 2.0], "c": ["a", "b", "c"]})
    encoder = TableEncoder().set_output(transform="pandas")
    found = encoder.fit_transform(frame)
    assert list(found.columns) == ["x", "c_a", "c_b", "c_c", "x missing"]
    np.testing.assert_array_equal(found, TableEncoder().fit_transform(frame))


def test_an_encoder_can_be_fitted_again():
    encoder = TableEncoder().fit(pd.DataFrame({"x": [1.0, 2.0]}))
    assert encoder.transform(pd.DataFrame({"x": [1.0]})).shape == (1, 1)
    encoder.fit(pd.DataFrame({"c": ["a", "b", "c"]}))
    assert encoder.transform(pd.DataFrame({"c": ["a"]})).shape == (1, 3)


# ---------------------------------------------------------------- found in a review


def test_labels_do_not_depend_on_the_other_rows():
    for values in ([True, False, "x"], [datetime.date(2020, 1, 2), datetime.date(2020, 1, 3), "x"],
                   [Decimal("1.50"), Decimal("2"), "x"]):  # fmt: skip
        objects = pd.Series([*values, *values], dtype=object)
        encoder = TableEncoder().fit(pd.DataFrame({"x": objects}))
        together = encoder.transform(pd.DataFrame({"x": objects}))[:2]
        alone = encoder.transform(pd.DataFrame({"x": pd.Series(values[:2], dtype=object)}))
        np.testing.assert_array_equal(alone, together)
        as_category = pd.DataFrame({"x": objects.astype("category")})
        encoder = TableEncoder().fit(as_category)
        np.testing.assert_array_equal(
            encoder.transform(pd.DataFrame({"x": objects})), encoder.transform(as_category)
        )


@pytest.mark.parametrize(
    ("zone", "day"), [("America/Sao_Paulo", "2018-11-04"), ("America/Havana", "2020-11-01")]
)
def test_days_without_a_midnight(zone, day):
    dates = pd.to_datetime(pd.Series([f"{day} 12:00", "2020-05-01 12:00"])).dt.tz_localize(zone)
    assert TableEncoder().fit_transform(pd.DataFrame({"x": dates})).shape == (2, 5)  # with the hour


@pytest.mark.parametrize(
    "zone",
    ["dateutil/Europe/Berlin", datetime.timezone(datetime.timedelta(hours=5), "a zone")],
    ids=str,
)
def test_time_zones_without_a_name_become_utc(zone, tmp_path):
    X = pd.DataFrame({"x": pd.date_range("2020", periods=30, tz=zone)})
    model = dp.TabularRegressor((2,), max_iter=1).fit(X, np.arange(30.0))
    dp.save(model, tmp_path / "model.dp")
    in_utc = pd.DataFrame({"x": X["x"].dt.tz_convert("UTC")})
    np.testing.assert_array_equal(dp.load(tmp_path / "model.dp").predict(X), model.predict(in_utc))


@pytest.mark.parametrize("dtype", ["string", "boolean", "string[pyarrow]"])
def test_missing_labels_of_every_dtype(dtype):
    y = pd.Series([True, None, False, True] if dtype == "boolean" else ["a", None, "b", "a"])
    with pytest.raises(TableError, match="missing labels"):
        dp.TabularClassifier((2,)).fit(pd.DataFrame({"x": [1.0, 2, 3, 4]}), y.astype(dtype))


def test_a_number_of_hundreds_of_digits_is_no_number():
    encoder = TableEncoder().fit(pd.DataFrame({"x": ["1", "2", "3" * 400]}))
    assert encoder.kinds_ == {"x": "category"}


def test_categories_that_never_repeat_are_text():
    names = pl.DataFrame({"x": [f"name {i}" for i in range(50)]}, schema={"x": pl.Categorical})
    encoder = TableEncoder().fit(names)
    assert encoder.kinds_ == {"x": "text"}
    assert np.ptp(encoder.transform(names)) > 0


def test_numbers_that_overflow_are_missing():
    Z = TableEncoder().fit_transform(pd.DataFrame({"x": [-1.7e308] * 9 + [1.7e308]}))
    assert np.isfinite(Z).all()


def test_subclasses_of_strings():
    values = pd.Series([np.str_("a"), np.str_("b")] * 20, dtype=object)
    found = TableEncoder().fit_transform(pd.DataFrame({"x": values}))
    expected = TableEncoder().fit_transform(pd.DataFrame({"x": ["a", "b"] * 20}))
    np.testing.assert_array_equal(found, expected)


def test_booleans_among_strings():
    encoder = TableEncoder().fit(pd.DataFrame({"x": [True, False, True]}))
    strings = encoder.transform(pd.DataFrame({"x": ["True", "?", "False"]}))
    booleans = encoder.transform(pd.DataFrame({"x": [True, False]}))
    np.testing.assert_array_equal(strings[[0, 2]], booleans)


def test_numbers_are_no_durations():
    encoder = TableEncoder().fit(pd.DataFrame({"x": pd.to_timedelta([1, 2, 3], "h")}))
    with pytest.raises(TableError, match="'x' must hold durations, but it holds numbers"):
        encoder.transform(pd.DataFrame({"x": [3600, 7200]}))


def test_lists_are_labelled_alike_in_every_library():
    rows = [[1, 2], [3, 4], [5, 6]] * 3
    encoder = TableEncoder().fit(pa.table({"x": rows}))
    np.testing.assert_array_equal(
        encoder.transform(pd.DataFrame({"x": rows})), encoder.transform(pa.table({"x": rows}))
    )


def test_a_failed_fit_keeps_the_last_one():
    good = pd.DataFrame({"x": [1.0, 2.0]})
    encoder = TableEncoder().fit(good)
    with pytest.raises(TableError):
        encoder.fit(pd.DataFrame({"y": [None, None]}))
    np.testing.assert_array_equal(encoder.transform(good), TableEncoder().fit_transform(good))


def test_a_stream_of_a_dictionary_with_nulls(tmp_path):
    import pyarrow.feather

    codes = pa.array([1, 2, None] * 20).dictionary_encode()
    table = pa.table({"x": codes, "y": ["a", "b"] * 30})
    pyarrow.feather.write_feather(table, tmp_path / "table.feather")
    rows = dp.tables.stream(tmp_path / "table.feather", target="y")
    model = dp.TabularClassifier((2,), max_iter=1).fit(rows)
    assert np.isfinite(model.predict_proba(table.select(["x"]))).all()
