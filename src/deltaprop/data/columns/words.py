"""Categories as strings, and the strings that stand for missing values.

It imports no pandas, so that predictions that need none are possible without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MISSING_WORDS = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "...", "1.#IND",
    "1.#QNAN", "<NA>", "?", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "none", "null",
})  # fmt: skip
"""Strings that stand for a missing value, as in pandas' and skrub's readers."""

MISSING_OF_PANDAS = ("NAType", "NaTType")  # the types of pandas.NA and pandas.NaT


def label(value: Any) -> str | None:
    """The string that stands for a category; None for a missing value.

    Integers become floats in a column that has missing values, so 3.0 is written as "3".
    """
    if isinstance(value, str):
        word = value if type(value) is str else str.__str__(value)
        # Half of a surrogate pair is not valid in files, and pandas does not accept it everywhere.
        return word if word.isascii() else word.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, np.ndarray):  # a list, in an Arrow table
        value = value.tolist()
    if isinstance(value, (set, frozenset)):  # whose order differs from process to process
        value = sorted(map(str, value))
    if value is None or type(value).__name__ in MISSING_OF_PANDAS:
        return None
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            return None
        if float(value).is_integer():
            return str(int(value))
    return str(value)


def without_missing_words(labels: list[str | None]) -> list[str | None]:
    """The labels with None in place of blanks and words such as "NA" and "?"."""
    return [None if word is None or is_missing_word(word) else word for word in labels]


def is_missing_word(word: str) -> bool:
    """Whether a string stands for a missing value."""
    return word in MISSING_WORDS or word.isspace()
