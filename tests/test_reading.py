"""Tables as people have them are read as what they are: see tests/tables/make.py."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from deltaprop.data.reading import ReadingOptions, TableError, read
from deltaprop.tables import TableEncoder

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
    notes = [note for part in notes for note in part]
    note = expected.get("note")
    if note is not None and (note not in " ".join(notes) or (note == "" and notes)):
        found.append(f"notes {notes}")
    return found


def test_there_are_enough_tables():
    assert len(TABLES) >= 80


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_as_what_it_is(name):
    assert not differences(name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_a_clear_error(name):
    with pytest.raises(TableError, match=EXPECTED[name]["error"]):
        read(FOLDER / name)
