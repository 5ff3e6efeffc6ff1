"""ONNX, C, Python and light models predict the same, on the shipped tables and the benchmark's.

Tables are skipped whose packages, in benchmarks/tables/requirements.txt, are not installed.
"""

from types import SimpleNamespace

import pytest
from benchmarks.tables import code, exports
from benchmarks.tables.registry import TABLES
from benchmarks.tables.sources import NotInstalled
from benchmarks.tables.table import CLASSIFICATION, REGRESSION

import deltaprop as dp

from .generated_code import require_gcc

pytestmark = pytest.mark.slow


def shipped(name, file, target, task):
    """A table of the folder data, as the programs of the benchmark take it."""

    def load():
        table = dp.tables.read_table(f"data/{file}").dropna(subset=[target])
        return table.drop(columns=target), table[target].to_numpy()

    return SimpleNamespace(name=name, task=task, load=load)


SHIPPED = [
    shipped("shipped penguins", "penguins.csv", "species", CLASSIFICATION),
    shipped("shipped diamonds", "diamonds.csv.gz", "price", REGRESSION),
]
each_table = pytest.mark.parametrize(
    "table", [*SHIPPED, *TABLES.values()], ids=lambda table: table.name
)


def rows_of(program, table):
    """What the program of the benchmark finds for one table."""
    try:
        return program.measure([table], print)
    except NotInstalled as missing:
        pytest.skip(str(missing))


@each_table
def test_onnx(table):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    found = rows_of(exports, table).set_index("file")
    assert found.difference["float32"] < 1e-5
    assert found.difference["float16"] < 2e-3
    assert found.difference["int8"] < 0.1
    if table.task == CLASSIFICATION:
        assert found.same_labels["float32"] == 1


@each_table
def test_code(table):
    require_gcc()
    (found,) = rows_of(code, table).to_dict("records")
    for kind in ("C", "Python", "light"):
        assert found[kind] < 1e-5, kind
