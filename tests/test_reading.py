"""Tables as people have them are read as what they are: see tests/tables/make.py."""

import functools
import http.server
import json
import math
import shutil
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deltaprop as dp
from deltaprop.data.reading import ReadingOptions, TableError, read
from deltaprop.tables import TableEncoder, UnparsedCells, describe, read_table, stream

FOLDER = Path(__file__).parent / "tables"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
TABLES = [name for name, expected in EXPECTED.items() if "columns" in expected]
REFUSED = [name for name, expected in EXPECTED.items() if "error" in expected]


def options_of(expected):
    given = expected.get("options", {})
    return ReadingOptions(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def is_same(found, expected):
    """Whether a cell has a value, in its type; whole floats are integers."""
    if expected is None:
        return pd.isna(found)
    if isinstance(expected, (bool, str)):
        return type(found) is type(expected) and found == expected
    if isinstance(expected, list):
        return found == expected
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return is_number and math.isclose(found, expected, rel_tol=1e-12)


def dates_of(column):
    """The dates that the encoder sees in a column, which it must recognise as dates."""
    encoder = TableEncoder().fit(pd.DataFrame({"day": column}))
    assert encoder.kinds_ == {"day": "date"}
    from deltaprop.data.columns.values import dates

    found = dates(column, encoder.columns_["day"].pattern, None).strftime("%Y-%m-%d")
    return [None if pd.isna(day) else day for day in found]


def differences(name):
    """What is read otherwise than expected."""
    expected = EXPECTED[name]
    frame, *notes = read(FOLDER / name, options_of(expected))
    if list(frame.columns) != list(expected["columns"]):
        return [f"columns {list(frame.columns)}"]
    found = []
    for column, cells in expected["columns"].items():
        is_date = column in expected.get("dates", ())
        read_cells = dates_of(frame[column]) if is_date else frame[column].tolist()
        same = len(read_cells) == len(cells) and all(map(is_same, read_cells, cells))
        found += [] if same else [f"{column}: {read_cells}"]
    kinds = describe(frame).columns["kind"]
    found += [f"{c}: {kinds[c]}" for c in expected.get("booleans", ()) if kinds[c] != "boolean"]
    notes = [note for part in notes for note in part]
    note = expected.get("note")
    if note is not None and (note not in " ".join(notes) or (note == "" and notes)):
        found.append(f"notes {notes}")
    return found


def test_nearly_all_tables_are_read_as_what_they_are():
    failing = [name for name in TABLES if "fails" in EXPECTED[name]]
    assert len(TABLES) >= 80
    assert len(failing) <= 0.03 * len(TABLES)


def _marked(name):
    reason = EXPECTED[name].get("fails")
    return pytest.param(name, marks=[] if reason is None else pytest.mark.xfail(reason=reason))


@pytest.mark.parametrize("name", [_marked(name) for name in TABLES])
def test_a_table_is_read_as_what_it_is(name):
    assert not differences(name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_a_clear_error(name):
    with pytest.raises(TableError, match=EXPECTED[name]["error"]):
        read(FOLDER / name)


# ---------------------------------------------------------------- any table in any style

WORDS = st.sampled_from(["Köln", "Größe", "Málaga", "blue", "dark red", "O'Brien", "x-ray", "A1"])


@st.composite
def tables(draw):
    """Columns of fractions, whole numbers and words; the first one shows the decimal mark."""
    n = draw(st.integers(3, 8))

    def column(cell):
        return draw(st.lists(cell, min_size=n, max_size=n))

    fractions = st.integers(-(10**9), 10**9).map(lambda cents: cents / 100)
    kinds = [fractions, st.integers(-(10**8), 10**8), WORDS]
    columns = {"anchor": [0.5, 1.25, *column(fractions)][:n]}
    for i in range(draw(st.integers(1, 4))):
        columns[f"col {i}"] = column(draw(st.sampled_from(kinds)))
    return columns


@given(
    columns=tables(),
    sep=st.sampled_from(",;\t|"),
    decimal=st.sampled_from(".,"),
    grouped=st.sampled_from(["", " ", "'", "other"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_style_of_any_table_is_read(
    columns, sep, decimal, grouped, encoding, end, tmp_path_factory
):
    mark = {".": ",", ",": "."}[decimal] if grouped == "other" else grouped

    def written(cell):
        if isinstance(cell, str):
            return cell
        digits = f"{cell:,}" if mark else str(cell)
        word = digits.replace(".", "D").replace(",", mark).replace("D", decimal)
        return f'"{word}"' if sep in word else word

    rows = [list(columns), *zip(*columns.values(), strict=True)]
    text = end.join(sep.join(map(written, row)) for row in rows) + end
    path = tmp_path_factory.mktemp("style") / "t.csv"
    path.write_bytes(text.encode(encoding))
    frame = read(path).frame
    assert list(frame.columns) == list(columns)
    for name, cells in columns.items():
        assert all(map(is_same, frame[name].tolist(), cells)), name


# ---------------------------------------------------------------- beyond single files


def test_letters_that_come_late_are_decoded(tmp_path):
    """The encoding shows only behind the part of a file in which it is detected."""
    path = tmp_path / "late.csv"
    words = ["plain"] * 30_000 + ["Köln", "Zürich"]
    lines = ["city;x", *(f"{word};{i},5" for i, word in enumerate(words))]
    path.write_bytes("\n".join(lines).encode("latin-1"))
    frame, notes, _ = read(path)
    assert frame["city"].tolist()[-2:] == ["Köln", "Zürich"]
    assert frame["x"].iloc[-1] == 30_001.5
    assert "latin-1" in notes[0]


def test_decimal_commas_that_come_late_decide_for_all_columns(tmp_path):
    """1.234 is a plain number until another column shows that the comma is the decimal mark."""
    path = tmp_path / "late.csv"
    lines = ["count;x", *["1.234;1"] * 30_000, "2.500;1,5", "3.000;2,25"]
    path.write_text("\n".join(lines))
    frame = read(path).frame
    assert frame["count"].tolist()[-2:] == [2500, 3000]
    assert frame["x"].tolist()[-2:] == [1.5, 2.25]


def test_options_win_over_what_is_detected(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,234;x\n2,500;y\n")
    assert read(path, ReadingOptions(thousands=",")).frame["a"].tolist() == [1234, 2500]
    assert read(path, ReadingOptions(decimal=",")).frame["a"].tolist() == [1.234, 2.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sep": "ab"}, "one character"),
        ({"decimal": ";"}, "decimal must be"),
        ({"decimal": ",", "thousands": ","}, "cannot both"),
        ({"encoding": "utf-99"}, "name of an encoding"),
        ({"date_format": "dd.mm.yyyy"}, "pattern such as"),
    ],
)
def test_impossible_options_are_clear_errors(options, message):
    with pytest.raises(TableError, match=message):
        read_table("data/penguins.csv", **options)


def test_plain_tables_are_read_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_table("data/penguins.csv").shape == (344, 8)


def test_cells_that_do_not_parse_are_a_warning_of_their_own():
    with pytest.warns(UnparsedCells, match="2 of 22 cells do not parse.*'about 7', '12\\?'"):
        read_table(FOLDER / "some_cells_do_not_parse.csv")


@pytest.mark.parametrize("module", ["python_calamine", "sqlalchemy"])
def test_a_missing_extra_is_named(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    place, extra = {
        "python_calamine": (FOLDER / "people.xlsx", "excel"),
        "sqlalchemy": ("postgresql://localhost/sales", "sql"),
    }[module]
    with pytest.raises(TableError, match=rf"pip install 'deltaprop\[{extra}\]'"):
        read_table(place)


def test_databases_are_read_by_url(tmp_path):
    shutil.copy(FOLDER / "people.sqlite", tmp_path / "people.sqlite")
    url = f"sqlite:///{tmp_path}/people.sqlite"
    assert read_table(url).shape == (6, 3)
    assert read_table(url, query="SELECT age FROM people WHERE age > 50")["age"].tolist() == [
        51,
        60,
    ]


def test_errors_of_databases_hide_the_password():
    with pytest.raises(TableError) as caught:
        read_table("mysql+nodriver://me:secret@host/sales", query="SELECT 1")
    assert "secret" not in str(caught.value)


@pytest.fixture
def server(tmp_path):
    """The folder of tables, by http."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.mark.filterwarnings("ignore::deltaprop.tables.TableWarning")
def test_tables_are_read_by_http(server, capfd):
    for name in ("comma.csv", "packed.csv.gz", "people.xlsx", "people.parquet"):
        assert read_table(f"{server}/{name}").shape == (6, 3)
    with pytest.raises(TableError, match="404"):
        read_table(f"{server}/absent.csv")


def test_tables_are_read_from_any_file_system():
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe("/t/people.csv", (FOLDER / "comma.csv").read_bytes())
    assert read_table("memory://t/people.csv").shape == (6, 3)


# ---------------------------------------------------------------- streams

STREAMED = ["comma.csv", "semicolon_decimal_comma.csv", "tab.tsv", "pipe.csv", "latin1_german.csv",
            "utf8_bom.csv", "missing_dash.csv", "packed.csv.gz"]  # fmt: skip


@pytest.mark.filterwarnings("ignore::deltaprop.tables.TableWarning")
@pytest.mark.parametrize("name", STREAMED)
def test_streams_read_the_same(name):
    rows = stream(FOLDER / name)
    expected = EXPECTED[name]["columns"]
    assert list(rows.features) == list(expected)
    frame = next(rows.as_frames(100))
    for column, cells in expected.items():
        assert all(map(is_same, frame[column].tolist(), cells))


@pytest.mark.parametrize(
    ("name", "obstacle"),
    [
        ("thousands_dot.csv", "marks between thousands"),
        ("title.csv", "lines above the names"),
        ("no_header.csv", "no names of columns"),
        ("single_space.txt", "spaces as separators"),
        ("people.xlsx", "must fit into memory"),
    ],
)
def test_what_cannot_be_streamed_is_a_clear_error(name, obstacle):
    with pytest.raises(TableError, match=obstacle):
        stream(FOLDER / name)


# ---------------------------------------------------------------- predictions


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=60).round(2), "day": pd.date_range("2024", periods=60)})
    X["day"] = X["day"].dt.strftime("%d/%m/%Y")
    return dp.TabularRegressor((4,), max_iter=2, cv=1, random_state=0).fit(X, X["x"])


def test_cells_that_do_not_parse_are_counted_at_prediction(model):
    X = pd.DataFrame({"x": ["1.5", "many", None, "NA"], "day": ["01/02/2024"] * 3 + ["May 4"]})
    with pytest.warns(UnparsedCells) as caught:
        model.predict(X)
    messages = [str(warning.message) for warning in caught]
    assert "'x': 1 of 4 cells are not numbers and are treated as missing ('many')" in messages[0]
    assert "'day': 1 of 4 cells are not dates" in messages[1]


def test_cells_that_parse_or_are_missing_give_no_warning(model):
    X = pd.DataFrame({"x": ["1.5", "", None, "NA"], "day": ["01/02/2024", "NA", None, ""]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X)


# ---------------------------------------------------------------- sizes


def test_lines_may_be_long(tmp_path):
    """The names of all columns do not fit into the first sample."""
    path = tmp_path / "wide.csv"
    names = [f"the {'long ' * 60}name of column {i}" for i in range(1500)]
    path.write_text("\n".join([";".join(names), *[";".join(["1,5"] * 1500)] * 3]))
    frame = read(path).frame
    assert list(frame.columns) == names
    assert (frame == 1.5).all(axis=None)


def test_missing_numbers_are_named_for_all_formats():
    frame = read_table(FOLDER / "people.parquet", na=["34", "Ben"])
    assert frame["age"].isna().tolist() == [True, False, False, False, False, False]
    assert frame["name"].isna().tolist() == [False, True, False, False, False, False]


def test_whole_numbers_of_sheets_are_integers():
    assert read_table(FOLDER / "people.xlsx")["age"].dtype == "int64"


def test_numbers_in_another_format_are_reported_at_fit():
    X = pd.DataFrame({"x": ["1,5", "2,5", "3,25"] * 20, "code": ["A1", "A2", "B1"] * 20})
    with pytest.warns(UnparsedCells, match="'x' looks numeric but is encoded as words") as caught:
        TableEncoder().fit(X)
    assert len(caught) == 1


def test_loading_a_model_gives_no_warning(model, tmp_path):
    dp.save(model, tmp_path / "m.dp")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dp.load(tmp_path / "m.dp")
