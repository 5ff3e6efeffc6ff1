"""Words that stand for a missing value."""

from __future__ import annotations

from collections.abc import Iterable

# pandas' own markers ("", NA, N/A, n/a, NULL, NaN, None, #N/A, …) are read as missing everywhere.
# These are missing among numbers and dates, and among words unless there are other signs.
SIGNS = frozenset({"-", "--", "---", ".", "..", "...", "?", "*", "–", "—"})
WORDS = frozenset({
    "", "NA", "N/A", "n/a", "na", "n.a.", "N.A.", "NULL", "null", "NaN", "nan", "None", "none",
    "k.A.", "k. A.", "k.A", "#NV", "#N/A", "#DIV/0!", "#VALUE!", "#WERT!", "#REF!", "#BEZUG!",
    "#NUM!", "#ZAHL!", "#NAME?", "#NULL!", "\\N", "(null)", "<NA>", "missing", "Missing", "NaT",
})  # fmt: skip


def missing_among(words: Iterable[str]) -> set[str]:
    """The words of a column that mean a missing value.

    Examples
    --------
    >>> sorted(missing_among(["1,5", "-", "n/a"])), sorted(missing_among(["+", "-"]))
    (['-', 'n/a'], [])
    """
    words = set(words)
    found = {word for word in words if word in WORDS or word.isspace()}
    signs = {word for word in words if word and not any(map(str.isalnum, word))}
    return found | signs if signs and signs <= SIGNS and len(signs) <= 2 else found
