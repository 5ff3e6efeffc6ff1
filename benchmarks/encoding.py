"""The time and the memory of encoding tables: ``python -m benchmarks.encoding``.

- large: 900,000 rows of 16 numbers and 4 categories with 12 to 42 values, as strings and with the
  dtype category; ``TableEncoder.fit``, ``transform`` and ``fit_transform``. The peak memory is that
  of the process above its memory before the call, relative to the size of the result.
- wide: 300 rows of 4,000 numbers, of numbers as strings, and of categories.
- small: what the encoder and the network of a ``TabularClassifier`` take on 1,000 rows.
- row: one row of 20 columns through a fitted ``TabularClassifier``, and its parts.

Each case runs in a new process on two cores. The medians of the turns are printed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine

SIZES = (12, 22, 32, 42)  # numbers of values of the four categories
CATEGORIES = tuple(f"c{size}" for size in SIZES)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", choices=CASES, help="run only this case, in this process")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args(argv)
    if args.case is None:
        for case in CASES:
            command = [sys.executable, "-m", "benchmarks.encoding", "--case", case]
            subprocess.run([*command, "--turns", str(args.turns)], check=True)
        return
    machine.pin(2)
    warnings.simplefilter("ignore")
    CASES[args.case](args.turns)


# ---------------------------------------------------------------- cases


def large_strings(turns: int) -> None:
    """900,000 rows; categories are strings."""
    _large("strings", mixed(900_000)[0], turns)


def large_category(turns: int) -> None:
    """900,000 rows; categories have the dtype category."""
    X, _ = mixed(900_000)
    _large("category", X.astype({f"c{size}": "category" for size in SIZES}), turns)


def _large(name: str, X: Any, turns: int) -> None:
    from deltaprop.tables import TableEncoder

    TableEncoder().fit_transform(X[:1000])  # imports
    encoder = TableEncoder()
    print(f"large, {name}: {X.shape[0]:,} × {X.shape[1]}")
    for what, call in (
        ("fit", lambda: encoder.fit(X)),
        ("transform", lambda: encoder.transform(X)),
        ("fit_transform", lambda: TableEncoder().fit_transform(X)),
    ):
        seconds, peak, result = _measured(call, turns)
        size = getattr(result, "nbytes", None) or encoder.transform(X[:1]).nbytes * len(X)
        memory = "" if peak is None else f"{peak / size:7.2f} × the result of {size / 1e6:.0f} MB"
        print(f"  {what:14} {seconds:8.3f} s  {memory}")


def wide(turns: int) -> None:
    """300 rows of 4,000 numbers, of numbers as strings, and of categories."""
    import numpy as np
    import pandas as pd

    from deltaprop.tables import TableEncoder

    rng = np.random.default_rng(0)
    numbers = pd.DataFrame(rng.standard_normal((300, 4000))).add_prefix("x")
    words = np.array(list("abcde"), dtype=object)[rng.integers(0, 5, numbers.shape)]
    forms = {
        "numbers": numbers,
        "strings of numbers": numbers.round(2).astype(str),
        "strings": pd.DataFrame(words).add_prefix("x"),
        "dtype category": pd.DataFrame(words).add_prefix("x").astype("category"),
    }
    print("wide: 300 × 4,000, fit_transform")
    for name, X in forms.items():
        TableEncoder().fit_transform(X.iloc[:, :10])
        seconds = _measured(lambda X=X: TableEncoder().fit_transform(X), turns)[0]  # type: ignore[misc]
        print(f"  {name:18} {seconds:8.3f} s")


def small(turns: int) -> None:
    """1,000 rows through a whole fit of a TabularClassifier."""
    import deltaprop as dp
    from deltaprop.tables import TableEncoder

    X, y = mixed(1000)
    model = dp.TabularClassifier(random_state=0).fit(X, y)
    Z, mlp = model.encode_rows(X), model.fitted_mlp()
    print(f"small: 1,000 × {X.shape[1]}, {mlp.n_iter_} epochs")
    for what, call in (
        ("TabularClassifier.fit", lambda: dp.TabularClassifier(random_state=0).fit(X, y)),
        ("its TableEncoder", lambda: TableEncoder().fit_transform(X)),
        ("its MLPClassifier", lambda: type(mlp)(**mlp.get_params()).fit(Z, y)),
    ):
        print(f"  {what:22} {1e3 * _measured(call, 2 * turns + 1)[0]:8.2f} ms")


def row(turns: int) -> None:
    """One row of 20 columns through a TabularClassifier."""
    import deltaprop as dp

    X, y = mixed(2000)
    model = dp.TabularClassifier(random_state=0, max_iter=3).fit(X, y)
    one = X[:1].copy()
    Z, mlp = model.encode_rows(one), model.fitted_mlp()
    print("row: 1 × 20")
    for what, call in (
        ("TabularClassifier.predict", lambda: model.predict(one)),
        ("its TableEncoder", lambda: model.encode_rows(one)),
        ("its MLPClassifier", lambda: mlp.predict(Z)),
    ):
        print(f"  {what:26} {1e3 * _measured(call, 50 * turns)[0]:8.3f} ms")


CASES: dict[str, Callable[[int], None]] = {
    "large-strings": large_strings, "large-category": large_category, "wide": wide,
    "small": small, "row": row,
}  # fmt: skip


# ---------------------------------------------------------------- data and measurement


def mixed(N: int) -> tuple[Any, Any]:
    """16 columns of numbers, 4 of strings, and a target with two classes."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"n{j}": rng.standard_normal(N) for j in range(14)}
    columns["n0"][rng.random(N) < 0.05] = np.nan
    columns["i0"], columns["i1"] = rng.integers(0, 90, N), rng.integers(0, 10**6, N)
    for size in SIZES:
        columns[f"c{size}"] = rng.choice([f"value {i}" for i in range(size)], N)
    X = pd.DataFrame(columns)
    z = X["n1"] + X["n2"] * (X["i0"] > 50) + (X["c12"] == "value 3") + rng.normal(0, 0.5, N)
    return X, np.where(z > z.median(), "yes", "no")


def _measured(call: Callable[[], Any], turns: int) -> tuple[float, int | None, Any]:
    """The median of the seconds, the peak memory of the last call, and its result."""
    seconds, result, before = [], None, None
    for _ in range(turns):
        result = None
        before = _reset_peak()
        started = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - started)
    peak = None if before is None else _status("VmHWM") - before
    return statistics.median(seconds), peak, result


def _reset_peak() -> int | None:
    """Reset the peak memory of this process to its present one; None if that is not possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def _status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
