"""``to_python``: a model as one Python file that needs only the standard library."""

from __future__ import annotations

import base64
from importlib import resources
from pprint import pformat
from typing import Any

import numpy as np

from deltaprop._version import __version__
from deltaprop.data.columns.words import MISSING_WORDS
from deltaprop.files.searches import best_of_search
from deltaprop.plan.planning import plan_of
from deltaprop.plan.steps import (
    Classes,
    ColumnStep,
    DateStep,
    Numbers,
    NumberStep,
    Plan,
)
from deltaprop.storage.places import Place, write_bytes

EMPTY = "MODEL: dict[str, Any] = {}\n"  # in predictor.py
WIDTH = 100


def to_python(model: Any, path: Place) -> int:
    """Write a model as one Python file, which needs nothing but the standard library.

    The file has the functions ``predict(row)`` and ``predict_proba(row)`` of a dict of values. As a
    program, it reads rows as CSV from standard input and writes predictions as CSV. It needs Python
    3.11 or newer, and is meant for few rows, because numbers are multiplied one by one.

    Parameters
    ----------
    model : Network, MLP estimator, tabular estimator or search
        Estimators must be fitted. Of a search, such as ``GridSearchCV``, this is its best
        estimator. Columns may be numbers, booleans, durations, categories and dates.
    path : str or Path
        Usually ends in ``.py``. May be a URL, as for :func:`deltaprop.save`.

    Returns
    -------
    int
        The size of the file in bytes.

    Raises
    ------
    ValueError
        If a part of the model cannot be written, such as a column of text or a custom activation;
        the message names it and the alternatives.

    Examples
    --------
    >>> import deltaprop as dp, runpy, tempfile, os
    >>> net = dp.Network(1, [dp.Dense(1)], loss="squared_error")
    >>> net.theta = [2.0, 1.0]
    >>> path = os.path.join(tempfile.mkdtemp(), "model.py")
    >>> dp.to_python(net, path) == os.path.getsize(path)
    True
    >>> runpy.run_path(path)["predict"]({"x0": 3.0})
    7.0
    """
    model = best_of_search(model)
    data = python_source(plan_of(model), _words_of(model)).encode()
    write_bytes(path, data)
    return len(data)


def python_source(plan: Plan, words: dict[bool, str] | None = None) -> str:
    """The file. `words` are those that stand for the classes True and False in tables."""
    template = resources.files("deltaprop.export").joinpath("predictor.py").read_text("utf-8")
    before, after = template.split(EMPTY)
    data = _data(plan) | {"words": {str(label): word for label, word in (words or {}).items()}}
    text = pformat(data, width=WIDTH, sort_dicts=False)
    return f"{before}# Written by deltaprop {__version__}.\nMODEL: dict[str, Any] = {text}\n{after}"


def _words_of(model: Any) -> dict[bool, str] | None:
    words: dict[bool, str] | None = getattr(model, "label_words_", None)
    return words


def _data(plan: Plan) -> dict[str, Any]:
    data: dict[str, Any] = {
        "inputs": list(plan.inputs),
        "target": plan.target or "prediction",
        "n_encoded": plan.n_encoded,
    }
    if plan.columns:
        data["columns"] = [_column(step) for step in plan.columns]
        data["missing_words"] = sorted(MISSING_WORDS)
    if plan.bins is not None:
        bins = plan.bins
        data["first_bin"] = bins.at
        data["bins"] = [_packed(part) for part in (bins.source.astype("i4"), bins.low, bins.high)]
    data["networks"] = [
        [
            (
                _packed(s.W),
                _packed(s.b),
                s.activation,
                None if s.alpha is None else _packed(s.alpha),
            )
            for s in layers
        ]
        for layers in plan.networks
    ]
    if isinstance(plan.output, Numbers):
        return data | {name: _plain(value) for name, value in vars(plan.output).items()}
    return data | _classes(plan.output)


def _column(step: ColumnStep) -> dict[str, Any]:
    if isinstance(step, NumberStep):
        values = {name: _plain(value) for name, value in vars(step).items() if name != "unit"}
        return {"kind": "number", **values}
    if isinstance(step, DateStep):
        return {"kind": "date", **{name: _plain(value) for name, value in vars(step).items()}}
    values = {name: _plain(value) for name, value in vars(step).items() if name != "labels"}
    return {
        "kind": "category",
        **values,
        "places": dict(zip(step.labels, step.places, strict=True)),
    }


def _classes(out: Classes) -> dict[str, Any]:
    values = {name: _plain(value) for name, value in vars(out).items()}
    return {"classes": values.pop("labels"), **values}


def _plain(value: Any) -> Any:
    """A value as lists of Python's numbers and strings."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _packed(values: np.ndarray) -> str:
    """Numbers as base64 in little-endian order, after the code of their type in `struct`."""
    code = {"float32": "f", "float64": "d", "int32": "i"}[values.dtype.name]
    data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
    return code + base64.b64encode(data).decode()
