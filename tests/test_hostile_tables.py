"""Hostile tables give a good model or a clear error, and the same predictions after save and load.

Most tables have their signal in the hostile column alone, so that a model that ignores the column
fails. The rows to predict include single rows, missing values and values that were never seen.
"""

from __future__ import annotations

import datetime as dt
import enum
import fractions
import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.metrics import r2_score, roc_auc_score

import deltaprop as dp

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("error::RuntimeWarning"),  # overflow, division by zero, mean of none
]

N = 60
SIGNAL = np.round(np.random.default_rng(0).normal(size=N), 2) + 0.001
INTEGERS = np.round(1000 * SIGNAL).astype(int)  # neither 0
NOISE = np.random.default_rng(1).normal(size=N)
LABELS = np.where(SIGNAL > 0, "yes", "no")
WORDS = np.where(SIGNAL > 0, "ant", "bee")
MISSING_ROWS = np.arange(N) % 7 == 3
START = dt.datetime(2020, 3, 1, tzinfo=dt.UTC)
TIMES = [START + dt.timedelta(hours=float(x)) for x in 100 * SIGNAL]


def classifier(**params: Any) -> dp.TabularClassifier:
    return dp.TabularClassifier(**SMALL | params)


def regressor(**params: Any) -> dp.TabularRegressor:
    return dp.TabularRegressor(**SMALL | params)


SMALL = {
    "hidden_layer_sizes": (8,),
    "max_iter": 30,
    "learning_rate_init": 0.05,
    "batch_size": 16,
    "cv": 2,
    "random_state": 0,
}


@dataclass
class Table:
    """A table, what to predict from it, and the score that a model must reach on its rows."""

    X: Any
    y: Any = None
    score: float = 0.9
    model: Callable[..., Any] = classifier
    new: Any = None  # further rows to predict

    def __post_init__(self) -> None:
        if self.y is None:
            self.y = LABELS if self.model is classifier else SIGNAL


def column(values: Any, **more: Any) -> Table:
    """A table of one hostile column, with the signal in it."""
    return Table(pd.DataFrame({"hostile": values}), **more)


def objects(values: Any) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = list(values)
    return out


def beside(values: Any, **more: Any) -> Table:
    """A table with the signal in a column of numbers, beside a hostile column."""
    return Table(pd.DataFrame({"x": SIGNAL, "hostile": objects(values)}), **more)


def gaps(values: Any, missing: Any = None) -> np.ndarray:
    """The values, some of them missing."""
    return objects([missing if m else v for v, m in zip(values, MISSING_ROWS, strict=True)])


def named(*names: Any) -> pd.DataFrame:
    """A table whose columns have hostile names; the first has the signal."""
    columns = [SIGNAL, *(np.roll(NOISE, n) for n in range(len(names) - 1))]
    X = pd.DataFrame(np.column_stack(columns))
    X.columns = pd.Index(names, dtype=object)
    return X


def arrow(values: Any, type: Any) -> Table:
    return Table(pa.table({"hostile": pa.array(values, type)}))


def arrow_in_pandas(values: Any, type: Any) -> Table:
    return column(pd.array(values, dtype=pd.ArrowDtype(type)))


def of_levels(*names: tuple[Any, ...], **more: Any) -> pd.DataFrame:
    """A table whose column names have several levels."""
    index = pd.MultiIndex.from_tuples(names, **more)
    return named(*map(str, range(len(names)))).set_axis(index, axis=1)


def labels(positive: Any, negative: Any) -> np.ndarray:
    return objects([positive if x > 0 else negative for x in SIGNAL])


def rare(N: int, positive: int, informative: bool = True) -> Table:
    rng = np.random.default_rng(0)
    y = np.arange(N) < positive
    x = rng.normal(size=N) + (3.0 * y if informative else 0.0)
    return Table(pd.DataFrame({"x": x, "z": rng.normal(size=N)}), y=y)


def many_categories(N: int) -> Table:
    """As many categories as rows, beside a column with the signal."""
    x = np.random.default_rng(0).normal(size=N)
    return Table(
        pd.DataFrame({"id": [f"id {n}" for n in range(N)], "x": x}), y=x > 0, model=quick_classifier
    )


def quick_classifier(**params: Any) -> dp.TabularClassifier:
    return classifier(max_iter=2, batch_size=1000, **params)


def wide() -> Table:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(100, 1))
    X = rng.normal(size=(100, 2000))
    X[:, ::10] += signal
    y = signal[:, 0] > 0
    return Table(pd.DataFrame(X, columns=[f"x{n}" for n in range(2000)]), y=y)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def rows_of_many_types() -> pd.DataFrame:
    """The frame whose twins in Polars and Arrow must give the same model."""
    return pd.DataFrame(
        {
            "number": SIGNAL,
            "integer": pd.array(gaps(INTEGERS, pd.NA), dtype="Int64"),
            "gap": np.where(MISSING_ROWS, np.nan, NOISE),
            "flag": SIGNAL > 0.5,
            "word": gaps(WORDS),
            "category": pd.Categorical(WORDS, categories=["zebra", "bee", "ant"]),
            "date": pd.to_datetime([t.replace(tzinfo=None) for t in TIMES]).as_unit("us"),
            "zoned": pd.to_datetime(TIMES).as_unit("us"),
            "duration": pd.to_timedelta(SIGNAL, unit="h").as_unit("us"),
            "text": [f"the {w} number {n} is here" for n, w in enumerate(WORDS)],
        }
    )


PERIODS = pd.PeriodIndex(pd.to_datetime([t.replace(tzinfo=None) for t in TIMES]), freq="h")
INTERVALS = pd.IntervalIndex.from_arrays(SIGNAL, SIGNAL + 1)
NAIVE = [t.replace(tzinfo=None) for t in TIMES]
DENSE = np.column_stack([np.where(np.abs(SIGNAL) > 0.3, SIGNAL, 0.0), np.zeros(N), NOISE > 1])

MODELS: dict[str, Callable[[], Table]] = {
    # ---- mixed types in a column
    "numbers and words": lambda: column(objects([1.5 if x > 0 else "low" for x in SIGNAL])),
    "numbers as words and numbers": lambda: column(
        objects([str(x) if n % 2 else x for n, x in enumerate(SIGNAL)])
    ),
    "booleans, numbers and None": lambda: column(gaps([True if x > 0 else -1.5 for x in SIGNAL])),
    "dates and words": lambda: column(
        objects([dt.date(2020, 1, 1) if x > 0 else "never" for x in SIGNAL])
    ),
    "bytes and strings": lambda: column(objects([b"ant" if x > 0 else "bee" for x in SIGNAL])),
    "bytes": lambda: column(objects([w.encode() for w in WORDS])),
    "missing values of all kinds": lambda: beside(
        list(itertools.islice(itertools.cycle([None, np.nan, pd.NA, pd.NaT, "a"]), N))
    ),
    "classes and functions": lambda: beside([int if x > 0 else len for x in SIGNAL]),
    # ---- categories
    "100,000 categories": lambda: many_categories(100_000),
    "100,000 declared categories, two used": lambda: column(
        pd.Categorical(WORDS, categories=[*map(str, range(100_000)), "ant", "bee"])
    ),
    "categories without a value": lambda: beside(pd.Categorical([None] * N, categories=["a"])),
    "ordered categories": lambda: column(
        pd.Categorical(WORDS, categories=["ant", "bee"], ordered=True)
    ),
    "categories of intervals": lambda: column(pd.cut(SIGNAL, 5)),
    "categories of numbers": lambda: column(pd.Categorical(np.sign(SIGNAL))),
    "categories of numbers, in classes 1 and True": lambda: column(
        objects([True if x > 0 else 0 for x in SIGNAL])
    ),
    "a different value in every row": lambda: beside([str(uuid.UUID(int=n)) for n in range(N)]),
    # ---- nested values, which are categories or texts
    "lists": lambda: column(objects([[1, "a"] if x > 0 else [2] for x in SIGNAL])),
    "lists of numbers": lambda: beside([[float(x)] for x in SIGNAL]),
    "dictionaries": lambda: column(objects([{"a": x > 0} for x in SIGNAL])),
    "sets of words": lambda: column(objects([{"a", "b", "c"} if x > 0 else {"a"} for x in SIGNAL])),
    "tuples": lambda: column(objects([(x > 0, None) for x in SIGNAL])),
    "arrays": lambda: column(objects([np.zeros(1 + (x > 0)) for x in SIGNAL])),
    "lists in some rows": lambda: column(objects([[1] if x > 0 else "a" for x in SIGNAL])),
    "Polars lists": lambda: Table(pl.DataFrame({"h": [[x > 0] for x in SIGNAL.tolist()]})),
    "Polars structs": lambda: Table(pl.DataFrame({"h": [{"a": x > 0} for x in SIGNAL.tolist()]})),
    "Polars arrays": lambda: Table(pl.DataFrame({"h": np.column_stack([SIGNAL > 0, SIGNAL < 0])})),
    "Arrow lists": lambda: arrow([[x > 0] for x in SIGNAL.tolist()], pa.list_(pa.bool_())),
    "Arrow structs": lambda: arrow(
        [{"a": x > 0} for x in SIGNAL.tolist()], pa.struct([("a", pa.bool_())])
    ),
    "Arrow maps": lambda: arrow(
        [[("a", x > 0)] for x in SIGNAL.tolist()], pa.map_(pa.string(), pa.bool_())
    ),
    "Arrow lists in pandas": lambda: column(
        pd.array([[x > 0] for x in SIGNAL.tolist()], dtype=pd.ArrowDtype(pa.list_(pa.bool_())))
    ),
    # ---- few rows, classes and values
    "one class": lambda: column(SIGNAL, y=["a"] * N, score=0),
    "one row": lambda: Table(pd.DataFrame({"x": [3.0], "w": ["a"]}), y=["a"], score=0),
    "one row, a number": lambda: Table(
        pd.DataFrame({"x": [3.0], "w": ["a"]}), y=[5.5], model=regressor
    ),
    "two rows": lambda: Table(pd.DataFrame({"x": [0.0, 1.0]}), y=["a", "b"], score=0),
    "two rows, a number": lambda: Table(
        pd.DataFrame({"x": [0.0, 1.0]}), y=[1.0, 2.0], model=regressor, score=-99
    ),
    "three rows of three classes": lambda: Table(
        pd.DataFrame({"x": [0.0, 1.0, 2.0]}), y=["a", "b", "c"], score=0
    ),
    "constant target": lambda: Table(
        pd.DataFrame({"x": SIGNAL}), y=np.full(N, 7.25), model=regressor, score=-99
    ),
    "constant huge target": lambda: Table(
        pd.DataFrame({"x": SIGNAL}), y=np.full(N, 1e12), model=regressor, score=-99
    ),
    "constant columns": lambda: Table(pd.DataFrame({"a": [1] * N, "b": ["z"] * N}), score=0),
    "constant column with a gap": lambda: column(np.where(SIGNAL > 0, np.nan, 1.0)),
    "same rows, different targets": lambda: Table(
        pd.DataFrame({"x": [1.0, 2.0] * 30}), y=np.repeat([0.0, 1.0], 30), model=regressor, score=-1
    ),
    "one value that is not missing": lambda: beside([1.0] + [np.nan] * (N - 1)),
    "99 to 1 classes": lambda: rare(1000, 10),
    "99 to 1 classes, of words": lambda: Table(
        pd.DataFrame({"w": ["rare"] * 8 + ["usual"] * 792}), y=np.arange(800) < 8
    ),
    "one row of a class": lambda: rare(200, 1),
    "a class for every second row": lambda: Table(
        pd.DataFrame({"x": SIGNAL}), y=[f"class {n // 2}" for n in range(N)], score=0
    ),
    "leakage of a class": lambda: Table(pd.DataFrame({"z": NOISE, "leak": LABELS}), score=1),
    "leakage of a number": lambda: Table(
        pd.DataFrame({"z": NOISE, "leak": SIGNAL}), model=regressor
    ),
    # ---- missing values and infinities
    "a column without values": lambda: beside([None] * N),
    "a column of NaN": lambda: Table(pd.DataFrame({"x": SIGNAL, "hostile": np.full(N, np.nan)})),
    "missing values that tell the class": lambda: column(np.where(SIGNAL > 0, np.nan, NOISE)),
    "all missing but one row": lambda: Table(
        pd.DataFrame({"x": [1.0] + [np.nan] * (N - 1)}), score=0
    ),
    "infinities": lambda: column(
        np.where(SIGNAL > 1, np.inf, np.where(SIGNAL < -1, -np.inf, SIGNAL))
    ),
    "only infinities": lambda: column(np.where(SIGNAL > 0, np.inf, -np.inf)),
    "NaN and infinity": lambda: column(np.where(SIGNAL > 0, np.inf, np.nan)),
    # ---- numbers at the limits
    "integers beyond 64 bits": lambda: column(objects([int(x) * 2**80 for x in INTEGERS])),
    "integers beyond float64": lambda: column(objects([int(x) * 10**400 for x in INTEGERS])),
    "int64 at its limits": lambda: column(
        np.where(SIGNAL > 0, np.iinfo(np.int64).max, np.iinfo(np.int64).min)
    ),
    "uint64 at its limit": lambda: column(
        np.where(SIGNAL > 0, np.uint64(2**64 - 1), np.uint64(0)).astype(np.uint64)
    ),
    "float64 at its limits": lambda: column(np.where(SIGNAL > 0, 1, -1) * np.finfo(float).max),
    "numbers beyond float32": lambda: column(SIGNAL * 1e200),
    "numbers below float32": lambda: column(SIGNAL * 1e-200),
    "numbers near the smallest": lambda: column(np.where(SIGNAL > 0, 1e-307, 0.0)),
    "a large offset": lambda: column(1e9 + SIGNAL),
    "integers with a large offset": lambda: column(10**15 + 16 * INTEGERS),
    "one outlier": lambda: column(np.where(np.arange(N) == np.argmax(SIGNAL), 1e30, SIGNAL)),
    "huge targets": lambda: column(SIGNAL, y=SIGNAL * 1e30, model=regressor),
    "tiny targets": lambda: column(SIGNAL, y=SIGNAL * 1e-30, model=regressor),
    "targets with a large offset": lambda: column(SIGNAL, y=SIGNAL + 1e6, model=regressor),
    "float16": lambda: column(SIGNAL.astype(np.float16)),
    "longdouble": lambda: column(SIGNAL.astype(np.longdouble)),
    # ---- names of columns
    "empty names": lambda: Table(named("", " ", "  ")),
    "names that are None, NaN and numbers": lambda: Table(named(None, np.nan, 3, 2.5)),
    "names of several types": lambda: Table(named(1, "x", 1.5, True)),
    "names of tuples": lambda: Table(named(("a", 1), ("a", 2))),
    "names of encoded columns": lambda: Table(
        named("word", "word_missing", "word=ant", "word_ant").assign(word=WORDS)
    ),
    "names that are not ASCII": lambda: Table(named("größe", "重さ", "😀", "e\u0301", "\u00e9")),
    "names with control characters": lambda: Table(named("a\nb", "a\tb", "\0", "<b>", "'\"\\")),
    "names as long as a book": lambda: Table(named("x" * 100_000, "y")),
    # ---- strings
    "words that are not ASCII": lambda: column(np.where(SIGNAL > 0, "größe 重さ", "😀 e\u0301")),
    "the same letter, composed differently": lambda: column(
        np.where(SIGNAL > 0, "\u00e9", "e\u0301")
    ),
    "half of a surrogate pair": lambda: Table(
        pd.DataFrame(
            {"hostile": pd.Series(["\ud800" if x > 0 else "a" for x in SIGNAL], dtype=object)}
        )
    ),
    "null characters": lambda: column(objects(["a\0b" if x > 0 else "a" for x in SIGNAL])),
    "empty strings": lambda: column(np.where(SIGNAL > 0, "", "a")),
    "only empty strings": lambda: beside([""] * N),
    "only spaces": lambda: beside([" " * (n % 3) for n in range(N)]),
    "words for missing values": lambda: column(np.where(SIGNAL > 0, "nan", "a")),
    "long texts": lambda: column([f"{w} " * 5000 + str(n) for n, w in enumerate(WORDS)]),
    "numbers as strings": lambda: column(objects([f" {x} " for x in SIGNAL])),
    "NumPy strings": lambda: column(pd.array(WORDS, dtype="string")),
    # ---- dates and times
    "a time zone": lambda: column(pd.to_datetime(TIMES)),
    "several time zones": lambda: column(
        objects(
            [t.astimezone(ZoneInfo("Asia/Tokyo" if n % 2 else "UTC")) for n, t in enumerate(TIMES)]
        )
    ),
    "times with and without a zone": lambda: column(
        objects([t if n % 2 else t.replace(tzinfo=None) for n, t in enumerate(TIMES)])
    ),
    "dates beyond nanoseconds": lambda: column(
        objects([dt.date(5000, 1, 1) if x > 0 else dt.date(1, 1, 1) for x in SIGNAL])
    ),
    "dates as strings": lambda: column([t.isoformat() for t in TIMES]),
    "times of day": lambda: column(
        objects([dt.time(18 if x > 0 else 6, n % 60) for n, x in enumerate(SIGNAL)])
    ),
    "durations": lambda: column(pd.to_timedelta(SIGNAL, unit="D")),
    "durations of Python": lambda: column(objects([dt.timedelta(float(x)) for x in SIGNAL])),
    "only missing dates": lambda: Table(
        pd.DataFrame({"x": SIGNAL, "hostile": pd.DatetimeIndex([None] * N)})
    ),
    "periods": lambda: column(PERIODS),
    "periods with gaps": lambda: column(PERIODS.where(~MISSING_ROWS)),
    "periods as objects": lambda: column(objects(PERIODS)),
    "intervals": lambda: column(INTERVALS),
    # ---- numbers of other types
    "Decimal": lambda: column(objects([Decimal(int(x)) / 100 for x in INTEGERS])),
    "Decimal with NaN and infinity": lambda: column(
        objects(
            [
                Decimal("NaN") if m else Decimal("Infinity") if x > 1 else Decimal(int(x))
                for m, x in zip(MISSING_ROWS, INTEGERS, strict=True)
            ]
        )
    ),
    "fractions": lambda: column(objects([fractions.Fraction(int(x), 7) for x in INTEGERS])),
    "Int64 with gaps": lambda: column(pd.array(gaps(INTEGERS, pd.NA), dtype="Int64")),
    "boolean with gaps": lambda: column(pd.array(gaps(SIGNAL > 0, pd.NA), dtype="boolean")),
    "Float32 with gaps": lambda: column(pd.array(gaps(SIGNAL, pd.NA), dtype="Float32")),
    "string[pyarrow]": lambda: column(pd.array(gaps(WORDS), dtype="string[pyarrow]")),
    "Arrow decimals in pandas": lambda: column(
        pd.array([Decimal(int(x)) for x in INTEGERS], dtype=pd.ArrowDtype(pa.decimal128(20, 3)))
    ),
    "Arrow dates in pandas": lambda: column(pd.array(TIMES, dtype=pd.ArrowDtype(pa.date32()))),
    "Arrow categories in pandas": lambda: column(
        pd.arrays.ArrowExtensionArray(pa.array(WORDS).dictionary_encode())
    ),
    # ---- sparse
    "csr_array": lambda: Table(scipy.sparse.csr_array(DENSE)),
    "csc_matrix": lambda: Table(scipy.sparse.csc_matrix(DENSE)),
    "coo_array": lambda: Table(scipy.sparse.coo_array(DENSE)),
    "sparse columns": lambda: Table(
        pd.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_matrix(DENSE), columns=list("abc"))
    ),
    "sparse of zeros only": lambda: Table(scipy.sparse.csr_array((N, 3)), score=0),
    # ---- arrays and Python objects
    "array of objects": lambda: Table(np.column_stack([objects(SIGNAL), objects(WORDS)])),
    "array of strings": lambda: Table(np.column_stack([WORDS, WORDS])),
    "array of bytes": lambda: Table(np.column_stack([WORDS, WORDS]).astype(bytes)),
    "array of dates": lambda: Table(np.array(NAIVE, "datetime64[s]")[:, None]),
    "array of another byte order": lambda: Table(SIGNAL[:, None].astype(">f4")),
    "array in reverse": lambda: Table(np.asfortranarray(DENSE)[::-1, ::-1], y=LABELS[::-1]),
    "array of booleans": lambda: Table((SIGNAL > 0)[:, None]),
    "masked array": lambda: Table(
        np.ma.masked_array(DENSE, mask=MISSING_ROWS[:, None] | (DENSE < 0)), score=0.8
    ),
    "structured array": lambda: Table(
        np.array(list(zip(SIGNAL, WORDS, strict=True)), dtype=[("x", "f8"), ("w", "U3")])
    ),
    "list of lists": lambda: Table([[float(x), w] for x, w in zip(SIGNAL, WORDS, strict=True)]),
    "dictionary of lists": lambda: Table({"x": SIGNAL.tolist(), "w": WORDS.tolist()}),
    "list of dictionaries": lambda: Table(
        [{"x": float(x), "w": str(w)} for x, w in zip(SIGNAL, WORDS, strict=True)]
    ),
    "2,000 columns": wide,
    # ---- indices and targets
    "rows with the same index label": lambda: Table(pd.DataFrame({"x": SIGNAL}, index=[0] * N)),
    "rows with an index of two levels": lambda: Table(
        pd.DataFrame({"x": SIGNAL}, index=pd.MultiIndex.from_product([range(30), ["a", "b"]]))
    ),
    "target with another index": lambda: column(SIGNAL, y=pd.Series(LABELS, index=range(N, 0, -1))),
    "target of categories that are not used": lambda: column(
        SIGNAL, y=pd.Series(pd.Categorical(LABELS, categories=["maybe", "no", "yes"]))
    ),
    "target of nullable booleans": lambda: column(SIGNAL, y=pd.Series(SIGNAL > 0, dtype="boolean")),
    "target of words and numbers": lambda: column(
        SIGNAL, y=objects(["a" if x > 0 else 1 for x in SIGNAL])
    ),
    "target of Python dates": lambda: column(
        SIGNAL, y=objects([dt.date(2020, 1, 1 + (x > 0)) for x in SIGNAL])
    ),
    "target with half of a surrogate pair": lambda: column(
        SIGNAL, y=objects([w + "\ud800" for w in LABELS.tolist()])
    ),
    "target of Polars": lambda: Table(pl.DataFrame({"x": SIGNAL}), y=pl.Series(LABELS)),
    "target of Arrow": lambda: Table(
        pa.table({"x": SIGNAL}), y=pa.chunked_array([LABELS.tolist()])
    ),
    "target as a table of one column": lambda: column(SIGNAL, y=pd.DataFrame({"y": LABELS})),
    "target of Decimal": lambda: column(
        SIGNAL, y=objects([Decimal(int(x)) for x in INTEGERS]), model=regressor
    ),
    "target of strings of numbers": lambda: column(
        SIGNAL, y=objects([str(x) for x in SIGNAL]), model=regressor
    ),
    "target of nullable integers": lambda: column(
        SIGNAL, y=pd.array(INTEGERS, dtype="Int64"), model=regressor
    ),
    # ---- Polars
    "Polars Categorical": lambda: Table(
        pl.DataFrame({"h": pl.Series(WORDS, dtype=pl.Categorical)})
    ),
    "Polars Enum": lambda: Table(
        pl.DataFrame({"h": pl.Series(WORDS.tolist(), dtype=pl.Enum(["zebra", "bee", "ant"]))})
    ),
    "Polars Decimal": lambda: Table(
        pl.DataFrame({"h": pl.Series(INTEGERS).cast(pl.Decimal(20, 3))})
    ),
    "Polars time zone": lambda: Table(
        pl.DataFrame({"h": pl.Series(TIMES).dt.convert_time_zone("America/New_York")})
    ),
    "Polars Time": lambda: Table(
        pl.DataFrame({"h": [dt.time(18 if x > 0 else 6, n % 60) for n, x in enumerate(SIGNAL)]})
    ),
    "Polars Duration": lambda: Table(pl.DataFrame({"h": [dt.timedelta(float(x)) for x in SIGNAL]})),
    "Polars Binary": lambda: Table(pl.DataFrame({"h": [w.encode() for w in WORDS]})),
    "Polars Null": lambda: Table(pl.DataFrame({"x": SIGNAL, "h": [None] * N})),
    "Polars NaN and null": lambda: Table(
        pl.DataFrame(
            {
                "h": [
                    None if m else x if x > 0 else float("nan")
                    for m, x in zip(MISSING_ROWS, SIGNAL, strict=True)
                ]
            }
        ),
        score=0.6,
    ),
    "Polars objects": lambda: Table(
        pl.DataFrame(
            {"h": pl.Series([fractions.Fraction(int(x)) for x in INTEGERS], dtype=pl.Object)}
        )
    ),
    # ---- Arrow
    "Arrow decimal256": lambda: arrow([Decimal(int(x)) for x in INTEGERS], pa.decimal256(60, 3)),
    "Arrow half floats": lambda: arrow(SIGNAL.astype(np.float16), pa.float16()),
    "Arrow time zone": lambda: arrow(TIMES, pa.timestamp("ms", "Europe/Paris")),
    "Arrow time": lambda: arrow([dt.time(18 if x > 0 else 6) for x in SIGNAL], pa.time64("us")),
    "Arrow duration": lambda: arrow([dt.timedelta(float(x)) for x in SIGNAL], pa.duration("s")),
    "Arrow large and view strings": lambda: Table(
        pa.table({"a": pa.array(WORDS, pa.large_string()), "b": pa.array(WORDS, pa.string_view())})
    ),
    "Arrow binary": lambda: arrow([w.encode() for w in WORDS], pa.binary()),
    "Arrow nulls": lambda: Table(pa.table({"x": SIGNAL, "h": pa.nulls(N)})),
    "Arrow chunks with different dictionaries": lambda: Table(
        pa.table(
            {
                "h": pa.chunked_array(
                    [
                        pa.array(part).dictionary_encode()
                        for part in (WORDS[:7].tolist(), ["bee"], WORDS[8:].tolist())
                    ]
                )
            }
        ),
        y=[*LABELS[:7], "no", *LABELS[8:]],
    ),
    "Arrow run-end encoded": lambda: Table(
        pa.table({"h": pa.compute.run_end_encode(pa.array(np.sort(SIGNAL)))}), y=np.sort(LABELS)
    ),
    "Arrow record batch": lambda: Table(pa.record_batch({"x": SIGNAL})),
    # ---- Arrow in pandas
    "Arrow days with gaps in pandas": lambda: arrow_in_pandas(
        gaps([t.date() for t in TIMES]), pa.date32()
    ),
    "Arrow date64 in pandas": lambda: arrow_in_pandas([t.date() for t in TIMES], pa.date64()),
    "Arrow times in pandas": lambda: arrow_in_pandas(gaps(NAIVE), pa.timestamp("us")),
    "Arrow time zone in pandas": lambda: arrow_in_pandas(
        gaps(TIMES), pa.timestamp("ns", "Europe/Paris")
    ),
    "Arrow durations in pandas": lambda: arrow_in_pandas(
        gaps([dt.timedelta(float(x)) for x in SIGNAL]), pa.duration("us")
    ),
    "Arrow time of day in pandas": lambda: arrow_in_pandas(
        [dt.time(18 if x > 0 else 6) for x in SIGNAL], pa.time64("us")
    ),
    "Arrow strings in pandas": lambda: arrow_in_pandas(gaps(WORDS.tolist()), pa.large_string()),
    "Arrow bytes in pandas": lambda: arrow_in_pandas([w.encode() for w in WORDS], pa.binary()),
    "Arrow bytes of one length": lambda: arrow_in_pandas([w.encode() for w in WORDS], pa.binary(3)),
    "Arrow booleans in pandas": lambda: arrow_in_pandas(gaps((SIGNAL > 0).tolist()), pa.bool_()),
    "Arrow decimals with gaps in pandas": lambda: arrow_in_pandas(
        gaps([Decimal(int(x)) for x in INTEGERS]), pa.decimal128(20, 3)
    ),
    "Arrow structs in pandas": lambda: arrow_in_pandas(
        [{"a": x > 0} for x in SIGNAL.tolist()], pa.struct([("a", pa.bool_())])
    ),
    "Arrow maps in pandas": lambda: arrow_in_pandas(
        [[("a", x > 0)] for x in SIGNAL.tolist()], pa.map_(pa.string(), pa.bool_())
    ),
    "Arrow nulls in pandas": lambda: Table(
        pd.DataFrame({"x": SIGNAL, "h": pd.array([None] * N, dtype=pd.ArrowDtype(pa.null()))})
    ),
    # ---- names of several levels, and of other types
    "names of two levels": lambda: Table(of_levels(("a", 1), ("a", 2), ("b", 1))),
    "names of two levels, one empty": lambda: Table(of_levels(("a", ""), ("b", ""))),
    "names of two levels, 1 and '1'": lambda: Table(of_levels(("a", 1), ("a", "1"))),
    "names of levels with names": lambda: Table(of_levels(("a", 1), ("b", 2), names=["k", "l"])),
    "names that are categories": lambda: Table(
        named("a", "b").set_axis(pd.CategoricalIndex(["a", "b"]), axis=1)
    ),
    "names that are dates": lambda: Table(
        named("a", "b").set_axis(pd.DatetimeIndex(["2020-01-01", "2020-01-02"]), axis=1)
    ),
    "names that are intervals": lambda: Table(
        named("a", "b").set_axis(pd.interval_range(0, 2), axis=1)
    ),
    # ---- cells of other types
    "numbers as bytes": lambda: column(objects([str(x).encode() for x in SIGNAL])),
    "bytes that can be changed": lambda: column(objects([bytearray(w.encode()) for w in WORDS])),
    "views of memory": lambda: beside([memoryview(w.encode()) for w in WORDS]),
    "dictionaries with other keys": lambda: column(labels({"a": 1}, {"b": 2})),
    "dictionaries that cannot be sorted": lambda: beside([{1: 2, "a": [1]}] * N),
    "tables in cells": lambda: beside([pd.DataFrame({"a": [1]})] * N),
    "lists that contain themselves": lambda: beside([itself() for _ in range(N)]),
    # ---- targets that are dates and others
    **{
        f"target of {name}": (lambda y=y: column(SIGNAL, y=y()))
        for name, y in {
            "datetime64": lambda: labels(1, 2).astype("datetime64[D]"),
            "pandas times": lambda: pd.Series(labels(pd.Timestamp(0), pd.Timestamp(10**18))),
            "objects of pandas times": lambda: labels(pd.Timestamp(0), pd.Timestamp(10**18)),
            "Python times": lambda: labels(dt.datetime(2020, 1, 1), dt.datetime(2021, 1, 1)),
            "times in a zone": lambda: pd.Series(labels(START, START + dt.timedelta(1))),
            "times of day": lambda: labels(dt.time(6), dt.time(7)),
            "durations": lambda: pd.Series(labels(dt.timedelta(1), dt.timedelta(2))),
            "periods": lambda: pd.Series(labels(pd.Period("2020-01"), pd.Period("2021-01"))),
            "intervals": lambda: pd.cut(SIGNAL, [-9, 0, 9]),
            "categories of dates": lambda: pd.Series(
                pd.Categorical(labels(1, 2).astype("datetime64[s]"))
            ),
            "Polars dates": lambda: pl.Series(
                labels(dt.date(2020, 1, 1), dt.date(2021, 1, 1)).tolist()
            ),
            "Arrow dates": lambda: pa.chunked_array(
                [labels(dt.date(2020, 1, 1), dt.date(2021, 1, 1)).tolist()]
            ),
            "Arrow dates in pandas": lambda: pd.Series(
                labels(dt.date(2020, 1, 1), dt.date(2021, 1, 1)), dtype=pd.ArrowDtype(pa.date32())
            ),
            "Arrow strings in pandas": lambda: pd.Series(LABELS, dtype=pd.ArrowDtype(pa.string())),
            "objects of bytes": lambda: labels(b"yes", b"no"),
            "Decimal classes": lambda: labels(Decimal("1.5"), Decimal("2")),
            "members of an Enum": lambda: labels(Colour.RED, Colour.BLUE),
        }.items()
    },
    "target of Arrow decimals in pandas": lambda: column(
        SIGNAL,
        y=pd.array([Decimal(int(x)) for x in INTEGERS], dtype=pd.ArrowDtype(pa.decimal128(9, 2))),
        model=regressor,
    ),
}


def rows(X: Any, stop: int) -> Any:
    """The first rows of a table of any kind."""
    if isinstance(X, pd.DataFrame):
        return X.iloc[:stop]
    if isinstance(X, (pa.Table, pa.RecordBatch)):
        return X.slice(0, stop)
    if isinstance(X, dict):
        return {name: values[:stop] for name, values in X.items()}
    return (X.tocsr() if scipy.sparse.issparse(X) else X)[:stop]


def hostile_rows(X: Any) -> list[Any]:
    """Rows of missing values, and rows with words that the table does not have."""
    if isinstance(X, pd.DataFrame):
        missing = X.reset_index(drop=True).reindex([-1, -2])
        unknown = X.iloc[:3].astype(object)
        for n, dtype in enumerate(X.dtypes):
            if not (
                pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_dtype(dtype)
            ):
                unknown.isetitem(n, objects(["never seen", None, ""])[: len(unknown)])
        return [missing, unknown]
    if isinstance(X, pl.DataFrame):
        return [X.clear(2)]
    if isinstance(X, (pa.Table, pa.RecordBatch)):
        return [pa.table([pa.nulls(2, field.type) for field in X.schema], schema=X.schema)]
    if isinstance(X, np.ndarray) and X.dtype.kind == "f" and not np.ma.isMaskedArray(X):
        return [np.full_like(X[:2], np.nan)]
    return []


def predictions(model: Any, X: Any) -> np.ndarray:
    return model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)


def assert_valid(model: Any, P: np.ndarray, n: int) -> None:
    assert len(P) == n
    assert np.isfinite(P).all()
    if hasattr(model, "classes_"):
        np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-5)


def score(model: Any, P: np.ndarray, y: Any) -> float:
    """The AUC of two classes, or R²."""
    y = np.asarray(y).ravel()
    if len(y) == 1:
        return 1.0
    if not hasattr(model, "classes_"):
        return float(r2_score(y.astype(float), P))
    if len(model.classes_) != 2:
        return 1.0
    if model.classes_.dtype.kind in "mM":
        y = y.astype(model.classes_.dtype)
    return float(roc_auc_score([str(v) == str(model.classes_[-1]) for v in y], P[:, -1]))


LARGE = {"100,000 categories", "long texts", "2,000 columns"}  # seconds each


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in MODELS]
)
def test_a_hostile_table_gives_a_good_model(name: str, tmp_path: Path) -> None:
    table = MODELS[name]()
    N = table.X.shape[0] if scipy.sparse.issparse(table.X) else len(table.y)
    model = table.model().fit(table.X, table.y)
    dp.save(model, tmp_path / "model.dp")
    again = dp.load(tmp_path / "model.dp")
    P = predictions(model, table.X)
    assert_valid(model, P, N)
    assert score(model, P, table.y) >= table.score
    if hasattr(model, "classes_"):
        assert set(model.predict(table.X)) <= set(model.classes_)
    one = predictions(model, rows(table.X, 1))
    np.testing.assert_allclose(one, P[:1], rtol=1e-4, atol=1e-6)
    for new in (table.X, rows(table.X, 1), *hostile_rows(table.X)):
        P_new = predictions(model, new)
        assert_valid(model, P_new, len(P_new))
        np.testing.assert_array_equal(predictions(again, new), P_new)


@pytest.mark.parametrize("value", [7.25, 0.1, 0.0, -1e12, 1e-300])
def test_a_constant_target_is_predicted(value: float) -> None:
    model = regressor().fit(FRAME, np.full(N, value))
    np.testing.assert_allclose(model.predict(FRAME), value, rtol=1e-12, atol=1e-320)
    np.testing.assert_allclose(model.predict_interval(FRAME), value, rtol=1e-12, atol=1e-320)


def test_masked_values_are_missing() -> None:
    masked = MODELS["masked array"]().X
    model = classifier().fit(masked, LABELS)
    filled = masked.filled(np.nan)
    np.testing.assert_array_equal(model.predict_proba(filled), model.predict_proba(masked))
    hidden = np.ma.masked_array(np.where(masked.mask, 99.0, DENSE), mask=masked.mask)
    np.testing.assert_array_equal(model.predict_proba(hidden), model.predict_proba(masked))


def test_there_are_enough_hostile_tables() -> None:
    assert len(MODELS) + len(ERRORS) >= 60


# ---------------------------------------------------------------- tables that are refused


def with_nested(value: Callable[[int], Any]) -> pd.DataFrame:
    return pd.DataFrame({"x": SIGNAL, "hostile": objects([value(n) for n in range(N)])})


FRAME = pd.DataFrame({"x": SIGNAL, "z": NOISE})

# name: (X, y, model, words of the message)
ERRORS: dict[str, Callable[[], tuple[Any, Any, Any, tuple[str, ...]]]] = {
    "duplicate names": lambda: (
        named("a", "b", "a"),
        LABELS,
        classifier,
        ("column named 'a'", "rename"),
    ),
    "duplicate names of Arrow": lambda: (
        pa.table([SIGNAL, NOISE], names=["a", "a"]),
        LABELS,
        classifier,
        ("column named 'a'", "rename"),
    ),
    "several columns without a name": lambda: (
        named("", ""),
        LABELS,
        classifier,
        ("column named ''", "rename"),
    ),
    "half of a surrogate pair in a name": lambda: (
        named("a", "\ud800"),
        LABELS,
        classifier,
        ("ud800", "valid", "rename"),
    ),
    "names that look the same": lambda: (
        named(1, "1"),
        LABELS,
        classifier,
        ("column named '1'", "rename"),
    ),
    "no rows": lambda: (FRAME[:0], [], classifier, ("row",)),
    "no columns": lambda: (FRAME[[]], LABELS, classifier, ("column",)),
    "no rows of Polars": lambda: (pl.DataFrame({"x": []}), [], classifier, ("row",)),
    "no columns of sparse": lambda: (
        scipy.sparse.csr_array((N, 0)),
        LABELS,
        classifier,
        ("column",),
    ),
    "nothing but words for missing values": lambda: (
        pd.DataFrame({"a": ["nan", "None", "?"] * 20}),
        LABELS,
        classifier,
        ("column", "empty"),
    ),
    "nothing but missing values": lambda: (
        pd.DataFrame({"a": [None] * N, "b": [np.nan] * N}),
        LABELS,
        classifier,
        ("column", "empty"),
    ),
    "Polars Int128": lambda: (
        pl.DataFrame({"h": pl.Series([int(x) * 2**70 for x in INTEGERS], dtype=pl.Int128)}),
        LABELS,
        classifier,
        ("X", "cast"),
    ),
    "complex numbers": lambda: (
        pd.DataFrame({"hostile": SIGNAL + 1j}),
        LABELS,
        classifier,
        ("hostile", "complex"),
    ),
    "complex array": lambda: (SIGNAL[:, None] + 1j, LABELS, classifier, ("complex",)),
    "complex sparse": lambda: (
        scipy.sparse.csr_array(DENSE + 1j),
        LABELS,
        classifier,
        ("complex",),
    ),
    "complex objects": lambda: (
        with_nested(lambda n: complex(n, 1)),
        LABELS,
        classifier,
        ("hostile", "complex"),
    ),
    "one dimension": lambda: (SIGNAL, LABELS, classifier, ("X", "shape (60,)", "reshape")),
    "a Series": lambda: (FRAME["x"], LABELS, classifier, ("X", "Series", "reshape")),
    "three dimensions": lambda: (DENSE[:, :, None], LABELS, classifier, ("X", "3")),
    "a number": lambda: (3.0, LABELS, classifier, ("X", "float")),
    "None": lambda: (None, LABELS, classifier, ("X", "NoneType")),
    "a string": lambda: ("no such file", LABELS, classifier, ("X", "str")),
    "a set": lambda: ({1, 2}, LABELS, classifier, ("X", "set")),
    "ragged lists": lambda: ([[1.0, 2.0], [3.0]] * 30, LABELS, classifier, ("X",)),
    "lists of different lengths": lambda: (
        {"x": SIGNAL.tolist(), "z": [1.0]},
        LABELS,
        classifier,
        ("length",),
    ),
    "too few labels": lambda: (FRAME, LABELS[:-1], classifier, ("60", "59")),
    "no target": lambda: (FRAME, None, classifier, ("y", "None")),
    "missing labels": lambda: (FRAME, gaps(LABELS), classifier, ("y", "missing")),
    "NaN among labels": lambda: (FRAME, gaps(LABELS, np.nan), classifier, ("y", "missing")),
    "NaN among classes of numbers": lambda: (
        FRAME,
        np.where(MISSING_ROWS, np.nan, SIGNAL > 0),
        classifier,
        ("y", "NaN"),
    ),
    "missing labels of categories": lambda: (
        FRAME,
        pd.Categorical(gaps(LABELS)),
        classifier,
        ("y", "missing"),
    ),
    "labels of lists": lambda: (
        FRAME,
        objects([[n % 2] for n in range(N)]),
        classifier,
        ("y", "one label", "list"),
    ),
    "labels of tuples": lambda: (FRAME, labels((1, 2), (2, 3)), classifier, ("y", "tuple")),
    "labels of dictionaries": lambda: (
        FRAME,
        labels({"a": 1}, {"a": 2}),
        classifier,
        ("y", "one label", "dict"),
    ),
    "labels of bytes": lambda: (FRAME, LABELS.astype(bytes), classifier, ("bytes", "string")),
    "complex labels": lambda: (
        FRAME,
        np.where(SIGNAL > 0, 1j, 2),
        classifier,
        ("y", "complex", "string"),
    ),
    "Arrow times as a number": lambda: (
        FRAME,
        pd.array(NAIVE, dtype=pd.ArrowDtype(pa.timestamp("us"))),
        regressor,
        ("y", "number", "convert"),
    ),
    "the same name of two levels": lambda: (
        of_levels(("a", 1), ("a", 1)),
        LABELS,
        classifier,
        ("('a', 1)", "rename"),
    ),
    "labels that are continuous": lambda: (FRAME, SIGNAL, classifier, ("continuous", "regression")),
    "missing numbers": lambda: (
        FRAME,
        np.where(MISSING_ROWS, np.nan, SIGNAL),
        regressor,
        ("y", "NaN"),
    ),
    "missing nullable numbers": lambda: (
        FRAME,
        pd.array(gaps(INTEGERS, pd.NA), dtype="Int64"),
        regressor,
        ("y", "NaN"),
    ),
    "infinite target": lambda: (
        FRAME,
        np.where(MISSING_ROWS, np.inf, SIGNAL),
        regressor,
        ("y", "inf"),
    ),
    "target of words": lambda: (FRAME, LABELS, regressor, ("y", "number", "TabularClassifier")),
    "target of dates": lambda: (FRAME, pd.Series(NAIVE), regressor, ("y", "number")),
    "complex target": lambda: (FRAME, SIGNAL + 1j, regressor, ("y", "complex")),
    "target of three dimensions": lambda: (
        FRAME,
        np.zeros((N, 2, 2)),
        regressor,
        ("y", "columns", "(60, 2, 2)"),
    ),
    "target beyond float64": lambda: (
        FRAME,
        objects([int(x) * 10**400 for x in INTEGERS]),
        regressor,
        ("y",),
    ),
    "all weights zero": lambda: (FRAME, (LABELS, np.zeros(N)), classifier, ("weight", "zero")),
    "NaN among weights": lambda: (
        FRAME,
        (LABELS, np.full(N, np.nan)),
        classifier,
        ("weight", "NaN"),
    ),
    "negative weights": lambda: (
        FRAME,
        (LABELS, np.full(N, -1.0)),
        classifier,
        ("weight", "negative"),
    ),
    "too few weights": lambda: (
        FRAME,
        (LABELS, np.ones(N - 1)),
        classifier,
        ("weight", "59", "60"),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_table_that_cannot_be_used_is_refused(name: str) -> None:
    X, y, make, words = ERRORS[name]()
    y, weights = y if isinstance(y, tuple) else (y, None)
    model = make(max_iter=2).fit(FRAME, LABELS if make is classifier else SIGNAL)
    before, state = predictions(model, FRAME), dict(model.__dict__)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        model.fit(X, y, weights)
    message = str(caught.value)
    for word in words:
        assert word.lower() in message.lower(), f"{word!r} is missing from: {message}"
    assert len(message) < 600, message
    np.testing.assert_array_equal(predictions(model, FRAME), before)
    assert model.__dict__.keys() == state.keys()


# ---------------------------------------------------------------- twins


def as_polars(frame: pd.DataFrame) -> pl.DataFrame:
    return pl.from_pandas(frame)


def as_arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def as_arrow_in_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.convert_dtypes(dtype_backend="pyarrow")


def as_objects(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(object).assign(category=frame["category"])


TWINS = {
    "Polars": as_polars,
    "Arrow": as_arrow,
    "Arrow in pandas": as_arrow_in_pandas,
    "objects": as_objects,
    "a dictionary": lambda frame: {name: frame[name] for name in frame},
    "Arrow in chunks": lambda frame: pa.concat_tables(
        [as_arrow(frame[:5]), as_arrow(frame[5:])]
    ).unify_dictionaries(),
    "Polars in chunks": lambda frame: pl.concat(
        [as_polars(frame[:5]), as_polars(frame[5:])], rechunk=False
    ),
    "another order of columns": lambda frame: frame[frame.columns[::-1]],
    "another index": lambda frame: frame.set_index(pd.Index(range(N, 0, -1))),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_of_a_table_gives_the_same_predictions(name: str) -> None:
    frame = rows_of_many_types()
    twin = TWINS[name](frame)
    model = classifier().fit(frame, LABELS)
    P = model.predict_proba(frame)
    np.testing.assert_array_equal(model.predict_proba(twin), P)
    if name != "another order of columns":
        np.testing.assert_array_equal(classifier().fit(twin, LABELS).predict_proba(frame), P)


def test_the_same_moments_in_another_time_zone_give_the_same_predictions() -> None:
    table = MODELS["a time zone"]()
    model = classifier().fit(table.X, table.y)
    tokyo = table.X.assign(hostile=table.X["hostile"].dt.tz_convert("Asia/Tokyo"))
    np.testing.assert_array_equal(model.predict_proba(tokyo), model.predict_proba(table.X))


def test_a_sparse_matrix_gives_the_predictions_of_the_dense_one() -> None:
    dense = classifier().fit(DENSE, LABELS).predict_proba(DENSE)
    sparse = classifier().fit(scipy.sparse.csr_array(DENSE), LABELS)
    np.testing.assert_allclose(sparse.predict_proba(DENSE), dense, rtol=1e-5)
    np.testing.assert_allclose(
        sparse.predict_proba(scipy.sparse.csr_array(DENSE)), dense, rtol=1e-5
    )


# ---------------------------------------------------------------- hostile rows to predict


def test_a_missing_column_is_named() -> None:
    model = classifier().fit(rows_of_many_types(), LABELS)
    with pytest.raises(ValueError, match="word"):
        model.predict(rows_of_many_types().drop(columns="word"))


def test_further_columns_do_not_change_the_predictions() -> None:
    frame = rows_of_many_types()
    model = classifier().fit(frame, LABELS)
    more = frame.assign(more=NOISE)[["more", *frame.columns]]
    np.testing.assert_array_equal(model.predict_proba(more), model.predict_proba(frame))


def test_words_in_a_column_of_numbers_are_named_or_missing() -> None:
    model = classifier().fit(FRAME, LABELS)
    missing = model.predict_proba(FRAME.assign(z=np.nan))
    words = FRAME.astype(object).assign(z="many")
    try:
        np.testing.assert_array_equal(model.predict_proba(words), missing)
    except ValueError as error:
        assert "'z'" in str(error)  # noqa: PT017


def test_no_rows_to_predict_are_an_error() -> None:
    model = classifier().fit(FRAME, LABELS)
    with pytest.raises(ValueError, match="X has no rows"):
        model.predict(FRAME[:0])


def test_a_number_as_a_word_is_the_number() -> None:
    model = classifier().fit(FRAME, LABELS)
    words = FRAME.astype(str)
    np.testing.assert_allclose(model.predict_proba(words), model.predict_proba(FRAME), rtol=1e-4)


def test_an_infinite_number_is_larger_than_all_others() -> None:
    model = regressor().fit(FRAME, SIGNAL)
    low, high = model.predict(pd.DataFrame({"x": [-np.inf, np.inf], "z": [0.0, 0.0]}))
    assert low < -0.5 < 0.5 < high
    assert model.encoder_.encode(pd.DataFrame({"x": [-np.inf], "z": [np.inf]}))[0, :2].tolist() == [
        -3,
        3,
    ]
