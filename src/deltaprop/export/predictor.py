"""Predictions of a model of deltaprop: one file, which needs only Python's standard library.

`predict(row)` takes a dict of the values of a row by the names of COLUMNS; a value that is None,
NaN or absent is missing. `predict_proba(row)`, of a classifier, returns a probability for each of
CLASSES. As a program, it reads rows as CSV from standard input and writes predictions:

    python FILE.py < rows.csv > predictions.csv
    python FILE.py --proba < rows.csv
"""

from __future__ import annotations

import base64
import bisect
import csv
import datetime
import itertools
import math
import os
import statistics
import struct
import sys
import warnings
import zoneinfo
from typing import Any

MODEL: dict[str, Any] = {}

COLUMNS: list[str] = MODEL.get("inputs", [])
CLASSES: list[Any] = MODEL.get("classes", [])
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
PARTS = ("year", "month", "day", "hour")


def predict(row: dict[str, Any]) -> Any:
    """The prediction for a row: a class, or a list of 0 and 1 for several labels; or a number.

    Several numbers, such as those of several targets or quantiles, are a dict.
    """
    z = _outputs(row)
    if "names" in MODEL:
        y = _numbers(z)
        return y[0] if len(y) == 1 else dict(zip(MODEL["names"], y, strict=True))
    return _decide(_probabilities(z))


def predict_proba(row: dict[str, Any]) -> list[float]:
    """The probability of each of CLASSES for a row."""
    if not CLASSES or MODEL["margins"]:
        raise ValueError("This model predicts no probabilities.")
    return _probabilities(_outputs(row))


def main() -> None:
    """Read rows as CSV from standard input, and write predictions as CSV."""
    proba = "--proba" in sys.argv[1:]
    if proba and (not CLASSES or MODEL["margins"]):
        sys.exit("Error: this model predicts no probabilities.")
    reader = csv.DictReader(sys.stdin)
    absent = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
    if absent:
        sys.exit(f"Error: the table lacks column(s) that the model needs: {', '.join(absent)}.")
    words, several = [_in_words(label) for label in CLASSES], MODEL.get("several", False)
    target = MODEL["target"]
    names = MODEL.get("names") or ([f"{target}_{w}" for w in words] if several else [target])
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*names, *(f"probability_{word}" for word in words if proba)])
    for row in reader:
        z = _outputs(row)
        if "names" in MODEL:
            writer.writerow(_numbers(z))
            continue
        P = _probabilities(z)
        decided = _decide(P)
        writer.writerow([*(decided if several else [_in_words(decided)]), *(P if proba else [])])


def _in_words(label: Any) -> str:
    """A class as the table that the model was trained on writes it."""
    words: dict[str, str] = MODEL["words"]
    return words.get(str(label), str(label))


# ---------------------------------------------------------------- from a row to x


def _outputs(row: dict[str, Any]) -> list[float]:
    """The mean output of the networks for a row."""
    x = _encoded(row) if "columns" in MODEL else [float(row[name]) for name in COLUMNS]
    outputs = [_forward(layers, x) for layers in NETWORKS]
    n = len(outputs)
    z = [sum(values) / n for values in zip(*outputs, strict=True)]
    if MODEL.get("gaussian") and n > 1:  # the variance of a mixture
        half = len(z) // 2
        for h in range(half):
            z[half + h] += sum((one[h] - z[h]) ** 2 for one in outputs) / n
    return z


def _encoded(row: dict[str, Any]) -> list[float]:
    x = [0.0] * MODEL["n_encoded"]
    for column in MODEL["columns"]:
        _WRITE[column["kind"]](column, row.get(column["name"]), x)
    x = list(struct.unpack(f"{len(x)}f", struct.pack(f"{len(x)}f", *x)))  # bins may be narrow
    for i, (source, low, high) in enumerate(BINS):
        x[MODEL["first_bin"] + i] = min(max((x[source] - low) / (high - low), 0.0), 1.0)
    return x


def _write_number(column: dict[str, Any], cell: Any, x: list[float]) -> None:
    value = _number(cell, column["name"])
    if column["knots"] is None:
        x[column["at"]] = _scaled(value, column["center"], column["scale"])
    else:
        x[column["at"]] = _normal(value, column["knots"])
    if column["flag"] is not None:
        x[column["flag"]] = column["high"] if math.isnan(value) else column["low"]


def _write_date(column: dict[str, Any], cell: Any, x: list[float]) -> None:
    parts = _parts(cell, column)
    for i, (value, center, scale) in enumerate(
        zip(parts, column["center"], column["scale"], strict=True)
    ):
        x[column["at"] + i] = _scaled(value, center, scale)
        if column["flag"] is not None:
            ends = column["high"] if math.isnan(parts[0]) else column["low"]
            x[column["flag"] + i] = ends[i]


def _write_category(column: dict[str, Any], cell: Any, x: list[float]) -> None:
    word = _label(cell)
    if word is not None and column["missing_words"] and (word in MISSING or word.isspace()):
        word = None
    place = column["missing"]
    if word is not None:
        place = column["places"].get(word, column["unknown"])
    x[column["at"] : column["at"] + len(column["low"])] = column["low"]
    if place >= 0:
        x[column["at"] + place] = column["high"][place]


_WRITE = {"number": _write_number, "date": _write_date, "category": _write_category}


def _scaled(value: float, center: float, scale: float) -> float:
    """A number as an entry of x; a missing one is 0, which is where the median lies."""
    z = (value - center) * scale
    if math.isnan(z):
        return 0.0
    z = min(max(z, -1e100), 1e100)
    return z / math.sqrt(1 + (z / 3) ** 2)


def _normal(value: float, knots: list[float]) -> float:
    """A number with a normal distribution, by its place among the knots."""
    end = 5.199337582605575
    if math.isnan(value) or knots[0] == knots[-1]:
        return 0.0
    if value - 1e-7 < knots[0]:
        return -end
    if value + 1e-7 > knots[-1]:
        return end
    first, last = bisect.bisect_left(knots, value) - 1, bisect.bisect_right(knots, value)
    place = 0.5 * (first + last)  # one knot or several equal the value
    if last - first == 1:
        place = first + (value - knots[first]) / (knots[last] - knots[first])
    z = statistics.NormalDist().inv_cdf(place / (len(knots) - 1))
    return min(max(z, -end), end)


def _number(cell: Any, name: str) -> float:
    """The number in a cell; NaN if it is missing."""
    if isinstance(cell, str):
        return _parsed(cell, name)
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return math.nan
    if isinstance(cell, datetime.timedelta):
        return cell.total_seconds()
    try:
        return float(cell)
    except OverflowError:
        return math.inf if cell > 0 else -math.inf


def _parsed(text: str, name: str) -> float:
    if text in MISSING or text.isspace():
        return math.nan
    try:
        if "_" in text:  # which Python allows between digits
            raise ValueError
        return float({"True": "1", "False": "0"}.get(text, text))
    except ValueError:
        warnings.warn(f"Column {name!r}: {text!r} is no number and is missing.", stacklevel=2)
        return math.nan


def _parts(cell: Any, column: dict[str, Any]) -> list[float]:
    """The parts of a date; NaN if it is missing."""
    date = _date(cell, column)
    if date is None:
        return [math.nan] * len(column["parts"])
    if date.tzinfo is not None:
        date = date.astimezone(zoneinfo.ZoneInfo(column["zone"] or "UTC"))
    elif column["zone"] is not None:
        date = date.replace(tzinfo=datetime.UTC).astimezone(zoneinfo.ZoneInfo(column["zone"]))
    since = (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)) - EPOCH
    values = {part: float(getattr(date, part)) for part in PARTS}
    values["total_seconds"] = since.total_seconds()
    return [values[part] for part in column["parts"]]


def _date(cell: Any, column: dict[str, Any]) -> datetime.datetime | None:
    if isinstance(cell, datetime.datetime):
        return cell
    if isinstance(cell, datetime.date):
        return datetime.datetime(cell.year, cell.month, cell.day)
    if not isinstance(cell, str) or cell in MISSING or cell.isspace():
        return None
    try:
        if column["pattern"] is not None:
            return datetime.datetime.strptime(cell, column["pattern"])
        return datetime.datetime.fromisoformat(cell)
    except ValueError:
        name = column["name"]
        warnings.warn(f"Column {name!r}: {cell!r} is no date and is missing.", stacklevel=2)
        return None


def _label(cell: Any) -> str | None:
    """The string that stands for a category: 3.0 and 3 are "3"; None for a missing value."""
    if isinstance(cell, str):
        return cell
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        if cell.is_integer():
            return str(int(cell))
    return str(cell)


# ---------------------------------------------------------------- networks


def _forward(layers: list[Any], x: list[float]) -> list[float]:
    """a = x W + b, then f(a) or, with alpha, a + alpha (f(a) - a), of every layer."""
    for W, b, f, alpha in layers:
        a = list(b)
        H = len(a)
        for d, x_d in enumerate(x):
            if x_d:
                row = W[d * H : d * H + H]
                a = [a_h + x_d * w for a_h, w in zip(a, row, strict=True)]
        x = f(a)
        if alpha:
            x = [a_h + p * (z - a_h) for a_h, p, z in zip(a, alpha, x, strict=True)]
    return x


def _exp(a: float) -> float:
    return math.exp(min(a, 709.0))


def _expit(a: float) -> float:
    e = math.exp(-abs(a))
    return 1 / (1 + e) if a > 0 else e / (1 + e)


def _softplus(a: float) -> float:
    return max(a, 0.0) + math.log1p(math.exp(-abs(a)))


def _gelu_tanh(a: float) -> float:
    u = math.sqrt(2 / math.pi) * (a + 0.044715 * a * a * a)
    return 0.5 * a * (1 + math.tanh(u))


def _selu(a: float) -> float:
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return scale * a if a > 0 else scale * alpha * math.expm1(a)


_OF_A_UNIT = {
    "identity": lambda a: a,
    "relu": lambda a: max(a, 0.0),
    "leaky_relu": lambda a: a if a > 0 else 0.01 * a,
    "elu": lambda a: a if a > 0 else math.expm1(a),
    "selu": _selu,
    "gelu": lambda a: 0.5 * a * (1 + math.erf(a / math.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "silu": lambda a: a * _expit(a),
    "mish": lambda a: a * math.tanh(_softplus(a)),
    "softplus": _softplus,
    "logistic": _expit,
    "tanh": math.tanh,
    "cos": math.cos,
    "exp": _exp,
}


def _softmax(a: list[float]) -> list[float]:
    top = max(a)
    e = [math.exp(a_h - top) for a_h in a]
    total = sum(e)
    return [e_h / total for e_h in e]


def _mean_variance(a: list[float]) -> list[float]:
    half = len(a) // 2
    return [*a[:half], *map(_exp, a[half:])]


def _activation(name: str) -> Any:
    if name == "softmax":
        return _softmax
    if name == "mean_variance":
        return _mean_variance
    f = _OF_A_UNIT[name]
    return lambda a: [f(a_h) for a_h in a]


def _unpacked(text: str) -> tuple[float, ...]:
    """Numbers that are written as base64, in little-endian order, after the code of their type."""
    data = base64.b64decode(text[1:])
    size = struct.calcsize("<" + text[0])
    return struct.unpack(f"<{len(data) // size}{text[0]}", data)


# ---------------------------------------------------------------- from outputs to predictions


def _numbers(z: list[float]) -> list[float]:
    if MODEL["gaussian"]:
        half = len(z) // 2
        z = [*z[:half], *map(math.sqrt, z[half:])]
    scaled = zip(z, MODEL["scale"], MODEL["mean"], strict=True)
    return [value * scale + mean for value, scale, mean in scaled]


def _probabilities(z: list[float]) -> list[float]:
    """The probability of each class; with loss="hinge", the margins."""
    if MODEL["ordered"]:
        above = [1.0, *itertools.accumulate(z, min), 0.0]
        return [one - other for one, other in itertools.pairwise(above)]
    if not MODEL["pair"] or MODEL["margins"]:
        return z
    return [1.0] if len(CLASSES) == 1 else [1 - z[0], z[0]]


def _decide(P: list[float]) -> Any:
    """The class that is predicted, given the probabilities or margins."""
    threshold, cost = MODEL["threshold"], MODEL["cost"]
    if MODEL["several"]:
        return [int(p > limit) for p, limit in zip(P, threshold, strict=True)]
    if len(CLASSES) == 1:
        return CLASSES[0]
    if threshold is not None:
        return CLASSES[int(P[-1] > threshold[0])]
    if cost is not None:
        P = [
            -sum(p * c for p, c in zip(P, column, strict=True))
            for column in zip(*cost, strict=True)
        ]
    return CLASSES[P.index(max(P))]


MISSING = frozenset(MODEL.get("missing_words", []))
BINS = list(zip(*map(_unpacked, MODEL["bins"]), strict=True)) if MODEL.get("bins") else []
NETWORKS = [
    [
        (_unpacked(W), _unpacked(b), _activation(f), alpha and _unpacked(alpha))
        for W, b, f, alpha in net
    ]
    for net in MODEL.get("networks", [])
]

if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
