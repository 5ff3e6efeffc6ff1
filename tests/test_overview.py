"""What is said about a table before a model learns from it."""

import numpy as np
import pandas as pd
import pytest

from deltaprop.tables import TableError, describe, read_table

N = 400
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def table():
    target = np.where(RNG.random(N) < 0.3, "leaves", "stays")
    target[:3] = "dies"
    size = RNG.normal(size=N).round(3)
    frame = pd.DataFrame(
        {
            "customer id": np.arange(1000, 1000 + N),
            "size": size,
            "size again": size,
            "answer": np.where(RNG.random(N) < 0.5, "yes", "no"),
            "city": RNG.choice(["Rome", "Oslo", "Bern"], N),
            "day": pd.date_range("2020", periods=N).strftime("%d.%m.%Y"),
            "note": [f"customer {i} called on a rainy day" for i in range(N)],
            "code": [f"X{i:05}" for i in RNG.permutation(N)],
            "country": "CH",
            "nothing": np.nan,
            "age": np.where(RNG.random(N) < 0.1, -999, RNG.integers(20, 80, N)),
            "income": np.where(RNG.random(N) < 0.25, np.nan, RNG.normal(size=N)),
            "cancelled": np.where(target == "leaves", 1, 0) + 2 * (target == "dies"),
            "target": target,
        }
    )
    return pd.concat([frame, frame.tail(5)], ignore_index=True)


@pytest.fixture(scope="module")
def overview(table):
    return describe(table, "target")


def test_the_kinds_of_columns(overview):
    kinds = overview.columns["kind"].to_dict()
    assert kinds == {
        "customer id": "numeric", "size": "numeric", "size again": "numeric", "answer": "boolean",
        "city": "category", "day": "date", "note": "text", "code": "text", "country": "category",
        "nothing": "empty", "age": "numeric", "income": "numeric", "cancelled": "numeric",
        "target": "category",
    }  # fmt: skip
    assert str(overview).startswith(
        "405 rows, 14 columns: 6 numeric, 1 boolean, 3 categorical, 1 date, 2 text, 1 empty."
    )


@pytest.mark.parametrize(
    "finding",
    [
        "target has 3 classes: stays ",
        "Rare classes, with few rows to learn from: dies (3).",
        "Missing values: income 2",
        "Left out automatically, as all values are missing: nothing.",
        "The same in all rows, so without effect: country.",
        "size again has the same values as size.",
        "Looks like an identifier, from which nothing general can be learned: customer id, code.",
        "--drop 'customer id' --drop code",
        "age contains -999: if it means missing, use --na -999.",
        "5 rows equal an earlier one (1.2 %)",
        "May give the target away: 'cancelled' alone predicts y with balanced accuracy 1.000",
    ],
)
def test_findings(overview, finding):
    assert finding in str(overview)


def test_nothing_is_said_without_reason():
    frame = pd.DataFrame({"x": RNG.normal(size=200), "y": RNG.choice(["a", "b"], 200)})
    assert len(describe(frame, "y").findings) == 1  # the frequencies of the classes
    assert describe(frame).findings == []


def test_measurements_with_remarks_among_them_are_no_identifier():
    cells = [f"{i / 7:.4f}" for i in range(60)] + ["<0.01", "n.d."]
    names = [f"P{i}" for i in range(62)]
    found = str(describe(pd.DataFrame({"Fe": cells, "sample": names})))
    line = next(line for line in found.splitlines() if "identifier" in line)
    assert "sample" in line
    assert "Fe" not in line


def test_unbalanced_classes_are_reported():
    frame = pd.DataFrame({"x": RNG.normal(size=200), "y": ["a"] * 190 + ["b"] * 10})
    assert "always predicting a is right in 95 % of the rows" in str(describe(frame, "y"))


def test_a_numeric_target_has_a_range():
    found = str(describe(read_table("data/penguins.csv"), "body_mass_g"))
    assert "body_mass_g is between 2,700 and 6,300; half of it is below 4,050." in found
    assert "2 rows without body_mass_g, the target, are left out." in found


def test_a_target_that_cannot_be_predicted():
    frame = pd.DataFrame({"x": RNG.normal(size=30), "name": [f"n{i}" for i in range(30)]})
    assert "name cannot be predicted" in str(describe(frame, "name"))


def test_an_unknown_target_is_a_clear_error(table):
    with pytest.raises(TableError, match="Did you mean 'target'"):
        describe(table, "targt")


def test_many_rows_are_sampled_but_missing_values_counted(table):
    many = pd.concat([table] * 100, ignore_index=True)
    many.loc[7, "size"] = np.nan  # not among the rows that are looked at
    found = describe(many, "target")
    assert found.rows == 40_500
    assert found.columns.loc["size", "missing"] == pytest.approx(1 / 40_500)


def test_any_values_can_be_described():
    half = pd.Series(["\ud800", "b", "\ud800"], dtype=object)  # of a surrogate pair
    frame = pd.DataFrame({"list": [[1], [2], [1]], "half": half, "x": [1, 2, 1]})
    assert "1 row equals an earlier one" in str(describe(frame))
