"""Facts about single columns of a table."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from deltaprop.data.columns import values
from deltaprop.data.columns.recognition import are_categories

FEWEST_ROWS = 20  # with fewer rows, distinct values do not make an identifier
MOSTLY = 0.5  # of the texts are numbers: a column of measurements with remarks among them
UNIQUE = 0.95  # fraction of the rows; some rows may occur twice
PAIRS = frozenset(
    frozenset(pair.split())
    for pair in (
        "true false", "yes no", "y n", "t f", "ja nein", "j n", "wahr falsch", "oui non",
        "vrai faux", "si no", "sí no", "sim não", "ja nej", "tak nie", "да нет", "on off",
    )
)  # fmt: skip
SENTINELS = (-9, -99, -999, -9999, -99999, 999, 9999, 99999)
NAMED_ID = re.compile(r"(^|[_\W])(id|uuid|guid|key|nr|no|number|index)$|[a-z]I[dD]$", re.IGNORECASE)


@dataclass(frozen=True)
class ColumnFacts:
    """What is known about a column.

    Attributes
    ----------
    name : str
    kind : str
        "numeric", "boolean", "category", "date", "text" or "empty".
    missing : float
        The fraction of missing values, in [0, 1].
    distinct : int
        The number of distinct values in the rows that were looked at.
    examples : tuple of str
        Some of its values.
    is_identifier : bool
        Whether nearly every row has another value, and the values look like names of rows.
    sentinel : str
        A number such as -999 that may stand for a missing value; "" for none.
    """

    name: str
    kind: str
    missing: float
    distinct: int
    examples: tuple[str, ...]
    is_identifier: bool
    sentinel: str

    @property
    def is_constant(self) -> bool:
        """Whether all rows have the same value."""
        return self.distinct == 1 and self.missing == 0


def facts_of(column: pd.Series, missing: float) -> ColumnFacts:
    """What is known about a column, from these of its rows.

    Examples
    --------
    >>> facts_of(pd.Series(["yes", "no", "yes"], name="x"), 0.0).kind
    'boolean'
    """
    plain = values.plain(column)
    labels, codes = values.distinct(plain)
    labels = values.without_missing_words(labels)
    words = list(dict.fromkeys(word for word in labels if word is not None))
    kind = kind_of(plain, words, codes, labels)
    return ColumnFacts(
        str(column.name),
        kind,
        missing,
        len(words),
        tuple(word.removesuffix(" 00:00:00") for word in words[:3]),
        _is_identifier(plain, kind, words),
        _sentinel(plain) if kind == "numeric" else "",
    )


def kind_of(plain: pd.Series, words: list[str], codes: np.ndarray, labels: list[str | None]) -> str:
    """The kind of a column, as the encoder will read it."""
    if not words:
        return "empty"
    if is_bool_dtype(plain.dtype) or frozenset(map(str.lower, words)) in PAIRS:
        return "boolean"
    if isinstance(plain.dtype, pd.CategoricalDtype):
        return "category"
    if plain.dtype.kind in "mM":
        return "date" if plain.dtype.kind == "M" else "numeric"
    if is_numeric_dtype(plain.dtype):
        return "numeric"
    if values.date_pattern(words) is not None:
        return "date"
    if _are_numbers(words):
        return "numeric"
    return "category" if are_categories(labels, codes) else "text"


def _are_numbers(words: list[str]) -> bool:
    try:
        values.parsed_numbers([*words], strict=True)
    except (ValueError, OverflowError):
        return False
    return True


def _is_identifier(plain: pd.Series, kind: str, words: list[str]) -> bool:
    """Whether the values look like names of rows: one for each, without a meaning of their own."""
    n = int(plain.notna().sum())
    if n < FEWEST_ROWS or len(words) < UNIQUE * n:
        return False
    if kind == "text":
        some = pd.Series(words[:100])
        are_numbers = pd.to_numeric(some, errors="coerce").notna().mean() > MOSTLY
        return not are_numbers and not some.str.strip().str.contains(" ", regex=False).any()
    if kind != "numeric" or not is_numeric_dtype(plain.dtype) or plain.dtype.kind == "f":
        return False
    steps = np.diff(plain.to_numpy())
    return bool((steps == 1).mean() > 0.9) or NAMED_ID.search(str(plain.name)) is not None


def _sentinel(plain: pd.Series) -> str:
    """An extreme value such as -999 that occurs several times, far from all others."""
    numbers = values.numbers(plain)
    for sentinel in SENTINELS:
        is_sentinel = numbers == sentinel
        if np.count_nonzero(is_sentinel) < 2:
            continue
        others = numbers[~is_sentinel & np.isfinite(numbers)]
        if len(others) == 0:
            continue
        low, high = others.min(), others.max()
        if sentinel < 0 and low >= 0 and -sentinel > high:
            return str(sentinel)
        if abs(sentinel) > 3 * max(abs(low), abs(high)):
            return str(sentinel)
    return ""
